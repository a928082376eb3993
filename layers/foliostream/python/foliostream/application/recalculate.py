"""A batch of dirty messages: one union of keys, valued in bulk; watchers marked; promises forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from foliostream.application.marking import Marker
from foliostream.application.pacing import Mark, Pacer
from foliostream.application.receiving import Opened, Received, wait_until_due
from foliostream.application.valuing import Pending, Valued, Valuer
from foliostream.domain import coalescing
from foliostream.domain.coalescing import DirtyMessage
from foliostream.domain.keys import split_key
from foliostream.errors import CallerError
from foliostream.ports import Clock


def recalculate(
    received: Sequence[Received],
    *,
    valuer: Valuer,
    pacer: Pacer,
    marker: Marker,
    clock: Clock,
    skew_ms: int,
    follow_up: Callable[[Sequence[Pending]], Mapping[str, str]],
    tell: Callable[[Valued, Sequence[DirtyMessage]], None] = lambda _, __: None,
) -> list[str]:
    """Value what the messages name; the ids of messages that could not be read. ``tell`` is given what became of the
    portfolios, and the messages that asked for them, once all is done.

    What follows from the state of margin accounts is done before their promises are forgotten; ``follow_up`` says why
    some fail by themselves. A portfolio that fails by itself is tried again alone and later, so that it delays nobody;
    one with an interval of its own that is not due yet is promised for when it is. In both cases its message counts as
    done. Only a failing store, queue or bus returns messages: ``RetryableError``, and the whole batch comes again.
    """
    batch = wait_until_due(received, clock, skew_ms)
    marker.origins.begin(*(item.message.origins for item in batch.due))
    readable, broken = _split(batch.due)
    failed = batch.failed + broken
    if not readable:
        return failed
    marks = _marks(readable)
    valued = valuer.value(
        marks, _fresh_after(readable, skew_ms), lambda intervals_ms: pacer.hold_back(intervals_ms, marks)
    )
    if valued.pending:
        valued.failed |= follow_up(valued.pending)
    pacer.failed(valued.failed, marks)
    pacer.succeeded([i for i, mark in marks.items() if mark.attempt and i not in valued.failed])
    messages = [item.message for item in readable]
    marker.forget(messages)
    tell(valued, messages)
    return failed


def _marks(opened: Iterable[Opened]) -> dict[str, Mark]:
    """What the messages say about each portfolio, by its id."""
    marks: dict[str, Mark] = {}
    for item in opened:
        message, again = item.message, item.received.receive_count > 1
        price_window_ms = message.window_end_ms if message.reason == "price" else None
        for key in message.keys:
            identifier = split_key(key)[1]
            mark = Mark(key, message.attempt, price_window_ms, again, price_window_ms if again else None)
            known = marks.get(identifier)
            marks[identifier] = mark if known is None else _merged(known, mark)
    return marks


def _merged(one: Mark, other: Mark) -> Mark:
    """Prices alone ask for it only if every message says so."""
    windows = one.price_window_ms, other.price_window_ms
    newest = None if windows[0] is None or windows[1] is None else max(windows[0], windows[1])
    repeated = [mark.again_window_ms for mark in (one, other) if mark.again_window_ms is not None]
    again = one.again or other.again
    return Mark(other.key, max(one.attempt, other.attempt), newest, again, min(repeated, default=None))


def _split(opened: Iterable[Opened]) -> tuple[list[Opened], list[str]]:
    """Messages whose keys are portfolio keys, and the ids of the others."""
    readable, broken = [], []
    for item in opened:
        try:
            for key in item.message.keys:
                split_key(key)
        except CallerError:
            broken.append(item.received.message_id)
        else:
            readable.append(item)
    return readable, broken


def _fresh_after(opened: Iterable[Opened], skew_ms: int) -> dict[str, int]:
    """From when on a snapshot makes valuing a portfolio unnecessary, by portfolio id.

    Refreshed portfolios and those of a message received before are not in it: a refresh asks for a new valuation,
    and an earlier delivery may have died between its snapshot and what follows from it.
    """
    after: dict[str, int] = {}
    never: set[str] = set()
    for item in opened:
        ids = [split_key(key)[1] for key in item.message.keys]
        has_window = bool(item.message.window_end_ms)
        if item.message.reason == "refresh" or item.received.receive_count > 1 or not has_window:
            never.update(ids)
            continue
        due_ms = coalescing.due_ms(item.message, skew_ms)
        for identifier in ids:
            after[identifier] = max(after.get(identifier, 0), due_ms)
    return {identifier: due_ms for identifier, due_ms in after.items() if identifier not in never}
