"""The portfolio aggregate as it is stored: cash, positions, totals. What changes it is in ``booking``."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec
from msgspec import Struct

from foliostream.domain import money, rates
from foliostream.domain.instrument import Split
from foliostream.domain.keys import portfolio_key
from foliostream.domain.money import ZERO

AccountType = Literal["live", "demo", "paper"]
AccountKind = Literal["cash", "margin"]
CostBasis = Literal["average", "fifo"]
Status = Literal["ACTIVE", "SUSPENDED", "LIQUIDATING", "CLOSED"]

MAX_POSITIONS = 1_000
# Of one portfolio: beside a thousand positions they fit into an item of 400 KB.
MAX_LOTS = 2_000
MAX_NAME_LENGTH = 200


class Lot(Struct, frozen=True, array_like=True):
    """What one fill opened and is not closed yet. ``quantity`` > 0; ``cost`` = quantity * price * multiplier."""

    number: int
    quantity: Decimal
    cost: Decimal
    opened_at_ms: int


class Day(Struct, frozen=True, array_like=True):
    """A symbol since the last close of day (definitions 18). ``traded``: signed sum of the quantities filled;
    ``spent``: sum of quantity * price of these; ``carried_value``: quantity carried in * the mark stored at the close,
    None where there was none. All without multiplier; a split leaves both values as they are."""

    traded: Decimal = ZERO
    spent: Decimal = ZERO
    carried_value: Decimal | None = None


NO_DAY = Day()


class Position(Struct, frozen=True, omit_defaults=True):
    """An open position. ``quantity`` is signed; ``cost`` = |q| * average price * multiplier >= 0 in ``currency``.
    ``realized_pnl`` and ``fees`` are in the portfolio's base currency at booked rates. ``lots``: oldest first, only
    where the cost basis is fifo; their sum is ``cost``."""

    quantity: Decimal
    cost: Decimal
    realized_pnl: Decimal
    fees: Decimal
    multiplier: Decimal
    currency: str
    opened_at_ms: int
    updated_at_ms: int
    day: Day | None = None
    lots: tuple[Lot, ...] = ()
    last_lot: int = 0
    splits: tuple[Split, ...] = ()

    @property
    def average_price(self) -> Decimal:
        """Derived, never stored; without fees (definitions 2)."""
        return money.EXACT.divide(self.cost, money.EXACT.multiply(abs(self.quantity), self.multiplier))

    @property
    def signed_cost(self) -> Decimal:
        """The cost with the sign of the quantity."""
        return self.cost if self.quantity > 0 else -self.cost


class ClosedToday(Struct, frozen=True, array_like=True):
    """The day of a symbol that is not held any more, and its splits for when it is bought again."""

    day: Day
    multiplier: Decimal
    currency: str
    splits: tuple[Split, ...] = ()


class Totals(Struct, frozen=True):
    """Everything that ever moved one currency, in that currency (definitions 8): cash and the cost of what is held
    are their sum."""

    flows: Decimal = ZERO
    realized: Decimal = ZERO
    fees: Decimal = ZERO
    dividends: Decimal = ZERO
    swap: Decimal = ZERO
    conversions: Decimal = ZERO
    adjustments: Decimal = ZERO

    @property
    def net(self) -> Decimal:
        """Fees taken off."""
        return self.flows + self.realized - self.fees + self.dividends + self.swap + self.conversions + self.adjustments


class BrokerAccount(Struct, frozen=True, omit_defaults=True):
    """Where a live portfolio's orders are executed. ``tag``: that of its orders, where several portfolios share the
    account; "" where it takes those that nobody else's tag names."""

    name: str
    account: str
    tag: str = ""


class Portfolio(Struct, frozen=True):
    """Everything that is booked about one portfolio; ``version`` counts its committed changes from 1.

    ``cash``: by currency; of a margin account the balance, in base alone. Totals without a currency are in base at
    booked rates. ``inflows_total`` and ``outflows_total`` (both >= 0, never reset): external flows, cash adjustments
    included. ``closed_day``: the last day that was closed; ``closed_today`` and ``day_results``: positions closed since
    then, one by one and, beyond a number, summed up by currency; ``day_unknown``: those that cannot be summed.
    ``target_weights`` (of what is invested, by symbol) and ``benchmark`` (a symbol) are what analyses compare with.
    ``margin_call_percent``, ``stop_out_percent``: its own levels, None: those of its account type; ``auto_liquidate``:
    of a live account, whether its stop-out may be executed at the broker. ``liquidating_from``: the status it had when
    its stop-out made it LIQUIDATING, and has again afterwards.
    ``update_interval_ms``: prices have it valued at most once in that time, also where its window is shorter.
    ``unreconciled_since_ms``: since when its broker has not confirmed the books; None where it has, or where there is
    no broker. ``broker_share``: its part of what the account owns beside every portfolio's books and no order's tag
    attributes; None: none.
    """

    portfolio_id: str
    portfolio_name: str
    owner: str
    account_type: AccountType
    account_kind: AccountKind
    base_currency: str
    cost_basis: CostBasis
    created_at_ms: int
    updated_at_ms: int
    version: int = 1
    status: Status = "ACTIVE"
    allow_short: bool = False
    cash: dict[str, Decimal] = {}
    positions: dict[str, Position] = {}
    realized_pnl: Decimal = ZERO
    fees_total: Decimal = ZERO
    net_deposits: Decimal = ZERO
    leverage: Decimal | None = None
    dividends_total: Decimal = ZERO
    swap_total: Decimal = ZERO
    adjustments_total: Decimal = ZERO
    inflows_total: Decimal = ZERO
    outflows_total: Decimal = ZERO
    totals: dict[str, Totals] = {}
    last_sequence: int = 0
    needs_review: bool = False
    closed_day: str | None = None
    closed_today: dict[str, ClosedToday] = {}
    day_results: dict[str, Decimal] = {}
    day_unknown: tuple[str, ...] = ()
    margin_call_percent: Decimal | None = None
    stop_out_percent: Decimal | None = None
    auto_liquidate: bool = False
    update_interval_ms: int | None = None
    liquidating_from: Status | None = None
    target_weights: dict[str, Decimal] = {}
    benchmark: str | None = None
    broker: BrokerAccount | None = None
    unreconciled_since_ms: int | None = None
    broker_share: Decimal | None = None

    @property
    def key(self) -> str:
        """``live:12345``."""
        return portfolio_key(self.account_type, self.portfolio_id)

    @property
    def currencies(self) -> set[str]:
        """Those its value depends on, base among them only if it is held."""
        found = {position.currency for position in self.positions.values()}
        found.update(currency for currency, amount in self.cash.items() if amount)
        found.update(closed.currency for closed in self.closed_today.values())
        found.update(self.day_results)
        return found

    @property
    def foreign_currencies(self) -> list[str]:
        """The same without base, sorted."""
        return sorted(self.currencies - {self.base_currency})

    @property
    def symbols(self) -> frozenset[str]:
        """Every symbol its value depends on, whether it has a price yet or not: what it holds, and the pairs on the
        ways from its currencies to base."""
        foreign = self.foreign_currencies
        if not foreign:
            return frozenset(self.positions)
        pairs = (pair for currency in foreign for pair in rates.pairs(currency, self.base_currency))
        return frozenset(self.positions).union(pairs)

    def totals_of(self, currency: str) -> Totals:
        """What moved the currency so far. Books of the first release hold the totals of base only as their sums."""
        if currency == self.base_currency and not self.totals:
            return Totals(flows=self.net_deposits, realized=self.realized_pnl, fees=self.fees_total)
        return self.totals.get(currency, NO_TOTALS)


NO_TOTALS = Totals()


_encoder = msgspec.json.Encoder(decimal_format="string")
_decoder = msgspec.json.Decoder(Portfolio)


def encode(portfolio: Portfolio) -> bytes:
    """JSON with every Decimal as a string: lossless and readable in a table browser."""
    return _encoder.encode(portfolio)


def decode(raw: bytes | str) -> Portfolio:
    """The inverse of ``encode``; raises ``msgspec.ValidationError`` on anything else."""
    return _decoder.decode(raw)
