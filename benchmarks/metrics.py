"""The five metrics of a ticker: 50 positions, 252 daily returns, from the stored closes on; no store and no network."""

from decimal import Decimal
from random import Random

import numpy as np

from benchmarks.measuring import Reference, Row, median, timed
from foliostream.domain import closes
from foliostream.domain.closes import RECENT_CLOSES
from foliostream.domain.portfolio_metrics import METRICS, Holdings, compute

POSITIONS = 50
ROUNDS = 30
SEED = 7


def measure() -> list[Row]:
    """All five, decoding included; beside it numpy's covariance of a ready matrix of that size."""
    random = Random(SEED)
    stored = {f"S{number:02d}": _stored(random) for number in range(POSITIONS)}
    values = {symbol: Decimal(random.randint(1_000, 100_000)) for symbol in stored}
    matrix = np.array([[random.gauss(0, 0.01) for _ in range(POSITIONS)] for _ in range(252)])

    def five() -> None:
        held = Holdings(values, {symbol: closes.decode(raw) for symbol, raw in stored.items()})
        missing = [metric for metric in METRICS if compute(metric, held, "S00").value is None]
        if missing:
            raise RuntimeError(f"not computed: {missing}")

    five()
    taken = [timed(five)[1] * 1_000 for _ in range(ROUNDS)]
    bare = [timed(lambda: np.cov(matrix, rowvar=False))[1] * 1_000 for _ in range(ROUNDS)]
    reference = Reference("metrics_covariance_ms", "numpy's covariance alone", median(bare))
    return [Row("metrics_ms", "five metrics, 50 positions x 252 days", "ms", median(taken), (reference,))]


def _stored(random: Random) -> bytes:
    """A walk of as many closes as are read, on the same days for all."""
    price, series = 100.0, {}
    for number in range(RECENT_CLOSES):
        price *= 1 + random.gauss(0.0003, 0.015)
        series[f"{2020 + number // 250}-{1 + number % 250 // 25:02d}-{1 + number % 25:02d}"] = Decimal(f"{price:.4f}")
    return closes.encode(series)
