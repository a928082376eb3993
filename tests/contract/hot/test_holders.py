"""Who depends on a symbol."""

from foliostream.ports import Holders


def keys_of(holders: Holders, symbols: list[str], account_type: str = "live") -> list[str]:
    return [key for part in holders.holders(symbols, account_type) for key in part]


def test_a_symbol_nobody_holds_has_no_holders(holders: Holders) -> None:
    assert keys_of(holders, ["AAPL"]) == []
    assert keys_of(holders, []) == []


def test_a_portfolio_is_found_under_each_of_its_symbols(holders: Holders) -> None:
    holders.add("live:12345", ["AAPL", "MSFT"])
    assert keys_of(holders, ["AAPL"]) == ["live:12345"]
    assert keys_of(holders, ["MSFT"]) == ["live:12345"]
    assert keys_of(holders, ["TSLA"]) == []


def test_adding_again_changes_nothing(holders: Holders) -> None:
    holders.add("live:12345", ["AAPL"])
    holders.add("live:12345", ["AAPL"])
    holders.add("live:12345", [])
    assert keys_of(holders, ["AAPL"]) == ["live:12345"]


def test_account_types_are_kept_apart(holders: Holders) -> None:
    holders.add("live:12345", ["AAPL"])
    holders.add("demo:12345", ["AAPL"])
    assert keys_of(holders, ["AAPL"], "live") == ["live:12345"]
    assert keys_of(holders, ["AAPL"], "demo") == ["demo:12345"]
    assert keys_of(holders, ["AAPL"], "paper") == []


def test_the_holders_of_several_symbols_come_together(holders: Holders) -> None:
    holders.add("live:1", ["AAPL"])
    holders.add("live:2", ["MSFT"])
    holders.add("live:3", ["AAPL", "MSFT"])
    assert set(keys_of(holders, ["AAPL", "MSFT", "AAPL"])) == {"live:1", "live:2", "live:3"}


def test_a_portfolio_may_depend_on_very_many_symbols(holders: Holders) -> None:
    symbols = [f"S{number}" for number in range(300)]
    holders.add("live:12345", symbols)
    assert set(keys_of(holders, symbols)) == {"live:12345"}
    assert keys_of(holders, ["S299"]) == ["live:12345"]
