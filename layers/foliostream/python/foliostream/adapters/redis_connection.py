"""One connection to Redis or Valkey: found out on first use whether it is a cluster, errors translated in one place.

Commands go out in pipelines, one per node. redis-py's own cluster pipeline asks the server for the keys of every
script call (a round trip each), so commands name their key here, and only what a node did not answer (a slot moved,
a connection lost) goes through the cluster client's redirects and retries. Every command of ours may be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, NamedTuple, TypeAlias

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry

from foliostream.errors import RetryableError, SettingsError

Client: TypeAlias = "redis.Redis | redis.RedisCluster"
Argument: TypeAlias = "str | bytes | int"

SHARDS_KEY = "foliostream:shards"
# A store in the same region answers in a millisecond. One that does not answer at all is given up after the first
# try and these retries: within 8 seconds, before the function's own timeout.
CONNECT_SECONDS_MAX = 1.0
ANSWER_SECONDS_MAX = 2.0
RETRIES_MAX = 2
# Replies of a pipeline are held in memory until its last one: at most this many commands in one.
PIPELINE_COMMANDS_MAX = 500


class Command(NamedTuple):
    """A command and the key (or one of the keys, all of one slot) that says where it belongs."""

    key: str
    arguments: tuple[Argument, ...]


def command(name: str, key: str, *arguments: Argument) -> Command:
    """A command whose first argument is its key."""
    return Command(key, (name, key, *arguments))


def script(text: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Command:
    """A script call that declares all its keys, of one slot. Sent as text: a thousand bytes more cost less than
    finding out that a node does not know the script."""
    return Command(keys[0], ("EVAL", text, len(keys), *keys, *arguments))


@contextmanager
def our_errors(doing: str) -> Iterator[None]:
    """The one place where a Redis error becomes one of ours. All are retryable: what a server refuses (loading, read
    only, out of memory, a failover) it may take later, and no answer says nothing about the request."""
    try:
        yield
    except (RedisError, RedisClusterException, OSError) as fault:
        raise RetryableError(f"Redis, {doing}: {type(fault).__name__}: {fault}") from fault


class RedisConnection:
    """Made cheaply, connected on first use; safe to share between threads.

    ``url``: ``redis://`` or ``rediss://``; ``iam``: empty, or ``user@cache-name`` for ElastiCache IAM authentication;
    ``shards``: fixed in the store by whoever connects first, ``SettingsError`` for anybody with another number; 0 for a
    store that is somebody else's, where nothing is written.
    """

    def __init__(self, url: str, *, shards: int, iam: str = "") -> None:
        self._url = url
        self._iam = iam
        self.shards = shards
        self._client: Client | None = None
        self._lock = Lock()

    def call_all(self, commands: Sequence[Command]) -> list[Any]:
        """The answers in the order of the commands, sent in bounded pipelines, one per node."""
        client = self._connected()
        answers: list[Any] = [None] * len(commands)
        for start in range(0, len(commands), PIPELINE_COMMANDS_MAX):
            chunk = range(start, min(start + PIPELINE_COMMANDS_MAX, len(commands)))
            with our_errors(commands[start].key):
                for node, indexes in _by_node(client, commands, chunk):
                    sent = _pipelined(node, [commands[index].arguments for index in indexes])
                    for index, answer in zip(indexes, sent, strict=True):
                        refused = isinstance(answer, Exception)
                        answers[index] = _again(client, commands[index], answer) if refused else answer
        return answers

    def close(self) -> None:
        """Give the sockets back; the next call connects again."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connected(self) -> Client:
        if self._client is None:
            with self._lock:
                if self._client is None:
                    with our_errors("connect"):
                        client = _connect(self._url, self._iam)
                        if self.shards:
                            _fix_shards(client, self.shards)
                    self._client = client
        return self._client


def options_of(url: str, iam: str) -> dict[str, Any]:
    """How a client of ours connects: bounded times, and the cache's own sign-in where there is one."""
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_SECONDS_MAX,
        "socket_timeout": ANSWER_SECONDS_MAX,
        "protocol": 2,  # nothing of RESP3 is used, and its handshake costs a cold start a round trip
        "driver_info": None,
    }
    if iam:
        from foliostream.adapters.redis_iam import ElastiCacheToken  # botocore only where it is used

        options["credential_provider"] = ElastiCacheToken(iam, url)
    return options


def _connect(url: str, iam: str) -> Client:
    options = options_of(url, iam)
    retry = Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), RETRIES_MAX)
    single = redis.Redis.from_url(url, retry=retry, **options)
    if not single.info("cluster").get("cluster_enabled"):
        return single
    single.close()
    return redis.RedisCluster.from_url(url, retry=retry, **options)


def _fix_shards(client: Client, shards: int) -> None:
    client.set(SHARDS_KEY, shards, nx=True)
    stored = int(client.get(SHARDS_KEY))  # type: ignore[arg-type]
    if stored != shards:
        raise SettingsError(
            f"PORTFOLIO_SHARDS: the hot store was filled with {stored} shards, the setting is {shards}; "
            "another number needs a rebuild of the store"
        )


def _by_node(
    client: Client, commands: Sequence[Command], chunk: Sequence[int]
) -> Iterator[tuple[redis.Redis, Sequence[int]]]:
    if isinstance(client, redis.Redis):
        yield client, chunk
        return
    cluster: Any = client  # these methods have no types
    nodes: dict[str, tuple[Any, list[int]]] = {}
    for index in chunk:
        node = cluster.get_node_from_key(commands[index].key)
        nodes.setdefault(node.name, (node, []))[1].append(index)
    for node, indexes in nodes.values():
        yield cluster.get_redis_connection(node), indexes


def _again(client: Client, one: Command, fault: Exception) -> object:
    """In a cluster, its answer by the client's redirects and retries; a single server has been retried already."""
    if isinstance(client, redis.Redis):
        raise fault
    answer: object = client.execute_command(*one.arguments)
    return answer


def _pipelined(node: redis.Redis, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
    """An answer or an exception for each."""
    pipeline = node.pipeline(transaction=False)
    for arguments in commands:
        pipeline.execute_command(*arguments)
    try:
        return list(pipeline.execute(raise_on_error=False))
    except RedisError as fault:  # the connection, so all of them
        return [fault] * len(commands)
