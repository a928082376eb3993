"""What must hold: watched while the simulation runs, and looked at once everything is quiet."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from foliostream.domain import coalescing, price
from foliostream.domain.coalescing import DirtyMessage
from foliostream.domain.keys import ACCOUNT_TYPES, split_key
from foliostream.domain.pacing import GRID_MS_MAX, NO_PACE, Pace
from foliostream.domain.portfolio import Portfolio
from foliostream.domain.price import Price
from foliostream.domain.snapshot import Snapshot
from foliostream.ports import Candidate, Paced, Saved
from tests.simulation import showing
from tests.simulation.lambdas import Invocation, current_invocation
from tests.simulation.world import MS, World

SKEW_MS = 50
VIOLATIONS_MAX = 20
MARGIN_EVENTS = ("margin_call", "stop_out", "margin_restored")
BREACHES = ("call", "stop_out")
# A message's window, attempt and keys.
_Name = tuple[int, int, tuple[str, ...]]


@dataclass
class Seen:
    """A portfolio's newest snapshot as it was when it was written."""

    version: int
    ledger_version: int
    marks: dict[str, Decimal]
    written_us: int
    state: str


@dataclass
class Untold:
    """Clients that wait to be told of a portfolio's newest snapshot, and who wrote it."""

    by: Invocation | None
    watchers: set[str]

    def is_left_by(self, other: Invocation | None) -> bool:
        """Whether nobody comes back to tell them: who wrote it is gone, and its messages are done with by another."""
        if self.by is None or other is None or not self.watchers:
            return False
        return self.by.outcome != "running" and bool(self.by.message_ids & other.message_ids)


@dataclass
class Figures:
    """What a run was: for the summary, and so that a test can see that storms are storms."""

    prices: int = 0
    valuations: int = 0
    redelivered: int = 0
    posts: int = 0
    crashes: int = 0
    failures: int = 0
    leaked_records: int = 0
    granted: int = 0
    held_back: int = 0
    margin_events: int = 0
    slowest_us: Counter[str] = field(default_factory=Counter)


class Watch:
    """Sees every change at the moment it is made. ``bound_us`` gives the longest time from an accepted price to a
    snapshot that shows it, by account type, where nothing fails; None where something may."""

    def __init__(self, world: World, bound_us: Callable[[str], int | None]) -> None:
        self.violations: list[str] = []
        self.figures = Figures()
        self.history: dict[str, list[tuple[int, Decimal]]] = {}
        self.seen: dict[str, Seen] = {}
        self.contents: dict[tuple[str, int], tuple[int, dict[str, Decimal]]] = {}
        # Whose book cannot be read, and since when it can be again.
        self.poisoned: set[str] = set()
        self.mended: dict[str, int] = {}
        self.touched: set[str] = set()
        self.busy: set[str] = set()
        self.posted_versions: dict[tuple[str, str], int] = {}
        self.valuations: Counter[str] = Counter()
        self.windows: dict[str, set[int]] = {}
        self.dated_back: Counter[str] = Counter()
        self.raised: set[str] = set()
        self.told: dict[str, Mapping[str, object]] = {}
        # Margin accounts of which something was still to follow.
        self.pending: set[str] = set()
        self._breach: dict[str, int] = {}
        # A clock that was set back after somebody waited for it may name an earlier time for a read than it was.
        self.set_back_ms = 0
        self.is_promised_again: Callable[[str, DirtyMessage], bool] = lambda _key, _message: False
        self.intervals: dict[str, list[int | None]] = {}
        self._granted: dict[str, Pace] = {}
        self._world = world
        self._bound_us = bound_us
        self._positions: dict[tuple[str, Decimal], tuple[int, int]] = {}
        self._holders: dict[str, dict[str, int]] = {}
        self._types: dict[str, str] = {}
        self._committed: dict[tuple[str, int], int] = {}
        self._books: dict[tuple[str, int], Portfolio] = {}
        self._given_up: set[str] = set()
        self._sent: set[_Name] = set()
        self._untold: dict[str, Untold] = {}
        # The latest of all snapshots: the newest one may have been read over a longer time, from an earlier one on.
        self._read_at_ms: dict[str, int] = {}

    def violated(self, guarantee: str, what: str) -> None:
        if len(self.violations) < VIOLATIONS_MAX:
            self.violations.append(f"{guarantee} at {self._world.now_us / MS:.3f} ms: {what}")
        self._world.trace("VIOLATED", guarantee, what)

    # --- prices, books, dependents -----------------------------------------------------------------------------------

    def priced(self, symbol: str, stored: Price) -> None:
        """A price was accepted."""
        self.figures.prices += 1
        mark = price.mark(stored)
        history = self.history.setdefault(symbol, [])
        if mark is not None and (not history or history[-1][1] != mark.value):
            first, _ = self._positions.get((symbol, mark.value), (len(history), 0))
            self._positions[symbol, mark.value] = first, len(history)
            history.append((self._world.now_us, mark.value))
        self.touched.update(name for name, symbols in self._holders.items() if symbol in symbols)

    def added(self, portfolio_key: str, symbols: Collection[str]) -> None:
        """Dependents were added."""
        account_type, identifier = split_key(portfolio_key)
        self._types[identifier] = account_type
        for symbol in symbols:
            self._holders.setdefault(identifier, {}).setdefault(symbol, self._world.now_us)

    def committed(self, portfolio: Portfolio) -> None:
        """The ledger has another version."""
        self._types[portfolio.portfolio_id] = portfolio.account_type
        self.touched.add(portfolio.portfolio_id)
        self._committed[portfolio.portfolio_id, portfolio.version] = self._world.now_us
        self._books[portfolio.portfolio_id, portfolio.version] = portfolio
        self.intervals.setdefault(portfolio.portfolio_id, []).append(portfolio.update_interval_ms)

    def paced(self, change: Paced) -> None:
        """G2: of a portfolio with an interval, prices are let through once in the shortest that it ever had."""
        identifier, pace = change.portfolio_id, change.after
        before = self._granted.get(identifier, NO_PACE)
        if pace.granted_for_ms == before.granted_for_ms:
            return
        self._granted[identifier] = pace
        self.figures.granted += 1
        intervals = self.intervals[identifier]
        shortest_ms = min(interval or 0 for interval in intervals)
        if pace.granted_ms < before.granted_ms + shortest_ms:
            again_ms = pace.granted_ms - before.granted_ms
            self.violated("G2", f"prices had {identifier} valued after {again_ms} ms, its interval is {shortest_ms}")

    # --- snapshots ---------------------------------------------------------------------------------------------------

    def valued(self, candidates: Sequence[Candidate]) -> None:
        """Somebody is about to save valuations."""
        valuations = [candidate for candidate in candidates if not _is_confirmation(candidate)]
        self.figures.valuations += len(valuations)
        invocation = current_invocation()
        if invocation is not None:
            for candidate in valuations:
                identifier = candidate.snapshot.portfolio_id
                invocation.notes[identifier] = invocation.notes.get(identifier, 0) + 1

    def ended(self, invocation: Invocation) -> None:
        """Counts what an invocation valued because of first deliveries (G2); another try of the same one after
        somebody else was faster is the same valuation."""
        self.figures.crashes += invocation.outcome == "crashed"
        self.figures.failures += invocation.outcome == "failed"
        repeated = [item for item in invocation.received if item.receive_count > 1]
        self.figures.redelivered += len(repeated)
        if invocation.outcome != "done" or invocation.source not in ACCOUNT_TYPES:
            return
        except_for = {
            split_key(key)[1]
            for item in invocation.received
            for message in [json.loads(item.body)]
            if item.receive_count > 1 or message["attempt"]
            for key in message["keys"]
        }
        self.valuations.update(invocation.notes.keys() - except_for)

    def saved(self, candidate: Candidate, saved: Saved, by: Invocation | None) -> None:
        """G5, G6 and G3: the snapshot against its own book and prices, against the one it replaces, and how old what it
        shows has become meanwhile. ``by``: who writes it, and has to tell those who watch."""
        if not saved.written:
            return
        snapshot = candidate.snapshot
        identifier = snapshot.portfolio_id
        old = self.seen.get(identifier)
        if _is_confirmation(candidate):
            self._confirmed(candidate, old)
            return
        self._judged(snapshot, old)
        self._untold[identifier] = Untold(by, set(saved.watchers))
        if snapshot.read_at_ms < self._read_at_ms.get(identifier, 0):
            self.dated_back[identifier] += 1
        self._read_at_ms[identifier] = max(self._read_at_ms.get(identifier, 0), snapshot.read_at_ms)
        version, ledger_version = snapshot.version, snapshot.ledger_version
        state = snapshot.margin.state if snapshot.margin else "ok"
        new = Seen(version, ledger_version, showing.marks(snapshot), self._world.now_us, state)
        self.seen[identifier] = new
        self.contents[identifier, version] = ledger_version, new.marks
        total = showing.total(self._books[identifier, ledger_version], new.marks)
        if snapshot.total_value != total:
            self.violated("G5", f"{identifier}: total {snapshot.total_value} where the parts make {total}")
        if old is not None:
            self._compare(identifier, old, new)
        self._time(identifier, old, new)

    def _confirmed(self, candidate: Candidate, old: Seen | None) -> None:
        """Of a snapshot that stands only the events are struck out that were told."""
        snapshot = candidate.snapshot
        if old is None or (old.ledger_version, old.marks) != (snapshot.ledger_version, showing.marks(snapshot)):
            self.violated("G6", f"{snapshot.portfolio_id}: version {snapshot.version} is written twice")

    def _judged(self, snapshot: Snapshot, old: Seen | None) -> None:
        """G8: what a snapshot that stands makes of a margin account, has to be told."""
        if snapshot.margin is None:
            return
        before, now = old.state if old else "unknown", snapshot.margin.state
        identifier = snapshot.portfolio_id
        name = f"{self._types[identifier]}:{identifier}"
        if now in BREACHES and before not in BREACHES:
            self._breach[identifier] = snapshot.version
            self.raised.add(f"margin_call:{name}:{snapshot.version}")
        if now == "stop_out" and before != "stop_out":
            self.raised.add(f"stop_out:{name}:{snapshot.version}")
        if before in BREACHES and now not in BREACHES and (snapshot.total_value or 0) > 0:
            self.raised.add(f"margin_restored:{name}:{self._breach[identifier]}")
        if snapshot.margin.is_pending:
            self.pending.add(identifier)

    def published(self, kind: str, detail: Mapping[str, Any]) -> None:
        """G8: the same event is the same whenever it is told, and none is told before the snapshot that raises it."""
        if kind not in MARGIN_EVENTS:
            return
        event_id = str(detail["event_id"])
        self.figures.margin_events += 1
        if event_id not in self.raised:
            self.violated("G8", f"{event_id} is told and no snapshot raised it")
        # What a stop-out would close is made from the prices of the moment in which it is told.
        inside = detail[kind]
        content = {name: value for name, value in inside.items() if name != "plan"}
        if self.told.setdefault(event_id, content) != content:
            self.violated("G8", f"{event_id} is told in two ways: {self.told[event_id]} and {content}")

    def _compare(self, identifier: str, old: Seen, new: Seen) -> None:
        if new.version <= old.version:
            self.violated("G6", f"{identifier}: version {old.version} is followed by {new.version}")
        if new.ledger_version < old.ledger_version:
            self.violated("G6", f"{identifier}: book {old.ledger_version} is followed by {new.ledger_version}")
        for symbol in new.marks.keys() & old.marks.keys():
            shown, before = new.marks[symbol], old.marks[symbol]
            if self._positions[symbol, shown][1] < self._positions[symbol, before][0]:
                self.violated("G6", f"{identifier}: {symbol} at {before} is followed by the older {shown}")

    def _time(self, identifier: str, old: Seen | None, new: Seen) -> None:
        for symbol, mark in new.marks.items():
            since_us = self._holders.get(identifier, {}).get(symbol)
            if since_us is None:
                continue
            shown_before = old.marks.get(symbol) if old else None
            if old and shown_before is None and self.history[symbol][0][0] <= old.written_us:
                continue  # it had a price and was not held
            missed = self._positions[symbol, shown_before][1] + 1 if shown_before is not None else 0
            while missed < len(self.history[symbol]) and self.history[symbol][missed][0] < 0:
                missed += 1  # from before the beginning
            if missed <= self._positions[symbol, mark][1]:
                since_us = max(self.history[symbol][missed][0], since_us)
                self._late(identifier, since_us, f"{symbol} at {mark}", wait_us=self._interval_us(identifier))
        known = old.ledger_version + 1 if old else 2
        if known <= new.ledger_version:
            self._late(identifier, self._committed[identifier, known], f"book {known}")

    def _interval_us(self, identifier: str) -> int:
        """How long prices may have to wait: the longest interval that it ever had, rounded up, and the time until a
        batch of delayed messages is due."""
        longest_ms = max(interval or 0 for interval in self.intervals[identifier])
        return (longest_ms + 2 * GRID_MS_MAX) * MS if longest_ms else 0

    def _late(self, identifier: str, since_us: int, what: str, wait_us: int = 0) -> None:
        if identifier in self.poisoned or identifier in self.mended:
            return
        account_type, age_us = self._types[identifier], self._world.now_us - since_us
        self.figures.slowest_us[account_type] = max(self.figures.slowest_us[account_type], age_us)
        bound_us = self._bound_us(account_type)
        if bound_us is not None and age_us > bound_us + wait_us:
            limit = f"at most {(bound_us + wait_us) / MS:.0f}"
            self.violated("G3", f"{account_type}:{identifier} shows {what} after {age_us / MS:.0f} ms, {limit}")

    # --- promises and messages ---------------------------------------------------------------------------------------

    def sent(self, queue: str, message: DirtyMessage) -> None:
        """A bundle reached a queue, if only to be swallowed as a duplicate."""
        self._sent.add(_name(message))
        self.figures.held_back += queue == "delayed" and not message.attempt
        if queue == "push":
            for untold in self._untold.values():
                untold.watchers.difference_update(message.keys)
        if queue in ACCOUNT_TYPES and not message.attempt:
            for key in message.keys:
                self.windows.setdefault(split_key(key)[1], set()).add(message.window)

    def forgets(self, message: DirtyMessage, by: Invocation | None) -> None:
        """A promise may be forgotten only when it is kept, or made again, and all who watch are told."""
        for key in message.keys:
            _, identifier = split_key(key)
            is_kept = self.is_kept(identifier, message)
            if not (is_kept or self.is_promised_again(key, message) or identifier in self._given_up):
                self.violated("records", f"the promise of {key} for {message.window_end_ms} is forgotten, not kept")
            untold = self._untold.get(identifier)
            if untold is not None and untold.is_left_by(by) and identifier not in self.poisoned:
                self.violated("push", f"the promise of {key} is forgotten and {untold.watchers} are not told of it")

    def is_sent(self, message: DirtyMessage) -> bool:
        """Whether the promise's message ever reached a queue; whoever made it may have died before."""
        return _name(message) in self._sent

    def is_kept(self, identifier: str, message: DirtyMessage) -> bool:
        """Whether the portfolio was valued from what was read after the message's window."""
        read_at_ms = self._read_at_ms.get(identifier)
        return read_at_ms is not None and read_at_ms + self.set_back_ms >= coalescing.due_ms(message, SKEW_MS)

    def gave_up(self, queue: str, message: DirtyMessage, reason: str) -> None:
        """Dead letters of our own are for portfolios that cannot be valued, and for clients that take nothing."""
        if queue == "push" and reason.startswith("post"):
            self.busy.update(message.keys)
            return
        names = {key.partition(":")[2] or key for key in message.keys}
        self._given_up |= names
        if not names <= self.poisoned:
            self.violated("G1", f"{queue} gives {message.keys} up: {reason}")

    def posted(self, connection_id: str, payload: bytes) -> None:
        """A client's versions rise, and no update is for a version that it was not sent."""
        self.figures.posts += 1
        message = json.loads(payload)
        for update in [message] if message["type"] == "snapshot" else message.get("updates", []):
            name = connection_id, update["portfolio_id"]
            known = self.posted_versions.get(name, 0)
            if update["version"] < known:
                self.violated("push", f"{name} is sent {update['version']} after {known}")
            if update.get("previous_version", 0) > known:
                self.violated("push", f"{name} has {known} and is sent what follows {update['previous_version']}")
            self.posted_versions[name] = update["version"]


def _name(message: DirtyMessage) -> _Name:
    return message.window, message.attempt, tuple(message.keys)


def _is_confirmation(candidate: Candidate) -> bool:
    return candidate.expected is not None and candidate.expected.version == candidate.snapshot.version
