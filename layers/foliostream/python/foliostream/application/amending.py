"""Status and settings of a portfolio over REST."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from msgspec import UNSET, UnsetType

from foliostream.application.access import Caller, own_portfolio
from foliostream.application.portfolios import MAX_COMMIT_ROUNDS, Portfolios
from foliostream.application.rendering import Rendered
from foliostream.domain import changes, keys
from foliostream.domain.changes import Standing
from foliostream.domain.portfolio import Portfolio, Status
from foliostream.errors import CallerError, ConflictError
from foliostream.ports import Clock, Ledger


class Wanted(NamedTuple):
    """What a caller asks for; UNSET leaves it as it is. ``update_interval_ms`` None: none but the window; a level None:
    the deployment's."""

    status: Status | UnsetType = UNSET
    allow_short: bool | UnsetType = UNSET
    update_interval_ms: int | UnsetType | None = UNSET
    target_weights: dict[str, Decimal] | UnsetType = UNSET
    benchmark: str | UnsetType | None = UNSET
    margin_call_percent: Decimal | UnsetType | None = UNSET
    stop_out_percent: Decimal | UnsetType | None = UNSET
    auto_liquidate: bool | UnsetType = UNSET
    broker_share: Decimal | UnsetType | None = UNSET

    def of(self, now: Standing) -> Standing:
        """The standing asked for."""
        return Standing(
            now.status if self.status is UNSET else self.status,
            now.allow_short if self.allow_short is UNSET else self.allow_short,
            now.update_interval_ms if self.update_interval_ms is UNSET else self.update_interval_ms,
            now.target_weights if self.target_weights is UNSET else self.target_weights,
            now.benchmark if self.benchmark is UNSET else self.benchmark,
            now.margin_call_percent if self.margin_call_percent is UNSET else self.margin_call_percent,
            now.stop_out_percent if self.stop_out_percent is UNSET else self.stop_out_percent,
            now.auto_liquidate if self.auto_liquidate is UNSET else self.auto_liquidate,
            now.broker_share if self.broker_share is UNSET else self.broker_share,
        )


@dataclass(frozen=True)
class Amending:
    """The change and its record (who, when, from what to what) are one transaction under the portfolio's version.
    ``portfolio_status_changed`` is published by the ledger's stream, out of the record."""

    ledger: Ledger
    portfolios: Portfolios
    clock: Clock

    def __call__(self, caller: Caller, portfolio_id: str, wanted: Wanted) -> Rendered:
        """The state after; a repeat changes nothing. ``RefusedError`` ``NOT_FLAT`` for closing with open positions."""
        if wanted == Wanted():
            raise CallerError("there is nothing to change: give status or settings")
        for _ in range(MAX_COMMIT_ROUNDS):
            before = own_portfolio(caller, keys.portfolio_id(portfolio_id), self.ledger)
            try:
                after = self._amend(caller, before, wanted)
            except ConflictError as conflict:
                if conflict.code == "VERSION_CONFLICT":
                    continue
                raise
            return self.portfolios.publish(after)
        raise ConflictError(f"{portfolio_id} changed {MAX_COMMIT_ROUNDS} times meanwhile", code="TOO_MUCH_CONTENTION")

    def _amend(self, caller: Caller, before: Portfolio, wanted: Wanted) -> Portfolio:
        standing = wanted.of(changes.standing(before))
        defaults = self.portfolios.valuer.rules.limits[before.account_type]
        amended = changes.amend(before, standing, caller.subject, self.clock.now_ms(), defaults)
        if amended is None:
            return before
        self.ledger.amend(*amended)
        return amended[0]
