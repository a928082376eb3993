"""The queues of a stack, each in one line: what the code calls it, and its name after the stack's.

``live`` is ``Queue.LIVE``; its name is ``{stack}-dirty-live.fifo``, that of its dead letters
``{stack}-dirty-live-dead.fifo``. The template says the same; a test compares them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Queue(StrEnum):
    """Those with a consumer."""

    PRICE = "price"
    LIVE = "dirty-live.fifo"
    DEMO = "dirty-demo.fifo"
    PAPER = "dirty-paper.fifo"
    BULK = "bulk"
    REFRESH = "refresh"
    DELAYED = "delayed"
    PUSH = "push.fifo"
    ORDER_FILLED = "order-filled"
    FILLS = "fills.fifo"
    LIVE_FILLS = "live-fills.fifo"
    FEED = "feed"
    REBUILD = "rebuild"
    CLOSE_DAY = "close-day"
    BOOK_SWAPS = "book-swaps"
    ORDERS = "orders"
    LIQUIDATIONS = "liquidations.fifo"
    RECONCILE = "reconcile.fifo"

    @property
    def dead(self) -> str:
        """Where its messages go that are given up: a queue of the same kind."""
        stem, dot, kind = self.partition(".")
        return f"{stem}-dead{dot}{kind}"


# Changes that could not be projected: given up by a stream, which is no queue.
LEDGER_DEAD: Final = "project-ledger-dead"
# Dead letters of what is no queue either: rules, schedules, and functions that are started and not waited for.
DEAD_STARTS: Final = {
    "ledger": LEDGER_DEAD,
    "analyze": "analyze-dead",
    "sweep": "sweep-dead",
    "price_rule": "price-rule-dead",
    "order_filled_rule": "order-filled-rule-dead",
    "feed_schedule": "feed-schedule-dead",
    "close_day_schedule": "close-day-schedule-dead",
    "book_swaps_schedule": "book-swaps-schedule-dead",
    "reconcile_schedule": "reconcile-schedule-dead",
}
# What the rules did not deliver, by the queue it was for.
_OF_RULES: Final = {"price_rule": Queue.PRICE, "order_filled_rule": Queue.ORDER_FILLED}
# Whose depth the status tells, beside that of all dead letters: what prices, transactions and clients pass through.
SHOWN: Final = (
    Queue.PRICE,
    Queue.LIVE,
    Queue.DEMO,
    Queue.PAPER,
    Queue.BULK,
    Queue.REFRESH,
    Queue.DELAYED,
    Queue.PUSH,
    Queue.ORDER_FILLED,
    Queue.FILLS,
    Queue.LIVE_FILLS,
    Queue.ORDERS,
)


def urls(base: str) -> dict[str, str]:
    """Addresses of the queues by name (``live``); ``base`` ends with the stack's name and a dash."""
    return {queue.name.lower(): base + queue for queue in Queue}


def dead_letter_urls(base: str) -> dict[str, str]:
    """Addresses of dead letters by the name of what gave them up: a queue's, or ``ledger``."""
    return {queue.name.lower(): base + queue.dead for queue in Queue} | {"ledger": base + LEDGER_DEAD}


def all_dead_letter_urls(base: str) -> dict[str, str]:
    """Addresses of all dead letters there are, by the name of what gave them up (``fills``, ``close_day_schedule``)."""
    return dead_letter_urls(base) | {name: base + address for name, address in DEAD_STARTS.items()}


def name_of(base: str, arn: str) -> str:
    """What a queue is called here (``live_fills``) whose messages came with this ARN; "" for none of ours."""
    names = {url.rpartition("/")[2]: name for name, url in urls(base).items()}
    return names.get(arn.rpartition(":")[2], "")


def source_urls(base: str) -> dict[str, str]:
    """Where dead letters came from, by the same names; those whose letters came from no queue are not in it."""
    return urls(base) | {name: base + queue for name, queue in _OF_RULES.items()}


def shown_urls(base: str) -> dict[str, str]:
    """What the status asks for, by the name it shows: ``live``, ``live_dead``, ``ledger_dead``."""
    working = {queue.name.lower(): base + queue for queue in SHOWN}
    return working | {f"{name}_dead": url for name, url in all_dead_letter_urls(base).items()}
