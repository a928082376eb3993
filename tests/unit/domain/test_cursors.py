"""Cursors lead back to where they were made, and only in their own list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliostream.domain import cursors
from foliostream.errors import CallerError


@given(st.text(max_size=128), st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True))
def test_a_cursor_is_safe_in_a_url_and_leads_back_to_its_position(list_name: str, position: str) -> None:
    cursor = cursors.encode(list_name, position)
    assert cursor.replace("-", "").replace("_", "").isalnum()
    assert cursors.decode(list_name, cursor) == position


@given(st.text(max_size=20), st.text(max_size=20), st.integers(1, 10**9))
def test_a_cursor_of_another_list_is_refused(one: str, other: str, position: int) -> None:
    if one == other:
        return
    with pytest.raises(CallerError) as refused:
        cursors.decode(other, cursors.encode(one, str(position)))
    assert refused.value.code == "INVALID_CURSOR"
