"""Status and settings of a portfolio over REST."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from foliostream.domain.changes import Change, Standing
from foliostream.domain.portfolio import Portfolio
from foliostream.errors import ConflictError
from tests.unit.api.client import NOW_MS, Answer, Client, buy

PATH = "/api/v1/portfolio/12345"


def patch(client: Client, body: object = None, **fields: object) -> Answer:
    return client.send("PATCH", PATH, fields if body is None else body)


def test_a_status_is_changed_and_recorded(client: Client) -> None:
    client.create()
    answer = patch(client, status="SUSPENDED")
    assert (answer.status, answer.body["status"], answer.body["ledger_version"]) == (200, "SUSPENDED", 2)
    before, after = Standing("ACTIVE", allow_short=False), Standing("SUSPENDED", allow_short=False)
    assert client.parts.ledger.changes == [Change("12345", 2, NOW_MS, "alice", before, after)]


def test_the_same_change_again_changes_nothing(client: Client) -> None:
    client.create()
    first, second = patch(client, status="SUSPENDED"), patch(client, status="SUSPENDED")
    assert first.body["ledger_version"] == second.body["ledger_version"] == 2
    assert len(client.parts.ledger.changes) == 1


def test_a_portfolio_that_is_asked_to_be_what_it_always_was_keeps_its_version(client: Client) -> None:
    client.create()
    assert patch(client, status="ACTIVE", settings={"allow_short": False}).body["ledger_version"] == 1
    assert client.parts.ledger.changes == []


def test_a_suspended_portfolio_refuses_trades_and_an_active_one_takes_them_again(client: Client) -> None:
    client.create()
    patch(client, status="SUSPENDED")
    answer = client.update(buy(1, 1))
    assert (answer.status, answer.code) == (422, "PORTFOLIO_SUSPENDED")
    assert patch(client, status="ACTIVE").status == 200
    assert client.update(buy(1, 1)).status == 200


def test_a_liquidating_portfolio_only_reduces(client: Client) -> None:
    client.create()
    client.update(buy(10, 1))
    patch(client, status="LIQUIDATING")
    assert client.update(buy(1, 1)).code == "PORTFOLIO_LIQUIDATING"
    assert client.update(buy(4, 1, transaction_type="SELL")).status == 200


def test_only_a_flat_portfolio_is_closed_and_the_refusal_names_what_it_holds(client: Client) -> None:
    client.create()
    client.update(buy(10, 1))
    answer = patch(client, status="CLOSED")
    assert (answer.status, answer.code, answer.details) == (422, "NOT_FLAT", [{"symbol": "AAPL"}])
    client.update(buy(10, 1, transaction_type="SELL"))
    assert patch(client, status="CLOSED").body["status"] == "CLOSED"
    assert client.update(buy(1, 1)).code == "PORTFOLIO_CLOSED"


def test_short_sales_are_allowed_by_a_setting(client: Client) -> None:
    client.create()
    sale = buy(1, 10, transaction_type="SELL")
    assert client.update(sale).code == "INSUFFICIENT_POSITION"
    assert patch(client, settings={"allow_short": True}).status == 200
    assert client.update(sale).status == 200
    assert [change.after.allow_short for change in client.parts.ledger.changes] == [True]


def test_an_interval_is_set_kept_beside_other_changes_and_ended_by_null(client: Client) -> None:
    client.create()

    def interval() -> int | None:
        return client.parts.ledger.load(["12345"])["12345"].update_interval_ms

    assert interval() is None
    for given, kept in ((1_000, 1_000), (900_000, 900_000)):
        assert patch(client, settings={"update_interval_ms": given}).status == 200
        assert interval() == kept
    assert patch(client, settings={"allow_short": True}, status="SUSPENDED").status == 200
    assert interval() == 900_000
    assert patch(client, settings={"update_interval_ms": None}).status == 200
    assert interval() is None
    assert [change.after.update_interval_ms for change in client.parts.ledger.changes] == [
        1_000,
        900_000,
        900_000,
        None,
    ]
    assert patch(client, settings={"update_interval_ms": None}).body["ledger_version"] == 5, "a repeat changes nothing"


def test_a_portfolio_may_be_created_with_an_interval_and_a_repeat_has_to_name_the_same(client: Client) -> None:
    settings = {"update_interval_ms": 60_000}
    assert client.create(settings=settings).status == 201
    assert client.parts.ledger.load(["12345"])["12345"].update_interval_ms == 60_000
    assert client.create(settings=settings).status == 200
    assert client.create(settings={"update_interval_ms": 30_000}).code == "PORTFOLIO_EXISTS"
    assert client.create().code == "PORTFOLIO_EXISTS"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "INVALID"),
        ({"settings": {}}, 400, "INVALID"),
        ({"status": None}, 400, "INVALID"),
        ({"status": "OPEN"}, 400, "INVALID"),
        ({"status": "active"}, 400, "INVALID"),
        ({"settings": {"allow_short": "yes"}}, 400, "INVALID"),
        ({"settings": {"colour": "red"}}, 400, "INVALID"),
        ({"leverage": 5}, 400, "INVALID"),
        ({"settings": {"stop_out_percent": 40}}, 400, "INVALID"),
        ({"status": "CLOSED", "settings": {"auto_liquidate": True}}, 400, "INVALID"),
        ({"settings": {"update_interval_ms": 999}}, 400, "INVALID"),
        ({"settings": {"update_interval_ms": 900_001}}, 400, "INVALID"),
        ({"settings": {"update_interval_ms": "1000"}}, 400, "INVALID"),
        ({"settings": {"update_interval_ms": 1000.5}}, 400, "INVALID"),
        ({"settings": {"update_interval_ms": True}}, 400, "INVALID"),
        ("[]", 400, "INVALID_JSON"),
    ],
)
def test_a_change_that_cannot_be_made_is_refused_and_changes_nothing(
    client: Client, body: object, status: int, code: str
) -> None:
    client.create()
    answer = patch(client, body)
    assert (answer.status, answer.code) == (status, code)
    assert client.parts.ledger.load(["12345"])["12345"].version == 1


def test_a_margin_account_waits_for_no_interval(client: Client) -> None:
    margin = {"account_kind": "margin", "leverage": 30}
    refused = client.create(**margin, settings={"update_interval_ms": 60_000})
    assert (refused.status, "wait for no interval" in refused.body["error"]["message"]) == (400, True)
    assert client.create(**margin).status == 201
    assert patch(client, settings={"update_interval_ms": 60_000}).status == 400
    assert patch(client, settings={"update_interval_ms": None, "allow_short": True}).status == 200


ZERODHA = {"base_currency": "INR", "broker": {"name": "zerodha", "account": "AB1001"}}


def share(client: Client) -> Decimal | None:
    return client.parts.ledger.load(["12345"])["12345"].broker_share


def test_a_portfolio_on_a_brokers_account_has_a_share_of_it_until_it_is_taken_back(client: Client) -> None:
    assert client.create(**ZERODHA, settings={"broker_share": "0.60"}).status == 201
    assert client.create(**ZERODHA, settings={"broker_share": 0.6}).status == 200
    assert share(client) == Decimal("0.6")
    assert patch(client, settings={"broker_share": 1}).status == 200
    assert client.send("GET", "/api/v1/portfolios").body["portfolios"][0]["settings"]["broker_share"] == 1
    assert patch(client, settings={"broker_share": None}).status == 200
    assert share(client) is None
    assert [change.after.broker_share for change in client.parts.ledger.changes] == [1, None]


@pytest.mark.parametrize("wrong", [0, -0.5, 1.1, "0.3333333"])
def test_a_share_is_above_nothing_and_at_most_all(client: Client, wrong: object) -> None:
    assert client.create(**ZERODHA, settings={"broker_share": wrong}).status == 400
    client.create(**ZERODHA)
    assert patch(client, settings={"broker_share": wrong}).status == 400
    assert share(client) is None


def test_who_is_on_no_brokers_account_has_no_share_of_one(client: Client) -> None:
    assert client.create(settings={"broker_share": 1}).status == 400
    client.create()
    assert patch(client, settings={"broker_share": 1}).status == 400


def levels(client: Client) -> tuple[object, ...]:
    book = client.parts.ledger.load(["12345"])["12345"]
    return book.margin_call_percent, book.stop_out_percent, book.auto_liquidate


def test_a_margin_account_has_levels_of_its_own_until_they_are_taken_back(client: Client) -> None:
    settings = {"margin_call_percent": "80.0", "stop_out_percent": 30, "auto_liquidate": True}
    assert client.create(account_kind="margin", leverage=30, settings=settings).status == 201
    again = settings | {"margin_call_percent": 80}
    assert client.create(account_kind="margin", leverage=30, settings=again).status == 200
    assert levels(client) == (80, 30, True)
    assert patch(client, settings={"stop_out_percent": 79.5}).status == 200
    assert levels(client) == (80, Decimal("79.5"), True)
    (shown,) = client.send("GET", "/api/v1/portfolios").body["portfolios"]
    assert shown["settings"] == {
        "allow_short": False,
        "update_interval_ms": None,
        "margin_call_percent": 80,
        "stop_out_percent": Decimal("79.5"),
        "auto_liquidate": True,
        "target_weights": {},
        "benchmark": None,
        "broker_share": None,
    }
    gone = {"margin_call_percent": None, "stop_out_percent": None, "auto_liquidate": None}
    assert patch(client, settings=gone).status == 200
    assert levels(client) == (None, None, False)
    kept = client.parts.ledger.changes
    assert [change.after.margin_call_percent for change in kept] == [80, None]


@pytest.mark.parametrize(
    "wrong",
    [
        {"margin_call_percent": 50},  # the deployment's stop-out is at 50
        {"stop_out_percent": 100},
        {"margin_call_percent": 40, "stop_out_percent": 40},
        {"stop_out_percent": 0},
        {"stop_out_percent": -1},
        {"margin_call_percent": 1000.01},
        {"margin_call_percent": "100.001"},
        {"margin_call_percent": True},
        {"auto_liquidate": "yes"},
    ],
)
def test_levels_that_do_not_fit_are_refused(client: Client, wrong: dict[str, object]) -> None:
    assert client.create(account_kind="margin", leverage=30, settings=wrong).status == 400
    assert client.create(account_kind="margin", leverage=30).status == 201
    assert patch(client, settings=wrong).code == "INVALID"
    assert levels(client) == (None, None, False)


@pytest.mark.parametrize("setting", [{"margin_call_percent": 90}, {"stop_out_percent": 10}, {"auto_liquidate": True}])
def test_a_cash_account_has_no_levels(client: Client, setting: dict[str, object]) -> None:
    assert client.create(settings=setting).message == (
        "only a margin account has margin_call_percent, stop_out_percent and auto_liquidate"
    )


def test_a_change_that_meets_another_writer_is_judged_again_by_what_that_one_left(client: Client) -> None:
    client.create()
    ledger = client.parts.ledger
    amend = ledger.amend

    def overtaken(portfolio: Portfolio, change: Change) -> None:
        ledger.amend = amend  # type: ignore[method-assign]
        client.update(buy(1, 1))
        amend(portfolio, change)

    ledger.amend = overtaken  # type: ignore[method-assign]
    assert patch(client, status="CLOSED").code == "NOT_FLAT"
    assert ledger.changes == []


def test_endless_contention_is_a_conflict(client: Client) -> None:
    client.create()

    def overtaken(*_: Sequence[object]) -> None:
        raise ConflictError("moved on", code="VERSION_CONFLICT")

    client.parts.ledger.amend = overtaken  # type: ignore[method-assign, assignment]
    answer = patch(client, status="SUSPENDED")
    assert (answer.status, answer.code) == (409, "TOO_MUCH_CONTENTION")
