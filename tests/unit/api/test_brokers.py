"""The calls that speak to a broker, with the sample events of events/, over fakes."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from foliostream.api.rest import Api, build
from foliostream.domain import kite
from foliostream.domain.instrument import Instrument
from foliostream.domain.order_fills import OrderState
from tests.unit.api.client import CONTEXT, EVENTS, read
from tests.unit.api.client import Parts as RestParts
from tests.unit.application.test_reconcile import Desk, modes

SECRET = "local-secret"


class _Broker:
    """The desk's broker, and postbacks proved with the samples' secret."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._desk.broker, name)

    def reported(self, account: str, body: str) -> OrderState:  # noqa: ARG002
        return kite.postback(body, SECRET)


@pytest.fixture
def desk() -> Desk:
    made = Desk("zerodha_growth")
    made.clock.advance(10_000)
    made.system.instruments.put(Instrument("TCS", "stock", "INR", token="2953217"))
    return made


@pytest.fixture
def api(desk: Desk) -> Api:
    parts: Any = RestParts()
    reconciling = modes(desk)
    manager: Any = reconciling.managers["zerodha"]
    object.__setattr__(manager.postbacks(), "broker", _Broker(desk))
    parts.managers, parts.reconciling = reconciling.managers, reconciling
    return build(parts)


def sample(case: str, **changes: object) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"broker_api.{case}.json").read_text())
    if changes:
        event["body"] = json.dumps(json.loads(event["body"]) | changes)
    return event


def by(subject: str) -> dict[str, Any]:
    """The sample, called by somebody."""
    event = sample("reconcile")
    event["requestContext"]["authorizer"] |= {"principalId": subject, "sub": subject}
    return event


def test_the_report_is_what_the_contract_says(api: Api, desk: Desk) -> None:
    desk.owned("TCS", 10, cash="99000")
    answer = read(api(by("alice"), CONTEXT))

    assert answer.status == 200
    assert list(answer.body) == [
        "portfolio_id", "broker", "account", "status", "reason", "checked_at", "discrepancies", "protected", "applied",
    ]  # fmt: skip
    assert answer.body["discrepancies"][0] == {
        "kind": "missing",
        "symbol": "TCS",
        "exchange": "NSE",
        "product": "CNC",
        "expected": 0,
        "actual": 10,
        "note": "a missed trade",
        "attributed": [{"portfolio_id": "zerodha_growth", "quantity": 10}],
    }


def test_a_strangers_portfolio_is_not_there(api: Api) -> None:
    assert read(api(by("bob"), CONTEXT)).status == 404


def test_a_postback_is_taken_without_a_token_and_counts_once(api: Api, desk: Desk) -> None:
    assert [read(api(sample("postback"), CONTEXT)).body["queued"] for _ in range(2)] == [1, 0]
    desk.book()
    position = desk.portfolio("zerodha_growth").positions["TCS"]
    assert (position.quantity, position.average_price) == (10, Decimal("3501.05"))


@pytest.mark.parametrize("change", [{"checksum": "0" * 64}, {"order_id": "43"}, {"user_id": "AB9999"}])
def test_a_postback_that_is_not_the_brokers_is_refused(api: Api, change: dict[str, str]) -> None:
    assert read(api(sample("postback", **change), CONTEXT)).status == 401


def test_a_body_that_is_no_postback_is_the_callers_fault(api: Api) -> None:
    event = sample("postback")
    event["body"] = "{}"
    assert read(api(event, CONTEXT)).status == 400
