"""Notes and queue depths in memory."""

from __future__ import annotations

from collections.abc import Collection

from foliostream.errors import PermanentError, RetryableError
from foliostream.ports import Alarm, QueueDepth

NOTE_BYTES_MAX = 300_000


class FakeNotes:
    """Implements ``ports.Notes``; ``kept`` is open to tests."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def read(self, name: str) -> bytes | None:
        return self.kept.get(name)

    def read_all(self, names: Collection[str]) -> dict[str, bytes]:
        return {name: self.kept[name] for name in names if name in self.kept}

    def keep(self, name: str, note: bytes) -> None:
        if len(note) > NOTE_BYTES_MAX:
            raise PermanentError(f"note {name} is too large", code="NOTE_TOO_LARGE")
        self.kept[name] = note


class FakeAlarms:
    """Implements ``ports.Alarms``: what it was given; None: CloudWatch does not answer."""

    def __init__(self, *alarms: Alarm) -> None:
        self.known: list[Alarm] | None = list(alarms)

    def alarms(self) -> list[Alarm]:
        if self.known is None:
            raise RetryableError("CloudWatch, DescribeAlarms: no answer")
        return self.known


class FakeDepths:
    """Implements ``ports.QueueDepths``: what it was given."""

    def __init__(self, **depths: QueueDepth) -> None:
        self.known = depths

    def depths(self) -> dict[str, QueueDepth]:
        return dict(self.known)
