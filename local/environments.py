"""The Python environments: made once, made again only when a lock file changed.

Standard library only: this runs before anything is installed (`python -m local.environments dev`).
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".local"
STAMP = "lock.sha256"
# Hashes pin the content, so wherever the user's own pip settings take the files from is safe.
PIP_INSTALL = (
    "-m",
    "pip",
    "--disable-pip-version-check",
    "install",
    "--quiet",
    "--require-hashes",
    "--no-deps",
    "--only-binary=:all:",
)


class InstallError(RuntimeError):
    """An environment could not be made; the message holds what pip said."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment filled from one lock file."""

    name: str
    path: Path
    lock: Path

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.path / "bin" / "python"

    def tool(self, name: str) -> Path:
        """The path of a command the environment installs."""
        return self.path / "bin" / name


DEV = Environment("dev", ROOT / ".venv", ROOT / "requirements" / "dev.txt")
CLOUD = Environment("cloud", CACHE / "cloud-venv", ROOT / "requirements" / "cloud.txt")
SAM = Environment("sam", CACHE / "sam-venv", ROOT / "requirements" / "sam.txt")
LOCK = Environment("lock", CACHE / "lock-venv", ROOT / "requirements" / "lock.txt")
COMPARE = Environment("compare", CACHE / "compare-venv", ROOT / "requirements" / "compare.txt")
AUDIT = Environment("audit", CACHE / "audit-venv", ROOT / "requirements" / "audit.txt")
FUZZ = Environment("fuzz", CACHE / "fuzz-venv", ROOT / "requirements" / "fuzz.txt")
ALL = {environment.name: environment for environment in (DEV, CLOUD, SAM, LOCK, COMPARE, AUDIT, FUZZ)}
NEEDED = (DEV.name, CLOUD.name, SAM.name)


def digest(environment: Environment) -> str:
    """What the environment must hold: the interpreter, the place (virtual environments do not move) and the lock."""
    content = f"{sys.version_info[:2]} {environment.path}\n".encode() + environment.lock.read_bytes()
    return hashlib.sha256(content).hexdigest()


def is_current(environment: Environment) -> bool:
    """Whether the environment was completely installed from the lock file as it is now."""
    stamp = environment.path / STAMP
    return environment.python.exists() and stamp.is_file() and stamp.read_text() == digest(environment)


def ensure(environment: Environment) -> Environment:
    """Make the environment if it is missing, half made or from an older lock; quick otherwise."""
    if is_current(environment):
        return environment
    with locked(CACHE / f"{environment.name}.lock"):
        if not is_current(environment):
            _install(environment)
    return environment


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file lock, so that two commands running at once do not make the same thing twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _install(environment: Environment) -> None:
    _tell(f"installing the {environment.name} environment from {environment.lock.relative_to(ROOT)} ...")
    started = time.monotonic()
    if sys.version_info < (3, 11):  # noqa: UP036 (this runs before anything could check the version)
        raise InstallError(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}")
    shutil.rmtree(environment.path, ignore_errors=True)
    _run([_base_python(), "-m", "venv", str(environment.path)])
    _run([str(environment.python), *PIP_INSTALL, "-r", str(environment.lock)])
    (environment.path / STAMP).write_text(digest(environment))
    _tell(f"the {environment.name} environment is installed, for all later runs: {time.monotonic() - started:.0f} s")


def _tell(line: str) -> None:
    """Beside what a command prints: `TOKEN=$(make -s token)` is the token, also where it installed something first."""
    print(line, file=sys.stderr, flush=True)


def _base_python() -> str:
    """The interpreter itself, not that of the environment this may run in: that one can be removed meanwhile."""
    return getattr(sys, "_base_executable", None) or sys.executable


def _run(command: list[str]) -> None:
    result = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        raise InstallError(f"{' '.join(command)} failed:\n{result.stdout[-4000:]}")


def main(names: list[str]) -> int:
    """Make the named environments; without a name those that building, running and testing need."""
    unknown = set(names) - set(ALL)
    if unknown:
        print(f"unknown environment {', '.join(sorted(unknown))}: one of {', '.join(ALL)}", file=sys.stderr)
        return 2
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(ensure, [ALL[name] for name in names or NEEDED]))
    except InstallError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
