"""The fills queue in memory."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

from foliostream.adapters.sqs_fills import encode
from foliostream.application.receiving import Received
from foliostream.domain.fills import Fill
from foliostream.errors import RetryableError


class GivenUp(NamedTuple):
    """A message in a dead-letter queue."""

    source: str
    body: str
    message_id: str
    code: str
    reason: str
    group: str


class FakeFillQueue:
    """Implements ``ports.FillQueue``; ``failing`` makes the next calls fail."""

    def __init__(self) -> None:
        self.given_up: list[GivenUp] = []
        self.failing = 0
        self._waiting: list[Received] = []
        self._numbers = count(1)

    def send(self, fills: Sequence[Fill]) -> None:
        self._fail()
        self._waiting += [Received(f"m{next(self._numbers)}", encode(fill), 1) for fill in fills]

    def give_up(
        self, source: str, body: str, message_id: str, code: str, reason: str, *, group: str = "unread"
    ) -> None:
        self._fail()
        self.given_up.append(GivenUp(source, body, message_id, code, reason, group))

    def receive(self) -> list[Received]:
        """Everything that waits, which is then gone."""
        messages, self._waiting = self._waiting, []
        return messages

    def _fail(self) -> None:
        if self.failing:
            self.failing -= 1
            raise RetryableError("the fills queue fails")
