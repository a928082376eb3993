"""The environment is read once, whole, and every fault is named in one message."""

from __future__ import annotations

import pytest

from foliostream.errors import SettingsError
from foliostream.settings import ENVIRONMENT_NAMES, Settings
from tests.support.environment import ENVIRONMENT as GOOD
from tests.support.environment import URL


def fault(**changes: str | None) -> str:
    """What is said about the good environment with some variables changed, or taken away (None)."""
    changed = GOOD | {f"PORTFOLIO_{name}": value for name, value in changes.items()}
    with pytest.raises(SettingsError) as refused:
        Settings.read({name: value for name, value in changed.items() if value is not None})
    return refused.value.message


def test_a_whole_environment_is_read_into_types() -> None:
    settings = Settings.read(GOOD | {"PATH": "/bin", "AWS_REGION": "eu-west-1"})
    assert settings.window_ms == {"live": 200, "demo": 1000, "paper": 3000}
    assert settings.queues == f"{URL}-"
    assert (settings.shards, settings.hot_store, settings.jwt_leeway_seconds) == (64, "dynamodb", 30)


def test_the_names_are_those_and_no_others() -> None:
    assert set(GOOD) == ENVIRONMENT_NAMES


def test_an_unknown_name_is_a_fault_since_it_is_a_misspelt_one() -> None:
    assert fault(SHARD="64") == "settings: PORTFOLIO_SHARD: unknown setting"


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_missing_name_is_a_fault_also_where_it_may_be_empty(name: str) -> None:
    assert fault(**{name.removeprefix("PORTFOLIO_"): None}) == f"settings: {name}: missing"


def test_levels_are_one_number_or_one_an_account_type() -> None:
    settings = Settings.read(GOOD)
    assert settings.margin_call_percent == {"live": 100, "demo": 100, "paper": 100}
    assert settings.stop_out_percent == {"live": 50, "demo": 50, "paper": 40}


def test_an_empty_environment_names_every_variable_in_one_message() -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.read({})
    assert all(f"{name}: missing" in refused.value.message for name in GOOD)


def test_every_kind_of_fault_stands_in_the_one_message() -> None:
    said = fault(SHARDS="0", LEDGER_TABLE=None, TYPO="1", WINDOW_MS="live=200", HOT_STORE="valkey", SKEW_MS="-1")
    for name in ("SHARDS", "LEDGER_TABLE", "TYPO", "WINDOW_MS", "REDIS_URL", "SKEW_MS"):
        assert f"PORTFOLIO_{name}: " in said


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("HOT_STORE", "redis", "must be one of dynamodb, valkey, is 'redis'"),
        ("REDIS_URL", "http://cache:6379", "must be a redis:// or rediss:// address"),
        ("LEDGER_TABLE", "", "must not be empty"),
        ("USAGE_KEYS", "people=aaaaaaaaaaaaaaaaaaaa", "must name people, systems once each"),
        ("USAGE_KEYS", "people=tooshort,systems=aaaaaaaaaaaaaaaaaaaa", "must be keys of 20 to 128 letters and digits"),
        ("USAGE_KEYS", "people=with-dashes-in-between,systems=aaaaaaaaaaaaaaaaaaaa", "must be keys of 20 to 128"),
        ("SHARDS", "64.0", "must be a whole number from 1 to 16384, is '64.0'"),
        ("SHARDS", "", "must be a whole number"),
        ("SHARDS", "²", "PORTFOLIO_SHARDS"),
        ("SHARDS", "16385", "must be a whole number from 1 to 16384"),
        ("KEYS_PER_MESSAGE", "0", "must be a whole number from 1 to 2000"),
        ("WINDOW_MS", "live=200,demo=1000", "must name live, demo, paper once each"),
        ("WINDOW_MS", "live=200,demo=1000,paper=3000,paper=500", "once each"),
        ("WINDOW_MS", "live=200,demo=1000,paper=3000,more=500", "once each"),
        ("WINDOW_MS", "live=200,demo=1000,paper", "once each"),
        ("WINDOW_MS", "live=200,demo=x,paper=3000", "must be a whole number from 50 to 10000, is 'x'"),
        ("WINDOW_MS", "live=200,demo=1000,paper=30000", "must be a whole number from 50 to 10000"),
        ("QUEUES", "", "must be what the addresses of all queues begin with"),
        ("QUEUES", URL, "the dash included, is '"),
        ("QUEUES", "ftp://sqs/foliostream-", "must be what the addresses of all queues begin with"),
        ("FILLS_OWNER", " alice", "must be empty or at most 128 printable characters"),
        ("FILLS_OWNER", "a" * 129, "must be empty or at most 128 printable characters"),
        ("STARTING_CASH", "-1", "must be an amount of at most 15 digits and 6 decimals, is '-1'"),
        ("CLOSE_TIME_ZONE", "New York", "must be the name of a time zone"),
        ("MARKET_HOLIDAYS", "2026-02-30", "different dates such as"),
        ("MARKET_HOLIDAYS", "2026-12-25, 2027-01-01", "different dates such as"),
        ("MARKET_HOLIDAYS", "2026-12-25,2026-12-25", "different dates such as"),
        ("MARKET_HOLIDAYS", ",", "different dates such as"),
        ("MARKET_HOLIDAYS", ",".join(f"20{year}-12-25" for year in range(10, 41)), "at most 30"),
        ("CLOSE_TIME_ZONE", "../etc/passwd", "must be the name of a time zone"),
        ("STARTING_CASH", "NaN", "must be an amount"),
        ("PAPER_COSTS", "fee=0.05", "must name fee, slippage once each"),
        ("PAPER_COSTS", "fee=10,slippage=0", "must be a percentage from 0 to 9.9999, is '10'"),
        ("PAPER_COSTS", "fee=-1,slippage=0", "must be a percentage"),
        ("STARTING_CASH", "much", "must be an amount"),
        ("STARTING_CASH", "0.0000001", "must be an amount"),
        ("STARTING_CASH", "1e15", "must be an amount"),
        ("MARGIN_BASIS", "last", "must be one of current, open, mid, is 'last'"),
        ("MARGIN_CHECK", "demo,live", "must be empty or some of demo,paper, each once, is 'demo,live'"),
        ("MARGIN_CHECK", "demo,demo", "each once"),
        ("JWKS_URL", "https://[", "PORTFOLIO_JWKS_URL"),
        ("MARGIN_CALL_PERCENT", "0", "must be a percentage above 0 and at most 1000"),
        ("MARGIN_CALL_PERCENT", "1000.01", "must be a percentage above 0 and at most 1000"),
        ("MARGIN_CALL_PERCENT", "live=100,demo=100", "must name live, demo, paper once each"),
        ("STOP_OUT_PERCENT", "50.001", "must be a percentage above 0"),
        ("STOP_OUT_PERCENT", "half", "must be an amount"),
        ("STOP_OUT_PERCENT", "live=50,demo=100,paper=50", "100 of demo is not below the margin call at 100"),
        ("MARKET_PROVIDER", "yahoo", "must be one of none, replay, http"),
    ],
)
def test_an_invalid_value_is_named_with_what_it_must_be(name: str, value: str, says: str) -> None:
    said = fault(**{name: value})
    assert said.startswith(f"settings: PORTFOLIO_{name}: ")
    assert says in said


def test_valkey_needs_its_address_and_the_http_provider_its_own() -> None:
    assert fault(HOT_STORE="valkey") == "settings: PORTFOLIO_REDIS_URL: needed when PORTFOLIO_HOT_STORE is valkey"
    said = fault(MARKET_PROVIDER="http")
    assert said == "settings: PORTFOLIO_MARKET_HTTP_URL: needed when PORTFOLIO_MARKET_PROVIDER is http"


@pytest.mark.parametrize(("value", "checked"), [("", set()), ("paper", {"paper"}), ("demo,paper", {"demo", "paper"})])
def test_the_account_types_whose_margin_is_checked_are_a_list(value: str, checked: set[str]) -> None:
    assert Settings.read(GOOD | {"PORTFOLIO_MARGIN_CHECK": value}).margin_check == checked
