"""`python -m benchmarks [PART ...]`: measure, print a table, write `.local/bench.json`."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from local.browser import BrowserError
from local.environments import CACHE, ROOT
from local.page import PageError
from local.services import CloudError

# The application's own package, which is deployed as a layer and installed nowhere.
sys.path.insert(0, str(ROOT / "layers" / "foliostream" / "python"))

from benchmarks import (
    cold_start,
    cost,
    ledger_fills,
    metrics,
    prices,
    recalculation,
    report,
    scale,
    state,
    tick_file,
    ticks,
)
from benchmarks.container import Container
from benchmarks.measuring import Row, timed
from benchmarks.server import valkey

HOME = CACHE / "bench"
RESULT = CACHE / "bench.json"
STORE = {"recalculate": recalculation.measure, "prices": prices.measure, "state": state.measure}
USUAL = (*STORE, "cost", "ledger", "metrics", "init", "ticks")
# Measured only when named: the big sizes take minutes of their own, the page needs Node and Chromium.
PARTS = (*USUAL, "scale", "page")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the parts named, by default the usual ones, and bring bench.json up to date with them; the others'
    figures stay in it. 0 if everything could be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="The figures of the design.")
    parser.add_argument(
        "part", nargs="*", metavar="PART", help=f"only these of {', '.join(PARTS)}; scale and page only if named"
    )
    parser.add_argument(
        "--ticks",
        metavar="FILE",
        help="real ticks for the part ticks: CSV (.gz) with the columns symbol, ts, bid, ask, last",
    )
    given = parser.parse_args(arguments)
    chosen = given.part
    unknown = sorted(set(chosen) - set(PARTS))
    if unknown:
        parser.error(f"unknown part {', '.join(unknown)}: one of {', '.join(PARTS)}")
    try:
        file = tick_file.read(given.ticks) if given.ticks else None
    except tick_file.TickFileError as error:
        parser.error(str(error))
    parts = set(chosen or USUAL)
    try:
        rows = _measure(parts, HOME, file)
    except CloudError as error:
        print(f"\n{error.report()}", file=sys.stderr)
        return 1
    except (PageError, BrowserError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    report.show(rows)
    report.write(rows, RESULT, sorted(parts))
    print(f"written to {RESULT.relative_to(ROOT)}")
    return 0


def _measure(chosen: set[str], home: Path, file: tick_file.TickFile | None) -> list[Row]:
    """One after the other: what runs beside a measurement is part of it."""
    rows: list[Row] = []
    if chosen & STORE.keys():
        with valkey(home) as url:
            container = Container(url)
            for name, measure in STORE.items():
                if name in chosen:
                    rows += _step(name, lambda measure=measure: measure(container))  # type: ignore[misc]
    alone: dict[str, Callable[[], list[Row]]] = {
        "cost": lambda: cost.measure(home),
        "ledger": ledger_fills.measure,
        "metrics": metrics.measure,
        "init": lambda: cold_start.measure(home),
        "ticks": lambda: ticks.measure(home, file),
        "scale": lambda: _scale(home),
        "page": _page,
    }
    for name, work in alone.items():
        if name in chosen:
            rows += _step(name, work)
    return rows


def _page() -> list[Row]:
    """With the browser's own driver, which no other part needs."""
    from benchmarks import page

    return page.measure()


def _scale(home: Path) -> list[Row]:
    """In a Valkey of its own, which is filled."""
    with valkey(home) as url:
        return scale.measure(Container(url))


def _step(name: str, work: Callable[[], list[Row]]) -> list[Row]:
    print(f"measuring {name} ...", flush=True)
    rows, seconds = timed(work)
    print(f"measured {name} in {seconds:.0f} s", flush=True)
    return rows


if __name__ == "__main__":
    sys.exit(main())
