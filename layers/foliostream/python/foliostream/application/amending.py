"""Status and settings of a portfolio over REST."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from msgspec import UNSET, UnsetType

from foliostream.application.access import Caller, own_portfolio
from foliostream.application.portfolios import MAX_COMMIT_ROUNDS, Portfolios
from foliostream.domain import changes, keys
from foliostream.domain.changes import Change, Standing
from foliostream.domain.portfolio import Portfolio, Status
from foliostream.errors import CallerError, ConflictError
from foliostream.ports import Clock, EventBus, Ledger, StoredSnapshot


class Wanted(NamedTuple):
    """What a caller asks for; UNSET leaves it as it is. ``update_interval_ms`` None: none but the window."""

    status: Status | UnsetType = UNSET
    allow_short: bool | UnsetType = UNSET
    update_interval_ms: int | UnsetType | None = UNSET

    def of(self, now: Standing) -> Standing:
        """The standing asked for."""
        return Standing(
            now.status if self.status is UNSET else self.status,
            now.allow_short if self.allow_short is UNSET else self.allow_short,
            now.update_interval_ms if self.update_interval_ms is UNSET else self.update_interval_ms,
        )


@dataclass(frozen=True)
class Amending:
    """The change and its record (who, when, from what to what) are one transaction under the portfolio's version.

    Whoever is told that it is done may rely on ``portfolio_status_changed`` being published: who is not told asks
    again, and a repeat that finds the change done publishes its event again, under the same id.
    """

    ledger: Ledger
    portfolios: Portfolios
    bus: EventBus
    clock: Clock

    def __call__(self, caller: Caller, portfolio_id: str, wanted: Wanted) -> StoredSnapshot:
        """The state after; a repeat changes nothing. ``RefusedError`` ``NOT_FLAT`` for closing with open positions."""
        if wanted == Wanted():
            raise CallerError("there is nothing to change: give status or settings")
        for _ in range(MAX_COMMIT_ROUNDS):
            before = own_portfolio(caller, keys.portfolio_id(portfolio_id), self.ledger)
            try:
                after, change = self._amend(caller, before, wanted)
            except ConflictError as conflict:
                if conflict.code == "VERSION_CONFLICT":
                    continue
                raise
            self._announce(change)
            return self.portfolios.publish(after)
        raise ConflictError(f"{portfolio_id} changed {MAX_COMMIT_ROUNDS} times meanwhile", code="TOO_MUCH_CONTENTION")

    def _amend(self, caller: Caller, before: Portfolio, wanted: Wanted) -> tuple[Portfolio, Change | None]:
        standing = wanted.of(changes.standing(before))
        amended = changes.amend(before, standing, caller.subject, self.clock.now_ms())
        if amended is None:
            last = self.ledger.last_change(before.portfolio_id)
            return before, last if last and last.after == standing else None
        self.ledger.amend(*amended)
        return amended

    def _announce(self, change: Change | None) -> None:
        event = changes.status_event(change) if change else None
        if event:
            self.bus.publish(changes.STATUS_CHANGED, [event])
