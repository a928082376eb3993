"""Margin before something is booked, and previews of orders: one rule (``domain.preview``) on prices of now."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from foliostream.application.access import Caller, own_portfolio
from foliostream.domain import keys, preview
from foliostream.domain.margin import Basis, Market
from foliostream.domain.portfolio import AccountType, Entry, Portfolio
from foliostream.domain.preview import Order, Preview
from foliostream.errors import RefusedError
from foliostream.ports import Clock, Instruments, Ledger, Prices


@dataclass(frozen=True)
class MarginCheck:
    """``account_types``: those whose trades are refused where their margin would not do. ``stale_after_ms`` as of
    ``Valuer``: it chooses among rates; figures of stale prices are the last ones known."""

    prices: Prices
    instruments: Instruments
    stale_after_ms: int
    account_types: frozenset[AccountType]
    basis: Basis

    def __call__(self, before: Portfolio, after: Portfolio, entries: Sequence[Entry], now_ms: int) -> None:
        """``RefusedError`` (``INSUFFICIENT_MARGIN``, ``MARGIN_UNKNOWN``) if ``after`` must not be committed. Reads
        nothing unless margin matters."""
        if not preview.is_checked(before, after, entries, self.account_types):
            return
        market = self.market(before.symbols | after.symbols, before.positions.keys() | after.positions.keys(), now_ms)
        fault = preview.check(before, after, entries, market, self.basis)
        if fault is not None:
            raise RefusedError(fault.message, code=fault.code, details=fault.details)

    def covers(self, portfolio: Portfolio) -> bool:
        """Whether a trade of the portfolio may be refused for want of margin."""
        return portfolio.account_kind == "margin" and portfolio.account_type in self.account_types

    def market(self, symbols: Collection[str], held: Collection[str], now_ms: int) -> Market:
        """Prices of the symbols, and the instruments of those that have one and of what is held."""
        prices = self.prices.get(symbols) if symbols else {}
        known = prices.keys() | set(held)
        return Market(prices, self.instruments.get(known) if known else {}, now_ms, self.stale_after_ms)


class Previewed(NamedTuple):
    """``stale``: symbols of prices older than they may be."""

    portfolio: Portfolio
    preview: Preview
    stale: list[str]


@dataclass(frozen=True)
class Previewing:
    """Previews over REST. Nothing is written."""

    ledger: Ledger
    check: MarginCheck
    clock: Clock

    def __call__(self, caller: Caller, portfolio_id: str, orders: Sequence[Order]) -> Previewed:
        """``RefusedError`` (``MARGIN_ACCOUNT_NEEDED``) for a cash account, ``CallerError`` for none or too many."""
        portfolio = own_portfolio(caller, keys.portfolio_id(portfolio_id), self.ledger)
        if portfolio.account_kind != "margin":
            raise RefusedError("only margin accounts have margin", code="MARGIN_ACCOUNT_NEEDED")
        traded = {order.symbol for order in orders[: preview.MAX_ORDERS]}
        instruments = self.check.instruments.get(traded) if traded else {}
        symbols = preview.symbols(portfolio, traded, instruments)
        market = self.check.market(symbols, portfolio.positions.keys() | traded, self.clock.now_ms())
        found = preview.preview(portfolio, orders, market, self.check.basis)
        return Previewed(portfolio, found, preview.stale(portfolio, traded, market))
