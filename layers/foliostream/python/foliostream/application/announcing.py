"""Announcing what happened to portfolios: kept for replay, put into the outbox of everybody who watches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from foliostream.application.marking import Marker
from foliostream.domain.notices import CHANNEL_OF, Notice
from foliostream.ports import Clock, Connections, KeptNotice, Notices, Outgoing, Snapshots

# No connection lives longer, and nor does what waits for it.
OUTBOX_LIFE_MS = 2 * 3_600_000
# An item has 400 KB at most, with what stands beside the payloads.
PACKED_MAX = 100
PACKED_BYTES_MAX = 200_000


@dataclass(frozen=True)
class Announcer:
    """Kept first, then sent: whoever dies in between announces again, under the same event ids, and clients know
    those. ``kept_ms``: how long a notice can be replayed."""

    notices: Notices
    connections: Connections
    snapshots: Snapshots
    marker: Marker
    clock: Clock
    kept_ms: int

    def __call__(self, happened: Sequence[Notice]) -> None:
        """``RetryableError`` if a store fails: announce all of them again."""
        if not happened:
            return
        now_ms = self.clock.now_ms()
        kept = [
            KeptNotice(notice.portfolio_id, notice.event_id, notice.kind, now_ms, notice.payload) for notice in happened
        ]
        self.notices.keep(kept, now_ms + self.kept_ms)
        # After they are kept: whoever begins to watch now finds them there.
        watchers = self.snapshots.watchers({notice.portfolio_id for notice in kept}, now_ms)
        letters = [(watcher, outgoing(notice)) for notice in kept for watcher in watchers.get(notice.portfolio_id, ())]
        if letters:
            self.connections.enqueue(letters, now_ms + OUTBOX_LIFE_MS)
            self.marker.connections_now({watcher for watcher, _ in letters})


def outgoing(notice: KeptNotice) -> Outgoing:
    """Its place in an outbox: one kept twice is there twice, and sent once."""
    return Outgoing(
        f"{notice.kept_at_ms:015d}-{notice.event_id}",
        notice.payload,
        event_id=notice.event_id,
        portfolio_id=notice.portfolio_id,
        channel=CHANNEL_OF[notice.kind],
    )


def packed(notices: Sequence[Outgoing]) -> Iterator[Outgoing]:
    """The same, many in one entry each: it has the place of its first, and is not taken for that one."""
    pack: list[Outgoing] = []
    size = 0
    for notice in notices:
        if pack and (len(pack) == PACKED_MAX or size + len(notice.payload) > PACKED_BYTES_MAX):
            yield _pack(pack)
            pack, size = [], 0
        pack.append(notice)
        size += len(notice.payload)
    if pack:
        yield _pack(pack)


def _pack(notices: Sequence[Outgoing]) -> Outgoing:
    return Outgoing(f"{notices[0].entry_id}+{len(notices)}", b"", notices=tuple(notices))
