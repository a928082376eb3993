"""What goes on while things break: prices, fills, simulated orders and margin accounts that slide.

Everything that is sent is written down here first: the checks compare with that, and with nothing the system says of
itself. What is sent may come again without harm, and is sent until it is acknowledged.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple

from foliostream_client.errors import ApiError
from foliostream_client.transport import Answer, Rest
from tests.e2e.conftest import Cloud, now_ms

CASH = Decimal(1_000_000)
CENT = Decimal("0.01")
# Longer than an outage of ours lasts, and than a message of a function that died stays hidden.
PATIENCE_S = 120.0
PAUSE_S = 0.2
# Within what the system allows a source to be ahead.
SOURCES_APART_MS = 1_000
# What a busy or broken gateway says; a broken authorizer is a refusal to it.
_LATER = frozenset({0, 401, 403, 429})
_SERVER_ERROR = 500


class TrafficError(Exception):
    """Something was not acknowledged in all that time."""


def insist(rest: Rest, method: str, path: str, body: object = None) -> Answer:
    """The answer, whatever else it says, as soon as it is neither a failure nor a request to come again."""
    stop = time.monotonic() + PATIENCE_S
    last: Answer | ApiError | None = None
    while time.monotonic() < stop:
        try:
            last = answer = rest.call(method, path, body)
            if answer.status not in _LATER and answer.status < _SERVER_ERROR:
                return answer
        except ApiError as error:
            last = error
        time.sleep(PAUSE_S)
    raise TrafficError(f"{method} {path} was not answered for {PATIENCE_S:.0f} s, last: {last!r}")


class Accounts(NamedTuple):
    """Portfolio ids: of cash accounts with the symbols they hold, the two kinds that trade by themselves, each with
    its one symbol, and what holds a symbol that never has a price."""

    cash: Mapping[str, tuple[str, ...]]
    types: Mapping[str, str]
    paper: Mapping[str, str]
    margin: Mapping[str, str]
    blind: Mapping[str, str]

    @property
    def all(self) -> list[str]:
        return [*self.cash, *self.paper, *self.margin, *self.blind]


@dataclass
class Market:
    """Prices of every symbol, as a walk; over REST, where the answer says what was taken, and over the bus. Each symbol
    has a source of its own, whose clock is off (``ahead_ms``)."""

    cloud: Cloud
    admin: Rest
    symbols: list[str]
    draw: Random
    prices: dict[str, Decimal] = field(default_factory=dict)
    posted: int = 0
    is_stalled: bool = False
    ahead_ms: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._bus = self.cloud.aws("events")
        self._bus_name = self.cloud.outputs.resources["EventBusName"]
        self._lock = threading.Lock()
        self._seq = 0
        for symbol in self.symbols:
            self.prices[symbol] = Decimal(100)
            self.ahead_ms[symbol] = self.draw.randint(-SOURCES_APART_MS, SOURCES_APART_MS)

    def run(self, ended: threading.Event) -> None:
        """Until it is ended: a tick of a few symbols about ten times a second."""
        while not ended.wait(0.1):
            if not self.is_stalled:
                self.tick()

    def tick(self) -> None:
        """Nobody insists: a tick that is lost before it was taken is followed by others."""
        updates = [self._moved(symbol) for symbol in self.draw.sample(self.symbols, self.draw.randint(1, 3))]
        if self.draw.random() < 0.5:
            self.publish(updates)
            return
        try:
            answer = self.admin.call("POST", "/api/v1/prices", {"updates": updates})
        except ApiError:
            return
        self.posted += len(updates) if answer.status < 300 else 0

    def publish(self, updates: list[dict[str, Any]]) -> None:
        """Over the bus."""
        detail = json.dumps({"updates": updates}, default=str)
        entry = {"Source": "chaos", "DetailType": "market_price_update", "Detail": detail}
        self._bus.put_events(Entries=[entry | {"EventBusName": self._bus_name}])
        self.posted += len(updates)

    def quote(self, symbol: str, price: Decimal, ts_ms: int | None = None) -> dict[str, Any]:
        """An update newer than all before, unless a time is given."""
        with self._lock:
            self._seq += 1
            seq = self._seq
        sides = {"bid": str(price), "ask": str(price), "last": str(price)}
        ts_ms = now_ms() + self.ahead_ms.get(symbol, 0) if ts_ms is None else ts_ms
        return {"symbol": symbol, "ts": ts_ms, "seq": seq, **sides}

    def insist(self, updates: list[dict[str, Any]]) -> None:
        """The very same updates until all of them were taken."""
        taken = insist(self.admin, "POST", "/api/v1/prices", {"updates": updates})
        if taken.status != 202 or taken.body["accepted"] != len(updates):
            raise TrafficError(f"prices were refused: {taken.status} {taken.body}")

    def publish_all(self) -> None:
        """A new price of every symbol at once, over the bus."""
        self.publish([self._moved(symbol) for symbol in self.symbols])

    def last_words(self) -> None:
        """A last price of every symbol, acknowledged; nothing may come after it."""
        for symbol in self.symbols:
            self.insist([self._moved(symbol)])

    def _moved(self, symbol: str) -> dict[str, Any]:
        step = Decimal(self.draw.randint(-100, 100)) * CENT
        self.prices[symbol] = max(self.prices[symbol] + step, Decimal(20))
        return self.quote(symbol, self.prices[symbol])


class Fill(NamedTuple):
    """``quantity`` is signed."""

    fill_id: str
    portfolio_id: str
    symbol: str
    quantity: int
    price: Decimal
    fee: Decimal
    ts_ms: int

    def body(self) -> dict[str, Any]:
        return {
            "fill_id": self.fill_id,
            "portfolio_id": self.portfolio_id,
            "instrument_id": self.symbol,
            "side": "BUY" if self.quantity > 0 else "SELL",
            "quantity": abs(self.quantity),
            "fill_price": str(self.price),
            "fee": str(self.fee),
            "timestamp": self.ts_ms,
        }


@dataclass
class Desk:
    """Fills of cash accounts, over REST and over the bus, some of them reported several times."""

    cloud: Cloud
    rest: Rest
    cash: Mapping[str, tuple[str, ...]]
    draw: Random
    name: str
    sent: dict[str, Fill] = field(default_factory=dict)
    repeats: int = 0

    def __post_init__(self) -> None:
        self._bus = self.cloud.aws("events")
        self._bus_name = self.cloud.outputs.resources["EventBusName"]

    def run(self, ended: threading.Event) -> None:
        while not ended.wait(0.25):
            again = [self.draw.choice(list(self.sent.values()))] if self.sent and self.draw.random() < 0.3 else []
            self.repeats += len(again)
            self.report([self.new() for _ in range(self.draw.randint(1, 3))] + again)

    def new(self) -> Fill:
        """More is bought than sold, so that what is held stays far above what is sold."""
        portfolio_id = self.draw.choice(list(self.cash))
        quantity, price = self.draw.choice([5, 7, 9, -2, -3]), self.draw_price()
        fill_id = f"{self.name}-{len(self.sent)}"
        fee = Decimal(self.draw.randint(0, 300)) * CENT
        symbol = self.draw.choice(self.cash[portfolio_id])
        fill = self.sent[fill_id] = Fill(fill_id, portfolio_id, symbol, quantity, price, fee, now_ms())
        return fill

    def draw_price(self) -> Decimal:
        return Decimal(self.draw.randint(5_000, 15_000)) * CENT

    def report(self, fills: list[Fill]) -> None:
        """Until it is acknowledged."""
        if self.draw.random() < 0.5:
            for fill in fills:
                self.publish(fill.body())
            return
        answer = insist(self.rest, "POST", "/api/v1/fills", [fill.body() for fill in fills])
        if answer.status != 202 or answer.body["rejected"]:
            raise TrafficError(f"fills were refused: {answer.status} {answer.body}")

    def publish(self, detail: Mapping[str, Any]) -> None:
        """As an event of the bus, which keeps what it took."""
        entry = {"Source": "chaos", "DetailType": "order_filled", "Detail": json.dumps(detail)}
        answer = self._bus.put_events(Entries=[entry | {"EventBusName": self._bus_name}])
        if answer["FailedEntryCount"]:
            raise TrafficError(f"the bus refused a fill: {answer}")


@dataclass
class Traders:
    """Simulated orders of paper accounts, each under an id of its own until it is answered."""

    rest: Rest
    market: Market
    paper: Mapping[str, str]
    draw: Random
    placed: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def run(self, ended: threading.Event) -> None:
        number = 0
        while not ended.wait(0.7):
            number += 1
            self._place(self.draw.choice(list(self.paper)), f"order-{number}")

    def _place(self, portfolio_id: str, order_id: str) -> None:
        symbol = self.paper[portfolio_id]
        body: dict[str, Any] = {"instrument_id": symbol, "side": "BUY", "quantity": self.draw.randint(1, 5)}
        if self.draw.random() < 0.3:
            limit = (self.market.prices[symbol] * Decimal("0.99")).quantize(CENT)
            body |= {"order_type": "limit", "limit_price": str(limit)}
        else:
            body |= {"order_type": "market"}
        path = f"/api/v1/portfolio/{portfolio_id}/orders"
        answer = insist(self.rest, "POST", path, body | {"client_order_id": order_id})
        if answer.status < 300:
            self.placed.setdefault(portfolio_id, {})[order_id] = answer.body
        else:
            self.refused.append(str(answer.body))


# Of an account with 1,000 that holds 100 at 100 and needs five percent.
PRICE_OK, PRICE_CALLED = Decimal(100), Decimal("94.70")


@dataclass
class Slides:
    """Margin accounts that are called and recover, again and again; the next move only once the last one shows."""

    rest: Rest
    market: Market
    margin: Mapping[str, str]
    calls: dict[str, int] = field(default_factory=dict)
    # Held while an account is called: what loses the hot store loses what it was called for.
    calm: threading.Lock = field(default_factory=threading.Lock)

    def run(self, ended: threading.Event) -> None:
        while not ended.wait(0.5):
            for portfolio_id in self.margin:
                with self.calm:
                    self.move(portfolio_id, PRICE_CALLED, "call")
                    self.calls[portfolio_id] = self.calls.get(portfolio_id, 0) + 1
                    self.move(portfolio_id, PRICE_OK, "ok")

    def move(self, portfolio_id: str, price: Decimal, state: str) -> None:
        symbol = self.margin[portfolio_id]
        self.market.insist([self.market.quote(symbol, price)])
        self.market.prices[symbol] = price
        stop = time.monotonic() + PATIENCE_S
        seen = None
        while time.monotonic() < stop:
            body = insist(self.rest, "GET", f"/api/v1/portfolio/{portfolio_id}/state").body
            seen = body["margin"] and body["margin"]["state"]
            if seen == state:
                return
            time.sleep(PAUSE_S)
        raise TrafficError(f"{portfolio_id} at {price}: {seen} instead of {state} for {PATIENCE_S:.0f} s")


class Thread:
    """A driver at work; what ends it early is kept."""

    def __init__(self, name: str, run: Callable[[threading.Event], None]) -> None:
        self.fault = ""
        self._name, self._run = name, run
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Waits for what it is about to finish."""
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        try:
            self._run(self._ended)
        except Exception as fault:  # noqa: BLE001 - whatever it is, it is a violation, told at the end
            self.fault = f"{self._name} ended early: {type(fault).__name__}: {fault}"
