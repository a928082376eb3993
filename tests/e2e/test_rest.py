"""REST as its users meet it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from uuid import uuid4

import pytest

from foliostream_client.transport import Rest
from tests.e2e.conftest import Cloud, Holder, eventually, now_ms, post_price


def test_health_and_the_description_are_open(stack: Cloud) -> None:
    nobody = Rest(stack.outputs.rest_url)
    assert nobody.get("/health")["status"] == "ok"
    document = nobody.get("/openapi.json")
    assert "/api/v1/portfolio/{portfolio_id}/state" in document["paths"]


@pytest.mark.parametrize("token", [None, "", "nonsense", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9."])
def test_without_a_genuine_token_nothing_is_answered(stack: Cloud, token: str | None) -> None:
    # Only the status: the body is a gateway response of the template, which the emulator does not honour.
    assert Rest(stack.outputs.rest_url, token).call("GET", "/api/v1/portfolios").status == 401


def test_a_token_with_another_signature_is_refused(stack: Cloud) -> None:
    head, claims, signature = stack.token("admin").split(".")
    forged = Rest(stack.outputs.rest_url, f"{head}.{claims}.{signature[:-8]}AAAAAAAA")
    assert forged.call("GET", "/api/v1/portfolios").status == 401


def test_prices_need_their_scope(stack: Cloud) -> None:
    answer = stack.rest("somebody").call("POST", "/api/v1/prices", {"updates": []})
    assert answer.status == 403
    assert answer.body["error"]["code"] == "MISSING_SCOPE"


def test_anothers_portfolio_and_one_that_does_not_exist_look_the_same(
    stack: Cloud, holder: Callable[[str], Holder]
) -> None:
    owner = holder("live")
    stranger = stack.rest("stranger")
    body = {
        "timestamp": now_ms(),
        "updates": [{"instrument_id": "CASH:USD", "amount": 5, "transaction_type": "WITHDRAWAL"}],
    }
    for method, call, sent in [
        ("GET", "state", None),
        ("GET", "positions", None),
        ("POST", "refresh", {}),
        ("POST", "update", body),
    ]:
        answers = [
            stranger.call(
                method,
                f"/api/v1/portfolio/{identifier}/{call}",
                sent and sent | {"portfolio_id": identifier},
            )
            for identifier in (owner.portfolio_id, "x" * len(owner.portfolio_id))
        ]
        assert [answer.status for answer in answers] == [404, 404], call
        assert [answer.body["error"]["code"] for answer in answers] == ["PORTFOLIO_NOT_FOUND"] * 2
    assert owner.state()["cash_balance"] == Decimal("8998.50")


def test_the_same_update_twice_is_booked_once(admin: Rest, symbol: str, holder: Callable[[str], Holder]) -> None:
    owner = holder("live")
    post_price(admin, symbol, 100)
    path = f"/api/v1/portfolio/{owner.portfolio_id}/update"
    sell = {"instrument_id": symbol, "quantity_change": -4, "price": "110.5", "transaction_type": "SELL", "fee": 1}
    body = {"portfolio_id": owner.portfolio_id, "timestamp": now_ms(), "updates": [sell]}
    answers = [owner.rest.call("POST", path, body, {"Idempotency-Key": "sale-1"}) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert [answer.body["ledger_version"] for answer in answers] == [3, 3]
    assert answers[1].body["cash_balance"] == Decimal("9439.50")
    assert answers[1].body["realized_pnl"] == Decimal("42.00")
    other = owner.rest.call("POST", path, body | {"updates": [sell | {"price": 111}]}, {"Idempotency-Key": "sale-1"})
    assert other.status == 409
    assert owner.state()["cash_balance"] == Decimal("9439.50")


def test_an_update_with_one_impossible_entry_books_nothing(symbol: str, holder: Callable[[str], Holder]) -> None:
    owner = holder("demo")
    entries = [
        {"instrument_id": "CASH:USD", "amount": 500, "transaction_type": "DEPOSIT"},
        {"instrument_id": symbol, "quantity_change": 11, "price": 1, "transaction_type": "SELL"},
    ]
    answer = owner.rest.call(
        "POST",
        f"/api/v1/portfolio/{owner.portfolio_id}/update",
        {"portfolio_id": owner.portfolio_id, "timestamp": now_ms(), "updates": entries},
    )
    assert answer.status == 422
    assert answer.body["error"]["code"] == "INSUFFICIENT_POSITION"
    state = owner.state()
    assert state["ledger_version"] == 2
    assert state["cash_balance"] == Decimal("8998.50")


def test_a_portfolio_is_created_once_listed_and_not_taken_over(stack: Cloud) -> None:
    identifier = f"mine-{uuid4().hex[:8]}"
    body = {
        "portfolio_id": identifier,
        "portfolio_name": "Mine",
        "account_type": "live",
        "account_kind": "cash",
        "base_currency": "USD",
        "cost_basis": "average",
        "initial_cash": "12345678901234.56",
    }
    owner = stack.rest(f"owner-{uuid4().hex[:8]}")
    first = owner.call("POST", "/api/v1/portfolios", body)
    assert (first.status, first.body["cash_balance"]) == (201, Decimal("12345678901234.56"))
    assert owner.call("POST", "/api/v1/portfolios", body).status == 200
    assert owner.call("POST", "/api/v1/portfolios", body | {"portfolio_name": "Other"}).status == 409
    assert stack.rest("thief").call("POST", "/api/v1/portfolios", body).status == 409
    assert [item["portfolio_id"] for item in owner.get("/api/v1/portfolios")["portfolios"]] == [identifier]


def test_a_refresh_values_again_without_a_new_price(
    admin: Rest, symbol: str, holder: Callable[[str], Holder], at_rest: Callable[[Holder], None]
) -> None:
    owner = holder("paper")
    post_price(admin, symbol, 7)
    eventually(owner.state, lambda state: state["calc_status"] == "ok", "the price")
    at_rest(owner)
    before = owner.state()
    assert owner.rest.call("POST", f"/api/v1/portfolio/{owner.portfolio_id}/refresh").status == 202
    after = eventually(owner.state, lambda state: state["version"] > before["version"], "the refresh")
    assert after["total_value"] == before["total_value"]


def test_positions_are_those_of_the_state(holder: Callable[[str], Holder], symbol: str) -> None:
    owner = holder("live")
    positions = owner.rest.get(f"/api/v1/portfolio/{owner.portfolio_id}/positions")
    assert [position["instrument_id"] for position in positions] == [symbol, "CASH:USD"]
    assert positions[0]["average_price"] == 100


def test_a_body_that_is_not_json_says_so(admin: Rest) -> None:
    answer = admin.call("POST", "/api/v1/prices", b'{"updates": [')
    assert answer.status == 400
    assert answer.body["error"]["code"] == "INVALID_JSON"
