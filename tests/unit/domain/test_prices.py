"""Which updates are refused, which of two prices is newer, and the mark of a stock."""

from __future__ import annotations

from decimal import Decimal

import pytest

from foliostream.domain import price
from foliostream.domain.instrument import Instrument, checked
from foliostream.domain.price import Mark, Price, PriceUpdate, Refused
from foliostream.errors import CallerError
from tests.unit.domain.examples import NOW, stock


def update(ts_ms: int = NOW, seq: int = 0, **amounts: str) -> PriceUpdate:
    return PriceUpdate("AAPL", ts_ms, seq, **{name: Decimal(value) for name, value in amounts.items()})


def refused(given: PriceUpdate, instrument: Instrument | None = None) -> Refused | None:
    return price.refusal(given, instrument or stock(), NOW)


def code(given: PriceUpdate, instrument: Instrument | None = None) -> str | None:
    refusal = refused(given, instrument)
    return refusal.code if refusal else None


def merged(*updates: PriceUpdate) -> Price:
    stored = None
    for one in updates:
        stored = price.merge(stored, one) or stored
    assert stored is not None
    return stored


def test_an_update_of_an_unregistered_symbol_is_refused() -> None:
    refusal = price.refusal(update(last="1"), None, NOW)
    assert refusal is not None
    assert (refusal.symbol, refusal.code) == ("AAPL", "UNKNOWN_SYMBOL")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (update(), "needs bid, ask or last"),
        (update(open="1"), "needs bid, ask or last"),
        (update(last="-1"), "last must not be negative"),
        (update(last="NaN"), "last must be a finite number"),
        (update(last="sNaN"), "last must be a finite number"),
        (update(bid="Infinity", ask="Infinity"), "bid must be a finite number"),
        (update(last="1", open="-1"), "open must not be negative"),
        (update(last="1", previous_close="NaN"), "previous_close must be a finite number"),
        (update(last="1.0000001"), "last has at most 6 decimals"),
        (update(last="1E15"), "last has at most 15 digits"),
        (update(last="1E-999999"), "last has at most 6 decimals"),
        (update(last="0"), "does not allow a price of zero"),
        (update(bid="0", ask="1"), "does not allow a price of zero"),
        (update(ts_ms=0, last="1"), "ts must be after 1970"),
        (update(ts_ms=NOW + 5001, last="1"), "more than 5000 ms ahead"),
    ],
)
def test_an_invalid_update_is_refused_saying_why(given: PriceUpdate, says: str) -> None:
    refusal = refused(given)
    assert refusal is not None
    assert refusal.code == "INVALID"
    assert says in refusal.message


def test_the_message_about_an_endless_number_is_short() -> None:
    refusal = refused(update(last="9" * 5000))
    assert refusal is not None
    assert len(refusal.message) < 120


def test_a_time_five_seconds_ahead_is_still_taken() -> None:
    assert code(update(ts_ms=NOW + 5000, last="1")) is None


def test_a_crossed_quote_is_refused_and_a_locked_one_taken() -> None:
    assert code(update(bid="10.01", ask="10")) == "CROSSED"
    assert code(update(bid="10", ask="10")) is None
    assert code(update(bid="10")) is None


def test_a_price_of_zero_is_a_price_where_the_instrument_allows_it() -> None:
    assert code(update(last="0"), stock(allow_zero=True)) is None


def test_an_open_of_zero_is_taken_since_it_only_means_none() -> None:
    assert code(update(last="1", open="0", previous_close="0")) is None


@pytest.mark.parametrize(("kind", "places"), [("stock", 6), ("cfd", 6), ("forex", 10)])
def test_a_price_has_the_decimals_of_its_kind(kind: str, places: int) -> None:
    tick = Decimal(1).scaleb(-places)
    assert code(update(last=str(tick)), stock(kind=kind)) is None
    assert code(update(last=str(tick / 10)), stock(kind=kind)) == "INVALID"


def test_an_instrument_may_say_how_many_decimals_its_price_has() -> None:
    assert code(update(last="1.01"), stock(price_decimals=2)) is None
    assert code(update(last="1.001"), stock(price_decimals=2)) == "INVALID"


@pytest.mark.parametrize(
    "changes",
    [
        {"price_decimals": -1},
        {"price_decimals": 11},
        {"contract_size": Decimal(0)},
        {"contract_size": Decimal(-1)},
        {"contract_size": Decimal("NaN")},
        {"max_age_seconds": 0},
        {"max_age_seconds": 2_592_001},
        {"currency": "usd"},
        {"base_currency": "EURO"},
        {"symbol": "CASH:USD"},
        {"symbol": "aapl"},
    ],
)
def test_an_instrument_that_prices_or_books_would_fail_on_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(CallerError):
        checked(stock(**changes))


def test_an_instrument_at_its_limits_is_taken() -> None:
    assert checked(stock(price_decimals=10, contract_size=Decimal("0.000001"), max_age_seconds=1, base_currency="EUR"))


def test_a_newer_price_replaces_and_an_older_one_is_refused() -> None:
    first = merged(update(NOW, last="10"))
    assert price.merge(first, update(NOW - 1, last="9")) is None
    newer = price.merge(first, update(NOW + 1, last="11"))
    assert newer is not None
    assert (newer.last, newer.last_ts_ms) == (11, NOW + 1)


def test_a_full_tie_is_taken_and_the_later_arrival_wins() -> None:
    assert merged(update(NOW, 3, last="10"), update(NOW, 3, last="12")).last == 12


def test_the_same_price_again_is_taken_so_that_its_dependents_are_marked_again() -> None:
    same = update(NOW, 3, last="10")
    assert price.merge(merged(same), same) is not None


def test_updates_of_one_time_are_ordered_by_their_sequence() -> None:
    stored = merged(update(NOW, 5, last="10"))
    assert price.merge(stored, update(NOW, 4, last="9")) is None
    assert merged(update(NOW, 5, last="10"), update(NOW, 6, last="11")).last == 11
    assert merged(update(NOW, 5, last="10"), update(NOW + 1, 0, last="11")).last == 11


def test_quote_and_last_are_judged_apart() -> None:
    stored = merged(update(NOW + 10, last="10"), update(NOW + 5, last="9", bid="8", ask="9"))
    assert (stored.last, stored.last_ts_ms) == (10, NOW + 10)
    assert (stored.bid, stored.ask, stored.quote_ts_ms) == (8, 9, NOW + 5)


def test_a_last_price_leaves_the_quote_as_it_is() -> None:
    stored = merged(update(NOW, bid="8", ask="9"), update(NOW + 1, last="10"))
    assert (stored.bid, stored.ask, stored.last) == (8, 9, 10)


def test_a_newer_quote_clears_the_side_it_does_not_have() -> None:
    stored = merged(update(NOW, bid="8", ask="9"), update(NOW + 1, bid="8.5"))
    assert (stored.bid, stored.ask) == (Decimal("8.5"), None)


def test_open_and_previous_close_stay_until_others_come() -> None:
    stored = merged(update(NOW, last="10", open="9", previous_close="8"), update(NOW + 1, last="11"))
    assert (stored.open, stored.previous_close) == (9, 8)
    stored = merged(update(NOW, last="10", open="9", previous_close="8"), update(NOW + 1, last="11", open="7"))
    assert (stored.open, stored.previous_close) == (7, 8)


def test_the_open_of_a_refused_update_is_refused_with_it() -> None:
    stored = merged(update(NOW, last="10", open="9"), update(NOW - 1, last="11", open="7"))
    assert stored.open == 9


def test_a_stock_is_marked_at_its_last_price_also_when_there_is_a_quote() -> None:
    assert price.mark(merged(update(NOW, last="10", bid="12", ask="13"))) == Mark(Decimal(10), NOW)


def test_without_a_last_price_the_middle_of_a_whole_quote_marks() -> None:
    assert price.mark(merged(update(NOW, bid="12", ask="13"))) == Mark(Decimal("12.5"), NOW)


@pytest.mark.parametrize("sides", [{"bid": "12"}, {"ask": "13"}])
def test_half_a_quote_marks_nothing(sides: dict[str, str]) -> None:
    assert price.mark(merged(update(NOW, **sides))) is None


def test_no_price_is_no_mark_and_zero_is_one() -> None:
    assert price.mark(None) is None
    assert price.mark(merged(update(NOW, last="0"))) == Mark(Decimal(0), NOW)
