"""Dirty portfolios in, snapshots out: consumes the dirty queues and the bulk, refresh and delayed queues."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger

from foliostream import lambda_events
from foliostream.application.recalculate import recalculate
from foliostream.wiring import wiring

logger = Logger()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """The messages that could not be read come again and end as dead letters; a failing store raises."""
    parts = wiring()
    messages = lambda_events.received(event)
    broken = recalculate(
        messages,
        valuer=parts.valuer,
        pacer=parts.pacer,
        marker=parts.marker,
        clock=parts.clock,
        skew_ms=parts.settings.skew_ms,
    )
    logger.info("recalculated", messages=len(messages), broken=broken)
    return lambda_events.failures(broken)
