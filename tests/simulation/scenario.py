"""A storm made from a seed: who holds what, what comes in when, and what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

import msgspec
from msgspec.structs import replace

from foliostream.application import price_input
from foliostream.application.amending import Wanted
from foliostream.application.comparing import Comparison
from foliostream.application.late_promises import LatePromises
from foliostream.application.marking import Marker
from foliostream.application.sweep_report import SweepReport
from foliostream.domain import portfolio as books
from foliostream.domain.keys import ACCOUNT_TYPES, split_key
from foliostream.domain.pacing import RETRY_MS_SLOW
from foliostream.domain.portfolio import Entry, Portfolio
from foliostream.domain.price import PriceUpdate
from foliostream.ports import Connection
from tests.fakes.clock import FakeClock
from tests.fakes.hot_store import FakeHotStore
from tests.fakes.notes import FakeNotes
from tests.fakes.queues import FakeQueues
from tests.simulation import showing
from tests.simulation.checks import SKEW_MS, Figures
from tests.simulation.lambdas import Invocation
from tests.simulation.machines import CALLS, Faults, Latency
from tests.simulation.stores import DELAYED
from tests.simulation.system import ALICE, EPOCH_MS, INSTRUMENTS, SYMBOLS, Container, Settings, System
from tests.simulation.world import MS, SECOND, World

# After a storm: a visibility timeout for what failed last, and again for what failed while it was worked on.
QUIET_US = 180 * SECOND
CLIENT_TRIES = 8
STORMS_MAX = 3
MONTH_MS = 30 * 86_400_000
# A portfolio whose book is mended is tried again within a quarter of an hour; where that tells an event of its margin,
# it is looked at once more a minute later.
MENDED_US = (RETRY_MS_SLOW + 60_000) * MS + QUIET_US


@dataclass
class Result:
    """``violations`` is empty if everything held."""

    seed: int
    violations: list[str]
    figures: Figures
    lines: list[str]


@cache
def _book(identifier: str, account_type: str, symbols: tuple[str, ...], margin: int = 0) -> Portfolio:
    """A portfolio that holds ten of each symbol and much cash; or, with ``margin`` dollars only, owes them."""
    known = {instrument.symbol: instrument for instrument in INSTRUMENTS}
    empty = Portfolio(
        portfolio_id=identifier,
        portfolio_name="Growth",
        owner=ALICE.subject,
        account_type=account_type,
        account_kind="margin" if margin else "cash",
        leverage=Decimal(5) if margin else None,
        base_currency="USD",
        cost_basis="average",
        created_at_ms=EPOCH_MS,
        updated_at_ms=EPOCH_MS,
        cash={"USD": Decimal(0)},
    )
    entries = [Entry("initial_cash", "DEPOSIT", EPOCH_MS, amount=Decimal(margin or 1_000_000), currency="USD")]
    entries += [_trade(f"first-{symbol}", symbol, -10 if margin else 10, EPOCH_MS) for symbol in symbols]
    return books.apply(empty, entries, known, EPOCH_MS)[0]


def _trade(identifier: str, symbol: str, quantity: int, at_ms: int) -> Entry:
    kind = "BUY" if quantity > 0 else "SELL"
    return Entry(identifier, kind, at_ms, instrument_id=symbol, quantity=Decimal(quantity), price=Decimal(7))


def _wire(update: PriceUpdate) -> dict[str, object]:
    """As in ``POST /api/v1/prices``."""
    fields = msgspec.structs.asdict(update)
    return {"ts": fields.pop("ts_ms")} | {name: value for name, value in fields.items() if value is not None}


def settings_of(world: World) -> Settings:
    """A deployment. Each kind of mishap is in some of the runs only: where everything fails all the time, little
    happens that could go wrong."""
    draw = world.random
    faults = Faults(duplicate=draw.choice((0, 0, 0.1)))
    if draw.random() < 0.65:
        faults = Faults(
            throttled=draw.choice((0, 0, 0.01, 0.04)),
            lost_answer=draw.choice((0, 0, 0.01, 0.04)),
            crash=draw.choice((0, 0.005, 0.02, 0.05)),
            twice=draw.choice((0, 0, 0.05)),
            hanging=draw.choice((0, 0, 0.01)),
            lost_receive=draw.choice((0, 0, 0.03)),
            lost_delete=draw.choice((0, 0, 0.05)),
            duplicate=draw.choice((0, 0.1)),
            fragile=draw.choice(CALLS) if draw.random() < 0.6 else "",
        )
    usual_ms, most_ms = draw.choice(((0.5, 2), (2, 8), (5, 40), (20, 150), (30, 600)))
    slow = draw.choice(CALLS) if draw.random() < 0.3 else ""
    return Settings(
        shards=draw.choice((1, 2, 4)),
        keys_per_message=draw.choice((1, 2, 500)),
        concurrency=draw.choice((2, 3, 5)),
        skew_us=draw.choice((0, SKEW_MS * MS, SKEW_MS * MS)),
        is_unsteady=draw.random() < 0.3,
        latency=Latency(int(usual_ms * MS), int(most_ms * MS), slow, 900 * MS),
        faults=faults,
    )


class Storm:
    """One run: some storms, each followed by silence, after which everything must be right. Prices carry numbers of
    their own, so that a snapshot tells which of them it shows."""

    def __init__(self, seed: int, *, is_traced: bool, change: Callable[[Settings], None]) -> None:
        self.world = World(seed, epoch_ms=EPOCH_MS, is_traced=is_traced)
        self._begin_us = self._length_us = 0
        settings = settings_of(self.world)
        change(settings)
        self.system = System(self.world, settings)
        self.seed = seed
        self._watch = self.system.watch
        self._symbols = SYMBOLS[: self.world.between(1, len(SYMBOLS))]
        self._last: dict[str, PriceUpdate] = {}
        self._number = 0
        self._quoted = {symbol for symbol in self._symbols if self.world.chance(0.2)}
        self._books = self._open()
        self._connect()

    # --- before ------------------------------------------------------------------------------------------------------

    def _open(self) -> dict[str, Portfolio]:
        opened = {}
        for number in range(self.world.between(1, 4)):
            account_type = self.world.random.choices(ACCOUNT_TYPES, (5, 3, 2))[0]
            held = self.world.random.sample(self._symbols, self.world.between(1, len(self._symbols)))
            margin = self.world.between(50, 800) if self.world.chance(self.system.settings.margin) else 0
            book = _book(f"p{number}", account_type, tuple(sorted(held)), margin)
            if self.world.chance(self.system.settings.paced):
                book = replace(book, update_interval_ms=self.world.random.choice(self.system.settings.intervals_ms))
            opened[book.portfolio_id] = book
            self.system.stores.ledger.create(book, [], "d")
            self.system.stores.hot.put_book(book)
            self.system.stores.add_holder(book.key, book.symbols)
        if self.world.chance(0.7):
            self.world.now_us = -1  # before the beginning: nobody was told
            for symbol in self._symbols:
                self.system.stores.put_price(self._new_price(symbol))
            self.world.now_us = 0
        self._watch.touched.clear()
        return opened

    def _connect(self) -> None:
        for number in range(self.world.between(0, 2)):
            name = f"c{number}"
            connection = Connection(name, ALICE.subject, frozenset(), EPOCH_MS, EPOCH_MS + 7_200_000)
            self.system.stores.connections.open(connection)
            self._start(0, lambda name=name: self._subscribe(name))

    # --- what comes in -----------------------------------------------------------------------------------------------

    def _plan(self) -> None:
        """A storm that begins now; what fails, does so until some time after it."""
        world, settings = self.world, self.system.settings
        self._begin_us = world.now_us
        self._length_us = world.between(400, 2_000) * MS
        self._break(settings)
        for at_us in self._price_times():
            self._start(at_us, self._prices)
        for _ in range(world.random.choice((0, 1, 2, 4))):
            self._start(self._time(), self._book_trade)
        for _ in range(world.random.choice((0, 1, 3))):
            self._start(self._time(), self._refresh)
        for _ in range(world.random.choice((0, 0, 1))):
            self._start(self._time(), self._bulk)
        for _ in range(world.random.choice((0, 0, 1))):
            self._start(self._time(), self._amend)
        for _ in range(world.random.choice((0, 0, 1))):
            self._start(self._time(), lambda: self._subscribe("c0"))
        if world.chance(0.15):
            world.at(self._time(), self._poison)

    def _break(self, settings: Settings) -> None:
        world, faults = self.world, settings.faults
        # Sometimes also what comes again after the visibility timeout meets them.
        longer_us = world.between(0, 4 * SECOND) + (40 * SECOND if world.chance(0.4) else 0)
        faults.until_us = self._begin_us + self._length_us + longer_us
        faults.outages.clear()
        if faults.fragile:
            faults.fragile = world.random.choice(settings.calls)
            if world.chance(0.3):
                start_us = self._time()
                faults.outages.append((start_us, start_us + world.between(100, 3_000) * MS))
        if settings.latency.slow:
            settings.latency.slow = world.random.choice(settings.calls)

    def _start(self, at_us: int, run: Callable[[], object]) -> None:
        self.world.at(at_us, self.world.start, run)

    def _time(self) -> int:
        """Some time in the storm, often near the end of a window."""
        at_us = self._begin_us + self.world.between(0, self._length_us)
        if self.world.chance(0.3):
            window_us = self.world.random.choice(tuple(self.system.settings.window_ms.values())) * MS
            at_us += window_us - (EPOCH_MS * MS + at_us) % window_us + self.world.between(-60 * MS, 60 * MS)
        return max(at_us, self._begin_us)

    def _price_times(self) -> list[int]:
        pattern = self.world.random.choice(("steady", "scattered", "bursts", "edges"))
        if pattern == "steady":
            step_us = self.world.random.choice((90, 150, 370)) * MS
            times = range(self.world.between(0, step_us), self._length_us, step_us)
            return [self._begin_us + at_us for at_us in times]
        if pattern == "scattered":
            return [self._time() for _ in range(self.world.between(3, 25))]
        if pattern == "edges":
            return self._edges()
        starts = [self._time() for _ in range(self.world.between(1, 4))]
        return [start + self.world.between(0, 30 * MS) for start in starts for _ in range(self.world.between(2, 8))]

    def _edges(self) -> list[int]:
        """In some windows, one early and some near the end."""
        window_us = self.world.random.choice(tuple(self.system.settings.window_ms.values())) * MS
        times = []
        for _ in range(self.world.between(1, 6)):
            at_us = self._begin_us + self.world.between(0, self._length_us)
            end_us = at_us + window_us - (EPOCH_MS * MS + at_us) % window_us
            times += [end_us - window_us + self.world.between(0, window_us // 4)]
            times += [end_us - self.world.between(0, 100 * MS) for _ in range(self.world.between(1, 3))]
        return [max(at_us, self._begin_us) for at_us in times]

    def _new_price(self, symbol: str, ts_ms: int | None = None, seq: int | None = None) -> PriceUpdate:
        self._number += 1
        ts_ms = EPOCH_MS + self.world.now_us // MS if ts_ms is None else ts_ms
        seq = self._number if seq is None else seq
        value = Decimal(self._number)
        if symbol in self._quoted:
            return PriceUpdate(symbol, ts_ms, seq, bid=value, ask=value)
        return PriceUpdate(symbol, ts_ms, seq, last=value)

    def _next_price(self, symbol: str) -> PriceUpdate:
        known, draw = self._last.get(symbol), self.world.random.random()
        if known is None or draw < 0.7:
            update = self._new_price(symbol)
        elif draw < 0.8:
            return known
        elif draw < 0.9:
            update = self._new_price(symbol, known.ts_ms, known.seq)
        else:
            return self._new_price(symbol, known.ts_ms - self.world.between(1, 2_000))
        self._last[symbol] = update
        return update

    def _prices(self) -> None:
        chosen = self._symbols
        if self.world.chance(0.6):
            chosen = self.world.random.sample(self._symbols, self.world.between(1, len(self._symbols)))
        updates = [self._next_price(symbol) for symbol in chosen]
        self.world.trace("feed", "prices", *(f"{u.symbol}={u.last or u.bid} ts={u.ts_ms} seq={u.seq}" for u in updates))
        if self.world.chance(0.6):
            body = msgspec.json.encode({"detail": {"updates": [_wire(item) for item in updates]}})
            self.system.stores.queues["price"].send(body.decode())
        else:
            parsed = price_input.Parsed(updates, [])
            self._persist(lambda container: container.prices(parsed))

    def _persist(self, handle: Callable[[Container], object]) -> None:
        """A client that asks until it is answered: only then has it been promised anything."""
        while self.system.ask(handle).outcome != "done":
            self.world.sleep(self.world.between(50, 1_000) * MS)

    def _try(self, handle: Callable[[Container], object]) -> Invocation:
        """A client that gives up at some time."""
        invocation = self.system.ask(handle)
        for _ in range(self.world.between(0, CLIENT_TRIES)):
            if invocation.outcome == "done" or (invocation.fault and not invocation.fault.retryable):
                break
            self.world.sleep(self.world.between(50, 1_000) * MS)
            invocation = self.system.ask(handle)
        return invocation

    def _book_trade(self) -> None:
        identifier = self.world.random.choice(sorted(self._books))
        self._number += 1
        quantity = 1 if self.world.chance(0.7) else -1
        now_ms = EPOCH_MS + self.world.now_us // MS
        entry = _trade(f"t{self._number}", self.world.random.choice(self._symbols), quantity, now_ms)
        if self._books[identifier].account_kind == "margin" and self.world.chance(0.5):
            entry = Entry(f"t{self._number}", "DEPOSIT", now_ms, amount=Decimal(400), currency="USD")
        self.world.trace("client", "trades", entry)
        self._try(lambda container: container.portfolios.update(ALICE, identifier, [entry]))

    def _refresh(self) -> None:
        identifier = self.world.random.choice(sorted(self._books))
        self._try(lambda container: container.portfolios.refresh(ALICE, identifier))

    def _bulk(self) -> None:
        """As an import marks what it brought."""
        chosen = self.world.random.choice(sorted(self._books.values(), key=lambda book: book.key))
        self._persist(
            lambda container: container.marker.mark(
                chosen.account_type, [chosen.key], container.marker.window(chosen.account_type), "bulk"
            )
        )

    def _amend(self) -> None:
        identifier, interval_ms = (
            self.world.random.choice(sorted(self._books)),
            self.world.random.choice(self.system.settings.intervals_ms),
        )
        self.world.trace("client", "asks for an interval of", interval_ms, "for", identifier)
        self._try(lambda container: container.amending(ALICE, identifier, Wanted(update_interval_ms=interval_ms)))

    def _subscribe(self, connection_id: str) -> None:
        chosen = sorted(self._books)
        if self.world.chance(0.4):
            chosen = self.world.random.sample(chosen, self.world.between(1, len(chosen)))
        body = json.dumps({"action": "subscribe", "portfolio_ids": chosen})
        self._persist(lambda container: container.watching.receive(connection_id, body))

    def _poison(self) -> None:
        identifier = self.world.random.choice(sorted(self._books))
        version, _ = self.system.stores.hot.books[identifier]
        self.system.stores.hot.books[identifier] = version, b"no book"
        self._watch.poisoned.add(identifier)
        self.world.trace("mishap", identifier, "cannot be read any more")

    # --- afterwards --------------------------------------------------------------------------------------------------

    def run(self) -> Result:
        for _ in range(self.world.between(1, STORMS_MAX)):
            self._plan()
            is_quiet = self.world.run(self._begin_us + self._length_us + QUIET_US)
            if not (is_quiet or self._watch.poisoned):
                self._watch.violated("G1", f"it is not quiet {QUIET_US // SECOND} s after the storm")
            self._look()
            if self._watch.violations:
                break
            self.world.run(self.world.now_us + self.world.random.choice((1, 60, 400)) * SECOND)
        if self._watch.poisoned and not self._watch.violations:
            self._mend()
        return Result(self.seed, self._watch.violations, self._watch.figures, self.world.lines)

    def _mend(self) -> None:
        """Books that could not be read can be again: nothing is marked, a retry has to find it."""
        hot, watch = self.system.stores.hot, self._watch
        for identifier in sorted(watch.poisoned):
            hot.books.pop(identifier)
            hot.put_book(self.system.stores.ledger.load([identifier])[identifier])
        watch.mended |= dict.fromkeys(watch.poisoned, self.world.now_us)
        watch.poisoned.clear()
        self.world.trace("mishap", "every book can be read again")
        if not self.world.run(self.world.now_us + MENDED_US):
            watch.violated("G1", f"it is not quiet {MENDED_US // SECOND} s after every book could be read")
        self._look()

    def _look(self) -> None:
        self._check_messages()
        for identifier in sorted(self._books):
            self._check(identifier)
        if not self._watch.poisoned:
            for event_id in sorted(self._watch.raised - self._watch.told.keys()):
                self._watch.violated("G8", f"{event_id} is not told")
        self._check_clients()
        self._check_promises()
        for mishap in self.system.mishaps:
            self._watch.violated("error", mishap)

    def _check_messages(self) -> None:
        for queue in self.system.stores.queues.values():
            for message in queue.messages:
                if (
                    queue.name == DELAYED
                    and {split_key(key)[1] for key in message.content.keys} <= self._watch.poisoned
                ):
                    continue
                self._watch.violated("queues", f"{queue.name} still holds {message}")
            for message in queue.dead:
                self._watch.violated("queues", f"{queue.name} gave up {message}")

    def _check(self, identifier: str) -> None:
        """G1 and G2 for one portfolio."""
        stores, watch = self.system.stores, self._watch
        windows, valuations = len(watch.windows.get(identifier, ())), watch.valuations[identifier]
        # A clock set back right after the wait dates the read too early: a second message of the window is not skipped.
        # So does a refresh that began before the window's end and was slower than the window's own valuation.
        most = (2 * windows if self.system.settings.is_unsteady else windows) + watch.dated_back[identifier]
        # A margin account is not fresh as long as events wait to be told, or a stop-out goes on: every message looks.
        if valuations > most and identifier not in watch.pending:
            watch.violated("G2", f"{identifier}: {valuations} valuations because of marks in {windows} windows")
        version, raw = stores.hot.books[identifier]
        if raw == b"no book" or identifier not in watch.touched:
            return
        book = stores.ledger.load([identifier])[identifier]
        if version != book.version:
            watch.violated("G1", f"{identifier}: the hot store has book {version}, the ledger {book.version}")
        stored = stores.hot.snapshots.get(identifier)
        if stored is None:
            watch.violated("G1", f"{identifier}: no snapshot")
            return
        if stored.head.ledger_version != book.version:
            watch.violated(
                "G1", f"{identifier}: the snapshot shows book {stored.head.ledger_version}, not {book.version}"
            )
        shown = showing.marks(showing.decoded(stored))
        accepted = showing.marks_of(stores.hot.get(book.symbols))
        if shown != accepted:
            watch.violated("G1", f"{identifier}: shown {shown}, accepted {accepted}")

    def _check_clients(self) -> None:
        """What a client was sent last says what the newest snapshot says."""
        now_ms = EPOCH_MS + self.world.now_us // MS
        for name in sorted({"c0", "c1"} - self._watch.busy):
            view = self.system.stores.connections.view(name, now_ms)
            for subscription in view.subscriptions if view else ():
                self._check_client(name, subscription.portfolio_id)

    def _check_client(self, connection_id: str, identifier: str) -> None:
        stored = self.system.stores.hot.snapshots.get(identifier)
        # Of one that died between snapshot and watchers, and cannot be valued any more, nobody is told.
        if stored is None or identifier in self._watch.poisoned:
            return
        if self._watch.seen[identifier].written_us < self._watch.mended.get(identifier, 0):
            return
        has = self._watch.posted_versions.get((connection_id, identifier), 0)
        newest = stored.head.version
        if self._watch.contents.get((identifier, has)) != self._watch.contents[identifier, newest]:
            self._watch.violated("push", f"{connection_id} has version {has} of {identifier}, newest is {newest}")

    def _check_promises(self) -> None:
        """A record that is left must be of a promise that is kept: its message was swallowed as a duplicate of one
        that was worked off meanwhile. Or nobody sent it: who recorded it died, and found on coming again that a newer
        price is marked. The sweep removes both."""
        for record in self.system.stores.hot.records.values():
            self._watch.figures.leaked_records += 1  # looked at after each storm
            if not self._watch.is_sent(record.message):
                continue
            for key in record.message.keys:
                identifier = key.partition(":")[2]
                if identifier not in self._watch.poisoned and not self._watch.is_kept(identifier, record.message):
                    what = f"{key} was promised for {record.message.window_end_ms} and not valued after it"
                    self._watch.violated("records", what)
        self._check_sweep()

    def _check_sweep(self) -> None:
        """Whatever died on the way: now that all is right, the sweep takes no promise that is left for lost."""
        stores, settings = self.system.stores, self.system.settings
        clock, report = FakeClock(EPOCH_MS + self.world.now_us // MS), SweepReport()
        records = FakeHotStore(clock)
        records.records = dict(stores.hot.records)
        marker = Marker(
            queues=FakeQueues(),
            records=FakeHotStore(clock),
            clock=clock,
            window_ms=settings.window_ms,
            flush_ms=100,
            shards=settings.shards,
            keys_per_message=settings.keys_per_message,
            new_nonce=lambda: "sweep",
        )
        comparison = Comparison(stores.ledger, stores.hot, stores.hot, stores.hot, marker, FakeNotes(), clock)
        promises = LatePromises(records, FakeQueues(), marker, comparison, SKEW_MS)
        for account_type, late in promises.read(clock.now_ms() + MONTH_MS, 0).late.items():
            promises.resend(account_type, late, report)
        if report.finds and not self._watch.poisoned:
            self._watch.violated("sweep", f"what others have done counts as lost: {report}")


def run(seed: int, *, is_traced: bool = False, change: Callable[[Settings], None] = lambda _: None) -> Result:
    """One storm; ``change`` may alter its deployment."""
    return Storm(seed, is_traced=is_traced, change=change).run()
