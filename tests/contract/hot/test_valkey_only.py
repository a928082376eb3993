"""What only Redis and Valkey can get wrong: key names, giant sets, moved slots, lost connections and answers."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import redis
from botocore.session import Session

from foliostream.adapters.redis_connection import Command, RedisConnection
from foliostream.adapters.redis_holders import KEYS_PER_PART, RedisHolders
from foliostream.adapters.redis_hot_store import RedisHotStore
from foliostream.adapters.redis_iam import RENEW_AFTER_SECONDS, ElastiCacheToken
from foliostream.adapters.redis_portfolios import RedisPortfolios
from foliostream.domain.keys import shard_of
from foliostream.domain.price import PriceUpdate
from foliostream.errors import RetryableError, SettingsError
from foliostream.ports import Promised
from tests.contract.hot import million_holders
from tests.contract.hot.backends import NOW_MS, SHARDS
from tests.contract.hot.samples import candidate, portfolio
from tests.fakes.clock import FakeClock
from tests.support.servers import wait_until
from tests.support.valkey import valkey_server

MILLION = 1_000_000


@pytest.fixture
def direct(empty_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(empty_url, decode_responses=True, protocol=2) as client:
        yield client


@pytest.fixture
def connection(empty_url: str) -> Iterator[RedisConnection]:
    opened = RedisConnection(empty_url, shards=SHARDS)
    yield opened
    opened.close()


def test_keys_have_the_names_people_know(connection: RedisConnection, direct: "redis.Redis") -> None:
    store = RedisHotStore(connection, FakeClock(NOW_MS))
    store.put([PriceUpdate("AAPL", NOW_MS, 4, bid=Decimal("150.10"), ask=Decimal("150.30"))])
    store.put([PriceUpdate("AAPL", NOW_MS + 1, last=Decimal("150.20"), open=Decimal(149), previous_close=Decimal(148))])
    store.add("live:12345", ["AAPL"])
    store.put_book(portfolio())
    store.save([candidate()])
    store.watch("12345", "c1", NOW_MS)
    assert direct.hgetall("market:AAPL") == {
        "bid": "150.10",
        "ask": "150.30",
        "quote_ts": str(NOW_MS),
        "quote_seq": "4",
        "last": "150.20",
        "last_ts": str(NOW_MS + 1),
        "last_seq": "0",
        "open": "149",
        "previous_close": "148",
        "open_ts": str(NOW_MS + 1),
        "previous_close_ts": str(NOW_MS + 1),
        "ts": str(NOW_MS + 1),
    }
    tag = f"{{s{shard_of('12345', SHARDS)}}}:12345"
    assert set(direct.keys()) == {
        "market:AAPL",
        "symbol_holders:AAPL:live",
        "foliostream:shards",
        *(f"{kind}:{tag}" for kind in ("book", "edition", "head", "snapshot", "watchers")),
    }
    assert direct.smembers("symbol_holders:AAPL:live") == {"live:12345"}


def test_a_price_of_before_opens_had_times_is_read(connection: RedisConnection, direct: "redis.Redis") -> None:
    direct.hset("market:AAPL", mapping={"last": "150", "last_ts": str(NOW_MS), "last_seq": "0", "open": "149"})
    found = RedisHotStore(connection, FakeClock(NOW_MS)).get(["AAPL"])["AAPL"]
    assert (found.open, found.open_ts_ms, found.open_at_ms) == (149, 0, NOW_MS)


def test_an_open_that_somebody_else_wrote_is_as_old_as_their_price_and_not_as_ours_was(
    connection: RedisConnection, direct: "redis.Redis"
) -> None:
    store = RedisHotStore(connection, FakeClock(NOW_MS))
    store.put([PriceUpdate("AAPL", NOW_MS, last=Decimal(400), open=Decimal(396), previous_close=Decimal(392))])
    direct.hset("market:AAPL", mapping={"last": "100", "open": "99", "previous_close": "98", "ts": str(NOW_MS + 5)})
    found = store.get(["AAPL"])["AAPL"]
    assert (found.open, found.open_at_ms, found.previous_close_at_ms) == (99, NOW_MS + 5, NOW_MS + 5)
    store.put([PriceUpdate("AAPL", NOW_MS + 7, last=Decimal(101), previous_close=Decimal(97))])
    found = store.get(["AAPL"])["AAPL"]
    assert (found.open, found.open_ts_ms, found.previous_close_ts_ms) == (99, NOW_MS + 5, NOW_MS + 7)


def test_a_symbol_with_very_many_holders_comes_in_bounded_parts(
    connection: RedisConnection, direct: "redis.Redis"
) -> None:
    everybody = {f"live:{number}" for number in range(30_000)}
    direct.sadd("symbol_holders:AAPL:live", *everybody)
    direct.sadd("symbol_holders:MSFT:live", "live:other")
    parts = list(RedisHolders(connection).holders(["AAPL", "MSFT"], "live"))
    assert {key for part in parts for key in part} == everybody | {"live:other"}
    assert max(map(len, parts)) < 2 * KEYS_PER_PART


def test_a_price_of_a_symbol_with_a_million_holders_takes_less_than_300_mb(
    empty_url: str, direct: "redis.Redis"
) -> None:
    for start in range(0, MILLION, 10_000):
        keys = [f"live:portfolio-{number:07d}" for number in range(start, start + 10_000)]
        direct.sadd("symbol_holders:HOT:live", *keys)
    run = subprocess.run(
        [sys.executable, "-m", million_holders.__name__, empty_url, "HOT"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    marked, bundles, used_mb = map(int, run.stdout.split())
    assert marked == MILLION
    assert bundles >= MILLION / 500
    assert used_mb < 300


def test_a_save_clears_ended_leases_away(connection: RedisConnection, direct: "redis.Redis") -> None:
    store = RedisPortfolios(connection, FakeClock(NOW_MS))
    store.watch("12345", "ended", NOW_MS)
    store.watch("12345", "live", NOW_MS + 1)
    store.save([candidate()])
    assert direct.hgetall(f"watchers:{{s{shard_of('12345', SHARDS)}}}:12345") == {"live": str(NOW_MS + 1)}


class _AnswersLost(RedisConnection):
    """Every command is sent again, as when its first answer was lost on the way."""

    def call_all(self, commands: Sequence[Command]) -> list[Any]:
        super().call_all(commands)
        return super().call_all(commands)


def test_a_save_whose_answer_was_lost_still_tells_the_watchers(empty_url: str) -> None:
    unlucky = _AnswersLost(empty_url, shards=SHARDS)
    store = RedisPortfolios(unlucky, FakeClock(NOW_MS))
    store.watch("12345", "c1", NOW_MS + 1)
    [saved] = store.save([candidate()])
    assert (saved.written, saved.watchers) == (True, ["c1"])
    unlucky.close()


def test_connections_that_the_server_closed_are_made_again(connection: RedisConnection, direct: "redis.Redis") -> None:
    store = RedisHotStore(connection, FakeClock(NOW_MS))
    store.put_book(portfolio())
    direct.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert store.load(["12345"])["12345"].book is not None


@pytest.mark.parametrize("cluster", [True, False])
def test_a_server_that_stopped_is_a_retryable_error(tmp_path: Path, *, cluster: bool) -> None:
    with valkey_server(tmp_path, cluster=cluster) as url:
        opened = RedisConnection(url, shards=SHARDS)
        store = RedisHotStore(opened, FakeClock(NOW_MS))
        store.put_book(portfolio())
    started = time.monotonic()
    for attempt in (lambda: store.load(["12345"]), lambda: store.save([candidate()]), lambda: store.get(["AAPL"])):
        with pytest.raises(RetryableError):
            attempt()
    with pytest.raises(RetryableError):
        list(store.holders(["AAPL"], "live"))
    assert time.monotonic() - started < 20
    opened.close()


def test_a_server_that_was_never_there_is_a_retryable_error() -> None:
    store = RedisHotStore(RedisConnection("redis://127.0.0.1:1", shards=SHARDS), FakeClock(NOW_MS))
    with pytest.raises(RetryableError):
        store.put_book(portfolio())


def test_slots_that_moved_to_another_node_are_followed(tmp_path: Path) -> None:
    with ExitStack() as stack:
        urls = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            urls.append(stack.enter_context(valkey_server(tmp_path / name, slots=name == "one")))
        one, two = (stack.enter_context(redis.Redis.from_url(url, protocol=2)) for url in urls)
        ids = [str(node.execute_command("CLUSTER MYID").decode()) for node in (one, two)]
        place = urlsplit(urls[1])
        bus = two.config_get("cluster-port")["cluster-port"]
        one.execute_command("CLUSTER MEET", place.hostname, place.port, bus)
        wait_until(lambda: two.execute_command("CLUSTER INFO")["cluster_state"] == "ok", "the second node joins")
        opened = RedisConnection(urls[0], shards=SHARDS)
        stack.callback(opened.close)
        store = RedisHotStore(opened, FakeClock(NOW_MS))
        symbols = [f"S{number}" for number in range(50)]
        store.load(["12345"])  # the client knows the cluster as it was
        for slot in {one.execute_command("CLUSTER KEYSLOT", f"market:{symbol}") for symbol in symbols}:
            for node in (two, one):
                node.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[1])
        assert store.put([PriceUpdate(symbol, NOW_MS, last=Decimal(1)) for symbol in symbols]) == [True] * 50
        assert len(store.get(symbols)) == 50
        assert two.dbsize() == 50


class _Seconds:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def session() -> Session:
    made = Session()
    made.set_credentials("AKIDEXAMPLE", "secret", "session-token")
    made.set_config_variable("region", "eu-west-1")
    return made


def test_the_iam_password_is_a_signed_connect_request_for_the_cache(session: Session) -> None:
    url = "rediss://folio-abc.serverless.euw1.cache.amazonaws.com:6379"
    user, token = ElastiCacheToken("app@folio", url, session=session).get_credentials()
    place, query = token.split("?")
    signed = parse_qs(query)
    assert (user, place) == ("app", "folio/")
    assert (signed["Action"], signed["User"], signed["ResourceType"]) == (["connect"], ["app"], ["ServerlessCache"])
    assert (signed["X-Amz-Expires"], signed["X-Amz-SignedHeaders"]) == (["900"], ["host"])
    assert "/eu-west-1/elasticache/aws4_request" in signed["X-Amz-Credential"][0]
    assert signed["X-Amz-Security-Token"] == ["session-token"]


def test_the_iam_password_of_a_cluster_of_ones_own_names_no_resource_type(session: Session) -> None:
    url = "rediss://folio.abc.clustercfg.euw1.cache.amazonaws.com"
    _, token = ElastiCacheToken("app@folio", url, session=session).get_credentials()
    assert "ResourceType" not in parse_qs(token.split("?")[1])


def test_the_iam_password_is_signed_again_well_before_it_ends(session: Session) -> None:
    seconds = _Seconds()
    token = ElastiCacheToken("app@folio", "rediss://folio", session=session, monotonic=seconds)
    first = token.get_credentials()
    session.set_credentials("AKIDOTHER", "secret")
    seconds.now += RENEW_AFTER_SECONDS - 1
    assert token.get_credentials() == first
    seconds.now += 1
    assert "AKIDOTHER" in token.get_credentials()[1]


def test_an_iam_setting_without_a_cache_name_is_refused() -> None:
    with pytest.raises(SettingsError, match="PORTFOLIO_REDIS_IAM"):
        ElastiCacheToken("app", "rediss://folio")


def test_a_record_that_cannot_be_read_is_listed_without_its_message(
    connection: RedisConnection, direct: "redis.Redis"
) -> None:
    store = RedisHotStore(connection, FakeClock(NOW_MS))
    direct.hset("dirty:{s3}:live", "broken", "{")
    assert list(store.promised("live")) == [[Promised(3, "broken", 0, None)]]
