"""The use cases over fakes of every port, with a clock that moves only when told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import count
from typing import Any

import msgspec

from foliostream.application.access import Caller
from foliostream.application.analyzing import Analyzing
from foliostream.application.announcing import Announcer
from foliostream.application.answering import Answers
from foliostream.application.margin_check import MarginCheck
from foliostream.application.margin_events import MarginFollowUp
from foliostream.application.marking import Marker
from foliostream.application.pacing import Pacer
from foliostream.application.portfolios import NewPortfolio, Portfolios
from foliostream.application.push import Sender, push
from foliostream.application.recalculate import recalculate
from foliostream.application.receiving import Received
from foliostream.application.runs import Runs
from foliostream.application.subscribing import Subscribing
from foliostream.application.update_prices import PriceReport, update_prices
from foliostream.application.valuing import Valuer
from foliostream.application.watching import Watching
from foliostream.domain import portfolio as portfolios
from foliostream.domain import snapshot as snapshots
from foliostream.domain import valuation
from foliostream.domain.coalescing import Bundle
from foliostream.domain.price import PriceUpdate
from foliostream.domain.sessions import Run
from foliostream.domain.valuation import PortfolioState
from foliostream.ports import Books, Ledger, Snapshots
from foliostream.settings import Costs
from tests.fakes.bus import FakeBus
from tests.fakes.clock import FakeClock
from tests.fakes.connections import FakeConnections
from tests.fakes.gateway import FakeGateway
from tests.fakes.hot_store import FakeHotStore
from tests.fakes.instruments import FakeInstruments
from tests.fakes.ledger import FakeLedger
from tests.fakes.liquidations import FakeLiquidations
from tests.fakes.notes import FakeNotes
from tests.fakes.notices import FakeNotices
from tests.fakes.queues import FakeQueues
from tests.fakes.sessions import FakeSessions
from tests.fakes.starter import FakeStarter
from tests.support import asyncapi
from tests.unit.domain.examples import NOW, STALE_AFTER_MS, buy, stock

SKEW_MS = 50
KEPT_MS = 86_400_000
# What a margin event says of its account, but for the figures of the moment.
LEVELS = {
    "base_currency": "USD",
    "equity": None,
    "used": None,
    "level_percent": None,
    "margin_call_percent": 100,
    "stop_out_percent": 50,
}
WINDOW_MS = {"live": 200, "demo": 1000, "paper": 3000}
ALICE, BOB = Caller("alice"), Caller("bob")
SYMBOLS = ("AAPL", "GOOGL", "MSFT")


class System:
    """Everything that is deployed, in one process. A test may put its own store in front of a fake."""

    def __init__(
        self,
        *,
        hot: Callable[[FakeClock], FakeHotStore] = FakeHotStore,
        ledger: FakeLedger | None = None,
        keys_per_message: int = 500,
    ) -> None:
        self.clock = FakeClock(NOW)
        self.hot = hot(self.clock)
        self.ledger = ledger or FakeLedger()
        self.instruments = FakeInstruments(*(stock(symbol) for symbol in SYMBOLS))
        self.queues = FakeQueues()
        self.connections = FakeConnections()
        self.gateway = FakeGateway()
        nonces = count(1)
        self.marker = Marker(
            queues=self.queues,
            records=self.hot,
            clock=self.clock,
            window_ms=WINDOW_MS,
            flush_ms=100,
            shards=4,
            keys_per_message=keys_per_message,
            new_nonce=lambda: f"{next(nonces):08d}",
        )
        self.pacer = Pacer(self.hot, self.marker, self.clock)
        self.margin_notes = FakeNotes()
        self.valuer = self.valuer_over(self.hot, self.hot, self.ledger)
        self.sessions = FakeSessions()
        self.runs = Runs(self.sessions, self.connections, self.marker, self.clock, lambda: f"run-{next(nonces):04d}")
        self.sender = Sender(self.connections, self.sessions, self.hot, self.valuer, self.gateway, self.clock)
        self.notices = FakeNotices()
        self.announce = Announcer(self.notices, self.connections, self.hot, self.marker, self.clock, KEPT_MS)
        self.bus = FakeBus()
        self.liquidations = FakeLiquidations()
        self.follow_up = MarginFollowUp(
            snapshots=self.hot,
            instruments=self.instruments,
            bus=self.bus,
            announce=self.announce,
            liquidations=self.liquidations,
            marker=self.marker,
            rules=self.valuer.rules,
            stale_after_ms=STALE_AFTER_MS,
            partial=False,
            costs=Costs(Decimal("0.1"), Decimal("0.5")),
            notes=self.margin_notes,
        )
        self.margin_check = MarginCheck(
            self.hot, self.instruments, STALE_AFTER_MS, frozenset({"demo", "paper"}), "current"
        )
        self.portfolios = Portfolios(
            self.ledger, self.instruments, self.valuer, self.marker, self.clock, self.margin_check
        )
        self.answers = Answers(self.connections, self.gateway, self.marker, self.sender, self.clock)
        self.subscribing = Subscribing(
            self.connections,
            self.sessions,
            self.notices,
            self.hot,
            self.ledger,
            self.answers,
            self.clock,
            kept_ms=KEPT_MS,
        )
        self.starter = FakeStarter()
        self.analyzing = Analyzing(self.subscribing, self.valuer, self.runs, self.starter, self.answers)
        self.watching = Watching(
            self.connections,
            self.sessions,
            self.gateway,
            self.subscribing,
            self.analyzing,
            self.answers,
            session_ms=KEPT_MS,
        )

    def valuer_over(self, books: Books, snapshots: Snapshots, ledger: Ledger) -> Valuer:
        return Valuer(
            books,
            snapshots,
            self.hot,
            self.instruments,
            ledger,
            self.hot,
            self.marker,
            self.clock,
            self.margin_notes,
            STALE_AFTER_MS,
        )

    # --- doing -----------------------------------------------------------------------------------------------------

    def open(
        self, portfolio_id: str, *symbols: str, account_type: str = "live", caller: Caller = ALICE, cash: str = "10000"
    ) -> None:
        """A portfolio with ten of each symbol, bought at 100; its marks are worked off."""
        self.portfolios.create(caller, new_portfolio(portfolio_id, account_type=account_type, cash=cash))
        if symbols:
            self.portfolios.update(caller, portfolio_id, [buy("10", "100", instrument_id=name) for name in symbols])
        self.settle()

    def prices(self, *updates: PriceUpdate) -> PriceReport:
        return update_prices(
            updates,
            prices=self.hot,
            holders=self.hot,
            instruments=self.instruments,
            marker=self.marker,
            clock=self.clock,
        )

    def tick(self, symbol: str, last: str) -> PriceReport:
        return self.prices(price(symbol, last, ts_ms=self.clock.now_ms()))

    def recalculate(self, received: Sequence[Received], valuer: Valuer | None = None) -> list[str]:
        return recalculate(
            received,
            valuer=valuer or self.valuer,
            pacer=self.pacer,
            marker=self.marker,
            clock=self.clock,
            skew_ms=SKEW_MS,
            follow_up=self.follow_up,
        )

    def push(self, received: Sequence[Received]) -> list[str]:
        return push(
            received, sender=self.sender, marker=self.marker, clock=self.clock, each=one_by_one, skew_ms=SKEW_MS
        )

    def settle(self) -> None:
        """Work off what the dirty, bulk and refresh queues hold."""
        for queue in ("live", "demo", "paper", "bulk", "refresh"):
            while bundles := self.queues.receive(queue):
                assert self.recalculate(received(bundles)) == []

    def flush(self) -> None:
        """Work off what the push queue holds once."""
        assert self.push(received(self.queues.receive("push"))) == []

    def connect(self, connection_id: str = "c1", owner: str = "alice", *, lives_ms: int = 3_600_000) -> None:
        self.watching.connect(connection_id, owner, (), self.clock.now_ms() + lives_ms)

    def subscribe(self, *portfolio_ids: str, connection_id: str = "c1", **others: object) -> None:
        body = {"action": "subscribe", "portfolio_ids": portfolio_ids} | others
        self.watching.receive(connection_id, json.dumps(body))

    # --- looking ---------------------------------------------------------------------------------------------------

    def state(self, portfolio_id: str) -> PortfolioState:
        """The stored snapshot's state as of its own time; its book is the stored one."""
        found = self.hot.read([portfolio_id])[portfolio_id]
        assert found.book is not None
        stored, book = snapshots.decode(found.body), portfolios.decode(found.book)
        instruments = self.instruments.get(book.positions.keys() | stored.prices.keys())
        return valuation.render(stored, book, instruments, stale_after_ms=STALE_AFTER_MS)

    def dirty(self, account_type: str = "live") -> list[str]:
        """The keys that wait in a queue, which is then empty."""
        return sorted(key for bundle in self.queues.receive(account_type) for key in bundle.message.keys)

    def watchers(self) -> dict[str, dict[str, int]]:
        """Connection id -> end of its lease, of every portfolio that somebody watches."""
        return {name: dict(leases) for name, leases in self.hot.leases.items() if leases}

    def messages(self, connection_id: str = "c1") -> list[dict[str, Any]]:
        """What the connection was sent so far, decoded; forgotten then."""
        raw = self.gateway.to(connection_id)
        assert max(map(len, raw), default=0) < asyncapi.FRAME_BYTES
        sent = [json.loads(payload, parse_float=Decimal) for payload in raw]
        assert [fault for message in sent for fault in asyncapi.faults("tell", message)] == []
        self.gateway.posted = [item for item in self.gateway.posted if item[0] != connection_id]
        return sent


def uncomputed(_: Run) -> None:
    """Starts no run: the test says what comes of it."""


def connected_to_two() -> System:
    """Two valued portfolios of one stock each, and a connection that watches none yet."""
    system = System()
    system.open("one", "AAPL")
    system.open("two", "MSFT")
    system.clock.time_ms = NOW + 60_000
    system.tick("AAPL", "100")
    system.tick("MSFT", "100")
    system.settle()
    system.queues.receive("push")
    system.connect()
    return system


def one_by_one(function: Callable[[str], str | None], items: Iterable[str]) -> list[str | None]:
    return [function(item) for item in items]


def received(bundles: Iterable[Bundle], *, receive_count: int = 1) -> list[Received]:
    """Bundles as a queue delivers them."""
    return [
        Received(f"m-{bundle.deduplication_id}", msgspec.json.encode(bundle.message).decode(), receive_count)
        for bundle in bundles
    ]


def price(symbol: str, last: str, *, ts_ms: int = NOW, seq: int = 0) -> PriceUpdate:
    return PriceUpdate(symbol, ts_ms, seq, last=Decimal(last))


def new_portfolio(
    portfolio_id: str,
    *,
    account_type: str = "live",
    cash: str = "10000",
    digest: str = "d",
    changes: Mapping[str, object] | None = None,
) -> NewPortfolio:
    fields = {
        "portfolio_id": portfolio_id,
        "portfolio_name": "Growth",
        "account_type": account_type,
        "account_kind": "cash",
        "base_currency": "USD",
        "cost_basis": "average",
        "leverage": None,
        "initial_cash": Decimal(cash),
        "allow_short": False,
        "request_digest": digest,
    }
    return NewPortfolio(**fields | dict(changes or {}))
