"""A batch of dirty messages: one union of keys, valued in bulk; watchers marked; promises forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from foliostream.application.marking import Marker
from foliostream.application.receiving import Opened, Received, attempts, wait_until_due
from foliostream.application.valuing import Valued, Valuer
from foliostream.domain import coalescing
from foliostream.domain.coalescing import DirtyMessage
from foliostream.domain.keys import split_key
from foliostream.errors import CallerError
from foliostream.ports import Clock


def recalculate(
    received: Sequence[Received],
    *,
    valuer: Valuer,
    marker: Marker,
    clock: Clock,
    skew_ms: int,
    tell: Callable[[Valued, Sequence[DirtyMessage]], None] = lambda _, __: None,
) -> list[str]:
    """Value what the messages name; the ids of messages that could not be read. ``tell`` is given what became of the
    portfolios, and the messages that asked for them, once all is done.

    A portfolio that fails by itself is sent again alone, so that it delays nobody, and its message counts as done.
    Only a failing store or queue returns messages: ``RetryableError``, and the whole batch comes again.
    """
    batch = wait_until_due(received, clock, skew_ms)
    readable, broken = _split(batch.due)
    failed = batch.failed + broken
    if not readable:
        return failed
    highest = attempts(readable)
    keys = {split_key(key)[1]: key for key in highest}
    valued = valuer.value(keys, _fresh_after(readable, skew_ms))
    for identifier, reason in valued.failed.items():
        marker.retry_portfolio(keys[identifier], highest[keys[identifier]], reason)
    messages = [item.message for item in readable]
    marker.forget(messages)
    tell(valued, messages)
    return failed


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
        if item.message.reason == "refresh" or item.received.receive_count > 1:
            never.update(ids)
            continue
        due_ms = coalescing.due_ms(item.message, skew_ms)
        for identifier in ids:
            after[identifier] = max(after.get(identifier, 0), due_ms)
    return {identifier: due_ms for identifier, due_ms in after.items() if identifier not in never}
