"""Open limit orders, filled by ticks: consumes the orders queue, and every minute has all of them looked at."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger

from foliostream import lambda_events, metrics
from foliostream.domain.keys import PAPER
from foliostream.wiring import wiring

# Named for the package: what its modules log comes out here too.
logger = Logger(service="foliostream")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Messages: symbols with a new price; those that failed come again. Otherwise, as the schedule does: every symbol
    with open orders is told to itself."""
    parts = wiring()
    if "Records" not in event:
        told = parts.managers[PAPER].recover()
        logger.info("told", symbols=told)
        return {"symbols": told}
    done = parts.order_filler.work(lambda_events.received(event))
    metrics.emit(parts.clock.now_ms(), {"Stack": parts.settings.stack}, {"OrdersFilled": done.filled})
    logger.info("orders", looked_at=done.looked_at, filled=done.filled, rejected=done.rejected, unpriced=done.unpriced)
    return lambda_events.failures(done.again)
