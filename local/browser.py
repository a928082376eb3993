"""The browser that the page is tested in: the system's Chromium, installed from Debian's packages where that works."""

import os
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
INSTALL = ("apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium")
TIMEOUT_S = 900.0
# Nothing is looked up outside: a test's browser talks to this machine only.
QUIET = (
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
)


class BrowserError(RuntimeError):
    """There is no browser, and none could be installed; says how to."""


def ensure() -> str:
    """The path of Chromium, installed first where this is Debian or Ubuntu and the user is root."""
    found = _find()
    if found:
        return found
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise BrowserError(f"the page's tests need Chromium: install one of {', '.join(NAMES)}")
    for command in (("apt-get", "update", "-qq"), INSTALL):
        ran = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=TIMEOUT_S
        )
        if ran.returncode:
            raise BrowserError(f"{' '.join(command)} failed:\n{ran.stdout[-2000:]}")
    found = _find()
    if not found:
        raise BrowserError("the package chromium brought no browser")
    return found


def _find() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)
