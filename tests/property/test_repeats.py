"""Applying twice is applying once, at the level where requests are repeated."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from foliostream.domain.entries import Entry
from foliostream.errors import CallerError
from tests.property.strategies import moderate, movements, trades
from tests.unit.application.system import ALICE, System, new_portfolio

requests = st.lists(
    st.lists(
        st.one_of(trades(("AAPL", "MSFT")), movements()), min_size=1, max_size=4, unique_by=lambda e: e.transaction_id
    ),
    max_size=6,
)


def booked(given_requests: list[list[Entry]], times: int) -> bytes:
    system = System()
    system.portfolios.create(ALICE, new_portfolio("one"))
    seen: set[str] = set()
    for entries in given_requests:
        if seen & {entry.transaction_id for entry in entries}:
            continue
        seen |= {entry.transaction_id for entry in entries}
        for _ in range(times):
            with suppress(CallerError):
                system.portfolios.update(ALICE, "one", entries)
    return system.hot.books["one"]


@moderate
@given(requests)
def test_every_request_sent_three_times_is_booked_once(given_requests: list[list[Entry]]) -> None:  # G4
    assert booked(given_requests, 3) == booked(given_requests, 1)
