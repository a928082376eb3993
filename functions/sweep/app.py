"""The sweep: started every minute by a schedule, or by invocation."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from aws_lambda_powertools import Logger
from msgspec import Meta, Struct

from foliostream import metrics
from foliostream.application.late_promises import LATE_MS
from foliostream.application.reading import asked
from foliostream.application.sweep_report import SweepReport
from foliostream.errors import RetryableError
from foliostream.wiring import wiring

# Named for the package: what its modules log comes out here too.
logger = Logger(service="foliostream")


class _Ask(Struct):
    # A day is the longest that a promise may wait for.
    late_seconds: Annotated[int, Meta(ge=0, le=86_400)] = LATE_MS // 1000


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """What it did and found. ``{"late_seconds": 5}`` takes promises of that age for lost, for an operator who knows
    that nothing is under way. A step that failed raises once all others are done: the next run goes on with it."""
    parts = wiring()
    report = parts.sweep(asked(event, _Ask).late_seconds * 1000)
    metrics.emit(parts.clock.now_ms(), {"Stack": parts.settings.stack}, _figures(report))
    if report.finds:
        logger.warning("found lost", **asdict(report))
    for identifier, reason in report.broken.items():
        logger.error("book cannot be read", portfolio=identifier, reason=reason)
    logger.info("swept", compared=report.compared, repaired=report.repaired, marked=report.marked)
    if report.failed:
        raise RetryableError(f"the sweep is not complete: {report.failed}")
    return asdict(report)


def _figures(report: SweepReport) -> dict[str, int]:
    return {
        "SweepFinds": report.finds,
        "SweepLate": report.late,
        "SweepGivenUp": report.given_up,
        "SweepLostSnapshots": report.lost,
        "SweepRestoredPrices": report.restored,
        "SweepMissingDependents": report.missing,
        "SweepStaleSymbols": report.stale,
        "SweepFailedSteps": len(report.failed),
    }
