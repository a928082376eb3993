"""Starts ministack with two things mended. Run with the interpreter of the cloud's environment.

ministack looks at every message of the last five minutes whenever one is sent to a FIFO queue, to forget those that no
longer count as duplicates. A system under prices sends hundreds a second: after a minute the emulator does little else.

Where the process of an invocation cannot be started, ministack ends all others of that function, and takes the folders
of those that are just starting: they fail too, and end those that started meanwhile. A function that is asked for often
does not come back from that.
"""

import sys
import time
from typing import Any

from ministack.app import main
from ministack.core.lambda_runtime import Worker
from ministack.services import sqs

_invoke = Worker.invoke


def prune_dedup(queue: dict[str, Any]) -> None:
    """Forget the deduplication ids that have expired. Each is put in once, for the same time as all the others, so the
    oldest comes first."""
    cache, now = queue["dedup_cache"], time.time()
    while cache and cache[oldest := next(iter(cache))]["expire"] <= now:
        del cache[oldest]


def invoke(worker: Worker, *args: object, **named: object) -> dict[str, Any]:
    """What the worker answers; where its process does not start, that is told, and is nobody else's fault."""
    try:
        answer: dict[str, Any] = _invoke(worker, *args, **named)
        return answer
    except Exception as fault:  # noqa: BLE001 - whatever it is, it is the answer to this invocation
        worker.kill()
        return {"status": "error", "error": f"Runtime.ExitError: {fault}", "cold_start": True}


if __name__ == "__main__":
    if not callable(getattr(sqs, "_prune_dedup", None)):
        sys.exit("this ministack forgets deduplication ids otherwise: see whether local/emulator.py is still needed")
    sqs._prune_dedup = prune_dedup
    Worker.invoke = invoke
    main()
