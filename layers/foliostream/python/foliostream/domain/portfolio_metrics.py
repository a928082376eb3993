"""The five metrics of a ticker in a portfolio, from one snapshot's market values and daily closes (definitions 23, 24).

Cash is left out. Weights are w_i = MV_i / sum |MV_j|, signed; returns are simple daily returns between the dates that
all holdings have a close of, in each instrument's own currency. Numbers are floats: these are statistics, no amounts.
The only module of the domain that needs numpy; nothing in a hot path may import it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from foliostream.domain import money
from foliostream.domain.closes import Closes

DAYS_A_YEAR = 252
MAX_RETURNS = 252
MIN_RETURNS = 20
# 12-1: the year before the last month; of a shorter history the last quarter.
LONG_LOOKBACK, SKIPPED, SHORT_LOOKBACK = 252, 21, 63
METRIC_DECIMALS = 4

Array: TypeAlias = npt.NDArray[np.float64]
Detail: TypeAlias = dict[str, Any]


class Result(NamedTuple):
    """A metric as it goes out: ``value`` rounded to four decimals, or None and the ``reason``."""

    metric: str
    value: Decimal | None
    reason: str | None = None
    detail: Detail | None = None


class UnknownMetricError(ValueError):
    """A metric cannot be computed; says why."""


@dataclass(frozen=True)
class Holdings:
    """What is held: signed market values in base (None without a price) and closes in units of now, oldest first, by
    symbol. ``targets``: target weights by symbol, None for equal ones."""

    values: Mapping[str, Decimal | None]
    closes: Mapping[str, Closes]
    targets: Mapping[str, Decimal] | None = None

    @cached_property
    def symbols(self) -> list[str]:
        """In the order of all vectors here."""
        return sorted(self.values)

    @cached_property
    def weights(self) -> Array:
        """w; ``UnknownMetricError`` where nothing that is held is worth anything."""
        known = {symbol: float(value) for symbol, value in self.values.items() if value is not None}
        if len(known) < len(self.symbols):
            raise UnknownMetricError(f"no price of {_some([name for name in self.symbols if name not in known])}")
        values = np.array([known[symbol] for symbol in self.symbols])
        gross = np.abs(values).sum() if values.size else 0.0
        if not gross:
            raise UnknownMetricError("nothing that is held is worth anything")
        return values / gross

    @cached_property
    def dates(self) -> list[str]:
        """Of the closes that returns are computed from; one more than there are returns."""
        without = [symbol for symbol in self.symbols if not self.closes.get(symbol)]
        if without:
            raise UnknownMetricError(f"no daily closes of {_some(without)}")
        common = set.intersection(*(set(self.closes[symbol]) for symbol in self.symbols))
        if len(common) <= MIN_RETURNS:
            count = max(len(common) - 1, 0)
            raise UnknownMetricError(f"{count} common daily returns of all holdings, at least {MIN_RETURNS} are needed")
        return sorted(common)[-MAX_RETURNS - 1 :]

    @cached_property
    def returns(self) -> Array:
        """R: a row a day, a column a symbol."""
        prices = np.array([[float(self.closes[symbol][day]) for symbol in self.symbols] for day in self.dates])
        worthless = [symbol for place, symbol in enumerate(self.symbols) if not (prices[:-1, place] > 0).all()]
        if worthless:
            raise UnknownMetricError(f"a close of 0 of {_some(worthless)}")
        result: Array = prices[1:] / prices[:-1] - 1.0
        return result

    @cached_property
    def covariance(self) -> Array:
        """S: sample covariance (ddof 1) of the daily returns."""
        return np.atleast_2d(np.cov(self.returns, rowvar=False, ddof=1))

    def index(self, ticker: str) -> int:
        """Where the ticker is in the vectors."""
        return self.symbols.index(ticker)


def portfolio_risk(held: Holdings, ticker: str) -> tuple[float, Detail]:
    """sqrt(w'Sw * 252), the invested part's annualised volatility. ``detail``: what of it the ticker contributes,
    w_i (Sw)_i / w'Sw, which sums to 1 over all holdings."""
    weights, covariance = held.weights, held.covariance
    against = covariance @ weights
    variance = float(weights @ against)
    risk = float(np.sqrt(max(variance, 0.0) * DAYS_A_YEAR))
    place = held.index(ticker)
    share = float(weights[place] * against[place]) / variance if variance > 0 else None
    contribution = None if share is None else share * risk
    detail = {"contribution": _wire(contribution), "contribution_share": _wire(share)}
    return risk, detail | _sample(held)


def concentration(held: Holdings, ticker: str) -> tuple[float, Detail]:
    """sum w_i^2 (Herfindahl-Hirschman), from 1/N to 1. ``detail``: 1 / it, as how many equal holdings it counts."""
    total = float(np.square(held.weights).sum())
    weight = float(held.weights[held.index(ticker)])
    return total, {"effective_number": _wire(1 / total), "weight": _wire(weight), "holdings": len(held.symbols)}


def correlation(held: Holdings, ticker: str) -> tuple[float, Detail]:
    """Of the ticker's returns with those of all else that is held, sum over j != i of w_j R_j."""
    place = held.index(ticker)
    if len(held.symbols) < 2:
        raise UnknownMetricError("nothing else is held")
    others = held.weights.copy()
    others[place] = 0.0
    if not others.any():
        raise UnknownMetricError("nothing else that is held is worth anything")
    own, rest = held.returns[:, place], held.returns @ others
    own, rest = own - own.mean(), rest - rest.mean()
    scale = float(np.sqrt((own @ own) * (rest @ rest)))
    if not scale:
        raise UnknownMetricError("one of the two did not move")
    return min(max(float(own @ rest) / scale, -1.0), 1.0), _sample(held)


def momentum(held: Holdings, ticker: str) -> tuple[float, Detail]:
    """P[t-21] / P[t-252] - 1 of the ticker's own closes, or over the last 63 days where it has fewer than 253."""
    closes = held.closes.get(ticker, {})
    days = list(closes)
    if len(days) > LONG_LOOKBACK:
        first, last = days[-1 - LONG_LOOKBACK], days[-1 - SKIPPED]
    elif len(days) > SHORT_LOOKBACK:
        first, last = days[-1 - SHORT_LOOKBACK], days[-1]
    else:
        raise UnknownMetricError(f"{len(days)} daily closes of {ticker}, at least {SHORT_LOOKBACK + 1} are needed")
    if not closes[first]:
        raise UnknownMetricError(f"the close of {first} is 0")
    look_back = "12-1" if len(days) > LONG_LOOKBACK else "63 days"
    return float(closes[last] / closes[first]) - 1.0, {"look_back": look_back, "from": first, "to": last}


def allocation_score(held: Holdings, ticker: str) -> tuple[float, Detail]:
    """Target weight - w_i: above 0 there is too little of it. ``detail``: half the sum of all distances."""
    weights = held.weights
    targets = held.targets
    if targets is None:
        wanted = np.full(len(held.symbols), 1.0 / len(held.symbols))
        outside = 0.0
    else:
        wanted = np.array([float(targets.get(symbol, 0)) for symbol in held.symbols])
        outside = float(sum(abs(weight) for symbol, weight in targets.items() if symbol not in held.values))
    place = held.index(ticker)
    drift = 0.5 * (float(np.abs(wanted - weights).sum()) + outside)
    detail = {
        "target": _wire(float(wanted[place])),
        "weight": _wire(float(weights[place])),
        "targets": "equal" if targets is None else "portfolio",
        "drift": _wire(drift),
    }
    return float(wanted[place] - weights[place]), detail


Metric: TypeAlias = Callable[[Holdings, str], tuple[float, Detail]]
METRICS: Mapping[str, Metric] = {
    "portfolio_risk": portfolio_risk,
    "concentration": concentration,
    "correlation": correlation,
    "momentum": momentum,
    "allocation_score": allocation_score,
}
# Those that need market values alone.
WITHOUT_CLOSES = frozenset({"concentration", "allocation_score"})


def compute(metric: str, held: Holdings, ticker: str) -> Result:
    """One of ``METRICS``. Never raises for what the numbers are: a metric that fails keeps no other from coming."""
    try:
        with np.errstate(all="ignore"):
            value, detail = METRICS[metric](held, ticker)
    except UnknownMetricError as unknown:
        return Result(metric, None, str(unknown))
    except (ArithmeticError, ValueError) as fault:
        return Result(metric, None, f"it cannot be computed: {fault}")
    if not np.isfinite(value):
        return Result(metric, None, "the numbers are too large")
    return Result(metric, _wire(value), None, detail)


def _sample(held: Holdings) -> Detail:
    """What the returns were: currency risk is not in them."""
    first, last = held.dates[0], held.dates[-1]
    return {"observations": len(held.dates) - 1, "from": first, "to": last, "currency_risk": "excluded"}


def _wire(value: float | None) -> Decimal | None:
    if value is None or not np.isfinite(value):
        return None
    return money.plain(Decimal(value), METRIC_DECIMALS)


def _some(symbols: list[str]) -> str:
    shown = ", ".join(symbols[:5])
    return shown if len(symbols) <= 5 else f"{shown} and {len(symbols) - 5} more"
