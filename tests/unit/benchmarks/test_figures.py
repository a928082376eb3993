"""What is written of measurements: bench.json over several runs, and the figures of docs/scale.md."""

import json
import re
from pathlib import Path
from typing import Any

from benchmarks import figures, report
from benchmarks.cost import BASE, LIVE_WINDOW_MS
from benchmarks.measuring import Figure, Reference, Row

MEMBERS = {store: f"{store}, {BASE[store].name}, window {live_ms} ms" for store, live_ms in LIVE_WINDOW_MS.items()}
BENCH: dict[str, Any] = {
    "recalc_portfolios_per_s": 30_000,
    "price_update_holders_per_s": 500_000,
    "price_update_symbols_per_s": 20_000,
    "ecpu_per_million": {MEMBERS["valkey"]: 10e6},
    "ecpu_least_per_million": {MEMBERS["valkey"]: 6e6},
    "dynamodb_writes_per_million": {MEMBERS["dynamodb"]: 2e6},
    "dynamodb_reads_per_million": {MEMBERS["dynamodb"]: 4e6},
    "scale_messages": {"1000": 64, "1000000": 4_096},
    "scale_bundle_us_per_key": {"1000": 2.0, "1000000": 2.5},
    "scale_price_update_us_per_holder": {"1000": 3.0, "1000000": 3.5},
    "scale_price_update_mib": {"1000": 1.0, "1000000": 150.0},
    "scale_recalculate_us_per_portfolio": {"1000": 33.0},
    "scale_valkey_bytes_per_portfolio": {"1000": 4_000},
    "cost_per_million_usd": {"valkey": 0.02, "dynamodb": 2.0},
    "cost_baseline_per_million_usd": {"valkey": 2.4, "dynamodb": 2.4},
    "cost_by_shape_per_million_usd": {MEMBERS["valkey"]: 0.02, MEMBERS["dynamodb"]: 2.0},
    "cost_waiting_per_million_usd": {MEMBERS["valkey"]: 0.002, MEMBERS["dynamodb"]: 0.0},
    "cost_store_per_million_usd": {MEMBERS["valkey"]: 0.01, MEMBERS["dynamodb"]: 1.6},
}


def _line(page: str, name: str) -> list[str]:
    [line] = [line for line in page.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.strip("|").split("|")[1:]]


def test_the_pages_blocks_are_written_anew_and_the_rest_stays() -> None:
    page = (figures.ROOT / "docs" / "scale.md").read_text()
    once = figures.filled(page, BENCH)
    assert figures.filled(once, BENCH) == once
    block = re.compile(r"<!-- figures: .*?<!-- end of figures -->", re.DOTALL)
    assert block.sub("", once) == block.sub("", page)
    assert len(block.findall(once)) == 4


def test_sizes_follow_from_what_was_measured() -> None:
    page = figures.filled("<!-- figures: sizes -->\n<!-- end of figures -->", BENCH)
    assert _line(page, "`recalculate`: vCPUs busy") == ["1", "34", "334"]
    assert _line(page, "`price_update`: vCPUs busy") == ["1", "20", "200"]
    # A million at 10 ECPUs are 334 slots of 30,000: the next power of two.
    assert _line(page, "least `Shards` for groups and slots") == ["64", "512", "4,096"]
    assert _line(page, "memory of Valkey, GB") == ["0.04", "4", "40"]
    assert _line(page, "USD an hour, valkey") == ["0.72", "72", "720"]


def test_what_was_not_run_says_so() -> None:
    page = figures.filled("<!-- figures: growth -->\n<!-- end of figures -->", BENCH)
    assert _line(page, "1,000,000")[-2:] == ["not run", "not run"]


def test_a_later_run_of_one_part_keeps_the_others_figures(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    beside = Reference("limit", "the limit", Figure(4.0, 4.0, 4.0))
    report.write([Row("first", "first", "", Figure(1.0, 0.5, 2.0), (beside,))], path, ["one"])
    report.write([Row("second", "second", "", Figure(3.0, 3.0, 3.0), member="a")], path, ["two"])
    written = json.loads(path.read_text())
    assert (written["first"], written["limit"], written["second"]) == (1.0, 4.0, {"a": 3.0})
    assert written["ranges"] == {"first": [0.5, 2.0], "limit": [4.0, 4.0], "second": {"a": [3.0, 3.0]}}
    assert written["ratios"] == {"first/limit": 0.25}
    assert written["parts"].keys() == {"one", "two"}
