"""Prices under any order of arrival."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from foliostream.domain import price
from foliostream.domain.price import Price, PriceUpdate
from tests.property.strategies import moderate, prices
from tests.unit.domain.examples import NOW, stock

ANYTHING = st.decimals(allow_nan=True, allow_infinity=True)
optional = st.one_of(st.none(), prices)


@st.composite
def updates(draw: st.DrawFn) -> PriceUpdate:
    return PriceUpdate(
        "AAPL",
        NOW + draw(st.integers(0, 3)),
        draw(st.integers(0, 2)),
        bid=draw(optional),
        ask=draw(optional),
        last=draw(optional),
        open=draw(optional),
    )


def merged(arrived: list[PriceUpdate]) -> Price | None:
    stored = None
    for update in arrived:
        stored = price.merge(stored, update) or stored
    return stored


@moderate
@given(st.lists(updates(), max_size=8))
def test_the_stored_last_is_the_latest_arrival_of_the_newest_order(arrived: list[PriceUpdate]) -> None:  # G6
    lasts = [update for update in arrived if update.last is not None]
    stored = merged(arrived)
    if not lasts:
        assert stored is None or stored.last is None
        return
    newest = max(update.order for update in lasts)
    assert stored is not None
    assert stored.last == [update.last for update in lasts if update.order == newest][-1]
    assert (stored.last_ts_ms, stored.last_seq) == newest


@moderate
@given(st.lists(updates(), max_size=8))
def test_both_sides_of_the_stored_quote_come_from_one_update(arrived: list[PriceUpdate]) -> None:
    stored = merged(arrived)
    if stored is not None and (stored.bid is not None or stored.ask is not None):
        sides = [
            (update.bid, update.ask) for update in arrived if update.order == (stored.quote_ts_ms, stored.quote_seq)
        ]
        assert (stored.bid, stored.ask) in sides


@moderate
@given(st.lists(updates(), min_size=1, max_size=8))
def test_everything_delivered_again_ends_in_the_same_marks(arrived: list[PriceUpdate]) -> None:  # G1
    orders = [update.order for update in arrived]
    if len(set(orders)) < len(orders):
        return  # a full tie is decided by arrival
    once, twice = merged(arrived), merged([*arrived, *arrived])
    assert (once is None) == (twice is None)
    if once is not None and twice is not None:
        assert (once.bid, once.ask, once.last) == (twice.bid, twice.ask, twice.last)


@moderate
@given(ANYTHING, ANYTHING, st.one_of(st.none(), ANYTHING), st.integers(-1, 2**60))
def test_whatever_comes_is_taken_or_refused_but_never_fails(  # G12
    bid: Decimal, ask: Decimal, last: Decimal | None, ts_ms: int
) -> None:
    update = PriceUpdate("AAPL", ts_ms, bid=bid, ask=ask, last=last)
    if price.refusal(update, stock(), NOW) is None:
        assert 0 < bid <= ask
        assert all(amount.is_finite() for amount in (bid, ask))
        assert last is None or last > 0
