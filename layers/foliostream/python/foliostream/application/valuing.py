"""Valuing portfolios: bulk read, value, bulk compare-and-set write, again where somebody else was faster."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import msgspec

from foliostream.application.marking import Marker
from foliostream.domain import portfolio as books
from foliostream.domain import rates, valuation
from foliostream.domain.instrument import Instrument
from foliostream.domain.portfolio import Portfolio
from foliostream.domain.valuation import PositionState
from foliostream.errors import FoliostreamError, NotFoundError
from foliostream.ports import (
    Books,
    Candidate,
    Clock,
    Head,
    Holders,
    Instruments,
    Ledger,
    Prices,
    Saved,
    Snapshots,
    Stored,
    StoredSnapshot,
)

MAX_ROUNDS = 3
# Given portfolios with an interval of their own, by id in milliseconds: those that are not to be valued yet.
HoldBack = Callable[[Mapping[str, int]], Collection[str]]


def nothing(_: Mapping[str, int]) -> Collection[str]:
    """Holds nothing back."""
    return ()


@dataclass
class Valued:
    """What became of the portfolios: ids valued, ids skipped as fresh, ids held back, why others failed."""

    written: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    held_back: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Valuer:
    """Whoever writes a snapshot tells its watchers: a later message may skip the portfolio as fresh.

    ``stale_after_ms``: the age at which a price is stale where its instrument names no other.
    """

    books: Books
    snapshots: Snapshots
    prices: Prices
    instruments: Instruments
    ledger: Ledger
    holders: Holders
    marker: Marker
    clock: Clock
    stale_after_ms: int

    def project(self, portfolio: Portfolio) -> None:
        """Bring the hot store up to the ledger: book first, then dependents; repeating it changes nothing."""
        self.books.put_book(portfolio)
        self.holders.add(portfolio.key, portfolio.symbols)

    def value(
        self,
        portfolio_ids: Collection[str],
        fresh_after_ms: Mapping[str, int] | None = None,
        hold_back: HoldBack = nothing,
    ) -> Valued:
        """Value each portfolio once from what is stored now.

        ``fresh_after_ms``: an id named there is skipped if its snapshot was read at or after that time.
        ``hold_back`` is asked about those of the others that have an interval, once their books are read, in every
        round anew. A portfolio that fails
        by itself (broken book, contention, unknown) is in ``failed``; a failing store raises ``RetryableError`` and
        leaves nothing half done that a repetition would not mend.
        """
        done = Valued()
        pending = list(dict.fromkeys(portfolio_ids))
        for _ in range(MAX_ROUNDS):
            if not pending:
                return done
            pending = self._round(pending, fresh_after_ms or {}, hold_back, done)
        done.failed |= dict.fromkeys(pending, f"overtaken {MAX_ROUNDS} times by other valuations")
        return done

    def _round(self, ids: list[str], fresh_after_ms: Mapping[str, int], hold_back: HoldBack, done: Valued) -> list[str]:
        """One pass; the ids to be valued again."""
        read_at_ms = self.clock.now_ms()  # before the first read: what is read is at least as new
        stored = self.books.load(ids)
        fresh = {i for i in ids if i in fresh_after_ms and _is_fresh(stored[i].head, fresh_after_ms[i])}
        done.skipped += sorted(fresh)
        portfolios = self._portfolios({i: item for i, item in stored.items() if i not in fresh}, done)
        intervals = {i: item.update_interval_ms for i, item in portfolios.items() if item.update_interval_ms}
        for identifier in hold_back(intervals) if intervals else ():
            done.held_back.append(identifier)
            del portfolios[identifier]
        symbols = {symbol for portfolio in portfolios.values() for symbol in portfolio.symbols}
        prices = self.prices.get(symbols) if symbols else {}
        # Only a registered symbol has a price: of the pairs on the ways between currencies most have neither.
        known = {symbol for portfolio in portfolios.values() for symbol in portfolio.positions} | set(prices)
        instruments = self.instruments.get(known) if known else {}
        candidates = []
        for identifier, portfolio in portfolios.items():
            head = stored[identifier].head
            try:
                snapshot = valuation.value(
                    portfolio,
                    prices,
                    instruments,
                    read_at_ms=read_at_ms,
                    previous_version=head.version if head else 0,
                    stale_after_ms=self.stale_after_ms,
                )
            except (ArithmeticError, ValueError, FoliostreamError) as fault:
                done.failed[identifier] = f"valuation failed: {fault!r}"
                continue
            candidates.append(Candidate(snapshot, head))
        return self._settle(candidates, self.snapshots.save(candidates) if candidates else [], done)

    def _settle(self, candidates: list[Candidate], answers: list[Saved], done: Valued) -> list[str]:
        self.marker.connections({watcher for saved in answers for watcher in saved.watchers})
        again = []
        for candidate, saved in zip(candidates, answers, strict=True):
            identifier = candidate.snapshot.state.portfolio_id
            if saved.written:
                done.written.append(identifier)
            elif _supersedes(saved.current, candidate):
                done.skipped.append(identifier)
            else:
                again.append(identifier)
        return again

    def _portfolios(self, stored: Mapping[str, Stored], done: Valued) -> dict[str, Portfolio]:
        portfolios = {}
        for identifier, item in stored.items():
            if item.book is None:
                continue
            try:
                portfolios[identifier] = books.decode(item.book)
            except msgspec.MsgspecError as fault:
                done.failed[identifier] = f"the stored book cannot be read: {fault}"
        lost = [identifier for identifier, item in stored.items() if item.book is None]
        for identifier, portfolio in (self.ledger.load(lost) if lost else {}).items():
            self.project(portfolio)
            portfolios[identifier] = portfolio
        for identifier in lost:
            if identifier not in portfolios:
                done.failed[identifier] = "there is no such portfolio in the ledger"
        return portfolios

    def current(self, portfolio_ids: Collection[str]) -> dict[str, StoredSnapshot]:
        """The newest snapshots as they may go out now: staleness derived again, missing ones valued first."""
        ids = list(dict.fromkeys(portfolio_ids))
        found = self.snapshots.read(ids)
        missing = [identifier for identifier in ids if identifier not in found]
        if missing:
            self.value(missing)
            found |= self.snapshots.read(missing)
        return {identifier: self._present(found[identifier]) for identifier in ids if identifier in found}

    def current_one(self, portfolio_id: str) -> StoredSnapshot:
        """As ``current`` for one portfolio; ``NotFoundError`` if it does not exist."""
        found = self.current([portfolio_id]).get(portfolio_id)
        if found is None:
            raise NotFoundError(f"no portfolio {portfolio_id}", code="PORTFOLIO_NOT_FOUND")
        return found

    def _present(self, stored: StoredSnapshot) -> StoredSnapshot:
        now_ms = self.clock.now_ms()
        if now_ms < stored.head.fresh_until_ms:
            return stored
        state = valuation.decode_state(stored.body)
        priced = [item for item in state.positions if item.price_ts is not None]
        needs = {item.instrument_id: _prices_of(item, state.base_currency) for item in priced}
        instruments = self.instruments.get({symbol for symbols in needs.values() for symbol in symbols})
        ages = {
            name: min(found) * 1000
            for name, symbols in needs.items()
            if (found := [age for symbol in symbols if (age := _max_age(instruments.get(symbol))) is not None])
        }
        state = valuation.with_staleness(state, ages, self.stale_after_ms, now_ms)
        return StoredSnapshot(stored.head, valuation.encode_state(state))


def _prices_of(item: PositionState, base_currency: str) -> Collection[str]:
    """The symbols whose age limits count for a position: its own, of cash those of the pairs to base."""
    if item.position_type == "CASH":
        return rates.pairs(item.currency, base_currency)
    return (item.instrument_id,)


def _max_age(instrument: Instrument | None) -> int | None:
    return instrument.max_age_seconds if instrument else None


def _is_fresh(head: Head | None, after_ms: int) -> bool:
    return head is not None and head.read_at_ms >= after_ms


def _supersedes(current: Head | None, candidate: Candidate) -> bool:
    """Whether the head that refused a candidate is as new in its book and in its prices."""
    return (
        current is not None
        and current.ledger_version >= candidate.snapshot.state.ledger_version
        and current.read_at_ms >= candidate.snapshot.read_at_ms
    )
