"""``python -m tests.simulation``: many seeds with progress, or one of them with everything that happened."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator

from tests.simulation import faults
from tests.simulation.scenario import Result, run

FAULTS = {fault.__name__: fault for fault in faults.FAULTS}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--trace", action="store_true", help="print what happened in it")
    parser.add_argument("--seeds", type=int, default=1_000, help="how many (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--processes", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--fault", choices=sorted(FAULTS), help="make this mistake on purpose")
    return parser.parse_args()


def _run(task: tuple[int, bool, str | None]) -> Result:
    seed, is_traced, fault = task
    if fault is None:
        return run(seed, is_traced=is_traced)
    with FAULTS[fault]() as change:
        return run(seed, is_traced=is_traced, change=change)


def _results(seeds: range, fault: str | None, processes: int) -> Iterator[Result]:
    tasks = [(seed, False, fault) for seed in seeds]
    if processes == 1:
        yield from map(_run, tasks)
        return
    with multiprocessing.Pool(processes) as pool:
        yield from pool.imap_unordered(_run, tasks, chunksize=16)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _one(seed: int, fault: str | None, *, is_traced: bool) -> int:
    result = _run((seed, is_traced, fault))
    for line in result.lines:
        _say(line)
    for violation in result.violations:
        _say(violation)
    _say(f"seed {seed}: {'violated' if result.violations else 'ok'}, {result.figures}")
    return 1 if result.violations else 0


def _many(seeds: range, fault: str | None, processes: int) -> int:
    """0 if all held, 1 otherwise."""
    started, told = time.monotonic(), time.monotonic()
    done = valuations = crashes = 0
    bad: list[int] = []
    for result in _results(seeds, fault, processes):
        done += 1
        valuations += result.figures.valuations
        crashes += result.figures.crashes
        if result.violations:
            bad.append(result.seed)
            _say(f"seed {result.seed}: {result.violations[0]}")
        if time.monotonic() - told > 5:
            told = time.monotonic()
            _say(f"{done} of {len(seeds)}, {60 * done / (told - started):.0f} a minute, {len(bad)} failed")
    seconds = time.monotonic() - started
    rate = f"{60 * done / seconds:.0f} a minute"
    _say(f"{done} seeds in {seconds:.1f} s ({rate}), {valuations} valuations, {crashes} crashes, {len(bad)} failed")
    if bad:
        option = f" --fault {fault}" if fault else ""
        _say(f"to see what happened: python -m tests.simulation --seed {min(bad)} --trace{option}")
    return 1 if bad else 0


def main() -> int:
    arguments = _arguments()
    if arguments.seed is not None:
        return _one(arguments.seed, arguments.fault, is_traced=arguments.trace)
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    return _many(seeds, arguments.fault, arguments.processes)


if __name__ == "__main__":
    raise SystemExit(main())
