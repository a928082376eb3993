"""Tickets for the WebSocket."""

from __future__ import annotations

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response

from foliostream.api import requests
from foliostream.api.answers import answer
from foliostream.api.openapi import answers, ref
from foliostream.api.parts import Parts
from foliostream.api.shapes import TicketOut


def ticket_routes(api: APIGatewayRestResolver, parts: Parts) -> None:
    """Issue them."""

    @api.post(
        "/api/v1/ws-ticket",
        summary="A ticket that opens one WebSocket connection, for browsers",
        responses=answers(status_200=("The ticket", ref(TicketOut))),
    )
    def issue_ticket() -> Response[str]:
        ticket = parts.ticket_office.issue(requests.claims(api.current_event.raw_event))
        return answer(200, TicketOut(*ticket), {"Cache-Control": "no-store"})
