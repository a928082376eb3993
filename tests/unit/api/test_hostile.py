"""Input that means harm is refused before it reaches a key or breaks anything."""

from __future__ import annotations

import string
from base64 import b64encode
from urllib.parse import quote

import pytest

from tests.support.access import CALLS, Call, Ground
from tests.support.hostile import BODIES, NAMES
from tests.unit.api.client import Client

GROUND = Ground("nobodys", "NOSUCH", "an-order", "something-new")
EVERY_SCOPE = "prices:write fills:write instruments:write admin"


@pytest.mark.parametrize("name", [*NAMES, "\r\nERROR forged"])
def test_a_name_that_would_be_part_of_another_key_is_refused_wherever_it_is_given(client: Client, name: str) -> None:
    assert client.create(portfolio_id=name).status == 400
    path = quote(name, safe="")
    for method, target, body in (
        ("GET", f"/api/v1/portfolio/{path}/state", None),
        ("GET", f"/api/v1/instruments/{path}", None),
        ("PUT", f"/api/v1/instruments/{path}", {"kind": "stock", "currency": "USD"}),
        ("GET", f"/api/market/portfolio/dirty-users/{path}", None),
        ("DELETE", f"/api/v1/portfolio/nobodys/orders/{path}", None),
    ):
        assert client.send(method, target, body, scope=EVERY_SCOPE).status in {400, 404}, target
    assert client.send("GET", "/api/v1/portfolios").body["portfolios"] == []


@pytest.mark.parametrize(
    "call", [call for call in CALLS if call.body and call.who != "proof"], ids=lambda call: call.name
)
@pytest.mark.parametrize("what", BODIES)
def test_a_body_that_is_too_large_too_deep_or_no_json_is_the_callers_fault(
    client: Client, call: Call, what: str
) -> None:
    body, status = BODIES[what]
    sent = b64encode(body).decode()
    answer = client.send(call.method, GROUND.path(call.path), sent, scope=EVERY_SCOPE, isBase64Encoded=True)
    assert answer.status == status, answer.text


@pytest.mark.parametrize("character", [*string.printable, "\u202e", "\x00", "ß"])
def test_a_path_that_is_none_of_ours_is_not_said_to_lack_the_method_that_the_path_has(
    client: Client, character: str
) -> None:
    answer = client.send("GET", f"/api/v1/instruments/a{character}b")
    assert answer.status in {400, 404}, answer.text
