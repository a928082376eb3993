"""docs/scale.md names parameters that exist, with values they take. It cannot tell whether its limits are AWS's."""

from __future__ import annotations

import re

import pytest

from benchmarks import cost, figures
from tests.infra.cloudformation import ROOT, template

PAGE = (ROOT / "docs" / "scale.md").read_text()
# A word in code that begins with a capital is a parameter, alone or with a value.
NAMED = re.findall(r"`([A-Z]\w*)(?:=([\w.]+))?`", PAGE)


def test_every_parameter_named_exists() -> None:
    assert {name for name, _ in NAMED} - template()["Parameters"].keys() == set()


@pytest.mark.parametrize(("name", "value"), [named for named in NAMED if named[1]])
def test_every_value_named_is_allowed(name: str, value: str) -> None:
    parameter = template()["Parameters"][name]
    if "AllowedValues" in parameter:
        assert value in parameter["AllowedValues"]
    else:
        assert parameter.get("MinValue", 0) <= int(value) <= parameter["MaxValue"]


def test_the_figures_are_computed_with_the_templates_own_values() -> None:
    parameters = template()["Parameters"]
    assert parameters["Shards"]["Default"] == figures.SHARDS_DEFAULT
    assert parameters["Shards"]["MaxValue"] == figures.SHARDS_MAX
    assert parameters["KeysPerMessage"]["Default"] == figures.KEYS_PER_MESSAGE
    assert "by default 200,000 ECPU/s" in PAGE
    assert parameters["CacheMaximumEcpuPerSecond"]["Default"] == 200_000


def test_the_functions_have_the_memory_that_costs_are_computed_with() -> None:
    for name in ("PriceUpdateFunction", "RecalculateFunction"):
        assert template()["Resources"][name]["Properties"]["MemorySize"] / 1_024 == cost.MEMORY_GB


def test_every_block_of_figures_can_be_written() -> None:
    assert set(re.findall(r"<!-- figures: (\w+) -->", PAGE)) == {"units", "growth", "sizes", "cost"}
    assert PAGE.count("<!-- end of figures -->") == 4
