"""POST /api/v1/fills."""

from __future__ import annotations

import msgspec
import pytest

from foliostream.api import shapes
from foliostream.application import fill_input, record_fill
from tests.unit.api.client import NOW_MS, Client

FILL = {
    "fill_id": "f1",
    "execution_mode": "paper",
    "strategy_id": "trend",
    "instrument_id": "AAPL",
    "side": "BUY",
    "quantity": 10,
    "fill_price": "150.25",
    "timestamp": NOW_MS,
}


def test_one_or_a_list_are_accepted_and_each_is_judged_on_its_own(client: Client) -> None:
    answer = client.send("POST", "/api/v1/fills", FILL)
    assert (answer.status, answer.body) == (202, {"accepted": 1, "rejected": []})
    bad = {name: value for name, value in FILL.items() if name != "fill_id"}
    answer = client.send("POST", "/api/v1/fills", [FILL, bad, FILL | {"portfolio_id": "12345", "execution_mode": None}])
    assert (answer.status, answer.body["accepted"]) == (202, 1)
    assert [(item["index"], item["code"]) for item in answer.body["rejected"]] == [
        (1, "FILL_ID_MISSING"),
        (2, "PORTFOLIO_NOT_FOUND"),
    ]


def test_a_paper_portfolio_nobody_else_is_named_for_belongs_to_the_caller(client: Client) -> None:
    client.send("POST", "/api/v1/fills", FILL, sub="carol")
    (message,) = client.parts.fills.receive()
    assert record_fill._decoder.decode(message.body).new_owner == "carol"


def test_an_exact_price_stays_exact(client: Client) -> None:
    body = '{"fill_id": "f", "portfolio_id": "paper_a", "instrument_id": "AAPL", "side": "SELL", "timestamp": 1, '
    answer = client.send("POST", "/api/v1/fills", body + '"quantity": 0.1, "fill_price": 123456789012345.123456}')
    assert answer.body["accepted"] == 1
    (message,) = client.parts.fills.receive()
    fill = record_fill._decoder.decode(message.body)
    assert (str(fill.quantity), str(fill.price)) == ("0.1", "123456789012345.123456")


def test_it_needs_its_scope_and_a_caller(client: Client) -> None:
    assert client.send("POST", "/api/v1/fills", FILL, scope="prices:write").code == "MISSING_SCOPE"
    assert client.send("POST", "/api/v1/fills", FILL, sub=None).status == 401


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ([], 400, "INVALID"),
        ([FILL] * 101, 400, "TOO_MANY_FILLS"),
        ("", 400, "INVALID_JSON"),
        ("[1, 2", 400, "INVALID_JSON"),
        ("17", 400, "INVALID"),
        ("[" + "1" * 300_000 + "]", 413, "PAYLOAD_TOO_LARGE"),
    ],
)
def test_what_is_no_list_of_fills_is_refused_whole(client: Client, body: object, status: int, code: str) -> None:
    answer = client.send("POST", "/api/v1/fills", body)
    assert (answer.status, answer.code) == (status, code)


def test_a_list_with_other_things_in_it_refuses_those(client: Client) -> None:
    answer = client.send("POST", "/api/v1/fills", [1, None, "x", {}, FILL])
    assert answer.body["accepted"] == 1
    assert [item["code"] for item in answer.body["rejected"]] == ["INVALID"] * 3 + ["FILL_ID_MISSING"]


def test_a_queue_that_is_down_is_said_so_and_may_be_asked_again(client: Client) -> None:
    client.parts.fills.failing = 1
    answer = client.send("POST", "/api/v1/fills", FILL)
    assert (answer.status, answer.code) == (503, "UNAVAILABLE")


def test_an_instrument_keeps_the_brokers_token(client: Client) -> None:
    body = {"kind": "stock", "currency": "INR", "token": "408065"}
    assert client.send("PUT", "/api/v1/instruments/INFY", body).body["token"] == "408065"
    by_token = {name: value for name, value in FILL.items() if name != "instrument_id"} | {"instrument_token": 408065}
    assert client.send("POST", "/api/v1/fills", by_token).body["accepted"] == 1


def test_the_described_fill_is_the_fill_that_is_read() -> None:
    """What is read takes whatever is written, so that each wrong field gets its reason; the names are the same."""
    described = {item.name for item in msgspec.structs.fields(shapes.FillIn)}
    assert described == {item.name for item in msgspec.structs.fields(fill_input.GivenFill)}


def test_it_is_described(client: Client) -> None:
    document = client.send("GET", "/openapi.json", sub=None).body
    one, several = document["paths"]["/api/v1/fills"]["post"]["requestBody"]["content"]["application/json"]["schema"][
        "oneOf"
    ]
    assert several["maxItems"] == 100
    assert several["items"] == one == {"$ref": "#/components/schemas/FillIn"}
