"""Who looks for weaknesses is told to look away only with a reason beside it."""

from __future__ import annotations

import re
from pathlib import Path

from local.audit import ignored

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for part in ("layers/foliostream", "functions", "client/src", "local", "benchmarks", "rules")
                 for path in (ROOT / part).rglob("*.py"))  # fmt: skip
# Rules of ruff about weaknesses, and bandit's own word.
LOOKS_AWAY = re.compile(r"#\s*(?:noqa:[^#\n]*\bS\d{3}\b|nosec)(?P<rest>[^\n]*)")
REASON = re.compile(r"[a-z]{2,}.* .*[a-z]{2,}")


def without_reason(source: str) -> list[str]:
    """Lines with a suppression and no words after it."""
    return [
        line.strip()
        for line in source.splitlines()
        if (found := LOOKS_AWAY.search(line)) and not REASON.search(found["rest"])
    ]


def test_a_line_that_is_not_looked_at_says_why() -> None:
    assert len(SOURCES) > 100
    found = {str(path.relative_to(ROOT)): without_reason(path.read_text()) for path in SOURCES}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_a_suppression_without_words_is_found() -> None:
    assert without_reason("a = 1  # noqa: S105\nb = 2  # nosec\nc = 3  # noqa: S105 (a name, no secret)") == [
        "a = 1  # noqa: S105",
        "b = 2  # nosec",
    ]


def test_every_check_of_checkov_that_is_left_out_stands_below_its_reason() -> None:
    lines = (ROOT / ".checkov.yaml").read_text().partition("skip-check:\n")[2].splitlines()
    assert sum("CKV" in line for line in lines) > 5
    assert lines[0].strip().startswith("# ")
    assert all(re.fullmatch(r"  (# .+|- CKV2?_AWS_\d+)", line) for line in lines)


def test_every_check_of_bandit_that_is_left_out_stands_beside_its_reason() -> None:
    skipped = (ROOT / "pyproject.toml").read_text().partition("[tool.bandit]")[2].partition("]\n")[0]
    found = [line for line in skipped.splitlines() if '"B' in line]
    assert found
    assert [line for line in found if not re.search(r'"B\d{3}", # .+ .+', line)] == []


def ignored_without_reason(pyproject: str) -> list[str]:
    """Lines of the list in `[tool.audit]` that are not one id with words beside it."""
    listed = pyproject.partition("\n[tool.audit]\n")[2].partition("\nignore = [")[2].partition("]\n")[0]
    return [line for line in listed.splitlines() if line and not re.fullmatch(r' {4}"[\w-]+", # .+ .+', line)]


def test_every_known_vulnerability_that_is_ignored_stands_beside_its_reason() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text()
    assert len(ignored(pyproject)) < 10
    assert ignored_without_reason(pyproject) == []


def test_an_ignored_vulnerability_without_words_is_found() -> None:
    before = "\n[tool.audit]\n# What it is for.\n"
    listed = f'{before}ignore = [\n    "CVE-1", # no caller passes it\n    "CVE-2",\n    "CVE-3", # later\n]\n'
    assert ignored(listed) == {"CVE-1", "CVE-2", "CVE-3"}
    assert ignored_without_reason(listed) == ['    "CVE-2",', '    "CVE-3", # later']
    assert ignored_without_reason(f'{before}ignore = ["CVE-1"]\n') == ['"CVE-1"']
    assert ignored_without_reason(f"{before}ignore = []\n") == []
