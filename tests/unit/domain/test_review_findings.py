"""What a review of the books against their definitions asked: each names the definition it holds them to."""

from __future__ import annotations

from decimal import Decimal

import pytest

from foliostream.domain import portfolio as books
from foliostream.domain.portfolio import Entry
from foliostream.errors import CallerError
from tests.unit.domain.examples import (
    INSTRUMENTS,
    NOW,
    booked,
    buy,
    deposit,
    empty,
    funded,
    last,
    position,
    sell,
    state,
)

SECOND = 1_000


def in_kind(quantity: str, price: str) -> Entry:
    return Entry(
        transaction_id=f"kind {quantity}",
        transaction_type="ADJUSTMENT",
        timestamp_ms=NOW,
        instrument_id="AAPL",
        quantity=Decimal(quantity),
        price=Decimal(price),
        reason="broker's positions",
        in_kind=True,
    )


def split(at_ms: int = NOW, ratio: tuple[int, int] = (4, 1)) -> Entry:
    parts = (Decimal(ratio[0]), Decimal(ratio[1]))
    return Entry("split", "SPLIT", at_ms, instrument_id="AAPL", ratio=parts)


def test_a_transfer_in_kind_out_of_a_margin_account_leaves_its_balance_untouched() -> None:
    """Definitions 7: cash untouched, an external flow; 8 holds with what left on both sides."""
    account = booked(empty(account_kind="margin", leverage=Decimal(30)), deposit("10000"), buy("10", "100"))
    after = booked(account, in_kind("-4", "130"))
    assert after.cash == {"USD": Decimal(10_000)}
    assert after.realized_pnl == 120
    assert after.net_deposits == 10_000 - 120  # what the shares had gained left with them
    assert after.outflows_total == 120


def test_a_transfer_in_kind_into_a_margin_account_is_no_profit() -> None:
    account = booked(empty(account_kind="margin", leverage=Decimal(30)), deposit("10000"), in_kind("4", "130"))
    assert account.cash == {"USD": Decimal(10_000)}
    assert account.net_deposits == 10_000
    assert position(account).cost == 520


def test_a_price_of_before_a_split_is_divided_also_where_the_position_was_closed_and_opened_again() -> None:
    """Definitions 6: prices older than the split are used divided by it, whoever holds the shares by now."""
    account = booked(funded("10000"), buy("10", "100"), split(NOW + SECOND), now_ms=NOW + SECOND)
    later = {"timestamp_ms": NOW + 2 * SECOND}
    account = booked(account, sell("40", "25", **later), buy("40", "25", **later), now_ms=NOW + 2 * SECOND)
    shown = state(account, {"AAPL": last("100", ts_ms=NOW)}, read_at_ms=NOW + 3 * SECOND)
    assert shown.total_value == Decimal("10000.00")
    assert shown.calc_status == "degraded"


def test_only_an_adjustment_is_in_kind() -> None:
    """Definitions 4 and 8: a purchase is paid for."""
    with pytest.raises(CallerError):
        booked(funded("10000"), buy("10", "100", in_kind=True))


def test_many_small_lots_still_sum_to_the_position_after_an_odd_split() -> None:
    """Definitions 1: a split rounds the total once, the rest goes to the newest lot; no lot is turned round."""
    account = funded("10000", cost_basis="fifo")
    account = booked(account, *(buy("0.000001", "100") for _ in range(100)))
    after = position(booked(account, split(ratio=(2, 3))))
    assert after.quantity == Decimal("0.000067")
    assert sum(lot.quantity for lot in after.lots) == after.quantity
    assert sum(lot.cost for lot in after.lots) == after.cost == position(account).cost
    assert all(lot.quantity > 0 for lot in after.lots)


def test_a_split_that_pays_a_short_fraction_costs_cash_and_keeps_the_identity() -> None:
    account = booked(funded("10000", allow_short=True), sell("3", "100"))
    entry = Entry("s", "SPLIT", NOW, instrument_id="AAPL", ratio=(Decimal(1), Decimal(2)), cash_price=Decimal(200))
    after = booked(account, entry)
    assert position(after).quantity == -1
    assert position(after).cost == 200
    assert after.cash == {"USD": Decimal(10_200)}  # 300 of the sale, 100 for half a share
    assert after.realized_pnl == 0


def test_a_refused_entry_leaves_the_entries_before_it_unbooked() -> None:
    account = funded("1000")
    with pytest.raises(CallerError):
        books.apply(account, [buy("1", "100"), buy("100", "100")], INSTRUMENTS, NOW)
    assert account.cash == {"USD": Decimal(1000)}
    assert not account.positions
