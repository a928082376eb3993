"""Tickets in memory."""

from __future__ import annotations

from foliostream.ports import Claims, TakenTicket


class FakeTickets:
    """Implements ``ports.Tickets``."""

    def __init__(self) -> None:
        self.kept: dict[str, TakenTicket] = {}

    def put(self, digest: str, claims: Claims, expires_at_ms: int) -> None:
        self.kept[digest] = TakenTicket(claims, expires_at_ms)

    def take(self, digest: str) -> TakenTicket | None:
        return self.kept.pop(digest, None)
