"""SQS as AWS describes it.

FIFO: a deduplication id counts for five minutes from its first message, within the message's group, also after that
message was received and deleted; a group's messages come in order, and none while an earlier one is in flight or
delayed; only the first 120,000 messages are looked at, and no more than 120,000 are in flight. Standard: any order,
now and then twice. Both: at least once; a message that is not deleted within its visibility timeout comes again, and
after ``max_receives`` goes to the dead letters instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.world import SECOND, World

DEDUPLICATION_US = 300 * SECOND
DELAY_MOST_US = 900 * SECOND
LOOK_AHEAD = 120_000
IN_FLIGHT_MAX = 120_000


@dataclass(eq=False)
class Message:
    """``visible_us``: from when on it may be received; ``receipt`` is that of the latest receive."""

    message_id: str
    group: str
    body: str
    visible_us: int
    content: Any = None
    receives: int = 0
    receipt: int = 0


@dataclass(eq=False)
class Queue:
    """``on_ready`` is called whenever there may be something to receive; ``on_sent`` with every message that was
    taken, and with None for every one that was swallowed as a duplicate."""

    world: World
    name: str
    is_fifo: bool = True
    delay_us: int = 0
    visibility_us: int = 35 * SECOND
    max_receives: int = 20
    duplicate: float = 0
    look_ahead: int = LOOK_AHEAD
    on_ready: Callable[[], object] = lambda: None
    messages: list[Message] = field(default_factory=list)
    dead: list[Message] = field(default_factory=list)
    _seen: dict[tuple[str, str], int] = field(default_factory=dict)
    _count: int = 0

    def send(
        self,
        body: str,
        *,
        group: str = "",
        deduplication_id: str = "",
        content: object = None,
        delay_us: int | None = None,
    ) -> bool:
        """Whether it was taken; the sender is not told. A delay of the message's own, in place of the queue's, is for
        standard queues: ``ValueError``."""
        now_us = self.world.now_us
        if delay_us is not None and (self.is_fifo or not 0 <= delay_us <= DELAY_MOST_US):
            raise ValueError(f"{self.name} takes no message with a delay of {delay_us} us")
        wait_us = self.delay_us if delay_us is None else delay_us
        if self.is_fifo:
            known_us = self._seen.get((group, deduplication_id))
            if known_us is not None and now_us < known_us + DEDUPLICATION_US:
                self.world.trace(self.name, "swallows the duplicate", deduplication_id)
                return False
            self._seen[group, deduplication_id] = now_us
        for _ in range(1 if self.is_fifo or not self.world.chance(self.duplicate) else 2):
            self._count += 1
            name = f"{self.name}-{self._count}"
            self.messages.append(Message(name, group, body, now_us + wait_us, content))
            self.world.trace(self.name, "takes", name, deduplication_id, body)
            self.world.after(wait_us, self.on_ready)
        return True

    def receive(self, most: int) -> list[tuple[Message, int]]:
        """Messages with the receipts by which they can be deleted; they are in flight for the visibility timeout."""
        found = self._available(most)
        received = []
        for message in found:
            message.receives += 1
            if message.receives > self.max_receives:
                self.messages.remove(message)
                self.dead.append(message)
                self.world.trace(self.name, "gives up", message.message_id)
                continue
            self._count += 1
            message.receipt = self._count
            self._hide(message, self.visibility_us)
            received.append((message, message.receipt))
        return received

    def _available(self, most: int) -> list[Message]:
        now_us, blocked, found = self.world.now_us, set(), []
        in_flight = sum(1 for message in self.messages if message.receives and message.visible_us > now_us)
        most = min(most, IN_FLIGHT_MAX - in_flight)
        looked_at = self.messages[: self.look_ahead]
        if not self.is_fifo:
            looked_at = self.world.random.sample(looked_at, len(looked_at))
        for message in looked_at:
            if len(found) >= most:
                break
            if message.visible_us > now_us:
                blocked.add(message.group)
            elif not self.is_fifo or message.group not in blocked:
                found.append(message)
        return found

    def delete(self, message: Message, receipt: int) -> bool:
        """False if it was received again since, or has come back already."""
        if message.receipt != receipt or message not in self.messages:
            return False
        self.messages.remove(message)
        self.on_ready()
        return True

    def give_back(self, message: Message, receipt: int, delay_us: int) -> None:
        """Visible again after the delay."""
        if message.receipt == receipt and message in self.messages:
            self._hide(message, delay_us)

    def _hide(self, message: Message, for_us: int) -> None:
        message.visible_us = self.world.now_us + for_us
        self.world.after(for_us, self.on_ready)
