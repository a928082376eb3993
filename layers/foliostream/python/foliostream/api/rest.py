"""The REST API, put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, CORSConfig
from aws_lambda_powertools.utilities.typing import LambdaContext

from foliostream.api import openapi, requests, routes
from foliostream.api.answers import answer_errors
from foliostream.api.broker_routes import broker_routes
from foliostream.api.fill_routes import fill_routes
from foliostream.api.history_routes import history_routes
from foliostream.api.margin_routes import margin_routes
from foliostream.api.order_routes import order_routes
from foliostream.api.parts import Parts
from foliostream.api.status_routes import status_routes
from foliostream.api.ticket_routes import ticket_routes

Api = Callable[[Mapping[str, Any], LambdaContext], dict[str, Any]]


def build(parts: Parts, cors_origin: str = "") -> Api:
    """API Gateway proxy event in, proxy answer out; it raises nothing. ``cors_origin``: the one origin whose pages may
    read the answers, ``*`` for any, nothing for none."""
    resolver = APIGatewayRestResolver(
        enable_validation=True,
        json_body_deserializer=requests.parse_json,
        cors=_cors(cors_origin),
        debug=False,
    )

    @cache
    def document() -> dict[str, Any]:
        return openapi.describe(resolver)

    answer_errors(resolver, lambda path: openapi.methods_of(document(), path))
    routes.open_routes(resolver, parts, document)
    routes.portfolio_routes(resolver, parts)
    routes.statement_routes(resolver, parts)
    routes.market_routes(resolver, parts)
    history_routes(resolver, parts)
    margin_routes(resolver, parts)
    fill_routes(resolver, parts)
    order_routes(resolver, parts)
    status_routes(resolver, parts)
    ticket_routes(resolver, parts)
    broker_routes(resolver, parts)

    def api(event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
        parts.origins.begin([str(event["requestContext"].get("requestId", ""))])
        return resolver.resolve(requests.plain(event), context)

    return api


def _cors(origin: str) -> CORSConfig | None:
    if not origin:
        return None
    return CORSConfig(origin, allow_headers=["Authorization", "Content-Type", "Idempotency-Key"], max_age=600)
