"""Dirty connections in, messages to their clients out: the one ordered sender of every connection."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger

from foliostream import lambda_events, metrics
from foliostream.application.push import push
from foliostream.wiring import wiring

logger = Logger()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """The messages that could not be read come again and end as dead letters; a failing store raises."""
    parts = wiring()
    messages = lambda_events.received(event)
    broken = push(
        messages,
        sender=parts.sender,
        marker=parts.marker,
        clock=parts.clock,
        each=parts.each,
        skew_ms=parts.settings.skew_ms,
    )
    tally = parts.sender.counts.take()
    figures = {"MessagesPushed": tally.posted, "ConnectionsGone": tally.gone, "GonePercent": tally.gone_percent}
    metrics.emit(parts.clock.now_ms(), {"Stack": parts.settings.stack}, figures)
    logger.info(
        "pushed",
        messages=len(messages),
        posted=tally.posted,
        broken=broken,
        origins=parts.origins.ids,
        causes=lambda_events.causes(event),
    )
    return lambda_events.failures(broken)
