"""A portfolio's unrounded figures from one set of prices (definitions 9, 11-13, 17, 18): what its total is summed from
and what is rendered are the same."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from foliostream.domain import daily, marking, money, rates, splitting
from foliostream.domain.account import Portfolio
from foliostream.domain.instrument import Instrument, expires_at_ms
from foliostream.domain.keys import CASH_PREFIX
from foliostream.domain.marking import NEVER_MS, Marked
from foliostream.domain.money import ONE, ZERO
from foliostream.domain.price import Price
from foliostream.domain.rates import Rate


class Quoted(NamedTuple):
    """A currency's rate and when it is stale; ``side`` is the one a cash account's amounts are converted at."""

    rate: Rate
    side: Decimal
    expires_ms: int


class Cash(NamedTuple):
    """Cash of one currency; ``worth`` in base, None without a rate."""

    currency: str
    amount: Decimal
    fx: Decimal | None
    worth: Decimal | None
    expires_ms: int
    rate_ts_ms: int | None


class Figures(NamedTuple):
    """A portfolio's unrounded figures; ``currencies``: of those other than base that have a rate."""

    portfolio: Portfolio
    positions: list[Marked]
    cash: list[Cash]
    currencies: dict[str, Quoted]
    unpriced: list[str]
    stale: list[str]

    @property
    def cash_worth(self) -> Decimal | None:
        """All cash in base; None where a currency that is held has no rate."""
        worths = [item.worth for item in self.cash]
        return None if None in worths else sum((worth for worth in worths if worth is not None), ZERO)

    @property
    def total(self) -> Decimal | None:
        """A cash account's cash and positions, a margin account's equity; None while anything is unpriced."""
        cash = self.cash_worth
        if self.unpriced or cash is None:
            return None
        return cash + summed(self.positions, "unrealized" if self.portfolio.account_kind == "margin" else "value")

    @property
    def fresh_until_ms(self) -> int:
        """When the first of its prices and rates is stale."""
        expiries = [item.expires_ms for item in self.positions] + [item.expires_ms for item in self.cash]
        return min(expiries, default=NEVER_MS)


def figures_of(
    portfolio: Portfolio,
    prices: Mapping[str, Price],
    instruments: Mapping[str, Instrument],
    read_at_ms: int,
    stale_after_ms: int,
) -> Figures:
    """Everything there is to know at ``read_at_ms``. Computed in the caller's decimal context, which is ``EXACT``."""
    positions = [
        marking.marked(symbol, position, prices.get(symbol), instruments.get(symbol), stale_after_ms)
        for symbol, position in sorted(portfolio.positions.items())
    ]
    positions = [_unless_split(item, instruments.get(item.symbol), read_at_ms) for item in positions]
    quoted: dict[str, Quoted] = {}
    if foreign := portfolio.foreign_currencies:
        quoted = _quoted(portfolio, positions, foreign, prices, instruments, read_at_ms, stale_after_ms)
        positions = [_converted(item, portfolio, quoted) for item in positions]
    cash = [_cash(name, portfolio, quoted) for name in sorted(portfolio.cash)]
    unpriced = [item.symbol for item in positions if item.value is None]
    unpriced += [CASH_PREFIX + item.currency for item in cash if item.worth is None]
    stale = [item.symbol for item in positions if item.outdated or item.expires_ms <= read_at_ms]
    stale += [CASH_PREFIX + item.currency for item in cash if item.expires_ms <= read_at_ms]
    return Figures(portfolio, positions, cash, quoted, unpriced, stale)


def _unless_split(item: Marked, instrument: Instrument | None, read_at_ms: int) -> Marked:
    """Old quantity, new price: not to be trusted as long as a split of what is held is not booked."""
    told = instrument.splits if instrument else ()
    if item.mark is None or not splitting.is_due(item.position.opened_at_ms, item.position.splits, told, read_at_ms):
        return item
    return item._replace(outdated=True)


def _quoted(
    portfolio: Portfolio,
    positions: list[Marked],
    foreign: list[str],
    prices: Mapping[str, Price],
    instruments: Mapping[str, Instrument],
    read_at_ms: int,
    stale_after_ms: int,
) -> dict[str, Quoted]:
    """Each currency's rate; its worse side is that of the currency's net value (definitions 9)."""

    def fresh(symbol: str, ts_ms: int) -> bool:
        return expires_at_ms(instruments.get(symbol), ts_ms, stale_after_ms) > read_at_ms

    net = {currency: portfolio.cash.get(currency, ZERO) for currency in foreign}
    for item in positions:
        if item.position.currency in net and item.value is not None:
            net[item.position.currency] += item.value
    found = {}
    for currency in foreign:
        rate = rates.find(currency, portfolio.base_currency, prices, fresh)
        if rate is not None:
            expires_ms = marking.rate_expires_ms(rate, instruments, stale_after_ms)
            found[currency] = Quoted(rate, rate.worse(net[currency]), expires_ms)
    return found


def _converted(item: Marked, portfolio: Portfolio, quoted: dict[str, Quoted]) -> Marked:
    currency = item.position.currency
    if currency == portfolio.base_currency:
        return item
    found = quoted.get(currency)
    if portfolio.account_kind == "margin":
        return marking.with_rate(item, found.rate if found else None, found.expires_ms if found else NEVER_MS)
    return marking.in_base(item, found.side if found else None)


def _cash(currency: str, portfolio: Portfolio, quoted: dict[str, Quoted]) -> Cash:
    amount = portfolio.cash[currency]
    if currency == portfolio.base_currency:
        return Cash(currency, amount, ONE, amount, NEVER_MS, None)
    found = quoted.get(currency)
    if found is None:
        return Cash(currency, amount, None, None if amount else ZERO, NEVER_MS, None)
    return Cash(currency, amount, found.side, amount * found.side, found.expires_ms, found.rate.ts_ms)


def summed(positions: list[Marked], figure: str) -> Decimal:
    """The sum of one of their amounts; what is unknown does not count."""
    return sum((getattr(item, figure) or ZERO for item in positions), ZERO)


def fx_effect(figures: Figures) -> Decimal:
    """Everything that moved a currency, at the rate now less at booked rates; a margin account books base alone."""
    portfolio = figures.portfolio
    if portfolio.account_kind == "margin" or not portfolio.totals.keys() - {portfolio.base_currency}:
        return ZERO
    now = portfolio.totals_of(portfolio.base_currency).net
    for currency in portfolio.totals:
        if currency in figures.currencies:
            now += portfolio.totals_of(currency).net * figures.currencies[currency].side
    return now - _booked(portfolio)


def _booked(portfolio: Portfolio) -> Decimal:
    return (
        portfolio.net_deposits
        + portfolio.realized_pnl
        - portfolio.fees_total
        + portfolio.dividends_total
        + portfolio.swap_total
        + portfolio.adjustments_total
    )


class Daily(NamedTuple):
    """The day's figures as they are shown, rounded; ``missing``: what they leave out."""

    change: Decimal | None
    percent: Decimal | None
    pnl: Decimal | None
    missing: list[str]


def daily_figures(figures: Figures) -> Daily:
    """Definitions 17 and 18: what has no open, or no mark at the last close, is left out and listed."""
    positions, base = figures.positions, figures.portfolio.base_currency
    closed, unknown = _closed_today(figures)
    missing = [item.symbol for item in positions if item.change is None or item.day_result is None]
    missing += [name for name in unknown if name not in missing]
    if figures.unpriced:
        return Daily(None, None, None, missing)
    change, opening = summed(positions, "change"), summed(positions, "opening")
    percent = money.rounded(money.EXACT.divide(change * 100, opening), money.PERCENT_DECIMALS) if opening else None
    changes = not positions or any(item.change is not None for item in positions)
    results = [item.day_result for item in positions if item.day_result is not None] + closed
    return Daily(
        money.money(change, base) if changes else None,
        percent,
        money.money(sum(results, ZERO), base) if results or not missing else None,
        missing,
    )


def _closed_today(figures: Figures) -> tuple[list[Decimal], list[str]]:
    """The day's results of what is not held any more, in base, and what of it is not known."""
    portfolio = figures.portfolio
    if not portfolio.closed_today and not portfolio.day_results:
        return [], list(portfolio.day_unknown)
    results, unknown = [], list(portfolio.day_unknown)
    for symbol, item in portfolio.closed_today.items():
        result = daily.closed_result(item)
        worth = None if result is None else _at_rate(result, item.currency, figures)
        if worth is None:
            unknown.append(symbol)
        else:
            results.append(worth)
    for currency, amount in portfolio.day_results.items():
        worth = _at_rate(amount, currency, figures)
        if worth is None:
            unknown.append(CASH_PREFIX + currency)
        else:
            results.append(worth)
    return results, unknown


def _at_rate(amount: Decimal, currency: str, figures: Figures) -> Decimal | None:
    if currency == figures.portfolio.base_currency:
        return amount
    found = figures.currencies.get(currency)
    if found is None:
        return None
    return amount * (found.rate.worse(amount) if figures.portfolio.account_kind == "margin" else found.side)
