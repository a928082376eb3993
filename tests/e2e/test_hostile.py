"""Input that means harm: it is refused, breaks nothing, reaches no key and writes no log line of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from foliostream.application.protocol import MAX_CLIENT_MESSAGE_BYTES
from foliostream_client.transport import Rest
from local.issuer import ALL_SCOPES
from local.sam import function_logs
from tests.e2e.conftest import Cloud, anything, receive
from tests.support.access import CALLS, Call, Ground
from tests.support.hostile import BODIES, NAMES
from tests.support.log_search import FORGED, forged, secrets

GROUND = Ground("nobodys", "NOSUCH", "an-order", "something-new")
FORGERIES = [f'\n{{"level":"{FORGED}"}}', f"\r\n{FORGED}"]
THREE_CALLS = {"rateLimit": 0.001, "burstLimit": 3}
ROUTES = ("$connect", "$disconnect", "$default")


@pytest.fixture
def rest(stack: Cloud) -> Rest:
    return stack.rest(f"m{uuid4().hex[:12]}", ALL_SCOPES)


@pytest.mark.parametrize("name", [*NAMES, *FORGERIES])
def test_a_name_that_would_be_part_of_another_key_is_refused_wherever_it_is_given(rest: Rest, name: str) -> None:
    body = {
        "portfolio_id": name,
        "portfolio_name": "One more",
        "account_type": "demo",
        "account_kind": "cash",
        "base_currency": "USD",
        "cost_basis": "average",
    }
    assert rest.call("POST", "/api/v1/portfolios", body).status == 400
    path = quote(name, safe="")
    # The emulator's own look at a policy ends at the end of a line (local/README.md).
    refusals = {403} if "\n" in name else {400, 404}
    for method, target in (
        ("GET", f"/api/v1/portfolio/{path}/state"),
        ("GET", f"/api/v1/instruments/{path}"),
        ("GET", f"/api/market/portfolio/dirty-users/{path}"),
        ("DELETE", f"/api/v1/portfolio/nobodys/orders/{path}"),
    ):
        assert rest.call(method, target).status in refusals, target
    instrument = rest.call("PUT", f"/api/v1/instruments/{path}", {"kind": "stock", "currency": "USD"})
    assert instrument.status in refusals
    assert rest.get("/api/v1/portfolios")["portfolios"] == []


@pytest.mark.parametrize("call", [call for call in CALLS if call.body], ids=lambda call: call.name)
def test_a_body_that_is_too_large_too_deep_or_no_json_is_the_callers_fault(call: Call, rest: Rest) -> None:
    for what, (body, status) in BODIES.items():
        answer = rest.call(call.method, GROUND.path(call.path), body)
        assert answer.status == status, (what, answer.body)


@pytest.fixture
def three_calls(stack: Cloud) -> Iterator[None]:
    """The limits of the REST stage for as long as a test lasts: three calls of a method at once, one in 1000 s."""
    gateway = stack.aws("apigateway")
    *_, api_id, name = stack.outputs.rest_url.rstrip("/").split("/")
    deployed = gateway.get_stage(restApiId=api_id, stageName=name)["methodSettings"]
    assert list(deployed) == ["*/*"]
    before = {
        "rateLimit": deployed["*/*"]["throttlingRateLimit"],
        "burstLimit": deployed["*/*"]["throttlingBurstLimit"],
    }
    assert before == {"rateLimit": 1000, "burstLimit": 2000}  # as the template has them

    def limit(limits: dict[str, Any]) -> None:
        gateway.update_stage(restApiId=api_id, stageName=name, patchOperations=operations("/*/*/throttling", limits))

    limit(THREE_CALLS)
    yield
    limit(before)


def operations(place: str, values: dict[str, Any]) -> list[dict[str, str]]:
    """What API Gateway is told to change."""
    return [{"op": "replace", "path": f"{place}/{name}", "value": str(value)} for name, value in values.items()]


@pytest.mark.usefixtures("three_calls")
def test_who_calls_too_often_is_told_so_by_the_gateway_with_and_without_a_token(stack: Cloud, rest: Rest) -> None:
    nobody = Rest(stack.outputs.rest_url, None)
    for caller, path in ((nobody, "/health"), (rest, "/api/v1/portfolios")):
        answers = [caller.call("GET", path).status for _ in range(5)]
        assert answers == [200, 200, 200, 429, 429], path


@pytest.fixture
def three_calls_of_people(stack: Cloud) -> Iterator[str]:
    """The limits of the people's usage plan for as long as a test lasts, as above; the key of the systems."""
    gateway = stack.aws("apigateway")
    plans = {plan["name"]: plan for plan in gateway.get_usage_plans()["items"]}
    people, systems = (plans[f"{stack.outputs.stack_name}-{kind}"] for kind in ("people", "systems"))
    before = people["throttle"]
    assert before == systems["throttle"] == {"rateLimit": 800, "burstLimit": 1600}  # as the template has them

    def limit(limits: dict[str, Any]) -> None:
        gateway.update_usage_plan(usagePlanId=people["id"], patchOperations=operations("/throttle", limits))

    limit(THREE_CALLS)
    (key,) = gateway.get_usage_plan_keys(usagePlanId=systems["id"])["items"]
    yield gateway.get_api_key(apiKey=key["id"], includeValue=True)["value"]
    limit(before)


def test_people_who_call_too_often_leave_the_systems_calls_alone(
    stack: Cloud, rest: Rest, three_calls_of_people: str
) -> None:
    people = [stack.rest(f"m{uuid4().hex[:12]}", ()) for _ in range(2)]
    assert [one.call("GET", "/api/v1/portfolios").status for one in people] == [200, 200]
    # Another method counts too, and whose key is sent along does not matter.
    assert people[0].call("POST", "/api/v1/portfolios", {}).status == 400
    for one in people:
        assert one.call("GET", "/api/v1/portfolios").status == 429
        assert one.call("GET", "/api/v1/portfolios", headers={"X-API-Key": three_calls_of_people}).status == 429
    assert {rest.call("GET", "/api/v1/portfolios").status for _ in range(5)} == {200}
    assert {Rest(stack.outputs.rest_url, None).call("GET", "/health").status for _ in range(5)} == {200}


def test_what_means_harm_is_answered_and_the_connection_lives_on(stack: Cloud) -> None:
    # Not deeper: the emulator's own reading ends there (local/README.md); a unit test goes further.
    nested = '{"action": "ping", "request_id": ' + "[" * 400 + "]" * 400 + "}"
    large = json.dumps({"action": "ping", "request_id": "x" * MAX_CLIENT_MESSAGE_BYTES})
    messages = [(large, "MESSAGE_TOO_LARGE"), (nested, "INVALID_MESSAGE"), ('"\\ud800"', "INVALID_JSON")]
    # Names of the gateway's own routes, which no message comes by.
    messages += [(json.dumps({"action": route}), "UNKNOWN_ACTION") for route in ROUTES]
    messages += [(json.dumps({"action": "subscribe", "portfolio_ids": [name]}), "INVALID_MESSAGE") for name in NAMES]
    with stack.socket(f"m{uuid4().hex[:12]}") as socket:
        for message, code in messages:
            socket.send(message)
            assert receive(socket, anything, f"the answer to {message[:80]}")["code"] == code


def test_nobody_writes_log_lines_of_his_own_and_no_secret_stands_in_them(stack: Cloud, rest: Rest) -> None:
    for line in (f'\n{{"level":"{FORGED}"}}', f"\r\n{FORGED}"):
        rest.call("GET", f"/api/v1/portfolio/{quote(line, safe='')}/state")
        rest.call("POST", "/webhooks/kite", {"user_id": line, "checksum": line})
        Rest(stack.outputs.rest_url, f"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.{FORGED}").call(
            "GET", "/api/v1/portfolios"
        )
    lines = function_logs(stack.outputs.aws_endpoint)
    assert lines
    assert forged(lines) == []
    assert list(secrets(lines)) == []
