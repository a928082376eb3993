"""Messages that nobody can ever work with, each with the dead-letter queue it must end in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from foliostream.queues import Queue
from foliostream_client.transport import Rest
from tests.chaos.traffic import Desk, Fill, insist
from tests.e2e.conftest import Cloud, now_ms

# What they hold is given up with its reason at once where it says whose it is; what no function can read is tried
# twenty times by all of them but these, whose functions know that it never will be.
GIVEN_UP_AT_ONCE = (Queue.FILLS, Queue.LIVE_FILLS)
# Where no feed of prices is configured a tick of it means nothing: it is taken and left.
UNREAD = (Queue.FEED,)
# Nobody is waiting for these: they need not wait five minutes for the next try.
IDLE = (Queue.CLOSE_DAY, Queue.BOOK_SWAPS, Queue.RECONCILE)
HURRIED_S = "1"


@dataclass
class Poison:
    """``letters``: for each dead-letter queue a word of every message that must be in it. Those that are given up with
    their reason are there at once; what cannot even be read is tried twenty times first (``unreadable``)."""

    cloud: Cloud
    rest: Rest
    desk: Desk
    types: Mapping[str, str]
    name: str
    with_unreadable: bool
    letters: dict[Queue, set[str]] = field(default_factory=dict)
    sent: int = 0

    def send(self) -> int:
        """One of each kind; how many."""
        self.sent += 1
        before = sum(map(len, self.letters.values()))
        self._other_body("live", Queue.LIVE_FILLS)
        self._other_body("demo", Queue.FILLS)
        self._event("UNKNOWN", {"instrument_id": "NOBODY"})
        self._event("NOWHERE", {"portfolio_id": "zerodha_nobody", "instrument_id": next(iter(self._symbols()))})
        if self.with_unreadable:
            self.hurry(IDLE)
        for queue in Queue if self.with_unreadable else GIVEN_UP_AT_ONCE:
            if queue not in UNREAD:
                self._unreadable(queue)
        return sum(map(len, self.letters.values())) - before

    def hurry(self, queues: Iterable[Queue] = Queue) -> None:
        """What cannot be read is tried twenty times, 35 seconds apart: now every second."""
        for queue in queues:
            self.cloud.aws("sqs").set_queue_attributes(
                QueueUrl=queue_url(self.cloud, queue), Attributes={"VisibilityTimeout": HURRIED_S}
            )

    def _other_body(self, account_type: str, queue: Queue) -> None:
        """A fill, and the same id with another quantity right after it in the same queue: the second is refused."""
        portfolio_id = next(name for name in self.desk.cash if self.types[name] == account_type)
        word, symbol = self._word(f"twice-{account_type}"), self.desk.cash[portfolio_id][0]
        fill = self.desk.sent[word] = Fill(word, portfolio_id, symbol, 5, self.desk.draw_price(), Decimal(0), now_ms())
        for body in (fill.body(), fill.body() | {"quantity": 6}):
            insist(self.rest, "POST", "/api/v1/fills", [body])
        self._expect(queue, word)

    def _event(self, kind: str, changes: Mapping[str, Any]) -> None:
        word = self._word(kind)
        fill = Fill(word, next(iter(self.desk.cash)), "", 5, self.desk.draw_price(), Decimal(0), now_ms())
        self.desk.publish({**fill.body(), **changes})
        self._expect(Queue.ORDER_FILLED, word)

    def _unreadable(self, queue: Queue) -> None:
        word = self._word(f"in {queue.name}")
        order = {"MessageGroupId": "poison", "MessageDeduplicationId": word} if queue.endswith(".fifo") else {}
        url = queue_url(self.cloud, queue)
        self.cloud.aws("sqs").send_message(QueueUrl=url, MessageBody=json.dumps({"poison": word}), **order)
        self._expect(queue, word)

    def _symbols(self) -> set[str]:
        return {symbol for symbols in self.desk.cash.values() for symbol in symbols}

    def _word(self, kind: str) -> str:
        return f"{self.name}-{kind.replace(' ', '-')}-{self.sent}"

    def _expect(self, queue: Queue, word: str) -> None:
        self.letters.setdefault(queue, set()).add(word)


def queue_url(cloud: Cloud, name: str) -> str:
    """The address of a queue, or of its dead letters, by what follows the stack's name."""
    return cloud.outputs.resources["PriceQueueUrl"].removesuffix(Queue.PRICE) + name
