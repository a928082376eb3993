"""The dashboard on this machine: built with Node where there is one, served beside the cloud."""

import hashlib
import json
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

from local.cloud import Outputs
from local.environments import CACHE, ROOT, locked
from local.page_server import ENTRY
from local.processes import Records, poll, write_atomically
from local.services import HOST, base_environment, fetch_status, free_port
from local.settings import Settings

SOURCES = ROOT / "dashboard"
BUILT = CACHE / "page"
NODE_MAJOR = 20
_NAME = "page"
_START_TIMEOUT_S = 20.0
_NOT_SOURCES = ("node_modules", "dist")


class PageError(RuntimeError):
    """The page cannot be built or served; everything else works without it."""


def up(settings: Settings, outputs: Outputs) -> str:
    """Build the page if its sources changed and serve it; its address, which signs in as the local user.

    Raises ``PageError`` (no Node, a failed build), with what to do about it.
    """
    folder = build()
    records = Records(settings.home)
    place = settings.home / "page.url"
    wanted = f"{folder} {outputs.rest_url} {outputs.ws_url}"
    known = place.read_text().split("\n") if place.exists() else []
    word = _entry(settings, outputs.token)
    if not (known[:1] == [wanted] and records.find(_NAME) and fetch_status(known[1]) == 200):
        url = _serve(settings, outputs, folder)
        write_atomically(place, f"{wanted}\n{url}")
        known = [wanted, url]
    return f"{known[1]}{ENTRY.lstrip('/')}{word}"


def _entry(settings: Settings, token: str) -> str:
    """The word that signs in with the token, the same for as long as the cloud's folder exists."""
    place = _entry_file(settings)
    word: str = json.loads(place.read_text())["word"] if place.exists() else secrets.token_hex(6)
    write_atomically(place, json.dumps({"word": word, "token": token}), mode=0o600)
    return word


def _entry_file(settings: Settings) -> Path:
    return settings.home / "page-entry.json"


def build() -> Path:
    """The folder with the built page, one for each state of the sources."""
    with locked(CACHE / "page.lock"):
        folder = BUILT / _digest()
        if not (folder / "index.html").exists():
            shutil.rmtree(BUILT, ignore_errors=True)
            _run([_npm(), "run", "build", "--", "--outDir", str(folder)])
    return folder


def check() -> None:
    """The page's own tests and its types; raises ``PageError`` with what they said."""
    with locked(CACHE / "page.lock"):
        npm = _npm()
        ran = subprocess.run([npm, "test"], cwd=SOURCES, check=False)
    if ran.returncode:
        raise PageError("the page's tests failed")
    build()


def _npm() -> str:
    """npm, with the packages of the lock file in place."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        raise PageError(f"the page is not built: Node {NODE_MAJOR} or newer with npm is needed; all else works")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    major = version.lstrip("v").split(".")[0]
    if not major.isdigit() or int(major) < NODE_MAJOR:
        raise PageError(f"the page is not built: Node {NODE_MAJOR} or newer is needed, this is {version or 'unknown'}")
    lock, installed = SOURCES / "package-lock.json", CACHE / "page-packages"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    if not (SOURCES / "node_modules").exists() or not installed.exists() or installed.read_text() != wanted:
        _run([npm, "ci", "--no-audit", "--no-fund"])
        write_atomically(installed, wanted)
    return npm


def _run(command: list[str]) -> None:
    ran = subprocess.run(command, cwd=SOURCES, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if ran.returncode:
        raise PageError(f"the page is not built: {' '.join(command[:3])} failed:\n{ran.stdout[-3000:]}")


def _digest() -> str:
    files = sorted(path for path in SOURCES.rglob("*") if path.is_file() and not _is_made(path))
    content = hashlib.sha256()
    for path in files:
        content.update(f"{path.relative_to(SOURCES)}\n".encode() + path.read_bytes())
    return content.hexdigest()[:16]


def _is_made(path: Path) -> bool:
    return path.relative_to(SOURCES).parts[0] in _NOT_SOURCES


def _serve(settings: Settings, outputs: Outputs, folder: Path) -> str:
    records = Records(settings.home)
    if found := records.find(_NAME):
        records.stop(found)
    port = free_port()
    arguments = [str(port), str(folder), outputs.rest_url, outputs.ws_url, str(_entry_file(settings))]
    command = [sys.executable, "-m", "local.page_server", *arguments]
    log = settings.logs / "page.log"
    log.unlink(missing_ok=True)
    records.start(_NAME, command, env=base_environment(), log=log, cwd=ROOT)
    url = f"http://{HOST}:{port}/"
    if not poll(lambda: fetch_status(url) == 200, _START_TIMEOUT_S):
        raise PageError(f"the page's server did not answer within {_START_TIMEOUT_S:.0f} s; its log is {log}")
    return url


if __name__ == "__main__":
    try:
        check()
    except PageError as error:
        sys.exit(str(error))
