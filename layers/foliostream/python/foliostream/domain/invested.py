"""What a portfolio's state says about how it is invested: unrounded market values by symbol, currency and kind."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, localcontext

from foliostream.domain import money
from foliostream.domain.instrument import Instrument
from foliostream.domain.money import ZERO
from foliostream.domain.state import PortfolioState, PositionState


def market_values(state: PortfolioState) -> dict[str, Decimal | None]:
    """Signed, in base, of everything that is held but cash; None of what has no price or no rate. The state's own
    ``market_value`` is rounded to minor units, its parts are not."""
    return {item.instrument_id: _market_value(item) for item in state.positions if item.position_type != "CASH"}


def _market_value(item: PositionState) -> Decimal | None:
    if item.mark is None or item.fx_rate is None or item.multiplier is None:
        return None
    with localcontext(money.EXACT):
        return item.quantity * item.mark * item.multiplier * item.fx_rate


def exposures(
    state: PortfolioState, instruments: Mapping[str, Instrument]
) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    """By currency and by kind (stock, forex, cfd), as parts of the total value. A cash account's cash counts with its
    currency and as the kind ``cash``, so both sum to 1; a margin account's positions are what it is exposed to.
    ``ValueError`` where the total is unknown or not above 0."""
    if state.total_value is None:
        raise ValueError("the total value is unknown")
    if state.total_value <= 0:
        raise ValueError("the total value is not above 0")
    by_currency: dict[str, Decimal] = {}
    by_kind: dict[str, Decimal] = {}
    for item in state.positions:
        is_cash = item.position_type == "CASH"
        if is_cash and state.account_kind == "margin":
            continue
        value = item.market_value if is_cash else _market_value(item)
        instrument = instruments.get(item.instrument_id)
        kind = "cash" if is_cash else instrument.kind if instrument else "stock"
        by_currency[item.currency] = by_currency.get(item.currency, ZERO) + (value or ZERO)
        by_kind[kind] = by_kind.get(kind, ZERO) + (value or ZERO)
    with localcontext(money.EXACT):
        return _parts(by_currency, state.total_value), _parts(by_kind, state.total_value)


def _parts(amounts: Mapping[str, Decimal], total: Decimal) -> dict[str, Decimal]:
    return {name: money.plain(amount / total, money.WEIGHT_DECIMALS) for name, amount in sorted(amounts.items())}
