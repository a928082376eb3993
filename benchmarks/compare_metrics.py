"""The metrics and analytics beside independent libraries, on real prices: ``make compare-metrics``.

An environment of its own (requirements/compare.txt) holds the libraries; nothing that runs or is tested needs them. The
file is CSV: a date and then a column a symbol, such as the packaged sample; five of its stocks are taken, five years at
most. Every figure that the definitions and a library define alike has to agree to nine digits.
"""

import argparse
import csv
import gzip
import math
import sys
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path

import empyrical
import numpy as np
import pandas as pd
import pyxirr
import quantstats
from pypfopt import risk_models
from skfolio import Portfolio

from foliostream.domain import analytics
from foliostream.domain.analytics import Flow
from foliostream.domain.portfolio_metrics import METRICS, Holdings

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "layers" / "foliostream" / "python" / "foliostream" / "data" / "sp500_20_closes_2020_2022.csv"
SYMBOLS = ("AAPL", "MSFT", "JPM", "XOM", "KO")
VALUES = {"AAPL": 30_000, "MSFT": 25_000, "JPM": 20_000, "XOM": 15_000, "KO": 10_000}
# Closes of five years and the one before.
MAX_CLOSES = 5 * 252 + 1
DIGITS = 9
LIBRARIES = ("empyrical-reloaded", "quantstats", "PyPortfolioOpt", "skfolio", "pyxirr", "numpy", "pandas")
FLOWS = [
    Flow(date(2020, 1, 1), -10_000),
    Flow(date(2020, 3, 1), 2_750),
    Flow(date(2020, 10, 30), 4_250),
    Flow(date(2021, 2, 15), 3_250),
    Flow(date(2021, 4, 1), 2_750),
]

Pair = tuple[str, str, float, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every figure with what the library says; 0 if all agree."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare_metrics", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=SAMPLE)
    closes = _closes(parser.parse_args(arguments).file)
    print(", ".join(f"{name} {version(name)}" for name in LIBRARIES))
    print(f"{', '.join(SYMBOLS)}: {len(closes)} closes, {closes.index[0]} to {closes.index[-1]}\n")
    pairs = [*_metrics(closes), *_analytics(closes)]
    differing = [pair for pair in pairs if not _agree(pair)]
    for pair in pairs:
        what, library, ours, theirs = pair
        print(f"{what:<24} {library:<52} {ours:>16.12f} {theirs:>16.12f}  {'' if _agree(pair) else 'DIFFERS'}")
    print(f"\n{len(pairs) - len(differing)} of {len(pairs)} agree to {DIGITS} digits")
    return 1 if differing else 0


def _agree(pair: Pair) -> bool:
    _, _, ours, theirs = pair
    return math.isclose(ours, theirs, rel_tol=10**-DIGITS, abs_tol=10**-DIGITS)


def _closes(path: Path) -> pd.DataFrame:
    with (gzip.open if path.suffix == ".gz" else Path.open)(path, "rt") as file:
        rows = list(csv.DictReader(file))
    dates = [next(iter(row.values())) for row in rows][-MAX_CLOSES:]
    return pd.DataFrame({name: [float(row[name]) for row in rows][-MAX_CLOSES:] for name in SYMBOLS}, index=dates)


def _metrics(closes: pd.DataFrame) -> list[Pair]:
    """The last 252 returns, as the metrics take them."""
    series = {name: {day: Decimal(repr(close)) for day, close in closes[name].items()} for name in SYMBOLS}
    held = Holdings({name: Decimal(value) for name, value in VALUES.items()}, series)
    year = closes.iloc[-253:]
    returns = year.pct_change().iloc[1:]
    weights = np.array([VALUES[name] for name in SYMBOLS]) / sum(VALUES.values())
    whole = returns.to_numpy() @ weights
    portfolio = Portfolio(returns, weights)
    covariance = risk_models.sample_cov(year, frequency=252)
    rest = returns.drop(columns="AAPL").to_numpy() @ weights[1:]

    def ours(metric: str) -> float:
        return METRICS[metric](held, "AAPL")[0]

    risk = ours("portfolio_risk")
    return [
        ("portfolio_risk", "PyPortfolioOpt sample_cov", risk, math.sqrt(weights @ covariance.to_numpy() @ weights)),
        ("portfolio_risk", "skfolio annualized_standard_deviation", risk, portfolio.annualized_standard_deviation),
        ("portfolio_risk", "empyrical annual_volatility", risk, empyrical.annual_volatility(whole)),
        ("portfolio_risk", "quantstats volatility", risk, quantstats.stats.volatility(_dated(whole))),
        (
            "concentration",
            "skfolio 1 / effective_number_assets",
            ours("concentration"),
            1 / portfolio.effective_number_assets,
        ),
        ("correlation", "pandas corr", ours("correlation"), returns["AAPL"].corr(pd.Series(rest, index=returns.index))),
        (
            "momentum",
            "empyrical cum_returns_final",
            ours("momentum"),
            empyrical.cum_returns_final(returns["AAPL"].iloc[-252:-21]),
        ),
        ("allocation_score", "1 / N - weight", ours("allocation_score"), 1 / len(SYMBOLS) - weights[0]),
    ]


def _dated(returns: np.ndarray) -> pd.Series:
    return pd.Series(returns, index=pd.bdate_range("2018-01-01", periods=len(returns)))


def _analytics(closes: pd.DataFrame) -> list[Pair]:
    """All years, of a portfolio that keeps its weights, against AAPL as the benchmark."""
    returns = closes.pct_change().iloc[1:]
    weights = np.array([VALUES[name] for name in SYMBOLS]) / sum(VALUES.values())
    whole = returns.to_numpy() @ weights
    benchmark = returns["AAPL"].to_numpy()
    series, market = _dated(whole), _dated(benchmark)
    mine: list[float] = whole.tolist()
    stats = quantstats.stats

    def one(name: str, ours: Callable[[Sequence[float]], float], others: dict[str, float]) -> list[Pair]:
        return [(name, library, ours(mine), float(theirs)) for library, theirs in others.items()]

    return [
        *one(
            "time_weighted_return",
            analytics.time_weighted_return,
            {
                "empyrical cum_returns_final": empyrical.cum_returns_final(whole),
                "quantstats comp": stats.comp(series),
            },
        ),
        *one(
            "volatility",
            analytics.volatility,
            {
                "empyrical annual_volatility": empyrical.annual_volatility(whole),
                "quantstats volatility": stats.volatility(series),
            },
        ),
        *one(
            "sharpe",
            analytics.sharpe,
            {"empyrical sharpe_ratio": empyrical.sharpe_ratio(whole), "quantstats sharpe": stats.sharpe(series)},
        ),
        *one(
            "sortino",
            analytics.sortino,
            {"quantstats sortino": stats.sortino(series)},
        ),
        *one(
            "max_drawdown",
            analytics.max_drawdown,
            {
                "empyrical max_drawdown": empyrical.max_drawdown(whole),
                "quantstats max_drawdown": stats.max_drawdown(series),
            },
        ),
        *one(
            "beta",
            lambda r: analytics.beta(r, benchmark.tolist()),
            {
                "empyrical beta": empyrical.beta(whole, benchmark),
                "quantstats greeks": stats.greeks(series, market)["beta"],
            },
        ),
        *one(
            "var_95",
            lambda r: analytics.value_at_risk(r, 0.05),
            {"empyrical value_at_risk": empyrical.value_at_risk(whole, 0.05)},
        ),
        *one(
            "var_99",
            lambda r: analytics.value_at_risk(r, 0.01),
            {"empyrical value_at_risk": empyrical.value_at_risk(whole, 0.01)},
        ),
        *one(
            "cvar_95",
            lambda r: analytics.conditional_value_at_risk(r, 0.05),
            {"empyrical conditional_value_at_risk": empyrical.conditional_value_at_risk(whole, 0.05)},
        ),
        *one(
            "var_95_normal",
            lambda r: analytics.normal_value_at_risk(r, 0.05),
            {"quantstats value_at_risk": stats.value_at_risk(series)},
        ),
        (
            "money_weighted_return",
            "pyxirr xirr",
            analytics.xirr(FLOWS),
            float(pyxirr.xirr([flow.day for flow in FLOWS], [flow.amount for flow in FLOWS]) or math.nan),
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
