"""The cold start of every function is measured."""

from benchmarks.cold_start import FUNCTIONS
from local.environments import ROOT


def test_every_function_is_measured() -> None:
    assert set(FUNCTIONS) == {path.parent.name for path in (ROOT / "functions").glob("*/app.py")}
