"""SnapStart takes its snapshot after the imports: nothing is made by them that no two containers may share."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from foliostream import wiring
from tests.support.environment import ENVIRONMENT

ROOT = Path(__file__).parents[2]
PATHS = [str(ROOT / "layers/foliostream/python"), str(ROOT)]
# Imports every function without a setting in sight, and tells what that opened, connected to, started or built.
IMPORTS = """
import importlib.util, json, sys, threading
seen = []
sys.addaudithook(lambda event, arguments: event in ("socket.connect", "socket.getaddrinfo") and seen.append(event))
from foliostream import wiring
for path in sys.argv[1:]:
    spec = importlib.util.spec_from_file_location("app", path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
session = getattr(sys.modules.get("boto3"), "DEFAULT_SESSION", None)
loaded = sorted({"boto3", "foliostream.adapters.dynamodb_hot_store"} & sys.modules.keys())
print(json.dumps([seen, threading.active_count(), wiring.wiring.cache_info().currsize, session is None, loaded]))
"""
# Others import the SDK at once.
HOT = ("price_update", "recalculate", "push")


def imported(begun: str, functions: Iterable[str]) -> list[object]:
    """What is told of a container that began so."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PORTFOLIO_", "AWS_"))}
    told = subprocess.run(
        [sys.executable, "-c", IMPORTS, *(str(ROOT / "functions" / name / "app.py") for name in functions)],
        env=environment | {"PYTHONPATH": os.pathsep.join(PATHS), "AWS_LAMBDA_INITIALIZATION_TYPE": begun},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    found: list[object] = json.loads(told.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("begun", ["on-demand", "snap-start"])
def test_importing_the_functions_connects_to_nothing_starts_no_thread_and_reads_no_setting(begun: str) -> None:
    functions = sorted(path.parent.name for path in (ROOT / "functions").glob("*/app.py"))
    assert imported(begun, functions)[:4] == [[], 1, 0, True]


def test_a_snapshot_has_what_is_otherwise_imported_on_first_use() -> None:
    assert imported("on-demand", HOT)[4] == []
    assert imported("snap-start", HOT)[4] == ["boto3", "foliostream.adapters.dynamodb_hot_store"]


def test_each_container_waits_its_own_random_times_though_all_begin_with_the_same_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    drawn = set()
    for _container in range(3):
        random.seed(7)
        wiring.wiring.cache_clear()
        wiring.wiring()
        drawn.add(random.random())
    wiring.wiring.cache_clear()
    assert len(drawn) == 3
