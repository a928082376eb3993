"""Daily closes: merged by date, on the fake and on DynamoDB."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import Decimal

import pytest

from foliostream.adapters.dynamodb_closes import DynamoDbCloses
from foliostream.domain.closes import MAX_CLOSES, RECENT_CLOSES, Closes
from foliostream.ports import PriceHistory
from tests.fakes.closes import FakeCloses
from tests.support.ministack import Emulator


@pytest.fixture(scope="module")
def pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(8)


@pytest.fixture(params=["fake", "dynamodb"])
def price_history(request: pytest.FixtureRequest, pool: ThreadPoolExecutor) -> PriceHistory:
    if request.param == "fake":
        return FakeCloses()
    emulator: Emulator = request.getfixturevalue("ministack")
    return DynamoDbCloses(emulator.dynamodb(), emulator.ledger_table(), pool)


def days(count: int, first: str = "2015-01-01") -> Closes:
    """A close a day."""
    start = date.fromisoformat(first)
    return {(start + timedelta(number)).isoformat(): Decimal(number + 1) for number in range(count)}


def test_closes_are_kept_exactly_and_in_the_order_of_their_dates(price_history: PriceHistory) -> None:
    assert price_history.all("AAPL") == {}
    given = {"2026-02-26": Decimal("150.250"), "2026-02-25": Decimal("0.0000000001"), "2025-12-31": Decimal(0)}
    kept = price_history.merge("AAPL", given)
    assert list(kept) == ["2025-12-31", "2026-02-25", "2026-02-26"]
    assert price_history.all("AAPL") == given
    assert list(price_history.all("AAPL")) == list(kept)


def test_a_dates_new_close_takes_the_place_of_its_old_one_and_the_others_stay(price_history: PriceHistory) -> None:
    price_history.merge("AAPL", {"2026-02-25": Decimal(1), "2026-02-26": Decimal(2)})
    price_history.merge("AAPL", {"2026-02-26": Decimal(3), "2026-02-27": Decimal(4)})
    expected = {"2026-02-25": Decimal(1), "2026-02-26": Decimal(3), "2026-02-27": Decimal(4)}
    assert price_history.all("AAPL") == expected
    assert price_history.merge("AAPL", {}) == expected
    assert price_history.merge("MSFT", {}) == {}


def test_only_the_newest_closes_are_kept(price_history: PriceHistory) -> None:
    many = days(MAX_CLOSES + 10)
    kept = price_history.merge("AAPL", many)
    assert kept == dict(list(many.items())[10:])
    assert price_history.all("AAPL") == kept
    assert price_history.merge("AAPL", {"2001-01-01": Decimal(7)}) == kept


def test_the_recent_closes_of_many_symbols_come_at_once(price_history: PriceHistory) -> None:
    many = days(RECENT_CLOSES + 5)
    symbols = [f"S{number}" for number in range(120)]
    for symbol in symbols:
        price_history.merge(symbol, many)
    recent = price_history.recent([*symbols, "UNKNOWN"])
    newest = dict(list(many.items())[5:])
    assert recent == dict.fromkeys(symbols, newest)
    assert price_history.recent([]) == {}


def test_two_writers_of_a_symbol_lose_nothing(ministack: Emulator, pool: ThreadPoolExecutor) -> None:
    table = ministack.ledger_table()
    writers = [DynamoDbCloses(ministack.dynamodb(), table, pool) for _ in range(3)]
    parts = [days(40, first) for first in ("2020-01-01", "2021-01-01", "2022-01-01")]
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda writer, part: writer.merge("AAPL", part), writers, parts))
    assert writers[0].all("AAPL") == {**parts[0], **parts[1], **parts[2]}
