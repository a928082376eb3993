"""Queues on virtual time: each message is delivered when it is due, one after the other."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from foliostream.domain.coalescing import Bundle
from foliostream.errors import RetryableError
from tests.unit.application.system import SKEW_MS, System, received

QUEUES = ("live", "demo", "paper", "bulk", "refresh", "delayed")


class Deliveries:
    """``lost`` says which bundles never arrive, ``twice`` which arrive a second time; ``valuing_ms`` passes with every
    delivery. What fails comes again after 35 seconds."""

    def __init__(self, system: System, *, valuing_ms: int = 20) -> None:
        self.system = system
        self.valuing_ms = valuing_ms
        self.lost: Callable[[str, Bundle], bool] = lambda _queue, _bundle: False
        self.twice: Callable[[str, Bundle], bool] = lambda _queue, _bundle: False
        self.delivered: list[tuple[str, Bundle]] = []
        self._waiting: list[tuple[int, int, str, Bundle, int]] = []
        self._number = 0

    def until(self, at_ms: int) -> None:
        """Let time pass; the clock shows ``at_ms`` then, or later where somebody was still at work."""
        clock = self.system.clock
        self._collect()
        while self._waiting and self._waiting[0][0] <= at_ms:
            due_ms, _, queue, bundle, count = heapq.heappop(self._waiting)
            clock.time_ms = max(clock.time_ms, due_ms)
            self._deliver(queue, bundle, count)
            clock.advance(self.valuing_ms)
            self._collect()
        clock.time_ms = max(clock.time_ms, at_ms)

    def _deliver(self, queue: str, bundle: Bundle, count: int) -> None:
        self.delivered.append((queue, bundle))
        try:
            assert self.system.recalculate(received([bundle], receive_count=count)) == []
        except RetryableError:
            self._push(self.system.clock.now_ms() + 35_000, queue, bundle, count + 1)

    def _collect(self) -> None:
        now_ms = self.system.clock.now_ms()
        for queue in QUEUES:
            for bundle in self.system.queues.receive(queue):
                if self.lost(queue, bundle):
                    continue
                due_ms = max(bundle.message.window_end_ms + SKEW_MS, now_ms)
                self._push(due_ms, queue, bundle, 1)
                if self.twice(queue, bundle):
                    self._push(due_ms + 1_000, queue, bundle, 1)

    def _push(self, due_ms: int, queue: str, bundle: Bundle, count: int) -> None:
        self._number += 1
        heapq.heappush(self._waiting, (due_ms, self._number, queue, bundle, count))
