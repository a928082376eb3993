"""Child processes that can always be found again and stopped, also after the launcher itself was killed.

Each child leads a session, and so a process group, of its own: stopping the group takes its workers along. A child is
recorded on disk *before* it runs anything, by pid and start time together, so a pid that the system has given to
somebody else is never signalled.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

HOME_VARIABLE = "FOLIOSTREAM_HOME"
_PROC = Path("/proc")
# The shell waits for a line on its input before it becomes the command. The launcher writes that line once the record
# is on disk; if it dies earlier, the input ends and the command never starts.
_GATE = ["/bin/sh", "-c", 'read -r go && exec "$@"', "sh"]


@dataclass(frozen=True)
class Record:
    """A started process: enough to recognise it later."""

    name: str
    pid: int
    started: str

    def is_alive(self) -> bool:
        """Whether this very process runs, not another one under the same number."""
        return start_time(self.pid) == self.started


class Records:
    """The processes of one cloud, one file each."""

    def __init__(self, home: Path) -> None:
        self._home = home.resolve()
        self._directory = home / "processes"

    def read(self) -> list[Record]:
        """Everything recorded, latest started first; an unreadable file (never finished writing) is left out."""
        paths = sorted(self._directory.glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        return [record for record in map(_read_record, paths) if record]

    def find(self, name: str) -> Record | None:
        """The record of one process if it is alive."""
        record = _read_record(self._path(name))
        return record if record and record.is_alive() else None

    def add(self, name: str, pid: int) -> Record:
        """Record a process that is running now."""
        started = start_time(pid)
        if started is None:
            raise ProcessLookupError(f"{name} (pid {pid}) ended before it was recorded")
        record = Record(name, pid, started)
        write_atomically(self._path(name), json.dumps(asdict(record)))
        return record

    def remove(self, name: str) -> None:
        """Forget a process."""
        self._path(name).unlink(missing_ok=True)

    def start(self, name: str, command: Sequence[str], *, env: Mapping[str, str], log: Path, cwd: Path) -> Record:
        """Start a command in a session of its own with its output in `log`; recorded before it runs."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            child = subprocess.Popen(
                [*_GATE, *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**env, HOME_VARIABLE: str(self._home)},
                cwd=cwd,
                start_new_session=True,
            )
        record = self.add(name, child.pid)
        if child.stdin:
            child.stdin.write(b"go\n")
            child.stdin.close()
        # The record, not this object, owns the process from here on: it outlives the launcher.
        child.returncode = 0
        return record

    def kill(self, record: Record) -> None:
        """End the process and everything in its group at once, without a word."""
        self._end(record, (signal.SIGKILL, 5.0))

    def stop(self, record: Record, *, patience_s: float = 2.0) -> None:
        """End the process and everything in its group: politely, then after `patience_s` by force."""
        self._end(record, (signal.SIGTERM, patience_s), (signal.SIGKILL, 5.0))

    def _end(self, record: Record, *steps: tuple[signal.Signals, float]) -> None:
        for number, wait_s in steps:
            if not self._owns_group(record):
                break
            with suppress(ProcessLookupError):
                os.killpg(record.pid, number)
            poll(lambda: not self._owns_group(record), wait_s)
        self.remove(record.name)

    def _owns_group(self, record: Record) -> bool:
        """Whether the process or anything it left behind in its group is still there."""
        _reap(record.pid)
        if record.is_alive():
            return True
        # Without its leader a group is ours only if its members carry our mark: the number may have been given away.
        return any(self._is_marked(pid) for pid in _group_members(record.pid))

    def _is_marked(self, pid: int) -> bool:
        mark = f"{HOME_VARIABLE}={self._home}".encode()
        with suppress(OSError):
            return mark in (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
        return False

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.json"


def wait(record: Record, timeout_s: float) -> int | None:
    """Wait for a process this launcher started; its exit code, or None when it took longer than `timeout_s`."""
    codes: list[int] = []

    def ended() -> bool:
        pid, status = os.waitpid(record.pid, os.WNOHANG)
        if pid:
            codes.append(os.waitstatus_to_exitcode(status))
        return bool(pid)

    return codes[0] if poll(ended, timeout_s) else None


def start_time(pid: int) -> str | None:
    """When the process started, as the system tells it; None if it does not run (a zombie does not)."""
    fields = _stat(pid)
    if fields:
        return None if fields[0] in "ZX" else fields[19]
    if _PROC.joinpath("self").exists():
        return None
    result = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = result.stdout.strip().partition(" ")
    return started.strip() if started and not state.startswith("Z") else None


def poll(condition: Callable[[], bool], timeout_s: float, interval_s: float = 0.05) -> bool:
    """Ask until the condition holds or the time is over; whether it held."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(interval_s)
    return True


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace a file as a whole: a reader, or a crash, never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
    temporary.replace(path)


def _read_record(path: Path) -> Record | None:
    try:
        return Record(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _reap(pid: int) -> None:
    """Collect the process if it is our child: a zombie would look like a member of its group for ever."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _group_members(group: int) -> Iterator[int]:
    for path in _PROC.glob("[0-9]*"):
        fields = _stat(int(path.name))
        if fields and fields[0] not in "ZX" and int(fields[2]) == group:
            yield int(path.name)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the command name: [0] state, [2] process group, [19] start time."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()
