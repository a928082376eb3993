"""Storms over the real use cases on virtual time. A seed that fails here is seen with
``python -m tests.simulation --seed N --trace``; ``SIMULATION_SEEDS`` and ``SIMULATION_FIRST`` choose others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from hashlib import blake2b
from pathlib import Path

import pytest

from tests.simulation.faults import FAULTS, Change
from tests.simulation.scenario import run

ROOT = Path(__file__).resolve().parents[2]
FIRST = int(os.environ.get("SIMULATION_FIRST", "0"))
SEEDS = int(os.environ.get("SIMULATION_SEEDS", "400"))
PARTS = 8
CAUGHT_WITHIN = 200


@pytest.mark.parametrize("part", range(PARTS))
def test_what_is_guaranteed_holds_after_every_storm(part: int) -> None:
    for seed in range(FIRST + part, FIRST + SEEDS, PARTS):
        result = run(seed)
        replay = f"python -m tests.simulation --seed {seed} --trace"
        assert not result.violations, "\n".join([replay, *result.violations])


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_classic_fault_is_caught(fault: Callable[[], AbstractContextManager[Change]]) -> None:
    with fault() as change:
        assert any(run(seed, change=change).violations for seed in range(CAUGHT_WITHIN))


def test_the_storms_are_storms() -> None:
    figures = [run(seed).figures for seed in range(40)]
    assert sum(item.prices for item in figures) > 40 * 10
    assert sum(item.valuations for item in figures) > 40 * 5
    assert sum(item.crashes for item in figures) > 20
    assert sum(item.redelivered for item in figures) > 20
    assert sum(item.posts for item in figures) > 40


def test_a_seed_is_the_same_run_in_every_process() -> None:
    digests = {_digest(hash_seed) for hash_seed in ("1", "2")} | {_digest_of(run(7, is_traced=True).lines)}
    assert len(digests) == 1


def _digest_of(lines: list[str]) -> str:
    return blake2b("\n".join(_stable(line) for line in lines).encode(), digest_size=8).hexdigest()


def _stable(line: str) -> str:
    """Sets and their like are printed in an order of their own: only times, machines and calls count."""
    return line[:40]


def _digest(hash_seed: str) -> str:
    program = (
        "from tests.simulation.scenario import run; from tests.simulation.test_storms import _digest_of;"
        "print(_digest_of(run(7, is_traced=True).lines))"
    )
    paths = os.pathsep.join([str(ROOT), str(ROOT / "layers/foliostream/python")])
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()
