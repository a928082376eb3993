"""A paper account back to its start over REST."""

from __future__ import annotations

from dataclasses import dataclass

from foliostream.application.access import Caller, own_portfolio
from foliostream.application.portfolios import Portfolios
from foliostream.application.rendering import Rendered
from foliostream.domain import keys, orders, portfolio, resetting
from foliostream.domain.money import ZERO
from foliostream.errors import ConflictError, RefusedError
from foliostream.ports import Clock, Instruments, Ledger, OrderChange, Orders, Prices

# A position is two items of a transaction, its own and its dependent's; a thousand positions are 34 transactions.
ENTRIES_MAX = 30
ROUNDS_MAX = 100


@dataclass(frozen=True)
class Resetting:
    """Whatever it was interrupted in, the next call goes on with what is left."""

    ledger: Ledger
    orders: Orders
    instruments: Instruments
    prices: Prices
    portfolios: Portfolios
    clock: Clock

    def __call__(self, caller: Caller, portfolio_id: str) -> Rendered:
        """The state after: open orders cancelled, no positions, the starting cash. A repeat changes nothing."""
        before = own_portfolio(caller, keys.portfolio_id(portfolio_id), self.ledger)
        orders.check_account(before)
        if before.status == "CLOSED":
            raise RefusedError("the portfolio is CLOSED", code="PORTFOLIO_CLOSED")
        self._cancel_orders(portfolio_id)
        first = self.ledger.transactions(portfolio_id, ["initial_cash"]).get("initial_cash")
        starting_cash = first.entry.amount if first else ZERO
        size = ENTRIES_MAX
        for _ in range(ROUNDS_MAX):
            held = self.instruments.get(before.positions)
            prices = self.prices.get(before.symbols) if before.symbols else {}
            now_ms = self.clock.now_ms()
            entries = resetting.entries(before, starting_cash, held, prices, now_ms)[:size]
            if not entries:
                return self.portfolios.publish(before)
            after, transactions = portfolio.apply(before, entries, held, now_ms, prices)
            opened, closed = after.symbols - before.symbols, before.symbols - after.symbols
            try:
                self.ledger.commit(after, transactions, opened, closed)
            except ConflictError:
                before = own_portfolio(caller, portfolio_id, self.ledger)
            except RefusedError as fault:  # a currency that ends takes the pairs of its rates along
                if fault.code != "TOO_MANY_ITEMS" or size == 1:
                    raise
                size //= 2
            else:
                before = after
        raise ConflictError(f"{portfolio_id} changed all the time: reset it again", code="TOO_MUCH_CONTENTION")

    def _cancel_orders(self, portfolio_id: str) -> None:
        cursor: str | None = None
        while True:
            page = self.orders.page(portfolio_id, "OPEN", cursor, orders.MAX_OPEN)
            for order in page.orders:
                try:
                    self.orders.change(OrderChange(order, orders.ended(order, "CANCELLED", self.clock.now_ms())))
                except ConflictError:
                    continue  # filled meanwhile: what it bought is booked out below
            if page.cursor is None:
                return
            cursor = page.cursor
