"""Virtual time: what happens is a list of events in the order of their times; whoever waits is a greenlet.

Our code is synchronous, so each invocation runs in a greenlet of its own that hands control back wherever it waits:
at a call of a port and in ``Clock.wait_until``. A switch takes half a microsecond (a thread's would take 25).
Nothing here knows the real time, and every choice comes from ``random``, so a seed always gives the same run.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from greenlet import getcurrent, greenlet

MS = 1_000
SECOND = 1_000 * MS


class Crash(BaseException):
    """The process is gone. No ``except Exception`` sees it, as none would see a power cut."""


class World:
    """``now_us``: true time since ``epoch_ms``, which no machine of the model knows exactly."""

    def __init__(self, seed: int, *, epoch_ms: int, is_traced: bool) -> None:
        self.random = random.Random(seed)
        self.epoch_ms = epoch_ms
        self.now_us = 0
        self.lines: list[str] = []
        self.is_traced = is_traced
        self._events: list[tuple[int, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0
        self.hub = getcurrent()

    def at(self, at_us: int, act: Callable[..., object], *arguments: Any) -> None:  # noqa: ANN401
        """Call ``act`` then; those of the same time in the order in which they were asked for."""
        self._count += 1
        heappush(self._events, (at_us, self._count, act, arguments))

    def after(self, delay_us: int, act: Callable[..., object], *arguments: Any) -> None:  # noqa: ANN401
        self.at(self.now_us + delay_us, act, *arguments)

    def sleep(self, delay_us: int) -> None:
        """Let the current greenlet go on so much later."""
        self.at(self.now_us + delay_us, getcurrent().switch)
        self.hub.switch()

    def park(self) -> None:
        """Let the current greenlet wait until somebody switches to it."""
        self.hub.switch()

    def start(self, run: Callable[[], object]) -> greenlet:
        """A greenlet that begins at the present time, after what is happening now."""
        task = greenlet(run, self.hub)
        self.at(self.now_us, task.switch)
        return task

    def run(self, until_us: int) -> bool:
        """Work through the events up to that time; whether none is left."""
        self.hub = getcurrent()
        events = self._events
        while events and events[0][0] <= until_us:
            self.now_us, _, act, arguments = heappop(events)
            act(*arguments)
        return not events

    def chance(self, probability: float) -> bool:
        return probability > 0 and self.random.random() < probability

    def between(self, low: int, high: int) -> int:
        return low + int(self.random.random() * (high - low + 1))

    def trace(self, who: str, *what: object) -> None:
        if self.is_traced:
            self.lines.append(f"{self.now_us / MS:12.3f}  {who:<16} {' '.join(map(str, what))}")
