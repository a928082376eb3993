"""The commands of the pages, run as somebody who reads them would: block by block, in bash."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 120
_BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def blocks(page: str, heading: str | None = None) -> list[str]:
    """The blocks of commands of a page, or only those below one of its headings of the second level."""
    text = (ROOT / page).read_text()
    if heading is not None:
        _, _, below = text.partition(f"\n## {heading}\n")
        assert below, f"{page} has no heading {heading!r}"
        text = below.partition("\n## ")[0]
    return [dedent(block) for block in _BLOCK.findall(text)]


def environment(home: Path, bin_folder: Path, **more: str) -> dict[str, str]:
    """Of a shell in which the commands work with the cloud at ``home``. ``python`` and ``foliostream`` run from this
    folder: that the command can be installed is another test's."""
    for name, module in (("python", ""), ("foliostream", "-m foliostream_client.cli")):
        script = bin_folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        script.chmod(0o755)
    # Not as part of the `make` that may have started the tests.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return kept | {
        "FOLIOSTREAM_HOME": str(home),
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "client" / "src"),
        "XDG_CONFIG_HOME": str(bin_folder / "config"),
        **more,
    }


def run(commands: str, environment: Mapping[str, str]) -> str:
    """What they print; each must succeed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
