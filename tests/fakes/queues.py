"""Queues and the feed's timer in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from foliostream.domain.coalescing import Bundle, DirtyMessage
from foliostream.errors import CallerError, PermanentError, RetryableError
from foliostream.ports import Delayed

QUEUES = ("live", "demo", "paper", "bulk", "refresh", "delayed", "push")
FIFO = frozenset(QUEUES) - {"bulk", "refresh", "delayed"}
DELAY_SECONDS_MAX = 900


class GivenUp(NamedTuple):
    """A message in a dead-letter queue."""

    queue: str
    message: DirtyMessage
    reason: str


class FakeQueues:
    """Implements ``ports.Queues``. Like SQS FIFO it remembers deduplication ids (for ever) also of messages that were
    received; ``failing`` makes the next sends fail. Delays are kept in ``delays`` and not waited for."""

    def __init__(self) -> None:
        self.given_up: list[GivenUp] = []
        self.failing = 0
        self.delays: list[int] = []
        self._waiting: dict[str, list[Bundle]] = {queue: [] for queue in QUEUES}
        self._seen: set[tuple[str, int, str]] = set()

    def send(self, queue: str, bundles: Sequence[Bundle]) -> None:
        _check(queue)
        if self.failing:
            self.failing -= 1
            raise RetryableError(f"queue {queue} fails")
        for bundle in bundles:
            name = queue, bundle.shard, bundle.deduplication_id
            if queue not in FIFO or name not in self._seen:
                self._seen.add(name)
                self._waiting[queue].append(bundle)

    def send_later(self, delayed: Sequence[Delayed]) -> None:
        for item in delayed:
            _check_delay(item.delay_seconds)
        self.send("delayed", [item.bundle for item in delayed])
        self.delays += [item.delay_seconds for item in delayed]

    def dead_letter(self, queue: str, message: DirtyMessage, reason: str) -> None:
        if queue != "ledger":  # has dead letters only
            _check(queue)
        self.given_up.append(GivenUp(queue, message, reason))

    def receive(self, queue: str) -> list[Bundle]:
        """Everything that waits, which is then gone."""
        bundles, self._waiting[queue] = self._waiting[queue], []
        return bundles


class FakeOrderQueue:
    """Implements ``ports.OrderQueue``; ``failing`` makes the next sends fail."""

    def __init__(self) -> None:
        self.failing = 0
        self._waiting: list[list[str]] = []

    def send(self, symbols: Collection[str]) -> None:
        if self.failing:
            self.failing -= 1
            raise RetryableError("queue orders fails")
        self._waiting.append(sorted(symbols))

    def receive(self) -> list[list[str]]:
        """The symbols of every message that waits, which is then gone."""
        messages, self._waiting = self._waiting, []
        return messages


class FakeFeedTimer:
    """Implements ``ports.FeedTimer``; ``woken`` are (slot, delay in seconds)."""

    def __init__(self) -> None:
        self.woken: list[tuple[int, int]] = []

    def wake(self, slot: int, delay_seconds: int) -> None:
        _check_delay(delay_seconds)
        self.woken.append((slot, delay_seconds))


def _check_delay(seconds: int) -> None:
    if not 0 <= seconds <= DELAY_SECONDS_MAX:
        raise CallerError(f"a delay is 0 to {DELAY_SECONDS_MAX} seconds, is {seconds}")


def _check(queue: str) -> None:
    if queue not in QUEUES:
        raise PermanentError(f"no queue is known for {queue}")
