"""When portfolios may be valued next: kept under compare-and-set."""

from concurrent.futures import ThreadPoolExecutor

from foliostream.domain.pacing import Pace
from foliostream.ports import HotStore, Paced
from tests.contract.hot.backends import NOW_MS

FIRST = Pace(NOW_MS, NOW_MS - 50)
SECOND = Pace(NOW_MS, NOW_MS - 50, NOW_MS + 60_000)
THIRD = Pace(NOW_MS + 60_000, NOW_MS + 60_000, 0, 3, NOW_MS + 9_000)


def test_a_portfolio_without_one_has_none(store: HotStore) -> None:
    assert store.paces(["p1", "p2"]) == {}
    assert store.paces([]) == {}
    assert store.pace([]) == []


def test_what_was_stored_is_read(store: HotStore) -> None:
    assert store.pace([Paced("p1", None, FIRST), Paced("p2", None, THIRD)]) == [True, True]
    assert store.paces(["p1", "p2", "p3"]) == {"p1": FIRST, "p2": THIRD}


def test_only_what_was_expected_is_replaced_and_each_is_judged_on_its_own(store: HotStore) -> None:
    store.pace([Paced("p1", None, FIRST), Paced("p2", None, FIRST)])
    changes = [Paced("p1", FIRST, SECOND), Paced("p2", THIRD, SECOND), Paced("p3", FIRST, SECOND)]
    assert store.pace(changes) == [True, False, False]
    assert store.paces(["p1", "p2", "p3"]) == {"p1": SECOND, "p2": FIRST}


def test_a_first_one_stands_only_where_there_is_none(store: HotStore) -> None:
    store.pace([Paced("p1", None, FIRST)])
    assert store.pace([Paced("p1", None, SECOND)]) == [False]
    assert store.paces(["p1"]) == {"p1": FIRST}


def test_a_write_that_is_repeated_after_its_answer_was_lost_stands(store: HotStore) -> None:
    for change in (Paced("p1", None, FIRST), Paced("p1", FIRST, SECOND)):
        assert store.pace([change]) == [True]
        assert store.pace([change]) == [True]
    assert store.paces(["p1"]) == {"p1": SECOND}


def test_a_thousand_portfolios_of_all_shards_at_once(store: HotStore) -> None:
    names = [f"p{number}" for number in range(1_000)]
    assert store.pace([Paced(name, None, FIRST) for name in names]) == [True] * 1_000
    changes = [Paced(name, FIRST if number % 2 else THIRD, SECOND) for number, name in enumerate(names)]
    assert store.pace(changes) == [bool(number % 2) for number in range(1_000)]
    found = store.paces(names)
    assert [found[name] for name in names] == [SECOND if number % 2 else FIRST for number in range(1_000)]


def test_of_many_who_promise_at_once_one_stands(store: HotStore) -> None:
    store.pace([Paced("p1", None, FIRST)])
    wanted = [Pace(NOW_MS, 0, NOW_MS + number) for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda after: store.pace([Paced("p1", FIRST, after)]), wanted))
    (winner,) = [after for after, (stands,) in zip(wanted, answers, strict=True) if stands]
    assert store.paces(["p1"]) == {"p1": winner}


def test_a_pace_is_no_book_and_no_snapshot(store: HotStore) -> None:
    store.pace([Paced("p1", None, FIRST)])
    assert store.read(["p1"]) == {}
    assert store.load(["p1"])["p1"] == (None, None)
