"""A client that keeps a portfolio's state from what it is sent, by the rules of the contract."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from foliostream.domain import messages
from tests.unit.domain.examples import NOW


def decoded(raw: bytes) -> dict[str, Any]:
    """JSON with every number exactly as it is written."""
    document: dict[str, Any] = json.loads(raw, parse_float=Decimal, parse_int=Decimal)
    return document


class Watcher:
    """``state`` is what the client has; None before the first snapshot. ``on_message`` gets every message."""

    def __init__(self, on_message: Callable[[bytes], None] = lambda _: None) -> None:
        self._on_message = on_message
        self.state: dict[str, Any] | None = None
        self._parts: dict[str, str] = {}
        self._sent_version = 0

    def sees(self, body: bytes) -> None:
        """The newest state is sent as a sender would, and taken as a client would."""
        portfolio_id, version = decoded(body)["portfolio_id"], int(decoded(body)["version"])
        if self.state is None:
            first = messages.snapshot(portfolio_id, version, body, NOW)
            self._on_message(first.encoded)
            self.state, self._parts = decoded(first.encoded)["data"], first.parts
        else:
            change = messages.update(portfolio_id, version, self._sent_version, body, self._parts)
            if not change.encoded:
                return  # nothing to tell: the client stays at the version it has
            (sent,) = messages.batched([change.encoded], NOW)
            self._on_message(sent.encoded)
            self.takes(decoded(sent.encoded)["updates"][0])
            self._parts = change.parts
        self._sent_version = version

    def takes(self, update: dict[str, Any]) -> None:
        """Changed fields replace; positions replace by ``instrument_id``; removed ones go; the order is by name."""
        assert self.state is not None
        data = dict(update["data"])
        positions = {item["instrument_id"]: item for item in self.state["positions"]}
        positions |= {item["instrument_id"]: item for item in data.pop("positions", [])}
        for name in data.pop("positions_removed", []):
            del positions[name]
        self.state |= data | {"version": update["version"]}
        # Cash comes after what is held.
        order = sorted(positions, key=lambda name: (name.startswith("CASH:"), name))
        self.state["positions"] = [positions[name] for name in order]
