"""Two deployed clouds, one a hot store, and people who use them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, TypeVar
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
import redis

from foliostream.adapters.dynamodb_hot_store import DynamoDbHotStore
from foliostream.adapters.redis_connection import RedisConnection
from foliostream.adapters.redis_hot_store import RedisHotStore
from foliostream.adapters.system_clock import SystemClock
from foliostream.domain import snapshot as snapshots
from foliostream.ports import HotStore, StoredSnapshot
from foliostream_client.transport import Rest, Socket
from local import cloud
from local.issuer import ALL_SCOPES
from local.sam import function_logs
from local.settings import Settings
from local.testing import running_cloud, settings_of
from tests.support import asyncapi
from tests.support.log_search import secrets

ACCOUNT_TYPES = ("live", "demo", "paper")
# Everything arrives within a few windows; a busy machine gets more.
DEADLINE_S = 60.0
SHARDS = 64
# The template's.
MARKET_ZONE = ZoneInfo("America/New_York")
STATE_UPDATED = "portfolio_state_updated"
T = TypeVar("T")


class CheckedSocket(Socket):
    """A socket whose messages, both ways, are as the AsyncAPI document says; what is not even JSON goes unchecked."""

    def send(self, message: Mapping[str, Any] | str) -> None:
        if not isinstance(message, str):
            assert asyncapi.faults("say", message) == []
        super().send(message)

    def receive(self, timeout_s: float) -> dict[str, Any] | None:
        message = super().receive(timeout_s)
        assert message is None or asyncapi.faults("tell", message) == []
        return message


@dataclass(frozen=True)
class Cloud:
    """A deployed stack with what tests need to talk to it."""

    outputs: cloud.Outputs
    settings: Settings

    def token(self, subject: str, scopes: tuple[str, ...] = ()) -> str:
        return cloud.local_issuer(self.settings).token(subject, scopes)

    def rest(self, subject: str, scopes: tuple[str, ...] = ()) -> Rest:
        return Rest(self.outputs.rest_url, self.token(subject, scopes))

    def socket(self, subject: str, query: str = "") -> Socket:
        """Of a program: with its token in the header. Every message is held against the AsyncAPI document."""
        return CheckedSocket(self.outputs.ws_url, self.token(subject), query=query)

    def aws(self, service: str) -> Any:  # noqa: ANN401 (boto3's clients have no common type)
        return self.outputs.aws(service)


def half_a_day_away() -> str:
    """A schedule by which no day is closed, and no book changed, in the middle of a run."""
    hour = (datetime.now(MARKET_ZONE).hour + 12) % 24
    return f"cron(0 {hour} ? * MON-FRI *)"


@pytest.fixture(scope="session", params=["valkey", "dynamodb"])
def stack(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    settings = settings_of(
        f"test-{request.param}",
        PORTFOLIO_HOT_STORE=request.param,
        PORTFOLIO_PAGE="cloudfront",
        PORTFOLIO_CLOSE_DAY_SCHEDULE=half_a_day_away(),
    )
    with running_cloud(settings) as outputs:
        yield Cloud(outputs, settings)
        # Whatever the run has made the functions write.
        assert list(secrets(function_logs(outputs.aws_endpoint))) == []


@pytest.fixture
def admin(stack: Cloud) -> Rest:
    return stack.rest("admin", ALL_SCOPES)


@pytest.fixture
def symbol(admin: Rest) -> str:
    """A stock nobody else has."""
    name = f"T{uuid4().hex[:10].upper()}"
    admin.put(f"/api/v1/instruments/{name}", {"kind": "stock", "currency": "USD"})
    return name


@dataclass(frozen=True)
class Holder:
    """Somebody with a portfolio of one symbol: 10 bought at 100 out of 10,000."""

    name: str
    portfolio_id: str
    rest: Rest

    def state(self) -> dict[str, Any]:
        body: dict[str, Any] = self.rest.get(f"/api/v1/portfolio/{self.portfolio_id}/state")
        return body


@pytest.fixture
def holder(stack: Cloud, symbol: str) -> Callable[[str], Holder]:
    def make(account_type: str) -> Holder:
        name = f"user-{uuid4().hex[:8]}"
        rest = stack.rest(name)
        created = rest.post(
            "/api/v1/portfolios",
            {
                "portfolio_name": "End to end",
                "account_type": account_type,
                "account_kind": "cash",
                "base_currency": "USD",
                "cost_basis": "average",
                "initial_cash": 10_000,
            },
        )
        identifier = created["portfolio_id"]
        buy = {"instrument_id": symbol, "quantity_change": 10, "price": 100, "transaction_type": "BUY", "fee": "1.50"}
        update = {"portfolio_id": identifier, "timestamp": now_ms(), "updates": [buy | {"transaction_id": "first-buy"}]}
        rest.post(f"/api/v1/portfolio/{identifier}/update", update)
        return Holder(name, identifier, rest)

    return make


@pytest.fixture
def other_symbol(admin: Rest) -> str:
    name = f"A{uuid4().hex[:10].upper()}"
    admin.put(f"/api/v1/instruments/{name}", {"kind": "stock", "currency": "USD"})
    return name


@pytest.fixture
def invested(admin: Rest, holder: Callable[[str], Holder], symbol: str, other_symbol: str) -> Holder:
    """A live account with ten of each symbol, priced, with 300 closes of both."""
    owner = holder("live")
    random = Random(7)
    for name in (symbol, other_symbol):
        days = ((date(2025, 1, 1) + timedelta(number)).isoformat() for number in range(300))
        closes = [{"date": day, "close": random.randint(90, 110)} for day in days]
        assert admin.put(f"/api/v1/instruments/{name}/history", {"closes": closes})["kept"] == 300
    line = {"instrument_id": other_symbol, "quantity_change": 10, "price": 100, "transaction_type": "BUY"}
    update = {"portfolio_id": owner.portfolio_id, "timestamp": now_ms(), "updates": [line]}
    owner.rest.post(f"/api/v1/portfolio/{owner.portfolio_id}/update", update)
    for name, last in ((symbol, 110), (other_symbol, 90)):
        post_price(admin, name, last)
    eventually(owner.state, lambda state: state["calc_status"] == "ok", "a priced account")
    return owner


@pytest.fixture
def hot(stack: Cloud) -> Iterator[HotStore]:
    with looking_into(stack) as store:
        yield store


@contextmanager
def looking_into(stack: Cloud) -> Iterator[HotStore]:
    """A look into the hot store past every function: reading by REST would mend what is missing."""
    if stack.settings.portfolio["PORTFOLIO_HOT_STORE"] == "valkey":
        connection = RedisConnection(stack.outputs.redis_url, shards=SHARDS)
        yield RedisHotStore(connection, SystemClock())
        connection.close()
        return
    table = stack.outputs.resources["HotTableName"]
    with ThreadPoolExecutor(4) as pool:
        yield DynamoDbHotStore(stack.aws("dynamodb"), table, SystemClock(), pool, shards=SHARDS)


class Events:
    """What arrives of an event on the bus of the stack, in a queue of its own."""

    def __init__(self, stack: Cloud, detail_type: str) -> None:
        self._sqs, self._events, self._type = stack.aws("sqs"), stack.aws("events"), detail_type
        self._bus = stack.outputs.resources["EventBusName"]
        self._name = f"test-{uuid4().hex[:12]}"
        self._url = self._sqs.create_queue(QueueName=self._name)["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]
        pattern = json.dumps({"source": ["foliostream"], "detail-type": [detail_type]})
        self._events.put_rule(Name=self._name, EventBusName=self._bus, EventPattern=pattern)
        targets = [{"Id": "queue", "Arn": attributes["QueueArn"]}]
        self._events.put_targets(Rule=self._name, EventBusName=self._bus, Targets=targets)
        self._seen: dict[str, dict[str, Any]] = {}

    def close(self) -> None:
        self._events.remove_targets(Rule=self._name, EventBusName=self._bus, Ids=["queue"])
        self._events.delete_rule(Name=self._name, EventBusName=self._bus)
        self._sqs.delete_queue(QueueUrl=self._url)

    def of(self, portfolio_id: str) -> list[dict[str, Any]]:
        """The details so far of one portfolio; what comes twice is known by its id."""
        self._drain()
        return [detail for detail in self._seen.values() if detail[self._type]["portfolio_id"] == portfolio_id]

    def all_ids(self) -> set[str]:
        """Of every event that is there by now."""
        self._drain()
        return set(self._seen)

    def ids(self, portfolio_id: str) -> set[str]:
        return {detail["event_id"] for detail in self.of(portfolio_id)}

    def _drain(self) -> None:
        while found := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                detail = json.loads(message["Body"], parse_float=Decimal)["detail"]
                self._seen[detail["event_id"]] = detail
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])


@pytest.fixture
def at_rest(stack: Cloud, admin: Rest) -> Iterator[Callable[[Holder], None]]:
    """Waits until all that followed from what somebody booked is over: the ledger's stream, which has an account valued
    once more after the answer, and every valuation that was promised."""
    told = Events(stack, STATE_UPDATED)

    def wait(owner: Holder) -> None:
        name = owner.portfolio_id
        [book] = [item for item in owner.rest.get("/api/v1/portfolios")["portfolios"] if item["portfolio_id"] == name]
        wanted = f"{STATE_UPDATED}:{name}:{book['ledger_version']}"
        eventually(lambda: told.ids(name), lambda ids: wanted in ids, "the ledger's stream")
        path, key = f"/api/market/portfolio/dirty-users/{book['account_type']}", f"{book['account_type']}:{name}"
        eventually(lambda: admin.get(path)["users"], lambda users: key not in users, "the end of its marks")

    yield wait
    told.close()


def lose_hot_store(stack: Cloud) -> None:
    """All of it, while everything runs."""
    if stack.settings.portfolio["PORTFOLIO_HOT_STORE"] == "valkey":
        with redis.Redis.from_url(stack.outputs.redis_url) as node:
            node.flushall()
        return
    client, table = stack.aws("dynamodb"), stack.outputs.resources["HotTableName"]
    for page in client.get_paginator("scan").paginate(TableName=table, ProjectionExpression="pk, sk"):
        for key in page["Items"]:
            client.delete_item(TableName=table, Key=key)


def value_of(snapshot: StoredSnapshot) -> Decimal | None:
    return snapshots.decode(snapshot.body).total_value


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def post_price(rest: Rest, symbol: str, last: object, **more: object) -> dict[str, Any]:
    body: dict[str, Any] = rest.post(
        "/api/v1/prices", {"updates": [{"symbol": symbol, "last": last, "ts": now_ms(), **more}]}
    )
    return body


def eventually(read: Callable[[], T], holds: Callable[[T], bool], what: str, within_s: float = DEADLINE_S) -> T:
    """What ``read`` gives as soon as it holds; fails with the last thing seen."""
    deadline = time.monotonic() + within_s
    while True:
        seen = read()
        if holds(seen):
            return seen
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {within_s} s; last seen: {seen}")
        time.sleep(0.1)


def receive(socket: Socket, holds: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    """The next message that holds, skipping others; fails with those skipped."""
    deadline = time.monotonic() + DEADLINE_S
    skipped = []
    while (left := deadline - time.monotonic()) > 0:
        message = socket.receive(left)
        if message is None:
            break
        if holds(message):
            return message
        skipped.append(message)
    pytest.fail(f"{what}: did not arrive within {DEADLINE_S} s; others: {skipped}")


def of_type(*kinds: str) -> Callable[[dict[str, Any]], bool]:
    return lambda message: message["type"] in kinds


def has_total(message: dict[str, Any], value: Decimal) -> bool:
    """Whether it is an update to this total value."""
    return message["type"] == "portfolio_update" and message["updates"][0]["data"].get("total_value") == value


def anything(message: dict[str, Any]) -> bool:
    """The very next message, whatever it is."""
    return bool(message)


def total(price: str | Decimal) -> Decimal:
    """A holder's total value at a price."""
    return Decimal(10000) - Decimal("1001.50") + 10 * Decimal(price)
