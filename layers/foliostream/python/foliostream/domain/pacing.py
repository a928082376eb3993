"""When a portfolio is valued later than at its window's end: because it asked for a longer interval, or because it
fails by itself. Pure; ``Pace`` is what is kept between two marks.

Only prices wait for the interval. What changes a book or its settings, a refresh, bulk work and the sweep do not: they
are rare, and a person may be waiting.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

UPDATE_INTERVAL_MS_MIN = 1_000
# A queue holds a message for 900 s at most.
UPDATE_INTERVAL_MS_MAX = 900_000
# Portfolios that become due at about the same time share a message: due times are rounded up to a tenth of the
# interval, and to a second at most.
GRID_MS_MIN = 100
GRID_MS_MAX = 1_000
# A grant that lies further ahead than machines may differ was written by a clock that was wrong.
CLOCK_AHEAD_MS_MAX = 5_000

# Retries within two minutes; then a dead letter, and one retry every quarter of an hour for a day.
RETRY_MS = (1_000, 3_000, 9_000, 27_000, 81_000)
RETRY_MS_SLOW = 900_000
RETRIES_BEFORE_DEAD_LETTER = len(RETRY_MS)
RETRIES_MAX = RETRIES_BEFORE_DEAD_LETTER + 96
# A retry that did not happen so long after its time is lost, and the next failure begins anew.
RETRY_LOST_AFTER_MS = 300_000


class Pace(Struct, frozen=True, array_like=True):
    """Kept for portfolios with an interval and for failing ones only. ``granted_ms``: when prices last had it valued;
    ``granted_for_ms``: the end of the window that was for; ``due_ms``: the delayed valuation that is promised.
    ``attempt`` counts the retries of a failing portfolio, 0 while it does not fail; ``retry_ms``: when the last of them
    is due. All in epoch milliseconds, 0 for none."""

    granted_ms: int = 0
    granted_for_ms: int = 0
    due_ms: int = 0
    attempt: int = 0
    retry_ms: int = 0


NO_PACE = Pace()


class Turn(NamedTuple):
    """What a price mark leads to. ``due_ms`` 0: value it now; otherwise not before then, and ``promise`` says whether
    somebody has to see to it."""

    pace: Pace
    due_ms: int = 0
    promise: bool = False


class Retry(NamedTuple):
    """What a failed valuation leads to. ``retry_ms`` 0: nothing is to be sent; ``give_up``: to the dead letters."""

    pace: Pace
    attempt: int = 0
    retry_ms: int = 0
    give_up: bool = False

    @property
    def failed_ms(self) -> int:
        """When the try failed that the last retry followed; the same for whoever repeats the decision."""
        return self.pace.retry_ms - _delay_ms(self.pace.attempt)


def price_turn(pace: Pace, interval_ms: int, window_end_ms: int, now_ms: int, *, again: bool) -> Turn:
    """Whether prices may have the portfolio valued now, for a mark of this window; ``again``: delivered before.

    A grant stands for its window, so that whoever takes over from one who died may value; a promise is made once, and
    once more by the same mark delivered again: the first time may have ended between the note and the message.
    """
    due_ms = _due(pace, interval_ms)
    if pace.granted_ms > now_ms + CLOCK_AHEAD_MS_MAX:
        return Turn(replace(pace, granted_ms=now_ms, granted_for_ms=window_end_ms, due_ms=0))
    if now_ms >= due_ms or window_end_ms <= pace.granted_for_ms:
        granted_for_ms = max(window_end_ms, pace.granted_for_ms)
        # Of two that value for one window the slower began earlier: it must not bring the next turn forward.
        granted_ms = max(now_ms, pace.granted_ms)
        return Turn(replace(pace, granted_ms=granted_ms, granted_for_ms=granted_for_ms, due_ms=0))
    if now_ms < pace.due_ms <= due_ms:
        return Turn(pace, pace.due_ms, promise=again)
    return Turn(replace(pace, due_ms=due_ms), due_ms, promise=True)


def after_failure(pace: Pace, attempt: int, now_ms: int, *, again: bool) -> Retry:
    """What follows a failed valuation by a message of this ``attempt`` (0: a mark, no retry); ``again``: delivered
    before. While one chain of retries is under way, no mark begins another."""
    if pace.attempt > attempt and now_ms < pace.retry_ms + RETRY_LOST_AFTER_MS:
        # A dead letter that somebody put back and that fails again must not vanish.
        give_up = attempt == RETRIES_BEFORE_DEAD_LETTER
        if again and pace.attempt == attempt + 1:
            return Retry(pace, pace.attempt, pace.retry_ms, give_up)
        return Retry(pace, give_up=give_up)
    if attempt >= RETRIES_MAX:
        return Retry(after_success(pace))
    retry_ms = now_ms + _delay_ms(attempt + 1)
    after = replace(pace, attempt=attempt + 1, retry_ms=retry_ms)
    return Retry(after, attempt + 1, retry_ms, give_up=attempt == RETRIES_BEFORE_DEAD_LETTER)


def after_success(pace: Pace) -> Pace:
    """It does not fail any more: the next failure begins anew, also with its own dead letter."""
    return replace(pace, attempt=0, retry_ms=0)


def _due(pace: Pace, interval_ms: int) -> int:
    grid_ms = min(max(interval_ms // 10, GRID_MS_MIN), GRID_MS_MAX)
    return -(-(pace.granted_ms + interval_ms) // grid_ms) * grid_ms


def _delay_ms(attempt: int) -> int:
    return RETRY_MS[attempt - 1] if attempt <= RETRIES_BEFORE_DEAD_LETTER else RETRY_MS_SLOW


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Pace)


def encode(pace: Pace) -> bytes:
    """A JSON array; equal paces give equal bytes."""
    return _encoder.encode(pace)


def decode(raw: bytes | str) -> Pace:
    """The inverse of ``encode``."""
    return _decoder.decode(raw)
