"""`make audit` with the real pip-audit, a database of vulnerabilities and an index on this machine.

Does not find: what the index of everybody answers today.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from local.audit import Sources, main
from local.environments import ROOT
from local.services import HOST, free_port
from tests.unit.client.servers import Reply, Request, http

LOCK = ROOT / "requirements" / "layer-rest.txt"


class World:
    """A database that knows what `known` says, by package, or answers `status`; an index whose pages are `pages`."""

    def __init__(self, stack: ExitStack) -> None:
        self.known: dict[str, dict[str, Any]] = {}
        self.pages: dict[str, dict[str, Any]] = {}
        self.status = 200
        self._database = stack.enter_context(http(self._vulnerabilities))
        self._index = stack.enter_context(http(self._page))

    @property
    def sources(self) -> Sources:
        return sources(f"{self._database.url}/v1/query", self._index.url)

    def _vulnerabilities(self, request: Request) -> Reply:
        name = request.body["package"]["name"]
        return Reply(self.status, {"vulns": [self.known[name]]} if name in self.known else {})

    def _page(self, request: Request) -> Reply:
        _, _, name, _ = request.path.split("/")
        return Reply(200, self.pages[name]) if name in self.pages else Reply(404, {})


def sources(database: str, index: str) -> Sources:
    return Sources(("--vulnerability-service", "osv", "--osv-url", database), index)


def advisory(package: str) -> dict[str, Any]:
    """As the database has them (https://ossf.github.io/osv-schema/)."""
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "999.1"}]}]
    affected = [{"package": {"name": package, "ecosystem": "PyPI"}, "ranges": ranges}]
    return {"id": "PYSEC-2099-7", "aliases": ["CVE-2099-7"], "summary": "made up", "affected": affected}


@pytest.fixture
def world() -> Iterator[World]:
    with ExitStack() as stack:
        yield World(stack)


def run(capsys: pytest.CaptureFixture[str], sources: Sources, lock: Path = LOCK) -> tuple[int, str, str]:
    """The status, and what was printed."""
    status = main([str(lock)], sources)
    told = capsys.readouterr()
    return status, told.out, told.err


def test_a_vulnerability_that_is_known_is_named_and_a_failure(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.known["pydantic"] = advisory("pydantic")
    status, out, _ = run(capsys, world.sources)
    assert status == 1
    assert out.startswith("pydantic ")
    assert "PYSEC-2099-7 (CVE-2099-7), fixed in 999.1\n" in out


def test_nothing_known_is_no_failure(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, world.sources)
    assert (status, err) == (0, "")
    assert "packages of 1 locks: 5 without a known vulnerability, 0 not judged" in out


def test_where_the_database_does_not_answer_the_indexs_page_counts(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.status = 503
    (version,) = [line.split("==")[1].split()[0] for line in LOCK.read_text().splitlines() if "pydantic==" in line]
    known = {"id": "PYSEC-2099-7", "aliases": [], "fixed_in": [], "withdrawn": None}
    world.pages["pydantic"] = {"info": {"version": version}, "vulnerabilities": [known]}
    status, out, err = run(capsys, world.sources)
    assert status == 1
    assert f"pydantic {version}: PYSEC-2099-7, no fix is known\n" in out
    assert err.startswith("not judged, as the index answers 404: annotated-types ")
    assert "NOT AUDITED" not in err


def test_without_a_network_nothing_is_judged_which_is_said_and_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    nobody = f"http://{HOST}:{free_port()}"
    status, out, err = run(capsys, sources(nobody, nobody))
    assert status == 0
    assert "0 without a known vulnerability, 5 not judged" in out
    assert "the index cannot be reached" in err
    assert "NOT AUDITED" in err


@pytest.mark.parametrize("content", ["pydantic==2.0\n", "pydantic=2.0\n", "# nothing\n"])
def test_a_broken_lock_is_a_failure(
    world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str
) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(content)
    status, _, err = run(capsys, world.sources, lock)
    assert status == 1
    assert err.startswith("not audited: ")


def test_a_lock_that_is_not_there_is_a_failure(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, world.sources, Path("nowhere.txt"))
    assert status == 1
    assert "nowhere.txt" in err
