"""What wins over the packages' own requirements (requirements/overrides.txt) is there only while it has to be."""

from __future__ import annotations

from importlib import metadata

import pytest
from packaging.requirements import Requirement

from tests.infra.cloudformation import ROOT

LINES = (ROOT / "requirements" / "overrides.txt").read_text().splitlines()
OVERRIDES = [Requirement(line) for line in LINES if not line.startswith("#")]


def refusing(name: str) -> list[str]:
    """The installed packages, which are those of the layers, that do not ask for what is installed of another one."""
    asked = [
        (distribution.name, requirement)
        for distribution in metadata.distributions()
        for requirement in map(Requirement, distribution.requires or [])
        if requirement.name == name and "extra" not in str(requirement.marker)
    ]
    assert asked
    return [who for who, requirement in asked if metadata.version(name) not in requirement.specifier]


@pytest.mark.parametrize("override", OVERRIDES, ids=str)
def test_an_override_is_there_only_while_a_package_refuses_what_it_brings(override: Requirement) -> None:
    assert metadata.version(override.name) in override.specifier
    assert refusing(override.name)


def test_a_package_that_everybody_takes_as_it_is_would_need_no_override() -> None:
    assert refusing("requests") == []
