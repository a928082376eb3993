"""What the API answers, typed. Amounts are Decimal, times UTC ISO 8601 with ``Z``; None is what cannot be known.

Fields that a newer server adds are accepted and left out; those that came after the first release have a default.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct

AccountType = Literal["live", "demo", "paper"]


class Position(Struct, frozen=True):
    """A position. ``mark`` and ``average_price`` are in ``currency``, other amounts in the portfolio's base currency
    at ``fx_rate``; ``weight`` is a part of the total (1 is all of it)."""

    instrument_id: str
    position_type: str
    quantity: Decimal
    currency: str
    cost_basis: Decimal | None = None
    average_price: Decimal | None = None
    mark: Decimal | None = None
    market_value: Decimal | None = None
    weight: Decimal | None = None
    unrealized_pnl: Decimal | None = None
    realized_pnl: Decimal | None = None
    daily_change: Decimal | None = None
    daily_pnl: Decimal | None = None
    open: Decimal | None = None
    previous_close: Decimal | None = None
    carried_quantity: Decimal | None = None
    fees: Decimal | None = None
    margin_used: Decimal | None = None
    multiplier: Decimal | None = None
    opened_at: str | None = None
    fx_rate: Decimal | None = None
    price_ts: str | None = None
    last_updated: str | None = None


class Margin(Struct, frozen=True):
    """A margin account in base currency; ``level_percent`` is equity in percent of what is used."""

    balance: Decimal
    equity: Decimal | None = None
    used: Decimal | None = None
    free: Decimal | None = None
    level_percent: Decimal | None = None
    exposure: Decimal | None = None
    leverage_used: Decimal | None = None
    state: str | None = None


class PortfolioState(Struct, frozen=True):
    """A portfolio as it was valued at ``as_of``; amounts in ``base_currency``, ``cash`` by currency. ``calc_status``:
    ``ok``, ``degraded`` (``stale`` names whose price is old) or ``unpriced`` (``unpriced`` names what has none)."""

    portfolio_id: str
    portfolio_name: str
    account_type: str
    account_kind: str
    base_currency: str
    status: str
    version: int
    ledger_version: int
    calc_status: str
    last_updated: str
    total_value: Decimal | None = None
    cash_balance: Decimal | None = None
    positions: list[Position] = []
    weights: dict[str, Decimal] | None = None
    as_of: str | None = None
    unpriced: list[str] = []
    stale: list[str] = []
    realized_pnl: Decimal | None = None
    unrealized_pnl: Decimal | None = None
    fees_total: Decimal | None = None
    net_deposits: Decimal | None = None
    dividends_total: Decimal | None = None
    swap_total: Decimal | None = None
    adjustments_total: Decimal | None = None
    fx_effect: Decimal | None = None
    cash: dict[str, Decimal] = {}
    daily_change: Decimal | None = None
    daily_change_percent: Decimal | None = None
    daily_pnl: Decimal | None = None
    daily_missing: list[str] = []
    margin: Margin | None = None
    unreconciled_since: str | None = None


class PortfolioSummary(Struct, frozen=True):
    """A portfolio without its value."""

    portfolio_id: str
    portfolio_name: str
    account_type: str
    account_kind: str
    base_currency: str
    status: str
    ledger_version: int


class PortfolioPage(Struct, frozen=True):
    """Some of the caller's portfolios; ``cursor`` None on the last page."""

    portfolios: list[PortfolioSummary]
    cursor: str | None = None


class Lot(Struct, frozen=True):
    """What a close took out of a FIFO lot."""

    number: int
    quantity: Decimal
    cost: Decimal
    opened_at: str


class Transaction(Struct, frozen=True):
    """A booked transaction, exact and unrounded. ``cash_change`` and ``realized_native`` are in ``currency``,
    ``realized_pnl`` is in base at ``fx_rate``; ``cash_changes`` has every currency that moved."""

    sequence: int
    transaction_id: str
    transaction_type: str
    timestamp: str
    booked_at: str
    ledger_version: int
    currency: str
    instrument_id: str | None = None
    quantity_change: Decimal | None = None
    price: Decimal | None = None
    fee: Decimal = Decimal(0)
    fee_currency: str | None = None
    amount: Decimal | None = None
    to_currency: str | None = None
    rate: Decimal | None = None
    ratio: str | None = None
    cash_price: Decimal | None = None
    reason: str | None = None
    cash_change: Decimal = Decimal(0)
    cash_changes: dict[str, Decimal] = {}
    realized_pnl: Decimal = Decimal(0)
    realized_native: Decimal = Decimal(0)
    fx_rate: Decimal | None = None
    quantity_after: Decimal = Decimal(0)
    lots: list[Lot] = []
    needs_review: list[str] = []


class TransactionPage(Struct, frozen=True):
    """Some of a portfolio's transactions, newest first; ``cursor`` None on the last page."""

    transactions: list[Transaction]
    cursor: str | None = None


class Day(Struct, frozen=True):
    """A closed day in base currency; ``inflows`` and ``outflows`` since the day before."""

    date: str
    total_value: Decimal
    calc_status: str
    ledger_version: int
    closed_at: str
    cash_balance: Decimal | None = None
    daily_change: Decimal | None = None
    daily_change_percent: Decimal | None = None
    daily_pnl: Decimal | None = None
    daily_missing: list[str] = []
    inflows: Decimal = Decimal(0)
    outflows: Decimal = Decimal(0)
    realized_pnl: Decimal = Decimal(0)
    unrealized_pnl: Decimal | None = None


class History(Struct, frozen=True, rename={"first": "from", "last": "to"}):
    """Closed days from ``first`` to ``last``, oldest first."""

    portfolio_id: str
    first: str
    last: str
    days: list[Day]


class Unknown(Struct, frozen=True):
    """A figure that cannot be computed, and why."""

    reason: str


Figure = Decimal | Unknown


class Period(Struct, frozen=True, rename={"first": "from", "last": "to"}):
    """The closed days that figures are of: ``observations`` returns from one to the next."""

    observations: int
    first: str | None = None
    last: str | None = None


class Analytics(Struct, frozen=True):
    """Figures over the closed days, and how the portfolio is invested at ``version``. Returns, volatility, VaR and
    drawdown are parts (0.01 is one percent), losses negative; exposures are parts of the total by name."""

    portfolio_id: str
    version: int
    period: Period
    as_of: str | None = None
    time_weighted_return: Figure | None = None
    money_weighted_return: Figure | None = None
    volatility: Figure | None = None
    sharpe: Figure | None = None
    sortino: Figure | None = None
    max_drawdown: Figure | None = None
    beta: Figure | None = None
    beta_observations: int = 0
    benchmark: str | None = None
    var_95: Figure | None = None
    var_99: Figure | None = None
    cvar_95: Figure | None = None
    var_95_normal: Figure | None = None
    var_99_normal: Figure | None = None
    cvar_95_normal: Figure | None = None
    concentration: Figure | None = None
    target_drift: Figure | None = None
    exposure_by_currency: dict[str, Any] = {}
    exposure_by_kind: dict[str, Any] = {}


class Refusal(Struct, frozen=True):
    """Why an update of previewed orders would be refused."""

    code: str
    message: str
    details: list[dict[str, Any]] = []


class MarginPreview(Struct, frozen=True):
    """Margin before and after orders that nobody has placed; ``after`` None where they cannot be booked at all."""

    portfolio_id: str
    base_currency: str
    ledger_version: int
    before: Margin
    accepted: bool
    after: Margin | None = None
    refusal: Refusal | None = None
    stale: list[str] = []
    assumed: list[str] = []


class Part(Struct, frozen=True):
    """What of a difference is one portfolio's."""

    portfolio_id: str
    quantity: Decimal


class Discrepancy(Struct, frozen=True):
    """``expected`` is ours, ``actual`` the broker's; ``note`` says what could be done, or why nothing; ``attributed``:
    whose the difference is."""

    kind: str
    expected: Decimal
    actual: Decimal
    symbol: str | None = None
    exchange: str | None = None
    product: str | None = None
    note: str | None = None
    attributed: list[Part] = []


class ReconcileReport(Struct, frozen=True):
    """What a broker says, compared with the books; ``applied``: ids of the transactions that were booked for it."""

    portfolio_id: str
    broker: str
    account: str
    status: str
    checked_at: str
    reason: str | None = None
    discrepancies: list[Discrepancy] = []
    protected: list[str] = []
    applied: list[str] = []


class Order(Struct, frozen=True):
    """A simulated order; ``state`` is OPEN, FILLED, CANCELLED or REJECTED (``code`` and ``reason`` say why)."""

    order_id: str
    portfolio_id: str
    instrument_id: str
    side: str
    quantity: Decimal
    order_type: str
    state: str
    created_at: str
    updated_at: str
    limit_price: Decimal | None = None
    fill_price: Decimal | None = None
    fee: Decimal | None = None
    fee_currency: str | None = None
    transaction_id: str | None = None
    code: str | None = None
    reason: str | None = None


class OrderPage(Struct, frozen=True):
    """Some orders, which may be none before the last page; ``cursor`` None on that."""

    orders: list[Order]
    cursor: str | None = None


class RejectedPrice(Struct, frozen=True):
    """A price that was not taken: ``STALE``, ``CROSSED``, ``INVALID`` or ``UNKNOWN_SYMBOL``."""

    symbol: str
    code: str
    message: str


class PricesTaken(Struct, frozen=True):
    """How many prices are stored, and which are not."""

    accepted: int
    rejected: list[RejectedPrice]


class RejectedFill(Struct, frozen=True):
    """A fill that was not taken, and why; ``index``: its place among those given, from 0."""

    index: int
    fill_id: str
    code: str
    message: str


class FillsTaken(Struct, frozen=True):
    """How many fills wait to be booked, and which do not."""

    accepted: int
    rejected: list[RejectedFill]


class Split(Struct, frozen=True):
    """Prices of before ``effective_at`` are divided by ``ratio``, new units for old ones (``4:1``)."""

    effective_at: str
    ratio: str


class Instrument(Struct, frozen=True):
    """An instrument; None where the default of its kind or of the deployment holds."""

    symbol: str
    kind: str
    currency: str
    base_currency: str | None = None
    contract_size: Decimal | None = None
    price_decimals: int | None = None
    allow_zero: bool = False
    max_age_seconds: int | None = None
    isin: str | None = None
    token: str | None = None
    splits: list[Split] = []
    margin_rate: Decimal | None = None
    margin_tiers: list[dict[str, Any]] = []
    lot_step: Decimal | None = None
    hours: str | None = None
    swap: dict[str, Any] | None = None


class Close(Struct, frozen=True):
    """A daily close, in units of now: divided by every split since."""

    date: str
    close: Decimal


class Closes(Struct, frozen=True):
    """Daily closes of an instrument, oldest first."""

    symbol: str
    closes: list[Close]


class ClosesKept(Struct, frozen=True, rename={"first": "from", "last": "to"}):
    """How many closes of an instrument are kept now, and their first and last date."""

    symbol: str
    kept: int
    first: str | None = None
    last: str | None = None


class Ticket(Struct, frozen=True):
    """Opens one WebSocket connection within ``expires_in`` seconds; ``url`` has the ticket in it."""

    ticket: str
    expires_in: int
    url: str


class QueueState(Struct, frozen=True):
    """A queue, approximately; ``oldest_age_ms`` None where the queue does not tell."""

    waiting: int
    in_flight: int
    oldest_age_ms: int | None = None


class Freshness(Struct, frozen=True):
    """How old valuations were: ``counts[n]`` no older than ``bounds_ms[n]``, the last beyond all bounds."""

    bounds_ms: list[int]
    counts: list[int]


class RaisedAlarm(Struct, frozen=True):
    """An alarm that is raised."""

    name: str
    since: str
    description: str


class AlarmStates(Struct, frozen=True):
    """How many alarms are in which state, and those that are raised."""

    ok: int
    insufficient_data: int
    raised: list[RaisedAlarm]


class MarketStatus(Struct, frozen=True):
    """How the system is; the sums are of ``uptime_seconds``. ``alarms`` None where they could not be read."""

    is_running: bool
    uptime_seconds: int
    symbols_processed: int
    users_affected_total: int
    portfolios_valued: int
    dirty_users_live: int
    dirty_users_demo: int
    dirty_users_paper: int
    errors: int
    queues: dict[str, QueueState]
    last_sweep_at: str | None = None
    freshness: dict[str, Freshness] = {}
    alarms: AlarmStates | None = None


class Health(Struct, frozen=True):
    """``status``: ``ok`` or ``down``; ``checks`` by store."""

    status: str
    hot_store: str
    checks: dict[str, dict[str, Any]]
