"""The description of the API: inputs from the pydantic models, answers from the very structs that are encoded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from aws_lambda_powertools.event_handler.openapi.types import OpenAPIResponse

from foliostream.api import lines, shapes
from foliostream.api.models import text
from foliostream.domain import keys, orders
from foliostream.domain.valuation import PortfolioState, PositionState

VERSION = "1.0.0"
OPEN_PATHS = frozenset({"/health", "/openapi.json", "/webhooks/kite"})
_REF = "#/components/schemas/{name}"
_SHAPES = (
    PortfolioState,
    PositionState,
    shapes.PortfolioList,
    shapes.TransactionList,
    shapes.HistoryOut,
    shapes.PortfolioAnalytics,
    shapes.PricesIn,
    shapes.PricesTaken,
    shapes.FillIn,
    shapes.FillsTaken,
    shapes.OrderOut,
    shapes.OrderList,
    shapes.InstrumentOut,
    shapes.ClosesOut,
    shapes.ClosesKept,
    shapes.MarginPreview,
    shapes.RefreshAccepted,
    shapes.TicketOut,
    shapes.ReconcileReport,
    shapes.PostbackTaken,
    shapes.MarketStatus,
    shapes.DirtyUsers,
    shapes.Health,
    shapes.Error,
)
# What the router takes for a parameter; a path with anything else in its place is none of ours.
_PARAMETER = r"[-._~()'!*:@,;=+&$%<> \[\]{}|^\w]+"

# What its parameters are, checked by the use cases: a path is read before anybody knows in which way it is encoded.
_IN_PATHS: Mapping[str, Mapping[str, Any]] = {
    "portfolio_id": text(keys.PORTFOLIO_ID),
    "symbol": text(keys.SYMBOL),
    "order_id": text(orders.ORDER_ID),
    "user_type": {"type": "string", "enum": [*keys.ACCOUNT_TYPES]},
}


def ref(shape: type) -> dict[str, str]:
    """A reference to the schema of a struct of this API."""
    return {"$ref": _REF.format(name=shape.__name__)}


def answers(**by_status: tuple[str, Mapping[str, Any]]) -> dict[int, OpenAPIResponse]:
    """``status_200=("what it is", schema)``, for a route's ``responses``."""
    return {
        int(name.removeprefix("status_")): {
            "description": description,
            "content": {"application/json": {"schema": dict(schema)}},
        }
        for name, (description, schema) in by_status.items()
    }


def json_body(shape: type) -> dict[str, Any]:
    """A request body that is read by its use case itself, for a route's ``openapi_extensions``."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": ref(shape)}}}}


def one_or_list(shape: type, limit: int) -> dict[str, Any]:
    """As ``json_body``, for a body that is one of a shape or a list of at most ``limit``."""
    several = {"type": "array", "items": ref(shape), "minItems": 1, "maxItems": limit}
    schema = {"oneOf": [ref(shape), several]}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def describe(resolver: APIGatewayRestResolver) -> dict[str, Any]:
    """The OpenAPI document of the resolver's routes, without ``servers``."""
    written = resolver.get_openapi_json_schema(
        title="Foliostream",
        version=VERSION,
        description="Portfolio values that follow the market. Amounts are exact decimals, times UTC. Integers are "
        "written without a fraction and without an exponent: 1239, not 1239.0.",
    )
    document: dict[str, Any] = json.loads(written)
    del document["servers"]
    schemas = document["components"]["schemas"] | _schemas()
    schemas["UpdateLine"] = lines.described(schemas["UpdateLine"])
    # Powertools describes its own answer to an invalid request; ours is an Error like all others.
    document["components"] = {
        "schemas": {name: schemas[name] for name in sorted(schemas) if "ValidationError" not in name},
        "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        "responses": {
            "Error": {
                "description": "Refused or failed; code says why.",
                "content": {"application/json": {"schema": ref(shapes.Error)}},
            }
        },
    }
    document["security"] = [{"bearer": []}]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _finish(path, operation)
    return document


def methods_of(document: Mapping[str, Any], path: str) -> Sequence[str]:
    """The methods described for a path."""
    for template, operations in document["paths"].items():
        if re.fullmatch(re.sub(r"\\\{\w+\\\}", lambda _: _PARAMETER, re.escape(template)), path.rstrip("/")):
            return sorted(method.upper() for method in operations)
    return []


def _finish(path: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            parameter["schema"] = dict(_IN_PATHS[parameter["name"]])
    responses |= {status: {"$ref": "#/components/responses/Error"} for status in ("4XX", "5XX")}
    if path in OPEN_PATHS:
        operation["security"] = []


def _schemas() -> dict[str, Any]:
    _, components = msgspec.json.schema_components(_SHAPES, ref_template=_REF)
    return {name: _with_numbers(schema) for name, schema in components.items()}


def _with_numbers(schema: object) -> object:
    """Decimals are JSON numbers here, or what is said of them; the library describes its default, strings."""
    if isinstance(schema, dict):
        if schema.get("format") == "decimal":
            return {"anyOf": schema["anyOf"]} if "anyOf" in schema else {"type": "number"}
        return {name: _with_numbers(value) for name, value in schema.items()}
    return [_with_numbers(value) for value in schema] if isinstance(schema, list) else schema
