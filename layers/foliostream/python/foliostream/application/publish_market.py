"""The market feed: which ticks a minute has, and what a tick publishes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from foliostream.application.reading import decoded
from foliostream.application.receiving import Received
from foliostream.errors import CallerError
from foliostream.ports import Clock, EventBus, FeedTimer, QuoteSource

MINUTE_MS = 60_000
UPDATES_PER_EVENT = 200
# A wake-up this late that a later tick has overtaken was delivered again after a failure: its quotes are history.
LATE_MS_MAX = 5_000


class _Wake(Struct):
    # Of the year 9999 with an interval of a second.
    slot: Annotated[int, Meta(ge=0, le=253_402_300_799)]


_wakes = msgspec.json.Decoder(_Wake)


def slots(received: Sequence[Received]) -> tuple[list[int], list[str]]:
    """The ticks that messages say are due, and the ids of those that cannot be read."""
    found, broken = [], []
    for item in received:
        try:
            found.append(decoded(_wakes, item.body).slot)
        except CallerError:
            broken.append(item.message_id)
    return found, broken


def on_minute(interval_seconds: int, *, clock: Clock, timer: FeedTimer) -> int:
    """The schedule's run: plan every tick of the next minute, by delayed messages; how many.

    Not of its own minute: a scheduler promises the minute it fires in, not the second. Ticks are the multiples of the
    interval since 1970, so a run that comes late or twice names the same ones.
    """
    now_ms = clock.now_ms()
    minute_ms = now_ms - now_ms % MINUTE_MS + MINUTE_MS
    return _plan(interval_seconds, minute_ms, minute_ms + MINUTE_MS, now_ms, timer)


def on_start(interval_seconds: int, *, clock: Clock, timer: FeedTimer, source: QuoteSource, bus: EventBus) -> int:
    """Begin at once, when no run of the schedule has planned yet: publish the newest tick, plan those left in this
    minute and, since the first run may only come with the next one, that minute's. How many updates were published."""
    now_ms = clock.now_ms()
    _plan(interval_seconds, now_ms + 1, now_ms - now_ms % MINUTE_MS + 2 * MINUTE_MS, now_ms, timer)
    return publish(now_ms // (interval_seconds * 1000), clock=clock, source=source, bus=bus)


def _plan(interval_seconds: int, from_ms: int, to_ms: int, now_ms: int, timer: FeedTimer) -> int:
    """Wake the feed for the ticks from ``from_ms`` to before ``to_ms``, none of which is past; how many."""
    interval_ms = interval_seconds * 1000
    slots = range(-(-from_ms // interval_ms), -(-to_ms // interval_ms))
    for slot in slots:
        timer.wake(slot, -(-(slot * interval_ms - now_ms) // 1000))
    return len(slots)


def on_wake(slot: int, interval_seconds: int, *, clock: Clock, source: QuoteSource, bus: EventBus) -> int:
    """A planned tick is due: publish it, unless later ticks have been published while it was lost; how many updates."""
    now_ms = clock.now_ms()
    interval_ms = interval_seconds * 1000
    if now_ms >= (slot + 1) * interval_ms and now_ms - slot * interval_ms > LATE_MS_MAX:
        return 0
    return publish(slot, clock=clock, source=source, bus=bus)


def publish(slot: int, *, clock: Clock, source: QuoteSource, bus: EventBus) -> int:
    """Publish one tick's quotes as ``market_price_update`` events; the number of updates."""
    quotes = source.quotes(slot, clock.now_ms())
    details = [{"updates": quotes[i : i + UPDATES_PER_EVENT]} for i in range(0, len(quotes), UPDATES_PER_EVENT)]
    if details:
        bus.publish("market_price_update", details)
    return len(quotes)
