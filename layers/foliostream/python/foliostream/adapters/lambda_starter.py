"""Has an analysis computed by a function of its own, invoked asynchronously."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from foliostream.adapters.aws_errors import our_errors
from foliostream.adapters.lambda_functions import ALIAS
from foliostream.domain import analysis_task
from foliostream.domain.analysis_task import MAX_TASK_BYTES, Task
from foliostream.errors import PermanentError

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


class LambdaStarter:
    """Implements ``ports.AnalysisStarter``; ``client`` gives the one client of the container."""

    def __init__(self, client: Callable[[], LambdaClient], function: str) -> None:
        self._client = client
        self._function = f"{function}:{ALIAS}"

    def start(self, task: Task) -> None:
        """Lambda queues the event, and may deliver it more than once."""
        payload = analysis_task.encode(task)
        if len(payload) > MAX_TASK_BYTES:
            raise PermanentError(
                f"a task has {len(payload)} bytes, {MAX_TASK_BYTES} is the limit",
                code="TASK_TOO_LARGE",
                details=[{"limit": MAX_TASK_BYTES, "value": len(payload)}],
            )
        with our_errors(f"Lambda, Invoke {self._function}"):
            self._client().invoke(FunctionName=self._function, InvocationType="Event", Payload=payload)
