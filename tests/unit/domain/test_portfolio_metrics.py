"""The five metrics: worked by hand, against plain Python, and that nothing but finite numbers ever leaves."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from foliostream.domain import portfolio_metrics as metrics
from foliostream.domain.closes import Closes
from foliostream.domain.portfolio_metrics import METRICS, Holdings, Result, compute

START = date(2025, 1, 1)


def series(prices: Sequence[object]) -> Closes:
    return {(START + timedelta(number)).isoformat(): Decimal(str(price)) for number, price in enumerate(prices)}


def moving(*returns: float) -> Closes:
    """Closes from 100 on that make these returns."""
    prices = [100.0]
    for step in returns:
        prices.append(prices[-1] * (1 + step))
    return series(prices)


def held(values: Mapping[str, object], closes: Mapping[str, Closes], **more: Any) -> Holdings:  # noqa: ANN401
    return Holdings({symbol: Decimal(str(value)) for symbol, value in values.items()}, closes, **more)


def value(metric: str, holdings: Holdings, ticker: str = "AAPL") -> Decimal | None:
    return compute(metric, holdings, ticker).value


UP_DOWN = [0.01, -0.01] * 10
TWO = held({"AAPL": 600, "MSFT": -400}, {"AAPL": moving(*UP_DOWN), "MSFT": moving(*UP_DOWN)})


# --- by hand --------------------------------------------------------------------------------------------------------


def test_risk_of_one_holding_is_its_own_annualised_volatility() -> None:
    alone = held({"AAPL": 5}, {"AAPL": moving(*UP_DOWN)})
    result = compute("portfolio_risk", alone, "AAPL")
    assert result.value == Decimal("0.1629")  # 0.01 * sqrt(20 / 19 * 252) = 0.16287
    assert result.detail == {
        "contribution": Decimal("0.1629"),
        "contribution_share": 1,
        "observations": 20,
        "from": "2025-01-01",
        "to": "2025-01-21",
        "currency_risk": "excluded",
    }


def test_a_short_of_the_same_takes_risk_away() -> None:
    assert value("portfolio_risk", TWO) == Decimal("0.0326")  # 0.6 - 0.4 = a fifth of 0.16287
    shares = [compute("portfolio_risk", TWO, name).detail for name in ("AAPL", "MSFT")]
    assert [detail and detail["contribution_share"] for detail in shares] == [3, -2]


def test_concentration_is_the_sum_of_squared_weights_and_says_as_how_many_equal_holdings_it_counts() -> None:
    result = compute("concentration", TWO, "MSFT")
    assert result.value == Decimal("0.52")
    assert result.detail == {"effective_number": Decimal("1.9231"), "weight": Decimal("-0.4"), "holdings": 2}


def test_correlation_is_that_with_the_rest_which_counts_with_its_sign() -> None:
    assert value("correlation", TWO) == -1
    assert value("correlation", TWO, "MSFT") == 1
    other = [0.01, 0.01, -0.01, -0.01] * 5
    mixed = held({"AAPL": 1, "MSFT": 1}, {"AAPL": moving(*UP_DOWN), "MSFT": moving(*other)})
    assert value("correlation", mixed) == 0


def test_momentum_is_the_year_before_the_last_month() -> None:
    year = compute("momentum", held({"AAPL": 1}, {"AAPL": series(range(1, 254))}), "AAPL")
    assert year.value == 231  # 232 of 21 days ago against 1 of 252 days ago
    assert year.detail == {"look_back": "12-1", "from": "2025-01-01", "to": "2025-08-20"}


@pytest.mark.parametrize("count", [64, 252])
def test_momentum_of_a_shorter_history_is_its_last_quarter(count: int) -> None:
    result = compute("momentum", held({"AAPL": 1}, {"AAPL": series(range(1, count + 1))}), "AAPL")
    assert result.value == round(Decimal(count) / (count - 63) - 1, 4)
    assert result.detail is not None
    assert result.detail["look_back"] == "63 days"


def test_allocation_score_is_what_is_missing_to_the_target() -> None:
    long_only = held({"AAPL": 600, "MSFT": 300, "KO": 100}, {})
    scores = [value("allocation_score", long_only, name) for name in ("AAPL", "MSFT", "KO")]
    assert scores == [Decimal("-0.2667"), Decimal("0.0333"), Decimal("0.2333")]
    targets = {"AAPL": Decimal("0.5"), "KO": Decimal("0.2"), "GOOGL": Decimal("0.3")}
    wanted = held({"AAPL": 600, "MSFT": 300, "KO": 100}, {}, targets=targets)
    assert [value("allocation_score", wanted, name) for name in ("AAPL", "MSFT", "KO")] == [
        Decimal("-0.1"),
        Decimal("-0.3"),
        Decimal("0.1"),
    ]
    detail = compute("allocation_score", wanted, "MSFT").detail
    assert detail == {"target": 0, "weight": Decimal("0.3"), "targets": "portfolio", "drift": Decimal("0.4")}


# --- what cannot be computed ----------------------------------------------------------------------------------------


def reason(metric: str, holdings: Holdings, ticker: str = "AAPL") -> str:
    result = compute(metric, holdings, ticker)
    assert (result.value, result.detail) == (None, None)
    assert result.reason
    return result.reason


def test_a_metric_that_cannot_be_computed_says_why() -> None:
    short = held({"AAPL": 1, "MSFT": 1}, {"AAPL": moving(*UP_DOWN), "MSFT": moving(*UP_DOWN[:19])})
    assert reason("portfolio_risk", short) == "19 common daily returns of all holdings, at least 20 are needed"
    assert reason("correlation", held({"AAPL": 1}, {"AAPL": moving(*UP_DOWN)})) == "nothing else is held"
    none = held({"AAPL": 1, "MSFT": 1}, {"AAPL": moving(*UP_DOWN)})
    assert reason("portfolio_risk", none) == "no daily closes of MSFT"
    assert reason("momentum", none, "MSFT") == "0 daily closes of MSFT, at least 64 are needed"
    still = held({"AAPL": 1, "MSFT": 1}, {"AAPL": moving(*UP_DOWN), "MSFT": series([7] * 21)})
    assert reason("correlation", still) == "one of the two did not move"
    zero = held({"AAPL": 1}, {"AAPL": series([0, *range(1, 30)])})
    assert reason("portfolio_risk", zero) == "a close of 0 of AAPL"
    worthless = held({"AAPL": 0, "MSFT": 0}, {"AAPL": moving(*UP_DOWN), "MSFT": moving(*UP_DOWN)})
    for metric in ("portfolio_risk", "concentration", "correlation", "allocation_score"):
        assert reason(metric, worthless) == "nothing that is held is worth anything"
    assert reason("correlation", held({"AAPL": 1, "MSFT": 0}, TWO.closes)) == (
        "nothing else that is held is worth anything"
    )


def test_a_close_of_zero_is_no_base_of_momentum() -> None:
    assert reason("momentum", held({"AAPL": 1}, {"AAPL": series([0] * 64)})) == "the close of 2025-01-01 is 0"


def test_returns_are_those_between_the_last_252_dates_that_all_have() -> None:
    every, some = series(range(100, 500)), series(range(200, 600))
    closes = {"AAPL": every, "MSFT": {day: some[day] for day in list(some)[::2]}}
    holdings = held({"AAPL": 1, "MSFT": 1}, closes)
    assert len(holdings.dates) == 200
    assert holdings.dates == list(some)[::2]
    assert len(held({"AAPL": 1}, {"AAPL": every}).dates) == 253


# --- against plain Python -------------------------------------------------------------------------------------------


def reference(holdings: Holdings, ticker: str) -> dict[str, float]:
    """Risk and correlation from series instead of matrices."""
    gross = sum(abs(amount) for amount in holdings.values.values())
    weights = {symbol: float(amount / gross) for symbol, amount in holdings.values.items()}
    prices = {symbol: [float(holdings.closes[symbol][day]) for day in holdings.dates] for symbol in weights}
    moves = {symbol: [after / before - 1 for before, after in pairwise(p)] for symbol, p in prices.items()}
    days = range(len(holdings.dates) - 1)
    whole = [math.fsum(weights[symbol] * moves[symbol][day] for symbol in weights) for day in days]
    rest = [whole[day] - weights[ticker] * moves[ticker][day] for day in days]
    assume(min(statistics.stdev(whole), statistics.stdev(rest)) > 1e-6)
    return {
        "portfolio_risk": statistics.stdev(whole) * math.sqrt(252),
        "correlation": statistics.correlation(moves[ticker], rest),
        "concentration": math.fsum(weight**2 for weight in weights.values()),
    }


returns = st.lists(st.floats(-0.2, 0.2).filter(lambda step: abs(step) > 1e-4), min_size=25, max_size=40, unique=True)
amounts = st.floats(1, 1e6) | st.floats(-1e6, -1)


@given(st.lists(st.tuples(amounts, returns), min_size=2, max_size=5))
def test_metrics_equal_the_same_computed_from_series(holdings: list[tuple[float, list[float]]]) -> None:
    names = [f"S{number}" for number in range(len(holdings))]
    book = held(
        {name: amount for name, (amount, _) in zip(names, holdings, strict=True)},
        {name: moving(*steps) for name, (_, steps) in zip(names, holdings, strict=True)},
    )
    expected = reference(book, "S0")
    for metric, wanted in expected.items():
        found, _ = METRICS[metric](book, "S0")
        assert math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-9)
    shares = [METRICS["portfolio_risk"](book, name)[1]["contribution_share"] for name in names]
    assert abs(sum(shares) - 1) <= Decimal("0.0001") * len(names)
    assert 1 / len(names) - 1e-12 <= expected["concentration"] <= 1 + 1e-12


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=8))
def test_scores_of_a_long_only_portfolio_sum_to_zero(amounts: list[float]) -> None:
    book = held({f"S{number}": amount for number, amount in enumerate(amounts)}, {})
    assert abs(math.fsum(METRICS["allocation_score"](book, name)[0] for name in book.symbols)) < 1e-9


wild = st.decimals(0, "1e12", allow_nan=False, allow_infinity=False, places=6)


@given(
    st.lists(st.decimals("-1e14", "1e14", allow_nan=False, allow_infinity=False, places=2), min_size=1, max_size=4),
    st.lists(wild, min_size=1, max_size=70),
    st.sampled_from(sorted(METRICS)),
)
def test_nothing_but_finite_numbers_or_a_reason_leaves(
    amounts: list[Decimal], prices: list[Decimal], metric: str
) -> None:
    names = [f"S{number}" for number in range(len(amounts))]
    closes = {name: series(prices[number:] + prices[:number]) for number, name in enumerate(names)}
    result = compute(metric, Holdings(dict(zip(names, amounts, strict=True)), closes), "S0")
    assert isinstance(result, Result)
    assert (result.value is None) == bool(result.reason)
    for number in (result.value, *(result.detail or {}).values()):
        assert not isinstance(number, float)
        assert not isinstance(number, Decimal) or number.is_finite()


def test_numbers_beyond_a_float_are_a_reason_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "DAYS_A_YEAR", math.inf)
    assert reason("portfolio_risk", TWO) == "the numbers are too large"
