"""Margin states with hysteresis, and the events of their changes, each once by id (definitions 20, 21; G8).

A portfolio's ``MarginStatus`` is part of its snapshot: written with it, under the same condition, and carried on by
the next. So is the list of its events that nobody has confirmed as published. Whoever has written a snapshot publishes
its ``unsent``, and then writes ``confirmed(...)`` if the snapshot is still the same; if that is lost, or the function
dies on the way, the next valuation finds the events in the status it begins with and publishes them again, under the
same ids.

Ids name the snapshot version at which the breach began, which is in the status: what is derived again names it again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from foliostream.domain import money
from foliostream.domain.account import Portfolio
from foliostream.domain.margin import Basis, Margin
from foliostream.domain.margin_status import EventKind, MarginEvent, MarginStatus, State
from foliostream.domain.money import ZERO
from foliostream.domain.state import CalcStatus
from foliostream.domain.times import iso
from foliostream.errors import CallerError

# Left only above a threshold plus this many percent, so that a price that trembles at it makes one breach of it.
HYSTERESIS_PERCENT = Decimal(5)
# Between the first warning and the call, where a portfolio sets its own call level.
WARNING_ABOVE_CALL_PERCENT = Decimal(20)
MAX_PERCENT = Decimal(1_000)
# Nothing changes while so many events wait to be published: the bus is down, and none of them may be forgotten.
MAX_UNSENT = 16

_ORDER: tuple[State, ...] = ("ok", "warning", "call", "stop_out")


class Thresholds(Struct, frozen=True):
    """Levels in percent, entered at or below."""

    warning: Decimal = Decimal(120)
    call: Decimal = Decimal(100)
    stop_out: Decimal = Decimal(50)

    @property
    def stopped_until(self) -> Decimal:
        """A stop-out ends above this."""
        return self.stop_out + HYSTERESIS_PERCENT


DEFAULT_THRESHOLDS = Thresholds()


def thresholds(margin_call_percent: Decimal, stop_out_percent: Decimal) -> Thresholds:
    """Those of a portfolio, the warning 20 percent above the call; ``CallerError`` unless 0 < stop-out < call, and
    call <= 1000."""
    for name, value in (("margin_call_percent", margin_call_percent), ("stop_out_percent", stop_out_percent)):
        money.checked(name, value, money.PERCENT_DECIMALS, zero=False)
    if not stop_out_percent < margin_call_percent <= MAX_PERCENT:
        raise CallerError(
            f"stop_out_percent is below margin_call_percent, and that at most {MAX_PERCENT}: "
            f"{stop_out_percent} and {margin_call_percent}"
        )
    return Thresholds(margin_call_percent + WARNING_ABOVE_CALL_PERCENT, margin_call_percent, stop_out_percent)


class MarginRules(NamedTuple):
    """How margin accounts are judged: the levels by account type, for how long an account at call or worse may have no
    figures that are to be trusted before that is raised, and at which prices margin is needed."""

    limits: Mapping[str, Thresholds]
    unknown_after_ms: int = 60_000
    basis: Basis = "current"


def limits_of(portfolio: Portfolio, defaults: Thresholds) -> Thresholds:
    """A portfolio's own levels, else those of its account type. Where these were lowered below a stop-out it set for
    itself, the stop-out is at the call: no account is without levels."""
    if portfolio.margin_call_percent is None and portfolio.stop_out_percent is None:
        return defaults
    call = defaults.call if portfolio.margin_call_percent is None else portfolio.margin_call_percent
    stop_out = defaults.stop_out if portfolio.stop_out_percent is None else portfolio.stop_out_percent
    return Thresholds(call + WARNING_ABOVE_CALL_PERCENT, call, min(stop_out, call))


def judge(
    before: MarginStatus,
    margin: Margin,
    calc_status: CalcStatus,
    version: int,
    now_ms: int,
    limits: Thresholds,
    unknown_after_ms: int,
) -> tuple[MarginStatus, tuple[MarginEvent, ...]]:
    """The status after a snapshot of ``version``, and the events it raises; they are in its ``unsent`` too.

    A snapshot that is not ok changes no state. If no other comes for ``unknown_after_ms`` and the account was last at
    call or worse, ``margin_unknown`` is raised, once until a snapshot is ok again.
    """
    if len(before.unsent) > MAX_UNSENT - 2:
        return before, ()
    if calc_status != "ok" or margin.used is None:
        after, events = _blind(before, version, now_ms, unknown_after_ms)
    else:
        after, events = _seen(before, margin, version, now_ms, limits)
    return (replace(after, unsent=after.unsent + events) if events else after), events


def confirmed(status: MarginStatus, published: Collection[MarginEvent]) -> MarginStatus:
    """The status without events that were published."""
    return replace(status, unsent=tuple(event for event in status.unsent if event not in published))


def level_state(before: State, margin: Margin, limits: Thresholds) -> State:
    """The state of known figures: the worst whose threshold is reached, or was and is not left yet."""
    depth = _ORDER.index(before) if before in _ORDER else 0
    percents = (limits.warning, limits.call, limits.stop_out)
    reached = 0
    for number, percent in enumerate(percents, start=1):
        if margin.at_or_below(percent) or (depth >= number and not margin.above(percent + HYSTERESIS_PERCENT)):
            reached = number
    return _ORDER[reached]


def _seen(
    before: MarginStatus, margin: Margin, version: int, now_ms: int, limits: Thresholds
) -> tuple[MarginStatus, tuple[MarginEvent, ...]]:
    state = level_state(before.state, margin, limits)
    calls, stops = state in {"call", "stop_out"}, state == "stop_out"
    after = MarginStatus(
        state=state,
        call_version=(before.call_version or version) if calls else 0,
        stop_out_version=(before.stop_out_version or version) if stops else 0,
        unsent=before.unsent,
    )
    events = []
    if calls and not before.call_version:
        events.append(_event("margin_call", version, now_ms, margin))
    if stops and not before.stop_out_version:
        events.append(_event("stop_out", version, now_ms, margin))
    if before.call_version and not calls and (margin.equity or ZERO) > 0:
        events.append(_event("margin_restored", before.call_version, now_ms, margin))
    return after, tuple(events)


def _event(kind: EventKind, begun: int, now_ms: int, margin: Margin) -> MarginEvent:
    return MarginEvent(kind, begun, now_ms, margin.equity, margin.used, margin.level_percent)


def _blind(
    before: MarginStatus, version: int, now_ms: int, unknown_after_ms: int
) -> tuple[MarginStatus, tuple[MarginEvent, ...]]:
    if not before.blind_version:
        before = replace(before, blind_version=version, blind_since_ms=now_ms)
    lasting = now_ms - before.blind_since_ms >= unknown_after_ms
    if not before.call_version or before.alarmed or not lasting:
        return before, ()
    return replace(before, alarmed=True), (MarginEvent("margin_unknown", before.blind_version, now_ms),)


def detail(
    event: MarginEvent, portfolio_key: str, portfolio_id: str, base: str, limits: Thresholds
) -> dict[str, object]:
    """The event as it is published (contract section 4): amounts in base, rounded; null where they are not known."""
    return {
        "event_id": event.event_id(portfolio_key),
        "timestamp": iso(event.at_ms),
        "portfolio_id": portfolio_id,
        "base_currency": base,
        "equity": _rounded_money(event.equity, base),
        "used": _rounded_money(event.used, base),
        "level_percent": None
        if event.level_percent is None
        else money.rounded(event.level_percent, money.PERCENT_DECIMALS),
        "margin_call_percent": limits.call,
        "stop_out_percent": limits.stop_out,
    }


def _rounded_money(value: Decimal | None, base: str) -> Decimal | None:
    return None if value is None else money.money(value, base)
