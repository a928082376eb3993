"""Real processes: what matters here is what the system does with them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.processes import Record, Records, poll, start_time, wait

ENV = {"PATH": os.environ["PATH"]}


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    records = Records(tmp_path)
    yield records
    for record in records.read():
        records.stop(record, patience_s=0.1)


def start(records: Records, tmp_path: Path, name: str, script: str) -> Record:
    return records.start(name, ["/bin/sh", "-c", script], env=ENV, log=tmp_path / f"{name}.log", cwd=tmp_path)


def is_running(pid: int) -> bool:
    return start_time(pid) is not None


def test_a_started_process_is_found_again_and_stopped(records: Records, tmp_path: Path) -> None:
    record = start(records, tmp_path, "sleeper", "sleep 60")
    assert Records(tmp_path).find("sleeper") == record
    Records(tmp_path).stop(record)
    assert not is_running(record.pid)
    assert records.read() == []


def test_stopping_takes_along_what_the_process_started(records: Records, tmp_path: Path) -> None:
    record = start(records, tmp_path, "parent", "sleep 60 & echo $! > child; wait")
    assert poll(lambda: (tmp_path / "child").exists() and bool((tmp_path / "child").read_text().strip()), 5)
    child = int((tmp_path / "child").read_text())
    records.stop(record)
    assert not is_running(child)


def test_what_a_dead_process_left_behind_is_stopped_too(records: Records, tmp_path: Path) -> None:
    record = start(records, tmp_path, "parent", "sleep 60 & echo $! > child; wait")
    assert poll(lambda: (tmp_path / "child").exists() and bool((tmp_path / "child").read_text().strip()), 5)
    child = int((tmp_path / "child").read_text())
    os.kill(record.pid, signal.SIGKILL)
    assert poll(lambda: not record.is_alive(), 5)
    assert is_running(child)
    records.stop(record)
    assert not is_running(child)


def test_a_process_that_ignores_the_polite_signal_is_ended_by_force(records: Records, tmp_path: Path) -> None:
    record = start(records, tmp_path, "stubborn", "trap '' TERM; touch ready; while true; do sleep 1; done")
    assert poll(lambda: (tmp_path / "ready").exists(), 5)
    records.stop(record, patience_s=0.2)
    assert not is_running(record.pid)


def test_a_pid_that_now_belongs_to_somebody_else_is_left_alone(records: Records) -> None:
    with subprocess.Popen(["/bin/sleep", "60"], start_new_session=True) as stranger:
        records.stop(Record("emulator", stranger.pid, started="another time"), patience_s=0.2)
        assert stranger.poll() is None
        stranger.kill()


def test_a_half_written_record_is_left_out(records: Records, tmp_path: Path) -> None:
    folder = tmp_path / "processes"
    folder.mkdir()
    (folder / "emulator.json").write_text('{"name": "emul')
    (folder / "valkey.json").write_text(json.dumps({"pid": 1}))
    assert records.read() == []
    assert records.find("emulator") is None


def test_a_command_whose_launcher_dies_before_recording_it_never_runs(tmp_path: Path) -> None:
    launcher = (
        "import os, sys; from pathlib import Path; from local import processes as p\n"
        "p.Records.add = lambda *_: os._exit(9)\n"
        "here = Path(sys.argv[1])\n"
        "p.Records(here).start('x', ['/usr/bin/touch', str(here / 'ran')], env={}, log=here / 'log', cwd=here)\n"
    )
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", launcher, str(tmp_path)]
    assert subprocess.run(command, cwd=root, check=False).returncode == 9
    assert not poll(lambda: (tmp_path / "ran").exists(), 0.3)


def test_waiting_gives_the_exit_code_or_nothing_when_it_takes_too_long(records: Records, tmp_path: Path) -> None:
    assert wait(start(records, tmp_path, "fails", "exit 3"), 5) == 3
    assert wait(start(records, tmp_path, "slow", "sleep 60"), 0.1) is None


def test_output_goes_to_the_log(records: Records, tmp_path: Path) -> None:
    wait(start(records, tmp_path, "talker", "echo out; echo err >&2"), 5)
    assert (tmp_path / "talker.log").read_text().split() == ["out", "err"]
