"""EventBridge in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from foliostream.errors import RetryableError


class FakeBus:
    """Implements ``ports.EventBus``; ``published`` are (detail type, detail). ``failing`` makes the next calls fail."""

    def __init__(self) -> None:
        self.published: list[tuple[str, Mapping[str, object]]] = []
        self.failing = 0

    def publish(self, detail_type: str, details: Sequence[Mapping[str, object]]) -> None:
        if self.failing:
            self.failing -= 1
            raise RetryableError("the bus fails")
        self.published.extend((detail_type, detail) for detail in details)
