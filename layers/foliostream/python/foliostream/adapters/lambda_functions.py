"""Functions of the stack, started asynchronously."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from foliostream.adapters.aws_errors import our_errors

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

# Every function's alias of this name points to the version that is to be called (template.yaml, AutoPublishAlias).
ALIAS = "live"


class LambdaFunctions:
    """Implements ``ports.Functions``; ``client`` gives the one client of the container."""

    def __init__(self, client: Callable[[], LambdaClient]) -> None:
        self._client = client

    def start(self, function: str, payload: bytes) -> None:
        """Lambda queues the event; the role decides which functions there may be."""
        with our_errors(f"Lambda, Invoke {function}"):
            self._client().invoke(FunctionName=f"{function}:{ALIAS}", InvocationType="Event", Payload=payload)
