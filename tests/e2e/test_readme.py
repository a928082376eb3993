"""The README's commands do what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
from decimal import Decimal
from pathlib import Path

from local.client import loads
from tests.e2e.conftest import Cloud

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def test_every_make_target_of_the_readme_exists() -> None:
    named = set(re.findall(r"\bmake(?: -s)? ([a-z-]+)", "\n".join(BLOCKS)))
    assert {"demo", "test", "up", "build", "deploy", "token"} <= named
    targets = set(re.findall(r"^([a-z0-9 -]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named <= {name for line in targets for name in line.split()}


def test_the_commands_for_a_first_portfolio_work_and_may_be_repeated(stack: Cloud) -> None:
    [block] = [block for block in BLOCKS if "rest_url" in block]
    environment = os.environ | {"FOLIOSTREAM_HOME": str(stack.settings.home)}
    for _ in range(2):
        run = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        state = loads(run.stdout.strip().splitlines()[-1])
        assert state["total_value"] == Decimal("101250.00")
        assert state["unrealized_pnl"] == Decimal("1250.00")
    assert json.loads((stack.settings.home / "outputs.json").read_text())["rest_url"] == stack.outputs.rest_url
