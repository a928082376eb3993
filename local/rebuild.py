"""`make rebuild-hot`: starts the deployed rebuild of the hot store and shows how far it is.

The function goes on by itself: whoever stops watching stops nothing.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.cloud import Outputs
from local.services import CloudError

# A message that failed comes again after 35 seconds.
STALLED_S = 120.0
POLL_S = 0.5


@dataclass(frozen=True)
class Progress:
    """What the function answers."""

    run_id: str
    started_at: str
    is_finished: bool
    parts: int
    parts_finished: int
    portfolios: int
    broken: int

    def __str__(self) -> str:
        broken = f", {self.broken:,} of them cannot be rebuilt (see the logs)" if self.broken else ""
        return f"{self.parts_finished} of {self.parts} parts, {self.portfolios + self.broken:,} portfolios{broken}"


def rebuild_hot(outputs: Outputs, show: Callable[[str], object] = print, stalled_s: float = STALLED_S) -> Progress:
    """Start a rebuild and wait for its end; `CloudError` if it fails or does not come on for `stalled_s`."""
    client = outputs.aws("lambda")
    function = outputs.resources["RebuildHotFunctionName"]
    seen = _ask(client, function, "start")
    show(f"rebuilding the hot store: {seen}")
    moved_at = time.monotonic()
    while not seen.is_finished:
        time.sleep(POLL_S)
        now = _ask(client, function, "progress")
        if now.run_id != seen.run_id:
            raise CloudError(f"the rebuild was superseded by one started at {now.started_at}")
        if now != seen:
            show(f"rebuilding the hot store: {now}")
            seen, moved_at = now, time.monotonic()
        elif time.monotonic() - moved_at > stalled_s:
            raise CloudError(
                f"the rebuild has not come on for {stalled_s:.0f} s: {now}; `make logs FUNCTION=rebuild_hot`"
            )
    show("the hot store is rebuilt; portfolios are valued as their marks are worked off")
    return seen


def _ask(client: Any, function: str, action: str) -> Progress:  # noqa: ANN401 (boto3's clients have no common type)
    try:
        answer = client.invoke(FunctionName=function, Payload=json.dumps({"action": action}))
    except (BotoCoreError, ClientError) as fault:
        raise CloudError(f"{function} could not be asked: {fault}") from fault
    body = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise CloudError(f"{function} failed: {body.get('errorMessage', body)}")
    return Progress(**body)
