"""The market feed: which ticks a minute has, and what a tick publishes."""

from __future__ import annotations

from foliostream.ports import Clock, EventBus, FeedTimer, QuoteSource

MINUTE_MS = 60_000
UPDATES_PER_EVENT = 200


def on_minute(interval_seconds: int, *, clock: Clock, timer: FeedTimer, source: QuoteSource, bus: EventBus) -> int:
    """Serve one minute of ticks: the one that is due now, the later ones by delayed messages.

    Ticks are the multiples of the interval since 1970, so a schedule that fires late, twice or on two machines names
    the same ticks. Returns how many updates were published now.
    """
    now_ms = clock.now_ms()
    interval_ms = interval_seconds * 1000
    start = now_ms - now_ms % MINUTE_MS
    slots = range(-(-start // interval_ms), -(-(start + MINUTE_MS) // interval_ms))
    due = [slot for slot in slots if slot * interval_ms <= now_ms]
    for slot in slots:
        if slot * interval_ms > now_ms:
            timer.wake(slot, -(-(slot * interval_ms - now_ms) // 1000))
    return publish(due[-1], clock=clock, source=source, bus=bus) if due else 0


def publish(slot: int, *, clock: Clock, source: QuoteSource, bus: EventBus) -> int:
    """Publish one tick's quotes as ``market_price_update`` events; the number of updates."""
    quotes = source.quotes(slot, clock.now_ms())
    details = [{"updates": quotes[i : i + UPDATES_PER_EVENT]} for i in range(0, len(quotes), UPDATES_PER_EVENT)]
    if details:
        bus.publish("market_price_update", details)
    return len(quotes)
