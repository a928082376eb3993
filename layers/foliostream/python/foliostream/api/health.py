"""Whether the stores answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from foliostream.api.parts import Parts
from foliostream.api.shapes import Check, Health
from foliostream.errors import FoliostreamError

log = logging.getLogger(__name__)

# No portfolio can have this id: the read is a real one and finds nothing.
_NOBODY = ":health"


def check(parts: Parts) -> Health:
    """A read of each store."""
    checks = {
        "ledger": _timed("ledger", lambda: parts.ledger.load([_NOBODY])),
        "hot_store": _timed("hot_store", lambda: parts.hot.read([_NOBODY])),
    }
    down = any(item.status == "down" for item in checks.values())
    return Health("down" if down else "ok", parts.settings.hot_store, checks)


def _timed(name: str, probe: Callable[[], object]) -> Check:
    started = time.perf_counter()
    try:
        probe()
    except FoliostreamError as fault:
        log.warning("%s is down: %s", name, fault.message)
        return Check("down", _elapsed_ms(started))
    return Check("ok", _elapsed_ms(started))


def _elapsed_ms(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)
