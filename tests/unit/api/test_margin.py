"""Margin over REST: previews, and what an update and a withdrawal are refused for."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest

from foliostream.domain.preview import MAX_ORDERS
from tests.unit.api.client import NOW_MS, Answer, Client

D = Decimal
PREVIEW = "/api/v1/portfolio/12345/margin/preview"


@pytest.fixture
def desk(client: Client) -> Client:
    """A demo margin account of 10,000 USD at 1:30, EURUSD at 1.0999/1.1001 a lot of 100,000."""
    body = {"kind": "forex", "currency": "USD", "base_currency": "EUR", "contract_size": 100_000}
    assert client.send("PUT", "/api/v1/instruments/EURUSD.L", body | {"price_decimals": 5}).status == 200
    quote(client, "EURUSD.L", "1.0999", "1.1001")
    assert client.create(account_type="demo", account_kind="margin", leverage=30, initial_cash=10_000).status == 201
    return client


def quote(client: Client, symbol: str, bid: str, ask: str, ts: int = NOW_MS) -> None:
    assert client.prices({"symbol": symbol, "ts": ts, "bid": bid, "ask": ask}).body["accepted"] == 1


def order(quantity: object, symbol: str = "EURUSD.L", **more: object) -> dict[str, object]:
    return {"instrument_id": symbol, "quantity": quantity} | more


def seen(client: Client, *orders: dict[str, object], **more: Any) -> Answer:  # noqa: ANN401
    return client.send("POST", PREVIEW, {"orders": list(orders)}, **more)


def lots(quantity: object, kind: str = "BUY", price: str = "1.1001", **more: object) -> dict[str, object]:
    line = {"instrument_id": "EURUSD.L", "quantity_change": quantity, "price": price, "transaction_type": kind}
    return line | more


def stored(client: Client) -> Iterable[object]:
    return (client.parts.ledger.load(["12345"]), client.parts.hot.read(["12345"]), client.parts.queues.receive("demo"))


def test_a_preview_has_the_figures_before_and_after(desk: Client) -> None:
    answer = seen(desk, order(1))
    assert answer.status == 200
    nothing = {"balance": 10_000, "equity": 10_000, "used": 0, "free": 10_000, "exposure": 0, "leverage_used": 0}
    used = {"balance": 10_000, "equity": 9_980, "used": 3_667, "free": 6_313, "level_percent": D("272.16")}
    assert answer.body == {
        "portfolio_id": "12345",
        "base_currency": "USD",
        "ledger_version": 1,
        "before": nothing | {"level_percent": None},
        "after": used | {"exposure": 109_990, "leverage_used": D("11.021042")},
        "accepted": True,
        "refusal": None,
        "stale": [],
        "assumed": [],
    }


def test_a_preview_touches_no_state(desk: Client) -> None:
    stored(desk)
    before = list(stored(desk))
    assert seen(desk, order(1), order(-2)).status == 200
    assert list(stored(desk)) == before


def test_a_preview_says_why_orders_would_be_refused_and_the_update_says_the_same(desk: Client) -> None:
    preview = seen(desk, order(3)).body
    assert preview["accepted"] is False
    assert preview["after"]["free"] == -1_061
    refused = desk.update(lots(3))
    assert refused.status == 422
    assert preview["refusal"] == {
        "code": refused.code,
        "message": refused.message,
        "details": refused.details,
    }
    assert refused.code == "INSUFFICIENT_MARGIN"
    assert refused.details == [{"currency": "USD", "needed": "11061", "available": "10000", "free_after": "-1061"}]
    assert desk.state()["ledger_version"] == 1


def test_orders_that_cannot_be_booked_have_no_figures_after(desk: Client) -> None:
    for wrong, code in (
        (order(1, "NOPE"), "UNKNOWN_SYMBOL"),
        (order(1, "AAPL"), "PRICE_MISSING"),
        (order(0), "INVALID"),
    ):
        preview = seen(desk, wrong).body
        assert (preview["after"], preview["accepted"], preview["refusal"]["code"]) == (None, False, code)


def test_a_preview_refuses_what_the_lot_step_forbids_and_takes_an_odd_rest_as_a_whole(desk: Client) -> None:
    body = {"kind": "cfd", "currency": "USD", "margin_rate": 0.05, "lot_step": 1}
    desk.send("PUT", "/api/v1/instruments/OIL", body)
    quote(desk, "OIL", "80", "80")
    refused = seen(desk, order("1.5", "OIL")).body
    assert (refused["accepted"], refused["refusal"]["code"], refused["after"]) == (False, "LOT_STEP", None)
    assert seen(desk, order(2, "OIL"), order(-2, "OIL")).body["accepted"]
    # What was traded elsewhere is written down as it was.
    line = {"instrument_id": "OIL", "quantity_change": "1.5", "price": 80, "transaction_type": "BUY"}
    assert desk.update(line).status == 200
    assert seen(desk, order("-1.5", "OIL")).body["accepted"]
    assert seen(desk, order("-0.5", "OIL")).body["refusal"]["code"] == "LOT_STEP"


def test_an_order_of_something_without_a_price_is_valued_at_its_own(desk: Client) -> None:
    preview = seen(desk, order(30, "AAPL", price="100.00", fee="1.5")).body
    assert (preview["after"]["used"], preview["after"]["equity"]) == (100, D("9998.5"))
    assert preview["assumed"] == ["AAPL"]


def test_a_preview_names_stale_prices(desk: Client) -> None:
    desk.parts.clock.advance(900_001)
    preview = seen(desk, order(1)).body
    assert (preview["stale"], preview["accepted"]) == (["EURUSD.L"], True)


@pytest.mark.parametrize("count", [0, MAX_ORDERS + 1])
def test_a_preview_has_one_to_forty_orders(desk: Client, count: int) -> None:
    answer = seen(desk, *[order(1)] * count)
    assert (answer.status, answer.code) == (400, "TOO_MANY_ORDERS")


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"orders": {}},
        {"orders": [{"quantity": 1}]},
        {"orders": [{"instrument_id": "eurusd", "quantity": 1}]},
        {"orders": [{"instrument_id": "AAPL", "quantity": "NaN"}]},
        {"orders": [], "basis": "mid"},
    ],
)
def test_a_preview_that_is_not_understood_is_refused(desk: Client, wrong: dict[str, object]) -> None:
    assert desk.send("POST", PREVIEW, wrong).status == 400


def test_a_cash_account_has_no_margin_to_preview(client: Client) -> None:
    client.create()
    answer = seen(client, order(1, "AAPL"))
    assert (answer.status, answer.code) == (422, "MARGIN_ACCOUNT_NEEDED")


def test_nobody_previews_the_account_of_somebody_else(desk: Client) -> None:
    assert seen(desk, order(1), sub="bob").code == "PORTFOLIO_NOT_FOUND"
    assert seen(desk, order(1), sub=None).status == 401


def test_an_update_within_the_free_margin_is_booked(desk: Client) -> None:
    assert desk.update(lots(2)).status == 200
    assert desk.update(lots(1, transaction_id="more")).code == "INSUFFICIENT_MARGIN"
    assert desk.update(lots(1, "SELL", transaction_id="less")).status == 200


def test_a_repeat_of_a_booked_update_is_not_refused_for_margin(desk: Client) -> None:
    line = lots(2, transaction_id="t1")
    assert desk.update(line).status == 200
    assert desk.update(line).body["ledger_version"] == 2


def test_a_live_account_is_not_refused_what_has_happened(client: Client) -> None:
    body = {"kind": "cfd", "currency": "USD", "margin_rate": "1"}
    client.send("PUT", "/api/v1/instruments/XAUUSD", body)
    client.create(account_kind="margin", initial_cash=1)
    line = {"instrument_id": "XAUUSD", "quantity_change": 1, "price": 2000, "transaction_type": "BUY"}
    assert client.update(line).status == 200


def test_a_withdrawal_from_a_margin_account_is_covered_by_free_margin(desk: Client) -> None:
    assert desk.update(lots(2)).status == 200  # free: 10,000 - 40 - 7,334
    refused = desk.update({"transaction_type": "WITHDRAWAL", "amount": "2626.01", "transaction_id": "w1"})
    assert (refused.status, refused.code) == (422, "INSUFFICIENT_MARGIN")
    assert refused.details[0]["available"] == "2626"
    paid = desk.update({"transaction_type": "WITHDRAWAL", "amount": "2626", "transaction_id": "w2"})
    assert paid.body["cash_balance"] == 7_374
