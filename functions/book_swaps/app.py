"""The nightly swap: started by a schedule or by invocation, done by its own messages."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools import Logger
from msgspec import Struct

from foliostream import lambda_events
from foliostream.application.reading import asked
from foliostream.domain import swaps, times
from foliostream.wiring import wiring

logger = Logger()


class _Ask(Struct):
    night: str | None = None
    portfolio_ids: list[str] | None = None
    scheduled_time: str = times.SCHEDULED_TIME


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Messages: parts of a run. ``{"night"?, "portfolio_ids"?}``: charge these now and say what became of them, or,
    without ids, start a run over all. A night is the New York date at whose 17:00 it began; the schedule's
    ``scheduled_time`` says which, also when it is late."""
    booking = wiring().swap_booking
    if "Records" in event:
        report, again = booking.work(lambda_events.received(event))
        for name, reason in report.failed.items():
            logger.error("not charged", portfolio_id=name, reason=reason)
        logger.info("charged", booked=len(report.booked), nothing=len(report.nothing), failed=len(report.failed))
        return lambda_events.failures(again)
    ask = asked(event, _Ask)
    at_ms = times.scheduled_ms(ask.scheduled_time, wiring().clock.now_ms())
    night = booking.night(ask.night or swaps.latest(at_ms).day.isoformat())
    if ask.portfolio_ids is not None:
        return {"night": night.day.isoformat(), **asdict(booking.book(night, ask.portfolio_ids))}
    messages = booking.start(night)
    logger.info("started", night=night.day.isoformat(), messages=messages)
    return {"night": night.day.isoformat(), "started": messages}
