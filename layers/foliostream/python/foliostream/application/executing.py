"""What placing an order and a tick that fills it have in common: the price of now, and the fill into the books."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from foliostream.application.margin_check import MarginCheck
from foliostream.domain import keys, orders, portfolio
from foliostream.domain.fills import Side
from foliostream.domain.instrument import Instrument
from foliostream.domain.orders import Costs, Order
from foliostream.domain.portfolio import Entry, Portfolio, Transaction
from foliostream.errors import CallerError
from foliostream.ports import Clock, Instruments, Ledger, OrderChange, Prices


@dataclass(frozen=True)
class Execution:
    """``stale_after_ms``: how old a price may be where its instrument says nothing."""

    ledger: Ledger
    instruments: Instruments
    prices: Prices
    clock: Clock
    costs: Costs
    stale_after_ms: int
    margin_check: MarginCheck

    def instrument(self, symbol: str) -> Instrument:
        """``CallerError`` (``UNKNOWN_SYMBOL``) if it is not registered."""
        found = self.instruments.get([keys.symbol(symbol)]).get(symbol)
        if found is None:
            raise CallerError(f"no instrument {symbol} is registered", code="UNKNOWN_SYMBOL")
        return found

    def price(self, instrument: Instrument, side: Side) -> tuple[Decimal, int]:
        """What a trade is done at, and now; ``RefusedError`` as ``orders.market_price``."""
        price = self.prices.get([instrument.symbol]).get(instrument.symbol)
        now_ms = self.clock.now_ms()
        return orders.market_price(price, instrument, side, now_ms, self.stale_after_ms), now_ms

    def judge(
        self, before: Portfolio, entry: Entry, instrument: Instrument, now_ms: int
    ) -> tuple[Portfolio, list[Transaction]]:
        """The books after the entry; ``RefusedError`` with figures where they, or the account's margin, do not allow
        it. Nothing is kept."""
        known = {instrument.symbol: instrument}
        needed = portfolio.price_symbols(before, [entry], known)
        prices = self.prices.get(needed) if needed else {}
        after, transactions = portfolio.apply(before, [entry], known, now_ms, prices)
        self.margin_check(before, after, [entry], now_ms)
        return after, transactions

    def book(self, before: Portfolio, change: OrderChange, instrument: Instrument) -> None:
        """The fill, its transaction and its order, all or nothing; errors as ``judge`` and ``Ledger.commit``."""
        order: Order = change.after
        after, transactions = self.judge(before, orders.entry(order), instrument, order.updated_at_ms)
        opened, closed = after.symbols - before.symbols, before.symbols - after.symbols
        self.ledger.commit(after, transactions, opened, closed, change)
