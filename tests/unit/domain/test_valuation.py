"""A cash portfolio's snapshot: definitions 11, 13-18 and the published examples. Margin and several currencies are
not covered."""

from __future__ import annotations

from decimal import Decimal

import pytest

from foliostream.domain import valuation
from foliostream.domain.price import Price
from foliostream.domain.valuation import NEVER_MS, PositionState
from tests.unit.domain.examples import (
    NOW,
    STALE_AFTER_MS,
    booked,
    buy,
    empty,
    funded,
    last,
    sell,
    state,
    stock,
    valued,
    withdrawal,
)

APPLE = booked(funded("15000"), buy("100", "150"))


def line(of: valuation.PortfolioState, symbol: str = "AAPL") -> PositionState:
    return next(item for item in of.positions if item.instrument_id == symbol)


def test_published_example_a_rise_since_the_open() -> None:
    figures = state(APPLE, {"AAPL": last("160", open="155")})
    assert (figures.total_value, line(figures).market_value) == (16000, 16000)
    assert (figures.daily_change, figures.daily_change_percent) == (500, Decimal("3.23"))
    assert figures.unrealized_pnl == 1000


def test_published_example_a_fall_since_the_open() -> None:
    figures = state(APPLE, {"AAPL": last("145", open="150")})
    assert (figures.total_value, figures.daily_change) == (14500, -500)
    assert figures.daily_change_percent == Decimal("-3.33")


def test_published_example_the_percent_of_two_positions_is_of_their_sum() -> None:
    both = booked(funded("115000"), buy("100", "150"), buy("50", "2000", instrument_id="GOOGL"))
    figures = state(both, {"AAPL": last("155", open="150"), "GOOGL": last("1950", open="2000")})
    assert (figures.total_value, figures.daily_change) == (113000, -2000)
    assert figures.daily_change_percent == Decimal("-1.74")


def test_published_example_of_the_state_document() -> None:
    books = booked(funded("998750"), buy("500", "147.75"), buy("1000", "874.875", instrument_id="OTHER"))
    figures = state(books, {"AAPL": last("150.25"), "OTHER": last("874.875")})
    apple = line(figures)
    assert (figures.total_value, figures.cash_balance) == (1_000_000, 50_000)
    assert str(apple.market_value) == "75125.00"
    assert apple.weight == figures.weights["AAPL"] == Decimal("0.075125")
    assert (apple.unrealized_pnl, apple.average_price) == (1250, Decimal("147.75"))


def test_published_example_of_profit_against_cost_and_not_against_the_day() -> None:
    both = booked(funded("24500"), buy("100", "150"), buy("50", "190", instrument_id="TSLA"))
    figures = state(both, {"AAPL": last("155", open="153"), "TSLA": last("180", open="181")})
    assert (line(figures).unrealized_pnl, line(figures).daily_change) == (500, 200)
    assert (line(figures, "TSLA").unrealized_pnl, line(figures, "TSLA").daily_change) == (-500, -50)
    assert figures.unrealized_pnl == 0


def test_a_short_position_has_a_negative_value_and_weight_and_gains_when_the_price_falls() -> None:
    short = booked(funded("1000", allow_short=True), sell("10", "50"))
    figures = state(short, {"AAPL": last("40", open="45")})
    apple = line(figures)
    assert (figures.total_value, apple.market_value, apple.unrealized_pnl) == (1100, -400, 100)
    assert apple.position_type == "SHORT"
    assert apple.cost_basis == 500
    assert (apple.weight, figures.weights["CASH:USD"]) == (Decimal("-0.363636"), Decimal("1.363636"))
    assert (figures.daily_change, figures.daily_change_percent) == (50, Decimal("11.11"))


def test_parts_sum_to_the_total_and_weights_with_cash_to_one() -> None:  # G5
    both = booked(funded("30000"), buy("100", "150"), buy("30", "33.333333", "1.1", instrument_id="MSFT"))
    figures = state(both, {"AAPL": last("160"), "MSFT": last("35")})
    assert sum(item.market_value for item in figures.positions) == figures.total_value
    assert abs(sum(figures.weights.values()) - 1) <= Decimal("0.000002")
    assert set(figures.weights) == {"AAPL", "MSFT", "CASH:USD"}
    assert [item.instrument_id for item in figures.positions] == ["AAPL", "MSFT", "CASH:USD"]


def test_realized_fees_and_deposits_are_shown_beside_each_other() -> None:
    after = booked(APPLE, sell("50", "160", "1.5"), withdrawal("100"))
    figures = state(after, {"AAPL": last("155")})
    assert (figures.realized_pnl, figures.fees_total, figures.net_deposits) == (500, Decimal("1.5"), 14900)
    # Definitions 8: cash + market value - net deposits = realized + unrealized - fees.
    assert figures.total_value - figures.net_deposits == figures.realized_pnl + figures.unrealized_pnl - Decimal("1.5")


def test_without_a_price_everything_that_needs_it_is_null_and_the_symbol_is_listed() -> None:  # G7
    both = booked(APPLE, sell("10", "150"), buy("1", "1000", instrument_id="MSFT"))
    figures = state(both, {"AAPL": last("160", open="155")})
    assert figures.calc_status == "unpriced"
    assert (figures.unpriced, figures.stale) == (["MSFT"], [])
    nulls = ("total_value", "weights", "unrealized_pnl", "daily_change", "daily_change_percent", "daily_pnl")
    assert {name: getattr(figures, name) for name in nulls} == dict.fromkeys(nulls)
    missing = line(figures, "MSFT")
    for name in ("mark", "market_value", "weight", "unrealized_pnl", "daily_change", "open", "price_ts"):
        assert getattr(missing, name) is None, name
    assert (missing.quantity, missing.average_price, missing.cost_basis) == (1, 1000, 1000)


def test_what_does_not_need_the_missing_price_is_still_shown() -> None:
    both = booked(APPLE, sell("10", "150"), buy("1", "1000", instrument_id="MSFT"))
    figures = state(both, {"AAPL": last("160", open="155")})
    assert (line(figures).market_value, line(figures).unrealized_pnl) == (14400, 900)
    assert (figures.cash_balance, figures.cash["USD"], figures.fees_total) == (500, 500, 0)


def test_half_a_quote_leaves_a_position_unpriced() -> None:
    figures = state(APPLE, {"AAPL": Price(bid=Decimal(150), quote_ts_ms=NOW)})
    assert (figures.calc_status, figures.unpriced) == ("unpriced", ["AAPL"])


def test_a_stale_price_degrades_and_its_figures_are_shown() -> None:  # G7
    old = last("160", ts_ms=NOW - STALE_AFTER_MS - 1, open="155")
    figures = state(APPLE, {"AAPL": old})
    assert (figures.calc_status, figures.stale, figures.unpriced) == ("degraded", ["AAPL"], [])
    assert (figures.total_value, figures.daily_change) == (16000, 500)


def test_a_price_of_just_the_limits_age_is_not_stale() -> None:
    assert state(APPLE, {"AAPL": last("160", ts_ms=NOW - STALE_AFTER_MS)}).calc_status == "ok"


def test_an_instruments_own_limit_counts_for_it() -> None:
    registry = {"AAPL": stock(max_age_seconds=10)}
    assert state(APPLE, {"AAPL": last("1", ts_ms=NOW - 10_001)}, instruments=registry).stale == ["AAPL"]
    assert state(APPLE, {"AAPL": last("1", ts_ms=NOW - 10_000)}, instruments=registry).stale == []


def test_the_price_that_marks_decides_the_age_and_not_a_newer_quote() -> None:
    quoted = Price(
        last=Decimal(160), last_ts_ms=NOW - STALE_AFTER_MS - 1, bid=Decimal(1), ask=Decimal(2), quote_ts_ms=NOW
    )
    assert state(APPLE, {"AAPL": quoted}).stale == ["AAPL"]


def test_an_unpriced_portfolio_stays_unpriced_when_it_is_stale_as_well() -> None:
    both = booked(APPLE, sell("10", "150"), buy("1", "1000", instrument_id="MSFT"))
    figures = state(both, {"AAPL": last("160", ts_ms=NOW - STALE_AFTER_MS - 1)})
    assert (figures.calc_status, figures.stale, figures.unpriced) == ("unpriced", ["AAPL"], ["MSFT"])


def test_staleness_is_derived_again_when_the_feed_is_silent() -> None:  # G7
    found = valued(APPLE, {"AAPL": last("160")})
    assert found.snapshot.fresh_until_ms == NOW + STALE_AFTER_MS + 1
    still = valuation.with_staleness(found.state, {}, STALE_AFTER_MS, found.snapshot.fresh_until_ms - 1)
    assert still == found.state
    silent = valuation.with_staleness(found.state, {}, STALE_AFTER_MS, found.snapshot.fresh_until_ms)
    assert (silent.calc_status, silent.stale, silent.total_value) == ("degraded", ["AAPL"], 16000)


def test_staleness_derived_again_knows_the_instruments_own_limit() -> None:
    found = valued(APPLE, {"AAPL": last("160")}, instruments={"AAPL": stock(max_age_seconds=10)})
    assert found.snapshot.fresh_until_ms == NOW + 10_001
    assert valuation.with_staleness(
        found.state, {"AAPL": stock(max_age_seconds=10)}, STALE_AFTER_MS, NOW + 10_001
    ).stale == ["AAPL"]


def test_a_price_does_not_age_while_its_market_is_closed() -> None:
    registry = {"AAPL": stock(hours="Mon-Fri 09:30-16:00 America/New_York")}
    opens_ms = NOW + 4 * 3_600_000  # it is 05:30 there
    found = valued(APPLE, {"AAPL": last("160")}, instruments=registry)
    assert found.snapshot.fresh_until_ms == opens_ms + STALE_AFTER_MS + 1
    closed = valuation.with_staleness(found.state, registry, STALE_AFTER_MS, opens_ms + STALE_AFTER_MS)
    assert closed.calc_status == "ok"
    opened = valuation.with_staleness(found.state, registry, STALE_AFTER_MS, opens_ms + STALE_AFTER_MS + 1)
    assert opened.stale == ["AAPL"]


def test_a_snapshot_is_fresh_until_the_first_of_its_prices_is_stale() -> None:
    both = booked(APPLE, sell("10", "150"), buy("1", "1000", instrument_id="MSFT"))
    found = valued(both, {"AAPL": last("160", ts_ms=NOW - 5), "MSFT": last("1")})
    assert found.snapshot.fresh_until_ms == NOW - 5 + STALE_AFTER_MS + 1


def test_cash_alone_is_never_stale() -> None:
    found = valued(funded("10"), {})
    assert found.snapshot.fresh_until_ms == NEVER_MS
    assert (found.state.calc_status, found.state.total_value, found.state.daily_change) == ("ok", 10, 0)
    assert found.state.weights == {"CASH:USD": 1}


def test_a_price_of_zero_values_at_zero_and_is_not_missing() -> None:  # G7
    figures = state(APPLE, {"AAPL": last("0", open="10")})
    assert (figures.calc_status, figures.unpriced) == ("ok", [])
    assert (line(figures).mark, line(figures).market_value, line(figures).unrealized_pnl) == (0, 0, -15000)
    assert (figures.daily_change, figures.daily_change_percent) == (-1000, -100)


@pytest.mark.parametrize("price", [last("160"), last("160", open="0")])
def test_a_position_without_an_open_is_left_out_of_the_day_and_listed(price: Price) -> None:
    both = booked(APPLE, sell("10", "150"), buy("1", "1000", instrument_id="MSFT"))
    figures = state(both, {"AAPL": price, "MSFT": last("1100", open="1000")})
    assert figures.daily_missing == ["AAPL"]
    assert (figures.daily_change, figures.daily_change_percent) == (100, 10)
    assert line(figures).daily_change is None
    assert figures.calc_status == "ok"


def test_where_no_position_has_an_open_the_day_is_null_and_not_zero() -> None:  # G7
    figures = state(APPLE, {"AAPL": last("160")})
    assert (figures.daily_change, figures.daily_change_percent, figures.daily_missing) == (None, None, ["AAPL"])


def test_a_total_of_zero_or_less_has_no_weights() -> None:
    gone = state(APPLE, {"AAPL": last("0")})
    assert (gone.total_value, gone.weights, line(gone).weight) == (0, None, None)
    short = booked(funded("1", allow_short=True), sell("1", "100"))
    below = state(short, {"AAPL": last("102")})
    assert (below.total_value, below.weights, line(below).weight) == (-1, None, None)
    nothing = state(empty(), {})
    assert (nothing.total_value, nothing.weights) == (0, None)


def test_the_version_rises_by_one_or_to_the_time_of_reading_whichever_is_more() -> None:  # G6
    assert valued(APPLE, {}, previous_version=0).state.version == NOW
    assert valued(APPLE, {}, previous_version=NOW - 1).state.version == NOW
    assert valued(APPLE, {}, previous_version=NOW).state.version == NOW + 1
    assert valued(APPLE, {}, previous_version=NOW + 7).state.version == NOW + 8


def test_the_snapshot_names_book_version_owner_and_the_time_of_its_newest_price() -> None:
    both = booked(APPLE, sell("10", "150"), buy("1", "1000", instrument_id="MSFT"))
    found = valued(both, {"AAPL": last("1", ts_ms=NOW - 9), "MSFT": last("1", ts_ms=NOW - 5)}, read_at_ms=NOW + 250)
    named = found.snapshot
    assert (named.portfolio_id, named.owner, named.read_at_ms) == ("12345", "alice", NOW + 250)
    assert named.ledger_version == found.state.ledger_version == both.version
    assert found.state.as_of == "2026-02-26T10:29:59.995Z"
    assert found.state.last_updated == "2026-02-26T10:30:00.250Z"
    assert valued(funded("1"), {}).state.as_of is None


def test_a_contract_size_counts_in_every_figure() -> None:
    tens = {"AAPL": stock(contract_size=Decimal(10))}
    held = booked(funded("1000"), buy("2", "50"), instruments=tens)
    figures = state(held, {"AAPL": last("60", open="55")}, instruments=tens)
    apple = line(figures)
    assert (figures.total_value, apple.market_value, apple.unrealized_pnl, apple.daily_change) == (1200, 1200, 200, 100)
    assert (apple.average_price, apple.multiplier) == (50, 10)
