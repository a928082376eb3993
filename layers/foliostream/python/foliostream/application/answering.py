"""Answers to clients: at once, or in order with everything else that goes to them."""

from __future__ import annotations

from dataclasses import dataclass

from foliostream.application.marking import Marker
from foliostream.application.protocol import ERROR_CODES
from foliostream.application.push import Sender
from foliostream.domain import messages
from foliostream.errors import FoliostreamError
from foliostream.ports import Clock, Connection, Connections, Gateway, Outgoing


@dataclass(frozen=True)
class Answers:
    """What goes to one connection, whoever asks for it."""

    connections: Connections
    gateway: Gateway
    marker: Marker
    sender: Sender
    clock: Clock

    def now(self, connection_id: str, kind: str, request_id: str | None, **content: object) -> None:
        """A message that needs no order; a client that is gone is forgotten."""
        payload = messages.message(kind, self.clock.now_ms(), **content, request_id=request_id)
        if not self.gateway.post(connection_id, payload):
            self.sender.forget(connection_id)

    def letter(self, kind: str, request_id: str | None = None, **content: object) -> Outgoing:
        """A message for the outbox: after what waits there, before the states of portfolios."""
        return self.entry(messages.message(kind, self.clock.now_ms(), **content, request_id=request_id))

    def entry(self, payload: bytes) -> Outgoing:
        """An entry of an outbox after all there are; without a payload one to look into the session."""
        return Outgoing(f"{self.clock.now_ms():015d}-{self.marker.new_nonce()}", payload)

    def letters(self, connection: Connection, entries: list[Outgoing]) -> None:
        """Into the outbox, and have it sent without waiting."""
        letters = [(connection.connection_id, entry) for entry in entries]
        self.connections.enqueue(letters, connection.leaves_at_ms)
        self.marker.connections_now([connection.connection_id])

    def error(self, connection_id: str, fault: FoliostreamError, request_id: str | None) -> None:
        """An ``error`` with one of ``ERROR_CODES``; what is none of the client's business is named ``INTERNAL``."""
        code = fault.code if fault.code in ERROR_CODES else "UNAVAILABLE" if fault.retryable else "INTERNAL"
        self.now(
            connection_id,
            "error",
            request_id,
            code=code,
            message=fault.message if code == fault.code else ERROR_CODES[code].meaning,
            retryable=ERROR_CODES[code].is_retryable,
        )
