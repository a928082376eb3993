"""The README's commands do what it says."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from foliostream_client.transport import Rest, loads
from tests.e2e.conftest import Cloud, eventually
from tests.e2e.test_inlets import heard
from tests.support import pages

BLOCKS = pages.blocks("README.md")


@pytest.fixture
def shell(stack: Cloud, tmp_path: Path) -> dict[str, str]:
    """The environment of a terminal in the repository's folder."""
    return pages.environment(stack.settings.home, tmp_path)


def test_every_make_target_of_the_readme_exists() -> None:
    named = set(re.findall(r"\bmake(?: -s)? ([a-z-]+)", "\n".join(BLOCKS)))
    assert {"demo", "test", "up", "build", "deploy", "token"} <= named
    targets = set(re.findall(r"^([a-z0-9 -]+):", (pages.ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named <= {name for line in targets for name in line.split()}


def test_the_commands_for_a_first_portfolio_work_and_may_be_repeated(stack: Cloud, shell: dict[str, str]) -> None:
    [block] = [block for block in BLOCKS if "rest_url" in block]
    for _ in range(2):
        state = loads(pages.run(block, shell).strip().splitlines()[-1])
        assert state["total_value"] == Decimal("101250.00")
        assert state["unrealized_pnl"] == Decimal("1250.00")
    assert json.loads((stack.settings.home / "outputs.json").read_text())["rest_url"] == stack.outputs.rest_url


def test_a_tick_published_as_described_is_heard_by_a_bridge_started_as_described(
    stack: Cloud, shell: dict[str, str]
) -> None:
    [block] = [block for block in BLOCKS if "tick.py" in block]
    command = [sys.executable, "-m", "local", "bridge"]  # what `make bridge` runs
    with subprocess.Popen(command, cwd=pages.ROOT, env=shell) as bridge:
        try:
            eventually(lambda: heard(stack.outputs.redis_url), bool, "the bridge on the channel")
            assert pages.run(block, shell) == "1 listening\n"
            bridge.send_signal(signal.SIGINT)
            assert bridge.wait(20) == 0
        finally:
            bridge.kill()


def test_the_commands_of_the_client_work_as_described(stack: Cloud, admin: Rest, shell: dict[str, str]) -> None:
    # `status` tells by its exit code whether all is well: in a new cloud, from the first sweep on.
    eventually(
        lambda: admin.get("/api/market/portfolio/status"), lambda found: found["is_running"], "a sweep", within_s=120
    )
    [block] = [block for block in BLOCKS if "foliostream login" in block]
    # As it is installed is another test's: here it runs from its folder.
    [used] = re.findall(r"^foliostream .*", block, re.MULTILINE | re.DOTALL)
    printed = pages.run(used, shell)
    assert f"logged in to {stack.outputs.rest_url}" in printed
    assert "is_running\tTrue" in printed
