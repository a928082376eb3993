"""Transactions and closed days over REST."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from foliostream.domain.history import Day
from foliostream.errors import RetryableError
from tests.unit.api.client import NOW_MS, Client, buy

PATH = "/api/v1/portfolio/12345"


def deposit(amount: object = 1) -> dict[str, object]:
    return {"transaction_type": "DEPOSIT", "amount": amount}


def transactions(client: Client, cursor: str | None = None) -> dict[str, object]:
    answer = client.send("GET", PATH + "/transactions", query={"cursor": cursor} if cursor else None)
    assert answer.status == 200
    return answer.body


def test_a_transaction_shows_what_was_asked_and_what_it_did_exactly(client: Client) -> None:
    client.create()
    client.update(buy("3", "0.333333", fee="1.50", transaction_id="t-1"))
    client.update(buy("1", "0.000001", transaction_type="SELL", transaction_id="t-2"))
    sale, purchase, initial = client.send("GET", PATH + "/transactions").body["transactions"]
    assert purchase | {"transaction_id": "t-1", "transaction_type": "BUY", "instrument_id": "AAPL"} == purchase
    assert (purchase["quantity_change"], purchase["price"], purchase["fee"]) == (
        3,
        Decimal("0.333333"),
        Decimal("1.50"),
    )
    assert (purchase["cash_change"], purchase["quantity_after"]) == (Decimal("-2.499999"), 3)
    assert sale["realized_pnl"] == Decimal("-0.333332")
    assert (sale["sequence"], purchase["sequence"], initial["sequence"]) == (3, 2, 1)
    assert (initial["transaction_id"], initial["amount"], initial["currency"]) == ("initial_cash", 100_000, "USD")
    assert sale["booked_at"] == sale["timestamp"] == "2026-02-26T10:30:00.000Z"


def test_no_amount_leaves_in_exponent_form(client: Client) -> None:
    client.create()
    client.update(buy("0.000001", "0.000001", transaction_id="t-1"))
    answer = client.send("GET", PATH + "/transactions")
    assert '"cash_change":-0.000000000001' in answer.text
    assert "E-" not in answer.text


def test_a_split_a_conversion_and_an_adjustment_are_shown_as_they_were_asked(client: Client) -> None:
    client.create()
    client.prices({"symbol": "EURUSD", "ts": NOW_MS, "bid": "1.08", "ask": "1.09"})
    client.update(
        buy(10, 100),
        {"transaction_type": "SPLIT", "instrument_id": "AAPL", "ratio": "4:1"},
        {"transaction_type": "FX", "from": "USD", "to": "EUR", "amount": 100, "rate": "0.9"},
        {"transaction_type": "ADJUSTMENT", "amount": "-3", "reason": "rounding of the broker", "transaction_id": "a-1"},
        {"transaction_type": "DIVIDEND", "instrument_id": "AAPL", "amount": 5},
        {"transaction_type": "FEE", "amount": 2},
        {"transaction_type": "SWAP", "amount": "-0.5"},
    )
    swap, fee, dividend, adjustment, conversion, split, *_ = client.send("GET", PATH + "/transactions").body[
        "transactions"
    ]
    assert (split["ratio"], split["quantity_after"], split["quantity_change"]) == ("4:1", 40, None)
    assert (conversion["currency"], conversion["to_currency"], conversion["rate"]) == ("USD", "EUR", Decimal("0.9"))
    assert conversion["cash_changes"] == {"USD": -100, "EUR": 90}
    assert (adjustment["amount"], adjustment["reason"]) == (-3, "rounding of the broker")
    assert (dividend["cash_change"], dividend["instrument_id"]) == (5, "AAPL")
    assert (fee["cash_change"], swap["cash_change"]) == (-2, Decimal("-0.5"))


def test_a_fifo_sale_names_the_lots_that_it_consumed(client: Client) -> None:
    client.create(cost_basis="fifo")
    client.update(buy(10, 100), buy(10, 110), buy(15, 120, transaction_type="SELL"))
    sale = client.send("GET", PATH + "/transactions").body["transactions"][0]
    assert [(lot["number"], lot["quantity"], lot["cost"]) for lot in sale["lots"]] == [(1, 10, 1000), (2, 5, 550)]
    assert sale["realized_pnl"] == 250


def test_pages_of_a_hundred_stay_as_they_are_while_more_is_booked(client: Client) -> None:
    client.create(initial_cash=None)
    for _ in range(6):
        client.update(*[deposit()] * 40)
    first = transactions(client)
    client.update(*[deposit()] * 7)
    second = transactions(client, str(first["cursor"]))
    third = transactions(client, str(second["cursor"]))
    pages = [[item["sequence"] for item in page["transactions"]] for page in (first, second, third)]  # type: ignore[attr-defined]
    assert pages == [list(range(240, 140, -1)), list(range(140, 40, -1)), list(range(40, 0, -1))]
    assert third["cursor"] is None
    assert transactions(client, str(first["cursor"])) == second


def test_a_portfolio_without_transactions_has_one_empty_page(client: Client) -> None:
    client.create(initial_cash=None)
    assert transactions(client) == {"transactions": [], "cursor": None}


def test_a_cursor_of_another_portfolio_or_none_at_all_is_refused(client: Client) -> None:
    for name in ("12345", "other"):
        client.create(portfolio_id=name, initial_cash=None)
    for _ in range(3):
        client.update(*[deposit()] * 40)
    cursor = transactions(client)["cursor"]
    answer = client.send("GET", "/api/v1/portfolio/other/transactions", query={"cursor": str(cursor)})
    assert (answer.status, answer.code) == (400, "INVALID_CURSOR")
    for bad in ("mine", "100", str(cursor)[:-1], ""):
        answer = client.send("GET", PATH + "/transactions", query={"cursor": bad})
        assert (answer.status, answer.code) == (400, "INVALID_CURSOR"), bad


def test_a_list_that_cannot_be_complete_yet_is_503(client: Client) -> None:
    client.create()

    def lags(*_: object) -> None:
        raise RetryableError("the index lags")

    client.parts.ledger.newest = lags  # type: ignore[method-assign, assignment]
    answer = client.send("GET", PATH + "/transactions")
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "UNAVAILABLE", "1")


# --- history --------------------------------------------------------------------------------------------------------


def close(client: Client, *days: str) -> None:
    for day in days:
        book = client.parts.ledger.load(["12345"])["12345"]
        row = Day(day, NOW_MS, book.version, "ok", Decimal("100000.00"), Decimal("100000.00"), Decimal("0.00"),
                  Decimal("0.00"), Decimal("-1.25"), Decimal("-0.01"), Decimal("-1.50"), [], Decimal("5.00"),
                  Decimal("0.00"), Decimal(5), Decimal(0))  # fmt: skip
        client.parts.ledger.close_day(replace(book, version=book.version + 1, closed_day=day), row)


def test_the_history_has_the_days_of_the_range_oldest_first(client: Client) -> None:
    client.create()
    close(client, "2026-02-24", "2026-02-25", "2026-02-26", "2026-02-27")
    body = client.send("GET", PATH + "/history", query={"from": "2026-02-25", "to": "2026-02-26"}).body
    assert (body["portfolio_id"], body["from"], body["to"]) == ("12345", "2026-02-25", "2026-02-26")
    assert [day["date"] for day in body["days"]] == ["2026-02-25", "2026-02-26"]
    assert body["days"][0] | {"total_value": 100_000, "inflows": 5, "outflows": 0} == body["days"][0]
    assert (body["days"][0]["daily_change"], body["days"][0]["daily_pnl"]) == (Decimal("-1.25"), Decimal("-1.50"))


def test_without_a_range_the_last_thirty_days_are_meant(client: Client) -> None:
    client.create()
    close(client, "2026-01-27", "2026-01-28", "2026-02-26")
    body = client.send("GET", PATH + "/history").body
    assert (body["from"], body["to"]) == ("2026-01-28", "2026-02-27")
    assert [day["date"] for day in body["days"]] == ["2026-01-28", "2026-02-26"]
    assert client.send("GET", PATH + "/history", query={"to": "2026-01-27"}).body["from"] == "2025-12-28"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"from": "2026-02-30"}, "INVALID_DATE"),
        ({"from": "20260226"}, "INVALID_DATE"),
        ({"to": "yesterday"}, "INVALID_DATE"),
        ({"to": ""}, "INVALID_DATE"),
        ({"from": "2026-W01-1"}, "INVALID_DATE"),
        ({"from": "2026-02-26T10:30:00Z"}, "INVALID"),
        ({"from": "2026-02-26", "to": "2026-02-25"}, "INVALID_RANGE"),
        ({"from": "2025-02-25", "to": "2026-02-26"}, "RANGE_TOO_LONG"),
        ({"from": "0001-01-01", "to": "9999-12-31"}, "RANGE_TOO_LONG"),
    ],
)
def test_a_range_is_two_dates_in_order_and_at_most_a_leap_year(
    client: Client, query: dict[str, str], code: str
) -> None:
    client.create()
    answer = client.send("GET", PATH + "/history", query=query)
    assert (answer.status, answer.code) == (400, code)
    assert client.send("GET", PATH + "/history", query={"from": "2025-02-26", "to": "2026-02-26"}).status == 200
    assert client.send("GET", PATH + "/history", query={"to": "0001-01-05"}).status == 200
