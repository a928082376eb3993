"""Tasks of analyses, kept for the test to work on."""

from __future__ import annotations

from foliostream.domain.analysis_task import Task
from foliostream.errors import FoliostreamError


class FakeStarter:
    """Implements ``ports.AnalysisStarter``; ``fault`` is raised instead where there is one."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.fault: FoliostreamError | None = None

    def start(self, task: Task) -> None:
        if self.fault is not None:
            raise self.fault
        self.tasks.append(task)
