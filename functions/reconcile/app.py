"""Reconciliation of brokers' accounts: started every minute by a schedule, done by its own messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aws_lambda_powertools import Logger

from foliostream import lambda_events, metrics
from foliostream.domain.reconciliation import Report
from foliostream.wiring import wiring

# Named for the package: what its modules log comes out here too.
logger = Logger(service="foliostream")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Messages: accounts that are due. Anything else queues the accounts of this slot of time that are not yet."""
    schedule = wiring().reconcile_schedule
    if "Records" not in event:
        queued = schedule.start()
        logger.info("queued", accounts=queued)
        return {"queued": queued}
    reports, again = schedule.work(lambda_events.received(event))
    for report in reports:
        logger.info("reconciled", account=report.account, status=report.status, reason=report.reason)
    metrics.emit(wiring().clock.now_ms(), {"Stack": wiring().settings.stack}, _figures(reports))
    return lambda_events.failures(again)


def _figures(reports: Sequence[Report]) -> dict[str, int]:
    found = [report.status for report in reports]
    return {
        "AccountsReconciled": found.count("ok"),
        "AccountsDiffering": found.count("discrepancies"),
        "AccountsFailed": found.count("failed"),
        "BrokerTokensExpired": sum(report.code == "TOKEN_EXPIRED" for report in reports),
    }
