"""What was booked, and what each day was worth: read from the ledger, page by page."""

from __future__ import annotations

from datetime import date, timedelta
from typing import NamedTuple

from foliostream.application.access import Caller, own_portfolio
from foliostream.domain import cursors, history, keys, times
from foliostream.domain.history import Day
from foliostream.domain.portfolio import Transaction
from foliostream.ports import Clock, Ledger

PAGE_SIZE = 100
DEFAULT_DAYS = 30


class Booked(NamedTuple):
    """A page of transactions, newest first; ``cursor`` is None on the last one."""

    transactions: list[Transaction]
    cursor: str | None


def transactions(caller: Caller, portfolio_id: str, cursor: str | None, *, ledger: Ledger) -> Booked:
    """The newest ``PAGE_SIZE``, or those before the cursor's. A page never changes: what is booked meanwhile is newer
    than the first page, so walking on neither repeats nor leaves out anything."""
    portfolio = own_portfolio(caller, keys.portfolio_id(portfolio_id), ledger)
    newest = portfolio.last_sequence
    if cursor is not None:
        newest = min(newest, int(cursors.decode(_list_name(portfolio_id), cursor)))
    page = ledger.newest(portfolio_id, newest, PAGE_SIZE)
    rest = newest - len(page)
    return Booked(page, cursors.encode(_list_name(portfolio_id), str(rest)) if rest else None)


def _list_name(portfolio_id: str) -> str:
    return f"transactions of {portfolio_id}"


class History(NamedTuple):
    """Closed days, oldest first, and the range that was asked for."""

    first: str
    last: str
    days: list[Day]


def days(
    caller: Caller, portfolio_id: str, first: str | None, last: str | None, *, ledger: Ledger, clock: Clock
) -> History:
    """The rows of the days from ``first`` to ``last``, both included. Left out: until tomorrow (it is the next day
    already somewhere), and ``DEFAULT_DAYS`` before the last."""
    if last is None:
        last = _shifted(times.iso(clock.now_ms())[:10], 1)
    if first is None:
        first = _shifted(history.parse_day(last, "to"), -DEFAULT_DAYS)
    history.check_range(first, last)
    own_portfolio(caller, keys.portfolio_id(portfolio_id), ledger)
    return History(first, last, ledger.days(portfolio_id, first, last))


def _shifted(day: str, days_on: int) -> str:
    start = date.fromisoformat(day)
    end = date.min if days_on < 0 and (start - date.min).days < -days_on else start + timedelta(days=days_on)
    return end.isoformat()
