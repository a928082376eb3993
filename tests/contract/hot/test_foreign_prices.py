"""Hashes that somebody else writes into ``market:{symbol}``, with bid, ask, last, ts, open and previous_close only."""

from collections.abc import Iterator
from decimal import Decimal

import pytest
import redis

from foliostream.adapters.redis_connection import SHARDS_KEY, RedisConnection
from foliostream.adapters.redis_prices import RedisPrices
from foliostream.domain.price import Price, PriceUpdate

TS = 1_772_101_800_000
# The same time in every form that publishers write.
FORMS = [str(TS), "2026-02-26T10:30:00Z", "2026-02-26T10:30:00.000Z", "2026-02-26t10:30:00.000z",
         "2026-02-26T16:00:00.000000+05:30", "2026-02-26 08:30:00-02:00"]  # fmt: skip


@pytest.fixture
def publisher(empty_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(empty_url, decode_responses=True, protocol=2) as client:
        yield client


@pytest.fixture
def prices(empty_url: str) -> Iterator[RedisPrices]:
    connection = RedisConnection(empty_url, shards=0)
    yield RedisPrices(connection)
    connection.close()


def write(publisher: "redis.Redis", ts: str, **fields: str) -> None:
    publisher.hset("market:AAPL", mapping=fields | {"ts": ts})


def last(price: str, ts_ms: int) -> PriceUpdate:
    return PriceUpdate("AAPL", ts_ms, last=Decimal(price))


@pytest.mark.parametrize("ts", FORMS)
def test_its_time_is_that_of_its_quote_and_its_last(prices: RedisPrices, publisher: "redis.Redis", ts: str) -> None:
    write(publisher, ts, bid="150.1", ask="150.2", last="150.15")
    read = prices.get(["AAPL"])["AAPL"]
    assert read == Price(Decimal("150.1"), Decimal("150.2"), TS, 0, Decimal("150.15"), TS, 0)


@pytest.mark.parametrize("ts", FORMS)
def test_an_older_update_does_not_replace_it_and_an_equal_or_newer_one_does(
    prices: RedisPrices, publisher: "redis.Redis", ts: str
) -> None:
    write(publisher, ts, last="150.15")
    assert prices.put([last("149", TS - 1)]) == [False]
    assert prices.get(["AAPL"])["AAPL"].last == Decimal("150.15")
    assert prices.put([last("151", TS)]) == [True]
    assert prices.put([last("152", TS + 1)]) == [True]
    assert prices.get(["AAPL"])["AAPL"] == Price(last=Decimal(152), last_ts_ms=TS + 1)


def test_what_it_writes_between_reading_and_merging_is_not_lost(prices: RedisPrices, publisher: "redis.Redis") -> None:
    write(publisher, str(TS), bid="1", ask="2", last="1.5")
    read = prices.get(["AAPL"])["AAPL"]
    write(publisher, str(TS + 7), bid="3", ask="4", last="3.5")
    assert prices.put([PriceUpdate("AAPL", TS, bid=read.bid, ask=read.ask, last=read.last)]) == [False]
    newer = Price(Decimal(3), Decimal(4), TS + 7, 0, Decimal("3.5"), TS + 7, 0)
    assert prices.get(["AAPL"])["AAPL"] == newer
    assert prices.put([PriceUpdate("AAPL", TS + 7, bid=newer.bid, ask=newer.ask, last=newer.last)]) == [True]
    assert prices.get(["AAPL"])["AAPL"] == newer


def test_a_last_of_ours_keeps_the_time_of_its_quote(prices: RedisPrices, publisher: "redis.Redis") -> None:
    prices.put([last("1", TS - 5)])
    write(publisher, str(TS), bid="3", ask="4")
    assert prices.put([last("2", TS + 5)]) == [True]
    assert prices.get(["AAPL"])["AAPL"] == Price(Decimal(3), Decimal(4), TS, 0, Decimal(2), TS + 5, 0)


def test_its_time_says_nothing_of_a_part_that_it_has_not(prices: RedisPrices, publisher: "redis.Redis") -> None:
    write(publisher, str(TS), last="3")
    assert prices.put([PriceUpdate("AAPL", TS - 9, bid=Decimal(1), ask=Decimal(2))]) == [True]
    assert prices.get(["AAPL"])["AAPL"] == Price(Decimal(1), Decimal(2), TS - 9, 0, Decimal(3), TS, 0)


def test_what_ours_and_theirs_write_in_turns_is_always_the_newest(
    prices: RedisPrices, publisher: "redis.Redis"
) -> None:
    for number in range(1, 6):
        write(publisher, str(TS + 10 * number), last=str(number))
        assert prices.put([last(str(number), TS + 10 * number)]) == [True]
        assert prices.put([last("99", TS + 10 * number - 1)]) == [False]
        assert prices.get(["AAPL"])["AAPL"].last == number


@pytest.mark.parametrize("ts", ["", "yesterday", "-5", "2026-02-26T10:30:00", "1e12"])
def test_an_unreadable_time_is_older_than_any(prices: RedisPrices, publisher: "redis.Redis", ts: str) -> None:
    write(publisher, ts, last="150")
    assert prices.get(["AAPL"])["AAPL"].last_ts_ms == 0
    assert prices.put([last("151", TS)]) == [True]
    assert prices.get(["AAPL"])["AAPL"] == Price(last=Decimal(151), last_ts_ms=TS)


@pytest.mark.parametrize("amount", ["", "N/A", "NaN", "inf", "1,5"])
def test_an_unreadable_amount_is_missing(prices: RedisPrices, publisher: "redis.Redis", amount: str) -> None:
    write(publisher, str(TS), last=amount, bid="1", ask="2")
    assert prices.get(["AAPL"])["AAPL"].last is None
    assert prices.get(["AAPL"])["AAPL"].bid == 1


def test_a_store_of_somebody_else_gets_no_key_of_ours(prices: RedisPrices, publisher: "redis.Redis") -> None:
    prices.get(["AAPL"])
    assert publisher.exists(SHARDS_KEY) == 0
