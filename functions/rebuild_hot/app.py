"""The rebuild of the hot store: asked for by invocation, continued by its own messages."""

from __future__ import annotations

from typing import Any, Literal

from aws_lambda_powertools import Logger
from msgspec import Struct

from foliostream import lambda_events
from foliostream.application.reading import asked
from foliostream.application.rebuild_hot import asks
from foliostream.wiring import wiring

logger = Logger()


class _Ask(Struct):
    action: Literal["start", "progress", "resume"] = "start"


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """``{"action": "start" | "progress" | "resume"}`` (start if left out) is answered with the progress; a queue's
    messages go on with the work."""
    rebuild = wiring().hot_rebuild
    if "Records" not in event:
        actions = {"start": rebuild.start, "progress": rebuild.progress, "resume": rebuild.resume}
        return actions[asked(event, _Ask).action]()
    found, broken = asks(lambda_events.received(event))
    report = rebuild.work(found)
    for identifier, reason in report.broken.items():
        logger.error("portfolio cannot be rebuilt", portfolio_id=identifier, reason=reason)
    logger.info(
        "rebuilt", portfolios=report.portfolios, failed=len(report.failed) + len(broken), superseded=report.superseded
    )
    return lambda_events.failures([*broken, *report.failed])
