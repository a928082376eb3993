"""Of people only a token's subject and what they call their portfolios is known, and neither leaves with events."""

from __future__ import annotations

import inspect
import json
import re
from types import ModuleType
from typing import Any

import pytest

from foliostream.application import announcing
from foliostream.domain import events, notices
from tests.support.decoders import described, fields_of
from tests.support.stored import STORED
from tests.unit.api.client import Client

PERSONAL = re.compile(r"mail|phone|address|street|birth|gender|passport|tax_id|first_name|last_name|surname|full_name")


def asked() -> set[str]:
    """Every field that the API knows, in and out."""
    document = json.loads(Client().send("GET", "/openapi.json", sub=None).text)

    def names(part: Any) -> set[str]:  # noqa: ANN401 (JSON)
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        own = set(part["properties"]) if isinstance(part, dict) and isinstance(part.get("properties"), dict) else set()
        return own.union(*map(names, inner))

    return names(document["components"]["schemas"])


def test_nobody_is_asked_who_he_is() -> None:
    assert len(asked()) > 100
    assert [name for name in asked() if PERSONAL.search(name)] == []


@pytest.mark.parametrize("shape", sorted(STORED))
def test_nothing_that_is_stored_says_who_somebody_is(shape: str) -> None:
    assert [name for _, name in fields_of(described(STORED[shape])) if PERSONAL.search(name)] == []


@pytest.mark.parametrize("module", [events, announcing, notices], ids=lambda module: module.__name__)
def test_what_is_told_to_the_bus_is_made_without_knowing_whose_it_is(module: ModuleType) -> None:
    assert re.findall(r"\bowner\b|\bsubject\b|portfolio_name", inspect.getsource(module)) == []
