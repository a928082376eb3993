"""Prices in: from the price queue (EventBridge events), a Kafka topic, or invoked with such an event or a bare body."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aws_lambda_powertools import Logger

from foliostream import lambda_events, metrics
from foliostream.application import managers, price_input, topic_input
from foliostream.application.figures import count_prices
from foliostream.application.update_prices import PriceReport, update_prices
from foliostream.domain.price import Refused
from foliostream.wiring import wiring

logger = Logger()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Queue: batch item failures. Topic: done, or it raises. Direct: ``{"accepted": n, "rejected": [...]}`` like
    ``POST /api/v1/prices``."""
    if "Records" in event:
        parsed, broken = price_input.from_messages(lambda_events.received(event))
        ages_ms = lambda_events.queue_ages_ms(event, wiring().clock.now_ms())
        _store(parsed, queue_ages_ms=ages_ms, causes=lambda_events.causes(event))
        return lambda_events.failures(broken)
    if "records" in event:
        topic = topic_input.prices(lambda_events.topic_records(event), wiring().dead_letters)
        _store(topic.parsed, topic.unreadable)
        return lambda_events.failures([])
    raw = json.dumps(event)
    report = _store(price_input.from_event(raw) if "detail" in event else price_input.from_body(raw))
    return {"accepted": report.accepted, "rejected": [refused._asdict() for refused in report.rejected]}


def _store(
    parsed: price_input.Parsed,
    unreadable: Sequence[Refused] = (),
    queue_ages_ms: Sequence[int] = (),
    causes: Sequence[str] = (),
) -> PriceReport:
    parts = wiring()
    report = update_prices(
        parsed.updates,
        prices=parts.hot,
        holders=parts.holders,
        instruments=parts.instruments,
        marker=parts.marker,
        clock=parts.clock,
    )
    orders_told = managers.ticked(parts.managers, report.symbols)
    report.rejected.extend([*parsed.refused, *unreadable])
    count_prices(parts.hot, report)
    figures: dict[str, int | Sequence[int]] = {
        "SymbolsProcessed": report.accepted,
        "PricesRefused": len(report.rejected),
        "HoldersResolved": report.portfolios_marked,
        "BundlesSent": report.bundles_sent,
        "OrdersTold": orders_told,
        "QueueAge": list(queue_ages_ms),
    }
    metrics.emit(parts.clock.now_ms(), {"Stack": parts.settings.stack}, figures)
    marked, bundles = report.portfolios_marked, report.bundles_sent
    logger.info("prices", accepted=report.accepted, marked=marked, bundles=bundles, causes=causes)
    for refused in report.rejected:
        logger.warning("price refused", symbol=refused.symbol, code=refused.code, reason=refused.message)
    return report
