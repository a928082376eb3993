"""Who asks all the while: the owner, to whom every answer must be whole; a stranger and somebody without a token, to
whom there must never be one; and who has positions analyzed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

from foliostream_client.errors import ApiError
from foliostream_client.transport import Rest
from tests.chaos.crowd import Crowd
from tests.chaos.traffic import Accounts

# Weights are rounded to six decimals each.
WEIGHTS_TOLERANCE = Decimal("0.00001")
NOTHING = Decimal(0)
# The first comes from the hot store, the others from the ledger.
PRIVATE = ("state", "transactions", "history", "orders")
ANALYZED_EVERY_S, ASKED_AGAIN_S = 2.5, 10.0


@dataclass
class Readers:
    """``faults``: what was wrong with an answer; ``unpriced``: what was read without a total. ``answers``,
    ``refusals``: what the owner and the others got."""

    owner: Rest
    others: Mapping[str, Rest]
    accounts: Accounts
    draw: Random
    answers: int = 0
    refusals: int = 0
    faults: list[str] = field(default_factory=list)
    unpriced: set[str] = field(default_factory=set)
    versions: dict[str, int] = field(default_factory=dict)

    def run(self, ended: threading.Event) -> None:
        while not ended.wait(0.4):
            portfolio_id = self.draw.choice(self.accounts.all)
            path = f"/api/v1/portfolio/{portfolio_id}/state"
            if (state := _read(self.owner, path)) is not None:
                self.answers += 1
                self.faults += self._wrong(portfolio_id, state)
            name, rest = self.draw.choice(sorted(self.others.items()))
            what = self.draw.choice(PRIVATE)
            if _read(rest, f"/api/v1/portfolio/{portfolio_id}/{what}") is None:
                self.refusals += 1
            else:
                self.faults.append(f"{name} read the {what} of {portfolio_id}")

    def _wrong(self, portfolio_id: str, state: Mapping[str, Any]) -> Iterator[str]:
        for fault in (*inconsistencies(state), *self._older(portfolio_id, state)):
            yield f"{portfolio_id} was read at version {state['version']}: {fault}"
        if state["calc_status"] == "unpriced":
            self.unpriced.add(portfolio_id)
        elif portfolio_id in self.accounts.blind:
            yield f"{portfolio_id} has a price that nobody ever told"

    def _older(self, portfolio_id: str, state: Mapping[str, Any]) -> Iterator[str]:
        """G6, as it is read."""
        before = self.versions.get(portfolio_id, 0)
        if state["version"] < before:
            yield f"it was {before} before"
        self.versions[portfolio_id] = max(before, state["version"])


@dataclass
class Analyst:
    """Has a position analyzed again and again, so that a run supersedes the one before where that takes long."""

    crowd: Crowd
    accounts: Accounts

    def run(self, ended: threading.Event) -> None:
        while not ended.wait(ANALYZED_EVERY_S):
            self.ask()

    def ask(self) -> None:
        """By the first of the clients, of what is held from the beginning to the end."""
        portfolio_id, symbol = next(iter(self.accounts.margin.items()))
        self.crowd.analyze(self.crowd.healthy[0], symbol, portfolio_id)

    def unanswered(self) -> Callable[[], list[str]]:
        """Asks again from time to time; nothing once an analysis was completed that was none before."""
        client = self.crowd.healthy[0]
        before, next_at = set(client.completed), time.monotonic()

        def look() -> list[str]:
            nonlocal next_at
            if client.completed - before:
                return []
            if time.monotonic() >= next_at:
                self.ask()
                next_at = time.monotonic() + ASKED_AGAIN_S
            return ["no analysis was completed in the silence"]

        return look


def inconsistencies(state: Mapping[str, Any]) -> Iterator[str]:
    """G5 and G7 of one state of whole quantities and prices in cents: its parts make its total, and where one of them
    has no price nothing is guessed."""
    papers = [item for item in state["positions"] if item["position_type"] != "CASH"]
    unpriced = sorted(item["instrument_id"] for item in papers if item["market_value"] is None)
    if unpriced != sorted(state["unpriced"]):
        yield f"no value of {unpriced}, unpriced {state['unpriced']}"
    if unpriced:
        if state["total_value"] is not None or state["weights"] is not None:
            yield f"a total {state['total_value']} and weights {state['weights']} without a price of {unpriced}"
        return
    if state["margin"] is None:
        parts = state["cash_balance"] + sum((item["quantity"] * item["mark"] for item in papers), NOTHING)
    else:
        parts = state["margin"]["balance"] + sum((item["unrealized_pnl"] for item in papers), NOTHING)
    if parts != state["total_value"]:
        yield f"the parts make {parts}, the total is {state['total_value']}"
    if state["weights"] is not None and abs(sum(state["weights"].values(), NOTHING) - 1) > WEIGHTS_TOLERANCE:
        yield f"weights make {sum(state['weights'].values())}"


def _read(rest: Rest, path: str) -> Any:  # noqa: ANN401 (JSON)
    try:
        answer = rest.call("GET", path)
    except ApiError:
        return None
    return answer.body if answer.status == 200 else None
