"""The daily close: started by a schedule or by invocation, done by its own messages."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools import Logger
from msgspec import Struct

from foliostream import lambda_events
from foliostream.application.reading import asked
from foliostream.domain import times
from foliostream.wiring import wiring

logger = Logger()


class _Ask(Struct):
    day: str | None = None
    portfolio_ids: list[str] | None = None
    scheduled_time: str = times.SCHEDULED_TIME


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Messages: parts of a run. ``{"day"?, "portfolio_ids"?}``: close these now and say what became of them, or,
    without ids, start a run over all. The schedule's ``scheduled_time`` says which day it is, also when it is late.
    A holiday of the market (PORTFOLIO_MARKET_HOLIDAYS) is not closed."""
    closing = wiring().day_closing
    if "Records" in event:
        report, again = closing.work(lambda_events.received(event))
        for name, reason in report.failed.items():
            logger.error("not closed", portfolio_id=name, reason=reason)
        for name in report.late:
            logger.warning("not closed any more: its book or prices are of a later day", portfolio_id=name, code="LATE")
        logger.info(
            "closed",
            written=len(report.written),
            unpriced=len(report.unpriced),
            skipped=len(report.skipped),
            late=len(report.late),
            closes=report.closes,
        )
        return lambda_events.failures(again)
    ask = asked(event, _Ask)
    at_ms = times.scheduled_ms(ask.scheduled_time, wiring().clock.now_ms())
    day = closing.checked_day(ask.day or closing.day_of(at_ms))
    if closing.is_holiday(day):
        logger.info("not closed: a holiday of the market", day=day)
        return {"day": day, "holiday": True}
    if ask.portfolio_ids is not None:
        return {"day": day, **asdict(closing.close(day, ask.portfolio_ids))}
    messages = closing.start(day)
    logger.info("started", day=day, messages=messages)
    return {"day": day, "started": messages}
