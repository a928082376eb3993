"""What is looked at while the deployed system runs: versions of snapshots, and the emulator's processes."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

from foliostream.domain import snapshot as snapshots
from foliostream.ports import HotStore

PAUSE_S = 0.05


class Versions:
    """Looks at the snapshots all the time, and remembers every one that went back: in its version or in that of its
    book (``fallen``), or in one of its prices (``older_prices``); ``changes``: how many versions of each were seen."""

    def __init__(self, hot: HotStore, ids: list[str]) -> None:
        self._hot, self._ids = hot, ids
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._newest: dict[str, int] = {}
        self._quoted: dict[tuple[str, str], tuple[int, int]] = {}
        self.fallen: list[tuple[str, int, int]] = []
        self.older_prices: list[str] = []
        self.changes: Counter[str] = Counter()
        self.looks = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(PAUSE_S):
            with suppress(Exception):  # the store may be down just now
                self._look()

    def _look(self) -> None:
        for name, found in self._hot.read(self._ids).items():
            self._compare(name, found.head.version)
            self._compare(f"the book of {name}", found.head.ledger_version)
            for symbol, price in snapshots.decode(found.body).prices.items():
                before, order = self._quoted.get((name, symbol), (0, 0)), (price.last_ts_ms, price.last_seq)
                if order < before:
                    self.older_prices.append(f"{name} had {symbol} of {before}, then of {order}")
                self._quoted[name, symbol] = max(before, order)
        self.looks += 1

    def _compare(self, name: str, version: int) -> None:
        before = self._newest.get(name, 0)
        if version < before:
            self.fallen.append((name, before, version))
        self.changes[name] += version > before
        self._newest[name] = max(before, version)


def workers(parent: int, names: tuple[str, ...] = ()) -> Iterator[int]:
    """The emulator's child processes that run one of the functions; without names of any."""
    wanted = re.compile(f"-({'|'.join(names) or '[A-Za-z]+'})Function-")
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (path / "cmdline").read_bytes().decode()
            parent_id = (path / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent_id) == parent and wanted.search(command):
                yield int(path.name)


def resident_mb(pids: Iterable[int]) -> int:
    """Memory of processes that are still there."""
    found = (Path(f"/proc/{pid}/status") for pid in pids)
    lines = (line for path in found if path.exists() for line in path.read_text().splitlines())
    return round(sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024)


def descendants(root: int) -> list[int]:
    """A process and all that came of it."""
    found = [root]
    for pid in found:
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):  # it has ended meanwhile
                found += map(int, path.read_text().split())
    return found
