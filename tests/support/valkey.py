"""A real Valkey in cluster mode: one node with every slot, which refuses what crosses slots as a cluster does."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis

from local.services import HOST, base_environment, free_port, is_whole_cluster, valkey_command
from tests.support.servers import running


@contextmanager
def valkey_server(folder: Path, *, cluster: bool = True, slots: bool = True, port: int = 0) -> Iterator[str]:
    """The address of an empty server that keeps nothing on disk; in cluster mode it owns every slot, or none. With a
    port it is the one that was there before, started again."""
    port = port or free_port()
    command = valkey_command(folder, port, free_port() if cluster else None)
    with running(command, folder, lambda: _ready(port, cluster=cluster, slots=slots), base_environment()):
        yield f"redis://{HOST}:{port}"


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for the whole run; tests flush it (``redis.Redis.from_url(url).flushall()``) before they begin."""
    with valkey_server(tmp_path_factory.mktemp("valkey")) as url:
        yield url


def _ready(port: int, *, cluster: bool, slots: bool) -> bool:
    if cluster and slots:
        return is_whole_cluster(port)
    with suppress(redis.RedisError), redis.Redis(host=HOST, port=port, socket_timeout=2) as client:
        return bool(client.ping())
    return False
