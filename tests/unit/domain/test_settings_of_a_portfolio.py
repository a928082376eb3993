"""What an owner may change, and how its record and the book are stored."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from foliostream.domain import changes
from foliostream.domain import portfolio as books
from foliostream.domain.changes import Standing
from foliostream.domain.margin_states import thresholds
from foliostream.errors import CallerError
from tests.unit.domain.accounts import account
from tests.unit.domain.examples import NOW, booked, buy, deposit, empty, funded


def test_a_change_of_the_interval_is_a_version_of_the_book_and_a_record_of_before_and_after() -> None:
    before = funded("1000")
    wanted = replace(changes.standing(before), update_interval_ms=60_000)
    amended = changes.amend(before, wanted, "alice", NOW + 1)
    assert amended is not None
    after, change = amended
    assert (after.version, after.update_interval_ms) == (before.version + 1, 60_000)
    assert replace(after, version=before.version, update_interval_ms=None, updated_at_ms=before.updated_at_ms) == before
    assert (change.before.update_interval_ms, change.after.update_interval_ms) == (None, 60_000)
    assert changes.amend(after, wanted, "alice", NOW + 2) is None
    assert changes.status_event(change) is None


@pytest.mark.parametrize("interval_ms", [None, 1_000, 900_000])
def test_records_and_books_are_stored_without_a_loss(interval_ms: int | None) -> None:
    book = replace(funded("1000"), update_interval_ms=interval_ms)
    assert books.decode(books.encode(book)) == book
    amended = changes.amend(book, Standing("SUSPENDED", allow_short=True, update_interval_ms=5_000), "alice", NOW)
    assert amended is not None
    assert changes.decode(changes.encode(amended[1])) == amended[1]


def test_records_and_books_of_before_there_were_intervals_are_read_as_without_one() -> None:
    assert b"update_interval_ms" in books.encode(empty())
    old_book = books.encode(empty()).replace(b',"update_interval_ms":null', b"")
    assert books.decode(old_book) == empty()
    amended = changes.amend(empty(), Standing("SUSPENDED", allow_short=False), "alice", NOW)
    assert amended is not None
    old_change = changes.encode(amended[1]).replace(b',"update_interval_ms":null', b"")
    assert changes.decode(old_change) == amended[1]


def test_transactions_leave_the_interval_as_it_is_in_whatever_order_they_are_booked() -> None:
    entries = [deposit("10000"), buy("10", "100"), buy("5", "90")]
    slow = booked(replace(empty(), update_interval_ms=60_000), *entries)
    assert replace(slow, update_interval_ms=None) == booked(empty(), *entries)


def test_levels_that_were_taken_once_keep_no_other_change_away() -> None:
    """The deployment's may have moved since."""
    book = account("1000", margin_call_percent=Decimal(45))
    amended = changes.amend(book, replace(changes.standing(book), status="SUSPENDED"), "alice", NOW)
    assert amended is not None
    assert amended[0].status == "SUSPENDED"
    with pytest.raises(CallerError):
        changes.amend(book, replace(changes.standing(book), auto_liquidate=True), "alice", NOW)


def test_a_level_that_is_left_out_is_the_one_of_the_account_type() -> None:
    book = account("1000")
    wanted = replace(changes.standing(book), margin_call_percent=Decimal(45))
    with pytest.raises(CallerError):
        changes.amend(book, wanted, "alice", NOW)
    assert changes.amend(book, wanted, "alice", NOW, thresholds(Decimal(100), Decimal(20))) is not None
