"""Servers of the tests: started on a free port of 127.0.0.1, waited for, stopped."""

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.processes import poll

START_SECONDS_MAX = 30
_POLL_SECONDS = 0.02


def wait_until(ready: Callable[[], bool], what: str, seconds_max: float = START_SECONDS_MAX) -> None:
    """Poll until it holds; fails the test at the deadline."""
    if not poll(ready, seconds_max, _POLL_SECONDS):
        pytest.fail(f"{what}: not within {seconds_max} s")


@contextmanager
def running(
    command: Sequence[str], folder: Path, ready: Callable[[], bool], environment: Mapping[str, str]
) -> Iterator[None]:
    """The command while inside, ready to be used; its output goes to ``folder/log``."""
    log = folder / "log"
    if not Path(command[0]).exists():
        pytest.fail(f"there is no {command[0]}: `make test` installs it")
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)

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
