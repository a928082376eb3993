"""What a container remembers of what it has just worked on, within written bounds."""

from __future__ import annotations

from threading import Lock
from typing import Generic, NamedTuple, TypeVar

V = TypeVar("V")


class _Entry(NamedTuple, Generic[V]):
    value: V
    size: int


class Recent(Generic[V]):
    """The newest values by name, at most ``entries_max`` of together at most ``bytes_max``; the oldest go first.
    Safe to share between threads."""

    def __init__(self, entries_max: int, bytes_max: int) -> None:
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._entries: dict[str, _Entry[V]] = {}
        self._bytes = 0
        self._lock = Lock()

    def get(self, name: str) -> V | None:
        """None if it is not remembered."""
        found = self._entries.get(name)
        return None if found is None else found.value

    def put(self, name: str, value: V, size: int) -> None:
        """Remember it as the newest; ``size`` in bytes, as the caller counts them."""
        with self._lock:
            replaced = self._entries.pop(name, None)
            self._bytes += size - (replaced.size if replaced else 0)
            self._entries[name] = _Entry(value, size)
            while len(self._entries) > self._entries_max or self._bytes > self._bytes_max:
                self._bytes -= self._entries.pop(next(iter(self._entries))).size
