"""The cold start of every function is measured, and what a hot one must not load."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks.cold_start import FUNCTIONS
from benchmarks.container import environment
from local.environments import ROOT

# Modules that a start pays for and the work does not need.
NOT_NEEDED = {
    "price_update": {
        "domain.portfolio",
        "domain.booking",
        "domain.valuation",
        "domain.closes",
        "adapters.dynamodb_ledger",
    },
    "recalculate": {"domain.closes", "domain.preview", "application.accept_fills", "domain.portfolio_metrics"},
    "push": {"domain.closes", "domain.preview", "application.accept_fills", "domain.portfolio_metrics"},
}


def test_every_function_is_measured() -> None:
    assert set(FUNCTIONS) == {path.parent.name for path in (ROOT / "functions").glob("*/app.py")}


@pytest.mark.parametrize("name", sorted(NOT_NEEDED))
def test_a_hot_function_starts_without_what_it_does_not_need(name: str) -> None:
    """With the store and the environment of the benchmark; nothing is connected to."""
    path = os.pathsep.join([str(ROOT / "functions" / name), str(ROOT / "layers" / "foliostream" / "python")])
    program = f"import json, sys, app; {FUNCTIONS[name].first_access}; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | environment("redis://127.0.0.1:9") | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = {module.removeprefix("foliostream.") for module in json.loads(run.stdout)}
    assert "wiring" in loaded
    assert loaded & NOT_NEEDED[name] == set()
