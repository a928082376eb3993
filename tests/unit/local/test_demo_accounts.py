"""The sample accounts and the requests that open them."""

from decimal import Decimal

from foliostream.adapters.replay_quotes import ReplayQuotes
from local.demo_accounts import ACCOUNTS, opening, purchases

SAMPLE = ReplayQuotes()


def test_there_are_accounts_of_every_type_with_different_names_cash_and_holdings() -> None:
    assert {account.account_type for account in ACCOUNTS} == {"live", "demo", "paper"}
    assert len({account.portfolio_id for account in ACCOUNTS}) == len({account.name for account in ACCOUNTS}) == 12
    assert len({account.cash for account in ACCOUNTS}) == 12
    assert len({tuple(account.holdings.items()) for account in ACCOUNTS}) == 12


def test_every_stock_of_the_sample_is_held_and_nothing_else() -> None:
    assert {symbol for account in ACCOUNTS for symbol in account.holdings} == set(SAMPLE.symbols)


def test_the_requests_are_the_same_every_time_so_that_a_second_run_changes_nothing() -> None:
    for account in ACCOUNTS:
        assert opening(account) == opening(account)
        assert purchases(account, SAMPLE) == purchases(account, ReplayQuotes())


def test_transaction_ids_are_used_once() -> None:
    ids = [entry["transaction_id"] for account in ACCOUNTS for entry in purchases(account, SAMPLE)["updates"]]
    assert len(ids) == len(set(ids))


def test_holdings_are_bought_at_the_close_of_the_first_replayed_day_and_negative_ones_sold_short() -> None:
    pair = next(account for account in ACCOUNTS if account.portfolio_id == "sample-pair")
    request = purchases(pair, SAMPLE)
    assert request["timestamp"] == "2020-01-03T21:00:00Z"
    assert [(entry["transaction_type"], entry["quantity_change"], entry["price"]) for entry in request["updates"]] == [
        ("BUY", 300, Decimal("153.487")),
        ("SELL", -400, Decimal("73.702")),
    ]
    assert opening(pair)["settings"] == {"allow_short": True}
