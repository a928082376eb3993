"""Posts to clients in memory."""

from __future__ import annotations

from foliostream.errors import RetryableError


class FakeGateway:
    """Implements ``ports.Gateway``; ``gone`` and ``failing`` are connection ids that answer so."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, bytes]] = []
        self.gone: set[str] = set()
        self.failing: set[str] = set()

    def post(self, connection_id: str, payload: bytes) -> bool:
        if connection_id in self.failing:
            raise RetryableError(f"posting to {connection_id} fails")
        if connection_id in self.gone:
            return False
        self.posted.append((connection_id, payload))
        return True

    def to(self, connection_id: str) -> list[bytes]:
        """What the connection was sent, in order."""
        return [payload for posted_to, payload in self.posted if posted_to == connection_id]

    def close(self, connection_id: str) -> None:
        self.gone.add(connection_id)
