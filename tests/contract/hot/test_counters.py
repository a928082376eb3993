"""Sums that outlive every function, kept in the hot store."""

from concurrent.futures import ThreadPoolExecutor

from foliostream.ports import Counted
from tests.contract.hot.backends import NOW_MS, Backend


def test_before_anything_is_counted_there_is_nothing(backend: Backend) -> None:
    assert backend.store.counted() == Counted(0, {})
    backend.store.count({"valued": 0})
    assert backend.store.counted() == Counted(0, {})


def test_figures_add_up_since_the_first_one(backend: Backend) -> None:
    backend.store.count({"valued": 3, "errors": 0})
    backend.clock.advance(5_000)
    backend.store.count({"valued": 4, "errors": 1})
    assert backend.store.counted() == Counted(NOW_MS, {"valued": 7, "errors": 1})


def test_many_at_once_lose_nothing(backend: Backend) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: backend.store.count({"valued": 1}), range(100)))
    assert backend.store.counted().sums == {"valued": 100}
