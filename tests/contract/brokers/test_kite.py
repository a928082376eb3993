"""The real Kite Connect client and our adapter against the simulated broker, over HTTP.

With FOLIOSTREAM_KITE_SAMPLES=FOLDER also against the vendor's own sample answers, which have no licence that would let
them lie here (https://github.com/zerodha/kiteconnect-mocks).
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Callable, Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, ClassVar, cast

import pytest

from foliostream.adapters.brokers.kite import KiteBroker
from foliostream.domain.times import epoch_ms
from foliostream.errors import CallerError, FoliostreamError, UnauthorizedError
from local.kite import Account, KiteServer, Position, credentials, holding_row, positions
from tests.fakes.accounts import FakeTurns
from tests.fakes.clock import FakeClock
from tests.support.ministack import Emulator

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

SAMPLES = os.environ.get("FOLIOSTREAM_KITE_SAMPLES", "")
ACCOUNT = "AB1001"
Tell = Callable[..., dict[str, Any]]


class EveryTurn(FakeTurns):
    """The clock of these tests stands still, so everybody's turn it is."""

    def take(self, name: str, gap_ms: int) -> int:  # noqa: ARG002
        return 0


@pytest.fixture(scope="module")
def secrets(ministack: Emulator) -> tuple[SecretsManagerClient, str]:
    client = cast("SecretsManagerClient", ministack.client("secretsmanager"))
    given = credentials() | {"ZZ0001": credentials()[ACCOUNT]}
    return client, client.create_secret(Name="kite", SecretString=json.dumps(given))["ARN"]


@pytest.fixture
def server() -> Iterator[KiteServer]:
    with KiteServer(0) as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def broker(server: KiteServer, secrets: tuple[SecretsManagerClient, str]) -> KiteBroker:
    return KiteBroker(*secrets, f"http://127.0.0.1:{server.server_port}", EveryTurn(FakeClock()))


@pytest.fixture
def tell(server: KiteServer) -> Tell:
    def post(action: str, **body: object) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.server_port}/control/{action}",
            json.dumps({"account": ACCOUNT} | body).encode(),
            {"Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            return cast("dict[str, Any]", json.loads(answer.read()))

    return post


def test_what_an_account_owns_is_read_exactly(broker: KiteBroker, tell: Tell) -> None:
    tell("trade", symbol="TCS", side="BUY", quantity=10, price=3501.05, token=2953217)
    tell("trade", symbol="TCS", side="SELL", quantity=4, price=3510.2)
    tell("holding", symbol="INFY", isin="INE009A01021", quantity=7, t1_quantity=3, average_price=1500.1,
         last_price=1510, close_price=1490)  # fmt: skip
    tell("cash", cash=12345.67)

    answer = broker.owned(ACCOUNT)

    (row,) = answer.rows
    assert (row.name, row.exchange, row.product, row.token) == ("TCS", "NSE", "CNC", "2953217")
    assert (row.quantity, row.buy_value, row.sell_value) == (6, Decimal("35010.5"), Decimal("14040.8"))
    (item,) = answer.holdings
    assert (item.isin, item.owned, item.average_price) == ("INE009A01021", 10, Decimal("1500.1"))
    assert answer.cash == Decimal("12345.67")


def test_orders_are_read_with_the_exact_sums_of_their_trades(broker: KiteBroker, tell: Tell) -> None:
    first = tell("trade", symbol="TCS", side="BUY", quantity=3, order_quantity=10, price=100.05, tag="momentum")
    tell("trade", symbol="TCS", side="BUY", quantity=7, price=100.1, order_id=first["order_id"])

    (order,) = broker.orders(ACCOUNT)

    assert (order.filled, order.value, order.side) == (10, Decimal("1000.85"), "BUY")
    assert order.tags == ("momentum",)
    assert not order.is_open


def test_times_of_india_become_utc(broker: KiteBroker, tell: Tell) -> None:
    sent = tell("trade", symbol="TCS", side="BUY", quantity=3, price=100)
    (order,) = broker.orders(ACCOUNT)
    stated = f"{sent['exchange_update_timestamp'].replace(' ', 'T')}+05:30"

    assert order.day == sent["order_timestamp"][:10]
    assert order.timestamp_ms == epoch_ms(stated)


def test_a_postback_is_proved_by_its_checksum(broker: KiteBroker, tell: Tell) -> None:
    sent = tell("trade", symbol="TCS", side="BUY", quantity=3, price=100)

    order = broker.reported(ACCOUNT, json.dumps(sent))

    assert (order.order_id, order.filled, order.value) == (sent["order_id"], 3, 300)
    for change in ({"checksum": "0" * 64}, {"order_id": "9"}, {"order_timestamp": "2020-01-01 00:00:00"}):
        with pytest.raises(UnauthorizedError):
            broker.reported(ACCOUNT, json.dumps(sent | change))
    for broken in ("", "[]", "{}", '{"user_id": 7}', "\x00", json.dumps(sent | {"user_id": ""})):
        with pytest.raises(CallerError):
            broker.reported(ACCOUNT, broken)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("down", "BROKER_DOWN"),
        ("500", "BROKER_DOWN"),
        ("stall", "BROKER_DOWN"),
        ("429", "BROKER_THROTTLED"),
        ("truncated", "BROKER_ANSWER"),
        ("empty", "BROKER_ANSWER"),
        ("token", "TOKEN_EXPIRED"),
        ("wrong_account", "WRONG_ACCOUNT"),
    ],
)
def test_whatever_goes_wrong_has_its_code(broker: KiteBroker, tell: Tell, fault: str, code: str) -> None:
    tell("trade", symbol="TCS", side="BUY", quantity=10, price=100)
    tell("fault", fault=fault)

    with pytest.raises(FoliostreamError) as failed:
        broker.owned(ACCOUNT)

    assert failed.value.code == code
    tell("fault", fault="")
    assert broker.owned(ACCOUNT).rows


@pytest.mark.parametrize("path", ["/portfolio/positions", "/portfolio/holdings", "/user/margins"])
@pytest.mark.parametrize("fault", ["truncated", "500", "down"])
def test_an_answer_in_part_is_none(broker: KiteBroker, tell: Tell, path: str, fault: str) -> None:
    tell("trade", symbol="TCS", side="BUY", quantity=10, price=100)
    tell("fault", fault=fault, path=path)

    with pytest.raises(FoliostreamError):
        broker.owned(ACCOUNT)


def test_positions_without_their_fields_are_no_positions(broker: KiteBroker, tell: Tell) -> None:
    tell("trade", symbol="TCS", side="BUY", quantity=10, price=100)
    tell("fault", fault="partial")

    with pytest.raises(FoliostreamError) as failed:
        broker.owned(ACCOUNT)

    assert failed.value.code == "BROKER_ANSWER"


def test_an_account_without_credentials_is_not_asked_about(broker: KiteBroker) -> None:
    with pytest.raises(FoliostreamError) as failed:
        broker.owned("QQ0001")
    assert failed.value.code == "NO_CREDENTIALS"


def test_a_token_of_another_account_is_found_out(broker: KiteBroker) -> None:
    with pytest.raises(FoliostreamError) as failed:
        broker.owned("ZZ0001")
    assert failed.value.code == "WRONG_ACCOUNT"


# What the answers' figures have to do with each other, on answers of our own


def fixtures() -> list[dict[str, Any]]:
    """Long, short, flat, carried, with a multiplier, and closed lots of the day before."""
    made = [
        Position("NSE", "TCS", "CNC", 1, last_price=110, day_buy_quantity=10, day_buy_value=1000),
        Position("NSE", "SBIN", "MIS", 2, last_price=90, day_sell_quantity=10, day_sell_value=1000),
        Position("NSE", "IOC", "MIS", 3, last_price=101.5, day_buy_quantity=4, day_buy_value=400,
                 day_sell_quantity=4, day_sell_value=410.4),
        Position("MCX", "LEADMINI", "NRML", 4, 1000, last_price=161.4, day_buy_quantity=1, day_buy_value=161050),
        Position("MCX", "GOLD", "NRML", 5, 1, carried=3, carried_price=23057, close_price=23232, last_price=23355,
                 day_buy_quantity=1, day_buy_value=23388, day_sell_quantity=4, day_sell_value=93360),
        Position("NFO", "NIFTY", "NRML", 6, 1, carried=-75, carried_price=100, close_price=98, last_price=97),
        Position("NFO", "BANK", "NRML", 7, 15, carried=15, carried_price=200, close_price=210, last_price=205),
    ]  # fmt: skip
    account = Account(positions={(item.exchange, item.symbol, item.product): item for item in made})
    found: list[dict[str, Any]] = positions(account)["net"]
    return found


@pytest.mark.parametrize("row", fixtures(), ids=lambda row: row["tradingsymbol"])
def test_the_figures_of_a_position_follow_from_each_other(row: dict[str, Any]) -> None:
    value = {name: Decimal(str(part)) for name, part in row.items() if isinstance(part, int | float)}
    open_value = value["quantity"] * value["last_price"] * value["multiplier"]

    assert value["quantity"] == value["buy_quantity"] - value["sell_quantity"]
    assert value["value"] == value["sell_value"] - value["buy_value"]
    assert value["pnl"] == value["sell_value"] - value["buy_value"] + open_value
    assert value["m2m"] == value["sell_m2m"] - value["buy_m2m"] + open_value
    if value["overnight_quantity"] >= 0:
        carried = value["overnight_quantity"] * value["close_price"] * value["multiplier"]
        assert value["buy_m2m"] == carried + value["day_buy_value"]
    side = "buy_price" if value["quantity"] > 0 else "sell_price"
    assert value["average_price"] == (value[side] if value["quantity"] else 0)


def test_the_figures_of_a_holding_follow_from_each_other() -> None:
    row = holding_row({"symbol": "TCS", "isin": "I", "quantity": 16, "average_price": 801.5, "last_price": 762.45,
                       "close_price": 766.4})  # fmt: skip

    assert row["pnl"] == pytest.approx((row["last_price"] - row["average_price"]) * row["quantity"])
    assert row["day_change"] == pytest.approx(row["last_price"] - row["close_price"])
    assert row["day_change_percentage"] == pytest.approx(row["day_change"] / row["close_price"] * 100)


def test_the_net_of_a_margin_segment_is_its_live_balance(server: KiteServer) -> None:
    server.simulator.control("cash", {"account": ACCOUNT, "cash": 99725.05})
    margins = cast("dict[str, Any]", server.simulator.answer(ACCOUNT, "/user/margins"))
    equity = margins["equity"]

    assert equity["net"] == equity["available"]["live_balance"]
    assert equity["net"] == equity["available"]["cash"] - equity["utilised"]["debits"]


# The vendor's own samples


class SampleHandler(BaseHTTPRequestHandler):
    """Serves the vendor's files under the broker's paths."""

    files: ClassVar = {
        "/user/profile": "profile",
        "/user/margins": "margins",
        "/portfolio/positions": "positions",
        "/portfolio/holdings": "holdings",
        "/orders": "orders",
        "/trades": "trades",
    }

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        raw = (Path(SAMPLES) / f"{self.files[self.path]}.json").read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


@pytest.mark.skipif(not SAMPLES, reason="FOLIOSTREAM_KITE_SAMPLES names no folder with the vendor's samples")
def test_the_vendors_samples_are_understood(secrets: tuple[SecretsManagerClient, str]) -> None:
    client, arn = secrets
    client.put_secret_value(SecretId=arn, SecretString=json.dumps({"AB1234": credentials()[ACCOUNT]}))
    with ThreadingHTTPServer(("127.0.0.1", 0), SampleHandler) as vendor:
        Thread(target=vendor.serve_forever, daemon=True).start()
        broker = KiteBroker(client, arn, f"http://127.0.0.1:{vendor.server_port}", EveryTurn(FakeClock()))
        answer, orders = broker.owned("AB1234"), broker.orders("AB1234")
        vendor.shutdown()
    rows = json.loads((Path(SAMPLES) / "positions.json").read_text())["data"]["net"]

    assert [(row.name, row.quantity) for row in answer.rows] == [
        (row["tradingsymbol"], row["quantity"]) for row in rows
    ]
    assert {row.name: row.sell_value - row.buy_value for row in answer.rows} == {
        row["tradingsymbol"]: Decimal(str(row["value"])) for row in rows
    }
    assert len(answer.holdings) == len(json.loads((Path(SAMPLES) / "holdings.json").read_text())["data"])
    assert answer.cash == Decimal("99725.05000000002") + Decimal("100661.7")
    assert len(orders) == 10
