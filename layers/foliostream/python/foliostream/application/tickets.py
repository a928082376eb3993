"""Tickets: a browser cannot send a header when it opens a WebSocket, so it sends a secret that is good once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from foliostream.errors import UnauthorizedError
from foliostream.ports import Claims, Clock, Tickets

LIFE_SECONDS: Final = 30
MAX_TICKET_LENGTH: Final = 128


class Ticket(NamedTuple):
    """What the caller is given; ``url`` has the ticket in it."""

    ticket: str
    expires_in: int
    url: str


@dataclass(frozen=True)
class TicketOffice:
    """``new_secret`` gives what nobody can guess, ``socket_url`` the address of the WebSocket. Only a digest of a
    ticket is kept: who reads the store cannot connect."""

    tickets: Tickets
    clock: Clock
    new_secret: Callable[[], str]
    socket_url: Callable[[], str]

    def issue(self, claims: Claims) -> Ticket:
        """Good for ``LIFE_SECONDS``, once, for the caller's own connection."""
        secret = self.new_secret()
        self.tickets.put(_digest(secret), claims, self.clock.now_ms() + LIFE_SECONDS * 1000)
        return Ticket(secret, LIFE_SECONDS, f"{self.socket_url()}?ticket={secret}")

    def redeem(self, ticket: str) -> Claims:
        """Whose it is; ``UnauthorizedError`` (``TICKET_INVALID``) for one that was used, is too old or was never
        issued."""
        if 0 < len(ticket) <= MAX_TICKET_LENGTH:
            taken = self.tickets.take(_digest(ticket))
            if taken is not None and taken.expires_at_ms > self.clock.now_ms():
                return taken.claims
        raise UnauthorizedError("the ticket was used, is too old or was never issued", code="TICKET_INVALID")


def _digest(ticket: str) -> str:
    return sha256(ticket.encode(errors="replace")).hexdigest()
