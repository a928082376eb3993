"""Somebody trades while prices move: fills of one sample account, and whether all of them were booked."""

import time

from foliostream.domain.times import iso
from foliostream_client.transport import Json, Rest
from local.processes import poll

ACCOUNT = "sample-chips"
SYMBOL = "AAPL"
TRADE_EVERY_S = 2.0
BOOKED_WITHIN_S = 20.0
QUANTITY = 10


class Trader:
    """Buys and sells in turn at the price the screen shows, as a broker would report it: ``POST /api/v1/fills``."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._run = f"demo-{time.time_ns()}"
        self._due = time.monotonic() + TRADE_EVERY_S
        self.fill_ids: list[str] = []
        self.faults: list[str] = []

    def trade(self, state: Json, now_ms: int) -> None:
        """Report a fill if it is time for one and the account on the screen has a price."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + TRADE_EVERY_S
        marks = {position["instrument_id"]: position["mark"] for position in state.get("positions", ())}
        if marks.get(SYMBOL) is None:
            return
        fill_id = f"{self._run}-{len(self.fill_ids)}"
        fill = {
            "fill_id": fill_id,
            "portfolio_id": ACCOUNT,
            "instrument_id": SYMBOL,
            "side": "SELL" if len(self.fill_ids) % 2 else "BUY",
            "quantity": QUANTITY,
            "fill_price": marks[SYMBOL],
            "fee": 1,
            "timestamp": iso(now_ms),
        }
        answer = self._rest.post("/api/v1/fills", fill)
        if answer["accepted"] == 1:
            self.fill_ids.append(fill_id)
        else:
            self.faults.append(f"fill {fill_id} was refused: {answer['rejected']}")

    def missing(self) -> list[str]:
        """What is wrong with the trades: refused ones, and accepted ones that the ledger does not list in time."""
        poll(lambda: not self._unbooked(), BOOKED_WITHIN_S, interval_s=0.2)
        return self.faults + [f"fill {fill_id} was accepted and not booked" for fill_id in self._unbooked()]

    def _unbooked(self) -> list[str]:
        booked: set[str] = set()
        cursor = ""
        while True:
            page = self._rest.get(f"/api/v1/portfolio/{ACCOUNT}/transactions{cursor}")
            booked.update(transaction["transaction_id"] for transaction in page["transactions"])
            if page["cursor"] is None or all(f"fill:{fill_id}" in booked for fill_id in self.fill_ids):
                return [fill_id for fill_id in self.fill_ids if f"fill:{fill_id}" not in booked]
            cursor = f"?cursor={page['cursor']}"
