"""What every store of orders must do: a fill and its order are one, pages repeat and leave out nothing."""

from __future__ import annotations

from decimal import Decimal

import pytest

from foliostream.domain import orders
from foliostream.domain.fills import Side
from foliostream.domain.orders import MAX_OPEN, Order, Request
from foliostream.errors import ConflictError, RefusedError
from foliostream.ports import Ledger, OrderChange, Orders
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


def opened(order_id: str, limit: str, *, side: Side = "BUY", symbol: str = "AAPL", portfolio_id: str = "p1") -> Order:
    request = Request(symbol, side, Decimal("1.5"), "limit", Decimal(limit))
    return orders.opened(order_id, empty(portfolio_id), request, NOW_MS)


def fill(ledger: Ledger, order: Order, before: Order | None = None) -> None:
    held = ledger.load([order.portfolio_id])[order.portfolio_id]
    after, transactions = booked(held, orders.entry(order))
    ledger.commit(after, transactions, after.symbols - held.symbols, (), OrderChange(before, order))


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
        ledger.commit(after, [], (), (), OrderChange(None, filled("a")))
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


def test_an_open_order_is_found_by_prices_within_its_limit_until_it_is_filled(ledger: Ledger, kept: Orders) -> None:
    ledger.create(empty("p1"), [], "d")
    low, high = opened("low", "9.5"), opened("high", "10.5")
    sale = opened("sale", "10", side="SELL")
    for order in (low, high, sale, opened("other", "100", symbol="MSFT")):
        kept.change(OrderChange(None, order))

    def names(side: Side, price: str, limit: int = 10) -> list[str]:
        return sorted(order.order_id for order in kept.within("AAPL", side, Decimal(price), limit))

    assert names("BUY", "9.5") == ["high", "low"]
    assert names("BUY", "9.500001") == ["high"]
    assert names("BUY", "100") == []
    assert names("SELL", "10") == ["sale"]
    assert names("SELL", "9.99") == []
    assert len(names("BUY", "1", limit=1)) == 1
    assert kept.within("AAPL", "BUY", Decimal("10.5"), 10) == [high]
    fill(ledger, orders.filled(high, Decimal("10.25"), INSTRUMENTS["AAPL"], FREE, NOW_MS), high)
    assert names("BUY", "9.5") == ["low"]
    assert kept.page("p1", "OPEN", None, 10).orders[-1] == low
    stored = kept.get("p1", "high")
    assert stored is not None
    assert stored.state == "FILLED"


def test_of_a_fill_and_a_cancellation_the_first_stands_and_the_other_changes_nothing(
    ledger: Ledger, kept: Orders
) -> None:
    ledger.create(empty("p1"), [], "d")
    for name in ("a", "b"):
        kept.change(OrderChange(None, opened(name, "10.5")))
    first, second = opened("a", "10.5"), opened("b", "10.5")
    cancelled = orders.ended(first, "CANCELLED", NOW_MS)
    kept.change(OrderChange(first, cancelled))
    before = ledger.load(["p1"])["p1"]
    with pytest.raises(ConflictError) as conflict:
        fill(ledger, orders.filled(first, Decimal(10), INSTRUMENTS["AAPL"], FREE, NOW_MS), first)
    assert conflict.value.code == "ORDER_CHANGED"
    assert ledger.load(["p1"])["p1"] == before
    assert kept.get("p1", "a") == cancelled
    fill(ledger, orders.filled(second, Decimal(10), INSTRUMENTS["AAPL"], FREE, NOW_MS), second)
    with pytest.raises(ConflictError) as conflict:
        kept.change(OrderChange(second, orders.ended(second, "CANCELLED", NOW_MS)))
    assert conflict.value.code == "ORDER_CHANGED"


def test_an_open_order_takes_its_id_once(kept: Orders) -> None:
    kept.change(OrderChange(None, opened("a", "10")))
    with pytest.raises(ConflictError) as conflict:
        kept.change(OrderChange(None, opened("a", "11")))
    assert conflict.value.code == "ORDER_CHANGED"


def test_a_hundred_orders_are_open_at_most_and_one_that_ends_makes_room(kept: Orders) -> None:
    for number in range(MAX_OPEN):
        kept.change(OrderChange(None, opened(f"n{number}", "10")))
    with pytest.raises(RefusedError) as refused:
        kept.change(OrderChange(None, opened("more", "10")))
    assert refused.value.code == "TOO_MANY_ORDERS"
    kept.change(OrderChange(None, opened("elsewhere", "10", portfolio_id="p2")))
    kept.change(OrderChange(opened("n7", "10"), orders.ended(opened("n7", "10"), "CANCELLED", NOW_MS)))
    kept.change(OrderChange(None, opened("more", "10")))


def test_symbols_with_open_orders_are_all_named_once(kept: Orders) -> None:
    assert list(kept.symbols()) == []
    for number, symbol in enumerate(["AAPL", "AAPL", "MSFT", "KO"]):
        kept.change(OrderChange(None, opened(f"n{number}", "10", symbol=symbol)))
    ko = opened("n3", "10", symbol="KO")
    kept.change(OrderChange(ko, orders.ended(ko, "REJECTED", NOW_MS, RefusedError("no", code="NO"))))
    assert sorted(kept.symbols()) == ["AAPL", "MSFT"]
    assert [kept.are_open(symbol) for symbol in ("AAPL", "MSFT", "KO")] == [True, True, False]
