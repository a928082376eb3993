"""Which symbols may have open orders."""

from tests.contract.hot.backends import Backend


def test_only_hinted_symbols_are_told_whatever_is_asked(backend: Backend) -> None:
    store = backend.store
    assert store.hinted(["AAPL", "M&M"]) == set()
    store.hint(["AAPL", "M&M"])
    store.hint(["AAPL"])
    assert store.hinted([]) == set()
    assert store.hinted([f"S{number}" for number in range(250)] + ["AAPL", "M&M"]) == {"AAPL", "M&M"}


def test_a_hint_that_is_taken_back_is_gone_and_one_that_is_not_there_may_be_too(backend: Backend) -> None:
    store = backend.store
    store.hint(["AAPL", "MSFT"])
    store.unhint(["AAPL", "KO"])
    assert store.hinted(["AAPL", "MSFT", "KO"]) == {"MSFT"}
