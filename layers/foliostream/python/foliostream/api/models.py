"""Request bodies as pydantic checks and OpenAPI describes them: shapes and types; the books' rules are the domain's."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, WithJsonSchema

from foliostream.application.portfolios import MAX_ENTRIES
from foliostream.domain import keys, orders, times, trading_hours
from foliostream.domain.changes import MAX_TARGETS
from foliostream.domain.closes import MAX_CLOSES
from foliostream.domain.fills import Side
from foliostream.domain.instrument import MAX_AGE_SECONDS, MAX_SPLITS, MAX_TIERS, Kind, SwapMode, Weekday
from foliostream.domain.money import MAX_DIGITS
from foliostream.domain.orders import OrderType
from foliostream.domain.pacing import UPDATE_INTERVAL_MS_MAX, UPDATE_INTERVAL_MS_MIN
from foliostream.domain.portfolio import MAX_NAME_LENGTH, AccountKind, AccountType, CostBasis, Status, TransactionType
from foliostream.domain.preview import MAX_ORDERS
from foliostream.errors import CallerError

# Far beyond what the domain takes; it only keeps absurd numbers out of arithmetic and messages.
_MAX_DIGITS = 40
MAX_REASON_LENGTH = 200
_DECIMAL = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?")
_NAME_PATTERN = r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"
# Neither of them zero.
_RATIO = re.compile(r"(?![0.]+:)[0-9]{1,9}(\.[0-9]{1,6})?:(?![0.]+$)[0-9]{1,9}(\.[0-9]{1,6})?")


def _exact(raw: object) -> Decimal:
    if isinstance(raw, bool) or not isinstance(raw, int | str | Decimal):
        raise ValueError("must be a number or a decimal string")
    if isinstance(raw, str) and not _DECIMAL.fullmatch(raw):
        raise ValueError("must be a number or a decimal string such as 12.50")
    value = Decimal(raw)
    if len(value.as_tuple().digits) > _MAX_DIGITS or abs(value.adjusted()) > _MAX_DIGITS:
        raise ValueError(f"has more than {_MAX_DIGITS} digits")
    if value and value.adjusted() >= MAX_DIGITS:
        raise ValueError(f"has at most {MAX_DIGITS} digits before the point")
    return value


def _epoch_ms(raw: object) -> int:
    if not isinstance(raw, int | str):
        raise ValueError("must be ISO 8601 with an offset or epoch milliseconds")
    try:
        return times.epoch_ms(raw)
    except CallerError as fault:
        raise ValueError(fault.message) from None


def text(pattern: str) -> dict[str, str]:
    """The schema of a text that matches as a whole."""
    return {"type": "string", "pattern": f"^{pattern}$"}


_NUMBER = {"type": "number", "exclusiveMinimum": -(10**MAX_DIGITS), "exclusiveMaximum": 10**MAX_DIGITS}
_ABOVE_ZERO, _BELOW_ZERO = _NUMBER | {"exclusiveMinimum": 0}, _NUMBER | {"exclusiveMaximum": 0}
_FROM_ZERO = {"type": "number", "minimum": 0, "exclusiveMaximum": 10**MAX_DIGITS}
# Zero has a sign as well, which says nothing.
UNSIGNED = {"anyOf": [_FROM_ZERO, text(rf"(?!-[0.]*[1-9]){_DECIMAL.pattern}")]}
POSITIVE = {"anyOf": [_ABOVE_ZERO, text(rf"(?=[0.]*[1-9]){_DECIMAL.pattern}")]}
NONZERO = {"anyOf": [_BELOW_ZERO, _ABOVE_ZERO, text(rf"(?=-?[0.]*[1-9]){_DECIMAL.pattern}")]}
# Names that the domain checks by the same patterns.
PortfolioId = Annotated[str, WithJsonSchema(text(keys.PORTFOLIO_ID))]
Symbol = Annotated[str, WithJsonSchema(text(keys.SYMBOL))]
Currency = Annotated[str, WithJsonSchema(text(keys.CURRENCY))]
SymbolOrCash = Annotated[str, WithJsonSchema(text(keys.SYMBOL_OR_CASH))]
TransactionId = Annotated[str, WithJsonSchema(text(keys.TRANSACTION_ID))]
OrderId = Annotated[str, WithJsonSchema(text(orders.ORDER_ID))]
Amount = Annotated[Decimal, BeforeValidator(_exact), WithJsonSchema({"anyOf": [_NUMBER, text(_DECIMAL.pattern)]})]


def _unsigned(raw: object) -> Decimal:
    value = _exact(raw)
    if value < 0:
        raise ValueError("must not be negative")
    return value


def _positive(raw: object) -> Decimal:
    value = _exact(raw)
    if value <= 0:
        raise ValueError("must be above zero")
    return value


Unsigned = Annotated[Decimal, BeforeValidator(_unsigned), WithJsonSchema(UNSIGNED)]
Positive = Annotated[Decimal, BeforeValidator(_positive), WithJsonSchema(POSITIVE)]
# Not zero is checked by the domain, which knows the transaction.
Change = Annotated[Decimal, BeforeValidator(_exact), WithJsonSchema(NONZERO)]


def _ratio(raw: object) -> tuple[Decimal, Decimal]:
    if not isinstance(raw, str) or not _RATIO.fullmatch(raw):
        raise ValueError("must be two numbers above zero such as 4:1")
    new, _, old = raw.partition(":")
    return Decimal(new), Decimal(old)


Ratio = Annotated[
    tuple[Decimal, Decimal],
    BeforeValidator(_ratio),
    WithJsonSchema(text(_RATIO.pattern) | {"description": "new units for old ones"}),
]
Timestamp = Annotated[
    int,
    BeforeValidator(_epoch_ms),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "date-time"},
                {"type": "integer", "minimum": 0, "maximum": times.MAX_MS},
            ],
            "description": "ISO 8601 with Z or an offset, or epoch milliseconds",
        }
    ),
]


class _Body(BaseModel):
    """Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


UpdateInterval = Annotated[int, Field(strict=True, ge=UPDATE_INTERVAL_MS_MIN, le=UPDATE_INTERVAL_MS_MAX)]
TargetWeights = Annotated[
    dict[Symbol, Amount], Field(max_length=MAX_TARGETS, json_schema_extra={"additionalProperties": False})
]


class PortfolioSettings(_Body):
    """Settings of a portfolio. ``update_interval_ms``: prices have it valued at most once in that time, also where the
    window of its account type is shorter; null for the window alone. Transactions, changes of settings and refreshes
    do not wait for it; a margin account has none, since its calls and stop-outs must not wait. ``target_weights``: of
    what is invested, by symbol, shorts negative; their sizes sum to 1.
    ``benchmark``: the symbol that beta is measured against.

    Of margin accounts: ``margin_call_percent`` and ``stop_out_percent``, its own levels, the stop-out below the call
    and the warning 20 above it; null for the deployment's. ``auto_liquidate``: whether the stop-out of a live account
    may be executed at the broker; demo and paper accounts always are.

    ``broker_share``: where several portfolios share a broker's account, this one's part (above 0, at most 1; they sum
    to 1) of what the account owns beside all their books, and no order's tag attributes."""

    allow_short: StrictBool = False
    update_interval_ms: UpdateInterval | None = None
    target_weights: TargetWeights | None = None
    benchmark: Symbol | None = None
    margin_call_percent: Positive | None = None
    stop_out_percent: Positive | None = None
    auto_liquidate: StrictBool | None = None
    broker_share: Positive | None = None


class SettingsChange(_Body):
    """Settings to be changed; those left out stay. ``update_interval_ms``, ``target_weights``, ``benchmark`` or
    ``broker_share`` null ends it, a level null makes it the deployment's, ``auto_liquidate`` null is false."""

    allow_short: StrictBool | None = None
    update_interval_ms: UpdateInterval | None = None
    target_weights: TargetWeights | None = None
    benchmark: Symbol | None = None
    margin_call_percent: Positive | None = None
    stop_out_percent: Positive | None = None
    auto_liquidate: StrictBool | None = None
    broker_share: Positive | None = None


class PortfolioChange(_Body):
    """A status, settings or both. SUSPENDED refuses trades, LIQUIDATING takes only what reduces a position, CLOSED
    needs a flat portfolio."""

    status: Status | None = None
    settings: SettingsChange = SettingsChange()


class BrokerAccountIn(_Body):
    """The account at a broker that a live portfolio is (scope fills:write). ``tag``: that of its orders, where several
    portfolios share the account; without one a portfolio takes the orders that nobody else's tag names."""

    name: Literal["zerodha"]
    account: Annotated[str, Field(pattern=r"^[A-Z0-9]{2,16}$")]
    tag: Annotated[str, Field(max_length=20, pattern=r"^[A-Za-z0-9]*$")] = ""


class PortfolioRequest(_Body):
    """A new portfolio. Without ``portfolio_id`` one is made, the same again for the same Idempotency-Key."""

    portfolio_id: PortfolioId | None = None
    portfolio_name: Annotated[str, Field(max_length=MAX_NAME_LENGTH, pattern=_NAME_PATTERN)]
    account_type: AccountType
    account_kind: AccountKind
    base_currency: Currency
    cost_basis: CostBasis
    leverage: Positive | None = None
    initial_cash: Unsigned = Decimal(0)
    settings: PortfolioSettings = PortfolioSettings()
    broker: BrokerAccountIn | None = None


class ReconcileRequest(_Body):
    """``apply``: book what is evident as ADJUSTMENT, where nothing forbids it. ``confirm_empty``: the account owns
    nothing any more, and somebody knows that this is right."""

    apply: StrictBool = False
    confirm_empty: StrictBool = False


class UpdateLine(_Body):
    """One transaction. The type gives the direction of BUY, SELL, DEPOSIT and WITHDRAWAL: a SELL or WITHDRAWAL may be
    written with either sign.

    BUY, SELL: ``instrument_id``, ``quantity_change``, ``price``, ``fee``, ``fee_currency``. DEPOSIT, WITHDRAWAL,
    DIVIDEND, FEE, SWAP: ``amount``, or ``quantity_change`` times ``price`` (1 if left out), and ``currency``; of the
    last three signed: DIVIDEND and SWAP are received, FEE is paid. SPLIT: ``instrument_id``, ``ratio``, ``cash_price``
    where fractions are paid in cash. FX: ``amount``, above zero, of ``from`` is given for ``amount`` times ``rate`` of
    ``to``. ADJUSTMENT: ``reason``, and a signed ``amount`` or, in kind, ``instrument_id``, ``quantity_change``,
    ``price``."""

    transaction_type: TransactionType
    instrument_id: SymbolOrCash | None = None
    quantity_change: Change | None = None
    price: Amount | None = None
    fee: Unsigned = Decimal(0)
    fee_currency: Currency | None = None
    amount: Change | None = None
    currency: Currency | None = None
    ratio: Ratio | None = None
    cash_price: Unsigned | None = None
    from_currency: Annotated[Currency | None, Field(alias="from")] = None
    to_currency: Annotated[Currency | None, Field(alias="to")] = None
    rate: Positive | None = None
    reason: Annotated[str | None, Field(max_length=MAX_REASON_LENGTH, pattern=_NAME_PATTERN)] = None
    transaction_id: TransactionId | None = None
    timestamp: Timestamp | None = None


class UpdateRequest(_Body):
    """Transactions to be booked, all or none. ``timestamp`` is that of every line that names no other."""

    portfolio_id: PortfolioId
    timestamp: Timestamp
    updates: Annotated[list[UpdateLine], Field(json_schema_extra={"minItems": 1, "maxItems": MAX_ENTRIES})]


class OrderRequest(_Body):
    """An order of a paper account. A market order is filled at once, at the ask (a sale at the bid; ``last`` where
    there is no quote), made worse by the deployment's slippage, or refused. A limit order is filled as soon as such a
    price is at ``limit_price`` or better, at that price, and stays OPEN until then or until it is cancelled; what it
    needs is not set aside. ``client_order_id`` makes the call repeatable and is the order's id; without it one is
    made."""

    instrument_id: Symbol
    side: Side
    quantity: Positive
    order_type: OrderType
    limit_price: Unsigned | None = None
    client_order_id: OrderId | None = None


class PreviewOrder(_Body):
    """A trade that is only thought of: ``quantity`` signed, negative sells; without ``price`` at the market's, a
    purchase at the ask. ``fee`` in the instrument's currency."""

    instrument_id: Symbol
    quantity: Amount
    price: Unsigned | None = None
    fee: Unsigned = Decimal(0)


class PreviewRequest(_Body):
    """Orders that are judged together, as one update would be."""

    orders: Annotated[list[PreviewOrder], Field(json_schema_extra={"minItems": 1, "maxItems": MAX_ORDERS})]


class SplitIn(_Body):
    """Prices of before ``effective_at`` are divided by ``ratio``, for every holder."""

    effective_at: Timestamp
    ratio: Ratio


class MarginTierIn(_Body):
    """The part of a position's notional, in the portfolio's base currency, from ``notional_from`` up to the next tier
    needs ``margin_rate`` of itself as margin."""

    notional_from: Unsigned
    margin_rate: Positive


class SwapIn(_Body):
    """What a night brings or, negative, costs. ``points`` of the price, an amount of the instrument's ``currency`` a
    lot, or ``interest`` in percent a year. ``triple_day``: its night counts three times and those of Saturday and
    Sunday do not; without it every night counts once."""

    long: Amount
    short: Amount
    mode: SwapMode
    triple_day: Weekday | None = None


class InstrumentRequest(_Body):
    """What is known about an instrument. Forex and cfd are traded in margin accounts only. ``margin_rate`` (above 0, at
    most 1) or ``margin_tiers`` (ascending, the first from 0): the margin it needs at least, whatever the portfolio's
    leverage. ``hours``: sessions and a time zone such as ``Sun 17:00-Fri 17:00 America/New_York`` or
    ``Mon-Fri 09:30-12:00, Mon-Fri 13:00-16:00 Asia/Hong_Kong``; prices age within them only. ``splits`` concern its
    prices; what a split does to a portfolio's quantity is booked there, as a SPLIT."""

    kind: Kind
    currency: Currency
    base_currency: Currency | None = None
    contract_size: Positive | None = None
    price_decimals: Annotated[int, Field(strict=True, ge=0, le=10)] | None = None
    allow_zero: StrictBool = False
    max_age_seconds: Annotated[int, Field(strict=True, ge=1, le=MAX_AGE_SECONDS)] | None = None
    isin: Annotated[str, Field(pattern=r"^[A-Z]{2}[A-Z0-9]{9}[0-9]$")] | None = None
    token: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")] | None = None
    splits: Annotated[list[SplitIn], Field(max_length=MAX_SPLITS)] = []
    margin_rate: Positive | None = None
    margin_tiers: Annotated[tuple[MarginTierIn, ...], Field(max_length=MAX_TIERS)] | None = None
    lot_step: Positive | None = None
    hours: Annotated[str, Field(min_length=1, max_length=trading_hours.MAX_LENGTH)] | None = None
    swap: SwapIn | None = None


class CloseIn(_Body):
    """A daily close; ``date`` is the market's, such as 2026-02-26."""

    date: Annotated[str, Field(max_length=10, json_schema_extra={"format": "date"})]
    close: Unsigned


class ClosesRequest(_Body):
    """Daily closes, merged by date. ``adjusted``: they are divided already by the splits registered so far; else they
    are as traded on their days, and are divided when they are read."""

    closes: Annotated[list[CloseIn], Field(max_length=MAX_CLOSES)]
    adjusted: StrictBool = False
