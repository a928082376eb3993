"""Bundles on record that nobody came back to: their portfolios are marked again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from foliostream.application.comparing import Comparison
from foliostream.application.marking import Marker
from foliostream.application.sweep_report import SweepReport
from foliostream.domain.coalescing import MAX_ATTEMPTS, DirtyMessage
from foliostream.domain.keys import ACCOUNT_TYPES
from foliostream.ports import DirtyRecords, Promised, Queues

# A message comes back after 35 s when its function died, so one that is this old was most likely lost. If not, and it
# still waits in a long queue, its portfolios are valued once too often.
LATE_MS = 300_000
# Keys that are looked at before they are counted; where more are late, it was an outage and no crash.
LOOKED_AT_MAX = 5_000
# Records of one run: with 500 keys each a quarter of a million portfolios; the others are taken by the next run.
RECORDS_MAX = 500


@dataclass
class Promises:
    """What is on record: ``keys`` that are promised, ``late`` records by account type, ``oldest_ms`` by it."""

    keys: set[str] = field(default_factory=set)
    late: dict[str, list[Promised]] = field(default_factory=dict)


@dataclass(frozen=True)
class LatePromises:
    """Marks again first and forgets then: whoever dies in between leaves one promise too many.

    Whoever recorded a promise may have died before it was sent, and a newer price have done its work meanwhile: that is
    marked again too (those who watch may not have been told), but nothing was lost, so it is not counted. ``skew_ms``:
    what clocks may be apart.
    """

    records: DirtyRecords
    queues: Queues
    marker: Marker
    comparison: Comparison
    skew_ms: int

    def read(self, now_ms: int, late_ms: int) -> Promises:
        """All promises of all account types."""
        found = Promises()
        for account_type in ACCOUNT_TYPES:
            late: dict[str, Promised] = {}
            for part in self.records.promised(account_type):
                for promise in part:
                    found.keys.update(promise.message.keys if promise.message else ())
                    if len(late) < RECORDS_MAX and _is_late(promise, now_ms, late_ms):
                        late[promise.bundle_id] = promise
            found.late[account_type] = list(late.values())
        return found

    def resend(self, account_type: str, late: Iterable[Promised], report: SweepReport) -> None:
        """Under a new window, so that no deduplication id of the lost message swallows it; the union of the keys, cut
        anew, so that a bundle too large for its consumer gets smaller with the setting. After ``MAX_ATTEMPTS`` a
        bundle is a dead letter: a key in it may kill whoever values it."""
        by_attempt: dict[int, list[Promised]] = {}
        for promise in late:
            if promise.message is None:
                # Whose promise it was cannot be known; the comparison with the prices finds them.
                report.unreadable += 1
                self.records.forget(account_type, [(promise.shard, promise.bundle_id)])
            else:
                by_attempt.setdefault(promise.message.attempt, []).append(promise)
        for attempt, promises in by_attempt.items():
            keys = {key for promise in promises if promise.message for key in promise.message.keys}
            lost = keys - self._done_otherwise(promises, report)
            if attempt >= MAX_ATTEMPTS:
                self._give_up(account_type, promises, lost)
                report.given_up += len(lost)
            else:
                window = self.marker.window(account_type)
                self.marker.mark(account_type, keys, window, "sweep", attempt=attempt + 1)
                report.late += len(lost)
            report.overtaken += len(keys - lost)
            self.records.forget(account_type, [(promise.shard, promise.bundle_id) for promise in promises])

    def _done_otherwise(self, promises: Iterable[Promised], report: SweepReport) -> set[str]:
        due_ms: dict[str, int] = {}
        for promise in promises:
            if promise.message is not None:
                at_ms = max(promise.recorded_at_ms, promise.message.window_end_ms) - self.skew_ms
                due_ms |= {key: max(at_ms, due_ms.get(key, 0)) for key in promise.message.keys}
        return self.comparison.done_otherwise(dict(islice(due_ms.items(), LOOKED_AT_MAX)), report)

    def _give_up(self, account_type: str, promises: Iterable[Promised], lost: set[str]) -> None:
        for promise in promises:
            if promise.message is not None and not lost.isdisjoint(promise.message.keys):
                message = DirtyMessage(
                    promise.message.window,
                    promise.message.window_end_ms,
                    [key for key in promise.message.keys if key in lost],
                    "sweep",
                    attempt=promise.message.attempt,
                )
                self.queues.dead_letter(account_type, message, f"promised {MAX_ATTEMPTS + 1} times and never valued")


def _is_late(promise: Promised, now_ms: int, late_ms: int) -> bool:
    """The limit doubles with every attempt, from five minutes to an hour and a half: an outage of two hours gives
    nothing up."""
    if promise.message is None:
        return True
    limit_ms = late_ms << min(promise.message.attempt, MAX_ATTEMPTS)
    return max(promise.recorded_at_ms, promise.message.window_end_ms) + limit_ms <= now_ms
