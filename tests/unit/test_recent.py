"""What a container remembers stays within its bounds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from foliostream.recent import Recent


def test_the_oldest_go_when_there_are_too_many() -> None:
    recent: Recent[int] = Recent(2, 100)
    for number, name in enumerate("abc"):
        recent.put(name, number, 1)
    assert [recent.get(name) for name in "abc"] == [None, 1, 2]


def test_the_oldest_go_when_they_are_too_large_together() -> None:
    recent: Recent[int] = Recent(10, 100)
    for name in "abc":
        recent.put(name, 1, 50)
    assert [recent.get(name) for name in "abc"] == [None, 1, 1]


def test_what_is_larger_than_all_may_be_is_not_remembered() -> None:
    recent: Recent[int] = Recent(10, 100)
    recent.put("a", 1, 101)
    recent.put("b", 2, 100)
    assert (recent.get("a"), recent.get("b")) == (None, 2)


def test_what_is_put_again_counts_once_and_is_the_newest() -> None:
    recent: Recent[int] = Recent(10, 100)
    for name, size in (("a", 50), ("b", 50), ("a", 10), ("c", 40), ("d", 50)):
        recent.put(name, 1, size)
    assert [recent.get(name) for name in "abcd"] == [1, None, 1, 1]


def test_the_bounds_hold_between_threads() -> None:
    recent: Recent[int] = Recent(5, 50)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: recent.put(str(number % 40), number, 10), range(4_000)))
    assert sum(recent.get(str(number)) is not None for number in range(40)) == 5
