"""The market feed: a schedule names the minute, delayed messages the ticks within it."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from foliostream import lambda_events
from foliostream.application.publish_market import on_minute, on_start, on_wake, slots
from foliostream.application.reading import asked
from foliostream.wiring import wiring


class _Ask(Struct):
    start: bool = False


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Records: ticks that are due; those that cannot be read come again. ``{"start": true}``: begin now. Anything else
    is the schedule.

    Without a provider there is nothing to do. A provider or bus that fails raises; the caller tries again.
    """
    parts = wiring()
    source = parts.quotes
    if source is None:
        return {"published": 0}
    interval_seconds = parts.settings.market_update_interval_seconds
    if "Records" in event:
        due, broken = slots(lambda_events.received(event))
        if due:
            on_wake(max(due), interval_seconds, clock=parts.clock, source=source, bus=parts.bus)
        return lambda_events.failures(broken)
    if asked(event, _Ask).start:
        published = on_start(interval_seconds, clock=parts.clock, timer=parts.feed_timer, source=source, bus=parts.bus)
        return {"published": published}
    return {"planned": on_minute(interval_seconds, clock=parts.clock, timer=parts.feed_timer)}
