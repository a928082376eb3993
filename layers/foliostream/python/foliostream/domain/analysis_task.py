"""What an analysis is asked for: one ticker in one snapshot of one portfolio."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import Struct

from foliostream.domain.sessions import Run

# In the order of the definitions; they come as they are ready.
METRIC_NAMES: Final = ("portfolio_risk", "concentration", "correlation", "momentum", "allocation_score")
# What one asynchronous invocation carries; the largest portfolio there may be needs a third of it.
MAX_TASK_BYTES: Final = 256 * 1024


class Task(Struct, frozen=True):
    """``values``: signed market values in base of everything held at the run's ``version``, None without a price;
    ``targets``: the portfolio's target weights, empty where it has none. They travel with the task, so that every
    metric of a run is of the one snapshot that its messages name, whatever is valued meanwhile."""

    session_id: str
    run: Run
    values: Mapping[str, Decimal | None]
    targets: Mapping[str, Decimal]


_encoder = msgspec.json.Encoder(decimal_format="string")


def encode(task: Task) -> bytes:
    """JSON with every Decimal as a string."""
    return _encoder.encode(task)
