"""What a million recalculated portfolios cost on AWS: counted calls times the price list, beside a home-grown listener.

The pipeline is the real one: an event in the price queue, `price_update`'s handler, real FIFO messages, `recalculate`'s
handler, with SQS and DynamoDB of the emulator and a real Valkey. This process stands for Lambda: it receives, calls
the handlers, deletes. A tick of a symbol finds as many holders as the shape wants; push and clients are apart.

Left out on both sides: logs, traces, network, storage, polling of empty queues, cold starts. The baseline is what a
listener costs that sends, receives and deletes a message a portfolio, is invoked for it, values it (in the time that
the valuation of one takes here) and writes one item of up to 1 KB: without reads, the least that could be asked.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import msgspec
import redis

from benchmarks import price_list, report, usage
from benchmarks.container import CONTEXT, SKEW_MS, Handler, environment, load_handler
from benchmarks.measuring import Figure, Reference, Row, now_ms, timed
from benchmarks.population import Market, portfolios
from foliostream.adapters.dynamodb_batch import batch_write
from foliostream.adapters.dynamodb_holders import holder_key
from foliostream.domain.instrument import Instrument
from foliostream.domain.keys import shard_of
from foliostream.domain.portfolio import Portfolio
from foliostream.queues import Queue
from foliostream.wiring import Wiring, wiring
from local import services
from local.settings import Settings

# MemorySize of both functions in the template: one vCPU.
MEMORY_GB = 1_769 / 1_024
MESSAGES_PER_BATCH = 10
SYMBOLS = 200
ROUNDS = 3
LIVE_WINDOW_MS = {"valkey": 200, "dynamodb": 1_000}
PORTFOLIOS_PER_SHARD = {"valkey": 200, "dynamodb": 50}
OTHER_WINDOWS_MS = (1_000, 3_000)
_QUEUES = (Queue.PRICE, Queue.LIVE, Queue.DEMO, Queue.PAPER, Queue.PUSH, Queue.BULK, Queue.REFRESH, Queue.DELAYED)
_encoder = msgspec.json.Encoder(decimal_format="string")


class Shape(NamedTuple):
    """How dirty portfolios meet messages: ``per_shard`` of them in each shard a window."""

    name: str
    per_shard: int
    keys_per_message: int = 500
    messages_per_invocation: int = MESSAGES_PER_BATCH


BASE = {store: Shape("one symbol, many holders", per_shard) for store, per_shard in PORTFOLIOS_PER_SHARD.items()}
WORST = Shape("1 a shard and window, 1 message an invocation", 1, messages_per_invocation=1)
OTHERS = (
    Shape("50 keys a message", 50, keys_per_message=50),
    Shape("10 keys a message", 50, keys_per_message=10),
    Shape("1 key a message", 10, keys_per_message=1),
    Shape("10 a shard and window", 10),
    Shape("1 a shard and window", 1),
    WORST,
)


@dataclass
class Used:
    """What a shape used. ``compute_s`` is the handlers' time without the wait for the window's end."""

    portfolios: int = 0
    messages: int = 0
    price_invocations: int = 0
    invocations: int = 0
    compute_s: float = 0.0
    units: dict[str, float] = field(default_factory=dict)

    def add(self, units: Mapping[str, float]) -> None:
        """Sum up."""
        for unit, count in units.items():
            self.units[unit] = self.units.get(unit, 0.0) + count

    def parts(self, window_ms: int) -> dict[str, float]:
        """US dollars per million portfolios, by what they are paid for."""
        waited_s = self.invocations * mean_wait_ms(window_ms, SKEW_MS) / 1_000
        dollars = {
            "messages": sum(price_list.usd(unit, self.units.get(unit, 0)) for unit in ("sqs_fifo", "sqs_standard")),
            "events": price_list.usd("events", self.units.get("events", 0)),
            "invocations": price_list.usd("lambda_requests", self.price_invocations + self.invocations),
            "compute": price_list.usd("lambda_gb_seconds", self.compute_s * MEMORY_GB),
            "waiting": price_list.usd("lambda_gb_seconds", waited_s * MEMORY_GB),
            "store": sum(
                price_list.usd(unit, self.units.get(unit, 0)) for unit in ("dynamodb_writes", "dynamodb_reads", "ecpu")
            ),
        }
        return {name: value / self.portfolios * 1e6 for name, value in dollars.items()}

    def usd_per_million(self, window_ms: int) -> float:
        """US dollars per million portfolios, at most."""
        return sum(self.parts(window_ms).values())

    def least_usd_per_million(self, window_ms: int) -> float:
        """The same, with the least that Valkey's units may be."""
        doubtful = self.units.get("ecpu", 0) - self.units.get("ecpu_least", 0)
        return self.usd_per_million(window_ms) - price_list.usd("ecpu", doubtful) / self.portfolios * 1e6


def mean_wait_ms(window_ms: int, skew_ms: int) -> float:
    """How long `recalculate` waits for a message's window to end, on average over marks anywhere in the window.

    The queue holds a message for the window's whole seconds D; what is left of window + skew - D - (time since the
    window began) is waited for in the function, and paid.
    """
    most = window_ms + skew_ms - window_ms // 1_000 * 1_000
    least = max(most - window_ms, 0)
    return (most * most - least * least) / (2 * window_ms)


def measure(home: Path) -> list[Row]:
    """Both stores, several shapes, each counted after a warm-up; the wait is added by its mean."""
    settings = Settings(home=home, port=0)
    before = dict(os.environ)
    try:
        cloud = services.start(settings)
        rows: list[Row] = []
        one_s = 0.0
        for store in PORTFOLIOS_PER_SHARD:  # valkey first: the listener is one and the same beside both
            counted, one_s = _store(store, cloud, one_s)
            rows += counted
        return rows
    finally:
        services.stop(settings)
        os.environ.clear()
        os.environ.update(before)
        boto3.DEFAULT_SESSION = None
        wiring.cache_clear()


def _store(store: str, cloud: services.Services, one_s: float) -> tuple[list[Row], float]:
    """The rows, and the seconds in which the listener values one portfolio: measured here unless given."""
    with _lambda(store, cloud) as one:
        one.run(BASE[store])  # connects, and makes the first snapshots
        rounds = sorted((one.run(BASE[store]) for _ in range(ROUNDS)), key=lambda used: used.compute_s)
        many = rounds[ROUNDS // 2]  # the same calls each time: rounds differ in what else the machine does
        others = {shape.name: one.run(shape) for shape in OTHERS if shape.per_shard < BASE[store].per_shard}
        one_s = one_s or others[WORST.name].compute_s / others[WORST.name].invocations
        baseline = one.listener(one_s)
    live_ms = LIVE_WINDOW_MS[store]
    counted = [_Counted(BASE[store].name, live_ms, many)]
    counted += [_Counted(name, live_ms, used) for name, used in others.items()]
    counted += [_Counted(WORST.name, other, others[WORST.name]) for other in OTHER_WINDOWS_MS if other != live_ms]
    _show(store, counted, baseline)
    beside = Reference("cost_baseline_per_million_usd", "a message, call and write each", _figure(baseline))
    name, highest = f"cost, {store}, {BASE[store].name}", rounds[-1].usd_per_million(live_ms)
    figure = Figure(many.usd_per_million(live_ms), rounds[0].least_usd_per_million(live_ms), highest)
    row = Row("cost_per_million_usd", name, "USD/M", figure, (beside,), member=store)
    return [row, *(detail for counts in counted for detail in _details(store, counts))], one_s


class _Counted(NamedTuple):
    """A shape that was run, in a window that may be another one: only the wait depends on it."""

    shape: str
    window_ms: int
    used: Used


def _show(store: str, counted: Sequence[_Counted], baseline: float) -> None:
    parts = list(counted[0].used.parts(counted[0].window_ms))
    lines: list[list[str | float]] = []
    for one in counted:
        dollars = one.used.parts(one.window_ms)
        total = sum(dollars.values())
        million = 1e6 / one.used.portfolios
        counts = [one.used.messages * million, one.used.invocations * million]
        name = f"{one.shape}, window {one.window_ms} ms"
        lines.append([name, *(dollars[part] for part in parts), total, f"{baseline / total:.3g} x below", *counts])
    report.matrix(
        f"US dollars per million recalculated portfolios, {store}; a home-grown listener: {baseline:.2f}",
        ("portfolios that become dirty", *parts, "sum", "baseline", "messages", "invocations"),
        lines,
    )


def _details(store: str, one: _Counted) -> list[Row]:
    """What bench.json keeps of a line of the table."""
    member = f"{store}, {one.shape}, window {one.window_ms} ms"
    million = 1e6 / one.used.portfolios
    figures = {"cost_by_shape_per_million_usd": one.used.usd_per_million(one.window_ms)}
    figures |= {f"cost_{part}_per_million_usd": value for part, value in one.used.parts(one.window_ms).items()}
    figures |= {"messages_per_million": one.used.messages * million}
    figures |= {"invocations_per_million": one.used.invocations * million}
    figures |= {f"{unit}_per_million": count * million for unit, count in one.used.units.items() if count}
    return [Row(key, key, "", _figure(value), member=member, is_detail=True) for key, value in figures.items()]


def _figure(value: float) -> Figure:
    return Figure(value, value, value)


@contextmanager
def _lambda(store: str, cloud: services.Services) -> "Iterator[_Lambda]":
    raw = redis.Redis.from_url(cloud.redis_url, protocol=2)
    try:
        yield _Lambda(store, cloud, raw)
    finally:
        raw.close()


class _Lambda:
    """This process as all of Lambda, with one store, its tables and its queues, and portfolios in it."""

    def __init__(self, store: str, cloud: services.Services, raw: redis.Redis) -> None:
        os.environ.update(environment(cloud.redis_url) | services.aws_environment(cloud.endpoint))
        plain: Any = boto3.session.Session().client  # its clients are not counted
        self._store = store
        self._tables = {name: _table(plain("dynamodb"), f"{store}-{name}") for name in ("ledger", "hot", "sessions")}
        self._urls = {queue: _queue(plain("sqs"), f"{store}-{queue}") for queue in _QUEUES}
        self._listener_url = _queue(plain("sqs"), f"{store}-listener.fifo")
        os.environ.update(_settings(store, self._tables, self._urls[Queue.PRICE]))
        wiring.cache_clear()
        self._meter = usage.Meter()
        self._sqs: Any = boto3.client("sqs")
        self._dynamodb: Any = boto3.client("dynamodb")
        self._sizes = usage.Sizes(plain("dynamodb"))
        self._valkey = usage.ValkeyMeter(raw)
        self._parts: Wiring = wiring()
        self._market = Market([f"C{number:03d}" for number in range(SYMBOLS)])
        self._handlers: dict[str, Handler] = {name: load_handler(name) for name in ("price_update", "recalculate")}
        self._fill()

    def _fill(self) -> None:
        parts, shapes = self._parts, {BASE[self._store].per_shard, *(shape.per_shard for shape in OTHERS)}
        for instrument in self._market.instruments():
            parts.instruments.put(instrument)
        for per_shard in shapes:
            parts.instruments.put(Instrument(_hot_symbol(per_shard), "stock", "USD"))
        parts.hot.put(self._market.move())
        for rank, portfolio in _ranked(parts.settings.shards, BASE[self._store].per_shard, self._market):
            parts.valuer.project(portfolio)
            self._hold(portfolio.key, [_hot_symbol(per_shard) for per_shard in shapes if rank < per_shard])

    def _hold(self, key: str, symbols: Sequence[str]) -> None:
        """Dependents beside those of the positions; in DynamoDB the ledger's own transactions would write them."""
        if self._store == "valkey":
            self._parts.holders.add(key, symbols)
        else:
            account_type = key.partition(":")[0]
            items = [holder_key(symbol, account_type, key) for symbol in symbols]
            batch_write(self._dynamodb, self._tables["ledger"], puts=items)

    def run(self, shape: Shape) -> Used:
        """One tick of the shape's symbol, until every portfolio has its snapshot."""
        used, parts, started_ms = Used(), self._parts, now_ms()
        parts.marker = replace(parts.marker, keys_per_message=shape.keys_per_message)
        self._meter.take()
        self._valkey.take()
        self._sqs.send_message(QueueUrl=self._urls[Queue.PRICE], MessageBody=_event(_hot_symbol(shape.per_shard)))
        used.add({"events": 1})  # EventBridge took it, and sent it as counted
        used.price_invocations, _, used.compute_s = self._drain(
            self._urls[Queue.PRICE], "price_update", MESSAGES_PER_BATCH
        )
        parts.clock.wait_until(parts.marker.window("live").end_ms + SKEW_MS)
        used.invocations, bodies, seconds = self._drain(
            self._urls[Queue.LIVE], "recalculate", shape.messages_per_invocation
        )
        used.messages, used.compute_s = len(bodies), used.compute_s + seconds
        used.portfolios = sum(len(msgspec.json.decode(body)["keys"]) for body in bodies)
        if used.portfolios != shape.per_shard * parts.settings.shards:
            raise RuntimeError(f"{shape.name}: {used.portfolios} portfolios were marked")
        calls = self._meter.take()
        used.add(self._valkey.take() if self._store == "valkey" else {})
        used.add(usage.sqs_usage(calls) | usage.dynamodb_usage(calls, self._sizes))
        self._check(bodies, started_ms)
        return used

    def _drain(self, url: str, function: str, at_once: int) -> tuple[int, list[str], float]:
        """Everything in the queue through the function as Lambda does it: invocations, bodies, seconds in handlers."""
        invocations, bodies, total = 0, [], 0.0
        while messages := self._receive(url, at_once):
            event = {"Records": [_record(message) for message in messages]}
            answer, seconds = timed(lambda event=event: self._handlers[function](event, CONTEXT))  # type: ignore[misc]
            if answer["batchItemFailures"]:
                raise RuntimeError(f"{function}: {answer}")
            receipts = [{"Id": str(at), "ReceiptHandle": one["ReceiptHandle"]} for at, one in enumerate(messages)]
            self._sqs.delete_message_batch(QueueUrl=url, Entries=receipts)
            invocations, total = invocations + 1, total + seconds
            bodies += [message["Body"] for message in messages]
        return invocations, bodies, total

    def _receive(self, url: str, at_once: int) -> list[dict[str, Any]]:
        answer = self._sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=at_once, MessageSystemAttributeNames=["ApproximateReceiveCount"]
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def _check(self, bodies: Sequence[str], started_ms: int) -> None:
        """Every portfolio has a snapshot read since then: nothing was skipped."""
        ids = [key.partition(":")[2] for body in bodies for key in msgspec.json.decode(body)["keys"]]
        stored = self._parts.hot.load(ids)
        left = [name for name, item in stored.items() if item.head is None or item.head.read_at_ms < started_ms]
        if left:
            raise RuntimeError(f"{len(left)} of {len(ids)} portfolios were not valued")

    def listener(self, compute_s: float) -> float:
        """US dollars per million portfolios of the baseline; ``compute_s`` is the time for one."""
        count = 50
        self._meter.take()
        for number in range(count):
            body = msgspec.json.encode({"portfolio": f"live:{number}"}).decode()
            ids = {"MessageGroupId": str(number), "MessageDeduplicationId": str(number)}
            self._sqs.send_message(QueueUrl=self._listener_url, MessageBody=body, **ids)
            [message] = self._receive(self._listener_url, 1)
            item = {"pk": {"S": f"LISTENER#{number}"}, "sk": {"S": "VALUE"}, "total_value": {"N": "123456.78"}}
            self._dynamodb.put_item(TableName=self._tables["hot"], Item=item)
            self._sqs.delete_message(QueueUrl=self._listener_url, ReceiptHandle=message["ReceiptHandle"])
        calls = self._meter.take()
        units = usage.sqs_usage(calls) | usage.dynamodb_usage(calls, self._sizes)
        units |= {"lambda_requests": count, "lambda_gb_seconds": count * compute_s * MEMORY_GB}
        return sum(price_list.usd(unit, used) for unit, used in units.items()) / count * 1e6


def _ranked(shards: int, per_shard: int, market: Market) -> Iterator[tuple[int, Portfolio]]:
    """So many portfolios in each shard, with their number in it."""
    ranks: dict[int, int] = {}
    for portfolio in portfolios(100 * shards * per_shard, market, "cost-"):
        shard = shard_of(portfolio.portfolio_id, shards)
        rank = ranks.get(shard, 0)
        if rank < per_shard:
            ranks[shard] = rank + 1
            yield rank, portfolio
            if sum(ranks.values()) == shards * per_shard:
                return


def _hot_symbol(per_shard: int) -> str:
    return f"HOT{per_shard}"


def _event(symbol: str) -> str:
    update = {"symbol": symbol, "last": "100.25", "ts": now_ms()}
    event = {"detail-type": "market_price_update", "source": "benchmark", "detail": {"updates": [update]}}
    return _encoder.encode(event).decode()


def _record(message: Mapping[str, Any]) -> dict[str, Any]:
    return {"messageId": message["MessageId"], "body": message["Body"], "attributes": message["Attributes"]}


def _settings(store: str, tables: Mapping[str, str], price_url: str) -> dict[str, str]:
    return {
        "PORTFOLIO_HOT_STORE": store,
        "PORTFOLIO_LEDGER_TABLE": tables["ledger"],
        "PORTFOLIO_HOT_TABLE": tables["hot"],
        "PORTFOLIO_SESSIONS_TABLE": tables["sessions"],
        "PORTFOLIO_QUEUES": price_url.removesuffix(Queue.PRICE),
        "PORTFOLIO_WINDOW_MS": f"live={LIVE_WINDOW_MS[store]},demo=1000,paper=3000",
    }


def _table(client: Any, name: str) -> str:  # noqa: ANN401
    keys = {"pk": "HASH", "sk": "RANGE"}
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
    )
    return name


def _queue(client: Any, name: str) -> str:  # noqa: ANN401
    fifo = {"FifoQueue": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
    attributes = {"VisibilityTimeout": "35"} | (fifo if name.endswith(".fifo") else {})
    url: str = client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url
