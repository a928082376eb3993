"""Snapshots under any book and any prices: what they sum to, and what their JSON never holds."""

from __future__ import annotations

import json
from decimal import Decimal, localcontext
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from foliostream.domain import money
from foliostream.domain.portfolio import Entry
from foliostream.domain.price import Price
from foliostream.domain.valuation import decode_state, encode_state, with_staleness
from tests.property.strategies import (
    INSTRUMENTS,
    SYMBOLS,
    History,
    histories,
    large,
    moderate,
    quotes,
    run,
    trades,
)
from tests.unit.domain.examples import NOW, STALE_AFTER_MS, empty, last, state, valued
from tests.unit.domain.watcher import Watcher, decoded

HALF_CENT = Decimal("0.005")
HALF_WEIGHT = Decimal("0.0000005")


def literals(raw: bytes) -> list[str]:
    """Every number of a document as it is written, also NaN and Infinity, which no JSON has."""
    found: list[str] = []

    def note(text: str) -> str:
        found.append(text)
        return text

    json.loads(raw, parse_float=note, parse_int=note, parse_constant=note)
    return found


@moderate
@given(histories(), quotes(complete=True))
def test_parts_sum_to_the_total_within_half_a_cent_each(history: History, at: dict[str, Price]) -> None:  # G5
    figures = state(history.after, at, instruments=INSTRUMENTS)
    parts = [item.market_value for item in figures.positions]
    assert figures.total_value is not None
    assert abs(sum(parts) - figures.total_value) <= HALF_CENT * (len(parts) + 1)
    profits = [item.unrealized_pnl for item in figures.positions if item.position_type != "CASH"]
    assert abs(sum(profits) - figures.unrealized_pnl) <= HALF_CENT * (len(profits) + 1)


@moderate
@given(histories(), quotes(complete=True))
def test_weights_with_cash_sum_to_one_within_half_a_unit_each(history: History, at: dict[str, Price]) -> None:  # G5
    figures = state(history.after, at, instruments=INSTRUMENTS)
    shown = {item.instrument_id: item.weight for item in figures.positions}
    if figures.weights is None:
        assert set(shown.values()) == {None}
        return
    assert shown == figures.weights
    assert abs(sum(figures.weights.values()) - 1) <= HALF_WEIGHT * len(figures.weights)


@moderate
@given(histories(), quotes(complete=True))
def test_every_figure_comes_from_the_one_book_and_the_one_set_of_prices(  # G5
    history: History, at: dict[str, Price]
) -> None:
    figures = state(history.after, at, instruments=INSTRUMENTS)
    assert figures.ledger_version == history.after.version
    with localcontext(money.EXACT):
        worth = history.after.cash["USD"]
        for item in figures.positions:
            if item.position_type != "CASH":
                held = history.after.positions[item.instrument_id]
                assert (item.mark, item.quantity) == (at[item.instrument_id].last, held.quantity)
                worth += held.quantity * held.multiplier * at[item.instrument_id].last
        assert figures.total_value == money.money(worth, "USD")


@moderate
@given(st.lists(trades(quantities=large, prices=large), max_size=6), st.lists(large, min_size=3, max_size=3))
def test_the_largest_totals_are_exact_to_the_cent(given_entries: list[Entry], lasts: list[Decimal]) -> None:  # G12
    portfolio = run(empty(allow_short=True), given_entries).after
    at = {symbol: last(str(price)) for symbol, price in zip(SYMBOLS, lasts, strict=True)}
    figures = state(portfolio, at, instruments=INSTRUMENTS)
    with localcontext(money.EXACT):
        parts = [
            held.quantity * held.multiplier * at[symbol].last for symbol, held in sorted(portfolio.positions.items())
        ]
        assert [item.market_value for item in figures.positions[:-1]] == [money.money(part, "USD") for part in parts]
        assert figures.total_value == money.money(portfolio.cash["USD"] + sum(parts), "USD")


@moderate
@given(histories(), quotes())
def test_what_has_no_price_is_listed_and_null_and_so_is_what_needs_it(  # G7
    history: History, at: dict[str, Price]
) -> None:
    figures = state(history.after, at, instruments=INSTRUMENTS)
    missing = sorted(set(history.after.positions) - set(at))
    assert figures.unpriced == missing
    assert (figures.total_value is None) == bool(missing)
    assert (figures.weights is None) >= bool(missing)
    for item in figures.positions:
        assert (item.market_value is None) == (item.instrument_id in missing)
    old = [name for name in history.after.positions if name in at and at[name].last_ts_ms < NOW - STALE_AFTER_MS]
    assert figures.stale == sorted(old)
    assert figures.calc_status == ("unpriced" if missing else "degraded" if old else "ok")


@moderate
@given(histories(), quotes(), st.sampled_from([0, 1, 2, 900_000, 900_001, 10**9]))
def test_staleness_derived_on_reading_is_what_a_valuation_then_would_say(  # G7
    history: History, at: dict[str, Price], later_ms: int
) -> None:
    found = valued(history.after, at, instruments=INSTRUMENTS)
    then = state(history.after, at, instruments=INSTRUMENTS, read_at_ms=NOW + later_ms)
    derived = with_staleness(found.state, {}, STALE_AFTER_MS, NOW + later_ms)
    assert (derived.stale, derived.calc_status) == (then.stale, then.calc_status)
    if NOW + later_ms < found.snapshot.fresh_until_ms:
        assert derived == found.state


@moderate
@given(histories(), quotes())
def test_no_exponent_no_float_and_no_nan_is_ever_on_the_wire(history: History, at: dict[str, Price]) -> None:  # G12
    raw = encode_state(state(history.after, at, instruments=INSTRUMENTS))
    for text in literals(raw):
        assert text.removeprefix("-").replace(".", "", 1).isdigit(), text
        assert len(text.partition(".")[2]) <= 10, text
        assert not (text.startswith("-") and not Decimal(text)), "negative zero"


@moderate
@given(histories(), quotes())
def test_a_state_comes_back_from_the_wire_as_it_was(history: History, at: dict[str, Price]) -> None:
    figures = state(history.after, at, instruments=INSTRUMENTS)
    assert decode_state(encode_state(figures)) == figures
    assert encode_state(decode_state(encode_state(figures))) == encode_state(figures)


@moderate
@given(st.lists(st.tuples(histories(), quotes()), min_size=1, max_size=4))
def test_a_watcher_has_the_newest_state_after_every_update(steps: list[tuple[History, dict[str, Price]]]) -> None:
    watcher = Watcher()
    for number, (history, at) in enumerate(steps):
        newest = encode_state(state(history.after, at, instruments=INSTRUMENTS, read_at_ms=NOW + number))
        watcher.sees(newest)
        assert watcher.state == decoded(newest)


@moderate
@given(histories(), quotes())
def test_what_a_watcher_is_sent_has_no_exponent_and_no_nan(history: History, at: dict[str, Price]) -> None:  # G12
    sent: list[Any] = []
    watcher = Watcher(on_message=sent.append)
    watcher.sees(encode_state(state(history.start, {}, instruments=INSTRUMENTS)))
    watcher.sees(encode_state(state(history.after, at, instruments=INSTRUMENTS)))
    assert 1 <= len(sent) <= 2, "a snapshot, and an update if there was anything to tell"
    for raw in sent:
        assert not [text for text in literals(raw) if not text.removeprefix("-").replace(".", "", 1).isdigit()]


@moderate
@given(histories(), quotes(), st.integers(0, 2**53), st.integers(0, 2**53))
def test_versions_rise(history: History, at: dict[str, Price], previous: int, read_at_ms: int) -> None:  # G6
    read_at_ms = min(read_at_ms, NOW)
    figures = state(history.after, at, instruments=INSTRUMENTS, read_at_ms=read_at_ms, previous_version=previous)
    assert figures.version > previous
    assert figures.version >= read_at_ms
