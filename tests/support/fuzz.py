"""Inputs that nobody would send on purpose: any JSON, what is none, and samples with something in them changed.

``FUZZ_TIMES`` multiplies how many are made (`make fuzz`); without it there are as many as a gate has time for, and the
same ones in every run.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

Json = Any
TIMES = int(os.environ.get("FUZZ_TIMES", "1"))
# What was tried, by kind: told at the end of the run.
TRIED: Counter[str] = Counter()

# Names, numbers and times at the edges of what is allowed, and beyond.
EDGES: tuple[Json, ...] = (
    None,
    True,
    0,
    -1,
    2**31,
    2**53,
    2**63,
    2**64,
    -(2**63) - 1,
    10**400,
    0.1,
    -0.0,
    1e-320,
    1.7976931348623157e308,
    "",
    " ",
    "0",
    "-0",
    "1e400",
    "1E-400",
    "1e999999999",
    "NaN",
    "sNaN",
    "Infinity",
    "-Infinity",
    "0x10",
    "1_000",
    "١٢٣",
    "1" * 5_000,
    "x" * 70_000,
    "\x00",
    "\ud800",
    "\u202e",
    "\U0001f600" * 50,
    "live:12345",
    "live:",
    "CASH:USD",
    "a#b",
    "../x",
    "{x}",
    "__proto__",
    "0000-00-00",
    "9999-12-31T23:59:59.999Z",
    "10000-01-01T00:00:00Z",
    "2026-02-30",
    "2026-W09-4",
    "2026-02-26T10:30:00+99:99",
    [],
    {},
    [[]],
    [None],
    {"": ""},
)
# Beyond what JSON of Python's own writing can hold.
RAW_EDGES = (
    "",
    " ",
    "null",
    "0",
    '"text"',
    "[]",
    "{}",
    "{",
    "[" * 10_000,
    "[" * 10_000 + "]" * 10_000,
    '{"a":' * 10_000,
    '{"keys":' + "[" * 2_000 + "]" * 2_000 + "}",
    "NaN",
    "[NaN]",
    "-",
    "1e999999999",
    "[1e999999999]",
    "-0.0e-0",
    '{"a":1,"a":2}',
    '{"symbol":"\\ud800"}',
    "\ufeff{}",
    '"\\u0000"',
    "\x00",
    "{}garbage",
    "{'a': 1}",
)

_leaves = st.one_of(
    st.sampled_from(EDGES).map(deepcopy),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=True).map(str),
    st.text(max_size=40),
)
values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def inputs(count: int) -> settings:
    """So many examples, times ``FUZZ_TIMES``. What fails is shown with the line that repeats it."""
    return settings(
        max_examples=count * TIMES,
        deadline=None,
        database=None,
        derandomize="FUZZ_TIMES" not in os.environ,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def tried(kind: str) -> None:
    """Counts one input."""
    TRIED[kind] += 1


@st.composite
def changed(draw: st.DrawFn, samples: Sequence[Json]) -> Json:
    """A sample in which one to three things were replaced, left out, renamed, repeated or wrapped."""
    whole = [deepcopy(draw(st.sampled_from(samples)))]
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(list(_places(whole))))
        _change(draw, holder, key)
        if not whole:
            return None
    return whole[0]


def text(samples: Sequence[Json]) -> st.SearchStrategy[str]:
    """Bodies: changed samples and any JSON as text, what is no JSON, and no text that anybody would write."""
    documents = st.one_of(changed(samples), changed(samples), values)
    return st.one_of(documents.map(json.dumps), st.sampled_from(RAW_EDGES), documents.flatmap(_damaged), st.text())


def _damaged(document: Json) -> st.SearchStrategy[str]:
    """Cut off, or with something between."""
    written = json.dumps(document, ensure_ascii=True)
    at = st.integers(0, len(written))
    return st.one_of(
        at.map(lambda end: written[:end]),
        st.tuples(at, st.text(min_size=1, max_size=3)).map(lambda two: written[: two[0]] + two[1] + written[two[0] :]),
    )


def _places(whole: Json) -> list[tuple[Any, Any]]:
    """Every place of a document: what holds it, and under which key."""
    found: list[tuple[Any, Any]] = []
    for key, inner in whole.items() if isinstance(whole, dict) else enumerate(whole):
        found.append((whole, key))
        if isinstance(inner, dict | list):
            found += _places(inner)
    return found


def _change(draw: st.DrawFn, holder: Any, key: Any) -> None:  # noqa: ANN401 (JSON)
    kind = draw(st.sampled_from(("replace", "replace", "edge", "edge", "drop", "rename", "repeat", "wrap", "text")))
    if kind == "replace":
        holder[key] = draw(values)
    elif kind == "edge":
        holder[key] = deepcopy(draw(st.sampled_from(EDGES)))
    elif kind == "drop":
        del holder[key]
    elif kind == "wrap":
        holder[key] = draw(st.sampled_from(([holder[key]], {"x": holder[key]})))
    elif kind == "text":
        holder[key] = json.dumps(holder[key])
    elif isinstance(holder, dict):
        holder[draw(st.text(max_size=8))] = holder.pop(key) if kind == "rename" else deepcopy(holder[key])
    else:
        holder += [deepcopy(holder[key])] * draw(st.sampled_from((1, 2, 1_500)))


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many inputs there were, where anybody asked for more than the gate's."""
    if TRIED and "FUZZ_TIMES" in os.environ:
        terminalreporter.section("inputs")
        for kind, count in sorted(TRIED.items()):
            terminalreporter.write_line(f"{count:>8,}  {kind}")
        terminalreporter.write_line(f"{sum(TRIED.values()):>8,}  in all")
