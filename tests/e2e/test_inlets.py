"""Ticks and fills from outside: a publisher's Redis through the bridge, records of Kafka topics by invocation."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis

from foliostream_client.transport import Rest
from local.__main__ import bridge_environment
from local.services import free_port
from tests.e2e.conftest import Cloud, Holder, eventually, now_ms, total
from tests.e2e.test_fills import fill, given_up, held, state
from tests.support.valkey import valkey_server

ROOT = Path(__file__).parents[2]
CHANNEL = "market_price_updates"


@contextmanager
def bridge(stack: Cloud, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running bridge; it must end well."""
    process = subprocess.Popen(
        [sys.executable, "-m", "foliostream.bridge"],
        env=bridge_environment(stack.outputs, os.environ | environment)
        | {name: value for name, value in environment.items() if name.startswith("AWS_")},
    )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def heard(url: str) -> bool:
    """Whether somebody listens."""
    with redis.Redis.from_url(url, protocol=2) as client:
        return dict(client.pubsub_numsub(CHANNEL))[CHANNEL.encode()] > 0


def tick(url: str, symbol: str, last: str, ts: int | str) -> None:
    """What a publisher does: the hash, then the name of its symbol."""
    with redis.Redis.from_url(url, protocol=2) as client:
        client.hset(f"market:{symbol}", mapping={"bid": last, "ask": last, "last": last, "ts": ts})
        client.publish(CHANNEL, symbol)


@pytest.fixture
def bridge_user(stack: Cloud) -> dict[str, str]:
    """Credentials that the stack's BridgePolicy gives rights to, and nothing else does."""
    iam, name = stack.aws("iam"), f"bridge-{uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    iam.attach_user_policy(UserName=name, PolicyArn=stack.outputs.resources["BridgePolicyArn"])
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def test_a_tick_on_the_channel_changes_a_state_also_after_its_redis_was_killed(
    stack: Cloud, symbol: str, holder: Callable[[str], Holder], tmp_path: Path, bridge_user: dict[str, str]
) -> None:
    owner, port = holder("live"), free_port()
    with ExitStack() as running, ExitStack() as server:
        url = server.enter_context(valkey_server(tmp_path, cluster=False, port=port))
        running.enter_context(bridge(stack, PORTFOLIO_REDIS_URL=url, **bridge_user))
        eventually(lambda: heard(url), bool, "the bridge on the channel")
        with redis.Redis.from_url(url, protocol=2) as client:
            client.publish(CHANNEL, json.dumps({"updates": [{"symbol": symbol, "last": "101.5", "ts": now_ms()}]}))
        eventually(owner.state, lambda seen: seen["total_value"] == total("101.5"), "the published update")
        tick(url, symbol, "102.5", now_ms())
        eventually(owner.state, lambda seen: seen["total_value"] == total("102.5"), "the named symbol")
        server.close()
        server.enter_context(valkey_server(tmp_path, cluster=False, port=port))
        tick(url, symbol, "103.5", now_ms())  # perhaps before anybody listens again
        eventually(owner.state, lambda seen: seen["total_value"] == total("103.5"), "the tick after the restart")


def test_a_publisher_may_write_the_hashes_of_foliostreams_own_store(
    stack: Cloud, symbol: str, holder: Callable[[str], Holder]
) -> None:
    owner, url = holder("live"), stack.outputs.redis_url
    with bridge(stack, PORTFOLIO_REDIS_URL=url):
        eventually(lambda: heard(url), bool, "the bridge on the channel")
        for price in ("50.25", "51.25", "52.25"):
            tick(url, symbol, price, now_ms())
            eventually(owner.state, lambda seen, at=price: seen["total_value"] == total(at), f"the tick at {price}")  # type: ignore[misc]
    found = owner.state()
    assert (found["calc_status"], found["stale"]) == ("ok", [])


def record(topic: str, offset: int, value: bytes) -> dict[str, Any]:
    return {
        "topic": topic,
        "partition": 0,
        "offset": offset,
        "timestamp": now_ms(),
        "timestampType": "CREATE_TIME",
        "value": base64.b64encode(value).decode(),
        "headers": [],
    }


def invoke(stack: Cloud, function: str, sample: str, *values: bytes) -> None:
    """With the records of the sample event, and these values after them."""
    event = json.loads((ROOT / "events" / sample).read_text())
    partition, sent = next(iter(event["records"].items()))
    topic = sent[0]["topic"]
    event["records"][partition] += [record(topic, 1_000 + number, value) for number, value in enumerate(values)]
    answer = stack.aws("lambda").invoke(
        FunctionName=stack.outputs.resources[function], Payload=json.dumps(event).encode()
    )
    assert "FunctionError" not in answer, answer["Payload"].read()
    assert json.loads(answer["Payload"].read()) == {"batchItemFailures": []}


def test_records_of_a_price_topic_are_valued_and_the_broken_one_is_a_dead_letter(
    stack: Cloud, symbol: str, holder: Callable[[str], Holder]
) -> None:
    owner, mark = holder("live"), uuid4().hex
    good = json.dumps({"symbol": symbol, "last": "61.5", "ts": now_ms()}).encode()
    invoke(stack, "PriceUpdateFunctionName", "price_update.kafka.json", f"broken {mark}".encode(), good)
    eventually(owner.state, lambda seen: seen["total_value"] == total("61.5"), "the record's price")

    def letters() -> list[dict[str, Any]]:
        return [letter for letter in given_up(stack, "price-dead") if '"offset": 1000' in letter["Body"]]

    found = eventually(letters, bool, "the dead letter")
    assert found[0]["MessageAttributes"]["reason"]["StringValue"] == "INVALID_JSON"
    assert "market-prices-0@1000" in found[0]["MessageAttributes"]["detail"]["StringValue"]


def test_records_of_a_fill_topic_are_booked_and_the_refused_one_is_a_dead_letter(
    stack: Cloud, admin: Rest, symbol: str
) -> None:
    strategy = uuid4().hex[:8]
    bought = fill(symbol, f"k-{strategy}", strategy)
    values = [bought, bought, bought | {"fill_id": f"s-{strategy}", "side": "SELL", "quantity": 4}]
    values.append(bought | {"fill_id": f"z-{strategy}", "execution_mode": "zerodha"})
    invoke(stack, "AcceptFillsFunctionName", "accept_fills.kafka.json", *[json.dumps(one).encode() for one in values])
    admin.post("/api/v1/prices", {"updates": [{"symbol": symbol, "last": 1, "ts": now_ms()}]})
    seen = eventually(lambda: state(stack, strategy), lambda found: held(found) == 6, "both fills")
    assert seen["cash_balance"] == 100_000 - Decimal("1002.50") - Decimal("1.50") + 401 - Decimal("1.50")

    def refused() -> list[dict[str, Any]]:
        return [letter for letter in given_up(stack, "order-filled-dead") if f"z-{strategy}" in letter["Body"]]

    (letter,) = eventually(refused, bool, "the dead letter")
    assert letter["MessageAttributes"]["reason"]["StringValue"] == "PORTFOLIO_NOT_FOUND"
