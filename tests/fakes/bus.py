"""EventBridge in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class FakeBus:
    """Implements ``ports.EventBus``; ``published`` are (detail type, detail)."""

    def __init__(self) -> None:
        self.published: list[tuple[str, Mapping[str, object]]] = []

    def publish(self, detail_type: str, details: Sequence[Mapping[str, object]]) -> None:
        self.published.extend((detail_type, detail) for detail in details)
