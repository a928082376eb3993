"""Dirty portfolios in, snapshots out: consumes the dirty queues and the bulk, refresh and delayed queues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aws_lambda_powertools import Logger

from foliostream import lambda_events, metrics
from foliostream.application.figures import count_valued
from foliostream.application.recalculate import recalculate
from foliostream.application.valuing import Valued
from foliostream.domain.coalescing import DirtyMessage
from foliostream.domain.keys import split_key
from foliostream.wiring import wiring

# Named for the package: what its modules log comes out here too.
logger = Logger(service="foliostream")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """The messages that could not be read come again and end as dead letters; a failing store raises."""
    parts = wiring()
    messages = lambda_events.received(event)
    ages_ms = lambda_events.queue_ages_ms(event, parts.clock.now_ms())
    total = Valued()
    dirty_ages_ms: dict[str, list[int]] = {}

    def tell(valued: Valued, asked: Sequence[DirtyMessage]) -> None:
        nonlocal total, dirty_ages_ms
        by_type = _by_type(asked)
        total, dirty_ages_ms = valued, _dirty_ages_ms(by_type)
        _emit(valued, by_type, ages_ms, dirty_ages_ms)

    broken = recalculate(
        messages,
        valuer=parts.valuer,
        pacer=parts.pacer,
        marker=parts.marker,
        clock=parts.clock,
        skew_ms=parts.settings.skew_ms,
        follow_up=lambda pending: parts.margin_follow_up(pending),
        tell=tell,
    )
    count_valued(parts.hot, total, len(broken), dirty_ages_ms)
    causes = lambda_events.causes(event)
    logger.info("recalculated", messages=len(messages), broken=broken, origins=parts.origins.ids, causes=causes)
    return lambda_events.failures(broken)


def _by_type(asked: Sequence[DirtyMessage]) -> dict[str, list[DirtyMessage]]:
    """By account type: one, since every type has its queues, but for refreshes."""
    found: dict[str, list[DirtyMessage]] = {}
    for message in asked:
        found.setdefault(split_key(message.keys[0])[0], []).append(message)
    return found


def _dirty_ages_ms(by_type: Mapping[str, Sequence[DirtyMessage]]) -> dict[str, list[int]]:
    """By account type: from the first moment of each window, when its price may have come, to the snapshot."""
    parts = wiring()
    now_ms = parts.clock.now_ms()
    return {
        account_type: [
            max(now_ms - _began_ms(message, parts.settings.window_ms[account_type]), 0) for message in messages
        ]
        for account_type, messages in by_type.items()
    }


def _emit(
    valued: Valued,
    by_type: Mapping[str, Sequence[DirtyMessage]],
    queue_ages_ms: list[int],
    dirty_ages_ms: Mapping[str, list[int]],
) -> None:
    """A line an account type."""
    parts = wiring()
    for account_type, messages in by_type.items():
        ids = {split_key(key)[1] for message in messages for key in message.keys}
        figures: dict[str, int | Sequence[int]] = {
            "PortfoliosValued": len(ids.intersection(valued.written)),
            "PortfoliosSkipped": len(ids.intersection(valued.skipped)),
            "PortfoliosDegraded": len(ids.intersection(valued.degraded)),
            "PortfoliosFailed": len(ids.intersection(valued.failed)),
            "DirtyAge": dirty_ages_ms[account_type],
            "QueueAge": queue_ages_ms,
        }
        metrics.emit(parts.clock.now_ms(), {"Stack": parts.settings.stack, "AccountType": account_type}, figures)


def _began_ms(message: DirtyMessage, window_ms: int) -> int:
    """A message without a window is numbered by its millisecond."""
    return message.window_end_ms - window_ms if message.window_end_ms else message.window
