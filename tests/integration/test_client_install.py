"""The client as its users install it: built, put into an environment of its own, and run there by its name."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_pip_installs_a_command_that_tells_how_it_is_used(tmp_path: Path) -> None:
    # No index is asked: what builds it and what it needs come from this environment, which the lock file made.
    source = tmp_path / "client"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "src"):
        (source / name).symlink_to(ROOT / "client" / name)
    home = tmp_path / "environment"
    venv.create(home, with_pip=False)
    [packages] = home.glob("lib/python*/site-packages")
    (packages / "needs.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    run(sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install", "--quiet", "--no-deps",
        "--no-index", "--no-build-isolation", str(source))  # fmt: skip
    command = home / "bin" / "foliostream"
    assert "COMMAND" in run(str(command), "--help")
    where = run(str(home / "bin" / "python"), "-c", "import foliostream_client; print(foliostream_client.__file__)")
    assert where.startswith(str(home))
    assert (packages / "foliostream_client" / "py.typed").exists()


def run(*command: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=120, cwd=ROOT.parent
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
