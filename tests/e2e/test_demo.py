"""`make demo` as a newcomer runs it, on a cloud of its own."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(660)
def test_the_demo_ends_by_itself_and_says_ok_with_its_counts() -> None:
    # Neither the settings of whoever runs the tests, nor the make that runs them.
    foreign = ("PORTFOLIO_", "FOLIOSTREAM_", "MAKE")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environment = inherited | {"FOLIOSTREAM_HOME": ".local/test-demo", "DEMO_SECONDS": "10"}
    run = subprocess.run(
        ["make", "demo"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "a simulated broker confirms 0 TCS" in run.stdout
    assert "it now has 3 TCS, the books 0: reported as missing" in run.stdout
    assert "1 ADJUSTMENT booked on demand, the books have 3 TCS too" in run.stdout
    last = run.stdout.strip().splitlines()[-1]
    counts = re.match(
        r"demo: ok ([\d,]+) ticks, ([\d,]+) valuations, ([\d,]+) pushes, .*p50 [\d,]+ ms p95 [\d,]+ ms", last
    )
    assert counts, last
    assert all(int(count.replace(",", "")) > 0 for count in counts.groups())
