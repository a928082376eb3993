"""Notes: kept under a name until the next one; on the fake and on DynamoDB."""

from __future__ import annotations

import pytest

from foliostream.adapters.dynamodb_notes import DynamoDbNotes
from foliostream.errors import PermanentError
from foliostream.ports import Notes
from tests.fakes.notes import FakeNotes
from tests.support.ministack import Emulator


@pytest.fixture(params=["fake", "dynamodb"])
def notes(request: pytest.FixtureRequest) -> Notes:
    if request.param == "fake":
        return FakeNotes()
    emulator: Emulator = request.getfixturevalue("ministack")
    return DynamoDbNotes(emulator.dynamodb(), emulator.table())


def test_a_note_is_read_as_it_was_kept_last(notes: Notes) -> None:
    assert notes.read("compare") is None
    notes.keep("compare", b"\x00first")
    notes.keep("repair", b"other")
    notes.keep("compare", bytes(range(256)))
    assert notes.read("compare") == bytes(range(256))
    assert notes.read("repair") == b"other"


def test_many_notes_are_read_together(notes: Notes) -> None:
    for number in range(130):
        notes.keep(f"margin:{number}", str(number).encode())
    wanted = [f"margin:{number}" for number in range(140)]
    assert notes.read_all(wanted) == {f"margin:{number}": str(number).encode() for number in range(130)}
    assert notes.read_all(["margin:none"]) == {}


def test_a_note_has_a_limit_that_is_named(notes: Notes) -> None:
    notes.keep("large", b"x" * 300_000)
    with pytest.raises(PermanentError) as refused:
        notes.keep("large", b"x" * 300_001)
    assert refused.value.code == "NOTE_TOO_LARGE"
    assert notes.read("large") == b"x" * 300_000
