"""The open calls: /health and /openapi.json."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from foliostream.api import models, shapes
from foliostream.application import price_input
from foliostream.domain.instrument import Instrument
from foliostream.domain.valuation import PortfolioState, PositionState
from foliostream.errors import RetryableError
from tests.unit.api.client import Client

PUBLIC = {"/health", "/openapi.json", "/webhooks/kite"}


@pytest.fixture
def document(client: Client) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(client.send("GET", "/openapi.json", sub=None).text)
    return described


def test_health_reads_both_stores(client: Client) -> None:
    answer = client.send("GET", "/health", sub=None)
    assert answer.status == 200
    assert (answer.body["status"], answer.body["hot_store"]) == ("ok", "dynamodb")
    assert set(answer.body["checks"]) == {"ledger", "hot_store"}
    for check in answer.body["checks"].values():
        assert check["status"] == "ok"
        assert check["latency_ms"] >= 0


@pytest.mark.parametrize("down", ["ledger", "hot_store"])
def test_health_is_503_and_says_which_store_is_down_and_nothing_more(client: Client, down: str) -> None:
    def fails(_: object) -> None:
        raise RetryableError("redis://secret:6379 does not answer")

    parts = client.parts
    if down == "ledger":
        parts.ledger.load = fails  # type: ignore[method-assign, assignment]
    else:
        parts.hot.read = fails  # type: ignore[method-assign, assignment]
    answer = client.send("GET", "/health", sub=None)
    assert (answer.status, answer.body["status"]) == (503, "down")
    assert [name for name, check in answer.body["checks"].items() if check["status"] == "down"] == [down]
    assert "secret" not in answer.text


def test_the_description_names_the_api_and_its_base(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"] == "Foliostream"
    assert document["servers"] == [{"url": "/live"}]


def test_the_description_has_every_call_and_no_other(document: dict[str, Any]) -> None:
    calls = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    assert calls == {
        "POST /api/v1/portfolios",
        "GET /api/v1/portfolios",
        "GET /api/v1/portfolio/{portfolio_id}/state",
        "POST /api/v1/portfolio/{portfolio_id}/orders",
        "GET /api/v1/portfolio/{portfolio_id}/orders",
        "DELETE /api/v1/portfolio/{portfolio_id}/orders/{order_id}",
        "POST /api/v1/portfolio/{portfolio_id}/reset",
        "POST /api/v1/portfolio/{portfolio_id}/update",
        "GET /api/v1/portfolio/{portfolio_id}/positions",
        "POST /api/v1/portfolio/{portfolio_id}/refresh",
        "POST /api/v1/ws-ticket",
        "POST /api/v1/portfolio/{portfolio_id}/reconcile",
        "POST /webhooks/kite",
        "PATCH /api/v1/portfolio/{portfolio_id}",
        "GET /api/market/portfolio/status",
        "GET /api/market/portfolio/dirty-users/{user_type}",
        "GET /api/v1/portfolio/{portfolio_id}/transactions",
        "GET /api/v1/portfolio/{portfolio_id}/history",
        "GET /api/v1/portfolio/{portfolio_id}/analytics",
        "POST /api/v1/portfolio/{portfolio_id}/margin/preview",
        "POST /api/v1/prices",
        "POST /api/v1/fills",
        "PUT /api/v1/instruments/{symbol}",
        "GET /api/v1/instruments/{symbol}",
        "PUT /api/v1/instruments/{symbol}/history",
        "GET /api/v1/instruments/{symbol}/history",
        "GET /health",
        "GET /openapi.json",
    }


@pytest.mark.parametrize("shape", [PortfolioState, PositionState, shapes.InstrumentOut, shapes.Error])
def test_an_answer_is_described_field_by_field_in_the_order_it_goes_out(
    document: dict[str, Any], shape: type[msgspec.Struct]
) -> None:
    schema = document["components"]["schemas"][shape.__name__]
    assert tuple(schema["properties"]) == shape.__struct_fields__
    assert tuple(schema["required"]) == shape.__struct_fields__


def test_amounts_are_described_as_numbers(document: dict[str, Any]) -> None:
    state = document["components"]["schemas"]["PortfolioState"]["properties"]
    assert state["total_value"] == {"anyOf": [{"type": "number"}, {"type": "null"}]}
    assert state["realized_pnl"] == {"type": "number"}
    assert '"decimal"' not in json.dumps(document)


def test_requests_are_described_by_what_checks_them(document: dict[str, Any]) -> None:
    expected = {
        "POST /api/v1/portfolios": "PortfolioRequest",
        "POST /api/v1/portfolio/{portfolio_id}/update": "UpdateRequest",
        "POST /api/v1/prices": "PricesIn",
        "PUT /api/v1/instruments/{symbol}": "InstrumentRequest",
        "PUT /api/v1/instruments/{symbol}/history": "ClosesRequest",
        "PATCH /api/v1/portfolio/{portfolio_id}": "PortfolioChange",
    }
    for call, name in expected.items():
        method, path = call.split()
        body = document["paths"][path][method.lower()]["requestBody"]
        assert body["content"]["application/json"]["schema"] == {"$ref": f"#/components/schemas/{name}"}
        assert body["required"] is True
    for line in document["components"]["schemas"]["UpdateLine"]["anyOf"]:
        assert line["additionalProperties"] is False
        assert {"transaction_type", "ratio", "from", "to", "rate", "reason"} <= set(line["properties"])


def test_the_described_price_is_the_price_that_is_parsed() -> None:
    parsed = {name: field.required for name, field in _fields(price_input._Update).items()}
    assert {name: field.required for name, field in _fields(shapes.PriceUpdateIn).items()} == parsed


def test_the_described_instrument_is_the_stored_one() -> None:
    assert shapes.InstrumentOut.__struct_fields__ == Instrument.__struct_fields__
    assert ("symbol", *models.InstrumentRequest.model_fields) == Instrument.__struct_fields__


def test_every_call_describes_errors_and_all_but_the_open_ones_need_a_token(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert document["security"] == [{"bearer": []}]
    for path, item in document["paths"].items():
        for operation in item.values():
            for status in ("4XX", "5XX"):
                assert operation["responses"][status] == {"$ref": "#/components/responses/Error"}
            assert operation.get("security", "inherited") == ([] if path in PUBLIC else "inherited")
            assert any(re.fullmatch("20[0-2]", status) for status in operation["responses"])


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)))
    assert references
    for reference in references:
        found: Any = document
        for step in reference.split("/"):
            found = found[step]


def test_an_idempotency_key_is_described(document: dict[str, Any]) -> None:
    [parameter] = document["paths"]["/api/v1/portfolios"]["post"]["parameters"]
    assert (parameter["name"], parameter["in"], parameter["required"]) == ("idempotency-key", "header", False)


def test_pydantic_is_loaded_by_this_package_alone() -> None:
    package = Path(models.__file__).parents[1]
    importing = {path.parent.name for path in package.rglob("*.py") if "import pydantic" in (text := path.read_text())
                 or "from pydantic" in text}  # fmt: skip
    assert importing == {"api"}


def _fields(shape: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.name: field for field in msgspec.structs.fields(shape)}
