"""The deployed handlers in this process: everything that ``wiring.py`` makes, over the stores in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from foliostream import queues
from foliostream.application.book_swaps import SwapBooking
from foliostream.application.close_day import DayClosing
from foliostream.application.dead_letters import DeadLetters
from foliostream.application.rebuild_hot import HotRebuild
from foliostream.application.reconcile_schedule import ReconcileSchedule
from foliostream.application.status import Operations
from foliostream.application.symbols import Symbols
from foliostream.application.tickets import TicketOffice
from foliostream.domain import portfolio as books
from foliostream.domain.account import BrokerAccount
from foliostream.domain.instrument import Instrument
from foliostream.domain.letters import Part
from foliostream.errors import UnauthorizedError
from foliostream.ports import Claims, QueueDepth
from foliostream.settings import Settings
from foliostream.wiring import Wiring
from tests.fakes.accounts import FakeBroker, FakeTurns
from tests.fakes.bus import FakeBus
from tests.fakes.clock import FakeClock
from tests.fakes.closes import FakeCloses
from tests.fakes.connections import FakeConnections
from tests.fakes.fills import FakeFillQueue
from tests.fakes.gateway import FakeGateway
from tests.fakes.hot_store import FakeHotStore
from tests.fakes.instruments import FakeInstruments
from tests.fakes.ledger import FakeLedger
from tests.fakes.letters import FakeFunctions, FakeLetters
from tests.fakes.liquidations import FakeLiquidations
from tests.fakes.notes import FakeAlarms, FakeDepths, FakeNotes
from tests.fakes.notices import FakeNotices
from tests.fakes.queues import FakeFeedTimer, FakeOrderQueue, FakeQueues
from tests.fakes.rebuild import FakeRebuildQueue, FakeRebuildRecords
from tests.fakes.sessions import FakeSessions
from tests.fakes.starter import FakeStarter
from tests.fakes.tickets import FakeTickets
from tests.support.environment import ENVIRONMENT

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "events"
NOW_MS = 1_772_101_800_000  # 2026-02-26T10:30:00Z, when the samples happen
NAMES = tuple(sorted(path.parent.name for path in (ROOT / "functions").glob("*/app.py")))
# Of the provider, so that the feed has something to publish; holders where the prices are.
SETTINGS = replace(
    Settings.read(ENVIRONMENT), hot_store="valkey", market_provider="replay", kite_secret_arn="arn:of-the-fake"
)


def samples(function: str) -> list[dict[str, Any]]:
    """The events of a function in ``events/``."""
    found: list[dict[str, Any]] = [json.loads(path.read_text()) for path in sorted(EVENTS.glob(f"{function}.*.json"))]
    assert found, function
    return found


def sample(name: str) -> dict[str, Any]:
    """``events/{name}.json``."""
    loaded: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return loaded


class Swallowed:
    """Implements ``ports.CloseQueue`` and ``ports.ReconcileQueue``: forgets what it is given."""

    def send(self, parts: Sequence[Mapping[str, object]] | Sequence[BrokerAccount], slot: int = 0) -> None:
        """Looked at by their own tests."""


class Kept:
    """Implements ``ports.LedgerStream``: the changes of the sample, whichever are asked for."""

    def records(self, _: Part) -> Iterator[list[dict[str, Any]]]:
        """One page."""
        yield samples("project_ledger")[0]["Records"]


class Bearer:
    """Implements ``ports.TokenVerifier``: one token is good."""

    def verify(self, token: str) -> Claims:
        if token != "good":
            raise UnauthorizedError("it is not the one", code="TOKEN_INVALID")
        return Claims("alice", frozenset({"admin"}), NOW_MS // 1000 + 3600)


class Fakes(Wiring):
    """What a cold start makes. Nothing leaves the process; the books hold what the samples speak of."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        super().__init__(SETTINGS)
        self._sqs = self._dynamodb = self._lambda = self._pool = None
        self.clock = FakeClock(now_ms)
        self.hot = self.holders = self.dependents = FakeHotStore(self.clock)
        self.ledger = self._orders = FakeLedger()
        self.accounts = self.ledger.accounts
        self.instruments = FakeInstruments(
            *(Instrument(name, "stock", "USD") for name in ("AAPL", "GOOGL", "MSFT", "M&M", "INFY")),
            Instrument("EURUSD", "forex", "USD", base_currency="EUR"),
        )
        self.price_history = FakeCloses()
        self.queues = FakeQueues()
        self.fill_queue = FakeFillQueue()
        self._order_queue = FakeOrderQueue()
        self.feed_timer = FakeFeedTimer()
        self.bus = FakeBus()
        self.connections = FakeConnections()
        self.sessions = FakeSessions()
        self.notices = FakeNotices()
        self.gateway = FakeGateway()
        self.liquidations = FakeLiquidations()
        self.starter = FakeStarter()
        self._notes = FakeNotes()
        self._turns = FakeTurns(self.clock)
        self.kite = FakeBroker()
        self.token_verifier = Bearer()
        self.ticket_office = TicketOffice(FakeTickets(), self.clock, lambda: "secret", lambda: "wss://socket/live")
        for record in samples("project_ledger")[0]["Records"]:
            self._open(record["dynamodb"]["NewImage"].get("book", {}).get("S", ""))

    def _open(self, book: str) -> None:
        """The portfolio of the stream's sample is in the ledger, too."""
        try:
            portfolio = books.decode(book)
        except ValueError:
            return
        self.ledger.create(portfolio, (), "digest")

    def each(self, work: Callable[[str], str | None], items: Iterable[str]) -> Iterable[str | None]:
        """One after the other: without threads an input can be repeated exactly."""
        return map(work, items)

    @cached_property
    def operations(self) -> Operations:
        return Operations(self.hot, self.hot, FakeDepths(), self._notes, FakeAlarms(), self.clock)

    @cached_property
    def symbols(self) -> Symbols:
        return replace(super().symbols, notes=FakeNotes())

    @cached_property
    def hot_rebuild(self) -> HotRebuild:
        return replace(super().hot_rebuild, records=FakeRebuildRecords(), queue=FakeRebuildQueue())

    @cached_property
    def day_closing(self) -> DayClosing:
        return replace(super().day_closing, queue=Swallowed())

    @cached_property
    def swap_booking(self) -> SwapBooking:
        return replace(super().swap_booking, queue=Swallowed())

    @cached_property
    def reconcile_schedule(self) -> ReconcileSchedule:
        return replace(super().reconcile_schedule, queue=Swallowed())

    @cached_property
    def dead_letter_office(self) -> DeadLetters:
        base = self.settings.queues
        names = queues.all_dead_letter_urls(base)
        letters = FakeLetters(self.clock, names, queues.source_urls(base))
        depths = FakeDepths(**dict.fromkeys(names, QueueDepth(0, 0)))
        return DeadLetters(
            letters=letters,
            depths=depths,
            functions=FakeFunctions(),
            ledger=self.ledger,
            stream=Kept(),
            projection=lambda: self.ledger_projection,
            marker=lambda: self.marker,
            clock=self.clock,
            new_nonce=lambda: "nonce",
        )


@contextmanager
def handler(function: str, parts: Wiring) -> Iterator[Callable[[dict[str, Any], Any], Any]]:
    """The deployed handler of ``functions/NAME/app.py``, with these parts instead of the container's own."""
    app = import_module(f"functions.{function}.app")
    own = app.wiring
    app.wiring = lambda: parts
    _forget_api(app)
    try:
        yield app.handler
    finally:
        app.wiring = own
        _forget_api(app)


def _forget_api(app: Any) -> None:  # noqa: ANN401 (a module)
    if hasattr(app, "api"):
        app.api.cache_clear()
