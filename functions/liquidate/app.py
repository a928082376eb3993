"""Stop-outs of demo and paper accounts into the books: consumes the liquidation queue."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger

from foliostream import lambda_events
from foliostream.wiring import wiring

# Named for the package: what its modules log comes out here too.
logger = Logger(service="foliostream")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """What fails comes again, and in the end is a dead letter."""
    done = wiring().liquidator.work(lambda_events.received(event))
    logger.info("liquidations", booked=done.booked, left=done.left, again=len(done.again))
    return lambda_events.failures(done.again)
