"""The queue of a walk over all portfolios, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from foliostream.application.receiving import Received


class FakePartQueue:
    """Implements ``ports.CloseQueue``."""

    def __init__(self) -> None:
        self.parts: list[Mapping[str, object]] = []

    def send(self, parts: Sequence[Mapping[str, object]]) -> None:
        self.parts.extend(parts)

    def receive(self) -> list[Received]:
        """Ten at most, as the function gets them."""
        taken, self.parts = self.parts[:10], self.parts[10:]
        return [Received(f"m{number}", msgspec.json.encode(part).decode(), 1) for number, part in enumerate(taken)]
