"""Lists of a ledger: transactions by their number, closed days, changes, and the walk over all portfolios."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from foliostream.adapters import dynamodb_batch
from foliostream.adapters.dynamodb_ledger import DynamoDbLedger
from foliostream.domain import changes
from foliostream.domain import portfolio as rules
from foliostream.domain.changes import Standing
from foliostream.domain.history import Day
from foliostream.domain.instrument import Instrument
from foliostream.domain.portfolio import Portfolio
from foliostream.errors import ConflictError, RetryableError
from foliostream.ports import WALK_BUCKETS, Ledger
from tests.contract.ledger.books import NOW_MS, booked, buy, commit, deposit, empty
from tests.contract.ledger.conftest import Subject
from tests.support.ministack import Emulator


def row(day: str, value: str = "1000000.000001") -> Day:
    amount = Decimal(value)
    return Day(day, NOW_MS, 1, "ok", amount, amount, Decimal(0), None, None, None, Decimal("-1.50"), ["KO"], amount,
               Decimal(0), amount, Decimal("0.1"))  # fmt: skip


def closed(portfolio: Portfolio, day: str) -> Portfolio:
    return replace(portfolio, version=portfolio.version + 1, closed_day=day)


# --- transactions ---------------------------------------------------------------------------------------------------


def test_transactions_are_listed_newest_first_with_those_of_the_creation(ledger: Ledger) -> None:
    newest, first = booked(empty("p1"), deposit("t1"), deposit("t2"))
    ledger.create(newest, first, "digest")
    newest = commit(ledger, newest, deposit("t3"), buy("t4", "AAPL"))
    assert newest.last_sequence == 4
    listed = ledger.newest("p1", 4, 10)
    assert [(item.sequence, item.entry.transaction_id) for item in listed] == [
        (4, "t4"),
        (3, "t3"),
        (2, "t2"),
        (1, "t1"),
    ]
    assert listed[2:] == [first[1], first[0]]


def test_a_list_begins_at_any_number_and_ends_at_the_limit_or_at_the_first(ledger: Ledger) -> None:
    ledger.create(empty("p1"), [], "digest")
    newest = commit(ledger, empty("p1"), *(deposit(f"t{number}") for number in range(1, 41)))
    commit(ledger, newest, *(deposit(f"t{number}") for number in range(41, 81)))
    for sequence, limit, expected in ((80, 3, [80, 79, 78]), (42, 4, [42, 41, 40, 39]), (2, 9, [2, 1]), (0, 9, [])):
        assert [item.sequence for item in ledger.newest("p1", sequence, limit)] == expected


def test_forty_entries_still_fit_into_one_change_with_forty_new_symbols(ledger: Ledger) -> None:
    # 1 portfolio, 40 transactions and 40 holders: being listed needs no item of its own.
    ledger.create(empty("p1"), [], "digest")
    names = {f"S{number}": Instrument(f"S{number}", "stock", "USD") for number in range(40)}
    after, transactions = rules.apply(empty("p1"), [buy(name, name) for name in names], names, NOW_MS)
    ledger.commit(after, transactions, list(names), [])
    assert len(ledger.newest("p1", 40, 100)) == 40


def test_another_portfolios_transactions_are_not_listed(ledger: Ledger) -> None:
    for name in ("p1", "p10", "p"):
        ledger.create(empty(name), [], "digest")
        commit(ledger, empty(name), deposit(f"of-{name}"))
    assert [item.entry.transaction_id for item in ledger.newest("p1", 1, 10)] == ["of-p1"]


def test_an_index_that_lags_behind_is_waited_for_and_then_named(
    ministack: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dynamodb_batch, "PAUSE_MS_MAX", 1)
    ledger = DynamoDbLedger(ministack.dynamodb(), ministack.ledger_table())
    ledger.create(*booked(empty("p1"), deposit("t1")), "digest")
    with pytest.raises(RetryableError, match="by_sequence"):
        ledger.newest("p1", 2, 10)


# --- days -----------------------------------------------------------------------------------------------------------


def test_days_are_kept_digit_by_digit_and_listed_oldest_first(ledger: Ledger) -> None:
    ledger.create(empty("p1"), [], "digest")
    book = empty("p1")
    for day in ("2026-02-25", "2026-02-26", "2026-03-02"):
        book = closed(book, day)
        ledger.close_day(book, row(day))
    assert ledger.load(["p1"])["p1"] == book
    assert ledger.days("p1", "2026-02-26", "2026-03-02") == [row("2026-02-26"), row("2026-03-02")]
    assert ledger.days("p1", "2026-02-27", "2026-03-01") == []
    assert ledger.last_day("p1") == row("2026-03-02")
    assert ledger.last_day("p2") is None


def test_a_day_without_a_row_is_only_the_next_version(ledger: Ledger) -> None:
    ledger.create(empty("p1"), [], "digest")
    ledger.close_day(closed(empty("p1"), "2026-02-26"), None)
    assert ledger.load(["p1"])["p1"].closed_day == "2026-02-26"
    assert ledger.last_day("p1") is None


def test_a_day_closed_on_an_old_version_is_refused_with_its_row(ledger: Ledger) -> None:
    ledger.create(empty("p1"), [], "digest")
    commit(ledger, empty("p1"), deposit("t1"))
    with pytest.raises(ConflictError) as refused:
        ledger.close_day(closed(empty("p1"), "2026-02-26"), row("2026-02-26"))
    assert refused.value.code == "VERSION_CONFLICT"
    assert ledger.last_day("p1") is None


def test_a_row_is_never_written_over(ledger: Ledger) -> None:
    ledger.create(empty("p1"), [], "digest")
    book = closed(empty("p1"), "2026-02-26")
    ledger.close_day(book, row("2026-02-26"))
    with pytest.raises(ConflictError) as refused:
        ledger.close_day(closed(book, "2026-02-26"), row("2026-02-26", "2"))
    assert refused.value.code == "DAY_EXISTS"
    assert ledger.days("p1", "2026-02-26", "2026-02-26") == [row("2026-02-26")]


def test_a_close_may_end_dependencies(subject: Subject) -> None:
    ledger = subject.ledger
    ledger.create(empty("p1"), [], "digest")
    book = commit(ledger, empty("p1"), buy("t1", "AAPL"))
    ledger.close_day(closed(book, "2026-02-26"), None, ["AAPL"])
    assert subject.holders("AAPL", "live") == set()


# --- changes --------------------------------------------------------------------------------------------------------


def test_a_change_makes_the_next_version(ledger: Ledger) -> None:
    ledger.create(empty("p1"), [], "digest")
    book = empty("p1")
    for status in ("SUSPENDED", "ACTIVE", "LIQUIDATING"):
        amended = changes.amend(book, Standing(status, allow_short=True), "alice", NOW_MS)  # type: ignore[arg-type]
        assert amended is not None
        ledger.amend(*amended)
        book, _ = amended
    assert ledger.load(["p1"])["p1"] == book
    assert (book.version, book.status, book.allow_short) == (4, "LIQUIDATING", True)


def test_a_change_of_an_old_version_is_refused(ledger: Ledger) -> None:
    ledger.create(empty("p1"), [], "digest")
    commit(ledger, empty("p1"), deposit("t1"))
    amended = changes.amend(empty("p1"), Standing("SUSPENDED", allow_short=False), "alice", NOW_MS)
    assert amended is not None
    with pytest.raises(ConflictError) as refused:
        ledger.amend(*amended)
    assert refused.value.code == "VERSION_CONFLICT"


# --- the walk -------------------------------------------------------------------------------------------------------


def test_the_walk_meets_every_portfolio_once_also_page_by_page(ledger: Ledger) -> None:
    names = {f"p{number}" for number in range(60)}
    for name in names:
        ledger.create(*booked(empty(name), deposit("t1")), "digest")
    for limit in (2, 100):
        met: list[str] = []
        for bucket in range(WALK_BUCKETS):
            cursor = None
            while True:
                page = ledger.walk(bucket, cursor, limit)
                met += page.portfolio_ids
                assert len(page.portfolio_ids) <= limit
                cursor = page.cursor
                if cursor is None:
                    break
        assert sorted(met) == sorted(names)
