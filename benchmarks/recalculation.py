"""Recalculation: the real handler on a full batch of bundles, beside raw reads and writes of the same bytes.

Prices of every portfolio move between rounds. Warm: the container has valued these books before, as under endless
ticks. Cold: every book changed since, so all are read, decoded and planned anew.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import redis
from msgspec.structs import replace

from benchmarks.container import SKEW_MS, Container, Handler, sqs_event
from benchmarks.measuring import Reference, Row, median, now_ms, timed
from benchmarks.population import Market, portfolios, settle
from foliostream.domain import coalescing
from foliostream.domain import portfolio as books
from foliostream.domain.coalescing import DirtyMessage, Window
from foliostream.domain.keys import shard_of

PORTFOLIOS = 12_800
SYMBOLS = 500
BATCHES = 2
ROUNDS = 9
COLD_ROUNDS = 3
# SQS hands at most this many messages of a FIFO queue to one invocation.
MESSAGES_PER_BATCH = 10
NAIVE_PORTFOLIOS = 150


def measure(container: Container) -> list[Row]:
    """Portfolios of ten positions valued per second in one process, prices moving between rounds."""
    market = Market([f"S{number:03d}" for number in range(SYMBOLS)])
    settle(container, market)
    settings = container.parts.settings
    batches = _stored(container, market)
    handler = container.handler("recalculate")
    raw = redis.Redis.from_url(container.redis_url, protocol=2)
    ours, limit, naive, cold, cold_limit = [], [], [], [], []
    for batch in batches:  # the first snapshot of each; connects and warms up
        _value(container, handler, batch)
    for number in range(ROUNDS):
        container.parts.hot.put(market.move())
        batch = batches[number % len(batches)]
        ours.append(_value(container, handler, batch))
        limit.append(_raw(raw, batch, settings.shards, ("head", "edition")))
        naive.append(_one_by_one(container, handler, batch))
    for number in range(COLD_ROUNDS):
        container.parts.hot.put(market.move())
        batch = batches[number % len(batches)]
        _change_books(container, batch)
        cold.append(_value(container, handler, batch))
        cold_limit.append(_raw(raw, batch, settings.shards, ("head", "edition", "book")))
    raw.close()
    return [
        Row(
            "recalc_portfolios_per_s",
            f"recalculate, {MESSAGES_PER_BATCH} bundles of {PORTFOLIOS // settings.shards}",
            "portfolios/s",
            median(ours),
            (
                Reference("recalc_limit_per_s", "MGET + MSET of the same bytes", median(limit)),
                Reference("recalc_naive_per_s", "a message and call each", median(naive)),
            ),
        ),
        Row(
            "recalc_cold_portfolios_per_s",
            "the same, every book new to the container",
            "portfolios/s",
            median(cold),
            (Reference("recalc_cold_limit_per_s", "MGET + MSET of the same bytes", median(cold_limit)),),
        ),
    ]


def _stored(container: Container, market: Market) -> list[list[list[str]]]:
    """Batches of bundles of keys as `price_update` would cut them; the portfolios in them are in the store."""
    settings = container.parts.settings
    by_key = {portfolio.key: portfolio for portfolio in portfolios(PORTFOLIOS, market, "recalc-")}
    bundles = coalescing.bundles(
        by_key, Window(1, 1), shards=settings.shards, keys_per_message=settings.keys_per_message, reason="price"
    )
    used = [bundle.message.keys for bundle in bundles[: BATCHES * MESSAGES_PER_BATCH]]
    for keys in used:
        for key in keys:
            container.parts.valuer.project(by_key[key])
    return [used[at : at + MESSAGES_PER_BATCH] for at in range(0, len(used), MESSAGES_PER_BATCH)]


def _change_books(container: Container, batch: Sequence[list[str]]) -> None:
    """Another version of each."""
    identifiers = [key.partition(":")[2] for keys in batch for key in keys]
    for stored in container.parts.hot.load(identifiers).values():
        if stored.book is None:
            raise RuntimeError("a book is gone")
        book = books.decode(stored.book)
        container.parts.hot.put_book(replace(book, version=book.version + 1))


def _value(container: Container, handler: Handler, batch: Sequence[list[str]]) -> float:
    """Portfolios per second of one invocation; every one of them must have been valued in it."""
    event, count, started_ms = _event(batch), sum(map(len, batch)), now_ms()
    answer, seconds = timed(lambda: handler(event, None))
    if answer["batchItemFailures"]:
        raise RuntimeError(f"messages failed: {answer}")
    stored = container.parts.hot.load([key.partition(":")[2] for keys in batch for key in keys])
    left = [name for name, item in stored.items() if item.head is None or item.head.read_at_ms < started_ms]
    if left:
        raise RuntimeError(f"{len(left)} of {count} portfolios were not valued")
    return count / seconds


def _one_by_one(container: Container, handler: Handler, batch: Sequence[list[str]]) -> float:
    """As in a system whose queue carries a key a message and whose consumer takes one at a time."""
    keys = [key for part in batch for key in part][:NAIVE_PORTFOLIOS]
    rates = [_value(container, handler, [[key]]) for key in keys]
    return len(rates) / sum(1 / rate for rate in rates)


def _event(batch: Sequence[list[str]]) -> dict[str, Any]:
    """The messages of a window that has just ended, so that nothing waits and nothing is fresh already."""
    end_ms = now_ms() - SKEW_MS
    messages = [DirtyMessage(end_ms // 200, end_ms, keys, "price") for keys in batch]
    return sqs_event(msgspec.json.encode(message) for message in messages)


def _raw(raw: redis.Redis, batch: Sequence[list[str]], shards: int, kinds: Sequence[str]) -> float:
    """The same values read, the same heads and snapshots written, one command a bundle, nothing computed."""
    count = sum(map(len, batch))
    reads = [list(_names(keys, shards, *kinds)) for keys in batch]
    writes = [list(_names(keys, shards, "head", "snapshot")) for keys in batch]
    pairs = [dict(zip(names, raw.execute_command("MGET", *names), strict=True)) for names in writes]

    def read_and_write() -> None:
        pipeline = raw.pipeline(transaction=False)
        for names in reads:
            pipeline.execute_command("MGET", *names)
        pipeline.execute()
        pipeline = raw.pipeline(transaction=False)
        for mapping in pairs:
            pipeline.execute_command("MSET", *[part for pair in mapping.items() for part in pair])
        pipeline.execute()

    _, seconds = timed(read_and_write)
    return count / seconds


def _names(keys: Sequence[str], shards: int, *kinds: str) -> Iterator[str]:
    """The names under which the store keeps portfolios."""
    for key in keys:
        identifier = key.partition(":")[2]
        for kind in kinds:
            yield f"{kind}:{{s{shard_of(identifier, shards)}}}:{identifier}"
