"""A process of its own that sends prices and fills at their rates, and remembers what it sent."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from multiprocessing.connection import Connection
from random import Random
from typing import Any, NamedTuple

from benchmarks.load.plan import FIRST_PRICE, SEED, Account, Plan
from benchmarks.measuring import now_ms
from foliostream_client.transport import Rest
from local.cloud import Outputs

# One event, and one call of the bus, each tenth of a second.
STEP_S = 0.1
STEPS_A_SECOND = 10
FILLS_AT_ONCE = 10
SENDERS = 4
CENT = Decimal("0.01")


class SentFill(NamedTuple):
    """``quantity`` is signed."""

    fill_id: str
    portfolio_id: str
    symbol: str
    quantity: int
    price: Decimal


@dataclass
class Sent:
    """What the books and snapshots must agree with. ``late_s``: how far the generator fell behind its own rate."""

    prices: dict[str, Decimal] = field(default_factory=dict)
    fills: list[SentFill] = field(default_factory=list)
    ticks: int = 0
    seconds: float = 0.0
    late_s: float = 0.0
    errors: list[str] = field(default_factory=list)


def generate(plan: Plan, outputs: Outputs, token: str, told: Connection) -> None:
    """Send until the time is over, then tell what was sent. Runs as a process."""
    told.send(_Generator(plan, outputs, token).run())
    told.close()


class _Generator:
    def __init__(self, plan: Plan, outputs: Outputs, token: str) -> None:
        self._plan, self._draw = plan, Random(SEED)
        self._symbols, self._accounts = plan.all_symbols(), plan.accounts()
        self._bus: Any = outputs.aws("events")
        self._bus_name = outputs.resources["EventBusName"]
        self._rest = Rest(outputs.rest_url, token)
        self._sent = Sent(prices=dict.fromkeys(self._symbols, FIRST_PRICE))

    def run(self) -> Sent:
        begun = time.monotonic()
        with ThreadPoolExecutor(SENDERS) as pool:
            work = list(self._steps(pool, begun))
            for one in work:
                if fault := one.exception():
                    self._sent.errors.append(f"{type(fault).__name__}: {fault}")
        self._sent.seconds = time.monotonic() - begun
        # A last price of every symbol: without it the newest might still be overtaken by one that is no newer.
        for start in range(0, len(self._symbols), 100):
            self._publish([self._moved(symbol) for symbol in self._symbols[start : start + 100]])
        return self._sent

    def _steps(self, pool: ThreadPoolExecutor, begun: float) -> Iterator[Future[None]]:
        for number in range(round(self._plan.seconds * STEPS_A_SECOND)):
            wait_s = begun + number * STEP_S - time.monotonic()
            self._sent.late_s = max(self._sent.late_s, -wait_s)
            time.sleep(max(wait_s, 0))
            if ticks := share(self._plan.ticks, number):
                updates = [self._moved(symbol) for symbol in self._draw.choices(self._symbols, k=ticks)]
                yield pool.submit(self._publish, updates)
            if fills := share(self._plan.fills, number):
                yield pool.submit(self._report, [self._fill() for _ in range(fills)])

    def _moved(self, symbol: str) -> dict[str, Any]:
        price = max(self._sent.prices[symbol] + self._draw.randint(-50, 50) * CENT, CENT)
        self._sent.prices[symbol] = price
        self._sent.ticks += 1
        return {"symbol": symbol, "ts": now_ms(), "seq": self._sent.ticks, "last": str(price)}

    def _publish(self, updates: list[dict[str, Any]]) -> None:
        detail = json.dumps({"updates": updates})
        about = {"Source": "load", "DetailType": "market_price_update", "EventBusName": self._bus_name}
        answer = self._bus.put_events(Entries=[{**about, "Detail": detail}])
        if answer["FailedEntryCount"]:
            raise RuntimeError(f"the bus refused prices: {answer}")

    def _fill(self) -> SentFill:
        account: Account = self._draw.choice(self._accounts)
        price = self._draw.randint(9_000, 11_000) * CENT
        symbol, quantity = self._draw.choice(account.symbols), self._draw.choice([1, 2, 3])
        fill = SentFill(f"f{len(self._sent.fills)}", account.portfolio_id, symbol, quantity, price)
        self._sent.fills.append(fill)
        return fill

    def _report(self, fills: list[SentFill]) -> None:
        body = [
            {
                "fill_id": fill.fill_id,
                "portfolio_id": fill.portfolio_id,
                "instrument_id": fill.symbol,
                "side": "BUY",
                "quantity": fill.quantity,
                "fill_price": str(fill.price),
                "timestamp": now_ms(),
            }
            for fill in fills
        ]
        answer = self._rest.expect("POST", "/api/v1/fills", body, repeatable=True).body
        if answer["rejected"]:
            raise RuntimeError(f"fills were refused: {answer}")


def share(a_second: int, number: int) -> int:
    """Of a rate in this step, so that every second has all of it."""
    step = number % STEPS_A_SECOND
    return a_second * (step + 1) // STEPS_A_SECOND - a_second * step // STEPS_A_SECOND
