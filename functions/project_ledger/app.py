"""Changes of the ledger (its DynamoDB stream) in: books and marks in the hot store, events on the bus."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger

from foliostream import lambda_events
from foliostream.wiring import wiring

logger = Logger()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """The stream delivers again from the first change that could not be projected; raises if none could."""
    report = wiring().ledger_projection(
        lambda_events.changes(event), lambda_events.amended(event), lambda_events.booked_fills(event)
    )
    for sequence_number, reason in report.given_up.items():
        logger.error("change given up", sequence_number=sequence_number, reason=reason)
    logger.info("projected", portfolios=report.portfolios, events=report.events, again=len(report.again))
    return lambda_events.failures(report.again)
