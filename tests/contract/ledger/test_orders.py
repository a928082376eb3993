"""What every store of orders must do: a fill and its order are one, pages repeat and leave out nothing."""

from __future__ import annotations

from decimal import Decimal

import pytest

from foliostream.domain import orders
from foliostream.domain.orders import Order, Request
from foliostream.errors import ConflictError
from foliostream.ports import Ledger, Orders
from foliostream.settings import Costs
from tests.contract.ledger.books import INSTRUMENTS, NOW_MS, booked, empty
from tests.contract.ledger.conftest import Subject

FREE = Costs(Decimal(0), Decimal(0))


@pytest.fixture
def kept(subject: Subject) -> Orders:
    return subject.orders


def filled(order_id: str, portfolio_id: str = "p1") -> Order:
    request = Request("AAPL", "BUY", Decimal("1.5"), "market")
    order = Order(
        order_id=order_id,
        portfolio_id=portfolio_id,
        request=request,
        state="FILLED",
        created_at_ms=NOW_MS,
        updated_at_ms=NOW_MS,
    )
    return orders.filled(order, Decimal("10.25"), INSTRUMENTS["AAPL"], FREE, NOW_MS)


def fill(ledger: Ledger, order: Order) -> None:
    before = ledger.load([order.portfolio_id])[order.portfolio_id]
    after, transactions = booked(before, orders.entry(order))
    ledger.commit(after, transactions, after.symbols - before.symbols, (), order)


def test_a_filled_order_and_its_transaction_are_there_together(ledger: Ledger, kept: Orders) -> None:
    ledger.create(empty("p1"), [], "d")
    order = filled("a")
    fill(ledger, order)
    assert kept.get("p1", "a") == order
    assert ledger.transactions("p1", [order.transaction_id])
    assert kept.get("p1", "b") is None
    assert kept.get("p2", "a") is None


def test_an_order_id_is_taken_once_and_nothing_of_the_second_is_booked(ledger: Ledger, kept: Orders) -> None:
    ledger.create(empty("p1"), [], "d")
    fill(ledger, filled("a"))
    before = ledger.load(["p1"])["p1"]
    with pytest.raises(ConflictError) as conflict:
        fill(ledger, filled("a"))
    assert conflict.value.code == "TRANSACTION_EXISTS"
    assert ledger.load(["p1"])["p1"] == before
    after, _ = booked(before, orders.entry(filled("b")))
    with pytest.raises(ConflictError) as conflict:
        ledger.commit(after, [], (), (), filled("a"))
    assert conflict.value.code == "ORDER_CHANGED"
    assert kept.get("p1", "b") is None


def test_pages_go_from_the_highest_id_to_the_lowest_without_gap_or_repeat(ledger: Ledger, kept: Orders) -> None:
    for portfolio_id in ("p1", "p2"):
        ledger.create(empty(portfolio_id), [], "d")
    names = [f"{number:03d}" for number in range(5)]
    for name in names:
        fill(ledger, filled(name))
    fill(ledger, filled("other", "p2"))
    seen, cursor = [], None
    for _ in range(3):
        page = kept.page("p1", None, cursor, 2)
        seen.append([order.order_id for order in page.orders])
        cursor = page.cursor
    assert seen == [["004", "003"], ["002", "001"], ["000"]]
    assert cursor is None
    assert [order.order_id for order in kept.page("p1", "FILLED", "003", 10).orders] == ["002", "001", "000"]
