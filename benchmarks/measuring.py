"""What a measurement is: a median with its spread, and the rows they are shown in."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Figure(NamedTuple):
    """``value`` with the lowest and highest of what it was taken from: the machine's noise."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Reference:
    """What a figure is compared with: ``key`` in bench.json, and a name for people."""

    key: str
    name: str
    figure: Figure


@dataclass(frozen=True)
class Row:
    """One figure with what stands beside it. ``member``: its name within ``key`` where that is a group; ``is_detail``:
    for bench.json, people see it elsewhere."""

    key: str
    name: str
    unit: str
    figure: Figure
    references: tuple[Reference, ...] = ()
    member: str = ""
    is_detail: bool = False

    def ratio(self, reference: Reference) -> float:
        """How many times the reference the figure is."""
        return self.figure.value / reference.figure.value


def median(samples: Sequence[float]) -> Figure:
    """The median of repeated measurements."""
    return Figure(statistics.median(samples), min(samples), max(samples))


def percentile(samples: Sequence[float], percent: float) -> float:
    """Nearest rank: the smallest sample that at least ``percent`` of all are not above."""
    ordered = sorted(samples)
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1]


def spread(samples: Sequence[float], percent: float = 95) -> Figure:
    """The percentile with the lowest and highest single sample."""
    return Figure(percentile(samples, percent), min(samples), max(samples))


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """The result, and the seconds it took."""
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def now_ms() -> int:
    """Epoch milliseconds of this machine."""
    return time.time_ns() // 1_000_000
