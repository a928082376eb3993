"""What the books refuse, with which figures, and that a refusal leaves them as they were."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from foliostream.domain import portfolio as books
from foliostream.domain.portfolio import MAX_POSITIONS, Entry, Portfolio, Transaction
from foliostream.errors import CallerError, RefusedError
from tests.unit.domain.examples import (
    INSTRUMENTS,
    NOW,
    booked,
    buy,
    deposit,
    empty,
    funded,
    position,
    sell,
    stock,
    withdrawal,
)


def refusal(portfolio: Portfolio, *entries: Entry, **others: Any) -> CallerError:  # noqa: ANN401
    before = books.encode(portfolio)
    with pytest.raises(CallerError) as refused:
        books.apply(portfolio, entries, others.get("instruments", INSTRUMENTS), NOW)
    assert books.encode(portfolio) == before
    return refused.value


def test_a_deposit_and_a_withdrawal_move_cash_and_net_deposits() -> None:
    after = booked(funded("1000"), withdrawal("250.25"))
    assert after.cash["USD"] == after.net_deposits == Decimal("749.75")


def test_cash_may_be_withdrawn_to_the_last_cent_and_not_further() -> None:
    assert booked(funded("1000"), withdrawal("1000")).cash["USD"] == 0
    fault = refusal(funded("1000"), withdrawal("1000.01"))
    assert fault.code == "INSUFFICIENT_CASH"
    assert fault.message == "1000.01 USD needed, 1000 available"
    assert fault.details[0] == {"currency": "USD", "needed": "1000.01", "available": "1000"}


def test_a_buy_beyond_the_cash_is_refused_with_what_it_needs_fee_included() -> None:
    assert booked(funded("1001.50"), buy("10", "100", "1.50")).cash["USD"] == 0
    fault = refusal(funded("1001.49"), buy("10", "100", "1.50"))
    assert isinstance(fault, RefusedError)
    assert fault.code == "INSUFFICIENT_CASH"
    assert fault.details[0] == {"currency": "USD", "needed": "1001.5", "available": "1001.49"}


def test_a_sale_beyond_the_holding_is_refused_with_what_is_held() -> None:
    fault = refusal(booked(funded("1000"), buy("3", "100")), sell("4", "100"))
    assert fault.code == "INSUFFICIENT_POSITION"
    assert fault.details[0] == {"symbol": "AAPL", "held": "3", "asked": "4"}
    assert "4 AAPL to sell, 3 held" in fault.message


def test_figures_in_an_error_are_never_in_exponent_form() -> None:
    fault = refusal(funded("1E+3"), sell("1E+2", "1E+1"))
    assert fault.details[0] == {"symbol": "AAPL", "held": "0", "asked": "100"}
    assert "100 AAPL to sell" in fault.message


def test_selling_what_is_not_held_is_refused_unless_short_sales_are_allowed() -> None:
    assert refusal(funded("1000"), sell("1", "100")).code == "INSUFFICIENT_POSITION"
    short = booked(funded("1000", allow_short=True), sell("1", "100"))
    assert short.cash["USD"] == 1100


def test_covering_a_short_position_needs_the_cash_for_it() -> None:
    short = booked(funded("0.01", allow_short=True), sell("1", "100"))
    assert refusal(short, buy("1", "100.02")).code == "INSUFFICIENT_CASH"
    assert booked(short, buy("1", "100.01")).cash["USD"] == 0


def test_a_deposit_into_a_debt_that_a_fee_made_is_taken() -> None:
    indebted = booked(funded("100"), buy("1", "100"), sell("1", "1", "30"))
    assert indebted.cash["USD"] == -29
    assert booked(indebted, deposit("10")).cash["USD"] == -19
    assert refusal(indebted, withdrawal("1")).code == "INSUFFICIENT_CASH"


def test_all_entries_are_booked_or_none_and_the_error_names_the_one_at_fault() -> None:
    fault = refusal(funded("1000"), buy("5", "100"), withdrawal("500.01", transaction_id="late"), deposit("1"))
    assert fault.details[-1] == {"index": 1, "transaction_id": "late"}


def test_entries_see_what_the_ones_before_them_did() -> None:
    after, transactions = books.apply(empty(), [deposit("500"), buy("5", "100"), sell("5", "101")], INSTRUMENTS, NOW)
    assert after.cash["USD"] == 505
    assert [item.cash_change for item in transactions] == [500, -500, 505]
    assert [item.quantity_after for item in transactions] == [0, 5, 0]
    assert [item.realized_pnl for item in transactions] == [0, 0, 5]


def test_one_update_is_one_version_and_its_records_carry_it() -> None:
    before = funded("1000")
    after, transactions = books.apply(before, [buy("1", "1"), buy("1", "1")], INSTRUMENTS, NOW + 9)
    assert after.version == before.version + 1
    assert {item.ledger_version for item in transactions} == {after.version}
    assert {item.booked_at_ms for item in transactions} == {after.updated_at_ms} == {NOW + 9}


def test_the_thousandth_position_is_taken_and_the_next_refused() -> None:
    names = [f"S{number}" for number in range(MAX_POSITIONS + 1)]
    instruments = {name: stock(name) for name in names}
    one = position(booked(funded("1"), buy("1", "1")))
    full = msgspec.structs.replace(funded("2"), positions=dict.fromkeys(names[1:-1], one))
    full = booked(full, buy("1", "1", instrument_id=names[0]), instruments=instruments)
    assert len(full.positions) == MAX_POSITIONS == 1000
    fault = refusal(full, buy("1", "1", instrument_id=names[-1]), instruments=instruments)
    assert fault.code == "TOO_MANY_POSITIONS"
    assert (
        booked(full, buy("1", "1", instrument_id=names[5]), instruments=instruments).positions[names[5]].quantity == 2
    )


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (buy("1.0000001", "1"), "quantity_change has at most 6 decimals"),
        (buy("1", "1.0000001"), "price has at most 6 decimals"),
        (buy("1", "1", "0.0000001"), "fee has at most 6 decimals"),
        (buy("1000000000000000", "1"), "quantity_change has at most 15 digits"),
        (buy("1", "1E15"), "price has at most 15 digits"),
        (buy("1", "0"), "price must not be zero"),
        (buy("0", "1"), "quantity_change must not be zero"),
        (buy("1", "-1"), "price must not be negative"),
        (buy("1", "1", "-0.01"), "fee must not be negative"),
        (buy("NaN", "1"), "quantity_change must be a finite number"),
        (buy("sNaN", "1"), "quantity_change must be a finite number"),
        (buy("1", "Infinity"), "price must be a finite number"),
        (buy("1", "1", "NaN"), "fee must be a finite number"),
        (buy("-1", "1"), "does not fit BUY"),
        (sell("-1", "1"), "does not fit SELL"),
        (deposit("0"), "amount must not be zero"),
        (deposit("-1"), "amount must not be negative"),
        (withdrawal("-1"), "amount must not be negative"),
        (deposit("NaN"), "amount must be a finite number"),
        (deposit("0.0000001"), "amount has at most 6 decimals"),
    ],
)
def test_an_amount_that_is_no_amount_is_refused_naming_field_and_limit(entry: Entry, says: str) -> None:
    assert says in refusal(funded("1000000"), entry).message


def test_trailing_zeros_are_no_decimals() -> None:
    assert position(booked(funded("10"), buy("1.0000000", "2.00000000"))).cost == 2


def test_the_largest_amounts_stay_exact() -> None:
    rich = booked(empty(), *[deposit("999999999999999.999999")] * 2)
    assert rich.cash["USD"] == Decimal("1999999999999999.999998")
    owner = booked(rich, buy("99999.999999", "999999999.999999"))
    assert owner.cash["USD"] == Decimal("1900000000001000.099997999999")


def test_a_price_of_zero_is_taken_where_the_instrument_allows_it() -> None:
    free = {"AAPL": stock(allow_zero=True)}
    assert booked(empty(), buy("5", "0"), instruments=free).positions["AAPL"].cost == 0


def test_an_instrument_nobody_registered_is_refused() -> None:
    fault = refusal(funded("1000"), buy("1", "1", instrument_id="NOPE"))
    assert (fault.code, "NOPE" in fault.message) == ("UNKNOWN_SYMBOL", True)


@pytest.mark.parametrize("kind", ["forex", "cfd"])
def test_forex_and_cfd_need_a_margin_account(kind: str) -> None:
    fault = refusal(funded("1000"), buy("1", "1"), instruments={"AAPL": stock(kind=kind)})
    assert fault.code == "MARGIN_ACCOUNT_NEEDED"


@pytest.mark.parametrize("entry", [deposit("1", currency="EUR"), deposit("1", instrument_id="CASH:EUR")])
def test_another_currency_without_a_rate_is_refused_and_never_taken_at_one_to_one(entry: Entry) -> None:
    fault = refusal(funded("1000"), entry)
    assert (fault.code, fault.details[0]["pairs"][:2]) == ("RATE_MISSING", ["EURUSD", "USDEUR"])


def test_the_cash_instrument_of_the_own_currency_names_the_currency() -> None:
    assert booked(empty(), deposit("7", instrument_id="CASH:USD")).cash["USD"] == 7


def test_a_time_five_seconds_ahead_is_taken_and_a_millisecond_more_refused() -> None:
    assert booked(empty(), deposit("1", timestamp_ms=NOW + 5000)).cash["USD"] == 1
    assert refusal(empty(), deposit("1", timestamp_ms=NOW + 5001)).code == "TIMESTAMP_IN_FUTURE"


def test_a_book_and_its_transactions_come_back_from_storage_as_they_were() -> None:
    before = booked(funded("1000.10"), buy("0.333333", "33.330000", "0.07"))
    after, transactions = books.apply(before, [sell("0.111111", "34", "0.01")], INSTRUMENTS, NOW)
    assert books.decode(books.encode(after)) == after
    stored = [books.decode_transaction(books.encode_transaction(item)) for item in transactions]
    assert stored == transactions
    assert isinstance(stored[0], Transaction)


@pytest.mark.parametrize("broken", [b"", b"{}", b"[]", b'{"portfolio_id": 5}'])
def test_a_stored_book_that_cannot_be_read_says_so(broken: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        books.decode(broken)


def test_a_repeated_entry_is_known_however_its_amounts_are_written() -> None:
    once = buy("10", "100.50", "1", transaction_id="x")
    assert buy("10.0", "100.5", "1.000", transaction_id="x").digest == once.digest
    assert buy("1E+1", "100.5", "1", transaction_id="x").digest == once.digest
    others = [
        buy("10", "100.51", "1"),
        buy("10", "100.5", "1.1"),
        buy("11", "100.5", "1"),
        sell("10", "100.5", "1"),
        buy("10", "100.5", "1", instrument_id="MSFT"),
        buy("10", "100.5", "1", timestamp_ms=NOW + 1),
    ]
    assert once.digest not in {other.digest for other in others}
