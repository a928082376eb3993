"""What is known against the packages of lock files (`make audit`): vulnerabilities of exactly these versions.

    python -m local.audit requirements/layer-rest.txt ...

pip-audit asks the package index for the page of each version. Some networks reach the index through a mirror that has
only the page of each project, which tells of the newest release: for what pip-audit skips, that page is looked at, and
counts where the newest release is the locked one. What cannot be found out is named and is no failure, since who works
without a network must be able to run `make test`; what is found is one.
"""

import json
import re
import ssl
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from itertools import chain
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from local.environments import AUDIT, CACHE, ROOT, InstallError, ensure

# How pip-audit reads a lock, and how it answers.
_OPTIONS = ("--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json", "--aliases", "on")
# What it ends with where its service gives no answer that can be read; its own words where it cannot connect in time.
_NO_ANSWER = re.compile(r"^requests\.exceptions\.\w+|network may be blocking this service", re.MULTILINE)
_PINNED = re.compile(r"[\w.-]+(?:\[[\w,.-]+\])?==")
# Few: pages have up to 12 MB, and there are resolvers that drop questions which come too close together.
_THREADS = 4


class AuditError(RuntimeError):
    """A lock was not looked at, for another reason than a service that cannot be reached; says which."""


@dataclass(frozen=True)
class Sources:
    """Who is asked: the service of pip-audit (`arguments` of its own), and the index whose project pages are read."""

    arguments: tuple[str, ...] = ()
    index: str = "https://pypi.org"
    timeout_s: int = 5


PYPI = Sources()


@dataclass(frozen=True)
class Package:
    """One version of a package, by its name as the index writes it."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Advisory:
    """A known vulnerability: the ids it has in several databases, and the versions that no longer have it."""

    id: str
    aliases: tuple[str, ...] = ()
    fixed_in: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Every id it goes by."""
        return frozenset({self.id, *self.aliases})

    def __str__(self) -> str:
        aliases = f" ({', '.join(sorted(self.aliases))})" if self.aliases else ""
        return f"{self.id}{aliases}, {'fixed in ' + ', '.join(self.fixed_in) if self.fixed_in else 'no fix is known'}"


@dataclass(frozen=True)
class Judgement:
    """What is known against a package; where nothing can be said, `unknown` is the reason."""

    package: Package
    advisories: tuple[Advisory, ...] = ()
    unknown: str = ""


def main(locks: Sequence[str], sources: Sources = PYPI) -> int:
    """Look the packages of lock files up and print what is known; 1 if there is something, or if a lock is broken."""
    try:
        ensure(AUDIT)
        judged = audit([Path(lock) for lock in locks], sources)
        return tell(judged, ignored((ROOT / "pyproject.toml").read_text()), len(locks))
    except (AuditError, InstallError) as fault:
        print(f"not audited: {fault}", file=sys.stderr)
        return 1


def audit(locks: Sequence[Path], sources: Sources = PYPI) -> list[Judgement]:
    """A judgement of each package of the lock files, by name; raises ``AuditError``."""
    reported = _ask(sources, locks)
    # One for all: reading the machine's certificates takes longer than most pages.
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=ssl.create_default_context()))
    with ThreadPoolExecutor(_THREADS) as pool:
        judged = pool.map(partial(_look_up, sources, opener), reported)
        return sorted(judged, key=lambda one: one.package.name)


def ignored(pyproject: str) -> frozenset[str]:
    """The ids that `[tool.audit]` of a pyproject.toml says are no failure."""
    return frozenset(tomllib.loads(pyproject)["tool"]["audit"]["ignore"])


def locked(lock: str) -> list[Package]:
    """The packages that the text of a lock file installs on this machine; raises ``InvalidRequirement``."""
    lines = [line.removesuffix("\\") for line in lock.splitlines() if _PINNED.match(line)]
    wanted = [one for one in map(Requirement, lines) if one.marker is None or one.marker.evaluate()]
    return [Package(canonicalize_name(one.name), next(iter(one.specifier)).version) for one in wanted]


def _ask(sources: Sources, locks: Sequence[Path]) -> list[Judgement]:
    """What pip-audit says: asked about all locks at once, since starting it is what takes time."""
    options = ["--timeout", str(sources.timeout_s), "--cache-dir", str(CACHE / "pip-audit"), *_OPTIONS]
    for lock in locks:
        options += ["--requirement", str(lock)]
    command = [str(AUDIT.tool("pip-audit")), *options, *sources.arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return read_report([lock.read_text() for lock in locks], ran.stdout, ran.stderr)
    except (OSError, InvalidRequirement) as fault:
        raise AuditError(str(fault)) from fault


def read_report(locks: Sequence[str], output: str, errors: str) -> list[Judgement]:
    """A judgement of each package in the texts of locks, from what pip-audit wrote: its report, or what went wrong.

    Raises ``AuditError`` where that is anything but a service without an answer, or where a lock holds no package.
    """
    if not output and not _NO_ANSWER.search(errors):
        raise AuditError(errors.strip() or "pip-audit said nothing")
    entries = {entry["name"]: entry for entry in json.loads(output)["dependencies"]} if output else {}
    packages = [locked(lock) for lock in locks]
    if not packages or not all(packages):
        raise AuditError("a lock file holds no package")
    return [_reported(one, entries.get(one.name, {})) for one in dict.fromkeys(chain.from_iterable(packages))]


def _reported(package: Package, entry: dict[str, Any]) -> Judgement:
    if "vulns" not in entry:
        return Judgement(package, unknown=entry.get("skip_reason", "pip-audit cannot reach its service"))
    found = [Advisory(one["id"], tuple(one["aliases"]), tuple(one["fix_versions"])) for one in entry["vulns"]]
    return Judgement(package, tuple(found))


def _look_up(sources: Sources, opener: urllib.request.OpenerDirector, judged: Judgement) -> Judgement:
    """The same, or what the project's page tells where pip-audit found nothing out."""
    if not judged.unknown:
        return judged
    package = judged.package
    try:
        with opener.open(f"{sources.index}/pypi/{package.name}/json", timeout=sources.timeout_s) as answer:
            return read_page(package, answer.read())
    except urllib.error.HTTPError as refused:
        return Judgement(package, unknown=f"the index answers {refused.code}")
    except (OSError, HTTPException):
        return Judgement(package, unknown="the index cannot be reached")


def read_page(package: Package, content: bytes) -> Judgement:
    """What the index's page of a project (JSON) says about a package."""
    try:
        page = json.loads(content)
        is_newest = Version(page["info"]["version"]) == Version(package.version)
        known = [one for one in page["vulnerabilities"] if not one.get("withdrawn")]
        found = [Advisory(one["id"], tuple(one["aliases"]), tuple(one["fixed_in"])) for one in known]
    except (ValueError, LookupError, TypeError, AttributeError):
        return Judgement(package, unknown="the index's page cannot be read")
    if not is_newest:
        return Judgement(package, unknown="the index tells of the newest release alone")
    return Judgement(package, tuple(_each_once(found)))


def _each_once(advisories: Iterable[Advisory]) -> list[Advisory]:
    """Without what another one tells already: the index has most under the ids of two databases."""
    kept: list[Advisory] = []
    for advisory in sorted(advisories, key=lambda one: not one.id.startswith("PYSEC")):
        if not any(advisory.names & other.names for other in kept):
            kept.append(advisory)
    return kept


def tell(judged: Sequence[Judgement], ignore: frozenset[str], locks: int) -> int:
    """Print what is known against the packages of so many locks; 1 if any of it is not to be ignored, else 0.

    What could not be found out goes to standard error.
    """
    found = [(one.package, advisory) for one in judged for advisory in one.advisories]
    for package, advisory in found:
        print(f"{package}: {advisory}{', ignored' if advisory.names & ignore else ''}")
    unknown = [one for one in judged if one.unknown]
    clean = sum(not one.advisories and not one.unknown for one in judged)
    print(f"{len(judged)} packages of {locks} locks: {clean} without a known vulnerability, {len(unknown)} not judged")
    _tell_unknown(unknown, len(judged))
    for name in sorted(ignore - {name for _, advisory in found for name in advisory.names}):
        print(f"{name} is ignored in pyproject.toml, but was not found", file=sys.stderr)
    return int(any(not advisory.names & ignore for _, advisory in found))


def _tell_unknown(unknown: Sequence[Judgement], of: int) -> None:
    for reason in sorted({one.unknown for one in unknown}):
        names = ", ".join(str(one.package) for one in unknown if one.unknown == reason)
        print(f"not judged, as {reason}: {names}", file=sys.stderr)
    if len(unknown) == of:
        print(f"NOT AUDITED: nothing could be found out about any of the {of} packages", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
