"""A rebuild's records and its messages to itself, in memory."""

from __future__ import annotations

from collections.abc import Collection

from foliostream.errors import ConflictError, RetryableError
from foliostream.ports import Rebuild, Segment


class FakeRebuildRecords:
    """Implements ``ports.RebuildRecords``."""

    def __init__(self) -> None:
        self._run: Rebuild | None = None

    def begin(self, run: Rebuild) -> None:
        self._run = run

    def current(self) -> Rebuild | None:
        return self._run and self._run._replace(segments=list(self._run.segments))

    def segment(self, run_id: str, bucket: int) -> Segment | None:
        return self._run.segments[bucket] if self._run and self._run.run_id == run_id else None

    def advance(self, run_id: str, before: Segment, after: Segment) -> None:
        stored = self.segment(run_id, after.bucket)
        if (
            self._run is None
            or stored is None
            or (stored.cursor, stored.is_finished) != (before.cursor, before.is_finished)
        ):
            raise ConflictError(f"segment {after.bucket} has moved on", code="SEGMENT_MOVED")
        self._run.segments[after.bucket] = after


class FakeRebuildQueue:
    """Implements ``ports.RebuildQueue``; ``waiting`` are (run id, bucket); ``failing`` makes the next sends fail."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, int]] = []
        self.failing = 0

    def send(self, run_id: str, buckets: Collection[int], *, delay_seconds: int = 0) -> None:
        if self.failing:
            self.failing -= 1
            raise RetryableError("the rebuild queue fails")
        if not 0 <= delay_seconds <= 900:
            raise ValueError(f"no queue delays by {delay_seconds} s")
        self.waiting += [(run_id, bucket) for bucket in buckets]
