"""What counts as known against a package, of what pip-audit and the index say. Does not find: another pip-audit."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from local.audit import Advisory, AuditError, Judgement, Package, ignored, locked, read_page, read_report, tell
from local.environments import ROOT

HASH = "    --hash=sha256:" + "0" * 64
LOCK = f"# By make lock\nalpha==1.2 \\\n{HASH}\n    # via beta\nbeta-two==2.0 ; python_version >= '3' \\\n{HASH}\n"
ALPHA = Package("alpha", "1.2")
BETA = Package("beta-two", "2.0")
KNOWN = {
    "id": "PYSEC-2026-1",
    "aliases": ["CVE-2026-1", "GHSA-1"],
    "fixed_in": ["1.3"],
    "withdrawn": None,
}


def page(version: str, *vulnerabilities: dict[str, Any]) -> bytes:
    """A project's page as the index has it."""
    return json.dumps({"info": {"version": version}, "vulnerabilities": vulnerabilities}).encode()


def report(*dependencies: dict[str, Any]) -> str:
    return json.dumps({"dependencies": dependencies, "fixes": []})


# The page of a project


def test_what_is_known_against_the_newest_release_counts_where_that_is_the_locked_one() -> None:
    expected = Advisory("PYSEC-2026-1", ("CVE-2026-1", "GHSA-1"), ("1.3",))
    assert read_page(ALPHA, page("1.2", KNOWN)) == Judgement(ALPHA, (expected,))
    assert read_page(ALPHA, page("1.2.0", KNOWN)) == Judgement(ALPHA, (expected,))
    assert read_page(ALPHA, page("1.2")) == Judgement(ALPHA)


@pytest.mark.parametrize("newest", ["1.3", "1.1", "1.2.post1"])
def test_the_page_of_another_release_says_nothing(newest: str) -> None:
    for vulnerabilities in ([KNOWN], []):
        assert read_page(ALPHA, page(newest, *vulnerabilities)).unknown == (
            "the index tells of the newest release alone"
        )


def test_what_was_withdrawn_does_not_count() -> None:
    assert read_page(ALPHA, page("1.2", KNOWN | {"withdrawn": "2026-11-01T00:00:00Z"})) == Judgement(ALPHA)


def test_what_two_databases_tell_counts_once() -> None:
    twin = {"id": "GHSA-1", "aliases": ["CVE-2026-1", "PYSEC-2026-1"], "fixed_in": ["1.3"], "withdrawn": None}
    other = {"id": "GHSA-2", "aliases": [], "fixed_in": [], "withdrawn": None}
    assert [one.id for one in read_page(ALPHA, page("1.2", twin, other, KNOWN)).advisories] == [
        "PYSEC-2026-1",
        "GHSA-2",
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"<html>sign in</html>",
        b"[]",
        b"{}",
        b'{"info": {"version": "1.2"}}',
        b'{"info": {"version": "1.2"}, "vulnerabilities": null}',
        b'{"info": {"version": "1.2"}, "vulnerabilities": ["PYSEC-2026-1"]}',
        b'{"info": {"version": "newest"}, "vulnerabilities": []}',
    ],
)
def test_a_page_that_does_not_tell_is_no_page_without_a_vulnerability(content: bytes) -> None:
    assert read_page(ALPHA, content) == Judgement(ALPHA, unknown="the index's page cannot be read")


# The report of pip-audit


def test_what_pip_audit_found_or_skipped_is_read() -> None:
    found = {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "fix_versions": ["1.3", "2.0"], "description": "bad"}
    output = report(
        {"name": "alpha", "version": "1.2", "vulns": [found]}, {"name": "beta-two", "skip_reason": "not there"}
    )
    assert read_report([LOCK], output, "Found 1 known vulnerability") == [
        Judgement(ALPHA, (Advisory("PYSEC-2026-1", ("CVE-2026-1",), ("1.3", "2.0")),)),
        Judgement(BETA, unknown="not there"),
    ]


def test_a_package_of_two_locks_is_judged_once_and_one_that_the_report_leaves_out_is_not_clean() -> None:
    output = report({"name": "alpha", "version": "1.2", "vulns": []})
    first, second = read_report([LOCK, LOCK], output, "")
    assert first == Judgement(ALPHA)
    assert second.unknown


@pytest.mark.parametrize(
    "errors",
    [
        "Traceback (most recent call last):\n  ...\nrequests.exceptions.ConnectionError: refused\n",
        "requests.exceptions.HTTPError: 503 Server Error\n\nThe above exception was ...\n\n"
        "pip_audit._service.interface.ServiceError\n",
        "ERROR:pip_audit._cli:Could not connect\nERROR:pip_audit._cli:Tip: your network may be blocking this service.",
    ],
)
def test_a_service_that_does_not_answer_leaves_everything_unknown(errors: str) -> None:
    judged = read_report([LOCK], "", errors)
    assert [one.package for one in judged] == [ALPHA, BETA]
    assert all(one.unknown for one in judged)


@pytest.mark.parametrize(
    "errors",
    ["ERROR:pip_audit._cli:requirement alpha==1.2 does not contain a hash", "KeyError: 'vulns'", "Killed"],
)
def test_whatever_else_pip_audit_fails_with_is_a_failure_that_says_it(errors: str) -> None:
    with pytest.raises(AuditError, match=re.escape(errors)):
        read_report([LOCK], "", errors)


def test_a_lock_without_a_package_is_a_failure() -> None:
    for locks in ([], [LOCK, "# nothing\n"]):
        with pytest.raises(AuditError):
            read_report(locks, report(), "")


def test_a_lock_is_read_as_it_is_installed_here() -> None:
    lines = ["Alpha.Beta==1", "gamma==2 ; sys_platform == 'win32'", "gamma==3 ; sys_platform != 'win32'"]
    lock = "".join(f"{line} \\\n{HASH}\n" for line in lines)
    assert locked(lock) == [Package("alpha-beta", "1"), Package("gamma", "3")]


# What is said, and what is a failure


def test_a_finding_is_named_with_every_id_and_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    judged = [read_page(ALPHA, page("1.2", KNOWN)), Judgement(BETA)]
    assert tell(judged, frozenset(), 3) == 1
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "alpha 1.2: PYSEC-2026-1 (CVE-2026-1, GHSA-1), fixed in 1.3",
        "2 packages of 3 locks: 1 without a known vulnerability, 0 not judged",
    ]
    assert told.err == ""


@pytest.mark.parametrize("name", ["PYSEC-2026-1", "GHSA-1"])
def test_what_is_ignored_by_its_id_or_an_alias_is_told_and_no_failure(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert tell([read_page(ALPHA, page("1.2", KNOWN))], frozenset({name}), 1) == 0
    assert "fixed in 1.3, ignored\n" in capsys.readouterr().out


def test_one_ignored_finding_hides_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    judged = [read_page(ALPHA, page("1.2", KNOWN, {"id": "GHSA-2", "aliases": [], "fixed_in": []}))]
    assert tell(judged, frozenset({"CVE-2026-1"}), 1) == 1
    assert "alpha 1.2: GHSA-2, no fix is known\n" in capsys.readouterr().out


def test_an_id_that_is_ignored_and_not_there_any_more_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell([Judgement(ALPHA)], frozenset({"CVE-2020-1"}), 1) == 0
    assert "CVE-2020-1 is ignored in pyproject.toml, but was not found" in capsys.readouterr().err


def test_what_was_not_judged_is_named_with_its_reason_and_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell([Judgement(ALPHA), read_page(BETA, page("3.0"))], frozenset(), 1) == 0
    told = capsys.readouterr()
    assert told.out == "2 packages of 1 locks: 1 without a known vulnerability, 1 not judged\n"
    assert told.err == "not judged, as the index tells of the newest release alone: beta-two 2.0\n"


def test_that_nothing_was_judged_cannot_be_missed(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell([Judgement(ALPHA, unknown="nobody answers")], frozenset(), 1) == 0
    assert "NOT AUDITED" in capsys.readouterr().err


def test_the_list_of_what_is_ignored_is_read() -> None:
    assert ignored('[tool.audit]\nignore = ["A-1", "B-2"]') == {"A-1", "B-2"}
    assert "" not in ignored((ROOT / "pyproject.toml").read_text())


def test_the_locks_of_all_layers_are_looked_at() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (named,) = re.findall(r"^LAYER_LOCKS := (.+)$", makefile, re.MULTILINE)
    assert sorted(named.split()) == sorted(path.stem for path in (ROOT / "requirements").glob("layer-*.txt"))
    assert "-m local.audit $(LAYER_LOCKS:%=requirements/%.txt)" in makefile
    assert "audit" in re.findall(r"^test: (.+?) ##", makefile, re.MULTILINE)[0].split()
