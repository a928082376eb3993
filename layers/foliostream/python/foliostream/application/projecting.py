"""Bringing the hot store up to the ledger, many portfolios at a time: book, dependents, mark."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from foliostream.application.marking import Marker
from foliostream.domain import portfolio as portfolios
from foliostream.domain.coalescing import Reason
from foliostream.domain.portfolio import Portfolio
from foliostream.errors import FoliostreamError, RetryableError
from foliostream.ports import Books, Holders


@dataclass
class Projected:
    """What became of the portfolios, each in one of these by id: as the hot store has it now, its dependents added
    and its valuation promised; why it cannot be done, ever; why it has to be tried again."""

    stored: dict[str, Portfolio] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    again: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Projector:
    """Repeats and disorder are harmless: a book is only ever replaced by a newer one, dependents are only added.

    One too many costs a valuation, one missing loses updates; so the dependents are always those of the newest book
    in the store, read after ours was put: whoever stored that one may have died before it came to them.
    """

    books: Books
    holders: Holders
    marker: Marker

    def project(self, changed: Iterable[Portfolio], reason: Reason) -> Projected:
        """One portfolio that fails by itself stops none of the others; a failing store sets aside all it has left."""
        done = Projected()
        newest: dict[str, Portfolio] = {}
        for portfolio in changed:
            known = newest.get(portfolio.portfolio_id)
            newest[portfolio.portfolio_id] = portfolio if known is None or known.version < portfolio.version else known
        _each(newest, self.books.put_book, done)
        stored = self._stored(done)
        _each(stored, lambda portfolio: self.holders.add(portfolio.key, portfolio.symbols), done)
        self._mark(done, reason)
        return done

    def _stored(self, done: Projected) -> dict[str, Portfolio]:
        """The books as they are in the store now."""
        ids, done.stored = list(done.stored), {}
        found: dict[str, Portfolio] = {}
        try:
            read = self.books.load(ids) if ids else {}
        except RetryableError as fault:
            done.again |= dict.fromkeys(ids, fault.message)
            return found
        for identifier in ids:
            book = read[identifier].book
            if book is None:
                done.again[identifier] = "the hot store lost the book meanwhile"
                continue
            try:
                found[identifier] = portfolios.decode(book)
            except msgspec.MsgspecError as fault:
                done.broken[identifier] = f"the stored book cannot be read: {fault}"
        return found

    def _mark(self, done: Projected, reason: Reason) -> None:
        by_type: dict[str, list[Portfolio]] = {}
        for portfolio in done.stored.values():
            by_type.setdefault(portfolio.account_type, []).append(portfolio)
        for account_type, members in by_type.items():
            window = self.marker.window(account_type)  # now: after books and dependents are stored
            try:
                self.marker.mark(account_type, [portfolio.key for portfolio in members], window, reason)
            except RetryableError as fault:
                _set_aside(members, fault.message, done)


def _each(pending: Mapping[str, Portfolio], work: Callable[[Portfolio], None], done: Projected) -> None:
    """Those that were worked on are in ``done.stored``."""
    for number, (identifier, portfolio) in enumerate(pending.items()):
        try:
            work(portfolio)
        except RetryableError as fault:
            # Its adapter has tried for seconds: the next one would too, until the function's time is over.
            _set_aside(list(pending.values())[number:], fault.message, done)
            return
        except FoliostreamError as fault:
            done.broken[identifier] = f"cannot be projected: {fault.message}"
        else:
            done.stored[identifier] = portfolio


def _set_aside(portfolios_left: Sequence[Portfolio], reason: str, done: Projected) -> None:
    for portfolio in portfolios_left:
        done.stored.pop(portfolio.portfolio_id, None)
        done.again[portfolio.portfolio_id] = reason
