"""Dead letters and functions in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import count
from typing import NamedTuple

from foliostream.errors import PermanentError, RetryableError
from foliostream.ports import Letter, QueueDepth
from tests.fakes.clock import FakeClock

BATCH_MAX = 10


class SentBack(NamedTuple):
    """A message in the queue that a letter came from."""

    name: str
    body: str
    group: str
    nonce: str


class FakeLetters:
    """Implements ``ports.Letters`` and ``ports.QueueDepths``. ``failing`` makes the next sends fail, ``dying`` the next
    deletions."""

    def __init__(self, clock: FakeClock, names: Collection[str], sources: Collection[str]) -> None:
        self.sent_back: list[SentBack] = []
        self.failing = self.dying = 0
        self._clock = clock
        self._sources = set(sources)
        self._letters: dict[str, dict[str, Letter]] = {name: {} for name in names}
        self._held_until_ms: dict[str, int] = {}
        self._ids = count(1)

    def put(self, name: str, body: str, *, group: str = "", **attributes: str) -> str:
        """A new letter; its id."""
        identifier = f"letter-{next(self._ids):04d}"
        now_ms = self._clock.now_ms()
        self._letters[name][identifier] = Letter(identifier, body, attributes, 0, now_ms, 0, group, identifier)
        return identifier

    def there(self, name: str) -> list[str]:
        """Ids, held or not."""
        return list(self._letters[name])

    def names(self) -> list[str]:
        return sorted(self._letters)

    def depths(self) -> dict[str, QueueDepth]:
        held = {name: sum(map(self._is_held, letters)) for name, letters in self._letters.items()}
        return {name: QueueDepth(len(letters) - held[name], held[name]) for name, letters in self._letters.items()}

    def hold(self, name: str, seconds: int) -> list[Letter]:
        letters = self._letters[name]
        busy = {letter.group for letter in letters.values() if letter.group and self._is_held(letter.letter_id)}
        free = [item for item in letters.values() if not self._is_held(item.letter_id) and item.group not in busy]
        taken = []
        for letter in free[:BATCH_MAX]:
            received = letter._replace(
                receives=letter.receives + 1, first_received_at_ms=letter.first_received_at_ms or self._clock.now_ms()
            )
            letters[letter.letter_id] = received
            self._held_until_ms[letter.letter_id] = self._clock.now_ms() + seconds * 1000
            taken.append(received)
        return taken

    def release(self, name: str, letters: Sequence[Letter]) -> None:
        for letter in letters:
            assert letter.letter_id not in self._letters[name] or self._is_held(letter.letter_id), "it is not held"
            self._held_until_ms.pop(letter.letter_id, None)

    def delete(self, name: str, letter: Letter) -> None:
        if self.dying:
            self.dying -= 1
            raise RetryableError("killed before the letter was deleted")
        del self._letters[name][letter.letter_id]

    def send_back(self, name: str, letter: Letter, nonce: str) -> None:
        if self.failing:
            self.failing -= 1
            raise RetryableError("the queue fails")
        if name not in self._sources:
            raise PermanentError(f"letters of {name} came from no queue")
        self.sent_back.append(SentBack(name, letter.body, letter.group, nonce))

    def _is_held(self, letter_id: str) -> bool:
        return self._held_until_ms.get(letter_id, 0) > self._clock.now_ms()


class FakeFunctions:
    """Implements ``ports.Functions``; ``started`` are (function, payload)."""

    def __init__(self) -> None:
        self.started: list[tuple[str, bytes]] = []

    def start(self, function: str, payload: bytes) -> None:
        self.started.append((function, payload))
