"""Answers beside PortfolioState, as they go out and as OpenAPI describes them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct

from foliostream.api.models import POSITIVE, UNSIGNED
from foliostream.application.fill_input import GivenFill
from foliostream.application.price_input import MAX_SEQ, MAX_UPDATES
from foliostream.domain import fills, keys, times
from foliostream.domain.instrument import Kind, MarginTier, Swap
from foliostream.domain.orders import OrderType, State
from foliostream.domain.price import Refusal
from foliostream.domain.reconciliation import Outcome
from foliostream.domain.reconciling import Kind as DiscrepancyKind

# What is read from these is checked by the domain, by the same patterns.
PortfolioId = Annotated[str, Meta(pattern=f"^{keys.PORTFOLIO_ID}$")]
Symbol = Annotated[str, Meta(pattern=f"^{keys.SYMBOL}$")]
Currency = Annotated[str, Meta(pattern=f"^{keys.CURRENCY}$")]
Name = Annotated[str, Meta(pattern=f"^{fills.TEXT}$")]
# Or empty, where there is nothing to say.
Text = Annotated[str, Meta(pattern=f"^({fills.TEXT})?$")]
_Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Moment = Annotated[int, Meta(ge=0, le=times.MAX_MS)] | _Time
Unsigned = Annotated[Decimal, Meta(extra_json_schema=UNSIGNED)]
Positive = Annotated[Decimal, Meta(extra_json_schema=POSITIVE)]


class ErrorBody(Struct):
    """``code`` is stable, ``message`` is for people; ``details`` name fields, limits or entries."""

    code: str
    message: str
    request_id: str
    details: list[dict[str, Any]]


class Error(Struct):
    """The one shape of every refusal and failure."""

    error: ErrorBody


class SettingsOut(Struct):
    """A portfolio's settings; null and empty where the deployment's hold, or none."""

    allow_short: bool
    update_interval_ms: int | None
    margin_call_percent: Decimal | None
    stop_out_percent: Decimal | None
    auto_liquidate: bool
    target_weights: dict[str, Decimal]
    benchmark: str | None
    broker_share: Decimal | None


class PortfolioSummary(Struct):
    """A portfolio without its value."""

    portfolio_id: str
    portfolio_name: str
    account_type: str
    account_kind: str
    base_currency: str
    status: str
    ledger_version: int
    settings: SettingsOut


class PortfolioList(Struct):
    """A page of the caller's portfolios; ``cursor`` null on the last one."""

    portfolios: list[PortfolioSummary]
    cursor: str | None


class LotOut(Struct):
    """What a close took out of a FIFO lot."""

    number: int
    quantity: Decimal
    cost: Decimal
    opened_at: str


class PartOut(Struct):
    """What of a difference is one portfolio's."""

    portfolio_id: str
    quantity: Decimal


class DiscrepancyOut(Struct):
    """``expected`` is ours, ``actual`` the broker's; ``note`` says what could be done, or why nothing; ``attributed``:
    whose the difference in quantity is, empty where nothing says so."""

    kind: DiscrepancyKind
    symbol: str | None
    exchange: str | None
    product: str | None
    expected: Decimal
    actual: Decimal
    note: str | None
    attributed: list[PartOut]


class ReconcileReport(Struct):
    """Of the whole account. ``protected``: symbols that differ, but were traded too recently to say so. ``applied``:
    transaction ids."""

    portfolio_id: str
    broker: str
    account: str
    status: Outcome
    reason: str | None
    checked_at: str
    discrepancies: list[DiscrepancyOut]
    protected: list[str]
    applied: list[str]


class PostbackTaken(Struct):
    """``queued``: fills that were new in it."""

    queued: int


class TransactionOut(Struct):
    """A booked transaction, amounts exact and unrounded. ``cash_change`` and ``realized_native`` are in ``currency``,
    ``realized_pnl`` is in base at ``fx_rate``; ``cash_changes`` has every currency that moved. ``needs_review``: the
    rules against which a broker's report was booked."""

    sequence: int
    transaction_id: str
    transaction_type: str
    timestamp: str
    booked_at: str
    ledger_version: int
    instrument_id: str | None
    quantity_change: Decimal | None
    price: Decimal | None
    fee: Decimal
    fee_currency: str | None
    amount: Decimal | None
    currency: str
    to_currency: str | None
    rate: Decimal | None
    ratio: str | None
    cash_price: Decimal | None
    reason: str | None
    cash_change: Decimal
    cash_changes: dict[str, Decimal]
    realized_pnl: Decimal
    realized_native: Decimal
    fx_rate: Decimal | None
    quantity_after: Decimal
    lots: list[LotOut]
    needs_review: list[str]


class TransactionList(Struct):
    """A page of transactions, newest first; ``cursor`` null on the last one."""

    transactions: list[TransactionOut]
    cursor: str | None


class DayOut(Struct):
    """A closed day, amounts in base currency. ``inflows`` and ``outflows``: deposits, withdrawals and transfers since
    the row before. A day on which something had no price has no row."""

    date: str
    total_value: Decimal
    cash_balance: Decimal | None
    daily_change: Decimal | None
    daily_change_percent: Decimal | None
    daily_pnl: Decimal | None
    daily_missing: list[str]
    inflows: Decimal
    outflows: Decimal
    realized_pnl: Decimal
    unrealized_pnl: Decimal | None
    calc_status: str
    ledger_version: int
    closed_at: str


class HistoryOut(Struct, rename={"first": "from", "last": "to"}):
    """Closed days from ``from`` to ``to``, oldest first."""

    portfolio_id: str
    first: str
    last: str
    days: list[DayOut]


class Positions(Struct):
    """The part of an encoded state that holds the positions, as it is."""

    positions: Raw


class PriceUpdateIn(Struct):
    """A price; one of bid, ask and last at least. Newer means (ts, seq); quote and last are judged apart."""

    symbol: Symbol
    ts: Annotated[int, Meta(ge=1, le=times.MAX_MS)] | _Time
    seq: Annotated[int, Meta(ge=0, le=MAX_SEQ)] | None = None
    bid: Unsigned | None = None
    ask: Unsigned | None = None
    last: Unsigned | None = None
    open: Unsigned | None = None
    previous_close: Unsigned | None = None


class PricesIn(Struct):
    """Every update is judged on its own."""

    updates: Annotated[list[PriceUpdateIn], Meta(max_length=MAX_UPDATES)]


class RefusedPrice(Struct):
    """An update that was not taken, and why."""

    symbol: str
    code: Refusal
    message: str


class PricesTaken(Struct):
    """How many updates are stored, and which are not."""

    accepted: int
    rejected: list[RefusedPrice]


class SplitOut(Struct):
    """Prices of before ``effective_at`` are divided by ``ratio``, new units for old ones (``4:1``)."""

    effective_at: str
    ratio: str


class InstrumentOut(Struct):
    """An instrument; null where the default of its kind or of the deployment holds."""

    symbol: str
    kind: Kind
    currency: str
    base_currency: str | None
    contract_size: Decimal | None
    price_decimals: int | None
    allow_zero: bool
    max_age_seconds: int | None
    isin: str | None
    token: str | None
    splits: list[SplitOut]
    margin_rate: Decimal | None
    margin_tiers: tuple[MarginTier, ...]
    lot_step: Decimal | None
    hours: str | None
    swap: Swap | None


class CloseOut(Struct):
    """A daily close, in units of now: divided by every split since."""

    date: str
    close: Decimal


class ClosesOut(Struct):
    """The daily closes that the metrics use, oldest first."""

    symbol: str
    closes: list[CloseOut]


class ClosesKept(Struct, rename={"first": "from", "last": "to"}):
    """How many closes of the symbol are kept now, and their first and last date, null where there are none."""

    symbol: str
    kept: int
    first: str | None
    last: str | None


class MarginFigures(Struct):
    """A margin account's figures in base currency; null where a price, a rate or a margin rate is missing, and
    ``level_percent`` where nothing is used."""

    balance: Decimal
    equity: Decimal | None
    used: Decimal | None
    free: Decimal | None
    level_percent: Decimal | None
    exposure: Decimal | None
    leverage_used: Decimal | None


class PreviewRefusal(Struct):
    """Why an update of the same orders would be refused; ``details`` of INSUFFICIENT_MARGIN have the figures."""

    code: str
    message: str
    details: list[dict[str, Any]]


class MarginPreview(Struct):
    """Margin before and after orders that nobody has placed. ``after`` is null where they cannot be booked at all.
    ``accepted`` false: ``refusal`` says why. ``stale``: symbols whose price is older than it may be; ``assumed``:
    symbols without a price, valued at the one of their order."""

    portfolio_id: str
    base_currency: str
    ledger_version: int
    before: MarginFigures
    after: MarginFigures | None
    accepted: bool
    refusal: PreviewRefusal | None
    stale: list[str]
    assumed: list[str]


class Unknown(Struct):
    """A figure that cannot be computed, and why."""

    value: None
    reason: str


_NUMBERS = {"type": "object", "additionalProperties": {"type": "number"}}
_NONE = {"type": "object", "properties": {"value": {"type": "null"}, "reason": {"type": "string"}}}
# Parts of the total by name, or an Unknown: a type of both is more than the library can tell apart.
Exposure = Annotated[dict[str, Any], Meta(extra_json_schema={"anyOf": [_NUMBERS, _NONE]})]


class Period(Struct, rename={"first": "from", "last": "to"}):
    """The closed days that the figures are of: ``observations`` returns from one to the next. After a day on which
    nothing was worth anything the period begins anew."""

    first: str | None
    last: str | None
    observations: int


class PortfolioAnalytics(Struct):
    """Figures over the closed days of at most five years, and how the portfolio is invested at ``version``.

    Returns count inflows at the start of a day and outflows at its end; VaR and CVaR are returns of one day, losses
    negative, ``_normal`` those of a normal distribution. ``money_weighted_return`` is a year's (XIRR). ``beta`` is of
    ``beta_observations`` days that the ``benchmark`` has closes of. ``concentration`` and ``target_drift`` leave cash
    out; exposures are parts of the total value."""

    portfolio_id: str
    version: int
    as_of: str | None
    period: Period
    time_weighted_return: Decimal | Unknown
    money_weighted_return: Decimal | Unknown
    volatility: Decimal | Unknown
    sharpe: Decimal | Unknown
    sortino: Decimal | Unknown
    max_drawdown: Decimal | Unknown
    beta: Decimal | Unknown
    beta_observations: int
    benchmark: str | None
    var_95: Decimal | Unknown
    var_99: Decimal | Unknown
    cvar_95: Decimal | Unknown
    var_95_normal: Decimal | Unknown
    var_99_normal: Decimal | Unknown
    cvar_95_normal: Decimal | Unknown
    concentration: Decimal | Unknown
    exposure_by_currency: Exposure
    exposure_by_kind: Exposure
    target_drift: Decimal | Unknown


class FillIn(GivenFill, omit_defaults=True, kw_only=True):
    """What was filled. ``portfolio_id``, or ``execution_mode`` (paper, zerodha) and ``strategy_id``, say where;
    ``instrument_id`` or ``instrument_token`` say what. ``owner`` owns a paper portfolio that this fill creates."""

    # What is read takes whatever is written, so that each wrong field gets its reason. This is what it should be.
    fill_id: Annotated[str, Meta(pattern=f"^{fills.FILL_ID}$")]
    quantity: Positive
    fill_price: Unsigned
    timestamp: Moment
    portfolio_id: PortfolioId | None = None
    strategy_id: Annotated[str, Meta(pattern=f"^{fills.STRATEGY_ID}$")] | int | None = None
    instrument_id: Symbol | None = None
    instrument_token: int | Name | None = None
    fee: Unsigned | None = None
    fee_currency: Currency | None = None
    currency: Currency | None = None
    order_id: Text | int | None = None
    tag: Text | None = None
    exchange: Text | None = None
    product: Text | None = None
    owner: Text | None = None
    execution_mode: Literal["paper", "zerodha"] | None = None
    side: Literal["BUY", "SELL"] | None = None
    signal_type: Literal["BUY", "SELL"] | None = None


class OrderOut(Struct):
    """A simulated order. ``fill_price``, ``fee`` (in ``fee_currency``) and ``transaction_id`` once it is FILLED, null
    before; ``code`` and ``reason`` where it is REJECTED: the books did not take the fill when its price came."""

    order_id: str
    portfolio_id: str
    instrument_id: str
    side: Literal["BUY", "SELL"]
    quantity: Decimal
    order_type: OrderType
    limit_price: Decimal | None
    state: State
    fill_price: Decimal | None
    fee: Decimal | None
    fee_currency: str | None
    transaction_id: str | None
    code: str | None
    reason: str | None
    created_at: str
    updated_at: str


class OrderList(Struct):
    """A page of orders; ``cursor`` is null on the last one."""

    orders: list[OrderOut]
    cursor: str | None


class RejectedFill(Struct):
    """A fill that was not taken, and why; ``index``: its place in the list, from 0."""

    index: int
    fill_id: str
    code: str
    message: str


class FillsTaken(Struct):
    """How many fills wait to be booked, and which do not. Whether a fill was booked before only the ledger knows."""

    accepted: int
    rejected: list[RejectedFill]


class RefreshAccepted(Struct):
    """The valuation is promised."""

    portfolio_id: str
    status: Literal["accepted"] = "accepted"


class TicketOut(Struct):
    """``url`` is the WebSocket's address with the ticket in it; good once, for ``expires_in`` seconds."""

    ticket: str
    expires_in: int
    url: str


class QueueState(Struct):
    """A queue as SQS counts it, which is approximately; ``oldest_age_ms``: of a dirty queue, how long ago the
    oldest promise of its account type was due, null where none is; null for others, whose ages CloudWatch has."""

    waiting: int
    in_flight: int
    oldest_age_ms: int | None


class Freshness(Struct):
    """How old valuations were, from the first moment of their price's window, since the hot store was first counted in:
    ``counts[n]`` bundles were no older than ``bounds_ms[n]`` and older than the bound before; the last of the counts is
    of those beyond every bound. The difference of two readings is what happened between them."""

    bounds_ms: list[int]
    counts: list[int]


class RaisedAlarm(Struct):
    """An alarm in the state ALARM; ``description`` names its runbook."""

    name: str
    since: str
    description: str


class AlarmStates(Struct):
    """As CloudWatch had them at most some seconds ago. ``insufficient_data``: nothing to judge by has come yet."""

    ok: int
    insufficient_data: int
    raised: list[RaisedAlarm]


class MarketStatus(Struct):
    """``is_running``: the sweep, due every minute, ended without a fault within the last three. ``uptime_seconds``:
    since the hot store was first counted in; the sums are of that time. ``users_affected_total``: portfolios marked
    because of prices, each as often as it was. ``errors``: portfolios that could not be valued and messages that could
    not be read. ``freshness``: by account type. ``queues``: working queues, and all dead letters, named ``live_dead``
    and the like. ``alarms``: null where they could not be read."""

    is_running: bool
    uptime_seconds: int
    symbols_processed: int
    users_affected_total: int
    portfolios_valued: int
    dirty_users_live: int
    dirty_users_demo: int
    dirty_users_paper: int
    errors: int
    last_sweep_at: str | None
    freshness: dict[str, Freshness]
    queues: dict[str, QueueState]
    alarms: AlarmStates | None


class DirtyUsers(Struct):
    """Portfolios promised a valuation: all are counted, the first 1,000 keys (``live:12345``) named;
    ``oldest_age_ms``: how long ago the first of them was due (0: none is yet), null where none waits."""

    user_type: str
    count: int
    users: list[str]
    oldest_age_ms: int | None


class Check(Struct):
    """One store, asked for something that is not there."""

    status: Literal["ok", "down"]
    latency_ms: float


class Health(Struct):
    """``hot_store``: which one is in use."""

    status: Literal["ok", "down"]
    hot_store: str
    checks: dict[str, Check]
