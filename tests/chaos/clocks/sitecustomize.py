"""The clock of a function is not that of its neighbours. Python imports this module by itself in every process that
is started with this folder in PYTHONPATH.

Up to CHAOS_CLOCKS_APART_MS lie between any two: each is behind by a part of that, drawn by process. Every third of them
is set back, and on again, from time to time.
"""

import os
import time
from random import Random

SET_EVERY_S = 7


def _apart_ns(process: int, apart_ms: int, now_ns: int) -> int:
    draw = Random(process)
    behind = [draw.uniform(0, apart_ms) for _ in range(2)]
    is_set = process % 3 == 0 and now_ns // 1_000_000_000 // SET_EVERY_S % 2 == 1
    return round(behind[is_set] * 1_000_000)


def _disturb(apart_ms: int) -> None:
    true_ns, process = time.time_ns, os.getpid()

    def time_ns() -> int:
        now_ns = true_ns()
        return now_ns - _apart_ns(process, apart_ms, now_ns)

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1_000_000_000


# The emulator itself, which hands its environment on to the functions, keeps the right time.
if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    _disturb(int(os.environ["CHAOS_CLOCKS_APART_MS"]))
