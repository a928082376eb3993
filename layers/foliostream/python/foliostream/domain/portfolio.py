"""The portfolio aggregate: cash, positions at average cost, and what a transaction does to them.

Definitions section 0 (1-4) and section 1: a position keeps its total *cost*; a close takes out
``cost * |s| / |q|`` rounded half even to ten decimals, so that every identity holds exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext
from hashlib import blake2b
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from foliostream.domain import money
from foliostream.domain.instrument import Instrument
from foliostream.domain.keys import CASH_PREFIX, portfolio_key
from foliostream.domain.money import ZERO
from foliostream.errors import CallerError, RefusedError

AccountType = Literal["live", "demo", "paper"]
AccountKind = Literal["cash", "margin"]
CostBasis = Literal["average", "fifo"]
Status = Literal["ACTIVE", "SUSPENDED", "LIQUIDATING", "CLOSED"]
TransactionType = Literal["BUY", "SELL", "DEPOSIT", "WITHDRAWAL"]

MAX_POSITIONS = 1_000
MAX_NAME_LENGTH = 200
FUTURE_ALLOWANCE_MS = 5_000
_TRADES = ("BUY", "SELL")


class Position(Struct, frozen=True):
    """An open position. ``quantity`` is signed; ``cost`` = |q| * average price * multiplier >= 0 in ``currency``."""

    quantity: Decimal
    cost: Decimal
    realized_pnl: Decimal
    fees: Decimal
    multiplier: Decimal
    currency: str
    opened_at_ms: int
    updated_at_ms: int

    @property
    def average_price(self) -> Decimal:
        """Derived, never stored; without fees (definitions 2)."""
        return money.EXACT.divide(self.cost, money.EXACT.multiply(abs(self.quantity), self.multiplier))


class Portfolio(Struct, frozen=True):
    """Everything that is booked about one portfolio; ``version`` counts its committed changes from 1."""

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

    @property
    def key(self) -> str:
        """``live:12345``."""
        return portfolio_key(self.account_type, self.portfolio_id)

    @property
    def symbols(self) -> frozenset[str]:
        """Every symbol its value depends on, whether it has a price yet or not."""
        return frozenset(self.positions)


class Entry(Struct, frozen=True):
    """One line of an update. ``quantity`` is signed (+ buy, - sell); ``amount`` is for cash movements, always >= 0."""

    transaction_id: str
    transaction_type: TransactionType
    timestamp_ms: int
    instrument_id: str | None = None
    quantity: Decimal = ZERO
    price: Decimal = ZERO
    fee: Decimal = ZERO
    amount: Decimal = ZERO
    currency: str | None = None

    @property
    def digest(self) -> str:
        """Tells a repeat of this entry from another one under the same id: the amounts, however they were written."""
        parts = (self.transaction_type, self.instrument_id, self.currency, self.timestamp_ms)
        amounts = (format(value.normalize(money.EXACT), "f") for value in self._amounts)
        return blake2b("|".join((*map(str, parts), *amounts)).encode(), digest_size=16).hexdigest()

    @property
    def _amounts(self) -> tuple[Decimal, ...]:
        return self.quantity, self.price, self.fee, self.amount


class Transaction(Struct, frozen=True):
    """An entry as booked: what it did, and the ledger version it made."""

    entry: Entry
    currency: str
    cash_change: Decimal
    realized_pnl: Decimal
    quantity_after: Decimal
    ledger_version: int
    booked_at_ms: int


def apply(
    portfolio: Portfolio, entries: Sequence[Entry], instruments: dict[str, Instrument], now_ms: int
) -> tuple[Portfolio, list[Transaction]]:
    """Book all entries or none: the portfolio after them (one version on) and a record each.

    Raises ``CallerError`` for an entry that is wrong in itself, ``RefusedError`` where the books do not allow it;
    both name the entry. The portfolio given stays as it was.
    """
    version = portfolio.version + 1
    transactions = []
    with localcontext(money.EXACT):
        for index, entry in enumerate(entries):
            try:
                _check_time(entry, now_ms)
                before = portfolio
                portfolio = _book(before, entry, instruments)
            except CallerError as fault:
                fault.details.append({"index": index, "transaction_id": entry.transaction_id})
                raise
            transactions.append(_record(before, portfolio, entry, instruments, version, now_ms))
    return replace(portfolio, version=version, updated_at_ms=now_ms), transactions


def _check_time(entry: Entry, now_ms: int) -> None:
    if entry.timestamp_ms > now_ms + FUTURE_ALLOWANCE_MS:
        raise CallerError(
            f"timestamp {entry.timestamp_ms} is more than {FUTURE_ALLOWANCE_MS} ms ahead of {now_ms}",
            code="TIMESTAMP_IN_FUTURE",
        )


def _book(portfolio: Portfolio, entry: Entry, instruments: dict[str, Instrument]) -> Portfolio:
    if entry.transaction_type in _TRADES:
        return _trade(portfolio, entry, instruments)
    return _move_cash(portfolio, entry)


def _record(
    before: Portfolio,
    after: Portfolio,
    entry: Entry,
    instruments: dict[str, Instrument],
    version: int,
    now_ms: int,
) -> Transaction:
    currency = _currency(before, entry, instruments)
    position = after.positions.get(entry.instrument_id or "")
    return Transaction(
        entry=entry,
        currency=currency,
        cash_change=after.cash.get(currency, ZERO) - before.cash.get(currency, ZERO),
        realized_pnl=after.realized_pnl - before.realized_pnl,
        quantity_after=position.quantity if position else ZERO,
        ledger_version=version,
        booked_at_ms=now_ms,
    )


def _currency(portfolio: Portfolio, entry: Entry, instruments: dict[str, Instrument]) -> str:
    if entry.transaction_type in _TRADES and entry.instrument_id is not None:
        return instruments[entry.instrument_id].currency
    if entry.currency:
        return entry.currency
    if entry.instrument_id and entry.instrument_id.startswith(CASH_PREFIX):
        return entry.instrument_id.removeprefix(CASH_PREFIX)
    return portfolio.base_currency


def _move_cash(portfolio: Portfolio, entry: Entry) -> Portfolio:
    currency = _currency(portfolio, entry, {})
    _same_currency(portfolio, currency)
    money.checked("amount", entry.amount, money.QUANTITY_DECIMALS, zero=False)
    amount = entry.amount if entry.transaction_type == "DEPOSIT" else -entry.amount
    cash = portfolio.cash.get(currency, ZERO) + amount
    if amount < 0 and cash < 0:  # a deposit into a debt that fees made is always welcome
        raise _insufficient_cash(portfolio, currency, entry.amount)
    return replace(portfolio, cash={**portfolio.cash, currency: cash}, net_deposits=portfolio.net_deposits + amount)


def _trade(portfolio: Portfolio, entry: Entry, instruments: dict[str, Instrument]) -> Portfolio:
    instrument = instruments.get(entry.instrument_id or "")
    if instrument is None:
        raise CallerError(f"no instrument {entry.instrument_id} is registered", code="UNKNOWN_SYMBOL")
    _check_trade(portfolio, entry, instrument)
    held = portfolio.positions.get(instrument.symbol)
    position, realized = fill(held, entry, instrument)
    cash = portfolio.cash.get(instrument.currency, ZERO)
    cash_after = cash - entry.quantity * entry.price * instrument.multiplier - entry.fee
    if entry.quantity > 0 and cash_after < 0:
        raise _insufficient_cash(portfolio, instrument.currency, cash - cash_after)
    positions = {symbol: other for symbol, other in portfolio.positions.items() if symbol != instrument.symbol}
    if position is not None:
        positions[instrument.symbol] = position
    if len(positions) > MAX_POSITIONS:
        raise RefusedError(f"a portfolio holds at most {MAX_POSITIONS} positions", code="TOO_MANY_POSITIONS")
    return replace(
        portfolio,
        cash={**portfolio.cash, instrument.currency: cash_after},
        positions=positions,
        realized_pnl=portfolio.realized_pnl + realized,
        fees_total=portfolio.fees_total + entry.fee,
    )


def _check_trade(portfolio: Portfolio, entry: Entry, instrument: Instrument) -> None:
    money.checked("quantity_change", entry.quantity, money.QUANTITY_DECIMALS, signed=True, zero=False)
    money.checked("price", entry.price, instrument.price_places, zero=instrument.allow_zero)
    money.checked("fee", entry.fee, money.QUANTITY_DECIMALS)
    if (entry.quantity > 0) != (entry.transaction_type == "BUY"):
        raise CallerError(f"quantity_change {entry.quantity} does not fit {entry.transaction_type}")
    if instrument.kind != "stock":
        raise RefusedError(f"{instrument.kind} instruments need a margin account", code="MARGIN_ACCOUNT_NEEDED")
    _same_currency(portfolio, instrument.currency)
    held = portfolio.positions.get(instrument.symbol)
    holding = held.quantity if held else ZERO
    if entry.quantity < 0 and holding + entry.quantity < 0 and not portfolio.allow_short:
        raise RefusedError(
            f"{_figure(-entry.quantity)} {instrument.symbol} to sell, {_figure(max(holding, ZERO))} held, "
            "and the portfolio does not allow short sales",
            code="INSUFFICIENT_POSITION",
            details=[{"symbol": instrument.symbol, "held": _figure(holding), "asked": _figure(-entry.quantity)}],
        )


def _same_currency(portfolio: Portfolio, currency: str) -> None:
    if currency != portfolio.base_currency:
        raise RefusedError(
            f"the portfolio is kept in {portfolio.base_currency}, the entry is in {currency}",
            code="CURRENCY_NOT_SUPPORTED",
        )


def _insufficient_cash(portfolio: Portfolio, currency: str, needed: Decimal) -> RefusedError:
    available = portfolio.cash.get(currency, ZERO)
    return RefusedError(
        f"{_figure(needed)} {currency} needed, {_figure(available)} available",
        code="INSUFFICIENT_CASH",
        details=[{"currency": currency, "needed": _figure(needed), "available": _figure(available)}],
    )


def _figure(value: Decimal) -> str:
    return str(money.plain(value, money.QUANTITY_DECIMALS))


def fill(held: Position | None, entry: Entry, instrument: Instrument) -> tuple[Position | None, Decimal]:
    """The position after one fill and the gross profit it realized: open, add, partial close, full close, flip."""
    if held is None:
        return _opened(entry, instrument, entry.quantity, entry.fee), ZERO
    if (held.quantity > 0) == (entry.quantity > 0):
        return _added(held, entry), ZERO
    closed = min(abs(entry.quantity), abs(held.quantity))
    removed = held.cost if closed == abs(held.quantity) else money.divide(held.cost * closed, abs(held.quantity))
    gained = closed * entry.price * held.multiplier - removed
    realized = gained if held.quantity > 0 else -gained
    rest = held.quantity + entry.quantity
    if not rest:
        return None, realized
    if (rest > 0) != (held.quantity > 0):
        closing_fee = money.divide(entry.fee * closed, abs(entry.quantity))
        return _opened(entry, instrument, rest, entry.fee - closing_fee), realized
    return replace(
        held,
        quantity=rest,
        cost=held.cost - removed,
        realized_pnl=held.realized_pnl + realized,
        fees=held.fees + entry.fee,
        updated_at_ms=entry.timestamp_ms,
    ), realized


def _opened(entry: Entry, instrument: Instrument, quantity: Decimal, fee: Decimal) -> Position:
    return Position(
        quantity=quantity,
        cost=abs(quantity) * entry.price * instrument.multiplier,
        realized_pnl=ZERO,
        fees=fee,
        multiplier=instrument.multiplier,
        currency=instrument.currency,
        opened_at_ms=entry.timestamp_ms,
        updated_at_ms=entry.timestamp_ms,
    )


def _added(held: Position, entry: Entry) -> Position:
    return replace(
        held,
        quantity=held.quantity + entry.quantity,
        cost=held.cost + abs(entry.quantity) * entry.price * held.multiplier,
        fees=held.fees + entry.fee,
        updated_at_ms=entry.timestamp_ms,
    )


_encoder = msgspec.json.Encoder(decimal_format="string")
_decoder = msgspec.json.Decoder(Portfolio)
_transaction_decoder = msgspec.json.Decoder(Transaction)


def encode(item: Portfolio | Transaction) -> bytes:
    """JSON with every Decimal as a string: lossless and readable in a table browser."""
    return _encoder.encode(item)


def decode(raw: bytes | str) -> Portfolio:
    """The inverse of ``encode`` for a portfolio; raises ``msgspec.ValidationError`` on anything else."""
    return _decoder.decode(raw)


def decode_transaction(raw: bytes | str) -> Transaction:
    """The inverse of ``encode`` for a transaction."""
    return _transaction_decoder.decode(raw)
