"""What a fill does to a position and to cash: definitions 1 to 4. Margin accounts are not covered."""

from __future__ import annotations

from decimal import Decimal

import pytest

from foliostream.domain.portfolio import Portfolio
from tests.unit.domain.examples import NOW, booked, buy, funded, position, sell, stock

LONG = booked(funded("10000"), buy("100", "50", "19.95"))
SHORT = booked(funded("10000", allow_short=True), sell("100", "50", "19.95"))


def facts(portfolio: Portfolio) -> tuple[str, str, str, str]:
    """quantity, average price, realized profit of the portfolio, cash."""
    held = position(portfolio)
    return tuple(
        f"{amount.normalize():f}"
        for amount in (held.quantity, held.average_price, portfolio.realized_pnl, portfolio.cash["USD"])
    )


def test_a_buy_opens_a_long_position_at_its_price_with_the_fee_beside_it() -> None:
    assert facts(LONG) == ("100", "50", "0", "4980.05")
    assert position(LONG).fees == LONG.fees_total == Decimal("19.95")


def test_a_sale_of_nothing_opens_a_short_position_and_adds_cash_where_that_is_allowed() -> None:
    assert facts(SHORT) == ("-100", "50", "0", "14980.05")
    assert position(SHORT).cost == 5000


def test_adding_moves_the_average_by_quantity_and_not_by_fees() -> None:
    # The published case: 100 at 50 + 19.95, then 50 at 60 + 15. Fees stay out of the average (definitions 2).
    added = booked(LONG, buy("50", "60", "15"))
    assert position(added).cost == 8000
    assert round(position(added).average_price, 6) == Decimal("53.333333")
    assert added.fees_total == position(added).fees == Decimal("34.95")


def test_adding_to_a_short_position_moves_the_average_in_the_same_way() -> None:
    added = booked(SHORT, sell("50", "60"))
    assert position(added).quantity == -150
    assert position(added).cost == 8000


def test_a_partial_close_keeps_the_average_and_realizes_the_difference() -> None:
    before = booked(LONG, buy("50", "60", "15"))
    after = booked(before, sell("30", "70"))
    assert position(after).quantity == 120
    assert round(position(after).average_price, 6) == Decimal("53.333333")
    assert after.realized_pnl == position(after).realized_pnl == 30 * 70 - 1600
    assert after.cash["USD"] == before.cash["USD"] + 2100


def test_a_partial_close_of_a_short_position_gains_when_the_price_fell() -> None:
    after = booked(SHORT, buy("40", "45"))
    assert facts(after) == ("-60", "50", "200", "13180.05")


def test_what_a_close_removes_from_the_cost_is_rounded_half_even_to_ten_decimals() -> None:
    after = booked(funded("100"), buy("3", "3.333333"), sell("1", "4"), sell("1", "4"))
    # 9.999999 / 3 = 3.333333 exactly; of what is left, again a half.
    assert position(after).cost == Decimal("3.333333")
    thirds = booked(funded("100"), buy("1", "1"), buy("2", "2"), sell("1", "4"))
    assert position(thirds).cost == 5 - Decimal("1.6666666667")
    assert thirds.realized_pnl == 4 - Decimal("1.6666666667")


def test_a_full_close_takes_the_position_away_and_realizes_all_of_it() -> None:
    after = booked(LONG, sell("100", "49", "5"))
    assert after.positions == {}
    assert after.realized_pnl == -100
    assert after.fees_total == Decimal("24.95")
    assert after.cash["USD"] == Decimal("9875.05")


def test_a_full_close_of_a_short_position_realizes_all_of_it() -> None:
    after = booked(SHORT, buy("100", "51"))
    assert after.positions == {}
    assert after.realized_pnl == -100


def test_closing_in_thirds_leaves_no_cost_behind() -> None:
    after = booked(funded("100"), buy("1", "1"), buy("2", "2"), *[sell("1", "2")] * 3)
    assert after.positions == {}
    assert after.realized_pnl == 1


def test_a_sale_beyond_the_holding_flips_at_the_fill_price_and_splits_the_fee() -> None:
    long = booked(funded("10000", allow_short=True), buy("100", "50", "2"))
    after = booked(long, sell("150", "60", "3", timestamp_ms=NOW + 7))
    assert facts(after) == ("-50", "60", "1000", "13995")
    held = position(after)
    assert held.fees == 1, "two thirds of the fee closed the long position"
    assert held.realized_pnl == 0, "the rest is a new position"
    assert held.opened_at_ms == NOW + 7
    assert after.fees_total == 5


def test_a_buy_beyond_a_short_position_flips_it_to_long() -> None:
    after = booked(SHORT, buy("130", "40", "13"))
    assert facts(after) == ("30", "40", "1000", "9767.05")
    assert position(after).fees == 3


def test_the_closing_share_of_a_flips_fee_is_rounded_half_even_and_the_opening_part_bears_the_rest() -> None:
    long = booked(funded("10000", allow_short=True), buy("1", "50"))
    after = booked(long, sell("3", "50", "1"))
    assert position(after).fees == 1 - Decimal("0.3333333333")


@pytest.mark.parametrize("quantity", ["1", "40", "100"])
def test_a_round_trip_at_one_price_costs_the_fees_only(quantity: str) -> None:
    after = booked(funded("10000"), buy(quantity, "50", "1"), sell(quantity, "50", "1"))
    assert after.cash["USD"] == 9998
    assert (after.realized_pnl, after.fees_total) == (0, 2)


def test_a_position_that_was_closed_and_opened_again_starts_anew() -> None:
    after = booked(LONG, sell("100", "70"), buy("10", "80", "1", timestamp_ms=NOW + 5))
    held = position(after)
    assert (held.realized_pnl, held.fees, held.opened_at_ms) == (0, 1, NOW + 5)
    assert after.realized_pnl == 2000


def test_adding_and_reducing_keep_the_time_of_opening() -> None:
    later = booked(LONG, buy("1", "50", timestamp_ms=NOW + 1), sell("1", "50", timestamp_ms=NOW + 2))
    assert position(later).opened_at_ms == NOW
    assert position(later).updated_at_ms == NOW + 2


def test_a_contract_size_multiplies_cost_cash_and_profit() -> None:
    tens = {"AAPL": stock(contract_size=Decimal(10))}
    after = booked(funded("10000"), buy("2", "50"), sell("1", "60"), instruments=tens)
    assert after.cash["USD"] == 9600
    assert after.realized_pnl == 100
    assert position(after).average_price == 50
