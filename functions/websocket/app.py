"""The WebSocket API: who connects, what clients ask, who left."""

from __future__ import annotations

from typing import Any

from foliostream.errors import CallerError
from foliostream.wiring import wiring


def handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Answers go through the gateway, never through the route's response, but for a refused connection; a failing
    store is a 500."""
    request = event["requestContext"]
    connection_id = request["connectionId"]
    watching = wiring().watching
    # Not the route: that is whatever a client says its action is, also "$connect".
    if request["eventType"] == "CONNECT":
        caller = request["authorizer"]
        asked = (event.get("queryStringParameters") or {}).get("session_id")
        try:
            watching.connect(connection_id, caller["sub"], caller["scope"].split(), int(caller["exp"]) * 1000, asked)
        except CallerError as refusal:
            return {"statusCode": refusal.http_status}
    elif request["eventType"] == "DISCONNECT":
        watching.disconnect(connection_id)
    else:
        watching.receive(connection_id, event.get("body") or "")
    return {"statusCode": 200}
