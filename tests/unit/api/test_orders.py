"""Simulated orders over REST."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from foliostream.application.fill_orders import FillReport
from foliostream.application.receiving import Received
from foliostream.domain.instrument import Instrument, Split
from foliostream.domain.orders import MAX_OPEN
from tests.unit.api.client import NOW_MS, Answer, Client, buy

D = Decimal
PATH = "/api/v1/portfolio/12345/orders"


def order(**changes: object) -> dict[str, object]:
    """Ten AAPL bought at the market under the id "a"; None leaves a field out."""
    body = {"instrument_id": "AAPL", "side": "BUY", "quantity": 10, "order_type": "market", "client_order_id": "a"}
    return {name: value for name, value in (body | changes).items() if value is not None}


def quote(bid: object = "99", ask: object = "101", **more: object) -> dict[str, object]:
    return {"symbol": "AAPL", "bid": bid, "ask": ask, "last": 100, "ts": NOW_MS} | more


@pytest.fixture
def paper(client: Client) -> Client:
    """A paper account of 100,000 USD, AAPL at 99 to 101."""
    client.create(account_type="paper")
    client.prices(quote())
    return client


def place(client: Client, **changes: object) -> Answer:
    return client.send("POST", PATH, order(**changes))


def booked(client: Client) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = client.send("GET", "/api/v1/portfolio/12345/transactions").body["transactions"]
    return rows


def test_an_odd_rest_is_sold_as_a_whole_and_other_odd_quantities_are_refused(paper: Client) -> None:
    paper.parts.instruments.put(Instrument("AAPL", "stock", "USD", lot_step=D(10)))
    paper.update(buy(15, 100))
    assert place(paper, quantity=15).code == "LOT_STEP"
    assert place(paper, quantity=15, side="SELL").body["state"] == "FILLED"


def test_a_market_order_is_filled_at_the_ask_with_slippage_and_fee_and_is_a_transaction(paper: Client) -> None:
    answer = place(paper)
    assert answer.status == 201
    assert answer.body == {
        "order_id": "a",
        "portfolio_id": "12345",
        "instrument_id": "AAPL",
        "side": "BUY",
        "quantity": 10,
        "order_type": "market",
        "limit_price": None,
        "state": "FILLED",
        "fill_price": D("101.0202"),
        "fee": D("0.51"),
        "fee_currency": "USD",
        "transaction_id": "order:a",
        "code": None,
        "reason": None,
        "created_at": "2026-02-26T10:30:00.000Z",
        "updated_at": "2026-02-26T10:30:00.000Z",
    }
    newest = booked(paper)[0]
    assert (newest["transaction_id"], newest["price"], newest["fee"]) == ("order:a", D("101.0202"), D("0.51"))
    assert newest["cash_change"] == D("-1010.712")


def test_a_sale_takes_the_bid(paper: Client) -> None:
    place(paper)
    assert place(paper, client_order_id="b", side="SELL").body["fill_price"] == D("98.9802")


def test_the_same_order_twice_counts_once_and_answers_the_same(paper: Client) -> None:
    first = place(paper)
    paper.prices(quote(ask="150", seq=1))
    again = place(paper, quantity="10.0")
    assert (again.status, again.body) == (200, first.body)
    assert len(booked(paper)) == 2


def test_an_id_that_came_with_another_body_is_a_conflict(paper: Client) -> None:
    place(paper)
    answer = place(paper, quantity=11)
    assert (answer.status, answer.code) == (409, "ORDER_EXISTS")


def test_without_an_id_one_is_made_and_every_call_is_an_order(paper: Client) -> None:
    ids = [place(paper, client_order_id=None).body["order_id"] for _ in range(2)]
    assert len(set(ids)) == 2
    listed = paper.send("GET", PATH).body
    assert [item["order_id"] for item in listed["orders"]] == sorted(ids, reverse=True)
    assert listed["cursor"] is None


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"quantity": 1000}, 422, "INSUFFICIENT_CASH"),
        ({"side": "SELL"}, 422, "INSUFFICIENT_POSITION"),
        ({"instrument_id": "NOPE"}, 400, "UNKNOWN_SYMBOL"),
        ({"instrument_id": "M&M"}, 422, "PRICE_MISSING"),
        ({"instrument_id": "EURUSD"}, 422, "PRICE_MISSING"),
        ({"quantity": 0}, 400, "INVALID"),
        ({"quantity": -1}, 400, "INVALID"),
        ({"quantity": "0.0000001"}, 400, "INVALID"),
        ({"side": "HOLD"}, 400, "INVALID"),
        ({"client_order_id": "a/b"}, 400, "INVALID"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name_and_nothing_is_kept(
    paper: Client, changes: dict[str, object], status: int, code: str
) -> None:
    answer = place(paper, **changes)
    assert (answer.status, answer.code) == (status, code)
    assert len(booked(paper)) == 1
    assert paper.send("GET", PATH).body == {"orders": [], "cursor": None}


def test_too_little_cash_is_said_in_figures_fee_included(paper: Client) -> None:
    (detail, _) = place(paper, quantity=990).details
    assert detail == {"currency": "USD", "needed": "100059.998", "available": "100000"}


def test_a_stale_price_fills_nothing(paper: Client) -> None:
    paper.parts.clock.advance(900_001)
    answer = place(paper)
    assert (answer.status, answer.code) == (422, "PRICE_STALE")


def test_a_suspended_account_takes_no_orders(paper: Client) -> None:
    paper.send("PATCH", "/api/v1/portfolio/12345", {"status": "SUSPENDED"})
    assert place(paper).code == "PORTFOLIO_SUSPENDED"


@pytest.mark.parametrize("account_type", ["live", "demo"])
def test_orders_are_simulated_in_paper_accounts_only(client: Client, account_type: str) -> None:
    client.create(account_type=account_type)
    client.prices(quote())
    answer = place(client)
    assert (answer.status, answer.code) == (422, "NOT_A_PAPER_ACCOUNT")


def test_orders_of_somebody_else_are_not_found(paper: Client) -> None:
    for method, body in (("POST", order()), ("GET", None)):
        answer = paper.send(method, PATH, body, sub="bob")
        assert (answer.status, answer.code) == (404, "PORTFOLIO_NOT_FOUND")


def test_nobody_else_may_take_the_transaction_id_of_an_order(paper: Client) -> None:
    answer = paper.update(buy(1, 1, transaction_id="order:a"))
    assert (answer.status, answer.code) == (400, "INVALID")


def test_a_margin_account_is_asked_for_its_margin_first(client: Client) -> None:
    client.create(account_type="paper", account_kind="margin", leverage=10)
    client.prices(quote())
    refused = place(client, quantity=10_000)
    assert (refused.status, refused.code) == (422, "INSUFFICIENT_MARGIN")
    assert {"needed", "available"} <= refused.details[0].keys()
    assert place(client, quantity=1000).status == 201


# --- limit orders ---------------------------------------------------------------------------------------------------


def rest(client: Client, limit: object = 95, **changes: object) -> Answer:
    """Ten AAPL to be bought at 95 or less."""
    return place(client, order_type="limit", limit_price=limit, **changes)


def tick(client: Client, bid: object, ask: object, **more: object) -> None:
    """A quote, and what its message makes of the open orders."""
    client.parts.clock.advance(1000)
    assert client.prices(quote(bid, ask, ts=client.parts.clock.now_ms(), **more)).status == 202
    work(client)


def work(client: Client) -> FillReport:
    """Looks at what the orders queue holds."""
    report = FillReport()
    for symbols in client.parts.order_queue.receive():
        for symbol in symbols:
            client.parts.order_filler.look(symbol, report)
    return report


def found(client: Client, order_id: str = "a") -> dict[str, Any]:
    rows = client.send("GET", PATH).body["orders"]
    (row,) = (row for row in rows if row["order_id"] == order_id)
    return dict(row)


def test_a_limit_order_rests_until_a_tick_is_at_its_limit_or_better(paper: Client) -> None:
    placed = rest(paper)
    assert (placed.status, placed.body["state"], placed.body["fill_price"]) == (201, "OPEN", None)
    tick(paper, 94, "95.01")
    assert found(paper)["state"] == "OPEN"
    assert len(booked(paper)) == 1
    tick(paper, 94, 95)
    filled = found(paper)
    assert (filled["state"], filled["fill_price"], filled["fee"]) == ("FILLED", 95, D("0.48"))
    assert booked(paper)[0]["transaction_id"] == "order:a"


def test_a_gap_fills_at_the_better_price(paper: Client) -> None:
    rest(paper)
    tick(paper, 79, 80)
    assert found(paper)["fill_price"] == 80


def test_a_sale_is_filled_at_its_limit_or_above(paper: Client) -> None:
    place(paper, client_order_id="held")
    rest(paper, 110, side="SELL")
    tick(paper, "109.99", 111)
    assert found(paper)["state"] == "OPEN"
    tick(paper, 112, 113)
    assert found(paper)["fill_price"] == 112


def test_a_limit_order_that_the_price_is_within_already_is_filled_at_once(paper: Client) -> None:
    answer = rest(paper, 105)
    assert (answer.status, answer.body["state"], answer.body["fill_price"]) == (201, "FILLED", 101)


def test_ticks_of_symbols_without_orders_are_told_to_nobody(paper: Client) -> None:
    tick(paper, 1, 2)
    rest(paper, client_order_id="b", limit="0.5")
    paper.prices({"symbol": "M&M", "last": 5, "ts": NOW_MS})
    assert paper.parts.order_queue.receive() == []
    paper.prices(quote(1, 2, ts=paper.parts.clock.now_ms(), seq=1))
    assert paper.parts.order_queue.receive() == [["AAPL"]]


def test_the_last_order_of_a_symbol_takes_its_hint_along(paper: Client) -> None:
    rest(paper)
    assert paper.parts.hot.order_symbols == {"AAPL"}
    tick(paper, 94, 95)
    assert paper.parts.hot.order_symbols == set()


def test_a_stale_or_crossed_quote_fills_nothing(paper: Client) -> None:
    rest(paper)
    hot, clock = paper.parts.hot, paper.parts.clock
    hot.prices["AAPL"] = replace(hot.prices["AAPL"], bid=D(95), ask=D(90))
    report = FillReport()
    paper.parts.order_filler.look("AAPL", report)
    assert (report.filled, report.unpriced) == (0, {"AAPL": "QUOTE_CROSSED"})
    hot.prices["AAPL"] = replace(hot.prices["AAPL"], bid=D(89))
    clock.advance(900_001)
    paper.parts.order_filler.look("AAPL", report)
    assert (report.filled, report.unpriced) == (0, {"AAPL": "PRICE_STALE"})
    assert found(paper)["state"] == "OPEN"


def test_too_little_cash_refuses_a_limit_order_and_rejects_one_whose_cash_went_meanwhile(paper: Client) -> None:
    assert rest(paper, quantity=2000).code == "INSUFFICIENT_CASH"
    rest(paper, quantity=1000)
    place(paper, client_order_id="b", quantity=500)
    tick(paper, 94, 95)
    rejected = found(paper)
    assert (rejected["state"], rejected["code"], rejected["transaction_id"]) == ("REJECTED", "INSUFFICIENT_CASH", None)
    assert "available" in rejected["reason"]
    assert len(booked(paper)) == 2


def test_an_order_of_before_a_split_is_rejected(paper: Client) -> None:
    rest(paper)
    paper.parts.clock.advance(1000)
    parts = paper.parts
    parts.instruments.put(Instrument("AAPL", "stock", "USD", splits=(Split(parts.clock.now_ms(), D(4), D(1)),)))
    tick(paper, 24, 25)
    assert (found(paper)["state"], found(paper)["code"]) == ("REJECTED", "OLDER_THAN_SPLIT")


def test_a_cancelled_order_is_filled_no_more_and_cancelling_it_again_changes_nothing(paper: Client) -> None:
    rest(paper)
    answers = [paper.send("DELETE", f"{PATH}/a") for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].body == answers[1].body
    assert answers[0].body["state"] == "CANCELLED"
    tick(paper, 94, 95)
    assert found(paper)["state"] == "CANCELLED"


def test_a_filled_order_cannot_be_cancelled(paper: Client) -> None:
    rest(paper, 105)
    answer = paper.send("DELETE", f"{PATH}/a")
    assert (answer.status, answer.code) == (409, "ORDER_FILLED")


@pytest.mark.parametrize(
    ("path", "sub", "code"), [("nope", "alice", "ORDER_NOT_FOUND"), ("a", "bob", "PORTFOLIO_NOT_FOUND")]
)
def test_an_order_that_is_not_there_or_somebody_elses_is_not_found(
    paper: Client, path: str, sub: str, code: str
) -> None:
    rest(paper)
    answer = paper.send("DELETE", f"{PATH}/{path}", sub=sub)
    assert (answer.status, answer.code) == (404, code)


def test_orders_are_listed_by_state(paper: Client) -> None:
    rest(paper)
    place(paper, client_order_id="b")
    for state, expected in (("OPEN", ["a"]), ("FILLED", ["b"]), ("CANCELLED", [])):
        rows = paper.send("GET", PATH, query={"state": state}).body["orders"]
        assert [row["order_id"] for row in rows] == expected
    assert paper.send("GET", PATH, query={"state": "open"}).status == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"order_type": "limit"},
        {"limit_price": 100},
        {"order_type": "limit", "limit_price": 0},
        {"order_type": "limit", "limit_price": -1},
        {"order_type": "limit", "limit_price": "0.1234567"},
    ],
)
def test_a_limit_belongs_to_a_limit_order_and_is_a_price(paper: Client, changes: dict[str, object]) -> None:
    answer = place(paper, **changes)
    assert (answer.status, answer.code) == (400, "INVALID")


def test_a_portfolio_has_a_hundred_open_orders_at_most(paper: Client) -> None:
    for number in range(MAX_OPEN):
        assert rest(paper, client_order_id=f"n{number}", quantity=1).status == 201
    answer = rest(paper, client_order_id="more", quantity=1)
    assert (answer.status, answer.code) == (422, "TOO_MANY_ORDERS")
    paper.send("DELETE", f"{PATH}/n0")
    assert rest(paper, client_order_id="more", quantity=1).status == 201


def test_a_tick_that_could_not_be_told_is_made_good_by_the_look_of_the_minute_also_without_hints(
    paper: Client,
) -> None:
    rest(paper)
    paper.parts.order_queue.failing = 1
    tick(paper, 94, 95)
    assert found(paper)["state"] == "OPEN"
    paper.parts.hot.order_symbols.clear()
    assert paper.parts.order_filler.tell_all() == 1
    assert paper.parts.hot.order_symbols == {"AAPL"}
    work(paper)
    assert found(paper)["state"] == "FILLED"
    assert paper.parts.order_filler.tell_all() == 0


def test_messages_that_fail_come_again_and_the_others_are_done(paper: Client) -> None:
    rest(paper)
    paper.parts.clock.advance(1000)
    paper.prices(quote(94, 95, ts=paper.parts.clock.now_ms()))
    messages = [
        Received("m1", '{"symbols": ["NOPE"]}', 1),
        Received("m2", "no JSON", 1),
        Received("m3", '{"symbols": ["AAPL"]}', 1),
    ]
    report = paper.parts.order_filler.work(messages)
    assert (report.again, report.filled) == (["m1", "m2"], 1)


# --- back to the start ----------------------------------------------------------------------------------------------

RESET = "/api/v1/portfolio/12345/reset"


def test_a_reset_cancels_orders_books_everything_out_and_gives_the_starting_cash_again(paper: Client) -> None:
    place(paper, client_order_id="held")
    rest(paper)
    paper.update({"transaction_type": "DEPOSIT", "amount": 77})
    tick(paper, 109, 111, last=110)
    before = paper.state()
    answer = paper.send("POST", RESET)
    assert answer.status == 200
    after = answer.body
    assert [row["instrument_id"] for row in after["positions"]] == ["CASH:USD"]
    assert (after["cash_balance"], after["total_value"]) == (100_000, 100_000)
    assert after["version"] > before["version"]
    assert after["ledger_version"] > before["ledger_version"]
    assert found(paper)["state"] == "CANCELLED"
    cash, stock, *older = booked(paper)
    assert (stock["quantity_change"], stock["price"], stock["cash_change"]) == (-10, 110, 0)
    assert {row["reason"] for row in (cash, stock)} == {"reset"}
    assert [row["transaction_type"] for row in older] == ["DEPOSIT", "BUY", "DEPOSIT"]
    assert after["realized_pnl"] + after["adjustments_total"] + after["net_deposits"] - after["fees_total"] == 100_000


def test_a_second_reset_changes_nothing(paper: Client) -> None:
    place(paper)
    first, second = (paper.send("POST", RESET).body for _ in range(2))
    assert first["ledger_version"] == second["ledger_version"]
    assert place(paper, client_order_id="again").status == 201


def test_a_reset_books_out_the_last_digit_of_the_balance(paper: Client) -> None:
    place(paper, quantity="0.333333")
    place(paper, client_order_id="b", side="SELL", quantity="0.333333")
    balance = paper.parts.ledger.load(["12345"])["12345"].cash["USD"]
    assert balance != round(balance, 6)
    paper.send("POST", RESET)
    after = paper.parts.ledger.load(["12345"])["12345"]
    assert after.cash == {"USD": D(100_000)}
    assert not after.needs_review


def test_many_positions_are_booked_out_in_parts_and_one_without_a_price_too(paper: Client) -> None:
    symbols = [f"S{number}" for number in range(70)]
    for symbol in symbols:
        paper.parts.instruments.put(Instrument(symbol, "stock", "USD"))
    for start in (0, 35):
        lines = [buy(1, "10.1234567891"[:9], instrument_id=symbol) for symbol in symbols[start : start + 35]]
        assert paper.update(*lines).status == 200
    state = paper.send("POST", RESET).body
    assert (len(state["positions"]), state["cash_balance"]) == (1, 100_000)
    assert paper.parts.ledger.holders == set()


def test_a_short_position_is_booked_out_too(client: Client) -> None:
    client.create(account_type="paper", settings={"allow_short": True})
    client.prices(quote())
    place(client, side="SELL")
    assert client.send("POST", RESET).body["cash_balance"] == 100_000


def test_a_margin_account_has_its_starting_balance_again(client: Client) -> None:
    client.create(account_type="paper", account_kind="margin", leverage=10)
    client.prices(quote())
    place(client, quantity=1000)
    tick(client, 109, 111, last=110)
    state = client.send("POST", RESET).body
    assert (state["cash_balance"], state["total_value"], state["positions"][:-1]) == (100_000, 100_000, [])


@pytest.mark.parametrize(
    ("changes", "sub", "status", "code"),
    [
        ({"account_type": "live"}, "alice", 422, "NOT_A_PAPER_ACCOUNT"),
        ({"account_type": "paper"}, "bob", 404, "PORTFOLIO_NOT_FOUND"),
    ],
)
def test_only_the_owner_of_a_paper_account_resets_it(
    client: Client, changes: dict[str, object], sub: str, status: int, code: str
) -> None:
    client.create(**changes)
    answer = client.send("POST", RESET, sub=sub)
    assert (answer.status, answer.code) == (status, code)


def test_a_closed_account_is_not_reset(paper: Client) -> None:
    paper.send("PATCH", "/api/v1/portfolio/12345", {"status": "CLOSED"})
    assert paper.send("POST", RESET).code == "PORTFOLIO_CLOSED"
