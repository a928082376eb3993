"""Valuations that have to wait: for a portfolio's own interval, or for the next try of one that fails by itself.

What is decided is noted first (compare-and-set, so that of several deciders one promises), then put on record, then
sent. Whoever dies in between has not forgotten its own message, and that comes again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from foliostream.application.marking import Later, Marker
from foliostream.domain import pacing
from foliostream.domain.pacing import NO_PACE, Pace, Retry, Turn
from foliostream.errors import RetryableError
from foliostream.ports import Clock, Paced, Paces

MAX_ROUNDS = 5
Decision = TypeVar("Decision", Turn, Retry)


class Mark(NamedTuple):
    """What is known about a portfolio's messages in a batch: its ``key``; the highest ``attempt``; ``price_window_ms``:
    the end of the newest window if prices alone ask for it, else None; ``again``: one of them came before, and
    ``again_window_ms`` is the end of the oldest window of those that did (None: there are none, or none has one)."""

    key: str
    attempt: int
    price_window_ms: int | None
    again: bool
    again_window_ms: int | None = None


@dataclass(frozen=True)
class Pacer:
    """Each method is bulk: a few calls of the store, however many portfolios."""

    paces: Paces
    marker: Marker
    clock: Clock

    def hold_back(self, intervals_ms: Mapping[str, int], marks: Mapping[str, Mark]) -> set[str]:
        """Of portfolios with an interval, by id, those that only prices ask for and that are not due yet; each is
        promised for when it is."""
        windows = {i: window for i in intervals_ms if (window := marks[i].price_window_ms) is not None}
        if not windows:
            return set()
        now_ms = self.clock.now_ms()

        def turn(identifier: str, pace: Pace) -> Turn:
            mark, window_ms = marks[identifier], windows[identifier]
            if mark.again_window_ms is not None and mark.again_window_ms <= pace.granted_for_ms:
                # Whoever was granted it may have died before its watchers were told: newer marks do not put that off.
                window_ms = mark.again_window_ms
            return pacing.price_turn(pace, intervals_ms[identifier], window_ms, now_ms, again=mark.again)

        turns = self._decide(windows, turn)
        self.marker.later([Later(marks[i].key, turn.due_ms) for i, turn in turns.items() if turn.promise], "price")
        return {identifier for identifier, turn in turns.items() if turn.due_ms}

    def failed(self, reasons: Mapping[str, str], marks: Mapping[str, Mark]) -> None:
        """See to another try of portfolios that failed by themselves, by id with the reason."""
        if not reasons:
            return
        now_ms = self.clock.now_ms()
        retries = self._decide(
            reasons, lambda i, pace: pacing.after_failure(pace, marks[i].attempt, now_ms, again=marks[i].again)
        )
        again = [Later(marks[i].key, retry.retry_ms, retry.attempt) for i, retry in retries.items() if retry.retry_ms]
        self.marker.later(again, "bulk")
        for identifier, retry in retries.items():
            if retry.give_up:
                mark = marks[identifier]
                self.marker.give_up(mark.key, retry.failed_ms, mark.attempt, reasons[identifier])

    def succeeded(self, portfolio_ids: Collection[str]) -> None:
        """Portfolios whose retries have come to something."""
        self._decide(portfolio_ids, lambda _, pace: Retry(pacing.after_success(pace)))

    def _decide(self, portfolio_ids: Collection[str], decide: Callable[[str, Pace], Decision]) -> dict[str, Decision]:
        """One decision each, made of what stands at its own time."""
        decided: dict[str, Decision] = {}
        waiting = list(portfolio_ids)
        for _ in range(MAX_ROUNDS):
            if not waiting:
                return decided
            known = self.paces.paces(waiting)
            decided |= {i: decide(i, known.get(i, NO_PACE)) for i in waiting}
            changes = [
                Paced(i, known.get(i), decided[i].pace) for i in waiting if decided[i].pace != known.get(i, NO_PACE)
            ]
            held = self.paces.pace(changes) if changes else []
            waiting = [change.portfolio_id for change, stands in zip(changes, held, strict=True) if not stands]
        if waiting:
            raise RetryableError(f"the pace of {waiting[0]} changed {MAX_ROUNDS} times meanwhile")
        return decided
