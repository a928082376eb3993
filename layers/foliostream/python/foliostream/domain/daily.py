"""The day in the books: fills since the last close and what was carried in (definitions 18)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, localcontext

from msgspec.structs import replace

from foliostream.domain import money, splitting
from foliostream.domain.account import NO_DAY, ClosedToday, Day, Portfolio, Position
from foliostream.domain.instrument import Instrument, Split
from foliostream.domain.money import ZERO
from foliostream.domain.price import Price

# Kept by name, so that a symbol bought again the same day goes on with its day; the ones before are summed exactly.
MAX_CLOSED_TODAY = 100
# One more than a forex price has: also the middle of a quote is kept as it is; a price divided by a split is rounded.
MARK_DECIMALS = 11


def with_fill(day: Day, quantity: Decimal, price: Decimal) -> Day:
    """The day with one more fill; ``sum s*(mark - p)`` needs no more than the two sums."""
    return Day(day.traded + quantity, day.spent + quantity * price, day.carried_value)


def with_closed(
    portfolio: Portfolio, symbol: str, day: Day, instrument: Instrument, splits: tuple[Split, ...]
) -> dict[str, object]:
    """The fields of the portfolio that change when a symbol is flat: the fill that closed it is in ``day``."""
    closed = {name: item for name, item in portfolio.closed_today.items() if name != symbol}
    closed[symbol] = ClosedToday(day, instrument.multiplier, instrument.currency, splits)
    changes: dict[str, object] = {"closed_today": closed}
    if len(closed) > MAX_CLOSED_TODAY:
        oldest = next(iter(closed))
        item = closed.pop(oldest)
        result = closed_result(item)
        if result is None:
            changes["day_unknown"] = (*portfolio.day_unknown, oldest)
        else:
            results = dict(portfolio.day_results)
            results[item.currency] = results.get(item.currency, ZERO) + result
            changes["day_results"] = results
    return changes


def closed_result(item: ClosedToday) -> Decimal | None:
    """The day's profit of a symbol that is flat now, in its currency; None if the mark at the last close is unknown."""
    day = item.day
    if day.carried_value is None:
        return None if day.traded else -day.spent * item.multiplier
    return -(day.carried_value + day.spent) * item.multiplier


def carried(position: Position) -> Decimal:
    """The quantity held when the day began, in units of now."""
    return position.quantity - (position.day or NO_DAY).traded


def lacks_mark(position: Position) -> bool:
    """Whether some of it was carried in without a mark of our own."""
    return (position.day or NO_DAY).carried_value is None and bool(carried(position))


def with_previous_close(position: Position, price: Price | None, instrument: Instrument) -> Position:
    """The position about to be closed, with the feed's previous close as the mark it was carried in at where it has
    none of its own: once it is flat nobody watches its price any more. Unknown is left so (0 counts as unknown)."""
    if price is None or not price.previous_close or not lacks_mark(position):
        return position
    factor = splitting.factor(splitting.known(position.splits, instrument), price.previous_close_at_ms)
    mark = money.rounded(price.previous_close / factor, MARK_DECIMALS).normalize()
    day = position.day or NO_DAY
    return replace(position, day=replace(day, carried_value=carried(position) * mark))


def result(position: Position, mark: Decimal, previous_close: Decimal | None) -> Decimal | None:
    """The day's profit of a position in its currency. ``previous_close``: the feed's, for what was carried in without
    a mark of our own; None if neither is known (0 counts as unknown)."""
    day = position.day or NO_DAY
    quantity = position.quantity - day.traded
    value = day.carried_value
    if not quantity:
        value = ZERO
    elif value is None:
        if not previous_close:
            return None
        value = quantity * previous_close
    return (position.quantity * mark - value - day.spent) * position.multiplier


def close_day(portfolio: Portfolio, day: str, marks: Mapping[str, Decimal | None], now_ms: int) -> Portfolio:
    """The next version, in which a new day has begun: what is held is carried in at its mark.

    ``day``: the one that ends, ``2026-02-26``; ``marks``: the prices positions are valued at, splits considered
    (without one, or with 0, what was carried in is measured by the feed's previous close).
    """
    with localcontext(money.EXACT):
        positions = {symbol: _carried_in(held, marks.get(symbol)) for symbol, held in portfolio.positions.items()}
    return replace(
        portfolio,
        version=portfolio.version + 1,
        updated_at_ms=now_ms,
        positions=positions,
        closed_day=day,
        closed_today={},
        day_results={},
        day_unknown=(),
    )


def _carried_in(held: Position, mark: Decimal | None) -> Position:
    return replace(held, day=Day(carried_value=held.quantity * mark) if mark else None)
