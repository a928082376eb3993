"""Metrics as CloudWatch's embedded metric format: a line of JSON in the log is a metric, without a call.

By hand and not with Powertools' ``Metrics`` (whose import the logger has paid for already): one invocation here has
figures of several account types, and a list of values where CloudWatch is to know percentiles.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

NAMESPACE: Final = "Foliostream"
# Values of one metric in one line; CloudWatch takes 100.
VALUES_MAX: Final = 100
# All others are counts.
_MILLISECONDS: Final = frozenset({"DirtyAge", "QueueAge"})
_PERCENT: Final = frozenset({"GonePercent"})


def line(now_ms: int, dimensions: Mapping[str, str], figures: Mapping[str, int | Sequence[int]]) -> str:
    """The figures under one set of dimensions; a list of values counts as that many. Of more than ``VALUES_MAX`` the
    largest are kept, since ages are looked at for their worst. Empty lists are left out."""
    values = {name: _values(figure) for name, figure in figures.items() if figure != []}
    about = {
        "Timestamp": now_ms,
        "CloudWatchMetrics": [
            {
                "Namespace": NAMESPACE,
                "Dimensions": [list(dimensions)],
                "Metrics": [{"Name": name, "Unit": _unit(name)} for name in values],
            }
        ],
    }
    return msgspec.json.encode({"_aws": about, **dimensions, **values}).decode()


def emit(now_ms: int, dimensions: Mapping[str, str], figures: Mapping[str, int | Sequence[int]]) -> None:
    """Write the line where Lambda collects it: as it is, not inside a log record."""
    sys.stdout.write(line(now_ms, dimensions, figures) + "\n")


def _unit(name: str) -> str:
    if name in _PERCENT:
        return "Percent"
    return "Milliseconds" if name in _MILLISECONDS else "Count"


def _values(figure: int | Sequence[int]) -> int | list[int]:
    return figure if isinstance(figure, int) else sorted(figure)[-VALUES_MAX:]
