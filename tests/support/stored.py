"""What is stored or queued as JSON, and what the last release expects of it.

    PYTHONPATH=layers/foliostream/python:. .venv/bin/python -m tests.support.stored

writes down what this release expects, for the next one to be held against.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from foliostream.adapters.hot_codec import DirtyRecord
from foliostream.domain.changes import Change
from foliostream.domain.coalescing import DirtyMessage
from foliostream.domain.fills import Fill
from foliostream.domain.history import Day
from foliostream.domain.instrument import Instrument
from foliostream.domain.liquidation import Liquidation
from foliostream.domain.margin_status import MarginStatus
from foliostream.domain.orders import Order
from foliostream.domain.pacing import Pace
from foliostream.domain.portfolio import Portfolio, Transaction
from foliostream.domain.price import Price
from foliostream.domain.snapshot import Snapshot
from tests.support.decoders import described

SAMPLES = Path(__file__).parents[1] / "samples"
LAST_RELEASE = SAMPLES / "last_release" / "decoders.json"
# What is stored or queued as JSON, by the name of its samples.
STORED: dict[str, Any] = {
    "portfolio": Portfolio,
    "transaction": Transaction,
    "change": Change,
    "instrument": Instrument,
    "order": Order,
    "day": Day,
    "price": Price,
    "snapshot": Snapshot,
    "margin_status": MarginStatus,
    "pace": Pace,
    "dirty_record": DirtyRecord,
    "dirty_message": DirtyMessage,
    "fill": Fill,
    "liquidation": Liquidation,
}


def last_release() -> dict[str, Any]:
    """Specs of the last release's decoders by name."""
    loaded: dict[str, Any] = json.loads(LAST_RELEASE.read_text())
    return loaded


def keep() -> None:
    """Writes this release's decoders down as the last one's."""
    lines = [f"{json.dumps(name)}: {json.dumps(described(kind))}" for name, kind in STORED.items()]
    LAST_RELEASE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    keep()
