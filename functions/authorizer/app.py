"""REQUEST authorizer of both APIs: a bearer token or a ticket in, API Gateway's policy with the caller in it out."""

from __future__ import annotations

import logging
from typing import Any

from foliostream.application.authorize import authorize, policy, ticket_of
from foliostream.errors import UnauthorizedError
from foliostream.wiring import wiring

log = logging.getLogger(__name__)


def handler(event: dict[str, Any], _: object) -> dict[str, Any]:
    """A REST or WebSocket ``$connect`` event. Any error but exactly "Unauthorized" (401) becomes a 500."""
    # The plain headers show only the last of several values; a request without headers has null here.
    headers = event.get("multiValueHeaders") or event.get("headers") or {}
    parameters = event.get("multiValueQueryStringParameters") or event.get("queryStringParameters") or {}
    try:
        ticket = ticket_of(parameters, headers, event["methodArn"])
        claims = wiring().ticket_office.redeem(ticket) if ticket else authorize(headers, wiring().token_verifier)
    except UnauthorizedError as refusal:
        log.info("refused: %s: %s", refusal.code, refusal.message)
        raise Exception("Unauthorized") from None
    return policy(claims, event["methodArn"], wiring().settings.usage_keys)
