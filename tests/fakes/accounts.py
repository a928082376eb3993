"""Brokers' accounts, their turns and a broker itself in memory."""

from __future__ import annotations

from collections.abc import Callable

from foliostream.domain.account import BrokerAccount, Portfolio
from foliostream.domain.broker import Answer, checked
from foliostream.domain.order_fills import Booked, Member, OrderState
from foliostream.domain.reconciliation import AccountState
from foliostream.errors import ConflictError, FoliostreamError
from foliostream.ports import AccountPage
from tests.fakes.clock import FakeClock


class FakeAccounts:
    """Implements ``ports.Accounts``; ``join`` is the ledger's part of it."""

    def __init__(self) -> None:
        self._owners: dict[tuple[str, str], str] = {}
        self._members: dict[tuple[str, str], dict[str, Member]] = {}
        self._states: dict[tuple[str, str], AccountState] = {}
        self._booked: dict[tuple[str, str, str, str], Booked] = {}

    def join(self, portfolio: Portfolio) -> None:
        if portfolio.broker is None:
            return
        key = portfolio.broker.name, portfolio.broker.account
        if self._owners.setdefault(key, portfolio.owner) != portfolio.owner:
            raise ConflictError(f"{key} is somebody else's", code="BROKER_ACCOUNT_TAKEN")
        member = Member(portfolio.portfolio_id, portfolio.broker.tag)
        self._members.setdefault(key, {})[portfolio.portfolio_id] = member

    def page(self, after: str | None, limit: int) -> AccountPage:
        names = sorted(f"{broker}#{account}" for broker, account in self._members)
        rest = [name for name in names if after is None or name > after]
        page = rest[:limit]
        found = [BrokerAccount(*name.split("#")) for name in page]
        return AccountPage(found, page[-1] if len(rest) > limit else None)

    def members(self, broker: str, account: str) -> list[Member]:
        found = self._members.get((broker, account), {})
        return [found[name] for name in sorted(found)]

    def state(self, broker: str, account: str) -> AccountState:
        return self._states.get((broker, account), AccountState())

    def keep_state(self, broker: str, account: str, state: AccountState) -> None:
        self._states[broker, account] = state

    def booked(self, broker: str, account: str, day: str) -> dict[str, Booked]:
        return {key[3]: item for key, item in self._booked.items() if key[:3] == (broker, account, day)}

    def booked_order(self, broker: str, account: str, day: str, order_id: str) -> Booked:
        return self._booked.get((broker, account, day, order_id), Booked())

    def book(self, broker: str, account: str, order: tuple[str, str], before: Booked, after: Booked) -> None:
        if self._booked.get((broker, account, *order), Booked()) != before:
            raise ConflictError(f"{order} has moved on")
        self._booked[broker, account, *order] = after


class FakeTurns:
    """Implements ``ports.Turns``."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._next: dict[str, int] = {}

    def take(self, name: str, gap_ms: int) -> int:
        now_ms, next_ms = self._clock.now_ms(), self._next.get(name, 0)
        if now_ms < next_ms <= now_ms + 2 * gap_ms:
            return gap_ms
        self._next[name] = now_ms + gap_ms
        return 0


class FakeBroker:
    """Implements ``ports.Broker``: answers what it was told, or raises; ``asked`` counts the answers about what is
    owned, before each of which ``meanwhile`` runs."""

    def __init__(self) -> None:
        self.answer = Answer()
        self.today: list[OrderState] = []
        self.fault: FoliostreamError | None = None
        self.token = "first"
        self.asked = 0
        self.meanwhile: Callable[[int], None] = lambda _count: None

    def owned(self, account: str) -> Answer:  # noqa: ARG002
        self.asked += 1
        self.meanwhile(self.asked)
        self._fail()
        return checked(self.answer)

    def orders(self, account: str) -> list[OrderState]:  # noqa: ARG002
        self._fail()
        return list(self.today)

    def token_digest(self, account: str) -> str:  # noqa: ARG002
        return self.token

    def reported(self, account: str, body: str) -> OrderState:  # noqa: ARG002
        return next(order for order in self.today if order.order_id == body)

    def _fail(self) -> None:
        if self.fault is not None:
            raise self.fault
