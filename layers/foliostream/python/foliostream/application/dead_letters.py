"""Dead letters: how many there are, what they say, and once more into work with them.

A letter is worked in again first and deleted afterwards: who dies in between leaves it there, and it is worked in
twice. That is harmless, since everything that consumes them bears repetition:

- price, price_rule: a price as old as the stored one marks its dependents again, an older one is refused.
- live, demo, paper, bulk, delayed, refresh: valued from what the stores say now; the version only rises.
- push: the connection is sent what it has not been sent, which may be nothing.
- ledger: the newest book is projected; an older one never replaces it. The event has the id of its version. A part of
  the stream is read again and projected as it was delivered; a day later it is gone.
- order_filled, order_filled_rule, fills: the ledger takes a transaction id once, for ever.
- orders: the fill of an order has a transaction id of its own, and only an open order fills.
- liquidations: closes are named by their plan; a plan whose book or time is over is left.
- reconcile: reads the broker and the books as they are now; an adjustment is booked under the id of its finding.
- close_day: a day has one row; book_swaps: a swap is named by portfolio, symbol and night.
- rebuild: the part of a run that is over, or that somebody is ahead in, is left.
- feed: publishes the prices of now; sweep: repairs what it finds now; the schedules start one of these.
- analyze: stores nothing once its run is over.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from foliostream.application import streaming
from foliostream.application.marking import Marker
from foliostream.application.project_ledger import LedgerProjection
from foliostream.application.receiving import Change
from foliostream.domain import letters as reading
from foliostream.domain import portfolio as portfolios
from foliostream.domain.coalescing import DirtyMessage, Reason
from foliostream.domain.keys import split_key
from foliostream.domain.letters import Part
from foliostream.domain.times import iso
from foliostream.errors import CallerError, FoliostreamError, PermanentError, RetryableError
from foliostream.ports import Clock, Functions, Ledger, LedgerStream, Letter, Letters, QueueDepths

# Of one call: with a second for three requests a letter it is far from over when the function's time is.
LIMIT_MAX = 100
# Looked through for the ids asked for.
LOOKED_AT_MAX = 1_000
# Longer than the function may run, so that nobody else gets a letter that is being worked in again.
HOLD_SECONDS = 70
DIRTY = ("live", "demo", "paper", "bulk", "delayed")
PUSH, REFRESH, LEDGER = "push", "refresh", "ledger"

_dirty = msgspec.json.Decoder(DirtyMessage)


class Row(Struct, frozen=True):
    """``oldest_age_seconds`` of at most ten that are looked at (of a FIFO queue those are the oldest); None: none could
    be looked at."""

    queue: str
    letters: int
    held: int
    oldest_age_seconds: int | None = None


class Shown(Struct, frozen=True, omit_defaults=True):
    """``sent_at``: when it came here, or, given up by SQS from a standard queue, when it was first sent;
    ``first_received_at``: its first delivery."""

    id: str
    reason: str
    detail: str
    attempts: int
    receives: int
    sent_at: str
    body: object
    first_received_at: str = ""


@dataclass
class Replayed:
    """Ids that were worked in again, and why others were not; ``before_ms``: hand it back to go on with the same
    letters only, without what was given up since; ``is_complete``: of what was asked for, no more can be had now."""

    queue: str
    before_ms: int
    replayed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    is_complete: bool = False

    @property
    def count(self) -> int:
        """Letters that were worked on."""
        return len(self.replayed) + len(self.failed)


@dataclass(frozen=True)
class DeadLetters:
    """``new_nonce`` gives a string that was never used before."""

    letters: Letters
    depths: QueueDepths
    functions: Functions
    ledger: Ledger
    stream: LedgerStream
    projection: Callable[[], LedgerProjection]
    marker: Callable[[], Marker]
    clock: Clock
    new_nonce: Callable[[], str]

    def rows(self) -> list[Row]:
        """Every queue of dead letters, the empty ones too."""
        depths = self.depths.depths()
        return [
            Row(
                name, depths[name].waiting, depths[name].in_flight, self._oldest(name) if depths[name].waiting else None
            )
            for name in self.letters.names()
        ]

    def show(self, name: str, ids: Collection[str], limit: int) -> list[Shown]:
        """At most ``limit``, or those of the ids that can be found; they stay where they are."""
        self._check(name, limit)
        with _Held(self.letters, name) as held:
            held.look(lambda: len(held.matching(ids)) >= min(limit, len(ids) or limit))
            return [_shown(letter) for letter in held.matching(ids)[:limit]]

    def replay(self, name: str, ids: Collection[str], limit: int, before_ms: int | None) -> Replayed:
        """Those of the ids, or all (no ids) that were there before ``before_ms`` (now, if None), at most ``limit``.

        One that can never be worked in again stays, with the reason in ``failed``; where a store or queue fails, the
        call ends, and those after it stay in their order.
        """
        self._check(name, limit)
        done = Replayed(name, self.clock.now_ms() if before_ms is None else before_ms)
        with _Held(self.letters, name) as held:
            done.is_complete = self._replay(held, set(ids), limit, done)
        done.missing = sorted(set(ids) - set(done.replayed) - done.failed.keys())
        return done

    def _replay(self, held: _Held, wanted: set[str], limit: int, done: Replayed) -> bool:
        while len(held.seen) < LOOKED_AT_MAX:
            batch = held.more()
            if not batch:
                return True
            for letter in batch:
                is_wanted = letter.letter_id in wanted if wanted else letter.sent_at_ms <= done.before_ms
                if is_wanted and not (done.count < limit and self._replay_one(held, letter, done)):
                    return False
            if wanted and wanted <= {*done.replayed, *done.failed}:
                return True
        return False

    def _replay_one(self, held: _Held, letter: Letter, done: Replayed) -> bool:
        """Whether it makes sense to go on."""
        try:
            self._work_in(held.name, letter)
            self.letters.delete(held.name, letter)
        except (FoliostreamError, msgspec.MsgspecError) as fault:
            code = fault.code if isinstance(fault, FoliostreamError) else "UNREADABLE"
            done.failed[letter.letter_id] = f"{code}: {fault}"
            return not isinstance(fault, RetryableError)
        held.gone(letter)
        done.replayed.append(letter.letter_id)
        return True

    def _work_in(self, name: str, letter: Letter) -> None:
        if start := reading.start(letter.body, letter.attributes):
            self.functions.start(start.function, start.payload)
        elif place := reading.part(letter.body):
            self._project_part(place)
        elif reading.names_a_place_only(letter.body):
            raise PermanentError(
                "it says where, not what: a topic is read again from the offset", code="NOTHING_TO_REPLAY"
            )
        elif name in (*DIRTY, PUSH, REFRESH, LEDGER):
            self._mark(name, _message(letter.body))
        else:
            self.letters.send_back(name, letter, self.new_nonce())

    def _mark(self, name: str, message: DirtyMessage) -> None:
        """Promised anew, in a window of now and as a first attempt, since the letter's own window is over: its id may
        still be remembered, and a snapshot of meanwhile would pass for what it asks for."""
        if name == PUSH:
            self.marker().connections(message.keys)
            return
        if name == LEDGER:
            self._project(message.keys)
            return
        by_type: dict[str, list[str]] = {}
        for key in message.keys:
            by_type.setdefault(split_key(key)[0], []).append(key)
        if name == REFRESH:
            for key in message.keys:
                self.marker().refresh(key)
        else:
            # To the type's own queue, whatever asked for it first: no price may pass for it, as a sweep's mark.
            reason: Reason = "sweep" if name in by_type else "bulk"
            for account_type, keys in by_type.items():
                self.marker().mark(account_type, keys, self.marker().window(account_type), reason)

    def _project(self, keys: Collection[str]) -> None:
        """The books as they are now, as if the stream had just delivered them."""
        found = self.ledger.load([key.partition(":")[2] for key in keys])
        if len(found) < len(keys):
            raise PermanentError(f"no such portfolio in the ledger: {', '.join(keys)}", code="PORTFOLIO_NOT_FOUND")
        report = self.projection()(
            [
                Change(f"replayed-{number}", f"{book.account_type}:{name}", portfolios.encode(book))
                for number, (name, book) in enumerate(found.items())
            ]
        )
        if report.again:
            raise RetryableError(f"{', '.join(keys)} cannot be projected now")

    def _project_part(self, place: Part) -> None:
        """What Lambda gave up, as it would have delivered it. What can never be projected gets a letter of its own."""
        for records in self.stream.records(place):
            report = self.projection()(
                streaming.changes(records), streaming.amended(records), streaming.booked_fills(records)
            )
            if report.again:
                raise RetryableError(f"{len(report.again)} changes of {place.shard} cannot be projected now")

    def _oldest(self, name: str) -> int | None:
        with _Held(self.letters, name) as held:
            sent_at_ms = min((letter.sent_at_ms for letter in held.more()), default=None)
        return None if sent_at_ms is None else max(self.clock.now_ms() - sent_at_ms, 0) // 1000

    def _check(self, name: str, limit: int) -> None:
        if name not in self.letters.names():
            raise CallerError(f"no dead letters of {name!r}: {', '.join(self.letters.names())}", code="UNKNOWN_QUEUE")
        if not 1 <= limit <= LIMIT_MAX:
            raise CallerError(f"limit is 1 to {LIMIT_MAX}, is {limit}")


class _Held:
    """Letters that are looked at; at the end those that are not gone are released."""

    def __init__(self, letters: Letters, name: str) -> None:
        self.name = name
        self.seen: dict[str, Letter] = {}
        self._letters = letters

    def __enter__(self) -> _Held:
        return self

    def __exit__(self, *_: object) -> None:
        self._letters.release(self.name, list(self.seen.values()))

    def more(self) -> list[Letter]:
        """The next ones, none twice; a standard queue may deliver one again."""
        batch = self._letters.hold(self.name, HOLD_SECONDS)
        fresh = [letter for letter in batch if letter.letter_id not in self.seen]
        self.seen |= {letter.letter_id: letter for letter in batch}
        return fresh

    def look(self, is_enough: Callable[[], bool]) -> None:
        """Until it is, or no more come, or ``LOOKED_AT_MAX`` were looked at."""
        while not is_enough() and len(self.seen) < LOOKED_AT_MAX and self.more():
            pass

    def matching(self, ids: Collection[str]) -> list[Letter]:
        """Those of the ids, or all; oldest first."""
        found = [letter for letter in self.seen.values() if not ids or letter.letter_id in ids]
        return sorted(found, key=lambda letter: letter.sent_at_ms)

    def gone(self, letter: Letter) -> None:
        """Deleted: nothing to be released."""
        del self.seen[letter.letter_id]


def _message(body: str) -> DirtyMessage:
    try:
        message = _dirty.decode(body)
    except (msgspec.MsgspecError, RecursionError) as fault:
        raise PermanentError(f"no message that can be read: {fault}", code="INVALID") from fault
    if not message.keys:
        raise PermanentError("it names nobody", code="INVALID")
    return message


def _shown(letter: Letter) -> Shown:
    why = reading.why(letter.body, letter.attributes, letter.receives)
    first_ms = letter.first_received_at_ms
    return Shown(
        id=letter.letter_id,
        reason=why.reason,
        detail=why.detail,
        attempts=why.attempts,
        receives=letter.receives,
        sent_at=iso(letter.sent_at_ms),
        body=reading.shown(letter.body),
        first_received_at=iso(first_ms) if first_ms else "",
    )
