"""Accepted fills into the books: consumes the fills queue, a portfolio's fills in their order."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger

from foliostream import lambda_events, metrics, queues
from foliostream.queues import Queue
from foliostream.wiring import wiring

# Named for the package: what its modules log comes out here too.
logger = Logger(service="foliostream")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """What is left of a portfolio whose turn failed comes again, from its first failure on; the others are done."""
    parts = wiring()
    done = parts.fill_recorder.record(lambda_events.received(event), _source(event, parts.settings.queues))
    figures = {"FillsBooked": done.booked, "FillsKnown": done.known, "FillsGivenUp": len(done.given_up)}
    metrics.emit(parts.clock.now_ms(), {"Stack": parts.settings.stack}, figures)
    logger.info(
        "fills",
        booked=done.booked,
        known=done.known,
        given_up=done.given_up,
        again=len(done.again),
        causes=lambda_events.causes(event),
    )
    return lambda_events.failures(done.again)


def _source(event: dict[str, Any], base: str) -> str:
    """The queue of a batch, under whose name its messages are given up; paper's where it is called without one."""
    return queues.name_of(base, event["Records"][0].get("eventSourceARN", "")) or Queue.FILLS.name.lower()
