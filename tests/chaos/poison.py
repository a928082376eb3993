"""Messages that nobody can ever work with, each with the dead-letter queue it must end in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from foliostream.queues import Queue
from foliostream_client.transport import Rest
from tests.chaos.traffic import Desk, Fill, insist
from tests.e2e.conftest import Cloud, now_ms

FILLS, LIVE_FILLS, ORDER_FILLED, PRICE, LIVE = (
    Queue.FILLS,
    Queue.LIVE_FILLS,
    Queue.ORDER_FILLED,
    Queue.PRICE,
    Queue.LIVE,
)


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
        self._other_body("live", LIVE_FILLS)
        self._other_body("demo", FILLS)
        self._event("UNKNOWN", {"instrument_id": "NOBODY"})
        self._event("NOWHERE", {"portfolio_id": "zerodha_nobody", "instrument_id": next(iter(self._symbols()))})
        self._queued(FILLS, "no fill", {"MessageGroupId": "poison", "MessageDeduplicationId": self._word("no fill")})
        if self.with_unreadable:
            self._queued(PRICE, "no price", {})
            self._queued(LIVE, "no key", {"MessageGroupId": "poison", "MessageDeduplicationId": self._word("no key")})
        return sum(map(len, self.letters.values())) - before

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
        self._expect(ORDER_FILLED, word)

    def _queued(self, queue: Queue, kind: str, more: Mapping[str, str]) -> None:
        word = self._word(kind)
        url = self.cloud.outputs.resources[_OUTPUTS[queue]]
        self.cloud.aws("sqs").send_message(QueueUrl=url, MessageBody=json.dumps({"poison": word}), **more)
        self._expect(queue, word)

    def _symbols(self) -> set[str]:
        return {symbol for symbols in self.desk.cash.values() for symbol in symbols}

    def _word(self, kind: str) -> str:
        return f"{self.name}-{kind.replace(' ', '-')}-{self.sent}"

    def _expect(self, queue: Queue, word: str) -> None:
        self.letters.setdefault(queue, set()).add(word)


_OUTPUTS = {FILLS: "FillsQueueUrl", PRICE: "PriceQueueUrl", LIVE: "DirtyLiveQueueUrl"}
