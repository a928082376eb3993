"""What the machine does meanwhile: memory and processor time of every function's workers and of the servers."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

SAMPLE_EVERY_S = 5.0
# A worker that grows by more than both of these from the middle to the end leaks.
GROWTH_PERCENT, GROWTH_MB = 15, 15.0
SERVERS = ("emulator", "valkey", "sockets (this process)")
_FUNCTION = re.compile(r"-([A-Za-z]+)Function-")
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Sample(NamedTuple):
    """``rss_mb``: the largest of a name's processes; ``cpu_s``: used so far by all of them; ``busy_s``: of the machine,
    over all cores."""

    at_s: float
    rss_mb: dict[str, float]
    cpu_s: dict[str, float]
    busy_s: float


class Watch:
    """Looks every few seconds, from a thread of its own. ``emulator`` is the parent of all workers."""

    def __init__(self, emulator: int, valkey: int) -> None:
        self._emulator, self._valkey = emulator, valkey
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.samples: list[Sample] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        self.samples.append(self._look())
        while not self._ended.wait(SAMPLE_EVERY_S):
            self.samples.append(self._look())
        self.samples.append(self._look())

    def _look(self) -> Sample:
        rss: defaultdict[str, float] = defaultdict(float)
        cpu: defaultdict[str, float] = defaultdict(float)
        for name, pid in self._processes():
            with suppress(OSError, ValueError):
                rss[name] = max(rss[name], _rss_mb(pid))
                cpu[name] += _cpu_s(pid)
        return Sample(time.monotonic(), dict(rss), dict(cpu), _busy_s())

    def _processes(self) -> Iterator[tuple[str, int]]:
        yield from zip(SERVERS, (self._emulator, self._valkey, os.getpid()), strict=True)
        for path in Path(f"/proc/{self._emulator}/task").glob("*/children"):
            with suppress(OSError):
                for child in path.read_text().split():
                    command = Path(f"/proc/{child}/cmdline").read_bytes().decode(errors="replace")
                    if found := _FUNCTION.search(command):
                        yield found[1], int(child)

    def memory(self) -> dict[str, tuple[float, float, float]]:
        """MB after the first tenth, in the middle and at the end, of what was there all the time."""
        chosen = [self.samples[len(self.samples) * part // 10] for part in (1, 5)] + [self.samples[-1]]
        names = set.intersection(*(set(sample.rss_mb) for sample in chosen))
        return {name: _three([sample.rss_mb[name] for sample in chosen]) for name in sorted(names)}

    def cores(self) -> dict[str, float]:
        """Cores that were busy on average, by name; "machine" is all of it."""
        first, last = self.samples[0], self.samples[-1]
        span_s = last.at_s - first.at_s
        used = {name: (cpu_s - first.cpu_s.get(name, 0)) / span_s for name, cpu_s in last.cpu_s.items()}
        return {"machine": (last.busy_s - first.busy_s) / span_s} | dict(
            sorted(used.items(), key=lambda item: -item[1])
        )


def leaks(memory: Mapping[str, tuple[float, float, float]]) -> list[str]:
    """Workers of functions that go on growing; the servers keep what they are told to."""
    return [
        f"a worker of {name} grew from {middle:.0f} to {end:.0f} MB"
        for name, (_, middle, end) in memory.items()
        if name not in SERVERS and end - middle > max(GROWTH_MB, middle * GROWTH_PERCENT / 100)
    ]


def _three(values: list[float]) -> tuple[float, float, float]:
    return values[0], values[1], values[2]


def _rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def _busy_s() -> float:
    """All but idle and waiting for input or output."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(fields) - fields[3] - fields[4]) / _TICKS_A_SECOND
