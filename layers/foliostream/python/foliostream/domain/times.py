"""UTC times: epoch milliseconds inside, ISO 8601 with ``Z`` outside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from foliostream.errors import CallerError

# What the scheduler writes the time of a run in place of; an emulator may hand it on as it is.
SCHEDULED_TIME = "<aws.scheduler.scheduled-time>"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
MAX_MS = 253_402_300_799_999  # the end of the year 9999


def iso(ms: int) -> str:
    """``2026-02-26T10:30:00.000Z``."""
    return (_EPOCH + timedelta(milliseconds=ms)).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


def epoch_ms(raw: str | int) -> int:
    """Epoch milliseconds, or an ISO 8601 time with its offset; raises ``CallerError`` on anything else."""
    if isinstance(raw, bool) or not isinstance(raw, str | int):
        raise CallerError(f"a time is ISO 8601 with an offset or epoch milliseconds, is {raw!r}")
    if isinstance(raw, int):
        ms = raw
    else:
        try:
            parsed = datetime.fromisoformat(raw.replace("z", "Z"))  # RFC 3339: either way
        except ValueError:
            parsed = None
        if parsed is None or parsed.tzinfo is None:
            raise CallerError(f"a time is ISO 8601 with an offset or epoch milliseconds, is {raw[:40]!r}")
        ms = (parsed - _EPOCH) // _MILLISECOND
    if not 0 <= ms <= MAX_MS:
        raise CallerError(f"a time lies between 1970 and 9999, is {str(raw)[:40]!r}")
    return ms


def scheduled_ms(raw: str, now_ms: int) -> int:
    """When a run was scheduled, epoch milliseconds: now, where the scheduler wrote no time. Errors as ``epoch_ms``."""
    return now_ms if raw == SCHEDULED_TIME else epoch_ms(raw)
