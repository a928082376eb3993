"""What is read from an API Gateway event beside its validated parameters."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

from aws_lambda_powertools.event_handler.exceptions import RequestEntityTooLargeError

from foliostream.application.access import Caller
from foliostream.errors import CallerError, UnauthorizedError
from foliostream.ports import Claims

MAX_BODY_BYTES = 256 * 1024


def plain(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event with its body as text, declared as JSON: that is what every body is here, whatever a client's tool
    puts into Content-Type by itself."""
    headers = {name: value for name, value in (event.get("headers") or {}).items() if name.lower() != "content-type"}
    return {
        **event,
        "headers": headers | {"Content-Type": "application/json"},
        "multiValueHeaders": event.get("multiValueHeaders") or {},
        "body": _text(event),
        "isBase64Encoded": False,
    }


def _text(event: Mapping[str, Any]) -> str | None:
    body: str | None = event.get("body")
    if body and event.get("isBase64Encoded"):
        try:
            return b64decode(body, validate=True).decode()
        except ValueError:
            return body  # not base64, or not UTF-8: no JSON object either way, so it is refused as such
    # A lone surrogate is no text and nothing behind this could store it.
    return body.encode(errors="replace").decode() if body else body


def checked_size(body: str) -> str:
    """The body, if it is small enough; the answer is 413 otherwise."""
    size = len(body.encode())
    if size > MAX_BODY_BYTES:
        raise RequestEntityTooLargeError(f"a body has at most {MAX_BODY_BYTES} bytes, not {size}")
    return body


def parse_json(body: str) -> dict[str, Any]:
    """A JSON object, every number exact: int or Decimal. ``CallerError`` (``INVALID_JSON``) for anything else."""
    try:
        parsed = json.loads(checked_size(body), parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, ArithmeticError, RecursionError) as fault:
        raise CallerError(f"the body is not JSON: {_why(fault)}", code="INVALID_JSON") from None
    if not isinstance(parsed, dict):
        raise CallerError("the body must be a JSON object", code="INVALID_JSON")
    return parsed


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _why(fault: Exception) -> str:
    if isinstance(fault, json.JSONDecodeError):
        return f"{fault.msg} at line {fault.lineno} column {fault.colno}"
    if isinstance(fault, RecursionError):
        return "nested too deeply"
    return str(fault) if isinstance(fault, ValueError) else "a number is out of range"


def caller(event: Mapping[str, Any]) -> Caller:
    """Whom the authorizer verified; ``UnauthorizedError`` if none did, or if its token has expired since."""
    request = event.get("requestContext") or {}
    context = request.get("authorizer") or {}
    if not context.get("sub"):
        raise UnauthorizedError("a valid token is needed")
    # API Gateway keeps the authorizer's answer for a minute, whatever the token's end.
    if request["requestTimeEpoch"] >= int(context["exp"]) * 1000:
        raise UnauthorizedError("the token has expired", code="TOKEN_EXPIRED")
    return Caller(context["sub"], frozenset(str(context.get("scope") or "").split()))


def claims(event: Mapping[str, Any]) -> Claims:
    """The same with the second at which the token ends."""
    known = caller(event)
    return Claims(known.subject, known.scopes, int(event["requestContext"]["authorizer"]["exp"]))


def name(raw: str) -> str:
    """A name out of a path: gateways differ in whether they decode it, and no name of ours contains a percent sign."""
    return unquote(raw)
