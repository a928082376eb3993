"""What the pages say exists: links and anchors, make targets, settings, parameters, functions, fields of the samples.

It cannot tell whether a sentence is true.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from foliostream.settings import ENVIRONMENT_NAMES
from local.parameters import translate
from tests.infra.cloudformation import FUNCTION, ROOT, resources, template

_SKIPPED = {"node_modules", "build", "dist"}
PAGES = sorted(
    page
    for page in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part in _SKIPPED for part in page.relative_to(ROOT).parts)
)
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
TARGETS = {
    name
    for line in re.findall(r"^([a-z0-9 -]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for name in line.split()
}
_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_SETTING = re.compile(r"\bPORTFOLIO_[A-Z_]+[A-Z]\b")
# Codes of errors begin alike.
_OTHERS = {code for source in (ROOT / "layers").rglob("*.py") for code in _SETTING.findall(source.read_text())}
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def links(page: Path) -> Iterator[str]:
    """Every relative link of a page, as it is written."""
    text = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page.read_text()))
    return (link for link in _LINK.findall(text) if not re.match(r"[a-z]+:", link))


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as they are made where it is shown."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    dead = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    return dead


def table(page: str, heading: str) -> dict[str, str]:
    """The second cell of each row of the tables below a heading, by the name in the first."""
    below = (ROOT / page).read_text().partition(f"\n{heading}\n")[2]
    section = re.split(rf"^#{{1,{heading.index(' ')}}} ", below, maxsplit=1, flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.MULTILINE)
    assert len(rows) == len(dict(rows)), f"{page}: a name stands twice below {heading}"
    return dict(rows)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert dead_links(page) == []


def test_a_link_to_nothing_and_an_anchor_of_nothing_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A title, `code`\n[a](#a-title-code) [b](#b) [c](other.md) [d](https://x.test) `[e](x.md)`\n")
    assert dead_links(page) == ["#b", "other.md"]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_make_target_named_exists(page: Path) -> None:
    code = "\n".join(re.findall(r"`[^`]+`", page.read_text()) + _FENCE.findall(page.read_text()))
    named = set(re.findall(r"(?:^|[`\n;&|(] *)make(?: -s)?\s+([a-z][a-z0-9-]*)", code))
    assert named - TARGETS == set()


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_setting_named_exists(page: Path) -> None:
    named = set(_SETTING.findall(page.read_text())) - ENVIRONMENT_NAMES - _OTHERS
    assert translate(dict.fromkeys(named, ""), template()["Parameters"]).keys() <= template()["Parameters"].keys()


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_parameter_given_a_value_exists(page: Path) -> None:
    given = set(re.findall(r"[`\" ]([A-Z][a-z]+(?:[A-Z][a-z0-9]*)+)=", page.read_text()))
    assert given - template()["Parameters"].keys() == set()


def test_every_parameter_is_in_the_page_on_deploying_with_its_default() -> None:
    shown = table("docs/deploy.md", "## Every parameter")
    assert shown == {name: _default(parameter) for name, parameter in template()["Parameters"].items()}


def _default(parameter: dict[str, object]) -> str:
    if "Default" not in parameter:
        return "must be given"
    return f"`{parameter['Default']}`" if str(parameter["Default"]) else "empty"


def test_every_picture_is_described_and_light() -> None:
    text = (ROOT / "README.md").read_text()
    described = dict(re.findall(r"!\[([^\]]*)\]\(([^)]+\.png)\)", text))
    pictures = [(path, alt) for alt, path in described.items()]
    pictures += re.findall(r'<img src="([^"]+)"[^>]* alt="([^"]*)"', text)
    assert len(pictures) == text.count(".png") == 3
    for path, alt in pictures:
        assert len(alt) > 30, path
        assert (ROOT / path).stat().st_size < 200_000, path


def test_every_definition_the_code_and_the_tests_cite_is_in_the_page() -> None:
    page = (ROOT / "docs/definitions.md").read_text()
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", page, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    sources = [*(ROOT / "layers").rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "docs").glob("*.md")]
    cited = {
        int(number)
        for source in sources
        for found in re.findall(r"[Dd]efinitions\s+(\d+(?:(?:, | and | to |-)\d+)*)", source.read_text())
        for number in re.findall(r"\d+", found)
    }
    assert len(cited) > 15
    assert cited - set(numbers) == set()


def test_every_function_is_in_the_readme() -> None:
    folders = {str(body["CodeUri"]).removeprefix("functions/") for body in resources(FUNCTION).values()}
    assert table("README.md", "## Functions").keys() == folders
