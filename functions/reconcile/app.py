"""Reconciliation of brokers' accounts: started every minute by a schedule, done by its own messages."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger

from foliostream import lambda_events
from foliostream.domain.kite import BROKER
from foliostream.wiring import wiring

# Named for the package: what its modules log comes out here too.
logger = Logger(service="foliostream")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Messages: accounts that are due. Anything else queues the accounts of this slot of time that are not yet."""
    parts = wiring()
    if "Records" not in event:
        queued = parts.managers[BROKER].recover()
        logger.info("queued", accounts=queued)
        return {"queued": queued}
    reports, again = parts.reconcile_schedule.work(lambda_events.received(event))
    for report in reports:
        logger.info("reconciled", account=report.account, status=report.status, reason=report.reason)
    return lambda_events.failures(again)
