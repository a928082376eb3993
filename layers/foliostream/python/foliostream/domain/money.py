"""Exact amounts: parsing, limits and the one rounding to the wire (definitions 16)."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow

from foliostream.errors import CallerError

ZERO = Decimal(0)
ONE = Decimal(1)

# Wide enough that sums and products of 15-digit amounts are exact; only divisions round, where a definition says so.
EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])

PRICE_DECIMALS = 6
FOREX_PRICE_DECIMALS = 10
QUANTITY_DECIMALS = 6
WEIGHT_DECIMALS = 6
RATE_DECIMALS = 10
# A rate that is found for booking may be an inverse or a cross; kept exactly as it was used.
BOOKED_RATE_DECIMALS = 20
PERCENT_DECIMALS = 2
# Definitions 1: what a close takes out of a position's cost is rounded half even to ten decimals.
COST_DECIMALS = 10
MAX_DIGITS = 15

_MINOR_UNITS = {"BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0,
                "UGX": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0, "BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3,
                "LYD": 3, "OMR": 3, "TND": 3}  # fmt: skip
_QUANTA = {places: Decimal(1).scaleb(-places) for places in range(21)}


def rounded(value: Decimal, places: int) -> Decimal:
    """Half even, to ``places`` decimals, keeping them (``1`` -> ``1.00``). NaN and infinity raise ``ValueError``."""
    if not value.is_finite():
        raise ValueError("an amount is not finite")
    result = value.quantize(_QUANTA[places], context=EXACT)
    return result or abs(result)  # no -0.00 on the wire


def money(value: Decimal, currency: str) -> Decimal:
    """An amount in the currency's minor units."""
    return rounded(value, _MINOR_UNITS.get(currency, 2))


def plain(value: Decimal, places: int) -> Decimal:
    """Rounded to at most ``places`` decimals, without trailing zeros and never in exponent form (``500``)."""
    result = rounded(value, places).normalize(EXACT)
    exponent = result.as_tuple().exponent
    return result.quantize(ONE, context=EXACT) if isinstance(exponent, int) and exponent > 0 else result


def divide(numerator: Decimal, denominator: Decimal, places: int = COST_DECIMALS) -> Decimal:
    """A quotient rounded half even to ``places`` decimals."""
    return EXACT.divide(numerator, denominator).quantize(_QUANTA[places], context=EXACT)


def checked(name: str, value: Decimal, decimals: int, *, signed: bool = False, zero: bool = True) -> Decimal:
    """The value, if it is finite, has at most ``decimals`` decimals and 15 digits before the point.

    Raises ``CallerError`` naming the field, the limit and the value.
    """
    if not value.is_finite():
        raise CallerError(f"{name} must be a finite number, is {_shown(value)}")
    if not value:
        if not zero:
            raise CallerError(f"{name} must not be zero")
        return value
    if not signed and value.is_signed():
        raise CallerError(f"{name} must not be negative, is {_shown(value)}")
    if value.adjusted() >= MAX_DIGITS:
        raise CallerError(f"{name} has at most {MAX_DIGITS} digits before the point, is {_shown(value)}")
    # Every amount of every booking comes by: to quantize and compare costs a third of looking at the exponent.
    if value.quantize(_QUANTA[decimals], None, EXACT) != value:
        raise CallerError(f"{name} has at most {decimals} decimals, is {_shown(value)}")
    return value


def _shown(value: Decimal) -> str:
    return str(value)[:40]
