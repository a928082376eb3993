"""Rebuilding the hot store from the ledger: in bounded parts, while everything runs, resumable.

The ledger is walked bucket by bucket. How far each has come is a record of its own, moved on only by whoever read it:
a message that comes twice, or a function that dies, costs work and never a portfolio. Nothing gets older: books are
only replaced by newer ones, and a snapshot's version is at least the clock's milliseconds.

Prices come back from the sweep's checkpoints, as they were up to a minute before the loss; who watches, from the
connections' subscriptions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Struct

from foliostream.application.loading import readable
from foliostream.application.marking import Marker
from foliostream.application.projecting import Projector
from foliostream.application.reading import decoded
from foliostream.application.receiving import Received
from foliostream.application.symbols import Symbols
from foliostream.domain.times import iso
from foliostream.errors import CallerError, ConflictError, NotFoundError, RefusedError, RetryableError
from foliostream.ports import (
    SYMBOL_BUCKETS,
    WALK_BUCKETS,
    Clock,
    Connections,
    Ledger,
    Rebuild,
    RebuildQueue,
    RebuildRecords,
    Segment,
    Snapshots,
)

# Portfolios of one step: a second or two of writes.
PAGE_SIZE = 500
# How long one invocation works before it hands on: short beside the function's timeout, since a step may take seconds
# itself.
WORK_MS = 5_000
# The walk misses what was created a moment ago, and nobody else projects what was projected before the store was lost.
FIRST_DELAY_SECONDS = 2
# The last part of a run: who watches. Items of the connections' table looked at in one step.
WATCHERS = WALK_BUCKETS
WATCH_PAGE_SIZE = 200
# Prices are put back before any portfolio, by the call that starts the run; what is left then the next sweep puts back.
PRICES_MS = 15_000


class Ask(NamedTuple):
    """A message of a rebuild to itself: go on with this bucket."""

    message_id: str
    run_id: str
    bucket: int


class _Message(Struct):
    run_id: str
    bucket: Annotated[int, Meta(ge=0, le=WATCHERS)]


_messages = msgspec.json.Decoder(_Message)


def asks(received: Sequence[Received]) -> tuple[list[Ask], list[str]]:
    """What messages ask for, and the ids of those that cannot be read."""
    found, broken = [], []
    for item in received:
        try:
            message = decoded(_messages, item.body)
        except CallerError:
            broken.append(item.message_id)
        else:
            found.append(Ask(item.message_id, message.run_id, message.bucket))
    return found, broken


@dataclass
class PartReport:
    """What an invocation did. ``broken``: portfolio id -> why it cannot be projected; ``failed``: messages that have
    to come again; ``superseded``: messages of a run that is not the current one any more."""

    portfolios: int = 0
    broken: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    superseded: int = 0


@dataclass(frozen=True)
class HotRebuild:
    """``new_run_id`` gives a name that was never used before."""

    ledger: Ledger
    records: RebuildRecords
    queue: RebuildQueue
    projector: Projector
    symbols: Symbols
    connections: Connections
    snapshots: Snapshots
    marker: Marker
    clock: Clock
    new_run_id: Callable[[], str]

    def start(self) -> dict[str, object]:
        """Begin with the first portfolio; a run that was under way is superseded. Its progress."""
        self._restore_prices()
        run = Rebuild(self.new_run_id(), self.clock.now_ms(), [Segment(bucket) for bucket in range(WALK_BUCKETS + 1)])
        self.records.begin(run)
        return self._send(run, FIRST_DELAY_SECONDS)

    def resume(self) -> dict[str, object]:
        """Go on where the current run stopped, should its messages have been lost. Harmless if they were not."""
        return self._send(self._current(), 0)

    def progress(self) -> dict[str, object]:
        """How far the current run is; ``NotFoundError`` if there never was one."""
        return describe(self._current())

    def work(self, asked: Sequence[Ask]) -> PartReport:
        """Go on with the buckets in turn until the time is over; what is left goes back into the queue."""
        report = PartReport()
        stop_at_ms = self.clock.now_ms() + WORK_MS
        waiting = list(asked)
        while waiting and self.clock.now_ms() < stop_at_ms:
            waiting = [ask for ask in waiting if self._safely(self._step, ask, report)]
        for ask in waiting:
            self._safely(self._hand_on, ask, report)
        return report

    def _safely(self, work: Callable[[Ask, PartReport], bool], ask: Ask, report: PartReport) -> bool:
        """Whether there is more to do for the bucket now."""
        try:
            return work(ask, report)
        except RetryableError:
            report.failed.append(ask.message_id)
            return False

    def _step(self, ask: Ask, report: PartReport) -> bool:
        """One page of one bucket: projected, marked, then counted as done."""
        before = self.records.segment(ask.run_id, ask.bucket)
        if before is None or before.is_finished:
            report.superseded += before is None
            return False
        after, broken = self._watchers(before) if ask.bucket == WATCHERS else self._portfolios(before)
        try:
            self.records.advance(ask.run_id, before, after)
        except ConflictError:
            # Another copy of the message is at work on the bucket, or the run is over: that one goes on.
            return False
        report.portfolios += after.portfolios - before.portfolios
        report.broken |= broken
        return not after.is_finished

    def _portfolios(self, before: Segment) -> tuple[Segment, dict[str, str]]:
        page = self.ledger.walk(before.bucket, before.cursor, PAGE_SIZE)
        found, broken = readable(self.ledger, page.portfolio_ids)
        projected = self.projector.project(found, "bulk")
        if projected.again:
            raise RetryableError(next(iter(projected.again.values())))
        broken |= projected.broken
        after = Segment(
            bucket=before.bucket,
            cursor=page.cursor,
            portfolios=before.portfolios + len(projected.stored),
            broken=before.broken + len(broken),
            is_finished=page.cursor is None,
        )
        return after, broken

    def _watchers(self, before: Segment) -> tuple[Segment, dict[str, str]]:
        """Subscribers watch again, and are sent whatever they missed."""
        page = self.connections.watches(before.cursor, WATCH_PAGE_SIZE)
        now_ms = self.clock.now_ms()
        live = [watch for watch in page.watches if watch.lease_until_ms > now_ms]
        for watch in live:
            # Too many watchers are refused as they were when they came: the others were first.
            with suppress(RefusedError):
                self.snapshots.watch(*watch)
        self.marker.connections({watch.connection_id for watch in live})
        return replace(before, cursor=page.cursor, is_finished=page.cursor is None), {}

    def _restore_prices(self) -> None:
        stop_at_ms = self.clock.now_ms() + PRICES_MS
        for bucket in range(SYMBOL_BUCKETS):
            if self.clock.now_ms() >= stop_at_ms:
                return
            self.symbols.restore(bucket)

    def _hand_on(self, ask: Ask, _: PartReport) -> bool:
        self.queue.send(ask.run_id, [ask.bucket])
        return False

    def _current(self) -> Rebuild:
        run = self.records.current()
        if run is None:
            raise NotFoundError("the hot store was never rebuilt", code="REBUILD_NOT_FOUND")
        return run

    def _send(self, run: Rebuild, delay_seconds: int) -> dict[str, object]:
        unfinished = [segment.bucket for segment in run.segments if not segment.is_finished]
        self.queue.send(run.run_id, unfinished, delay_seconds=delay_seconds)
        return describe(run)


def describe(run: Rebuild) -> dict[str, object]:
    """A run's progress, ready for JSON."""
    return {
        "run_id": run.run_id,
        "started_at": iso(run.started_at_ms),
        "is_finished": all(segment.is_finished for segment in run.segments),
        "parts": len(run.segments),
        "parts_finished": sum(segment.is_finished for segment in run.segments),
        "portfolios": sum(segment.portfolios for segment in run.segments),
        "broken": sum(segment.broken for segment in run.segments),
    }
