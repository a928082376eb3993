"""Starts ministack, with one of its functions replaced by an equal one that does not grow slower.

ministack looks at every message of the last five minutes whenever one is sent to a FIFO queue, to forget those that no
longer count as duplicates. A system under prices sends hundreds a second: after a minute the emulator does little else.
Run with the interpreter of the cloud's environment.
"""

import sys
import time
from typing import Any

from ministack.app import main
from ministack.services import sqs


def prune_dedup(queue: dict[str, Any]) -> None:
    """Forget the deduplication ids that have expired. Each is put in once, for the same time as all the others, so the
    oldest comes first."""
    cache, now = queue["dedup_cache"], time.time()
    while cache and cache[oldest := next(iter(cache))]["expire"] <= now:
        del cache[oldest]


if __name__ == "__main__":
    if not callable(getattr(sqs, "_prune_dedup", None)):
        sys.exit("this ministack forgets deduplication ids otherwise: see whether local/emulator.py is still needed")
    sqs._prune_dedup = prune_dedup
    main()
