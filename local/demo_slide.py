"""A leveraged account slides into a margin call and recovers, again and again: prices of a script over REST."""

import time
from collections.abc import Callable, Sequence

from foliostream.domain.times import iso
from foliostream_client.transport import Json, Rest

ACCOUNT = "sample-leveraged"
NAME = "Leveraged gold"
SYMBOL = "XAUUSD"
CASH = 1_000
QUANTITY = 5
# 5 x 2,000 needs 500 at 5 percent. Called at or below 1,894.73, restored above 1,899.73.
MARGIN_RATE = "0.05"
PRICES = (2000, 1950, 1910, 1892, 1890, 1905, 1940, 1980)
STEP_S = 1.0
TOLD_WITHIN_S = 20.0


class Slider:
    """Moves the price a step a second; what the account is told of it comes over the WebSocket."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._due = 0.0
        self._step = 0

    def open(self, now_ms: int) -> None:
        """Register the instrument and open the account; repeating it changes nothing."""
        body = {"kind": "cfd", "currency": "USD", "margin_rate": MARGIN_RATE}
        self._rest.put(f"/api/v1/instruments/{SYMBOL}", body)
        self._price(now_ms)
        self._rest.post("/api/v1/portfolios", opening())
        self._rest.post(f"/api/v1/portfolio/{ACCOUNT}/update", purchase())

    def slide(self, now_ms: int) -> None:
        """The next price if it is time for one."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + STEP_S
        self._step = (self._step + 1) % len(PRICES)
        self._price(now_ms)

    def missing(self, told: Sequence[str], take: Callable[[float], None], now_ms: Callable[[], int]) -> list[str]:
        """Go on until both a call and a recovery were ``told``; what never was."""
        deadline = time.monotonic() + TOLD_WITHIN_S
        while (absent := [kind for kind in ("margin_call", "margin_restored") if kind not in told]) and (
            time.monotonic() < deadline
        ):
            self.slide(now_ms())
            take(0.1)
        return [f"no {kind} of {ACCOUNT} arrived" for kind in absent]

    def _price(self, now_ms: int) -> None:
        price = PRICES[self._step]
        self._rest.post("/api/v1/prices", {"updates": [{"symbol": SYMBOL, "bid": price, "ask": price, "ts": now_ms}]})


def opening() -> Json:
    """The request that opens the account."""
    return {
        "portfolio_id": ACCOUNT,
        "portfolio_name": NAME,
        "account_type": "demo",
        "account_kind": "margin",
        "base_currency": "USD",
        "cost_basis": "average",
        "initial_cash": CASH,
    }


def purchase() -> Json:
    """The request that buys what it holds."""
    line = {
        "transaction_id": f"{ACCOUNT}-{SYMBOL}",
        "instrument_id": SYMBOL,
        "transaction_type": "BUY",
        "quantity_change": QUANTITY,
        "price": PRICES[0],
    }
    return {"portfolio_id": ACCOUNT, "timestamp": iso(1_577_912_400_000), "updates": [line]}
