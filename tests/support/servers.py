"""Servers of the tests: started on a free port of 127.0.0.1, waited for, stopped."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

HOST = "127.0.0.1"
START_SECONDS_MAX = 30
_POLL_SECONDS = 0.02
_CLOUD_ENVIRONMENT = Path(__file__).parents[2] / ".local" / "cloud-venv"
# What a server may know of the developer's environment: no profile and no setting of theirs reaches it.
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def cloud_file(pattern: str) -> Path:
    """A file of the local cloud's environment; the test fails, saying how to get it, where there is none."""
    found = sorted(_CLOUD_ENVIRONMENT.glob(pattern))
    if not found:
        pytest.fail(f"no {pattern} below {_CLOUD_ENVIRONMENT.name}: `make test` installs it")
    return found[0]


def wait_until(ready: Callable[[], bool], what: str, seconds_max: float = START_SECONDS_MAX) -> None:
    """Poll until it holds; fails the test at the deadline."""
    deadline = time.monotonic() + seconds_max
    while not ready():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds_max} s")
        time.sleep(_POLL_SECONDS)


@contextmanager
def running(
    command: Sequence[str], folder: Path, ready: Callable[[], bool], environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """The command while inside, ready to be used; its output goes to ``folder/log``."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=kept | dict(environment or {}), stdout=output, stderr=subprocess.STDOUT
        )

    def answers_or_ended() -> bool:
        return process.poll() is not None or ready()

    try:
        wait_until(answers_or_ended, command[0])
        if process.poll() is not None:
            pytest.fail(f"{command[0]} ended with {process.returncode}:\n{log.read_text(errors='replace')[-2000:]}")
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
