"""Ids, symbols, currencies, and times in and out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from foliostream.domain import keys, times
from foliostream.errors import CallerError


@pytest.mark.parametrize("symbol", ["AAPL", "M&M", "BTC-USD", "7203.T", "NSE:SBIN", "A", "A" * 32, "BRK_B"])
def test_a_symbol_of_the_contract_is_taken(symbol: str) -> None:
    assert keys.symbol(symbol) == symbol


@pytest.mark.parametrize("symbol", ["", "aapl", "-A", "A" * 33, "A B", "CASH:USD", "CASH:", "AAPL\n", "Ä"])
def test_another_symbol_is_refused(symbol: str) -> None:
    with pytest.raises(CallerError):
        keys.symbol(symbol)


@pytest.mark.parametrize("name", ["12345", "a.b_c-D", "x" * 64])
def test_a_portfolio_id_of_the_contract_is_taken(name: str) -> None:
    assert keys.portfolio_id(name) == name
    assert keys.split_key(keys.portfolio_key("paper", name)) == ("paper", name)


@pytest.mark.parametrize("name", ["", "x" * 65, "a:b", "a b", "a/b", "12345\n", "é"])
def test_another_portfolio_id_is_refused_with_a_short_message(name: str) -> None:
    for check in (keys.portfolio_id, lambda raw: keys.split_key(f"live:{raw}")):
        with pytest.raises(CallerError) as refused:
            check(name)
        assert len(refused.value.message) < 200


@pytest.mark.parametrize("key", ["12345", "LIVE:12345", "other:12345", ":12345", "live:", "live", ""])
def test_a_key_without_a_known_account_type_is_none(key: str) -> None:
    with pytest.raises(CallerError):
        keys.split_key(key)


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (keys.currency, "USD", ["usd", "US", "USDT", "", "US1"]),
        (keys.transaction_id, "a:b|c.d-1", ["", "a b", "x" * 129, "a\n"]),
    ],
)
def test_currencies_and_transaction_ids_have_their_form(check: Callable[[str], str], good: str, bad: list[str]) -> None:
    assert check(good) == good
    for raw in bad:
        with pytest.raises(CallerError):
            check(raw)


@pytest.mark.parametrize(
    ("raw", "ms"),
    [
        ("2026-02-26T10:30:00Z", 1_772_101_800_000),
        ("2026-02-26t10:30:00z", 1_772_101_800_000),
        ("2026-02-26t16:00:00.00+05:30", 1_772_101_800_000),
        ("2026-02-26T10:30:00.250Z", 1_772_101_800_250),
        ("2026-02-26T10:30:00.999999Z", 1_772_101_800_999),
        ("2026-02-26T16:00:00+05:30", 1_772_101_800_000),
        (1_772_101_800_000, 1_772_101_800_000),
        (0, 0),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ],
)
def test_a_time_is_iso_with_its_offset_or_epoch_milliseconds(raw: str | int, ms: int) -> None:
    assert times.epoch_ms(raw) == ms


@pytest.mark.parametrize(
    "raw", ["2026-02-26T10:30:00", "2026-02-26", "", "soon", True, None, 1.5, -1, 253_402_300_800_000, "x" * 9999]
)
def test_another_time_is_refused_with_a_short_message(raw: object) -> None:
    with pytest.raises(CallerError) as refused:
        times.epoch_ms(raw)
    assert len(refused.value.message) < 150


@pytest.mark.parametrize("ms", [0, 1, 999, 1_772_101_800_250, 253_402_300_799_999])
def test_a_time_goes_out_in_utc_with_milliseconds_and_comes_back(ms: int) -> None:
    assert times.epoch_ms(times.iso(ms)) == ms
    assert times.iso(ms).endswith("Z")


def test_a_written_time_looks_like_this() -> None:
    assert times.iso(1_772_101_800_007) == "2026-02-26T10:30:00.007Z"
