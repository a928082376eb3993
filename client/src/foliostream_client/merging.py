"""A portfolio's state, kept whole out of snapshots and of updates that carry only what changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from foliostream_client.errors import ApiError
from foliostream_client.models import PortfolioState
from foliostream_client.transport import Json

# What replaces or ends positions, and what only tells how a message was shortened.
_NOT_FIELDS = frozenset({"positions", "positions_removed", "truncated", "positions_url"})


class Known(NamedTuple):
    """A state as far as it is known: ``fields`` as JSON, with every amount as Decimal."""

    version: int
    fields: Mapping[str, Json]


def snapshot(message: Mapping[str, Json]) -> Known:
    """What a ``snapshot`` says."""
    return Known(message["version"], dict(message["data"]))


def merged(known: Known, update: Mapping[str, Json]) -> Known:
    """The state after an entry of a ``portfolio_update``: fields replace fields, positions replace positions of the
    same instrument (new ones are added), ``positions_removed`` are taken out."""
    data = update["data"]
    removed = set(data.get("positions_removed", ()))
    positions = {item["instrument_id"]: item for item in known.fields.get("positions", ())}
    positions |= {item["instrument_id"]: item for item in data.get("positions", ())}
    kept = [item for name, item in positions.items() if name not in removed]
    changed = {name: value for name, value in data.items() if name not in _NOT_FIELDS}
    return Known(update["version"], {**known.fields, **changed, "positions": kept})


def is_shortened(data: Mapping[str, Any]) -> bool:
    """Whether a message left out positions and weights because a frame does not hold them."""
    return bool(data.get("truncated"))


def typed(portfolio_id: str, known: Known) -> PortfolioState:
    """The state; ``ApiError`` if it is not what it should be."""
    fields = {"portfolio_id": portfolio_id, **known.fields, "version": known.version}
    try:
        return msgspec.convert(fields, PortfolioState)
    except msgspec.ValidationError as fault:
        raise ApiError(f"the state of {portfolio_id}", 200, "", f"is not what it should be: {fault}") from fault
