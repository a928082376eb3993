"""Dead letters: listed, shown and worked in again; for operators, by invocation only."""

from __future__ import annotations

import json
from typing import Any, Literal

import msgspec
from aws_lambda_powertools import Logger
from msgspec import Struct

from foliostream.application.dead_letters import LIMIT_MAX
from foliostream.application.reading import asked
from foliostream.errors import CallerError
from foliostream.wiring import wiring

# Named for the package: what its modules log comes out here too.
logger = Logger(service="foliostream")


class _Ask(Struct, forbid_unknown_fields=True):
    action: Literal["list", "show", "replay"]
    queue: str = ""
    ids: list[str] = []
    all: bool = False
    limit: int = LIMIT_MAX
    before_ms: int | None = None


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """``{"action": "list"}``; ``{"action": "show", "queue": "fills", "ids"?, "limit"?}``;
    ``{"action": "replay", "queue": "fills", "ids" | "all": true, "limit"?}``. Of ``all`` that are more than the limit,
    the answer's ``before_ms`` given back goes on. Raises on anything else."""
    ask = asked(event, _Ask)
    letters = wiring().dead_letter_office
    if ask.action == "list":
        return {"queues": _plain(letters.rows())}
    if ask.action == "show":
        return {"queue": ask.queue, "letters": _plain(letters.show(ask.queue, ask.ids, ask.limit))}
    if ask.all == bool(ask.ids):
        raise CallerError("replay takes either ids, or all")
    done = letters.replay(ask.queue, ask.ids, ask.limit, ask.before_ms)
    logger.info("replayed", queue=done.queue, replayed=done.replayed, failed=done.failed, missing=done.missing)
    answer: dict[str, Any] = _plain(done)
    return answer


def _plain(answer: object) -> Any:  # noqa: ANN401 (JSON)
    """What Lambda's own encoder takes: bodies stand in it as they came."""
    return json.loads(msgspec.json.encode(answer))
