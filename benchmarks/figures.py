"""Brings the measured figures of docs/scale.md up to date from `.local/bench.json`: `make figures`.

What stands between ``<!-- figures: NAME -->`` and ``<!-- end of figures -->`` is written here, the rest by hand.
"""

import json
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from local.environments import CACHE, ROOT

# The application's own package, which is deployed as a layer and installed nowhere.
sys.path.insert(0, str(ROOT / "layers" / "foliostream" / "python"))

from benchmarks.cost import BASE, LIVE_WINDOW_MS, OTHER_WINDOWS_MS, OTHERS, WORST

PAGE = ROOT / "docs" / "scale.md"
RESULT = CACHE / "bench.json"
SIZES = (10_000, 1_000_000, 10_000_000)
POSITIONS = 10
WINDOW_S = 1
KEYS_PER_MESSAGE = 500
# What AWS allows, as the page says with its sources.
SLOT_ECPU_PER_S = 30_000
TABLE_WRITES_PER_S = 40_000
# Values of the template's parameter.
SHARDS_DEFAULT, SHARDS_MAX = 64, 16_384
_BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)

Bench = Mapping[str, Any]


def main() -> int:
    """Rewrite the page; 1 where something was not measured yet."""
    try:
        bench: Bench = json.loads(RESULT.read_text())
        page = filled(PAGE.read_text(), bench)
    except (FileNotFoundError, KeyError) as missing:
        print(f"not measured yet: {missing}: make bench, make bench PARTS=scale", file=sys.stderr)
        return 1
    PAGE.write_text(page)
    return 0


def filled(page: str, bench: Bench) -> str:
    """The page with every block of figures written anew; ``KeyError`` for what was not measured."""
    return _BLOCK.sub(lambda found: found[1] + _BLOCKS[found[2]](bench) + found[3], page)


def _units(bench: Bench) -> str:
    usage = _usage(bench)
    rows = [
        ("portfolios valued a second by one vCPU, Valkey", bench["recalc_portfolios_per_s"]),
        ("holders resolved and bundled a second by one vCPU, Valkey", bench["price_update_holders_per_s"]),
        ("symbols taken a second by one vCPU, Valkey", bench["price_update_symbols_per_s"]),
        ("ECPUs a valuation, at most", usage["ecpu"]),
        ("ECPUs a valuation, at least", usage["ecpu_least"]),
        ("DynamoDB write units a valuation", usage["writes"]),
        ("DynamoDB read units a valuation", usage["reads"]),
        ("bytes of Valkey a portfolio, with its dependents", _bytes(bench)),
        (
            "memory of `price_update` for a million holders of one symbol, MiB",
            bench["scale_price_update_mib"]["1000000"],
        ),
    ]
    return _table(("measured", "figure"), [(name, _number(value)) for name, value in rows])


def _growth(bench: Bench) -> str:
    columns = {
        "scale_messages": "messages",
        "scale_bundle_us_per_key": "bundling, µs a key",
        "scale_price_update_us_per_holder": "`price_update`, µs a holder",
        "scale_price_update_mib": "its memory, MiB",
        "scale_recalculate_us_per_portfolio": "`recalculate`, µs a portfolio",
        "scale_valkey_bytes_per_portfolio": "Valkey, bytes a portfolio",
    }
    sizes = sorted(map(int, bench["scale_messages"]))
    lines = [(f"{size:,}", *(_found(bench, key, str(size)) for key in columns)) for size in sizes]
    return _table(("portfolios", *columns.values()), lines)


def _found(bench: Bench, key: str, member: str) -> str:
    value = bench[key].get(member)
    return "not run" if value is None else _number(value)


def _sizes(bench: Bench) -> str:
    """Every portfolio becomes dirty in every window of a second."""
    usage, rate, holders = _usage(bench), bench["recalc_portfolios_per_s"], bench["price_update_holders_per_s"]
    dollars = bench["cost_per_million_usd"]
    lines: dict[str, list[str]] = {}

    def line(name: str, value: Callable[[int], str]) -> None:
        lines[name] = [value(size) for size in SIZES]

    line("valuations a second", lambda size: _number(size / WINDOW_S))
    line("`recalculate`: vCPUs busy", lambda size: _number(math.ceil(size / WINDOW_S / rate)))
    line("`price_update`: vCPUs busy", lambda size: _number(math.ceil(size * POSITIONS / holders)))
    line("ECPUs a second", lambda size: _number(size / WINDOW_S * usage["ecpu"]))
    line("least `Shards` for groups and slots", lambda size: _shards(size, rate, usage["ecpu"]))
    line("messages a second, about", lambda size: _number(_messages(size, _shard_count(size, rate, usage["ecpu"]))))
    line("memory of Valkey, GB", lambda size: _number(size * _bytes(bench) / 1e9))
    line("or DynamoDB: write units a second", lambda size: _number(size / WINDOW_S * usage["writes"]))
    line(
        f"or DynamoDB: times a table's default quota of {TABLE_WRITES_PER_S:,}",
        lambda size: _number(size / WINDOW_S * usage["writes"] / TABLE_WRITES_PER_S),
    )
    for store in ("valkey", "dynamodb"):
        line(f"USD an hour, {store}", lambda size, store=store: _number(size * 3_600 / WINDOW_S / 1e6 * dollars[store]))  # type: ignore[misc]
    return _table(
        ("per second of full storm", *(f"{size:,}" for size in SIZES)), [(name, *row) for name, row in lines.items()]
    )


def _shard_count(size: int, rate: float, ecpu: float) -> int:
    """A power of two that keeps every group's consumer and every slot below its limit; at least the default."""
    least = max(size / WINDOW_S / rate, size / WINDOW_S * ecpu / SLOT_ECPU_PER_S, SHARDS_DEFAULT)
    return 1 << math.ceil(math.log2(least))


def _shards(size: int, rate: float, ecpu: float) -> str:
    needed = _shard_count(size, rate, ecpu)
    return _number(needed) if needed <= SHARDS_MAX else f"{needed:,}: more than there may be"


def _messages(size: int, shards: int) -> float:
    """Bundles are cut in two until none is too long."""
    return shards * (1 << math.ceil(math.log2(max(1.0, size / shards / KEYS_PER_MESSAGE)))) / WINDOW_S


def _cost(bench: Bench) -> str:
    lines = []
    for store, live_ms in LIVE_WINDOW_MS.items():
        baseline = bench["cost_baseline_per_million_usd"][store]
        shapes = [(shape.name, live_ms) for shape in (BASE[store], *OTHERS)]
        shapes += [(WORST.name, window) for window in OTHER_WINDOWS_MS if window != live_ms]
        for name, window_ms in shapes:
            member = f"{store}, {name}, window {window_ms} ms"
            if member in bench["cost_by_shape_per_million_usd"]:
                dollars = bench["cost_by_shape_per_million_usd"][member]
                waiting = bench["cost_waiting_per_million_usd"][member]
                stored = bench["cost_store_per_million_usd"][member]
                lines.append((member, f"{dollars:.3g}", f"{stored:.2g}", f"{waiting:.2g}", f"{baseline / dollars:.3g}"))
    return _table(
        ("dirty portfolios", "USD a million", "of it store", "of it waiting", "times below the baseline"), lines
    )


def _usage(bench: Bench) -> dict[str, float]:
    member = {store: f"{store}, {BASE[store].name}, window {live_ms} ms" for store, live_ms in LIVE_WINDOW_MS.items()}
    return {
        "ecpu": bench["ecpu_per_million"][member["valkey"]] / 1e6,
        "ecpu_least": bench["ecpu_least_per_million"][member["valkey"]] / 1e6,
        "writes": bench["dynamodb_writes_per_million"][member["dynamodb"]] / 1e6,
        "reads": bench["dynamodb_reads_per_million"][member["dynamodb"]] / 1e6,
    }


def _bytes(bench: Bench) -> float:
    """Of the largest store that was made."""
    by_size: dict[str, float] = bench["scale_valkey_bytes_per_portfolio"]
    return by_size[max(by_size, key=int)]


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [header, ["---", *("---:" for _ in header[1:])], *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


_BLOCKS = {"units": _units, "growth": _growth, "sizes": _sizes, "cost": _cost}

if __name__ == "__main__":
    sys.exit(main())
