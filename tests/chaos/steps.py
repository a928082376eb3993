"""Functions that die, or stand still until they are timed out, in every step: before one of their calls of AWS is
done, and after it."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.chaos.proxy import Answer, Passed, Request
from tests.support.watching import workers

_FUNCTION = re.compile(r"-([A-Za-z]+)Function-")


class Step(NamedTuple):
    """``operation``: ``dynamodb:PutItem``. ``is_done``: whether it was done before the function ended."""

    function: str
    operation: str
    is_done: bool


class Steps:
    """Ends whoever makes a call, once in each step; at most ``limit`` of them, ``pause_s`` apart.

    ``signal``: what it is sent. ``had``: steps in which somebody was; ``seen``: all that came by.
    """

    def __init__(self, emulator_pid: int, signal: int, *, pause_s: float, limit: int) -> None:
        self.had: dict[Step, int] = {}
        self.seen: set[Step] = set()
        self._emulator_pid, self._signal = emulator_pid, signal
        self._pause_s, self._limit = pause_s, limit
        self._lock = threading.Lock()
        self._next_at = 0.0

    def ended_in_a_step(self, request: Request) -> Answer | Passed | None:
        """The act of a rule of the proxy."""
        pid, step = self._drawn(request)
        if step is None:
            return Passed()
        answer = request.forward() if step.is_done else None
        with suppress(ProcessLookupError):
            os.kill(pid, self._signal)
        return answer

    def left(self) -> set[Step]:
        """Those nobody was ended in yet."""
        with self._lock:
            return self.seen - self.had.keys()

    def _drawn(self, request: Request) -> tuple[int, Step | None]:
        pid = process_at(request.caller_port, workers(self._emulator_pid))
        if pid is None:
            return 0, None
        function, operation = function_of(pid), request.operation.split(":/")[0]
        with self._lock:
            steps = [Step(function, operation, is_done) for is_done in (False, True)]
            self.seen.update(steps)
            left = next((step for step in steps if step not in self.had), None)
            if left is None or len(self.had) >= self._limit or time.monotonic() < self._next_at:
                return pid, None
            self._next_at = time.monotonic() + self._pause_s
            self.had[left] = pid
            return pid, left


def function_of(pid: int) -> str:
    """Which function a worker of the emulator runs; empty if it is gone."""
    with suppress(OSError):
        found = _FUNCTION.search(Path(f"/proc/{pid}/cmdline").read_text())
        return found[1] if found else ""
    return ""


def process_at(port: int, candidates: Iterable[int]) -> int | None:
    """Who has a TCP connection from that port of 127.0.0.1; None if it is none of those, or they have just ended."""
    # A connection that is over keeps its port for a while, and has no file.
    files = {f"socket:[{line[9]}]" for line in _connections() if line[1].endswith(f":{port:04X}") and line[9] != "0"}
    return next((pid for pid in candidates if files & _open_files(pid)), None)


def _connections() -> list[list[str]]:
    return [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]


def _open_files(pid: int) -> set[str]:
    found = set()
    with suppress(OSError):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.add(str(path.readlink()))
    return found
