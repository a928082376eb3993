"""Every call and every action says who may: whoever adds one adds its entry to ``tests/support/access.py``."""

from __future__ import annotations

from typing import Any

import pytest

from foliostream.api.openapi import OPEN_PATHS
from foliostream.application import protocol
from foliostream.application.reconcile_on_demand import Reconciling
from tests.support.access import ACTIONS, CALLS, Call, Ground
from tests.unit.api.client import CONTEXT, Client, Parts, read, sample

EVERY_SCOPE = "prices:write fills:write instruments:write admin"

GROUND = Ground("12345", "AAPL", "an-order", "something-new")


def described() -> list[str]:
    paths = Client().send("GET", "/openapi.json", sub=None).body["paths"]
    return sorted(f"{method.upper()} {path}" for path, operations in paths.items() for method in operations)


def test_every_call_of_the_description_has_one_entry_and_no_entry_is_left_over() -> None:
    assert sorted(call.name for call in CALLS) == described()


def test_every_action_of_the_protocol_has_one_entry() -> None:
    assert sorted(action.name for action in ACTIONS) == sorted(protocol.ACTIONS)


def test_what_needs_no_token_is_what_is_described_as_open() -> None:
    assert {call.path for call in CALLS if call.who in {"anybody", "proof"}} == OPEN_PATHS


def test_a_path_that_names_a_portfolio_is_its_owners() -> None:
    named = {call.name for call in CALLS if "{portfolio_id}" in call.path}
    assert named == {call.name for call in CALLS if call.who == "owner"}


@pytest.mark.parametrize("call", [call for call in CALLS if call.who not in {"anybody", "proof"}], ids=lambda c: c.name)
def test_without_whom_the_authorizer_verified_nothing_is_answered(call: Call) -> None:
    """The authorizer in front is tested where it is; this is what is left if it were ever taken away."""
    body = call.body(GROUND) if call.body else None
    answer = Client().send(call.method, GROUND.path(call.path), body, sub=None)
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize(("after_ms", "status"), [(-1, 200), (0, 401)])
def test_a_token_ends_on_time_although_the_gateway_keeps_the_authorizers_answer(after_ms: int, status: int) -> None:
    client = Client()
    client.create()
    event = sample("state")
    event["requestContext"]["requestTimeEpoch"] = int(event["requestContext"]["authorizer"]["exp"]) * 1000 + after_ms
    answer = read(client.api(event, CONTEXT))
    assert answer.status == status
    assert status == 200 or answer.code == "TOKEN_EXPIRED"


@pytest.mark.parametrize("call", [call for call in CALLS if call.who not in {"anybody", "proof"}], ids=lambda c: c.name)
def test_no_call_takes_a_token_that_has_ended_meanwhile(call: Call) -> None:
    context = sample("state")["requestContext"]
    context["authorizer"] |= {"scope": call.scope, "exp": str(context["requestTimeEpoch"] // 1000)}
    body = call.body(GROUND) if call.body else None
    answer = Client().send(call.method, GROUND.path(call.path), body, requestContext=context)
    assert (answer.status, answer.code) == (401, "TOKEN_EXPIRED")


class WithBrokers(Parts):
    """The calls that a function of its own answers, too."""

    @property
    def reconciling(self) -> Any:  # noqa: ANN401 (the parts' own type has none)
        return Reconciling(self.ledger, {})


@pytest.mark.parametrize("call", [call for call in CALLS if call.who == "owner"], ids=lambda call: call.name)
def test_somebody_elses_portfolio_is_not_there_whatever_the_scopes(call: Call) -> None:
    client = Client(WithBrokers())
    client.create(account_type="paper", account_kind="margin", leverage=2)
    before = client.parts.ledger.load(["12345"])
    body = call.body(GROUND) if call.body else {}
    answer = client.send(call.method, GROUND.path(call.path), body, sub="bob", scope=EVERY_SCOPE)
    assert (answer.status, answer.code) == (404, "PORTFOLIO_NOT_FOUND")
    assert client.parts.ledger.load(["12345"]) == before


@pytest.mark.parametrize("call", [call for call in CALLS if call.who == "scope"], ids=lambda call: call.name)
def test_every_scope_but_the_needed_one_is_not_enough(call: Call) -> None:
    others = " ".join(scope for scope in EVERY_SCOPE.split() if scope != call.scope)
    body = call.body(GROUND) if call.body else None
    answer = Client().send(call.method, GROUND.path(call.path), body, scope=others)
    assert (answer.status, answer.code) == (403, "MISSING_SCOPE")
