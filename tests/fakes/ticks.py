"""A channel, a publisher's hashes and the price queue in memory, on virtual time."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence

from foliostream.domain.price import Price, PriceUpdate
from foliostream.errors import PermanentError, RetryableError
from foliostream.ports import Heard


class Time:
    """Seconds that pass only when somebody waits; ``at`` runs what is due on the way."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


class FakeTicks:
    """Implements ``ports.Ticks``: a script of (seconds since the start, message); ``deaf`` answers nothing."""

    def __init__(self, time: Time, script: Sequence[tuple[float, bytes]] = (), *, deaf: bool = False) -> None:
        self._time = time
        start = time.now
        self._script = deque((start + after, Heard(message)) for after, message in script)
        self._answers: deque[Heard] = deque()
        self._deaf = deaf
        self.asked_at: list[float] = []
        self.closed = False

    def receive(self, seconds: float) -> Heard | None:
        if self._answers:
            return self._answers.popleft()
        if self._script and self._script[0][0] <= self._time.now + seconds:
            at, heard = self._script.popleft()
            self._time.now = max(self._time.now, at)
            return heard
        self._time.now += max(seconds, 0.001)
        return None

    def ask(self) -> None:
        self.asked_at.append(self._time.now)
        if not self._deaf:
            self._answers.append(Heard(None))

    def close(self) -> None:
        self.closed = True


class FakePrices:
    """Implements ``ports.PriceReader``."""

    def __init__(self) -> None:
        self.stored: dict[str, Price] = {}
        self.read: list[list[str]] = []
        self.failing = 0

    def get(self, symbols: Collection[str]) -> dict[str, Price]:
        if self.failing:
            self.failing -= 1
            raise RetryableError("the store fails")
        self.read.append(list(symbols))
        return {symbol: self.stored[symbol] for symbol in symbols if symbol in self.stored}


class FakePriceQueue:
    """Implements ``ports.PriceQueue``; ``failing`` sends fail, ``refusing`` makes all fail for good."""

    def __init__(self) -> None:
        self.sent: list[PriceUpdate] = []
        self.failing = 0
        self.refusing = False

    def send(self, updates: Sequence[PriceUpdate]) -> None:
        if self.refusing:
            raise PermanentError("no such queue")
        if self.failing:
            self.failing -= 1
            raise RetryableError("the queue fails")
        self.sent += updates
