"""Dependents as the repair sees and changes them."""

from tests.contract.hot.backends import Backend


def of(backend: Backend, symbol: str, account_type: str = "live") -> set[str]:
    return {key for part in backend.holders.holders([symbol], account_type) for key in part}


def test_what_is_missing_is_told_by_portfolio(backend: Backend) -> None:
    backend.holders.add("live:one", ["AAPL", "MSFT"])
    backend.holders.add("demo:two", ["AAPL"])
    needs = {"live:one": ["AAPL", "MSFT"], "demo:two": ["AAPL", "MSFT"], "paper:three": ["AAPL"], "live:none": []}
    assert backend.dependents.missing(needs) == {"demo:two": ["MSFT"], "paper:three": ["AAPL"]}
    assert backend.dependents.missing({}) == {}


def test_many_portfolios_are_compared_at_once(backend: Backend) -> None:
    needs = {f"live:p{number}": [f"S{symbol}" for symbol in range(5)] for number in range(100)}
    for key, symbols in list(needs.items())[:50]:
        backend.dependents.restore(key, symbols)
    assert set(backend.dependents.missing(needs)) == set(list(needs)[50:])


def test_what_is_restored_is_a_dependent_whatever_the_ledger_has(backend: Backend) -> None:
    backend.dependents.restore("live:one", ["AAPL", "MSFT"])
    backend.dependents.restore("live:one", ["AAPL"])
    assert (of(backend, "AAPL"), of(backend, "MSFT")) == ({"live:one"}, {"live:one"})


def test_what_is_removed_is_no_dependent_and_the_others_stay(backend: Backend) -> None:
    backend.holders.add("live:one", ["AAPL", "MSFT"])
    backend.holders.add("live:two", ["AAPL"])
    assert backend.dependents.remove("live:one", ["AAPL"], None)
    assert backend.dependents.remove("live:one", ["NEVER-HELD"], None)
    assert (of(backend, "AAPL"), of(backend, "MSFT")) == ({"live:two"}, {"live:one"})
