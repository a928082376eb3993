"""A portfolio's snapshot: one book version and one set of prices, valued once, rounded once (definitions 11-17)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal, localcontext
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from foliostream.domain import money, price
from foliostream.domain.instrument import Instrument
from foliostream.domain.keys import CASH_PREFIX
from foliostream.domain.money import ZERO
from foliostream.domain.portfolio import Portfolio, Position
from foliostream.domain.price import Price
from foliostream.domain.times import epoch_ms, iso

CalcStatus = Literal["ok", "degraded", "unpriced"]
# Far enough: a snapshot whose prices never go stale (no positions).
NEVER_MS = 2**62


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
    fx_effect: Decimal
    cash: dict[str, Decimal]
    daily_change: Decimal | None
    daily_change_percent: Decimal | None
    daily_pnl: Decimal | None
    daily_missing: list[str]
    margin: None
    unreconciled_since: None


class Snapshot(NamedTuple):
    """A state with what the stores need beside it. ``read_at_ms``: the valuer's clock before its first read;
    ``fresh_until_ms``: from then on some price is stale and the state must be derived again on reading."""

    state: PortfolioState
    owner: str
    read_at_ms: int
    fresh_until_ms: int


class _Valued(NamedTuple):
    """A position with its unrounded figures in base currency; None where there is no price."""

    symbol: str
    position: Position
    price: Price | None
    mark: price.Mark | None
    value: Decimal | None
    unrealized: Decimal | None
    daily_change: Decimal | None
    opening_value: Decimal | None
    expires_ms: int
    price_places: int


def value(
    portfolio: Portfolio,
    prices: Mapping[str, Price],
    instruments: Mapping[str, Instrument],
    *,
    read_at_ms: int,
    previous_version: int,
    stale_after_ms: int,
) -> Snapshot:
    """Value a cash portfolio from the given prices.

    ``version`` = max(previous + 1, ``read_at_ms``), so that versions rise also after the stores were lost.
    ``stale_after_ms`` is the age limit of prices whose instrument names none. Raises nothing: what has no price is
    ``unpriced`` and everything that would need it is null.
    """
    with localcontext(money.EXACT):
        valued = [
            _value_position(
                symbol, portfolio.positions[symbol], prices.get(symbol), instruments.get(symbol), stale_after_ms
            )
            for symbol in sorted(portfolio.positions)
        ]
        state = _state(portfolio, valued, read_at_ms, max(previous_version + 1, read_at_ms))
    return Snapshot(state, portfolio.owner, read_at_ms, min((item.expires_ms for item in valued), default=NEVER_MS))


def _max_age_ms(instrument: Instrument | None, default_ms: int) -> int:
    if instrument is None or instrument.max_age_seconds is None:
        return default_ms
    return instrument.max_age_seconds * 1000


def _value_position(
    symbol: str, position: Position, quote: Price | None, instrument: Instrument | None, stale_after_ms: int
) -> _Valued:
    places = instrument.price_places if instrument else money.PRICE_DECIMALS
    mark = price.mark(quote)
    if mark is None or quote is None:
        return _Valued(symbol, position, quote, None, None, None, None, None, NEVER_MS, places)
    units = position.quantity * position.multiplier
    worth = units * mark.value
    cost = position.cost if position.quantity > 0 else -position.cost
    change = opening = None
    if quote.open:  # a missing or zero open is no base for a daily change (definitions 18)
        change = units * (mark.value - quote.open)
        opening = abs(units) * quote.open
    expires_ms = mark.ts_ms + _max_age_ms(instrument, stale_after_ms) + 1
    return _Valued(symbol, position, quote, mark, worth, worth - cost, change, opening, expires_ms, places)


def _state(portfolio: Portfolio, valued: list[_Valued], read_at_ms: int, version: int) -> PortfolioState:
    base = portfolio.base_currency
    cash = sum(portfolio.cash.values(), ZERO)
    unpriced = [item.symbol for item in valued if item.value is None]
    stale = [item.symbol for item in valued if item.expires_ms <= read_at_ms]
    complete = not unpriced
    total = cash + _total(valued, "value") if complete else None
    daily = _daily(valued, base, complete=complete)
    weighable = total if total is not None and total > 0 else None
    times = [item.mark.ts_ms for item in valued if item.mark]
    now = iso(read_at_ms)
    return PortfolioState(
        portfolio_id=portfolio.portfolio_id,
        portfolio_name=portfolio.portfolio_name,
        account_type=portfolio.account_type,
        account_kind=portfolio.account_kind,
        base_currency=base,
        status=portfolio.status,
        total_value=_money(total, base),
        cash_balance=money.money(cash, base),
        positions=[_position(item, base, weighable) for item in valued]
        + [_cash_position(name, portfolio, weighable) for name in sorted(portfolio.cash)],
        weights=_weights(portfolio, valued, weighable),
        last_updated=now,
        version=version,
        ledger_version=portfolio.version,
        as_of=iso(max(times)) if times else None,
        calc_status=_calc_status(unpriced, stale),
        unpriced=unpriced,
        stale=stale,
        realized_pnl=money.money(portfolio.realized_pnl, base),
        unrealized_pnl=_money(_total(valued, "unrealized") if complete else None, base),
        fees_total=money.money(portfolio.fees_total, base),
        net_deposits=money.money(portfolio.net_deposits, base),
        dividends_total=money.money(ZERO, base),
        swap_total=money.money(ZERO, base),
        adjustments_total=money.money(ZERO, base),
        fx_effect=money.money(ZERO, base),
        cash={name: money.money(amount, name) for name, amount in sorted(portfolio.cash.items())},
        daily_change=daily.change,
        daily_change_percent=daily.percent,
        daily_pnl=None,
        daily_missing=daily.missing,
        margin=None,
        unreconciled_since=None,
    )


def _calc_status(unpriced: Collection[str], stale: Collection[str]) -> CalcStatus:
    if unpriced:
        return "unpriced"
    return "degraded" if stale else "ok"


class _Daily(NamedTuple):
    change: Decimal | None
    percent: Decimal | None
    missing: list[str]


def _daily(valued: list[_Valued], base: str, *, complete: bool) -> _Daily:
    missing = [item.symbol for item in valued if item.daily_change is None]
    if not complete:
        return _Daily(None, None, missing)
    change = _total(valued, "daily_change")
    opening = _total(valued, "opening_value")
    percent = money.rounded(money.EXACT.divide(change * 100, opening), money.PERCENT_DECIMALS) if opening else None
    known = len(missing) < len(valued) or not valued
    return _Daily(money.money(change, base) if known else None, percent, missing)


def _total(valued: list[_Valued], figure: str) -> Decimal:
    return sum((getattr(item, figure) or ZERO for item in valued), ZERO)


def _money(value: Decimal | None, currency: str) -> Decimal | None:
    return None if value is None else money.money(value, currency)


def _weight(value: Decimal | None, total: Decimal | None) -> Decimal | None:
    if value is None or total is None:
        return None
    return money.plain(money.EXACT.divide(value, total), money.WEIGHT_DECIMALS)


def _weights(portfolio: Portfolio, valued: list[_Valued], total: Decimal | None) -> dict[str, Decimal] | None:
    if total is None:
        return None
    parts = {item.symbol: item.value for item in valued}
    parts |= {CASH_PREFIX + name: amount for name, amount in sorted(portfolio.cash.items())}
    return {name: weight for name, part in parts.items() if (weight := _weight(part, total)) is not None}


def _plain_price(value: Decimal | None, places: int) -> Decimal | None:
    return None if value is None else money.plain(value, places)


def _position(item: _Valued, base: str, total: Decimal | None) -> PositionState:
    position, places = item.position, item.price_places
    return PositionState(
        instrument_id=item.symbol,
        position_type="LONG" if position.quantity > 0 else "SHORT",
        quantity=money.plain(position.quantity, money.QUANTITY_DECIMALS),
        cost_basis=money.money(position.cost, base),
        average_price=money.plain(position.average_price, places),
        mark=_plain_price(item.mark.value if item.mark else None, places),
        market_value=_money(item.value, base),
        weight=_weight(item.value, total),
        unrealized_pnl=_money(item.unrealized, base),
        realized_pnl=money.money(position.realized_pnl, base),
        daily_change=_money(item.daily_change, base),
        daily_pnl=None,
        open=_plain_price(item.price.open if item.price else None, places),
        previous_close=_plain_price(item.price.previous_close if item.price else None, places),
        carried_quantity=None,
        fees=money.money(position.fees, base),
        margin_used=None,
        multiplier=money.plain(position.multiplier, money.QUANTITY_DECIMALS),
        opened_at=iso(position.opened_at_ms),
        currency=position.currency,
        fx_rate=money.ONE,
        price_ts=iso(item.mark.ts_ms) if item.mark else None,
        last_updated=iso(position.updated_at_ms),
    )


def _cash_position(currency: str, portfolio: Portfolio, total: Decimal | None) -> PositionState:
    amount = portfolio.cash[currency]
    worth = money.money(amount, currency)
    return PositionState(
        instrument_id=CASH_PREFIX + currency,
        position_type="CASH",
        quantity=money.plain(amount, money.QUANTITY_DECIMALS),
        cost_basis=worth,
        average_price=None,
        mark=None,
        market_value=worth,
        weight=_weight(amount, total),
        unrealized_pnl=None,
        realized_pnl=None,
        daily_change=None,
        daily_pnl=None,
        open=None,
        previous_close=None,
        carried_quantity=None,
        fees=None,
        margin_used=None,
        multiplier=None,
        opened_at=None,
        currency=currency,
        fx_rate=money.ONE,
        price_ts=None,
        last_updated=iso(portfolio.updated_at_ms),
    )


def with_staleness(
    state: PortfolioState, max_ages_ms: Mapping[str, int], stale_after_ms: int, now_ms: int
) -> PortfolioState:
    """The same state with ``stale`` and ``calc_status`` derived again at ``now_ms``: a silent feed shows (G7)."""
    stale = [
        item.instrument_id
        for item in state.positions
        if item.price_ts is not None
        and epoch_ms(item.price_ts) + max_ages_ms.get(item.instrument_id, stale_after_ms) < now_ms
    ]
    return replace(state, stale=stale, calc_status=_calc_status(state.unpriced, stale))


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
