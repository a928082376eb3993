"""The newest price of every symbol, whatever order the updates come in."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foliostream.domain.price import Price, PriceUpdate, merge
from foliostream.ports import HotStore

TS = 1_700_000_000_000


def quote(bid: str | None, ask: str | None, ts_ms: int = TS, seq: int = 0) -> PriceUpdate:
    sides = [None if side is None else Decimal(side) for side in (bid, ask)]
    return PriceUpdate("AAPL", ts_ms, seq, bid=sides[0], ask=sides[1])


def last(price: str, ts_ms: int = TS, seq: int = 0) -> PriceUpdate:
    return PriceUpdate("AAPL", ts_ms, seq, last=Decimal(price))


def stored(store: HotStore) -> Price:
    return store.get(["AAPL"])["AAPL"]


def figures(store: HotStore, *names: str) -> tuple[object, ...]:
    price = stored(store)
    return tuple(getattr(price, name) for name in names)


def test_a_symbol_without_a_price_is_left_out(store: HotStore) -> None:
    store.put([last("150")])
    assert set(store.get(["AAPL", "MSFT"])) == {"AAPL"}
    assert store.get([]) == {}
    assert store.put([]) == []


def test_the_first_update_is_taken_with_all_it_carries(store: HotStore) -> None:
    update = PriceUpdate("AAPL", TS, 3, *map(Decimal, ("150.1", "150.2", "150.15", "149", "148")))
    assert store.put([update]) == [True]
    assert stored(store) == merge(None, update)


def test_a_symbol_may_have_every_allowed_character(store: HotStore) -> None:
    symbol = "M&M.B:X-1_"
    assert store.put([PriceUpdate(symbol, TS, last=Decimal(1))]) == [True]
    assert store.get([symbol])[symbol].last == 1


def test_an_older_update_is_refused(store: HotStore) -> None:
    assert store.put([last("150")]) == [True]
    assert store.put([last("149", TS - 1)]) == [False]
    assert stored(store).last == 150


def test_at_the_same_time_the_sequence_decides(store: HotStore) -> None:
    assert store.put([last("150", seq=7)]) == [True]
    assert store.put([last("149", seq=6)]) == [False]
    assert store.put([last("151", seq=8)]) == [True]
    assert stored(store).last == 151


def test_a_sequence_of_18_digits_is_compared_exactly(store: HotStore) -> None:
    large = 900_000_000_000_000_001
    assert store.put([last("150", seq=large)]) == [True]
    assert store.put([last("149", seq=large - 1)]) == [False]
    assert store.put([last("148", seq=95)]) == [False]
    assert store.put([last("151", seq=large + 1)]) == [True]
    assert stored(store).last_seq == large + 1


def test_a_newer_time_counts_more_than_a_larger_sequence(store: HotStore) -> None:
    assert store.put([last("150", seq=9)]) == [True]
    assert store.put([last("151", TS + 1, seq=0)]) == [True]
    assert stored(store).last == 151


def test_an_equal_order_is_taken_and_the_later_arrival_wins(store: HotStore) -> None:
    assert store.put([last("150", seq=1)]) == [True]
    assert store.put([last("151", seq=1)]) == [True]
    assert stored(store).last == 151


def test_quote_and_last_are_judged_apart(store: HotStore) -> None:
    assert store.put([last("150", TS + 10)]) == [True]
    assert store.put([quote("149.9", "150.1", TS)]) == [True]
    assert store.put([last("1", TS + 5)]) == [False]
    assert figures(store, "last", "last_ts_ms", "bid", "quote_ts_ms") == (150, TS + 10, Decimal("149.9"), TS)


def test_of_an_update_that_is_older_in_one_part_only_the_other_is_taken(store: HotStore) -> None:
    store.put([last("150", TS + 10)])
    both = PriceUpdate("AAPL", TS + 5, bid=Decimal(148), ask=Decimal(152), last=Decimal(140))
    assert store.put([both]) == [True]
    assert figures(store, "last", "bid") == (150, 148)
    newer_last = PriceUpdate("AAPL", TS + 12, bid=Decimal(149), last=Decimal(151))
    store.put([quote("148", "152", TS + 20)])
    assert store.put([newer_last]) == [True]
    assert figures(store, "last", "bid") == (151, 148)


def test_an_update_older_in_both_parts_changes_nothing(store: HotStore) -> None:
    store.put([quote("149", "151"), last("150")])
    before = stored(store)
    old = PriceUpdate("AAPL", TS - 1, 0, *map(Decimal, ("1", "2", "1.5", "3", "4")))
    assert store.put([old]) == [False]
    assert stored(store) == before


def test_a_missing_side_is_cleared_with_the_quote(store: HotStore) -> None:
    store.put([quote("149", "151"), quote(None, "152", TS + 1)])
    assert figures(store, "bid", "ask") == (None, 152)
    store.put([quote("148", None, TS + 2)])
    assert figures(store, "bid", "ask") == (148, None)


def test_open_and_previous_close_stay_until_an_accepted_update_brings_others(store: HotStore) -> None:
    store.put([PriceUpdate("AAPL", TS, last=Decimal(150), open=Decimal(149), previous_close=Decimal(148))])
    store.put([last("151", TS + 1)])
    store.put([PriceUpdate("AAPL", TS - 1, last=Decimal(1), open=Decimal(2), previous_close=Decimal(3))])
    assert figures(store, "open", "previous_close") == (149, 148)
    store.put([PriceUpdate("AAPL", TS + 2, last=Decimal(152), open=Decimal(150))])
    assert figures(store, "open", "previous_close") == (150, 148)


def test_open_and_previous_close_keep_the_time_of_what_brought_them(store: HotStore) -> None:
    store.put([PriceUpdate("AAPL", TS, last=Decimal(150), open=Decimal(149), previous_close=Decimal(148))])
    store.put([last("151", TS + 1), PriceUpdate("AAPL", TS + 2, last=Decimal(152), open=Decimal(150))])
    assert figures(store, "open_ts_ms", "previous_close_ts_ms", "last_ts_ms") == (TS + 2, TS, TS + 2)


def test_open_and_previous_close_of_an_update_that_is_older_in_one_part_are_left_out(store: HotStore) -> None:
    store.put([PriceUpdate("AAPL", TS, last=Decimal(150), open=Decimal(149), previous_close=Decimal(148))])
    late = PriceUpdate("AAPL", TS - 1, bid=Decimal(1), ask=Decimal(2), open=Decimal(3), previous_close=Decimal(4))
    assert store.put([late]) == [True]
    assert figures(store, "bid", "ask", "last") == (1, 2, 150)
    assert figures(store, "open", "previous_close") == (149, 148)


def test_a_price_of_zero_is_a_price(store: HotStore) -> None:
    store.put([PriceUpdate("AAPL", TS, bid=Decimal(0), last=Decimal(0))])
    assert figures(store, "bid", "last", "ask") == (0, 0, None)


def test_updates_of_one_symbol_in_one_call_apply_in_their_order(store: HotStore) -> None:
    updates = [last("150"), last("149", TS - 1), last("151"), last("152", TS + 1), last("148", TS)]
    assert store.put(updates) == [True, False, True, True, False]
    assert stored(store).last == 152


def test_more_updates_of_one_symbol_than_fit_a_call_apply_in_their_order(store: HotStore) -> None:
    assert store.put([last(str(number), TS + number) for number in range(1, 251)]) == [True] * 250
    assert stored(store).last == 250


def test_a_thousand_symbols_in_one_call(store: HotStore) -> None:
    updates = [PriceUpdate(f"S{number}", TS, last=Decimal(number)) for number in range(1_000)]
    assert store.put(updates) == [True] * 1_000
    found = store.get([update.symbol for update in updates])
    assert {symbol: price.last for symbol, price in found.items()} == {item.symbol: item.last for item in updates}


def test_of_eight_writers_of_one_symbol_the_newest_stays(store: HotStore) -> None:
    def write(writer: int) -> None:
        for step in range(10):
            number = step * 8 + (writer * 5) % 8
            part = "last" if number % 2 else "bid"
            update = PriceUpdate("AAPL", TS + number // 4, number % 4, **{part: Decimal(number)})
            store.put([update])

    with ThreadPoolExecutor(8) as writers:
        list(writers.map(write, range(8)))
    assert figures(store, "last", "last_ts_ms", "last_seq") == (79, TS + 19, 3)
    assert figures(store, "bid", "quote_ts_ms", "quote_seq") == (78, TS + 19, 2)


amounts = st.decimals(min_value=0, max_value=Decimal("999999999999999.9999999999"), places=10) | st.decimals(
    min_value=0, max_value=Decimal(999_999_999_999_999), places=0
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bid=amounts, ask=amounts, price=amounts, opened=amounts)
def test_fifteen_digits_and_ten_decimals_come_back_exactly(
    store: HotStore, bid: Decimal, ask: Decimal, price: Decimal, opened: Decimal
) -> None:
    store.put([PriceUpdate("EXACT", TS, bid=bid, ask=ask, last=price, open=opened)])
    found = store.get(["EXACT"])["EXACT"]
    assert (found.bid, found.ask, found.last, found.open) == (bid, ask, price, opened)


orders = st.tuples(st.integers(TS, TS + 2), st.integers(0, 2))
parts = st.sampled_from(
    [
        ("bid",),
        ("ask",),
        ("bid", "ask"),
        ("last",),
        ("bid", "last"),
        ("bid", "ask", "last", "open"),
        ("last", "previous_close"),
    ]
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(orders, parts), min_size=1, max_size=6))
def test_any_sequence_of_updates_ends_as_the_rule_says(
    store: HotStore, steps: list[tuple[tuple[int, int], tuple[str, ...]]], request: pytest.FixtureRequest
) -> None:
    counter = request.node.__dict__.setdefault("symbols", [0])
    counter[0] += 1
    symbol, expected, flags = f"RULE{counter[0]}", None, []
    updates = [
        PriceUpdate(symbol, ts_ms, seq, **dict.fromkeys(names, Decimal(number)))
        for number, ((ts_ms, seq), names) in enumerate(steps)
    ]
    for update in updates:
        merged = merge(expected, update)
        flags.append(merged is not None)
        expected = merged or expected
    assert store.put(updates) == flags
    assert store.get([symbol])[symbol] == expected
