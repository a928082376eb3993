"""Lines of an update as entries of the books."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from foliostream.api.conversion import derived_id, entries
from foliostream.api.models import UpdateRequest
from foliostream.domain.portfolio import Entry
from foliostream.errors import CallerError

NOON_MS = 1_772_107_200_000


def convert(*lines: dict[str, Any], key: str | None = None) -> list[Entry]:
    body = UpdateRequest.model_validate({"portfolio_id": "p", "timestamp": "2026-02-26T12:00:00Z", "updates": lines})
    return entries(body, "p", key, [f"unused-{number}" for number in range(len(lines))])


def trade(kind: str, quantity: object, **more: object) -> dict[str, Any]:
    return {"transaction_type": kind, "instrument_id": "AAPL", "quantity_change": quantity, "price": "150.25"} | more


def test_a_buy_keeps_its_sign_and_a_sell_may_be_written_with_either() -> None:
    buy, sell, sold = convert(trade("BUY", 5), trade("SELL", 5), trade("SELL", -5))
    assert [line.quantity for line in (buy, sell, sold)] == [5, -5, -5]
    assert buy == Entry("unused-0", "BUY", NOON_MS, "AAPL", Decimal(5), Decimal("150.25"))


def test_a_line_has_the_time_of_the_update_unless_it_names_its_own() -> None:
    lines = convert(
        trade("BUY", 1), trade("BUY", 1, timestamp=5), trade("BUY", 1, timestamp="2026-02-26T13:00:00+01:00")
    )
    assert [line.timestamp_ms for line in lines] == [NOON_MS, 5, NOON_MS]


def test_a_transaction_id_is_the_lines_own_else_of_the_key_else_unused() -> None:
    assert [line.transaction_id for line in convert(trade("BUY", 1, transaction_id="t"), trade("BUY", 1))] == [
        "t",
        "unused-0",
    ]
    keyed = convert(trade("BUY", 1, transaction_id="t"), trade("BUY", 1), key="k")
    assert [line.transaction_id for line in keyed] == ["t", "k:1"]


@pytest.mark.parametrize(
    ("line", "amount", "currency"),
    [
        ({"amount": "10.50"}, "10.50", None),
        ({"quantity_change": 10}, "10", None),
        ({"quantity_change": 10, "price": "1.5"}, "15.0", None),
        ({"quantity_change": 10, "price": 2, "amount": 20}, "20", None),
        ({"quantity_change": 10, "instrument_id": "CASH:EUR"}, "10", "EUR"),
        ({"amount": 10, "currency": "EUR"}, "10", "EUR"),
        ({"amount": 10, "currency": "EUR", "instrument_id": "CASH:EUR"}, "10", "EUR"),
    ],
)
@pytest.mark.parametrize("kind", ["DEPOSIT", "WITHDRAWAL"])
def test_a_cash_movement_has_an_amount_however_it_is_given(
    kind: str, line: dict[str, Any], amount: str, currency: str | None
) -> None:
    [entry] = convert({"transaction_type": kind} | line)
    assert entry == Entry("unused-0", kind, NOON_MS, amount=Decimal(amount), currency=currency)  # type: ignore[arg-type]


def test_a_withdrawal_may_be_written_with_either_sign_and_a_deposit_may_not() -> None:
    [out] = convert({"transaction_type": "WITHDRAWAL", "quantity_change": -10})
    assert out.amount == 10
    [out] = convert({"transaction_type": "WITHDRAWAL", "amount": -10})
    assert out.amount == 10
    [deposit] = convert({"transaction_type": "DEPOSIT", "quantity_change": -10})
    assert deposit.amount == -10  # which the books refuse


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({"quantity_change": 10, "amount": 11}, "not quantity_change times price"),
        ({"amount": 10, "price": 2}, "has no price without quantity_change"),
        ({"quantity_change": -5, "price": -2}, "price of a DEPOSIT is above zero, not -2"),
        ({"quantity_change": 5, "price": 0}, "price of a DEPOSIT is above zero, not 0"),
        ({"amount": 1, "currency": "USD", "instrument_id": "CASH:EUR"}, "differ"),
        ({"amount": 1, "instrument_id": "AAPL"}, "CASH: and a currency"),
        ({"amount": 1, "instrument_id": "CASH:"}, "currency must be"),
        ({"amount": 1, "currency": "euro"}, "currency must be"),
        ({"amount": 1, "fee": 1}, "has no fee"),
        ({}, "needs amount"),
    ],
)
def test_a_cash_movement_that_contradicts_itself_is_refused_naming_the_line(line: dict[str, Any], says: str) -> None:
    with pytest.raises(CallerError, match=says) as refused:
        convert(trade("BUY", 1), {"transaction_type": "DEPOSIT"} | line)
    assert refused.value.details == [{"index": 1, "transaction_id": "unused-1"}]


def test_derived_ids_differ_by_owner_and_key_also_where_their_texts_join_alike() -> None:
    assert derived_id("al", "ice") == derived_id("al", "ice")
    assert len({derived_id("al", "ice"), derived_id("ali", "ce"), derived_id("al", "ice2")}) == 3
