"""A crowd of clients, the portfolios they watch, and everything that happens to these: for ``test_streams``."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import uuid4

from foliostream_client.transport import Rest
from local.issuer import ALL_SCOPES
from tests.e2e.conftest import Cloud, now_ms
from tests.support.clients import Client

WATCHED = 5
SYMBOLS = 6
# Accounts of the simulated broker that no other test takes.
BROKER_ACCOUNTS = [f"AB{number}" for number in range(1001, 1006)]
# Held against the document in full; of the others everything but states, which are the bulk and cost the clock.
CHECKED_CLIENTS = 24
TOLD = ("margin_call", "margin_restored", "stop_out", "reconciliation_discrepancy")
# The emulator works on everything in one process: behind a crowd an answer takes its time.
ANSWER_S = 120
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
# Of the margin accounts' one instrument: enough, less than was called for, less than is stopped out at.
FINE, CALLED, STOPPED = "100", "94.7", "92"


@dataclass
class Crowd:
    """The clients of one owner, and what they watch: live accounts of stocks, leveraged demo accounts of one CFD, and
    accounts at the simulated broker. ``ticked_s``: when the prices of everything were accepted."""

    cloud: Cloud
    admin: Rest
    rest: Rest
    token: str
    bus: Bus
    symbols: list[str]
    cfd: str
    live: list[str]
    margin: list[str]
    broker: dict[str, str]
    clients: list[Client]
    cfd_price: str = FINE
    fills: set[str] = field(default_factory=set)
    ticked_s: list[float] = field(default_factory=list)

    @property
    def portfolio_ids(self) -> list[str]:
        return [*self.live, *self.margin, *self.broker]

    def newest(self) -> dict[str, int]:
        """The versions that are stored, by REST, which mends nothing here: everything is valued."""
        with ThreadPoolExecutor(4) as pool:
            states = pool.map(lambda name: self.rest.get(f"/api/v1/portfolio/{name}/state"), self.portfolio_ids)
            return {state["portfolio_id"]: state["version"] for state in states}

    def tick(self, price: int) -> None:
        """A price of everything."""
        updates: list[dict[str, object]] = [{"symbol": name, "last": price, "ts": now_ms()} for name in self.symbols]
        updates.append({"symbol": self.cfd, "bid": self.cfd_price, "ask": self.cfd_price, "ts": now_ms()})
        self.admin.post("/api/v1/prices", {"updates": updates})
        self.ticked_s.append(time.monotonic())

    def listen(self, clients: Iterable[Client]) -> None:
        """What the market does and what these clients hear counts from here."""
        self.ticked_s.clear()
        for client in clients:
            client.begin()

    def fill(self, number: int) -> None:
        """One fill of every live account."""
        fills = [
            {
                "fill_id": f"f{number}",
                "portfolio_id": name,
                "instrument_id": self.symbols[index % SYMBOLS],
                "side": "BUY",
                "quantity": 1,
                "fill_price": 10,
                "timestamp": now_ms(),
            }
            for index, name in enumerate(self.live)
        ]
        for start in range(0, len(fills), 50):
            answer = self.rest.post("/api/v1/fills", fills[start : start + 50])
            assert answer["rejected"] == []
        self.fills |= {f"fill:{name}:f{number}" for name in self.live}

    def drift(self, cash: int) -> None:
        """The broker has other cash than the books (100,000), and the accounts are looked at."""
        for name, account in self.broker.items():
            tell(self.cloud, "cash", account=account, cash=cash)
            wanted = "ok" if cash == 100_000 else "discrepancies"
            assert self.rest.post(f"/api/v1/portfolio/{name}/reconcile", {})["status"] == wanted

    def events(self) -> dict[str, set[str]]:
        """The ids of everything that happened so far, by portfolio: as the bus was told, and fills as they were
        accepted or planned by a stop-out."""
        found: dict[str, set[str]] = {name: set() for name in self.portfolio_ids}
        for event_id in self.fills:
            found[event_id.split(":")[1]].add(event_id)
        for kind, detail in self.bus.received():
            told = detail[kind]
            found[told["portfolio_id"]].add(detail["event_id"])
            for close in (told.get("plan") or {}).get("closes", ()):
                found[told["portfolio_id"]].add(f"fill:{told['portfolio_id']}:{close['fill_id']}")
        return found


class Bus:
    """What the stack's bus tells of accounts: margin events and reconciliations."""

    def __init__(self, stack: Cloud) -> None:
        self._sqs, events = stack.aws("sqs"), stack.aws("events")
        name, bus = f"test-{uuid4().hex[:12]}", stack.outputs.resources["EventBusName"]
        self._url = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        pattern = json.dumps({"source": ["foliostream"], "detail-type": list(TOLD)})
        events.put_rule(Name=name, EventBusName=bus, EventPattern=pattern)
        events.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
        self._received: list[tuple[str, dict[str, Any]]] = []

    def received(self) -> list[tuple[str, dict[str, Any]]]:
        """Kind and detail of every event so far."""
        while found := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                event = json.loads(message["Body"])
                self._received.append((event["detail-type"], event["detail"]))
            handles = [{"Id": str(place), "ReceiptHandle": m["ReceiptHandle"]} for place, m in enumerate(found)]
            self._sqs.delete_message_batch(QueueUrl=self._url, Entries=handles)
        return self._received

    def count(self, kind: str, portfolio_ids: Iterable[str]) -> int:
        """Different events of a kind."""
        wanted = set(portfolio_ids)
        found = (item for item in self.received() if item[0] == kind and item[1][kind]["portfolio_id"] in wanted)
        return len({detail["event_id"] for _, detail in found})


def tell(stack: Cloud, action: str, **body: object) -> None:
    """What happens at the broker."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{stack.outputs.ports['kite']}/control/{action}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with OPENER.open(request, timeout=10):
        pass


@contextmanager
def gathered(stack: Cloud, clients: int, portfolios: int) -> Iterator[Crowd]:
    """So many clients that watch so many portfolios, each five of them."""
    owner = f"crowd-{uuid4().hex[:8]}"
    rest = Rest(stack.outputs.rest_url, stack.token(owner, ("fills:write",)), timeout_s=ANSWER_S)
    admin = Rest(stack.outputs.rest_url, stack.token("admin", ALL_SCOPES), timeout_s=ANSWER_S)
    symbols = [f"T{uuid4().hex[:10].upper()}" for _ in range(SYMBOLS)]
    for symbol in symbols:
        admin.put(f"/api/v1/instruments/{symbol}", {"kind": "stock", "currency": "USD"})
    cfd = f"C{uuid4().hex[:10].upper()}"
    admin.put(f"/api/v1/instruments/{cfd}", {"kind": "cfd", "currency": "USD", "margin_rate": "0.05"})
    admin.post("/api/v1/prices", {"updates": [{"symbol": cfd, "bid": FINE, "ask": FINE, "ts": now_ms()}]})

    leveraged, at_broker = portfolios // 5, min(max(portfolios // 40, 1), len(BROKER_ACCOUNTS))
    with ThreadPoolExecutor(4) as pool:
        numbers = range(portfolios - leveraged - at_broker)
        live = list(pool.map(lambda number: _live(rest, symbols[number % SYMBOLS]), numbers))
        margin = list(pool.map(lambda _: _margin(rest, cfd), range(leveraged)))
    broker = {_at_broker(stack, rest, account): account for account in BROKER_ACCOUNTS[:at_broker]}
    everything = [*live, *margin, *broker]
    watching = [
        Client(number, Random(number).sample(everything, WATCHED), checks_states=number < CHECKED_CLIENTS)
        for number in range(clients)
    ]
    token = stack.token(owner, ("fills:write",))
    try:
        yield Crowd(stack, admin, rest, token, Bus(stack), symbols, cfd, live, margin, broker, watching)
    finally:
        for account in broker.values():
            tell(stack, "reset", account=account)


def _live(rest: Rest, symbol: str) -> str:
    name = _open(rest, account_type="live", account_kind="cash", base_currency="USD", initial_cash=10_000)
    _buy(rest, name, symbol, 10, 10)
    return name


def _margin(rest: Rest, cfd: str) -> str:
    """100 at 100 that need 5 percent, out of 1,000: a level of 200 percent."""
    name = _open(rest, account_type="demo", account_kind="margin", base_currency="USD", initial_cash=1_000)
    _buy(rest, name, cfd, 100, 100)
    return name


def _at_broker(stack: Cloud, rest: Rest, account: str) -> str:
    tell(stack, "reset", account=account)
    tell(stack, "cash", account=account, cash=100_000)
    name = _open(
        rest,
        portfolio_id=f"zerodha_{uuid4().hex[:8]}",
        account_type="live",
        account_kind="cash",
        base_currency="INR",
        initial_cash=100_000,
        broker={"name": "zerodha", "account": account},
    )
    assert rest.post(f"/api/v1/portfolio/{name}/reconcile", {})["status"] == "ok"
    return name


def _open(rest: Rest, **body: object) -> str:
    made = rest.post("/api/v1/portfolios", {"portfolio_name": "Watched", "cost_basis": "average"} | body)
    identifier: str = made["portfolio_id"]
    return identifier


def _buy(rest: Rest, name: str, symbol: str, quantity: int, price: int) -> None:
    line = {"instrument_id": symbol, "quantity_change": quantity, "price": price, "transaction_type": "BUY"}
    rest.post(f"/api/v1/portfolio/{name}/update", {"portfolio_id": name, "timestamp": now_ms(), "updates": [line]})
