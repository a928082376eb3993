"""Windows, shards, bundles and deduplication ids (the argument is in docs/decisions.md, "Windows and ids").

SQS FIFO remembers a deduplication id for five minutes, also after the message was consumed. An id therefore names
the window it belongs to: within a window the same dependents give the same id and are queued once; the next window
gives another id, so nothing is swallowed that was not already promised a valuation after the window's end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Literal, NamedTuple

from msgspec import Struct

from foliostream.domain import keys as names

Reason = Literal["price", "ledger", "bulk", "refresh", "sweep", "push"]

MAX_ATTEMPTS = 5
# The symbols of a message are information for people who read queues; they never limit what is read.
MAX_SYMBOLS_IN_MESSAGE = 20
_CUT_SALT = b"cut"


class DirtyMessage(Struct, frozen=True):
    """The body of a dirty, refresh or push message (contract section 4). For push, keys are connection ids. ``origins``
    say what set it off, for logs."""

    window: int
    window_end_ms: int
    keys: list[str]
    reason: Reason
    symbols: list[str] = []
    attempt: int = 0
    v: int = 1
    origins: list[str] = []


class Bundle(NamedTuple):
    """A message with where it goes. ``bundle_id`` follows from shard and message alone; FIFO group = shard."""

    bundle_id: str
    shard: int
    message: DirtyMessage
    nonce: str = ""

    @property
    def deduplication_id(self) -> str:
        """The bundle's id; an urgent one's is unique."""
        return f"{self.bundle_id}-{self.nonce}" if self.nonce else self.bundle_id


class Window(NamedTuple):
    """A stretch of time of one account type; ``number`` = floor(now / length)."""

    number: int
    end_ms: int

    @classmethod
    def at(cls, now_ms: int, length_ms: int) -> Window:
        """The window of ``length_ms`` that ``now_ms`` lies in."""
        number = now_ms // length_ms
        return cls(number, (number + 1) * length_ms)


def due_ms(message: DirtyMessage, skew_ms: int) -> int:
    """Before this time on its own clock a consumer must not read anything for the message."""
    return message.window_end_ms + skew_ms if message.window_end_ms else 0


def bundles(
    dirty: Iterable[str],
    window: Window,
    *,
    shards: int,
    keys_per_message: int,
    reason: Reason,
    symbols: Sequence[str] = (),
    attempt: int = 0,
    origins: Sequence[str] = (),
) -> list[Bundle]:
    """Cut dirty keys into bundles of one shard each, at most ``keys_per_message`` long.

    The same keys in the same window always give the same bundles, whatever their order: shards by a stable hash of
    the portfolio id (or connection id), a shard's keys sorted and cut along the bits of a second hash, so that one
    more key changes one bundle and not all of them.
    """
    by_shard: dict[int, list[str]] = {}
    for key in set(dirty):
        by_shard.setdefault(names.shard_of(_identifier(key), shards), []).append(key)
    shown, known = list(symbols[:MAX_SYMBOLS_IN_MESSAGE]), list(origins)
    return [
        _bundle(shard, DirtyMessage(window.number, window.end_ms, part, reason, shown, attempt, origins=known))
        for shard in sorted(by_shard)
        for part in _cut(sorted(by_shard[shard]), keys_per_message)
    ]


def urgent(
    dirty: Iterable[str],
    now_ms: int,
    *,
    shards: int,
    keys_per_message: int,
    reason: Reason,
    nonce: str,
    origins: Sequence[str] = (),
) -> list[Bundle]:
    """Bundles nobody waits for (``window_end_ms`` 0). ``nonce`` makes every deduplication id its own: without a
    window, the message that swallows a duplicate may have been read before the change the duplicate stands for."""
    window = Window(now_ms, 0)
    cut = bundles(dirty, window, shards=shards, keys_per_message=keys_per_message, reason=reason, origins=origins)
    return [bundle._replace(nonce=nonce) for bundle in cut]


def bundle_of(message: DirtyMessage, shards: int) -> Bundle:
    """The bundle a received message was sent as (without its nonce): what its record is kept under."""
    return _bundle(names.shard_of(_identifier(message.keys[0]), shards), message)


def _identifier(key: str) -> str:
    """The portfolio id of a portfolio key; a connection id is itself."""
    return key.partition(":")[2] or key


def _cut(keys: list[str], limit: int) -> list[list[str]]:
    if len(keys) <= limit:
        return [keys] if keys else []
    hashed = [(names.stable_hash(key, _CUT_SALT), key) for key in keys]
    return [[key for _, key in part] for part in _split(hashed, limit, 0)]


def _split(hashed: list[tuple[int, str]], limit: int, bit: int) -> list[list[tuple[int, str]]]:
    if len(hashed) <= limit:
        return [hashed] if hashed else []
    if bit == 64:  # 64 equal bits: cannot be told apart by the hash
        return [hashed[start : start + limit] for start in range(0, len(hashed), limit)]
    sides: tuple[list[tuple[int, str]], list[tuple[int, str]]] = ([], [])
    for pair in hashed:
        sides[pair[0] >> bit & 1].append(pair)
    return [part for side in sides for part in _split(side, limit, bit + 1)]


def _bundle(shard: int, message: DirtyMessage) -> Bundle:
    digest = blake2b("\n".join(message.keys).encode(), digest_size=12)
    if message.attempt:
        digest.update(b"#%d" % message.attempt)
    # Prices may wait for a portfolio's interval: a mark that does not must not be swallowed by one of theirs.
    if message.reason not in ("price", "push"):
        digest.update(b"!")
    return Bundle(f"{message.window}-{shard}-{digest.hexdigest()}", shard, message)
