"""The PortfolioState that goes out: its fields, its JSON, and how it ages."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from foliostream.domain import rates
from foliostream.domain.instrument import Instrument, expires_at_ms
from foliostream.domain.times import epoch_ms

CalcStatus = Literal["ok", "degraded", "unpriced"]


class PositionState(Struct, frozen=True):
    """A position on the wire. ``mark`` and ``average_price`` are in ``currency``, other amounts in base at
    ``fx_rate`` (definitions 15). What cannot be known is null."""

    instrument_id: str
    position_type: Literal["LONG", "SHORT", "CASH"]
    quantity: Decimal
    cost_basis: Decimal | None
    average_price: Decimal | None
    mark: Decimal | None
    market_value: Decimal | None
    weight: Decimal | None
    unrealized_pnl: Decimal | None
    realized_pnl: Decimal | None
    daily_change: Decimal | None
    daily_pnl: Decimal | None
    open: Decimal | None
    previous_close: Decimal | None
    carried_quantity: Decimal | None
    fees: Decimal | None
    margin_used: Decimal | None
    multiplier: Decimal | None
    opened_at: str | None
    currency: str
    fx_rate: Decimal | None
    price_ts: str | None
    last_updated: str


class MarginState(Struct, frozen=True):
    """A margin account (definitions 19, 20). What needs a price, a rate or a margin rate that is missing is null;
    ``state``: where it stood when all of it was known and fresh last."""

    balance: Decimal
    equity: Decimal | None
    used: Decimal | None
    free: Decimal | None
    level_percent: Decimal | None
    exposure: Decimal | None
    leverage_used: Decimal | None
    state: Literal["ok", "warning", "call", "stop_out", "unknown"]


class PortfolioState(Struct, frozen=True):
    """The PortfolioState of the contract, in its order and rounding."""

    portfolio_id: str
    portfolio_name: str
    account_type: str
    account_kind: str
    base_currency: str
    status: str
    total_value: Decimal | None
    cash_balance: Decimal | None
    positions: list[PositionState]
    weights: dict[str, Decimal] | None
    last_updated: str
    version: int
    ledger_version: int
    as_of: str | None
    calc_status: CalcStatus
    unpriced: list[str]
    stale: list[str]
    realized_pnl: Decimal
    unrealized_pnl: Decimal | None
    fees_total: Decimal
    net_deposits: Decimal
    dividends_total: Decimal
    swap_total: Decimal
    adjustments_total: Decimal
    fx_effect: Decimal | None
    cash: dict[str, Decimal]
    daily_change: Decimal | None
    daily_change_percent: Decimal | None
    daily_pnl: Decimal | None
    daily_missing: list[str]
    margin: MarginState | None
    unreconciled_since: str | None


def calc_status(unpriced: Collection[str], stale: Collection[str]) -> CalcStatus:
    """Of a state: nothing missing and nothing old is ok."""
    if unpriced:
        return "unpriced"
    return "degraded" if stale else "ok"


def with_staleness(
    state: PortfolioState, instruments: Mapping[str, Instrument], stale_after_ms: int, now_ms: int
) -> PortfolioState:
    """The same state with ``stale`` and ``calc_status`` derived again at ``now_ms``: a silent feed shows (G7).

    What was stale stays it: only another price makes another state. ``stale_after_ms``: the age limit of
    prices whose instrument names none.
    """
    stale = [
        item.instrument_id
        for item in state.positions
        if item.instrument_id in state.stale
        or (
            item.price_ts is not None
            and _expires_at_ms(item, epoch_ms(item.price_ts), state.base_currency, instruments, stale_after_ms)
            <= now_ms
        )
    ]
    return replace(state, stale=stale, calc_status=calc_status(state.unpriced, stale))


def symbols_priced(item: PositionState, base_currency: str) -> Collection[str]:
    """The symbols whose age limits count for a position: its own, of cash those of the pairs to base."""
    if item.position_type == "CASH":
        return rates.pairs(item.currency, base_currency)
    return (item.instrument_id,)


def _expires_at_ms(
    item: PositionState, ts_ms: int, base_currency: str, instruments: Mapping[str, Instrument], stale_after_ms: int
) -> int:
    """By the shortest limit that one of its instruments names."""
    symbols = symbols_priced(item, base_currency)
    named = (instruments[symbol] for symbol in symbols if symbol in instruments and instruments[symbol].limits_age)
    default = expires_at_ms(None, ts_ms, stale_after_ms)
    return min((expires_at_ms(instrument, ts_ms, stale_after_ms) for instrument in named), default=default)


_encoder = msgspec.json.Encoder(decimal_format="number")
_decoder = msgspec.json.Decoder(PortfolioState)


def encode_state(state: PortfolioState) -> bytes:
    """The state as it goes out: JSON with exact decimal literals, none of them in exponent form."""
    encoded = _encoder.encode(state)
    return encoded if b"E-" not in encoded else _encoder.encode(_without_exponents(state))


def _without_exponents(state: PortfolioState) -> object:
    """The state with every amount in its plain form: Decimal writes a price below 0.000001 as ``1E-7``."""
    return _plain(msgspec.to_builtins(state, builtin_types=(Decimal,)))


def _plain(item: object) -> object:
    if isinstance(item, Decimal):
        return msgspec.Raw(format(item, "f"))
    if isinstance(item, dict):
        return {name: _plain(part) for name, part in item.items()}
    return [_plain(part) for part in item] if isinstance(item, list) else item


def decode_state(raw: bytes) -> PortfolioState:
    """The inverse of ``encode_state``, every literal back to the Decimal it was."""
    return _decoder.decode(raw)
