"""Figures over a daily history: worked by hand and from published vectors, and what cannot be computed says why."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliostream.domain import analytics
from foliostream.domain.analytics import Figure, Flow, UnknownFigureError, figure, track
from foliostream.domain.history import Day

R = [0.01, -0.02, 0.03, 0.0]


def day(number: int, value: str, inflows: str = "0", outflows: str = "0") -> Day:
    return Day(
        day=(date(2026, 1, 1) + timedelta(number)).isoformat(),
        closed_at_ms=0,
        ledger_version=1,
        calc_status="ok",
        total_value=Decimal(value),
        cash_balance=None,
        realized_pnl=Decimal(0),
        unrealized_pnl=None,
        daily_change=None,
        daily_change_percent=None,
        daily_pnl=None,
        daily_missing=[],
        inflows=Decimal(inflows),
        outflows=Decimal(outflows),
        inflows_total=Decimal(0),
        outflows_total=Decimal(0),
    )


def close(found: float, wanted: float) -> bool:
    return math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-12)


def test_a_return_counts_inflows_at_the_start_and_outflows_at_the_end_of_the_day() -> None:
    rows = [day(0, "100"), day(1, "110"), day(2, "180", inflows="60"), day(3, "99", outflows="81")]
    assert track(rows).returns == pytest.approx([0.1, 180 / 170 - 1, 0.0], abs=1e-15)
    # the definitions' vector: 100 -> 110, +60, -> 180
    assert round(analytics.time_weighted_return(track(rows[:3]).returns), 4) == 0.1647


def test_the_chain_begins_anew_after_a_day_at_whose_start_nothing_was_there() -> None:
    found = track([day(0, "100"), day(1, "0", outflows="100"), day(2, "0"), day(3, "55", inflows="50"), day(4, "66")])
    assert [row.day for row in found.rows] == ["2026-01-03", "2026-01-04", "2026-01-05"]
    assert found.returns == pytest.approx([0.1, 0.2])
    assert track([]).returns == []


def test_figures_of_four_days_by_hand() -> None:
    assert close(analytics.time_weighted_return(R), 1.01 * 0.98 * 1.03 - 1)
    assert close(analytics.volatility(R), statistics.stdev(R) * math.sqrt(252))
    assert close(analytics.sharpe(R), 0.005 / statistics.stdev(R) * math.sqrt(252))
    assert close(analytics.sortino(R), 0.005 * 252 / (math.sqrt(0.0004 / 4) * math.sqrt(252)))
    assert close(analytics.max_drawdown(R), -0.02)
    assert close(analytics.max_drawdown([-0.1, 0.05]), -0.1)
    assert close(analytics.beta(R, [2 * r for r in R]), 0.5)


def test_value_at_risk_lies_between_two_returns_and_the_conditional_one_is_the_mean_beyond() -> None:
    returns = [number / 100 for number in range(-10, 11)]  # 21 of them
    assert close(analytics.value_at_risk(returns, 0.05), -0.09)
    assert close(analytics.value_at_risk(returns, 0.01), -0.098)
    assert close(analytics.conditional_value_at_risk(returns, 0.05), -0.095)  # int(20 * 0.05) + 1 = 2 of them
    deviation = statistics.stdev(returns)
    assert close(analytics.normal_value_at_risk(returns, 0.05), -1.6448536269514722 * deviation)
    assert close(analytics.normal_conditional_value_at_risk(returns, 0.05), -2.0627128075074257 * deviation)


FLOWS = [
    Flow(date(2020, 1, 1), -10_000),
    Flow(date(2020, 3, 1), 2_750),
    Flow(date(2020, 10, 30), 4_250),
    Flow(date(2021, 2, 15), 3_250),
    Flow(date(2021, 4, 1), 2_750),
]


def test_xirr_is_the_published_one() -> None:
    assert math.isclose(analytics.xirr(FLOWS), 0.3733625335, abs_tol=5e-11)


def test_flows_are_the_first_value_what_came_and_went_and_the_last_value() -> None:
    rows = [day(0, "100"), day(1, "110"), day(2, "180", inflows="60"), day(31, "99", outflows="81")]
    assert [flow.amount for flow in analytics.flows(rows)] == [-100, -60, 81, 99]
    assert analytics.flows([]) == []


def years(*amounts: float) -> list[Flow]:
    return [Flow(date(2020 + number, 1, 1), amount) for number, amount in enumerate(amounts)]


@pytest.mark.parametrize(
    ("flows", "reason"),
    [
        ([], "the final value is not above 0"),
        (years(-100, 0), "the final value is not above 0"),
        (years(-100, -5), "the final value is not above 0"),
        ([Flow(date(2020, 1, 1), -100), Flow(date(2020, 1, 30), 110)], "less than 30 days"),
        (years(100, 100), "no rate from -99.99 % to 1000 % a year explain the flows"),
        (years(-1, 20), "no rate from -99.99 % to 1000 % a year explain the flows"),
        (years(-100, 230, -132, 0.0001), "several rates from -99.99 % to 1000 % a year explain the flows"),
    ],
)
def test_there_is_no_money_weighted_return_without_exactly_one_rate(flows: list[Flow], reason: str) -> None:
    with pytest.raises(UnknownFigureError, match=f"^{reason}$"):
        analytics.xirr(flows)


@given(st.floats(-0.9, 9), st.lists(st.floats(-5_000, -1), min_size=1, max_size=5))
def test_xirr_finds_the_rate_that_money_grew_at(rate: float, inflows: list[float]) -> None:
    begin = date(2020, 1, 1)
    end = begin + timedelta(400)
    moved = [Flow(begin + timedelta(50 * number), amount) for number, amount in enumerate(inflows)]
    grown = -math.fsum(flow.amount * (1 + rate) ** ((end - flow.day).days / 365) for flow in moved)
    assert math.isclose(analytics.xirr([*moved, Flow(end, grown)]), rate, rel_tol=1e-9, abs_tol=1e-9)


UNKNOWN: dict[str, tuple[Callable[[], float], str]] = {
    "nothing": (lambda: analytics.time_weighted_return([]), "0 daily returns, at least 1 are needed"),
    "one": (lambda: analytics.volatility([0.1]), "1 daily returns, at least 2 are needed"),
    "still": (lambda: analytics.sharpe([0.01, 0.01]), "the value did not move"),
    "gains": (lambda: analytics.sortino([0.01, 0.02]), "there was no loss"),
    "flat": (lambda: analytics.beta([0.01, 0.02], [0.01, 0.01]), "the benchmark did not move"),
    "tail": (lambda: analytics.value_at_risk([0.01] * 19, 0.05), "19 daily returns, at least 20 are needed"),
    "worthless": (lambda: analytics.concentration({"A": Decimal(0)}), "nothing that is held is worth anything"),
    "targets": (lambda: analytics.target_drift({"A": Decimal(1)}, {}), "no target weights are set"),
    "huge": (lambda: math.exp(1_000), "the numbers are too large"),
    "nan": (lambda: math.nan, "the numbers are too large"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_a_figure_that_cannot_be_computed_says_why(case: str) -> None:
    compute, reason = UNKNOWN[case]
    assert figure(compute) == Figure(None, reason)


def test_a_figure_is_rounded_once_half_even_to_four_decimals() -> None:
    assert figure(lambda: 0.03125) == Figure(Decimal("0.0312"))
    assert str(figure(lambda: -0.00001).value) == "0"


def test_drift_is_half_of_all_distances_also_from_what_is_not_held() -> None:
    values = {"A": Decimal(60), "B": Decimal(-40)}
    targets = {"A": Decimal("0.5"), "C": Decimal("0.5")}
    assert close(analytics.target_drift(values, targets), 0.5 * (0.1 + 0.4 + 0.5))
    assert close(analytics.concentration(values), 0.52)


def test_beta_is_of_the_days_that_the_benchmark_has_closes_at_both_ends() -> None:
    found = track([day(0, "100"), day(1, "110"), day(2, "121"), day(3, "100"), day(4, "120")])
    closes = {"2026-01-01": Decimal(50), "2026-01-02": Decimal(55), "2026-01-04": Decimal(0), "2026-01-05": Decimal(9)}
    assert analytics.against(found, closes) == (pytest.approx([0.1]), pytest.approx([0.1]))
