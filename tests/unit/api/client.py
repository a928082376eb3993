"""The REST API over the fakes, called with API Gateway events."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

from foliostream.api.rest import Api, build
from foliostream.application.accept_fills import FillAccepter
from foliostream.application.amending import Amending
from foliostream.application.analytics import Analytics
from foliostream.application.executing import Execution
from foliostream.application.fill_orders import OrderFiller
from foliostream.application.managers import Managers
from foliostream.application.margin_check import MarginCheck, Previewing
from foliostream.application.marking import Marker
from foliostream.application.order_watch import OrderWatch
from foliostream.application.ordering import Ordering
from foliostream.application.origins import Origins
from foliostream.application.portfolios import Portfolios
from foliostream.application.resetting import Resetting
from foliostream.application.status import Operations
from foliostream.application.taking_prices import PriceTaking
from foliostream.application.tickets import TicketOffice
from foliostream.application.valuing import Valuer
from foliostream.domain.instrument import Instrument
from foliostream.ports import QueueDepth
from foliostream.settings import Costs
from tests.fakes.bus import FakeBus
from tests.fakes.clock import FakeClock
from tests.fakes.closes import FakeCloses
from tests.fakes.fills import FakeFillQueue
from tests.fakes.hot_store import FakeHotStore
from tests.fakes.instruments import FakeInstruments
from tests.fakes.ledger import FakeLedger
from tests.fakes.notes import FakeAlarms, FakeDepths, FakeNotes
from tests.fakes.queues import FakeOrderQueue, FakeQueues
from tests.fakes.tickets import FakeTickets
from tests.support.managers import managers
from tests.support.prices import price_taking

EVENTS = Path(__file__).parents[3] / "events"
NOW_MS = 1_772_101_800_000  # 2026-02-26T10:30:00Z
EVERY_SCOPE = "prices:write instruments:write fills:write"
CONTEXT: Any = SimpleNamespace(
    function_name="rest_api",
    memory_limit_in_mb=1024,
    invoked_function_arn="arn:aws:lambda:eu-west-1:123456789012:function:rest_api",
    aws_request_id="7d1d7b1f-0000-4000-8000-000000000001",
    get_remaining_time_in_millis=lambda: 29_000,
)


def sample(case: str) -> dict[str, Any]:
    """``events/rest_api.{case}.json``."""
    loaded: dict[str, Any] = json.loads((EVENTS / f"rest_api.{case}.json").read_text())
    return loaded


class Parts:
    """The composition root, of fakes."""

    def __init__(self) -> None:
        self.settings: Any = SimpleNamespace(hot_store="dynamodb", stack="stack")
        self.clock = FakeClock(NOW_MS)
        self.ledger = FakeLedger()
        self.instruments = FakeInstruments(
            Instrument("AAPL", "stock", "USD"),
            Instrument("M&M", "stock", "USD"),
            Instrument("EURUSD", "forex", "USD", base_currency="EUR"),
        )
        self.price_history = FakeCloses()
        self.market_zone = ZoneInfo("America/New_York")
        self.hot = FakeHotStore(self.clock)
        self.queues = FakeQueues()
        self.bus = FakeBus()
        self.fills = FakeFillQueue()
        self.order_queue = FakeOrderQueue()
        self.fill_accepter = FillAccepter(self.ledger, self.instruments, self.fills, "")
        self.notes = FakeNotes()
        depths = FakeDepths(live=QueueDepth(3, 1), push=QueueDepth(0, 0), live_dead=QueueDepth(2, 0))
        self.alarms = FakeAlarms()
        self.operations = Operations(self.hot, self.hot, depths, self.notes, self.alarms, self.clock)
        numbers = count()
        self.origins = Origins()
        self.marker = Marker(
            queues=self.queues,
            records=self.hot,
            clock=self.clock,
            window_ms={"live": 200, "demo": 1000, "paper": 3000},
            flush_ms=100,
            shards=64,
            keys_per_message=500,
            new_nonce=lambda: str(next(numbers)),
            origins=self.origins,
        )

    @property
    def holders(self) -> FakeHotStore:
        return self.hot

    @cached_property
    def managers(self) -> Managers:
        return managers(self.clock, self.instruments, watch=OrderWatch(self.hot, self.order_queue))

    @cached_property
    def price_taking(self) -> PriceTaking:
        return price_taking(self.hot, self.instruments, self.marker, self.managers, self.clock)

    @cached_property
    def order_filler(self) -> OrderFiller:
        costs = Costs(Decimal("0.05"), Decimal("0.02"))
        execution = Execution(self.ledger, self.instruments, self.hot, self.clock, costs, 900_000, self.margin_check)
        return OrderFiller(execution, self.ledger, self.hot, self.order_queue)

    @cached_property
    def resetting(self) -> Resetting:
        return Resetting(self.ledger, self.ledger, self.instruments, self.hot, self.portfolios, self.clock)

    @cached_property
    def ordering(self) -> Ordering:
        numbers = count()
        filler = self.order_filler
        return Ordering(filler.execution, self.ledger, self.hot, filler, lambda: f"{next(numbers):012x}")

    @cached_property
    def ticket_office(self) -> TicketOffice:
        numbers = count()
        return TicketOffice(FakeTickets(), self.clock, lambda: f"secret-{next(numbers)}", lambda: "wss://socket/live")

    @cached_property
    def amending(self) -> Amending:
        return Amending(self.ledger, self.portfolios, self.clock)

    @cached_property
    def analytics(self) -> Analytics:
        return Analytics(
            self.portfolios, self.ledger, self.instruments, self.price_history, self.clock, self.market_zone
        )

    @cached_property
    def portfolios(self) -> Portfolios:
        stores = (self.hot, self.hot, self.hot, self.instruments, self.ledger, self.hot, self.marker, self.clock)
        valuer = Valuer(*stores, notes=self.notes, stale_after_ms=900_000)
        return Portfolios(self.ledger, self.instruments, valuer, self.marker, self.clock, self.margin_check)

    @cached_property
    def margin_check(self) -> MarginCheck:
        return MarginCheck(self.hot, self.instruments, 900_000, frozenset({"demo", "paper"}), "current")

    @cached_property
    def previewing(self) -> Previewing:
        return Previewing(self.ledger, self.margin_check, self.clock)


@dataclass(frozen=True)
class Answer:
    """``body`` parsed with exact decimals; ``text`` as it went out."""

    status: int
    text: str
    headers: dict[str, str]

    @property
    def body(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.text, parse_float=Decimal)
        return parsed

    @property
    def rows(self) -> list[dict[str, Any]]:
        parsed: list[dict[str, Any]] = json.loads(self.text, parse_float=Decimal)
        return parsed

    @property
    def code(self) -> str:
        return str(self.body["error"]["code"])

    @property
    def message(self) -> str:
        return str(self.body["error"]["message"])

    @property
    def details(self) -> list[dict[str, Any]]:
        details: list[dict[str, Any]] = self.body["error"]["details"]
        return details


def read(raw: dict[str, Any]) -> Answer:
    """A proxy answer; every one is JSON text."""
    assert raw["isBase64Encoded"] is False
    headers = {name: values[0] for name, values in raw["multiValueHeaders"].items()}
    assert headers["Content-Type"] == "application/json"
    return Answer(raw["statusCode"], raw["body"], headers)


@dataclass
class Client:
    """Requests of one subject."""

    parts: Parts = field(default_factory=Parts)
    cors_origin: str = ""

    @cached_property
    def api(self) -> Api:
        return build(self.parts, self.cors_origin)

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        sub: str | None = "alice",
        scope: str = EVERY_SCOPE,
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
        **event_fields: object,
    ) -> Answer:
        """``body``: text as it is, anything else as JSON."""
        event = sample("state")
        given = {"Host": "localhost"} | (headers or {})
        event |= {
            "path": path,
            "httpMethod": method,
            "headers": given,
            "multiValueHeaders": {name: [value] for name, value in given.items()},
            "queryStringParameters": query,
            "multiValueQueryStringParameters": {name: [value] for name, value in query.items()} if query else None,
            "body": body if body is None or isinstance(body, str) else json.dumps(body),
        }
        event["requestContext"]["path"] = f"/live{path}"
        event["requestContext"]["authorizer"] = {"sub": sub, "scope": scope, "exp": "1772105400"} if sub else {}
        return read(self.api(event | event_fields, CONTEXT))

    def create(self, *, headers: dict[str, str] | None = None, sub: str = "alice", **changes: object) -> Answer:
        """A cash account "12345" of 100,000 USD, unless changed; None leaves a field out."""
        body = {
            "portfolio_id": "12345",
            "portfolio_name": "Retirement",
            "account_type": "live",
            "account_kind": "cash",
            "base_currency": "USD",
            "cost_basis": "average",
            "initial_cash": 100_000,
        } | changes
        sent = {name: value for name, value in body.items() if value is not None}
        return self.send("POST", "/api/v1/portfolios", sent, headers=headers, sub=sub)

    def update(
        self, *lines: dict[str, object], portfolio_id: str = "12345", headers: dict[str, str] | None = None
    ) -> Answer:
        """Lines at NOW on portfolio 12345."""
        body = {"portfolio_id": portfolio_id, "timestamp": NOW_MS, "updates": list(lines)}
        return self.send("POST", "/api/v1/portfolio/12345/update", body, headers=headers)

    def prices(self, *updates: object, scope: str = EVERY_SCOPE) -> Answer:
        return self.send("POST", "/api/v1/prices", {"updates": list(updates)}, scope=scope)

    def state(self) -> dict[str, Any]:
        return self.send("GET", "/api/v1/portfolio/12345/state").body


def buy(quantity: object, price: object, **more: object) -> dict[str, object]:
    """A purchase of AAPL."""
    line = {"instrument_id": "AAPL", "quantity_change": quantity, "price": price, "transaction_type": "BUY"}
    return line | more
