"""The rebuild of the hot store: asked for by invocation, continued by its own messages."""

from __future__ import annotations

import json
from typing import Any

from aws_lambda_powertools import Logger

from foliostream import lambda_events
from foliostream.application.rebuild_hot import Ask
from foliostream.wiring import wiring

logger = Logger()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """``{"action": "start" | "progress" | "resume"}`` (start if left out) is answered with the progress; a queue's
    messages go on with the work."""
    rebuild = wiring().hot_rebuild
    if "Records" not in event:
        actions = {"start": rebuild.start, "progress": rebuild.progress, "resume": rebuild.resume}
        return actions[event.get("action", "start")]()
    bodies = [(item.message_id, json.loads(item.body)) for item in lambda_events.received(event)]
    report = rebuild.work([Ask(identifier, body["run_id"], body["bucket"]) for identifier, body in bodies])
    for identifier, reason in report.broken.items():
        logger.error("portfolio cannot be rebuilt", portfolio_id=identifier, reason=reason)
    logger.info("rebuilt", portfolios=report.portfolios, failed=len(report.failed), superseded=report.superseded)
    return lambda_events.failures(report.failed)
