"""Fills in: from the order-filled queue (EventBridge events), a Kafka topic, or by direct invocation with an event."""

from __future__ import annotations

import json
from typing import Any

from aws_lambda_powertools import Logger

from foliostream import lambda_events
from foliostream.application import fill_input, topic_fills
from foliostream.application.accept_fills import FillReport, accept_events
from foliostream.wiring import wiring

logger = Logger()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Queue, topic: no failures, since what is refused is a dead letter. Direct: the answer of ``POST /fills``."""
    parts = wiring()
    if "Records" in event:
        _log(accept_events(lambda_events.received(event), parts.fill_accepter, parts.fill_queue))
        return lambda_events.failures([])
    if "records" in event:
        _log(topic_fills.accept_fills(lambda_events.topic_records(event), parts.fill_accepter, parts.dead_letters))
        return lambda_events.failures([])
    fill = fill_input.from_event(json.dumps(event))
    report = _log(parts.fill_accepter.accept(fill_input.parse([fill])))
    rejected = [{"fill_id": one.fill_id, "code": one.code, "message": one.message} for one in report.rejected]
    return {"accepted": report.accepted, "rejected": rejected}


def _log(report: FillReport) -> FillReport:
    logger.info("fills", accepted=report.accepted, rejected=len(report.rejected))
    for refused in report.rejected:
        logger.warning("fill refused", fill_id=refused.fill_id, code=refused.code, reason=refused.message)
    return report
