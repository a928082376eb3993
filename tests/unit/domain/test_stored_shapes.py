"""A release reads what the one before it wrote, and the one before reads what it writes: a canary and a rollback are
safe.

tests/samples has an item of each stored shape, with every field it had when the sample was made. When a shape grows (a
new field with a default; of compact ones at the end), its sample stays as it is and gets a second one beside it, named
``portfolio.2.json`` or so. What the last release expected is kept in tests/samples/last_release.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.support.decoders import described, fields_of, filled, rebuilt
from tests.support.stored import SAMPLES, STORED, last_release

FILES = sorted(path.name for path in SAMPLES.glob("*.json"))


def decoded(name: str, raw: bytes) -> Any:  # noqa: ANN401 (each its own type)
    return msgspec.json.decode(raw, type=STORED[name.partition(".")[0]])


def later(item: Any) -> Any:  # noqa: ANN401 (any JSON)
    """As a later release may write it: one more field, which is the last one of a compact item."""
    return [*item, "later"] if isinstance(item, list) else item | {"later": {"of": ["a", "later", "release"]}}


@pytest.mark.parametrize("name", FILES)
def test_an_item_that_a_release_before_has_stored_is_read(name: str) -> None:
    raw = (SAMPLES / name).read_bytes()
    again = msgspec.json.decode(msgspec.json.encode(decoded(name, raw)))
    assert holds(again, msgspec.json.decode(raw))


def holds(again: Any, written: Any) -> bool:  # noqa: ANN401 (any JSON)
    """Whether all that was written is there; there may be more fields, of compact items at the end. Null is a
    field that was not given."""
    if written is None:
        return True
    if isinstance(written, dict):
        return all(name in again and holds(again[name], value) for name, value in written.items())
    if isinstance(written, list):
        return len(again) >= len(written) and all(map(holds, again, written))
    return bool(again == written)


@pytest.mark.parametrize("name", FILES)
def test_a_field_that_only_the_next_release_knows_is_ignored(name: str) -> None:
    raw = (SAMPLES / name).read_bytes()
    assert decoded(name, msgspec.json.encode(later(msgspec.json.decode(raw)))) == decoded(name, raw)


def test_every_stored_shape_has_a_sample() -> None:
    assert {name.partition(".")[0] for name in FILES} == set(STORED)


@pytest.mark.parametrize("name", FILES)
def test_what_this_release_writes_the_one_before_reads(name: str) -> None:
    """As this release has it in memory and stores it again, with the fields the one before did not know."""
    shape = name.partition(".")[0]
    if shape not in last_release():
        pytest.skip("the last release did not store it")
    spec = last_release()[shape]
    written = msgspec.json.encode(decoded(name, (SAMPLES / name).read_bytes()))
    read = msgspec.json.decode(written, type=rebuilt(spec))
    now, before = json.loads(written), json.loads(msgspec.json.encode(read))
    assert filled(spec, before) == filled(spec, now)
    assert holds(now, before)


@pytest.mark.parametrize("shape", sorted(STORED))
def test_every_field_of_a_shape_is_in_one_of_its_samples(shape: str) -> None:
    spec = described(STORED[shape])
    samples = [json.loads((SAMPLES / name).read_text()) for name in FILES if name.partition(".")[0] == shape]
    assert fields_of(spec) - set().union(*(filled(spec, sample) for sample in samples)) == set()


def layouts(spec: Any) -> set[tuple[str, str]]:  # noqa: ANN401 (JSON)
    """Of a spec and all in it: names of shapes with how they are laid out."""
    if not isinstance(spec, list):
        return set()
    own = {(spec[1], spec[2])} if spec[0] == "fields" else set()
    return own.union(*map(layouts, [inner for _, inner, _ in spec[3]] if spec[0] == "fields" else spec[1:]))


@pytest.mark.parametrize("shape", sorted(STORED))
def test_whatever_is_in_a_stored_item_may_grow_which_a_named_tuple_may_not(shape: str) -> None:
    assert {name for name, layout in layouts(described(STORED[shape])) if layout == "tuple"} == set()
