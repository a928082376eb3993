"""Marking portfolios and connections dirty: cut into bundles, recorded, sent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from foliostream.application.origins import Origins
from foliostream.domain import coalescing
from foliostream.domain.coalescing import MAX_ATTEMPTS, DirtyMessage, Reason, Window
from foliostream.domain.keys import split_key
from foliostream.ports import Clock, Delayed, DirtyRecords, Queues

# Work on many portfolios at once has a queue of its own, so that no price ever stands behind it.
BULK = "bulk"
DELAY_SECONDS_MAX = 900


class Later(NamedTuple):
    """A portfolio key and when it is to be valued, epoch milliseconds; ``attempt`` counts its retries."""

    key: str
    due_ms: int
    attempt: int = 0


# Connections are cut into at most this many groups. A recalculation sends a message a group, since none of these
# stands for another: with 64 groups a storm with many watchers would be paid mostly for them. Each group sends in
# parallel to its clients, so that 16 reach the 10,000 posts a second that an account has.
CONNECTION_GROUPS_MAX = 16

# Encoded at once, for the record and for the queue: of a symbol with a million holders all would be too much.
BUNDLES_AT_ONCE = 200


@dataclass(frozen=True)
class Marker:
    """``window_ms`` by account type; ``new_nonce`` gives a string that was never used before; ``origins`` go with every
    message."""

    queues: Queues
    records: DirtyRecords
    clock: Clock
    window_ms: Mapping[str, int]
    flush_ms: int
    shards: int
    keys_per_message: int
    new_nonce: Callable[[], str]
    origins: Origins = field(default_factory=Origins)

    def window(self, account_type: str) -> Window:
        """The window of now. Read it after the store acknowledged what the mark is for, never before."""
        return Window.at(self.clock.now_ms(), self.window_ms[account_type])

    def mark(
        self,
        account_type: str,
        keys: Collection[str],
        window: Window,
        reason: Reason,
        *,
        symbols: Sequence[str] = (),
        attempt: int = 0,
    ) -> int:
        """Promise the keys (all of one account type) a valuation after the window's end; the number of bundles.

        ``bulk`` marks go to the bulk queue, all others to the account type's. That queue knows no duplicates, so that
        nothing is gained by waiting: whatever the window, it ends now.
        """
        if reason == "bulk":
            now_ms = self.clock.now_ms()
            window = Window(now_ms, now_ms)
        bundles = coalescing.bundles(
            keys,
            window,
            shards=self.shards,
            keys_per_message=self.keys_per_message,
            reason=reason,
            symbols=symbols,
            attempt=attempt,
            origins=self.origins.ids,
        )
        queue = BULK if reason == "bulk" else account_type
        for start in range(0, len(bundles), BUNDLES_AT_ONCE):
            part = bundles[start : start + BUNDLES_AT_ONCE]
            self.records.record(account_type, part)
            self.queues.send(queue, part)
        return len(bundles)

    def refresh(self, key: str) -> None:
        """Promise a valuation at once, past every window and backlog."""
        account_type, _ = split_key(key)
        bundles = self._urgent([key], "refresh", self.shards)
        self.records.record(account_type, bundles)
        self.queues.send("refresh", bundles)

    def forget(self, messages: Iterable[DirtyMessage]) -> None:
        """The promises of received messages are kept."""
        kept: dict[str, list[tuple[int, str]]] = {}
        for message in messages:
            bundle = coalescing.bundle_of(message, self.shards)
            account_type, _ = split_key(message.keys[0])
            kept.setdefault(account_type, []).append((bundle.shard, bundle.bundle_id))
        for account_type, bundle_ids in kept.items():
            self.records.forget(account_type, bundle_ids)

    def later(self, items: Iterable[Later], reason: Reason) -> None:
        """Promise each key a valuation at its own time, at most 15 minutes from now. Keys of one shard that are due
        together share a message; its window ends when they are due, which is also what the record says."""
        together: dict[tuple[str, int, int], list[str]] = {}
        for item in items:
            account_type, _ = split_key(item.key)
            together.setdefault((account_type, item.due_ms, item.attempt), []).append(item.key)
        bundles: dict[str, list[coalescing.Bundle]] = {}
        for (account_type, due_ms, attempt), keys in together.items():
            bundles.setdefault(account_type, []).extend(
                coalescing.bundles(
                    keys,
                    Window(due_ms, due_ms),
                    shards=self.shards,
                    keys_per_message=self.keys_per_message,
                    reason=reason,
                    attempt=attempt,
                    origins=self.origins.ids,
                )
            )
        for account_type, of_type in bundles.items():
            self.records.record(account_type, of_type)
        if bundles:
            now_ms = self.clock.now_ms()
            self.queues.send_later([_delayed(bundle, now_ms) for part in bundles.values() for bundle in part])

    def give_up(self, key: str, at_ms: int, attempt: int, reason: str) -> None:
        """A portfolio that failed at ``at_ms`` to the dead letters; a repeat is the same letter. Put back into its
        queue, it is valued unless a snapshot was read since."""
        account_type, _ = split_key(key)
        message = DirtyMessage(at_ms, at_ms, [key], "bulk", attempt=attempt)
        self.queues.dead_letter(account_type, message, reason)

    def connections(self, connection_ids: Collection[str], *, attempt: int = 0) -> None:
        """Promise the connections a flush after the flush window's end.

        Every promise is a message of its own: none stands for another, so none can be lost to one that was worked off
        already on a clock ahead of ours, and the sender need not wait out the skew. What piles up while a connection
        is served goes with its next batch, and finds that everything is sent.
        """
        window = Window.at(self.clock.now_ms(), self.flush_ms)
        bundles = coalescing.bundles(
            connection_ids,
            window,
            shards=self._connection_groups,
            keys_per_message=self.keys_per_message,
            reason="push",
            attempt=attempt,
            origins=self.origins.ids,
        )
        if bundles:
            nonce = self.new_nonce()
            self.queues.send("push", [bundle._replace(nonce=nonce) for bundle in bundles])

    def connections_now(self, connection_ids: Collection[str]) -> None:
        """Promise the connections a flush that waits for nothing: acknowledgements, events."""
        self.queues.send("push", self._urgent(connection_ids, "push", self._connection_groups))

    def retry_connection(self, connection_id: str, attempt: int, reason: str) -> None:
        """Flush again after the next flush window, or, after ``MAX_ATTEMPTS``, to the dead letters; whatever was to be
        sent is state, so the next flush sends the newest."""
        if attempt < MAX_ATTEMPTS:
            self.connections([connection_id], attempt=attempt + 1)
            return
        now_ms = self.clock.now_ms()
        self.queues.dead_letter("push", DirtyMessage(now_ms, 0, [connection_id], "push", attempt=attempt), reason)

    @property
    def _connection_groups(self) -> int:
        return min(self.shards, CONNECTION_GROUPS_MAX)

    def _urgent(self, keys: Collection[str], reason: Reason, shards: int) -> list[coalescing.Bundle]:
        return coalescing.urgent(
            keys,
            self.clock.now_ms(),
            shards=shards,
            keys_per_message=self.keys_per_message,
            reason=reason,
            nonce=self.new_nonce(),
            origins=self.origins.ids,
        )


def _delayed(bundle: coalescing.Bundle, now_ms: int) -> Delayed:
    """The queue covers the whole seconds, the consumer waits out the rest."""
    seconds = (bundle.message.window_end_ms - now_ms) // 1000
    return Delayed(bundle, min(max(seconds, 0), DELAY_SECONDS_MAX))
