"""The samples in events/ through the deployed handler, over fakes: what a first user would do, in that order."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest

from functions.rest_api import app
from tests.unit.api.client import CONTEXT, EVENTS, Answer, Parts, read, sample

Call = Callable[[str], Answer]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    parts = Parts()
    monkeypatch.setattr(app, "wiring", lambda: parts)
    app.api.cache_clear()
    yield lambda case: read(app.handler(sample(case), CONTEXT))
    app.api.cache_clear()


def test_every_sample_is_answered_as_the_contract_says(call: Call) -> None:
    expected = {
        "put_instrument": 200,
        "get_instrument": 200,
        "put_history": 200,
        "price_history": 200,
        "put_currency_pair": 200,
        "create_portfolio": 201,
        "create_margin_account": 201,
        "preview_margin": 200,
        "list_portfolios": 200,
        "update": 200,
        "prices": 202,
        "fills": 202,
        "refresh": 202,
        "create_paper_portfolio": 201,
        "place_order": 201,
        "place_limit_order": 201,
        "cancel_order": 200,
        "list_orders": 200,
        "reset": 200,
        "state": 200,
        "positions": 200,
        "transactions": 200,
        "history": 200,
        "analytics": 200,
        "change_portfolio": 200,
        "ws_ticket": 200,
        "market_status": 200,
        "dirty_users": 200,
        "health": 200,
        "openapi": 200,
        "malformed": 400,
    }
    assert {case: call(case).status for case in expected} == expected
    assert {path.name for path in EVENTS.glob("rest_api.*.json")} == {f"rest_api.{case}.json" for case in expected}


def test_a_purchase_and_a_price_show_in_the_answers(call: Call) -> None:
    for case in ("put_instrument", "create_portfolio"):
        call(case)
    state = call("update").body
    assert state["cash_balance"] == Decimal("25123.50")  # 100,000 - 500 x 150.25 - 1.50 + 250
    assert state["calc_status"] == "unpriced"
    assert call("prices").body == {"accepted": 1, "rejected": []}
    aapl, cash = call("positions").rows
    assert (aapl["instrument_id"], aapl["quantity"], aapl["cost_basis"]) == ("AAPL", 500, Decimal("75125.00"))
    assert cash["instrument_id"] == "CASH:USD"


def test_a_repeated_creation_and_a_repeated_update_change_nothing(call: Call) -> None:
    call("put_instrument")
    assert call("create_portfolio").status == 201
    assert call("create_portfolio").status == 200
    first, second = call("update").body, call("update").body
    assert first["ledger_version"] == second["ledger_version"] == 2
    assert first["cash_balance"] == second["cash_balance"]


def test_the_sample_of_a_preview_is_accepted_by_its_account(call: Call) -> None:
    call("create_margin_account")
    preview = call("preview_margin").body
    assert (preview["accepted"], preview["after"]["used"]) == (True, Decimal("391.74"))  # (11,001 + 751.25) / 30
    assert preview["assumed"] == ["AAPL", "EURUSD"]


def test_there_is_a_sample_of_every_call_that_the_description_has(call: Call) -> None:
    described = call("openapi").body["paths"]
    calls = {(method.upper(), path) for path, item in described.items() for method in item}
    samples = [json.loads(path.read_text()) for path in EVENTS.glob("*_api.*.json")]
    shown = {
        (method, path)
        for method, path in calls
        for sample in samples
        if sample["httpMethod"] == method and re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), sample["path"])
    }
    assert calls - shown == set()
