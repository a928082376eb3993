"""Brokers' files: what is recognised, what a row becomes, what cannot be booked, what counts once."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from foliostream_client import Client, InputError, importing
from foliostream_client.cells import CellError, amount, moment
from foliostream_client.importing import Booking, book, plan
from tests.unit.client.servers import Reply, Request, http
from tests.unit.client.states import state

FILES = Path(__file__).parent / "files"
GENERIC = (FILES / "generic.csv").read_text()
ZERODHA = (FILES / "zerodha.csv").read_text()
IB_FLEX = (FILES / "ib-flex.csv").read_text()
IB_STATEMENT = (FILES / "ib-statement.csv").read_text()
DEGIRO = (FILES / "degiro.csv").read_text()
TRADING212 = (FILES / "trading212.csv").read_text()
APPLE = {"US0378331005": "AAPL"}


def read(text: str, **options: Any) -> list[Booking]:  # noqa: ANN401
    return list(plan(text.encode(), "file.csv", **options).bookings)


def of(bookings: list[Booking]) -> list[dict[str, Any]]:
    return [{name: value for name, value in item.update.items() if name != "transaction_id"} for item in bookings]


def trade(kind: str, symbol: str, quantity: str, price: str, when: str, **fee: object) -> dict[str, Any]:
    about = {"transaction_type": kind, "instrument_id": symbol, "timestamp": when}
    return about | {"quantity_change": Decimal(quantity), "price": Decimal(price)} | fee


def cash(kind: str, value: str, currency: str, when: str, **more: object) -> dict[str, Any]:
    return {"transaction_type": kind, "amount": Decimal(value), "currency": currency, "timestamp": when} | more


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        (GENERIC, "generic"),
        (ZERODHA, "zerodha"),
        (IB_FLEX, "ib-flex"),
        (IB_STATEMENT, "ib-statement"),
        (DEGIRO, "degiro"),
        (TRADING212, "trading212"),
    ],
)
def test_a_layout_is_told_by_its_header_also_behind_a_byte_order_mark(text: str, layout: str) -> None:
    found = plan(b"\xef\xbb\xbf" + text.encode(), "file.csv", names=APPLE)
    assert found.layout.name == layout
    assert len({item.transaction_id for item in found.bookings}) == len(found.bookings)


def test_the_fields_of_the_api_go_in_as_they_are_without_those_that_an_export_only_shows() -> None:
    bookings = read(GENERIC)
    assert of(bookings) == [
        cash("DEPOSIT", "10000.00", "USD", "2026-02-26T10:30:00.000Z"),
        trade("BUY", "AAPL", "10", "150.25", "2026-02-26T10:30:00.000Z", fee=Decimal("1.5")),
        cash("DIVIDEND", "2.40", "USD", "2026-02-27T00:00:00.000Z", instrument_id="AAPL"),
    ]
    assert bookings[0].transaction_id == "d1"
    assert bookings[1].transaction_id.startswith("import:generic:")


def test_times_of_a_tradebook_are_of_india() -> None:
    assert of(read(ZERODHA)) == [
        trade("BUY", "M&M", "5.000000", "1180.500000", "2023-04-03T03:45:32.000Z"),
        trade("SELL", "INFY", "2", "1420.05", "2023-04-04T09:59:59.000Z"),
    ]


def test_commissions_of_a_flex_query_are_fees_and_its_times_are_of_new_york_in_winter_and_summer() -> None:
    fee = {"fee": Decimal("1.00"), "fee_currency": "USD"}
    assert of(read(IB_FLEX)) == [
        trade("BUY", "AAPL", "100", "185.5", "2024-01-02T14:30:05.000Z", **fee),
        trade("SELL", "AAPL", "40", "190", "2024-07-03T13:30:05.000Z", **fee),
    ]


def test_an_activity_statement_gives_trades_and_cash_but_no_totals() -> None:
    assert of(read(IB_STATEMENT)) == [
        cash("DEPOSIT", "200000", "USD", "2024-01-01T05:00:00.000Z"),
        trade("BUY", "AAPL", "1000", "185.5", "2024-01-02T14:30:05.000Z", fee=Decimal("1.25"), fee_currency="USD"),
        cash("DIVIDEND", "240", "USD", "2024-02-15T05:00:00.000Z", instrument_id="AAPL"),
        cash("FEE", "36", "USD", "2024-02-15T05:00:00.000Z"),
    ]


def test_isins_are_mapped_decimal_commas_read_and_the_oldest_comes_first() -> None:
    fee = {"fee": Decimal("2.00"), "fee_currency": "EUR"}
    assert of(read(DEGIRO, names=APPLE)) == [
        trade("BUY", "AAPL", "10", "1185.50", "2024-01-02T14:30:00.000Z", **fee),
        trade("SELL", "AAPL", "4", "185.50", "2024-01-03T14:30:00.000Z", **fee),
    ]
    with pytest.raises(InputError, match="line 2: APPLE INC is known by its ISIN only: --map US0378331005=SYMBOL"):
        read(DEGIRO)


def test_a_history_gives_deposits_trades_and_dividends() -> None:
    fee = {"fee": Decimal("0.38"), "fee_currency": "EUR"}
    assert of(read(TRADING212)) == [
        cash("DEPOSIT", "1000.00", "EUR", "2024-01-01T08:00:00.000Z"),
        trade("BUY", "AAPL", "1.5", "185.50", "2024-01-02T14:30:01.123Z", **fee),
        cash("DIVIDEND", "0.28", "EUR", "2024-02-15T10:00:00.000Z", instrument_id="AAPL"),
    ]


def test_every_line_that_cannot_be_booked_is_named_and_nothing_is() -> None:
    text = GENERIC.replace("150.25", "a lot").replace("DIVIDEND", "GIFT")
    with pytest.raises(InputError) as caught:
        read(text)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["line 3", "line 4"]
    assert "'a lot' is no amount" in str(caught.value)


def test_the_line_is_that_of_the_file_also_after_a_cell_of_two_lines() -> None:
    text = GENERIC.replace("d1\n", '"d\n1"\n').replace("150.25", "x")
    with pytest.raises(InputError, match="line 4: 'x'"):
        read(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        ("a,b\n1,2\n", "none of those known"),
        (GENERIC + "2026-02-26,BUY\n", "line 5: 2 cells, the header has 9"),
        (GENERIC.replace("AAPL,10", "BRK B,10"), "line 3: 'BRK B' is no symbol: --map 'BRK B=SYMBOL'"),
        (GENERIC.replace("2026-02-27", "yesterday"), "line 4: 'yesterday' is no time such as 2026-02-26"),
        (IB_FLEX.replace('"STK"', '"OPT"', 1), "line 2: OPT is no stock"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        read(text)
    assert problem in str(caught.value)


def test_what_is_not_booked_from_files_is_left_out_where_that_is_asked_for() -> None:
    found = plan(IB_FLEX.replace('"STK"', '"OPT"', 1).encode(), "f", skip_unsupported=True)
    assert (len(found.bookings), list(found.skipped)) == (1, ["line 2: OPT is no stock"])


def test_the_same_line_has_the_same_id_in_a_longer_file_and_two_equal_trades_have_two() -> None:
    again = GENERIC + "2026-02-26T11:30:00+01:00,BUY,AAPL,10,150.25,1.5,,USD,\n2026-03-01,BUY,MSFT,1,1,,,,\n"
    first, longer = read(GENERIC), read(again)
    ids = [item.transaction_id for item in longer]
    assert {item.transaction_id for item in first} < set(ids)
    assert len(set(ids)) == len(ids) == 5


def test_ids_that_the_server_keeps_for_itself_are_replaced() -> None:
    assert read(GENERIC.replace(",d1", ",fill:7"))[0].transaction_id.startswith("import:generic:")


@pytest.mark.parametrize(
    ("text", "comma", "value"),
    [
        ("1,234.50", "thousands", "1234.50"),
        ("(12.00)", "thousands", "-12.00"),
        ("$5", "thousands", "5"),
        ("-$5.10", "thousands", "-5.10"),
        ("1.234,50", "decimal", "1234.50"),
        ("185,5", "decimal", "185.5"),
        ("1,234.50", "decimal", "1234.50"),
    ],
)
def test_amounts_are_read_as_they_are_written(text: str, comma: Any, value: str) -> None:  # noqa: ANN401
    assert str(amount(text, comma)) == value


@pytest.mark.parametrize("text", ["2026-02-26T10:30:00Z", "2026-02-26t10:30:00.00z", "2026-02-26 16:00+05:30"])
def test_a_time_with_its_offset_is_read_whatever_the_zone_is(text: str) -> None:
    assert moment(text, ["%Y"], ZoneInfo("Asia/Kolkata")) == "2026-02-26T10:30:00.000Z"


@pytest.mark.parametrize("text", ["", "1,5", "NaN", "Infinity", "1.2.3", "--1", "12 apples"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(CellError, match="no amount"):
        amount(text)


def bookings(number: int) -> list[Booking]:
    line = {"transaction_type": "DEPOSIT", "amount": Decimal(1), "timestamp": "2026-02-26T10:30:00.000Z"}
    return [Booking(place + 2, line | {"transaction_id": f"t{place}"}) for place in range(number)]


def test_forty_are_booked_at_once_and_a_refused_batch_names_its_line_and_what_is_booked() -> None:
    def reply(request: Request) -> Reply:
        if request.body["updates"][0]["transaction_id"] == "t40":
            details = [{"index": 2, "transaction_id": "t42"}]
            error = {"code": "INSUFFICIENT_CASH", "message": "too little", "details": details}
            return Reply(422, {"error": error})
        return Reply(200, state())

    with http(reply) as server, pytest.raises(InputError) as caught:
        book(Client(server.url), "growth", bookings(90), "file.csv", lambda _: None)
    assert [len(request.body["updates"]) for request in server.requests] == [40, 40]
    assert caught.value.problems == [
        "line 44: INSUFFICIENT_CASH: too little",
        "40 of 90 transactions are booked",
    ]


def test_symbols_that_nobody_registered_are_found_before_anything_is_booked() -> None:
    def reply(request: Request) -> Reply:
        if request.path.endswith("/AAPL"):
            return Reply(200, {"symbol": "AAPL", "kind": "stock", "currency": "USD"})
        return Reply(404, {"error": {"code": "UNKNOWN_SYMBOL", "message": "none"}})

    with http(reply) as server:
        found = importing.unknown_symbols(Client(server.url), read(GENERIC + "2026-03-01,BUY,MSFT,1,1,,,,\n"))
    assert found == ["MSFT"]
