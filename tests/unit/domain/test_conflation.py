"""What a newer update may stand for: leaving covered updates out ends in the same price."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from foliostream.domain.conflation import covers, newest
from foliostream.domain.price import Price, PriceUpdate, merge

amounts = st.none() | st.integers(1, 3).map(Decimal)
updates = st.builds(
    PriceUpdate,
    st.sampled_from(["A", "B"]),
    st.integers(1, 3),
    st.integers(0, 1),
    bid=amounts,
    ask=amounts,
    last=amounts,
    open=amounts,
    previous_close=amounts,
).filter(lambda update: update.has_quote or update.last is not None)


def stored(given_updates: list[PriceUpdate], symbol: str) -> Price | None:
    price: Price | None = None
    for update in given_updates:
        if update.symbol == symbol:
            price = merge(price, update) or price
    return price


def parts(price: Price | None) -> tuple[object, ...]:
    return () if price is None else (price.bid, price.ask, price.quote_ts_ms, price.last, price.last_ts_ms)


@given(st.lists(updates, max_size=8))
def test_quote_and_last_end_as_if_nothing_had_been_left_out(given_updates: list[PriceUpdate]) -> None:
    kept = newest(given_updates)
    for symbol in ("A", "B"):
        assert parts(stored(kept, symbol)) == parts(stored(given_updates, symbol))


@given(st.lists(updates, max_size=40))
def test_what_stays_is_bounded_by_the_parts_an_update_can_carry(given_updates: list[PriceUpdate]) -> None:
    assert len(newest(given_updates)) <= 2 * 12


def test_a_newer_last_stands_for_an_older_last_and_not_for_a_quote() -> None:
    old, quote, new = (
        PriceUpdate("A", 1, last=Decimal(1)),
        PriceUpdate("A", 2, bid=Decimal(1)),
        PriceUpdate("A", 3, last=Decimal(2)),
    )
    assert covers(new, old)
    assert not covers(new, quote)
    assert newest([old, quote, new]) == [quote, new]


def test_of_a_full_tie_the_later_arrival_stays() -> None:
    first, second = (PriceUpdate("A", 1, last=Decimal(value)) for value in (1, 2))
    assert newest([first, second]) == [second]
