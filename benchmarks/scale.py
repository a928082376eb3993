"""How each stage grows from a thousand to a million portfolios: time and memory a portfolio, messages.

Bundling is the domain alone, `price_update` the real handler with that many holders of one symbol, `recalculate` the
real handler over that many stored portfolios of ten positions; a million of these are stored only, as copies of
dumped keys: what is asked of the store is the same. SQS is replaced by a counter that keeps nothing.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import redis

from benchmarks import report
from benchmarks.container import CONTEXT, SKEW_MS, Container, Handler, sqs_event
from benchmarks.measuring import Figure, Row, now_ms, timed
from benchmarks.population import Market, portfolios, settle
from foliostream.domain import coalescing
from foliostream.domain.coalescing import Bundle, DirtyMessage, Window
from foliostream.domain.instrument import Instrument
from foliostream.domain.keys import shard_of
from foliostream.ports import Delayed

T = TypeVar("T")

SIZES = (1_000, 10_000, 100_000, 1_000_000)
VALUED_MAX = 100_000
SYMBOLS = 500
MESSAGES_PER_BATCH = 10
TEMPLATES = 200
# A store of a million is made only if it stays below this.
STORE_BYTES_MAX = 6_000_000_000
_PIPELINE = 2_000
_SHARD = re.compile(rb"\{s\d+\}")
_COLUMNS = {
    "scale_bundle_us_per_key": "bundling, us a key",
    "scale_messages": "messages",
    "scale_bundle_mib": "bundling, MiB",
    "scale_price_update_us_per_holder": "price_update, us a holder",
    "scale_price_update_mib": "price_update, MiB",
    "scale_recalculate_us_per_portfolio": "recalculate, us a portfolio",
    "scale_recalculate_mib": "recalculate, MiB",
    "scale_valkey_bytes_per_portfolio": "Valkey, bytes a portfolio",
}


class _Counter:
    """The port ``Queues``: counts messages and keys, keeps nothing."""

    def __init__(self) -> None:
        self.messages = 0
        self.keys = 0

    def send(self, queue: str, bundles: Sequence[Bundle]) -> None:
        """Count them."""
        if queue != "live":
            raise KeyError(queue)
        self.messages += len(bundles)
        self.keys += sum(len(bundle.message.keys) for bundle in bundles)

    def send_later(self, delayed: Sequence[Delayed]) -> None:
        """No portfolio of a benchmark has an interval, and none fails."""
        raise RuntimeError(f"delayed: {len(delayed)} bundles")

    def dead_letter(self, queue: str, message: DirtyMessage, reason: str) -> None:
        """A benchmark gives nothing up."""
        raise RuntimeError(f"{queue}: {message.keys[:3]}: {reason}")


class Grown(NamedTuple):
    """What work of one size took; ``mib``: the most memory it had at once beyond what there was before."""

    seconds: float
    mib: float


def measure(container: Container) -> list[Row]:
    """A table by size, and its figures for bench.json. The container's Valkey must be empty, and is filled."""
    counter = _Counter()
    container.parts.queues = counter
    found: dict[int, dict[str, float]] = {size: {} for size in SIZES}
    with redis.Redis.from_url(container.redis_url, protocol=2) as raw:
        for size in SIZES:
            print(f"  {size:,} portfolios: bundling, price_update ...", flush=True)
            found[size] |= _bundling(container, size)
            found[size] |= _holders(container, raw, counter, size)
        _portfolios(container, raw, found)
    lines = [[f"{size:,}", *(found[size].get(key, "") for key in _COLUMNS)] for size in SIZES]
    report.matrix("How the stages grow, by portfolios", ("portfolios", *_COLUMNS.values()), lines)
    return [
        Row(key, name, "", Figure(value, value, value), member=str(size), is_detail=True)
        for key, name in _COLUMNS.items()
        for size in SIZES
        if (value := found[size].get(key)) is not None
    ]


def _bundling(container: Container, size: int) -> dict[str, float]:
    settings = container.parts.settings
    keys = [f"live:grown-{number:07d}" for number in range(size)]
    messages, took = _watched(
        lambda: len(
            coalescing.bundles(
                keys,
                Window.at(now_ms(), 200),
                shards=settings.shards,
                keys_per_message=settings.keys_per_message,
                reason="price",
            )
        )
    )
    return {
        "scale_bundle_us_per_key": took.seconds / size * 1e6,
        "scale_messages": messages,
        "scale_bundle_mib": took.mib,
    }


def _holders(container: Container, raw: redis.Redis, counter: _Counter, size: int) -> dict[str, float]:
    """One tick of a symbol with that many holders, from its message to the last bundle."""
    symbol = f"HELD{size}"
    container.parts.instruments.put(Instrument(symbol, "stock", "USD"))
    keys = (f"live:grown-{number:07d}" for number in range(size))
    while part := list(islice(keys, _PIPELINE)):
        raw.sadd(f"symbol_holders:{symbol}:live", *part)
    handler = container.handler("price_update")
    before = counter.keys
    update = {"symbol": symbol, "last": 100.25, "ts": now_ms()}
    event = sqs_event([msgspec.json.encode({"detail": {"updates": [update]}})])
    answer, took = _watched(lambda: handler(event, CONTEXT))
    if answer["batchItemFailures"] or counter.keys - before != size:
        raise RuntimeError(f"{counter.keys - before} of {size} holders were marked: {answer}")
    raw.flushall()
    return {"scale_price_update_us_per_holder": took.seconds / size * 1e6, "scale_price_update_mib": took.mib}


def _portfolios(container: Container, raw: redis.Redis, found: dict[int, dict[str, float]]) -> None:
    """Portfolios through the application up to ``VALUED_MAX``; the rest copied."""
    market = Market([f"G{number:03d}" for number in range(SYMBOLS)])
    settle(container, market)
    empty, handler = _used_bytes(raw), container.handler("recalculate")
    all_of_them = portfolios(VALUED_MAX, market, "grown-")
    stored = 0
    templates: list[tuple[bytes, bytes]] = []
    for size in (size for size in SIZES if size <= VALUED_MAX):
        print(f"  {size:,} portfolios: recalculate ...", flush=True)
        keys = []
        for portfolio in islice(all_of_them, size - stored):
            container.parts.valuer.project(portfolio)
            keys.append(portfolio.key)
        took = _valued(container, handler, keys)
        stored = size
        templates = templates or _dumped(raw)
        found[size] |= {
            "scale_recalculate_us_per_portfolio": took.seconds / len(keys) * 1e6,
            "scale_recalculate_mib": took.mib,
            "scale_valkey_bytes_per_portfolio": (_used_bytes(raw) - empty) / size,
        }
    for size in (size for size in SIZES if size > VALUED_MAX):
        expected = found[VALUED_MAX]["scale_valkey_bytes_per_portfolio"] * size
        if expected > STORE_BYTES_MAX:
            print(f"  {size:,} portfolios are not stored: they would take {expected / 1e9:.1f} GB", flush=True)
            continue
        print(f"  {size:,} portfolios: stored ...", flush=True)
        _copy(raw, container.parts.settings.shards, market, templates, range(stored, size))
        found[size]["scale_valkey_bytes_per_portfolio"] = (_used_bytes(raw) - empty) / size


def _valued(container: Container, handler: Handler, keys: Sequence[str]) -> Grown:
    """Every portfolio once, in batches of messages of one shard each."""
    settings = container.parts.settings
    bundles = coalescing.bundles(
        keys, Window(1, 1), shards=settings.shards, keys_per_message=settings.keys_per_message, reason="price"
    )
    parts = [bundle.message.keys for bundle in bundles]
    batches = [parts[at : at + MESSAGES_PER_BATCH] for at in range(0, len(parts), MESSAGES_PER_BATCH)]
    end_ms = now_ms() - SKEW_MS

    def value() -> None:
        for batch in batches:
            messages = [DirtyMessage(end_ms // 200, end_ms, part, "price") for part in batch]
            answer = handler(sqs_event(msgspec.json.encode(message) for message in messages), CONTEXT)
            if answer["batchItemFailures"]:
                raise RuntimeError(f"messages failed: {answer}")

    _, took = _watched(value)
    stored = container.parts.hot.load([keys[-1].partition(":")[2]])
    if any(item.head is None for item in stored.values()):
        raise RuntimeError("portfolios were not valued")
    return took


def _dumped(raw: redis.Redis) -> list[tuple[bytes, bytes]]:
    """Keys of some stored portfolios and their values, whatever the store keeps for each."""
    suffixes = tuple(f":grown-{number:06d}".encode() for number in range(TEMPLATES))
    names = [name for name in raw.scan_iter(count=_PIPELINE) if name.endswith(suffixes)]
    return [(name, raw.dump(name)) for name in names]  # type: ignore[misc]


def _copy(
    raw: redis.Redis, shards: int, market: Market, templates: Sequence[tuple[bytes, bytes]], numbers: range
) -> None:
    """The templates' values under the keys of further portfolios, and their dependents."""
    by_rank: dict[int, list[tuple[bytes, bytes]]] = {}
    for name, value in templates:
        by_rank.setdefault(int(name[-6:]), []).append((name, value))
    for part in _parts(numbers):
        pipeline: Any = raw.pipeline(transaction=False)
        for number in part:
            identifier = f"grown-{number:06d}"
            tag = b"{s%d}" % shard_of(identifier, shards)
            for name, value in by_rank[number % TEMPLATES]:
                copied = _SHARD.sub(tag, name.rpartition(b":")[0]) + b":" + identifier.encode()
                pipeline.execute_command("RESTORE", copied, 0, value)
        pipeline.execute()
    for at, symbol in enumerate(market.symbols):  # ten of the symbols each
        held = range(numbers.start + at % 50, numbers.stop, len(market.symbols) // 10)
        for part in _parts(held):
            raw.sadd(f"symbol_holders:{symbol}:live", *(f"live:grown-{number:06d}" for number in part))


def _parts(numbers: range) -> Iterator[range]:
    for at in range(0, len(numbers), _PIPELINE):
        yield numbers[at : at + _PIPELINE]


def _used_bytes(raw: redis.Redis) -> int:
    memory: Any = raw.info("memory")
    return int(memory["used_memory"])


def _watched(work: Callable[[], T]) -> tuple[T, Grown]:
    """The result with its time, and its memory by Linux's own high-water mark, which is set back before."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _kib("VmRSS")
    result, seconds = timed(work)
    return result, Grown(seconds, max(0, _kib("VmHWM") - before) / 1_024)


def _kib(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])
