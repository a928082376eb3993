"""Who is calling: the bearer token of a request, and what API Gateway is told about its owner.

Only identity is settled here. Whether this caller may see a portfolio or write prices is decided by the use case that
does it, from ``Claims.subject`` and ``Claims.scopes``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from foliostream.errors import PermanentError, UnauthorizedError
from foliostream.ports import Claims, TokenVerifier

_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/=-]+)", re.IGNORECASE | re.ASCII)
# Who has one of them is a system: a feed, a broker's bridge, an operator's tool.
SCOPES = frozenset({"prices:write", "fills:write", "instruments:write", "admin"})
_METHOD_ARN = re.compile(r"arn:[a-z-]+:execute-api:[a-z0-9-]+:[0-9]+:[A-Za-z0-9]+/[^/*?]+/")


def authorize(headers: Mapping[str, str | Sequence[str]], verifier: TokenVerifier) -> Claims:
    """The caller named by the one ``Authorization: Bearer`` header.

    ``headers``: names in any case, each with its value or with the list of its values. Raises ``UnauthorizedError``
    (``TOKEN_MISSING``, ``TOKEN_INVALID``, ``TOKEN_EXPIRED``) and what else the verifier raises.
    """
    return verifier.verify(_bearer_token(headers))


def ticket_of(parameters: Mapping[str, str | Sequence[str]], headers: Mapping[str, object], method_arn: str) -> str:
    """The one ``ticket`` in the query of a WebSocket's ``$connect`` without an ``Authorization`` header; empty where
    there is none, so that the header is asked for."""
    method = _METHOD_ARN.match(method_arn)
    if method is None or method_arn != f"{method[0]}$connect":
        return ""
    values = [value for value in _listed(parameters.get("ticket", [])) if value]
    if len(values) > 1 or (values and any(name.lower() == "authorization" for name in headers)):
        raise UnauthorizedError("one ticket or one Authorization header, not more", code="TOKEN_INVALID")
    return values[0] if values else ""


def policy(claims: Claims, method_arn: str, usage_keys: Mapping[str, str]) -> dict[str, Any]:
    """API Gateway's answer of an authorizer: an Allow for the caller, who is described in ``context`` (strings).

    REST caches the answer per token and applies it to other methods too, so it covers the whole stage. WebSocket asks
    at ``$connect`` alone and gets exactly that. ``usage_keys``: the key of ``people`` and of ``systems``, by which the
    usage plans of REST count a call.
    """
    return {
        "principalId": claims.subject,
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": _resource(method_arn)}],
        },
        "context": {
            "sub": claims.subject,
            "scope": " ".join(sorted(claims.scopes)),
            "exp": str(claims.expires_at),
        },
        "usageIdentifierKey": usage_keys["people" if SCOPES.isdisjoint(claims.scopes) else "systems"],
    }


def _bearer_token(headers: Mapping[str, str | Sequence[str]]) -> str:
    values = [value for name, held in headers.items() if name.lower() == "authorization" for value in _listed(held)]
    if not any(value.strip() for value in values):
        raise UnauthorizedError("an Authorization header with a Bearer token is needed", code="TOKEN_MISSING")
    if len(values) > 1:
        # Two parties reading two different ones of them is how a check is bypassed.
        raise UnauthorizedError("exactly one Authorization header is allowed", code="TOKEN_INVALID")
    match = _BEARER.fullmatch(values[0].strip())
    if match is None:
        raise UnauthorizedError("the Authorization header must be 'Bearer' and one token", code="TOKEN_INVALID")
    return match[1]


def _listed(held: str | Sequence[str]) -> Sequence[str]:
    return [held] if isinstance(held, str) else held


def _resource(method_arn: str) -> str:
    """The whole stage of ``arn:PARTITION:execute-api:REGION:ACCOUNT:API/STAGE/METHOD/PATH``; ``$connect`` as it is."""
    # The path is the client's and may hold anything, colons too: only what stands before it is taken apart.
    match = _METHOD_ARN.match(method_arn)
    if match is None:
        raise PermanentError(f"not the ARN of an API method: {method_arn!r}")
    return method_arn if method_arn == f"{match[0]}$connect" else f"{match[0]}*"
