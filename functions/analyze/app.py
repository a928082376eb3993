"""An analysis: one ticker in one snapshot of a portfolio in, its five metrics into the session that asked."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger

from foliostream.application.reading import asked
from foliostream.domain.analysis_task import Task
from foliostream.wiring import wiring

logger = Logger()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Invoked asynchronously, possibly more than once; raises where nothing could be stored, for another try."""
    task = asked(event, Task)
    report = wiring().computing(task)
    if report.fault is not None:
        logger.error("analysis failed", run_id=task.run.run_id, reason=report.fault)
    logger.info("analysed", run_id=task.run.run_id, stored=report.stored, completed=report.is_completed)
    return {"run_id": task.run.run_id, "stored": report.stored, "completed": report.is_completed}
