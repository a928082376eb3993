"""The bridge as a process of its own, between a real Valkey and a queue of the emulator."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import pytest
import redis

from foliostream.adapters.redis_subscription import RedisSubscription
from foliostream.application import price_input
from foliostream.domain.price import PriceUpdate
from foliostream.errors import RetryableError
from local.services import HOST, free_port
from tests.support.ministack import Emulator
from tests.support.servers import wait_until
from tests.support.valkey import valkey_server

ROOT = Path(__file__).resolve().parents[2]
TS = 1_772_101_800_000
CHANNEL = "market_price_updates"


@dataclass
class Running:
    """A started bridge, what it logs, and what has arrived in its queue."""

    process: subprocess.Popen[str]
    sqs: Any
    queue_url: str
    lines: list[dict[str, Any]] = field(default_factory=list)
    arrived: list[PriceUpdate] = field(default_factory=list)

    @classmethod
    @contextmanager
    def started(cls, redis_url: str, emulator: Emulator, *arguments: str, queue_url: str = "") -> Iterator[Self]:
        sqs: Any = emulator.client("sqs")
        url = queue_url or str(sqs.create_queue(QueueName=f"price-{uuid4().hex}")["QueueUrl"])
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "layers/foliostream/python"),
            "PORTFOLIO_REDIS_URL": redis_url,
            "PORTFOLIO_PRICE_QUEUE_URL": url,
            "PORTFOLIO_SHARDS": "64",
            "AWS_ENDPOINT_URL": emulator.endpoint,
            "AWS_ACCESS_KEY_ID": emulator.access_key_id,
            "AWS_SECRET_ACCESS_KEY": emulator.secret_access_key,
            "AWS_REGION": emulator.region,
            "AWS_DEFAULT_REGION": emulator.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "foliostream.bridge", *arguments],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        running = cls(process, sqs, url)
        reader = threading.Thread(target=running._read_lines)
        reader.start()
        try:
            yield running
        finally:
            process.kill()
            process.wait()
            reader.join()
            assert process.stderr
            process.stderr.close()

    def _read_lines(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append(json.loads(line))

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in list(self.lines) if line["event"] == name]

    def wait_for(self, event: str, times: int = 1) -> None:
        wait_until(lambda: len(self.events(event)) >= times, f"the log line {event!r}")

    def last_prices(self) -> dict[str, str]:
        """The newest price of each symbol, as price_update would see it."""
        found = self.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10).get("Messages", [])
        for message in found:
            parsed = price_input.from_event(message["Body"])
            assert not parsed.refused
            self.arrived += parsed.updates
            self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
        newest = sorted(self.arrived, key=lambda update: update.order)
        return {update.symbol: str(update.last) for update in newest}

    def wait_for_prices(self, expected: dict[str, str]) -> None:
        wait_until(lambda: self.last_prices().items() >= expected.items(), f"{expected}, have {self.last_prices()}")

    def stopped(self, by: int = signal.SIGTERM) -> int:
        self.process.send_signal(by)
        return self.process.wait(20)


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, decode_responses=True, protocol=2)


def publish(url: str, *messages: str) -> None:
    with client(url) as publisher:
        for message in messages:
            publisher.publish(CHANNEL, message)


def write(url: str, symbol: str, last: str, ts: int) -> None:
    """What a publisher does: the hash, then the name."""
    with client(url) as publisher:
        publisher.hset(f"market:{symbol}", mapping={"last": last, "bid": last, "ask": last, "ts": ts})
        publisher.publish(CHANNEL, symbol)


def tick(symbol: str, last: str, ts: int = TS) -> str:
    return json.dumps({"updates": [{"symbol": symbol, "last": last, "ts": ts}]})


@pytest.mark.parametrize("cluster", [True, False], ids=["cluster", "plain"])
def test_names_and_json_reach_the_queue_and_a_stop_delivers_what_is_held(
    tmp_path: Path, ministack: Emulator, cluster: bool
) -> None:
    with valkey_server(tmp_path, cluster=cluster) as url, Running.started(url, ministack) as bridge:
        bridge.wait_for("subscribed")
        write(url, "AAPL", "150.25", TS)
        publish(url, tick("M&M", "3000.05"), "nobody has written this")
        bridge.wait_for_prices({"AAPL": "150.25", "M&M": "3000.05"})
        publish(url, tick("LAST", "1"))
        bridge.wait_for("unreadable")
        assert bridge.stopped() == 0
        bridge.wait_for_prices({"LAST": "1"})
        with client(url) as direct:
            assert direct.keys("foliostream*") == []
    (stopped,) = bridge.events("stopped")
    assert (stopped["undelivered"], stopped["messages"], stopped["unreadable"]) == (0, 4, 1)
    assert bridge.events("started")[0]["source"] == url


def test_a_valkey_that_is_killed_and_started_again_costs_nothing(tmp_path: Path, ministack: Emulator) -> None:
    port = free_port()
    with ExitStack() as second, ExitStack() as first:
        url = first.enter_context(valkey_server(tmp_path, port=port))
        bridge = second.enter_context(Running.started(url, ministack))
        bridge.wait_for("subscribed")
        write(url, "AAPL", "1", TS)
        write(url, "MSFT", "1", TS)
        bridge.wait_for_prices({"AAPL": "1", "MSFT": "1"})
        for round_number in range(2, 4):
            first.close()
            bridge.wait_for("source lost", round_number)
            first.enter_context(valkey_server(tmp_path, port=port))
            # Published before the bridge is back: nobody hears it, the hash holds it.
            write(url, "AAPL", str(round_number), TS + round_number)
            bridge.wait_for_prices({"AAPL": str(round_number)})
            bridge.wait_for("subscribed", round_number)
            publish(url, tick("MSFT", str(round_number), TS + round_number))
            bridge.wait_for_prices({"MSFT": str(round_number)})
        assert bridge.stopped(signal.SIGINT) == 0


class Proxy:
    """Stands between the bridge and Valkey; what is ``frozen`` stays open and passes nothing: a half-open TCP
    connection."""

    def __init__(self, target_port: int) -> None:
        self._target = target_port
        self._frozen = threading.Event()
        self._generation = 0
        self._server = socket.create_server((HOST, 0))
        self._sockets: list[socket.socket] = [self._server]
        self.url = f"redis://{HOST}:{self._server.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def freeze(self) -> None:
        """What is open now is dead from now on; new connections work."""
        self._generation += 1

    def close(self) -> None:
        for opened in self._sockets:
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection((HOST, self._target))
                self._sockets += [near, far]
                for source, sink in ((near, far), (far, near)):
                    thread = threading.Thread(target=self._pass, args=(source, sink, self._generation), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _pass(self, source: socket.socket, sink: socket.socket, generation: int) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if generation == self._generation:
                    sink.sendall(data)


def test_a_half_open_connection_is_noticed_and_left(tmp_path: Path, ministack: Emulator) -> None:
    with valkey_server(tmp_path, cluster=False) as url:
        proxy = Proxy(int(url.rpartition(":")[2]))
        with Running.started(proxy.url, ministack, "--silence-seconds", "1", "--answer-seconds", "1") as bridge:
            bridge.wait_for("subscribed")
            write(url, "AAPL", "1", TS)
            bridge.wait_for_prices({"AAPL": "1"})
            proxy.freeze()
            write(url, "AAPL", "2", TS + 1)
            bridge.wait_for_prices({"AAPL": "2"})
            assert "no answer" in bridge.events("source lost")[0]["reason"]
            assert bridge.stopped() == 0
        proxy.close()


def test_a_killed_subscription_is_made_again(tmp_path: Path, ministack: Emulator) -> None:
    with valkey_server(tmp_path) as url, Running.started(url, ministack) as bridge:
        bridge.wait_for("subscribed")
        with client(url) as direct:
            direct.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        bridge.wait_for("subscribed", 2)
        publish(url, tick("AAPL", "3"))
        bridge.wait_for_prices({"AAPL": "3"})


def test_a_burst_of_twenty_thousand_updates_arrives_whole(tmp_path: Path, ministack: Emulator) -> None:
    with valkey_server(tmp_path) as url, Running.started(url, ministack) as bridge:
        bridge.wait_for("subscribed")
        with client(url) as publisher, publisher.pipeline(transaction=False) as pipeline:
            for number in range(20_000):
                pipeline.publish(CHANNEL, tick(f"S{number % 500}", str(number + 1), TS + number))
            pipeline.execute()
        bridge.wait_for_prices({"S499": "20000"})
        wait_until(lambda: bool(bridge.last_prices()) and len(bridge.arrived) >= 20_000, "all of them")
        assert len({update.order for update in bridge.arrived}) == 20_000
        assert bridge.stopped() == 0


def test_a_stop_in_the_middle_of_a_burst_delivers_what_was_published_before_it(
    tmp_path: Path, ministack: Emulator
) -> None:
    with valkey_server(tmp_path) as url, Running.started(url, ministack) as bridge:
        bridge.wait_for("subscribed")
        with client(url) as publisher, publisher.pipeline(transaction=False) as pipeline:
            for number in range(5_000):
                pipeline.publish(CHANNEL, tick("AAPL", str(number + 1), TS + number))
            pipeline.execute()
        assert bridge.stopped() == 0
        bridge.wait_for("stopped")
        assert bridge.events("stopped")[0]["sent"] == 5_000
        bridge.wait_for_prices({"AAPL": "5000"})


def test_the_password_of_the_source_is_in_no_line(tmp_path: Path, ministack: Emulator) -> None:
    with valkey_server(tmp_path, cluster=False) as url:
        with client(url) as direct:
            direct.config_set("requirepass", "geheim-7")
        secret_url = url.replace("redis://", "redis://:geheim-7@")
        with Running.started(secret_url, ministack) as bridge:
            bridge.wait_for("subscribed")
            assert bridge.events("started")[0]["source"] == url
            assert bridge.stopped() == 0
        with Running.started(url.replace("redis://", "redis://:wrong-geheim-7@"), ministack) as bridge:
            bridge.wait_for("source lost")
            assert bridge.stopped() == 0
        assert "geheim" not in str(bridge.lines)


def test_a_queue_that_is_not_there_ends_it_and_says_so(tmp_path: Path, ministack: Emulator) -> None:
    missing = f"{ministack.endpoint}/000000000000/nobody-made-this"
    with valkey_server(tmp_path) as url, Running.started(url, ministack, queue_url=missing) as bridge:
        bridge.wait_for("subscribed")
        publish(url, tick("AAPL", "3"))
        assert bridge.process.wait(20) == 3
        bridge.wait_for("stopped")
        assert bridge.events("the queue refuses") != []
        assert bridge.events("stopped")[0]["undelivered"] == 1


def test_while_the_queue_is_away_updates_wait_and_a_stop_says_how_many(tmp_path: Path, ministack: Emulator) -> None:
    away = Emulator(f"http://{HOST}:{free_port()}")
    queue = f"{away.endpoint}/000000000000/price"
    with valkey_server(tmp_path) as url, Running.started(url, away, "--stop-seconds", "1", queue_url=queue) as bridge:
        bridge.wait_for("subscribed")
        publish(url, tick("AAPL", "3"), tick("MSFT", "4"))
        bridge.wait_for("queue does not answer")
        started = time.monotonic()
        assert bridge.stopped() == 4
        assert time.monotonic() - started < 15  # bounded, not measured
    assert bridge.events("stopped")[0]["undelivered"] == 2
    assert ministack.endpoint != away.endpoint


def test_an_unfinished_message_is_waited_for_and_nonsense_is_an_error(valkey_url: str) -> None:
    subscription = RedisSubscription(valkey_url, CHANNEL)
    large = "x" * 3_000_000
    publish(valkey_url, large, "A")
    heard: list[bytes | None] = []

    def both() -> bool:
        found = subscription.receive(0.001)
        heard.extend([found.message] if found else [])
        return len(heard) == 2

    wait_until(both, "both messages")
    assert heard == [large.encode(), b"A"]
    subscription.ask()
    wait_until(lambda: subscription.receive(0.1) is not None, "the answer")
    subscription.close()
    with pytest.raises(RetryableError):
        RedisSubscription(f"redis://{HOST}:{free_port()}", CHANNEL)
