"""A clock that moves only when told."""

from __future__ import annotations


class FakeClock:
    """Implements ``ports.Clock``; ``waited_until`` are the times somebody waited for."""

    def __init__(self, now_ms: int = 1_767_225_600_000) -> None:
        self.time_ms = now_ms
        self.waited_until: list[int] = []

    def now_ms(self) -> int:
        return self.time_ms

    def wait_until(self, at_ms: int) -> None:
        self.waited_until.append(at_ms)
        self.time_ms = max(self.time_ms, at_ms)

    def advance(self, ms: int) -> None:
        self.time_ms += ms
