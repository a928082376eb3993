"""A release reads what the one before it wrote, and what the next one will write: a canary and a rollback are safe.

tests/samples has an item of each stored shape, with every field it had when the sample was made. When a shape grows (a
new field with a default; of compact ones at the end), its sample stays as it is and gets a second one beside it, named
``portfolio.2.json`` or so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

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

SAMPLES = Path(__file__).parents[2] / "samples"
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
FILES = sorted(path.name for path in SAMPLES.glob("*.json"))


def decoded(name: str, raw: bytes) -> Any:  # noqa: ANN401 (each its own type)
    return msgspec.json.decode(raw, type=STORED[name.partition(".")[0]])


def later(item: Any) -> Any:  # noqa: ANN401 (any JSON)
    """As a later release may write it: one more field, which is the last one of a compact item."""
    return [*item, "later"] if isinstance(item, list) else item | {"later": {"of": ["a", "later", "release"]}}


@pytest.mark.parametrize("name", FILES)
def test_an_item_that_a_release_before_has_stored_is_read(name: str) -> None:
    raw = (SAMPLES / name).read_bytes()
    again = msgspec.json.decode(msgspec.json.encode(decoded(name, raw)))
    written = msgspec.json.decode(raw)
    assert holds(again, written)


def holds(again: Any, written: Any) -> bool:  # noqa: ANN401 (any JSON)
    """Whether everything that was written is still said; what is new may stand beside it, also within it."""
    if isinstance(written, dict):
        return all(name in again and holds(again[name], value) for name, value in written.items())
    if isinstance(written, list):
        return all(holds(one, other) for one, other in zip(again, written, strict=False)) and len(again) >= len(written)
    return bool(again == written)


@pytest.mark.parametrize("name", FILES)
def test_a_field_that_only_the_next_release_knows_is_ignored(name: str) -> None:
    raw = (SAMPLES / name).read_bytes()
    assert decoded(name, msgspec.json.encode(later(msgspec.json.decode(raw)))) == decoded(name, raw)


def test_every_stored_shape_has_a_sample() -> None:
    assert {name.partition(".")[0] for name in FILES} == set(STORED)
