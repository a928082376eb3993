"""`price_update`: the real handler over Valkey. What it would queue is counted, not sent."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import redis

from benchmarks.container import Container, Handler, sqs_event
from benchmarks.measuring import Reference, Row, median, timed
from benchmarks.population import Market
from foliostream.application.update_prices import update_prices
from foliostream.domain.keys import ACCOUNT_TYPES
from foliostream.domain.price import PriceUpdate

SYMBOLS = 1_000
HOLDERS = 40_000
ROUNDS = 7
NAIVE_ROUNDS = 3
NAIVE_SYMBOLS = 150
# SQS hands at most this many messages of the price queue to one invocation.
MESSAGES_PER_BATCH = 10

_encoder = msgspec.json.Encoder(decimal_format="string")


def measure(container: Container) -> list[Row]:
    """Symbols stored and marked per second, and holders of one symbol resolved and bundled per second."""
    raw = redis.Redis.from_url(container.redis_url, protocol=2)
    try:
        return [_symbols(container, raw), _holders(container, raw)]
    finally:
        raw.close()


def _symbols(container: Container, raw: redis.Redis) -> Row:
    market = Market([f"P{number:04d}" for number in range(SYMBOLS)])
    _register(container, market)
    for at in range(0, SYMBOLS, 10):  # a holder each, of ten of them
        container.parts.holders.add(f"live:h{at}", market.symbols[at : at + 10])
    handler = container.handler("price_update")
    _take(container, handler, market.move())
    ours, limit, naive = [], [], []
    for _ in range(ROUNDS):
        ours.append(SYMBOLS / _take(container, handler, market.move()))
        limit.append(SYMBOLS / _raw_symbols(raw, market.move()))
        some = market.move()[:NAIVE_SYMBOLS]
        naive.append(NAIVE_SYMBOLS / sum(_take(container, handler, [update]) for update in some))
    return Row(
        "price_update_symbols_per_s",
        f"price_update, {MESSAGES_PER_BATCH} messages of {SYMBOLS // MESSAGES_PER_BATCH} symbols",
        "symbols/s",
        median(ours),
        (
            Reference("price_update_symbols_limit_per_s", "HSET + 3 SMEMBERS, raw", median(limit)),
            Reference("price_update_symbols_naive_per_s", "a message and call each", median(naive)),
        ),
    )


def _holders(container: Container, raw: redis.Redis) -> Row:
    market = Market(["HOT"])
    _register(container, market)
    for number in range(HOLDERS):
        container.parts.holders.add(f"live:hot{number:06d}", market.symbols)
    handler = container.handler("price_update")
    _take(container, handler, market.move())
    ours, limit, naive = [], [], []
    for number in range(ROUNDS):
        ours.append(HOLDERS / _take(container, handler, market.move(), HOLDERS))
        limit.append(HOLDERS / timed(lambda: raw.execute_command("SMEMBERS", "symbol_holders:HOT:live"))[1])
        if number < NAIVE_ROUNDS:
            naive.append(HOLDERS / _one_by_one(container, market))
    return Row(
        "price_update_holders_per_s",
        f"price_update, {HOLDERS:,} holders, not sent",
        "holders/s",
        median(ours),
        (
            Reference("price_update_holders_limit_per_s", "SMEMBERS, raw", median(limit)),
            Reference("price_update_holders_naive_per_s", "a message each, not sent either", median(naive)),
        ),
    )


def _register(container: Container, market: Market) -> None:
    for instrument in market.instruments():
        container.parts.instruments.put(instrument)


def _take(container: Container, handler: Handler, updates: Sequence[PriceUpdate], marked: int = 0) -> float:
    """Seconds of one invocation; everything must have been taken, and ``marked`` holders marked."""
    event = _event(updates)
    answer, seconds = timed(lambda: handler(event, None))
    sent = sum(len(bundle.message.keys) for bundle in container.queues.sent)
    if answer["batchItemFailures"] or not sent or (marked and sent != marked):
        raise RuntimeError(f"{len(updates)} prices marked {sent} holders: {answer}")
    container.forget_sent()
    return seconds


def _one_by_one(container: Container, market: Market) -> float:
    """Seconds of a system whose messages carry one key each."""
    parts = container.parts
    marker = replace(parts.marker, keys_per_message=1)
    report, seconds = timed(
        lambda: update_prices(
            market.move(),
            prices=parts.hot,
            holders=parts.holders,
            instruments=parts.instruments,
            marker=marker,
            clock=parts.clock,
        )
    )
    if report.bundles_sent != HOLDERS:
        raise RuntimeError(f"{report.bundles_sent} messages for {HOLDERS} holders")
    container.forget_sent()
    return seconds


def _event(updates: Sequence[PriceUpdate]) -> dict[str, Any]:
    """EventBridge events as the price queue carries them, the updates spread over a batch."""
    size = -(-len(updates) // MESSAGES_PER_BATCH)
    parts = [updates[at : at + size] for at in range(0, len(updates), size)]
    return sqs_event(
        _encoder.encode(
            {
                "detail-type": "market_price_update",
                "source": "benchmark",
                "detail": {"updates": [_wire(update) for update in part]},
            }
        )
        for part in parts
    )


def _wire(update: PriceUpdate) -> dict[str, Any]:
    fields = {name: getattr(update, name) for name in ("symbol", "bid", "ask", "last", "open", "previous_close")}
    return fields | {"ts": update.ts_ms, "seq": update.seq}


def _raw_symbols(raw: redis.Redis, updates: Sequence[PriceUpdate]) -> float:
    """Seconds of writing the same fields under other names and reading the same sets, nothing decided."""
    writes = raw.pipeline(transaction=False)
    reads = raw.pipeline(transaction=False)
    for update in updates:
        fields = [part for name, value in _wire(update).items() for part in (name, str(value))]
        writes.execute_command("HSET", f"raw:{update.symbol}", *fields)
        for account_type in ACCOUNT_TYPES:
            reads.execute_command("SMEMBERS", f"symbol_holders:{update.symbol}:{account_type}")
    return timed(writes.execute)[1] + timed(reads.execute)[1]
