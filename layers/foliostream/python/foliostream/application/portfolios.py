"""Portfolios over REST: create, list, read, update, refresh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from foliostream.application.access import Caller, not_found, own_portfolio
from foliostream.application.margin_check import MarginCheck
from foliostream.application.marking import Marker
from foliostream.application.rendering import Rendered
from foliostream.application.valuing import Valuer
from foliostream.domain import changes, keys, portfolio
from foliostream.domain.portfolio import (
    AccountKind,
    AccountType,
    BrokerAccount,
    CostBasis,
    Entry,
    Portfolio,
    Transaction,
)
from foliostream.errors import CallerError, ConflictError, RefusedError, RetryableError
from foliostream.ports import Clock, Instruments, Ledger

MAX_ENTRIES = 40
MAX_COMMIT_ROUNDS = 5
PAGE_SIZE = 100
# Ids of these forms belong to execution modes: a fill names them, so only who may report fills may take them.
RESERVED_PREFIXES = ("paper_", "zerodha_")


@dataclass(frozen=True)
class NewPortfolio:
    """A request to create a portfolio; ``request_digest`` tells a repeat from another request for the same id."""

    portfolio_id: str
    portfolio_name: str
    account_type: AccountType
    account_kind: AccountKind
    base_currency: str
    cost_basis: CostBasis
    leverage: Decimal | None
    initial_cash: Decimal
    allow_short: bool
    request_digest: str
    update_interval_ms: int | None = None
    target_weights: Mapping[str, Decimal] = field(default_factory=dict)
    benchmark: str | None = None
    broker: BrokerAccount | None = None
    margin_call_percent: Decimal | None = None
    stop_out_percent: Decimal | None = None
    auto_liquidate: bool = False
    broker_share: Decimal | None = None


class Created(NamedTuple):
    """``created`` False: the same request came before."""

    snapshot: Rendered
    created: bool


class Listed(NamedTuple):
    """A page of the caller's portfolios; ``cursor`` is None on the last one."""

    portfolios: list[Portfolio]
    cursor: str | None


@dataclass(frozen=True)
class Portfolios:
    """The use cases; each raises ``NotFoundError`` for a portfolio that is not the caller's."""

    ledger: Ledger
    instruments: Instruments
    valuer: Valuer
    marker: Marker
    clock: Clock
    margin_check: MarginCheck

    def create(self, caller: Caller, new: NewPortfolio) -> Created:
        """A new portfolio, or the existing one if the same request made it; ``ConflictError`` otherwise."""
        keys.portfolio_id(new.portfolio_id)
        keys.currency(new.base_currency)
        if new.portfolio_id.startswith(RESERVED_PREFIXES) or new.broker is not None:
            caller.require("fills:write")
        first, transactions = self._first(caller, new)
        try:
            self.ledger.create(first, transactions, new.request_digest)
        except ConflictError as conflict:
            if conflict.code == "BROKER_ACCOUNT_TAKEN":
                raise
            self._check_repeat(caller, new)
            first = own_portfolio(caller, new.portfolio_id, self.ledger)
            return Created(self.publish(first), created=False)
        return Created(self.publish(first), created=True)

    def _first(self, caller: Caller, new: NewPortfolio) -> tuple[Portfolio, list[Transaction]]:
        now_ms = self.clock.now_ms()
        empty = Portfolio(
            portfolio_id=new.portfolio_id,
            portfolio_name=new.portfolio_name,
            owner=caller.subject,
            account_type=new.account_type,
            account_kind=new.account_kind,
            base_currency=new.base_currency,
            cost_basis=new.cost_basis,
            leverage=new.leverage,
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
            version=0,
            allow_short=new.allow_short,
            update_interval_ms=new.update_interval_ms,
            target_weights=dict(new.target_weights),
            benchmark=new.benchmark,
            margin_call_percent=new.margin_call_percent,
            stop_out_percent=new.stop_out_percent,
            auto_liquidate=new.auto_liquidate,
            cash={new.base_currency: Decimal(0)},
            broker=new.broker,
            unreconciled_since_ms=now_ms if new.broker else None,
            broker_share=new.broker_share,
        )
        changes.check_share(empty)
        changes.check_interval(empty)
        changes.check_levels(empty, self.valuer.rules.limits[new.account_type])
        deposit = Entry("initial_cash", "DEPOSIT", now_ms, amount=new.initial_cash, currency=new.base_currency)
        return portfolio.apply(empty, [deposit] if new.initial_cash else [], {}, now_ms)

    def _check_repeat(self, caller: Caller, new: NewPortfolio) -> None:
        owner = self.ledger.load([new.portfolio_id])[new.portfolio_id].owner
        if owner != caller.subject or self.ledger.request_digest(new.portfolio_id) != new.request_digest:
            raise ConflictError(f"there is a portfolio {new.portfolio_id} already", code="PORTFOLIO_EXISTS")

    def list(self, caller: Caller, cursor: str | None) -> Listed:
        """The caller's portfolios in id order, at most ``PAGE_SIZE`` a page."""
        page = self.ledger.owned(caller.subject, cursor, PAGE_SIZE)
        found = self.ledger.load(page.portfolio_ids)
        return Listed([found[i] for i in page.portfolio_ids if i in found], page.cursor)

    def state(self, caller: Caller, portfolio_id: str) -> Rendered:
        """The newest snapshot; valued now if the hot store has none."""
        keys.portfolio_id(portfolio_id)
        snapshot = self.valuer.current_one(portfolio_id)
        if snapshot.head.owner != caller.subject:
            raise not_found(portfolio_id)
        return snapshot

    def refresh(self, caller: Caller, portfolio_id: str) -> None:
        """Ask for a valuation ahead of everything else."""
        self.marker.refresh(own_portfolio(caller, portfolio_id, self.ledger).key)

    def update(
        self, caller: Caller, portfolio_id: str, entries: Sequence[Entry], next_id: str | None = None
    ) -> Rendered:
        """Book all entries or none, and answer with the state after. ``next_id``: the transaction id that one entry
        more would have; where it is booked a repeat is the beginning of another request.

        A repeat (same transaction ids, same entries) changes nothing and answers the same way. ``ConflictError``
        ``TRANSACTION_CONFLICT`` if an id is known with another body; ``CallerError``/``RefusedError`` name the entry.
        ``RetryableError`` ``OUTCOME_UNKNOWN`` and ``NOT_VALUED_YET`` name the transaction ids, under which the request
        may be repeated also by a caller who gave none.
        """
        if not 0 < len(entries) <= MAX_ENTRIES:
            raise CallerError(f"updates has 1 to {MAX_ENTRIES} entries, not {len(entries)}", code="TOO_MANY_ENTRIES")
        if len({entry.transaction_id for entry in entries}) < len(entries):
            raise CallerError("a transaction_id stands twice in the same update", code="DUPLICATE_TRANSACTION_ID")
        for _ in range(MAX_COMMIT_ROUNDS):
            before = own_portfolio(caller, keys.portfolio_id(portfolio_id), self.ledger)
            try:
                after = self._commit(before, entries, next_id)
            except ConflictError as conflict:
                if conflict.code == "VERSION_CONFLICT":
                    continue
                raise
            except RetryableError as fault:
                message = "it may be booked or not: repeat it with these transaction ids, then it counts once"
                raise RetryableError(message, code="OUTCOME_UNKNOWN", details=_ids(entries)) from fault
            try:
                return self.publish(after)
            except RetryableError as fault:
                fault.details += _ids(entries)
                raise
        raise ConflictError(f"{portfolio_id} changed {MAX_COMMIT_ROUNDS} times meanwhile", code="TOO_MUCH_CONTENTION")

    def _commit(self, before: Portfolio, entries: Sequence[Entry], next_id: str | None) -> Portfolio:
        symbols = {entry.instrument_id for entry in entries if entry.instrument_id}
        now_ms = self.clock.now_ms()
        try:
            instruments = self.instruments.get(symbols)
            needed = portfolio.price_symbols(before, entries, instruments)
            prices = self.valuer.prices.get(needed) if needed else {}
            after, transactions = portfolio.apply(before, entries, instruments, now_ms, prices)
            self.margin_check(before, after, entries, now_ms)
            opened, closed = after.symbols - before.symbols, before.symbols - after.symbols
            self.ledger.commit(after, transactions, opened, closed)
        except (RefusedError, ConflictError) as fault:
            # Only now, so that the usual path reads nothing twice: a repeat may also look like too little cash.
            if self._is_repeat(before.portfolio_id, entries, next_id):
                return before
            if isinstance(fault, ConflictError) and fault.code == "TRANSACTION_EXISTS":
                raise ConflictError(fault.message, code="TRANSACTION_CONFLICT", details=fault.details) from None
            raise
        return after

    def _is_repeat(self, portfolio_id: str, entries: Sequence[Entry], next_id: str | None) -> bool:
        """Whether all entries are booked already; ``ConflictError`` if some are, or with another body."""
        ids = [entry.transaction_id for entry in entries]
        known = self.ledger.transactions(portfolio_id, ids + ([next_id] if next_id else []))
        if not known:
            return False
        if next_id in known:
            raise ConflictError(
                f"the same request came before with more than {len(entries)} entries",
                code="TRANSACTION_CONFLICT",
                details=[{"transaction_id": next_id}],
            )
        other = [
            entry.transaction_id
            for entry in entries
            if entry.transaction_id not in known or known[entry.transaction_id].entry.digest != entry.digest
        ]
        if other:
            raise ConflictError(
                f"{len(known)} of {len(entries)} transaction ids are booked already, not all with the same entry",
                code="TRANSACTION_CONFLICT",
                details=[{"transaction_id": identifier} for identifier in other],
            )
        return True

    def publish(self, committed: Portfolio) -> Rendered:
        """Project what was committed and value it for the answer (which tells whoever watches).

        Only for the answer: the ledger's stream does all of it again, marks the portfolio and tells the bus, also
        when this process does not come so far.
        """
        try:
            self.valuer.project(committed)
            self.valuer.value([committed.portfolio_id])
            snapshot = self.valuer.current_one(committed.portfolio_id)
        except RetryableError as fault:
            raise _not_valued_yet() from fault
        if snapshot.head.ledger_version < committed.version:
            raise _not_valued_yet()
        return snapshot


def _not_valued_yet() -> RetryableError:
    return RetryableError(
        "booked, but not valued yet: ask for the state, or repeat the request with the same ids", code="NOT_VALUED_YET"
    )


def _ids(entries: Sequence[Entry]) -> list[dict[str, str]]:
    return [{"transaction_id": entry.transaction_id} for entry in entries]
