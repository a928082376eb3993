"""Whether the system works, and how far behind it is; for operators."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import msgspec

from foliostream.application.access import Caller
from foliostream.application.sweep import ENDED
from foliostream.domain.keys import ACCOUNT_TYPES
from foliostream.errors import FoliostreamError, NotFoundError
from foliostream.ports import Alarm, Alarms, Clock, Counters, DirtyRecords, Notes, QueueDepth, QueueDepths

log = logging.getLogger(__name__)

# Most that are named; they are always all counted.
USERS_MAX = 1_000
# The sweep ends every minute; three missing ones are no delay any more.
SWEEP_MISSING_MS = 180_000


@dataclass(frozen=True)
class Dirty:
    """Portfolios of an account type that are promised a valuation: the first ``USERS_MAX`` keys, how many there are,
    and how long ago the first of them was due: its window's end, or its record if that is later (None: none waits)."""

    account_type: str
    keys: list[str]
    count: int
    oldest_age_ms: int | None


@dataclass(frozen=True)
class Status:
    """``counted_since_ms``: 0 before anything was counted; ``swept_at_ms``: the last sweep without a fault;
    ``alarms``: None where they could not be read."""

    is_running: bool
    now_ms: int
    counted_since_ms: int
    swept_at_ms: int | None
    figures: dict[str, int]
    dirty: dict[str, Dirty]
    queues: dict[str, QueueDepth]
    alarms: list[Alarm] | None


@dataclass(frozen=True)
class Operations:
    """Reads what is on record and what is counted: a dirty portfolio costs some twenty bytes of reading, so that a
    million of them are an answer of seconds; the counters are a read, the queues a call each, the alarms a call now and
    then."""

    records: DirtyRecords
    counters: Counters
    queues: QueueDepths
    notes: Notes
    alarms: Alarms
    clock: Clock

    def status(self, caller: Caller) -> Status:
        """How the whole system is, of one moment; ``ForbiddenError`` without the scope ``admin``."""
        caller.require("admin")
        now_ms = self.clock.now_ms()
        ended = self.notes.read(ENDED)
        swept_at_ms = msgspec.json.decode(ended, type=int) if ended else None
        counted = self.counters.counted()
        return Status(
            is_running=swept_at_ms is not None and now_ms - swept_at_ms < SWEEP_MISSING_MS,
            now_ms=now_ms,
            counted_since_ms=counted.since_ms,
            swept_at_ms=swept_at_ms,
            figures=counted.sums,
            dirty={account_type: self._dirty(account_type) for account_type in ACCOUNT_TYPES},
            queues=self.queues.depths(),
            alarms=self._alarms(),
        )

    def dirty(self, caller: Caller, account_type: str) -> Dirty:
        """Scope ``admin``; ``NotFoundError`` for no account type."""
        caller.require("admin")
        if account_type not in ACCOUNT_TYPES:
            raise NotFoundError(
                f"no user type {account_type[:40]!r}: {', '.join(ACCOUNT_TYPES)}", code="UNKNOWN_USER_TYPE"
            )
        return self._dirty(account_type)

    def _alarms(self) -> list[Alarm] | None:
        """What else is known of a system in trouble is not held back because its alarms do not answer."""
        try:
            return self.alarms.alarms()
        except FoliostreamError as fault:
            log.warning("alarms not read: %s", fault.message)
            return None

    def _dirty(self, account_type: str) -> Dirty:
        keys: set[str] = set()
        oldest_ms: int | None = None
        for part in self.records.promised(account_type):
            for promise in part:
                if promise.message is None:
                    continue
                keys.update(promise.message.keys)
                since_ms = max(promise.recorded_at_ms, promise.message.window_end_ms)
                oldest_ms = since_ms if oldest_ms is None else min(since_ms, oldest_ms)
        age_ms = None if oldest_ms is None else max(self.clock.now_ms() - oldest_ms, 0)
        return Dirty(account_type, sorted(keys)[:USERS_MAX], len(keys), age_ms)
