"""When accounts are reconciled: each once in a slot of time, in bounded parts that go on where the last one stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from foliostream.application.reading import decoded
from foliostream.application.receiving import Received
from foliostream.application.reconcile import Reconciliation
from foliostream.domain.reconciliation import Report, Turn
from foliostream.errors import FoliostreamError
from foliostream.ports import Accounts, Clock, Notes, ReconcileQueue

ACCOUNTS_MAX = 1_000
_NOTE = "reconcile"
_turns = msgspec.json.Decoder(Turn)


class _Progress(msgspec.Struct, frozen=True):
    """``cursor``: of the slot's next page; None: all are queued."""

    slot: int
    cursor: str | None


@dataclass(frozen=True)
class ReconcileSchedule:
    """``interval_ms``: length of a slot."""

    accounts: Accounts
    notes: Notes
    queue: ReconcileQueue
    reconcile: Reconciliation
    clock: Clock
    interval_ms: int

    def start(self) -> int:
        """Queue what is still to be queued of the slot, at most ``ACCOUNTS_MAX``; the number."""
        slot = self.clock.now_ms() // self.interval_ms
        note = self.notes.read(_NOTE)
        before = None if note is None else msgspec.json.decode(note, type=_Progress)
        cursor = None
        if before is not None and before.slot == slot:
            if before.cursor is None:
                return 0
            cursor = before.cursor
        page = self.accounts.page(cursor, ACCOUNTS_MAX)
        self.queue.send(page.accounts, slot)
        self.notes.keep(_NOTE, msgspec.json.encode(_Progress(slot, page.cursor)))
        return len(page.accounts)

    def work(self, received: Sequence[Received]) -> tuple[list[Report], list[str]]:
        """Reconcile queued accounts; the reports, and the ids of messages that have to come again. One of a slot that
        is over is done by the slots after it."""
        reports, again = [], []
        for message in received:
            try:
                turn = decoded(_turns, message.body)
                if turn.slot >= self.clock.now_ms() // self.interval_ms - 1:
                    reports.append(self.reconcile(turn.broker, turn.account))
            except FoliostreamError:
                again.append(message.message_id)
        return reports, again
