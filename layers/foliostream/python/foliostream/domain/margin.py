"""Margin figures of a margin account: equity, used margin, level (definitions 11, 12, 14, 19).

Everything is exact: nothing is rounded before the wire, and comparisons with a threshold multiply instead of dividing,
since a margin of notional/30 has no end in decimals and a level of exactly 120 percent must be found to be one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Literal, NamedTuple

from foliostream.domain import money, price, rates, splitting
from foliostream.domain.account import Portfolio, Position
from foliostream.domain.instrument import Instrument, expires_at_ms
from foliostream.domain.margin_status import State
from foliostream.domain.money import ONE, ZERO
from foliostream.domain.price import Price
from foliostream.domain.rates import Rate
from foliostream.domain.state import MarginState

# At which prices margin is needed: ``current`` the ask in both directions, ``open`` what was paid, ``mid`` the middle
# of the quote, at which profit and loss are valued too.
Basis = Literal["current", "open", "mid"]

_HUNDRED = Decimal(100)


class Market(NamedTuple):
    """What positions are valued from; ``stale_after_ms``: the age limit of prices whose instrument names none."""

    prices: Mapping[str, Price]
    instruments: Mapping[str, Instrument]
    now_ms: int
    stale_after_ms: int

    def fresh(self, symbol: str, ts_ms: int) -> bool:
        """Whether a pair's price of a time is not stale: which of two crosses is taken."""
        return expires_at_ms(self.instruments.get(symbol), ts_ms, self.stale_after_ms) > self.now_ms


class Sides(NamedTuple):
    """The prices a position is closed at, a long one at ``bid``, a short one at ``ask``; None where one is missing."""

    bid: Decimal | None
    ask: Decimal | None

    def of(self, *, long: bool) -> Decimal | None:
        """The side that closes a position."""
        return self.bid if long else self.ask

    @property
    def mid(self) -> Decimal | None:
        """The middle of both."""
        return None if self.bid is None or self.ask is None else (self.bid + self.ask) / 2


class Line(NamedTuple):
    """A position with what its margin depends on; ``rate`` is base per unit of its currency, None where there is
    none."""

    symbol: str
    position: Position
    instrument: Instrument | None
    sides: Sides
    rate: Rate | None


class Required(NamedTuple):
    """Used margin in base as ``rated + levered / leverage``: ``levered`` is the notional of which the portfolio's own
    leverage says more than the instrument's rate. Apart, because the quotient may have no end."""

    rated: Decimal = ZERO
    levered: Decimal = ZERO

    def amount(self, leverage: Decimal | None) -> Decimal:
        """The used margin; exact as far as it has an end."""
        if leverage is None or not self.levered:
            return self.rated
        return money.EXACT.add(self.rated, money.EXACT.divide(self.levered, leverage))


class PositionMargin(NamedTuple):
    """A position's figures in base. ``exposure``: what it is worth, without sign, at the prices that value profit and
    loss; ``notional``: the same at the prices of the margin, converted at the side that gives more."""

    symbol: str
    unrealized: Decimal
    exposure: Decimal
    notional: Decimal
    required: Required


class Margin(NamedTuple):
    """A margin account's unrounded figures in base; None where ``missing`` names what they would need.

    ``level_percent`` is None where nothing is used too: no positions have no level. ``leverage_used`` = exposure /
    equity, None where equity is not above zero.
    """

    balance: Decimal
    leverage: Decimal | None
    equity: Decimal | None
    used: Decimal | None
    free: Decimal | None
    level_percent: Decimal | None
    exposure: Decimal | None
    leverage_used: Decimal | None
    required: Required
    positions: Mapping[str, PositionMargin]
    missing: tuple[str, ...]

    def used_of(self, symbol: str) -> Decimal | None:
        """A position's used margin; None where it is not known, or not held."""
        found = self.positions.get(symbol)
        return None if found is None else found.required.amount(self.leverage)

    def at_or_below(self, percent: Decimal) -> bool:
        """Whether the level is at most that, compared without dividing; never without a level."""
        sides = self._compared(percent)
        return sides is not None and sides[0] <= sides[1]

    def above(self, percent: Decimal) -> bool:
        """Whether the level is more than that; without positions it is, whatever the percent."""
        if self.used is not None and not self.used:
            return True
        sides = self._compared(percent)
        return sides is not None and sides[0] > sides[1]

    def _compared(self, percent: Decimal) -> tuple[Decimal, Decimal] | None:
        """100 * equity * leverage, and percent * used * leverage."""
        if self.equity is None or not self.used:
            return None
        leverage = self.leverage or ONE
        with localcontext(money.EXACT):
            needed = self.required.rated * leverage + self.required.levered
            return _HUNDRED * self.equity * leverage, percent * needed


def figures(balance: Decimal, leverage: Decimal | None, lines: Iterable[Line], basis: Basis = "current") -> Margin:
    """The account's figures from its balance (base) and its positions, one line a symbol (definitions 3, 19: net).

    A position without a price side it needs, a rate or a margin rate (its own or the portfolio's leverage) is named
    in ``missing``, and what would need it is None: equity needs prices and rates, used margin all three.
    """
    with localcontext(money.EXACT):
        valued: list[PositionMargin] = []
        missing: list[str] = []
        unrealized, known = ZERO, True
        for line in lines:
            gained, found = _position(line, leverage, basis)
            known, unrealized = known and gained is not None, unrealized + (gained or ZERO)
            if found is None:
                missing.append(line.symbol)
            else:
                valued.append(found)
        return _margin(balance, leverage, balance + unrealized if known else None, valued, tuple(missing))


def assess(portfolio: Portfolio, market: Market, basis: Basis = "current") -> Margin:
    """The figures of a margin account's book at the prices of a market."""
    balance = portfolio.cash.get(portfolio.base_currency, ZERO)
    return figures(balance, portfolio.leverage, lines_of(portfolio, market), basis)


def lines_of(portfolio: Portfolio, market: Market) -> list[Line]:
    """The positions of a book, sorted by symbol, with their prices and rates."""
    found: dict[str, Rate | None] = {}
    lines = []
    with localcontext(money.EXACT):
        for symbol, position in sorted(portfolio.positions.items()):
            currency, instrument = position.currency, market.instruments.get(symbol)
            if currency not in found:
                found[currency] = rates.find(currency, portfolio.base_currency, market.prices, market.fresh)
            sides = _sides(market.prices.get(symbol), instrument, position)
            lines.append(Line(symbol, position, instrument, sides, found[currency]))
    return lines


def _sides(quote: Price | None, instrument: Instrument | None, position: Position) -> Sides:
    """The prices that close a position, in units of after its splits. A stock has one for both directions (definitions
    11)."""
    if quote is None:
        return Sides(None, None)
    if instrument is not None and instrument.kind != "stock":
        bid, ask, ts_ms = quote.bid, quote.ask, quote.quote_ts_ms
    else:
        mark = price.mark(quote)
        bid, ask, ts_ms = (mark.value, mark.value, mark.ts_ms) if mark else (None, None, 0)
    splits = splitting.known(position.splits, instrument)
    if not splits:
        return Sides(bid, ask)
    factor = splitting.factor(splits, ts_ms)
    return Sides(None if bid is None else bid / factor, None if ask is None else ask / factor)


# --- one position ----------------------------------------------------------------------------------------------------


def _position(line: Line, leverage: Decimal | None, basis: Basis) -> tuple[Decimal | None, PositionMargin | None]:
    """Profit or loss in base, converted at the side that is worse for it, and all figures; None without a price, a
    rate, or for the second a margin rate."""
    position, rate = line.position, line.rate
    mark = line.sides.mid if basis == "mid" else line.sides.of(long=position.quantity > 0)
    if mark is None or rate is None:
        return None, None
    units = position.quantity * position.multiplier
    gained = units * mark - position.signed_cost
    side = rate.worse(gained)
    native = _notional(line, basis)
    if native is None:
        return gained * side, None
    notional = native * max(rate.bid, rate.ask)
    required = requirement(notional, line.instrument, leverage)
    if required is None:
        return gained * side, None
    exposure = abs(units * mark) * side  # as its market value is shown (definitions 15)
    return gained * side, PositionMargin(line.symbol, gained * side, exposure, notional, required)


def _notional(line: Line, basis: Basis) -> Decimal | None:
    """In the position's currency: what margin is needed for."""
    if basis == "open":
        return line.position.cost
    at = line.sides.ask if basis == "current" else line.sides.mid
    return None if at is None else abs(line.position.quantity * line.position.multiplier * at)


def requirement(notional: Decimal, instrument: Instrument | None, leverage: Decimal | None) -> Required | None:
    """The margin of a notional in base: of each part the larger of the instrument's rate and 1/leverage, once
    (definitions 19); None where neither is set."""
    rated = levered = ZERO
    for part, rate in _parts(notional, instrument):
        if leverage is not None and (rate is None or rate * leverage < ONE):
            levered += part
        elif rate is not None:
            rated += part * rate
        else:
            return None
    return Required(rated, levered)


def _parts(notional: Decimal, instrument: Instrument | None) -> Sequence[tuple[Decimal, Decimal | None]]:
    """The notional cut at the tiers' borders, each part with its rate."""
    if instrument is None or not instrument.margin_tiers:
        return ((notional, instrument.margin_rate if instrument else None),)
    tiers = instrument.margin_tiers
    parts: list[tuple[Decimal, Decimal | None]] = [
        (min(notional, upper.notional_from) - lower.notional_from, lower.margin_rate)
        for lower, upper in pairwise(tiers)
        if notional > lower.notional_from
    ]
    if notional > tiers[-1].notional_from:
        parts.append((notional - tiers[-1].notional_from, tiers[-1].margin_rate))
    return parts


# --- the account -----------------------------------------------------------------------------------------------------


def _margin(
    balance: Decimal,
    leverage: Decimal | None,
    equity: Decimal | None,
    valued: Sequence[PositionMargin],
    missing: tuple[str, ...],
) -> Margin:
    positions = {item.symbol: item for item in valued}
    if missing or equity is None:
        return Margin(balance, leverage, equity, None, None, None, None, None, Required(), positions, missing)
    required = Required(
        sum((item.required.rated for item in valued), ZERO), sum((item.required.levered for item in valued), ZERO)
    )
    used, exposure = required.amount(leverage), sum((item.exposure for item in valued), ZERO)
    return Margin(
        balance=balance,
        leverage=leverage,
        equity=equity,
        used=used,
        free=equity - used,
        level_percent=_HUNDRED * equity / used if used else None,
        exposure=exposure,
        leverage_used=exposure / equity if equity > 0 else None,
        required=required,
        positions=positions,
        missing=missing,
    )


def wire(margin: Margin, base: str, state: State) -> MarginState:
    """The figures as they go out, rounded once (definitions 16)."""
    return MarginState(
        balance=money.money(margin.balance, base),
        equity=_money(margin.equity, base),
        used=_money(margin.used, base),
        free=_money(margin.free, base),
        level_percent=_rounded(margin.level_percent, money.PERCENT_DECIMALS),
        exposure=_money(margin.exposure, base),
        leverage_used=None
        if margin.leverage_used is None
        else money.plain(margin.leverage_used, money.WEIGHT_DECIMALS),
        state=state,
    )


def _money(value: Decimal | None, currency: str) -> Decimal | None:
    return None if value is None else money.money(value, currency)


def _rounded(value: Decimal | None, places: int) -> Decimal | None:
    return None if value is None else money.rounded(value, places)
