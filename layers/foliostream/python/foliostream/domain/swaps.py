"""What holding a position over night brings or costs: one SWAP a position and night (definitions 22).

A night belongs to the New York date at whose 17:00 it begins. Nights of Saturday and Sunday do not count where one of
the others counts three times for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import NamedTuple
from zoneinfo import ZoneInfo

from foliostream.domain import money
from foliostream.domain.account import Portfolio
from foliostream.domain.entries import Entry, Transaction
from foliostream.domain.instrument import Instrument, Weekday
from foliostream.domain.money import ZERO
from foliostream.domain.trading_hours import DAYS, at_wall_time_ms
from foliostream.errors import CallerError

BORDER_ZONE = "America/New_York"
BORDER_MINUTES = 17 * 60

_DAYS_A_YEAR = 360
_WEEKEND = frozenset({"Sat", "Sun"})


class Night(NamedTuple):
    """``at_ms``: when it begins; what is held then is charged."""

    day: date
    at_ms: int

    def counts(self, triple_day: Weekday | None) -> int:
        """How many nights it is charged as."""
        name = DAYS[self.day.weekday()]
        if triple_day is None:
            return 1
        if name == triple_day:
            return 3
        return 0 if name in _WEEKEND else 1


def of_day(day: date) -> Night:
    """The night that begins on a date of New York."""
    return Night(day, at_wall_time_ms(BORDER_ZONE, day, BORDER_MINUTES))


def latest(at_ms: int) -> Night:
    """The newest night that has begun."""
    day = datetime.fromtimestamp(at_ms // 1000, ZoneInfo(BORDER_ZONE)).date()
    tonight = of_day(day)
    return tonight if tonight.at_ms <= at_ms else of_day(day - timedelta(days=1))


def held(portfolio: Portfolio, booked_since: Iterable[Transaction], at_ms: int) -> dict[str, Decimal]:
    """Quantities at a time, by symbol, zero where a position was opened since. ``booked_since``: everything that was
    booked since then, newest first; what is of a later time is taken back."""
    found = {symbol: position.quantity for symbol, position in portfolio.positions.items()}
    for transaction in booked_since:
        entry = transaction.entry
        if entry.timestamp_ms <= at_ms or entry.instrument_id is None:
            continue
        quantity = found.get(entry.instrument_id, ZERO)
        if entry.ratio is not None:
            new, old = entry.ratio
            found[entry.instrument_id] = money.rounded(quantity * old / new, money.QUANTITY_DECIMALS)
        elif entry.quantity:
            found[entry.instrument_id] = quantity - entry.quantity
    return found


def amount(quantity: Decimal, instrument: Instrument, mark: Decimal | None, count: int) -> Decimal | None:
    """What a position of a signed quantity gains over ``count`` nights, in the instrument's currency, rounded half
    even to the 6 decimals that books take; None where interest needs a mark and there is none.

    Points: points * 10^-decimals * contract size * lots. Currency: amount * lots. Interest: percent / 100 / 360 *
    price * contract size * lots.
    """
    swap = instrument.swap
    if swap is None or not quantity or not count:
        return ZERO
    rate = swap.long if quantity > 0 else swap.short
    lots = abs(quantity)
    with localcontext(money.EXACT):
        if swap.mode == "currency":
            total = rate * lots * count
        elif swap.mode == "points":
            point = Decimal(1).scaleb(-instrument.price_places)
            total = rate * point * instrument.multiplier * lots * count
        elif mark is None:
            return None
        else:
            total = rate * mark * instrument.multiplier * lots * count / (100 * _DAYS_A_YEAR)
    return money.rounded(total, money.QUANTITY_DECIMALS)


def transaction_id(portfolio_key: str, symbol: str, night: Night) -> str:
    """One a portfolio, symbol and night: it counts once, whoever asks for it how often."""
    # Ids take no "&", symbols no "|".
    return f"SWAP:{portfolio_key}:{symbol.replace('&', '|')}:{night.day.isoformat()}"


def entry(
    portfolio: Portfolio, instrument: Instrument, quantity: Decimal, mark: Decimal | None, night: Night
) -> Entry | None:
    """The SWAP of a quantity that a margin account held as a night began; None where there is nothing to book: no swap,
    a night that does not count, or an amount of zero.

    ``mark``: the price, needed where the instrument's swap is interest; ``CallerError`` (``PRICE_MISSING``) without it.
    """
    if instrument.swap is None:
        return None
    gained = amount(quantity, instrument, mark, night.counts(instrument.swap.triple_day))
    if gained is None:
        message = f"the swap of {instrument.symbol} is interest on its price, and it has none"
        raise CallerError(message, code="PRICE_MISSING")
    if not gained:
        return None
    return Entry(
        transaction_id=transaction_id(portfolio.key, instrument.symbol, night),
        transaction_type="SWAP",
        timestamp_ms=night.at_ms,
        instrument_id=instrument.symbol,
        amount=gained,
        currency=instrument.currency,
    )
