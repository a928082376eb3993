"""Every answer of the REST API, and the one place where errors become answers.

Bodies leave as ready text, written with exact decimals: Powertools passes text through as it is, while its own
serialisers would make floats or strings of a Decimal.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError, ServiceError
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError

from foliostream.api.shapes import Error, ErrorBody
from foliostream.errors import CallerError, FoliostreamError

log = logging.getLogger(__name__)

MAX_DETAILS = 50
_JSON = "application/json"
_EXPONENT = re.compile(rb"[0-9]E[+-]?[0-9]")
_encoder = msgspec.json.Encoder(decimal_format="number")
# What is said instead of an adapter's message, which names tables and quotes the service it called.
_HIDDEN = {
    HTTPStatus.CONFLICT: "somebody else changed it meanwhile: try again",
    HTTPStatus.SERVICE_UNAVAILABLE: "a store or a queue did not answer in time: try again",
}


def answer(status: int, content: object, headers: Mapping[str, str | list[str]] | None = None) -> Response[str]:
    """``content`` as JSON with exact decimals, none of them in exponent form."""
    encoded = _encoder.encode(content)
    if _EXPONENT.search(encoded):  # or a text that looks like one: then only the longer way is taken
        encoded = _encoder.encode(_plain(msgspec.to_builtins(content, builtin_types=(Decimal,))))
    return ready(status, encoded, headers)


def _plain(item: object) -> object:
    """Decimal writes 0.0000001 as ``1E-7``."""
    if isinstance(item, Decimal):
        return msgspec.Raw(format(item, "f"))
    if isinstance(item, dict):
        return {name: _plain(part) for name, part in item.items()}
    return [_plain(part) for part in item] if isinstance(item, list | tuple) else item


def ready(status: int, body: bytes, headers: Mapping[str, str | list[str]] | None = None) -> Response[str]:
    """A body that is JSON already, byte for byte."""
    return Response(status, content_type=_JSON, body=body.decode(), headers=headers)


class Refusal(NamedTuple):
    """An error as the caller sees it."""

    status: int
    code: str
    message: str
    details: Sequence[Mapping[str, Any]] = ()
    headers: Mapping[str, str | list[str]] | None = None


def answer_errors(resolver: APIGatewayRestResolver, methods_of: Callable[[str], Sequence[str]]) -> None:
    """Make an answer of everything a route may raise. ``methods_of``: the methods that a path has."""

    def answer_error(fault: Exception) -> Response[str]:
        event = resolver.current_event
        if isinstance(fault, NotFoundError):
            refused = _no_route(event.http_method, event.path, methods_of(event.path))
        else:
            refused = refusal(fault)
        request_id = str(event.request_context.request_id)
        if refused.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            extra = {"request_id": request_id}
            log.error("%s %s: %r", event.http_method, event.path, fault, exc_info=fault, extra=extra)
        details = [dict(detail) for detail in refused.details[:MAX_DETAILS]]
        error = ErrorBody(refused.code, refused.message, request_id, details)
        return answer(refused.status, Error(error), refused.headers)

    resolver.exception_handler(Exception)(answer_error)


def refusal(fault: Exception) -> Refusal:
    """What the caller is told. Anything unexpected and anything an operator has to mend is 500 without internals."""
    if isinstance(fault, RequestValidationError):
        return _invalid(fault)
    if isinstance(fault, FoliostreamError) and fault.http_status != HTTPStatus.INTERNAL_SERVER_ERROR:
        return _ours(fault)
    if isinstance(fault, ServiceError) and fault.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return Refusal(fault.status_code, "PAYLOAD_TOO_LARGE", str(fault.msg))
    return Refusal(500, "INTERNAL", "something failed on our side; the request id finds it in the logs")


def _ours(fault: FoliostreamError) -> Refusal:
    message = fault.message
    if not isinstance(fault, CallerError) and fault.code == fault.default_code:
        message = _HIDDEN.get(HTTPStatus(fault.http_status), message)
    headers = {"Retry-After": "1"} if fault.retryable else None
    return Refusal(fault.http_status, fault.code, message, fault.details, headers)


def _invalid(fault: RequestValidationError) -> Refusal:
    details = [{"field": _field(item["loc"]), "message": _message(item["msg"])} for item in fault.errors()]
    first = ": ".join(details[0].values()) if details else "it cannot be read"
    return Refusal(400, "INVALID", f"the request is not valid: {first}", details)


def _field(location: Sequence[str | int]) -> str:
    parts = location[1:] if len(location) > 1 else location
    return ".".join(re.sub(r"[^\w-]", "?", str(part))[:40] for part in parts)


def _message(message: str) -> str:
    return message.removeprefix("Value error, ")[:300]


def _no_route(method: str, path: str, methods: Sequence[str]) -> Refusal:
    if not methods:
        return Refusal(404, "NOT_FOUND", f"there is no {path[:200]}")
    allowed = ", ".join(methods)
    text = f"{path[:200]} has no {method}, only {allowed}"
    return Refusal(405, "METHOD_NOT_ALLOWED", text, headers={"Allow": allowed})
