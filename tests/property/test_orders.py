"""Simulated orders under repeats, crashes, ticks, cancellations and resets in any order."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from foliostream.application.access import Caller
from foliostream.application.fill_orders import FillReport
from foliostream.domain import portfolio as books
from foliostream.domain.orders import Order, Request
from foliostream.domain.portfolio import Portfolio, Transaction
from foliostream.domain.price import PriceUpdate
from foliostream.errors import FoliostreamError, RetryableError
from foliostream.ports import OrderChange
from tests.fakes.ledger import FakeLedger
from tests.unit.api.client import NOW_MS, Client, Parts

ALICE = Caller("alice")
CASH = Decimal(1000)
SYMBOLS = ("AAPL", "M&M")
prices = st.integers(1, 40).map(Decimal)
names = st.sampled_from("abcdefgh")
requests = st.builds(
    Request,
    st.sampled_from(SYMBOLS),
    st.sampled_from(["BUY", "SELL"]),
    st.integers(1, 60).map(Decimal),
    st.just("limit"),
    prices,
) | st.builds(
    Request,
    st.sampled_from(SYMBOLS),
    st.sampled_from(["BUY", "SELL"]),
    st.integers(1, 60).map(Decimal),
    st.just("market"),
)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("place"), names, requests),
        st.tuples(st.just("cancel"), names),
        st.tuples(st.just("tick"), st.sampled_from(SYMBOLS), prices, st.booleans()),
        st.tuples(st.just("look"), st.sampled_from(SYMBOLS)),
        st.tuples(st.just("reset")),
        st.tuples(st.just("crash"), st.booleans()),
    ),
    max_size=40,
)


class CrashingLedger(FakeLedger):
    """``crash``: the next write dies before (False) or after (True) it is done."""

    crash: bool | None = None

    def commit(
        self,
        portfolio: Portfolio,
        transactions: Sequence[Transaction],
        opened: Collection[str],
        closed: Collection[str],
        order: OrderChange | None = None,
    ) -> None:
        self._before()
        super().commit(portfolio, transactions, opened, closed, order)
        self._after()

    def change(self, change: OrderChange) -> None:
        self._before()
        super().change(change)
        self._after()

    def _before(self) -> None:
        if self.crash is False:
            self.crash = None
            raise RetryableError("dies before")

    def _after(self) -> None:
        if self.crash is True:
            self.crash = None
            raise RetryableError("dies after")


class Machine:
    """A paper account and all that may happen to it."""

    def __init__(self) -> None:
        self.parts = Parts()
        self.ledger = CrashingLedger()
        self.parts.ledger = self.ledger
        client = Client(self.parts)
        client.create(account_type="paper", initial_cash=str(CASH))
        self.ended: dict[str, Order] = {}
        self.seq = 0

    def run(self, action: tuple[object, ...]) -> None:
        with suppress(FoliostreamError):  # refused or died; what stands is checked all the same
            getattr(self, str(action[0]))(*action[1:])
        self.check()

    def place(self, name: str, request: Request) -> None:
        self.parts.ordering.place(ALICE, "12345", name, request)

    def cancel(self, name: str) -> None:
        self.parts.ordering.cancel(ALICE, "12345", name)

    def tick(self, symbol: str, price: Decimal, told: bool) -> None:
        self.seq += 1
        self.parts.hot.put([PriceUpdate(symbol, NOW_MS, self.seq, bid=price - Decimal("0.5"), ask=price)])
        if told:
            self.look(symbol)

    def look(self, symbol: str) -> None:
        self.parts.order_filler.look(symbol, FillReport())

    def reset(self) -> None:
        self.parts.resetting(ALICE, "12345")
        after = self.ledger.load(["12345"])["12345"]
        assert (after.cash, after.positions) == ({"USD": CASH}, {})
        assert self.ledger.page("12345", "OPEN", None, 100).orders == []

    def crash(self, after: bool) -> None:
        self.ledger.crash = after

    def check(self) -> None:
        now = self.ledger.load(["12345"])["12345"]
        assert now.cash["USD"] >= 0
        assert all(position.quantity > 0 for position in now.positions.values())
        booked = self.ledger.newest("12345", now.last_sequence, now.last_sequence)
        by_order = [item for item in booked if item.entry.transaction_id.startswith("order:")]
        known = {order.order_id: order for order in self.ledger.page("12345", None, None, 100).orders}
        filled = sorted(order.transaction_id for order in known.values() if order.state == "FILLED")
        assert sorted(item.entry.transaction_id for item in by_order) == filled
        for order in known.values():
            self.check_price(order)
        for name, order in self.ended.items():
            assert known[name] == order
        self.ended = {name: order for name, order in known.items() if order.state != "OPEN"}

    def check_price(self, order: Order) -> None:
        if order.state == "FILLED" and order.request.limit_price is not None:
            assert order.fill_price is not None
            assert order.request.takes(order.fill_price)

    def replayed(self) -> Portfolio:
        """The book made again of nothing but its transactions."""
        now = self.ledger.load(["12345"])["12345"]
        booked = self.ledger.newest("12345", now.last_sequence, now.last_sequence)
        empty = Portfolio("12345", "Retirement", "alice", "paper", "cash", "USD", "average", NOW_MS, NOW_MS, version=0)
        instruments = self.parts.instruments.get(SYMBOLS)
        again = [books.repeatable(item) for item in reversed(booked)]
        return books.apply(empty, again, instruments, NOW_MS)[0]


@given(actions)
@settings(max_examples=150, deadline=None)
def test_an_order_is_filled_at_most_once_within_its_limit_and_within_the_cash(
    todo: list[tuple[object, ...]],
) -> None:
    machine = Machine()
    for action in todo:
        machine.run(action)
    now, again = machine.ledger.load(["12345"])["12345"], machine.replayed()
    assert (again.cash, again.positions, again.totals) == (now.cash, now.positions, now.totals)
