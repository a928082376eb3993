"""A portfolio's figures over its daily history, and how it is invested now (definitions 6, 24, 25). Plain Python: the
history has at most some thousand days, and the REST function starts without numpy.

Returns are r_d = (V_d + W_d) / (V_{d-1} + D_d) - 1: inflows D at the start of the day, outflows W at its end. Figures
are floats, rounded once to four decimals when they go out; VaR and CVaR are returns, losses negative.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from foliostream.domain import money
from foliostream.domain.history import Day
from foliostream.domain.money import ZERO

DAYS_A_YEAR = 252
METRIC_DECIMALS = 4
# Below it the worst percent is somebody's guess.
MIN_TAIL = 20
# XIRR: where a root is looked for, and how long a time a yearly rate needs.
LOWEST_RATE, HIGHEST_RATE = -0.9999, 10.0
MIN_XIRR_DAYS = 30
_GRID = 400
_BISECTIONS = 200
_NORMAL = statistics.NormalDist()


class UnknownFigureError(ValueError):
    """A figure cannot be computed; says why."""


class Figure(NamedTuple):
    """``value`` rounded to four decimals, or None and the ``reason``."""

    value: Decimal | None
    reason: str | None = None


class Flow(NamedTuple):
    """Money of an investor: negative when it goes in."""

    day: date
    amount: float


@dataclass(frozen=True)
class Track:
    """The unbroken end of a history: ``rows`` oldest first, and the ``returns`` between them, one less."""

    rows: Sequence[Day]
    returns: Sequence[float]


def track(days: Sequence[Day]) -> Track:
    """Rows from the last one on after which every return exists: where nothing was worth anything at the start of a
    day, its return does not, and the chain begins anew."""
    rows: list[Day] = list(days[:1])
    returns: list[float] = []
    for day in days[1:]:
        base = rows[-1].total_value + day.inflows
        if base <= 0:
            rows, returns = [day], []
            continue
        rows.append(day)
        returns.append(float(money.EXACT.divide(day.total_value + day.outflows, base)) - 1.0)
    return Track(rows, returns)


def figure(compute: Callable[[], float]) -> Figure:
    """What it computes as it goes out: never NaN, never infinite."""
    try:
        value = compute()
    except UnknownFigureError as unknown:
        return Figure(None, str(unknown))
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        return Figure(None, "the numbers are too large")
    return Figure(money.plain(Decimal(value), METRIC_DECIMALS))


# --- returns --------------------------------------------------------------------------------------------------------


def time_weighted_return(returns: Sequence[float]) -> float:
    """prod(1 + r) - 1, over the whole period."""
    return math.prod(1.0 + r for r in _enough(returns, 1)) - 1.0


def volatility(returns: Sequence[float]) -> float:
    """A year's standard deviation: that of the days (ddof 1) times sqrt(252)."""
    return _deviation(_enough(returns, 2)) * math.sqrt(DAYS_A_YEAR)


def sharpe(returns: Sequence[float]) -> float:
    """mean / standard deviation * sqrt(252), without a risk-free rate."""
    deviation = _deviation(_enough(returns, 2))
    if not deviation:
        raise UnknownFigureError("the value did not move")
    return _mean(returns) / deviation * math.sqrt(DAYS_A_YEAR)


def sortino(returns: Sequence[float]) -> float:
    """mean * 252 / (sqrt(mean(min(r, 0)^2)) * sqrt(252))."""
    downside = math.sqrt(_mean([min(r, 0.0) ** 2 for r in _enough(returns, 2)]))
    if not downside:
        raise UnknownFigureError("there was no loss")
    return _mean(returns) * math.sqrt(DAYS_A_YEAR) / downside


def max_drawdown(returns: Sequence[float]) -> float:
    """The deepest fall from a height before it, <= 0; the first height is the beginning."""
    value = height = 1.0
    deepest = 0.0
    for r in _enough(returns, 1):
        value *= 1.0 + r
        height = max(height, value)
        deepest = min(deepest, value / height - 1.0)
    return deepest


def beta(returns: Sequence[float], benchmark: Sequence[float]) -> float:
    """cov(r, b) / var(b), of the days that both have."""
    _enough(returns, 2)
    mean, middle = _mean(returns), _mean(benchmark)
    variance = math.fsum((b - middle) ** 2 for b in benchmark)
    if not variance:
        raise UnknownFigureError("the benchmark did not move")
    return math.fsum((r - mean) * (b - middle) for r, b in zip(returns, benchmark, strict=True)) / variance


def value_at_risk(returns: Sequence[float], tail: float) -> float:
    """Historical, one day: the quantile of the returns, linear between two of them."""
    ordered = sorted(_enough(returns, MIN_TAIL))
    place = (len(ordered) - 1) * tail
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def conditional_value_at_risk(returns: Sequence[float], tail: float) -> float:
    """Historical, one day: the mean of the worst int((n - 1) * tail) + 1 returns."""
    ordered = sorted(_enough(returns, MIN_TAIL))
    return _mean(ordered[: int((len(ordered) - 1) * tail) + 1])


def normal_value_at_risk(returns: Sequence[float], tail: float) -> float:
    """One day, as if returns were normal: mean + z * standard deviation."""
    _enough(returns, MIN_TAIL)
    return _mean(returns) + _NORMAL.inv_cdf(tail) * _deviation(returns)


def normal_conditional_value_at_risk(returns: Sequence[float], tail: float) -> float:
    """One day, as if returns were normal: mean - standard deviation * density(z) / tail."""
    _enough(returns, MIN_TAIL)
    return _mean(returns) - _deviation(returns) * _NORMAL.pdf(_NORMAL.inv_cdf(tail)) / tail


def against(track: Track, closes: Mapping[str, Decimal]) -> tuple[list[float], list[float]]:
    """The returns of those days of which a benchmark has closes at both ends, and its own."""
    mine, its = [], []
    for number, r in enumerate(track.returns):
        before, after = closes.get(track.rows[number].day), closes.get(track.rows[number + 1].day)
        if before and after is not None:
            mine.append(r)
            its.append(float(after / before) - 1.0)
    return mine, its


# --- money-weighted -------------------------------------------------------------------------------------------------


def flows(rows: Sequence[Day]) -> list[Flow]:
    """What an investor gave and got: the first row's value, each later row's flows, the last row's value."""
    if not rows:
        return []
    found = [Flow(date.fromisoformat(rows[0].day), -float(rows[0].total_value))]
    found += [Flow(date.fromisoformat(row.day), float(row.outflows - row.inflows)) for row in rows[1:]]
    found.append(Flow(date.fromisoformat(rows[-1].day), float(rows[-1].total_value)))
    return [flow for flow in found if flow.amount]


def xirr(flows: Sequence[Flow]) -> float:
    """The yearly rate x at which sum(cf_i / (1 + x)^(days_i / 365)) is 0: the only one from -0.9999 to 10."""
    if not flows or flows[-1].amount <= 0:
        raise UnknownFigureError("the final value is not above 0")
    if (flows[-1].day - flows[0].day).days < MIN_XIRR_DAYS:
        raise UnknownFigureError(f"less than {MIN_XIRR_DAYS} days")
    steps = [((flow.day - flows[0].day).days / 365, flow.amount) for flow in flows]

    def worth(log_rate: float) -> float:
        return math.fsum(amount * math.exp(-years * log_rate) for years, amount in steps)

    lowest, highest = math.log1p(LOWEST_RATE), math.log1p(HIGHEST_RATE)
    grid = [lowest + (highest - lowest) * number / _GRID for number in range(_GRID + 1)]
    signs = [worth(point) > 0 for point in grid]
    changes = [number for number in range(_GRID) if signs[number] != signs[number + 1]]
    if len(changes) != 1:
        few = "no rate" if not changes else "several rates"
        raise UnknownFigureError(f"{few} from -99.99 % to 1000 % a year explain the flows")
    return math.expm1(_root(worth, grid[changes[0]], grid[changes[0] + 1]))


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Halved until it is as exact as a float."""
    rising = function(high) > 0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if middle in {low, high}:
            break
        if (function(middle) > 0) == rising:
            high = middle
        else:
            low = middle
    return low


# --- how it is invested ---------------------------------------------------------------------------------------------


def concentration(values: Mapping[str, Decimal]) -> float:
    """sum w_i^2 with w_i = MV_i / sum |MV_j|, cash left out."""
    weights = invested_weights(values)
    return math.fsum(weight * weight for weight in weights.values())


def target_drift(values: Mapping[str, Decimal], targets: Mapping[str, Decimal]) -> float:
    """Half the sum of all distances from the target weights: what would have to be exchanged."""
    if not targets:
        raise UnknownFigureError("no target weights are set")
    weights = invested_weights(values)
    return 0.5 * math.fsum(
        abs(float(targets.get(name, 0)) - weights.get(name, 0.0)) for name in targets.keys() | weights.keys()
    )


def invested_weights(values: Mapping[str, Decimal]) -> dict[str, float]:
    """w_i; ``UnknownFigureError`` where nothing that is held is worth anything."""
    gross = sum((abs(value) for value in values.values()), ZERO)
    if not gross:
        raise UnknownFigureError("nothing that is held is worth anything")
    return {name: float(value / gross) for name, value in values.items()}


def _enough(returns: Sequence[float], count: int) -> Sequence[float]:
    if len(returns) < count:
        raise UnknownFigureError(f"{len(returns)} daily returns, at least {count} are needed")
    return returns


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(returns: Sequence[float]) -> float:
    mean = _mean(returns)
    return math.sqrt(math.fsum((r - mean) ** 2 for r in returns) / (len(returns) - 1))
