"""Notices in memory."""

from __future__ import annotations

from collections.abc import Sequence

from foliostream.ports import KeptNotice


class FakeNotices:
    """Implements ``ports.Notices``."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, int, str], tuple[KeptNotice, int]] = {}

    def keep(self, notices: Sequence[KeptNotice], expires_at_ms: int) -> None:
        for notice in notices:
            self.kept[notice.portfolio_id, notice.kept_at_ms, notice.event_id] = notice, expires_at_ms

    def since(self, portfolio_id: str, after_ms: int, limit: int, now_ms: int) -> list[KeptNotice]:
        found = [
            notice
            for (name, kept_at_ms, _), (notice, expires_at_ms) in sorted(self.kept.items(), key=lambda item: item[0])
            if name == portfolio_id and kept_at_ms >= after_ms and -(-expires_at_ms // 1000) > now_ms // 1000
        ]
        return found[-limit:]
