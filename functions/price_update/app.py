"""Prices in: from the price queue (EventBridge events), a Kafka topic, or invoked with such an event or a bare body."""

from __future__ import annotations

import json
from typing import Any

from aws_lambda_powertools import Logger

from foliostream import lambda_events
from foliostream.application import price_input, topic_input
from foliostream.application.origins import ORIGINS_MAX
from foliostream.application.update_prices import PriceReport
from foliostream.wiring import wiring

# Named for the package: what its modules log comes out here, as JSON.
logger = Logger(service="foliostream")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Queue: batch item failures. Topic: done, or it raises. Direct: ``{"accepted": n, "rejected": [...]}`` like
    ``POST /api/v1/prices``."""
    if "Records" in event:
        messages = lambda_events.received(event)
        wiring().origins.begin(*([price_input.event_id(message.body)] for message in messages))
        parsed, broken = price_input.from_messages(messages)
        ages_ms = lambda_events.queue_ages_ms(event, wiring().clock.now_ms())
        _log_refused(wiring().price_taking(parsed, queue_ages_ms=ages_ms, causes=lambda_events.causes(event)))
        return lambda_events.failures(broken)
    if "records" in event:
        records = lambda_events.topic_records(event)
        wiring().origins.begin([record.place for record in records[:ORIGINS_MAX]])
        topic = topic_input.prices(records, wiring().dead_letters)
        _log_refused(wiring().price_taking(topic.parsed, topic.unreadable))
        return lambda_events.failures([])
    raw = json.dumps(event)
    wiring().origins.begin([price_input.event_id(raw)])
    report = wiring().price_taking(price_input.from_event(raw) if "detail" in event else price_input.from_body(raw))
    return {"accepted": report.accepted, "rejected": [refused._asdict() for refused in report.rejected]}


def _log_refused(report: PriceReport) -> None:
    """Of messages, whose senders are told nothing."""
    for refused in report.rejected:
        logger.warning("price refused", symbol=refused.symbol, code=refused.code, reason=refused.message)
