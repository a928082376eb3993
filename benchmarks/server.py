"""A Valkey server of our own, in cluster mode like production, that keeps nothing on disk."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local import services
from local.processes import Records, poll

_START_SECONDS_MAX = 30.0


@contextmanager
def valkey(home: Path) -> Iterator[str]:
    """Its address while inside. Recorded in ``home``, so `python -m local down` finds it after a crash."""
    port, records = services.free_port(), Records(home)
    folder = home / f"valkey-{port}"
    folder.mkdir(parents=True)
    command = services.valkey_command(folder, port, services.free_port())
    log = home / "logs" / "valkey.log"
    record = records.start("valkey", command, env=services.base_environment(), log=log, cwd=folder)
    try:
        if not poll(lambda: services.is_whole_cluster(port), _START_SECONDS_MAX):
            raise services.CloudError("Valkey did not answer", log)
        yield f"redis://{services.HOST}:{port}"
    finally:
        records.stop(record)
        shutil.rmtree(folder)
