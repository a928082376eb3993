"""Marking portfolios and connections dirty: cut into bundles, recorded, sent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from foliostream.domain import coalescing
from foliostream.domain.coalescing import MAX_ATTEMPTS, DirtyMessage, Reason, Window
from foliostream.domain.keys import split_key
from foliostream.ports import Clock, DirtyRecords, Queues

# Encoded at once, for the record and for the queue: of a symbol with a million holders all would be too much.
BUNDLES_AT_ONCE = 200


@dataclass(frozen=True)
class Marker:
    """``window_ms`` by account type; ``new_nonce`` gives a string that was never used before."""

    queues: Queues
    records: DirtyRecords
    clock: Clock
    window_ms: Mapping[str, int]
    flush_ms: int
    shards: int
    keys_per_message: int
    new_nonce: Callable[[], str]

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
        """Promise the keys (all of one account type) a valuation after the window's end; the number of bundles."""
        bundles = coalescing.bundles(
            keys,
            window,
            shards=self.shards,
            keys_per_message=self.keys_per_message,
            reason=reason,
            symbols=symbols,
            attempt=attempt,
        )
        for start in range(0, len(bundles), BUNDLES_AT_ONCE):
            part = bundles[start : start + BUNDLES_AT_ONCE]
            self.records.record(account_type, part)
            self.queues.send(account_type, part)
        return len(bundles)

    def refresh(self, key: str) -> None:
        """Promise a valuation at once, past every window and backlog."""
        account_type, _ = split_key(key)
        bundles = self._urgent([key], "refresh")
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

    def retry_portfolio(self, key: str, attempt: int, reason: str) -> None:
        """Send a failing portfolio alone under a new window, or, after ``MAX_ATTEMPTS``, to the dead letters."""
        account_type, _ = split_key(key)
        window = self.window(account_type)
        if attempt < MAX_ATTEMPTS:
            self.mark(account_type, [key], window, "bulk", attempt=attempt + 1)
            return
        message = DirtyMessage(window.number, window.end_ms, [key], "bulk", attempt=attempt)
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
            shards=self.shards,
            keys_per_message=self.keys_per_message,
            reason="push",
            attempt=attempt,
        )
        if bundles:
            nonce = self.new_nonce()
            self.queues.send("push", [bundle._replace(nonce=nonce) for bundle in bundles])

    def connections_now(self, connection_ids: Collection[str]) -> None:
        """Promise the connections a flush that waits for nothing: acknowledgements, events."""
        self.queues.send("push", self._urgent(connection_ids, "push"))

    def retry_connection(self, connection_id: str, attempt: int, reason: str) -> None:
        """Like ``retry_portfolio``; whatever was to be sent is state, so the next flush sends the newest."""
        if attempt < MAX_ATTEMPTS:
            self.connections([connection_id], attempt=attempt + 1)
            return
        now_ms = self.clock.now_ms()
        self.queues.dead_letter("push", DirtyMessage(now_ms, 0, [connection_id], "push", attempt=attempt), reason)

    def _urgent(self, keys: Collection[str], reason: Reason) -> list[coalescing.Bundle]:
        return coalescing.urgent(
            keys,
            self.clock.now_ms(),
            shards=self.shards,
            keys_per_message=self.keys_per_message,
            reason=reason,
            nonce=self.new_nonce(),
        )
