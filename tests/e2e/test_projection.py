"""The ledger's stream and the rebuild: what is committed arrives, whoever died on the way and whatever was lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from foliostream.adapters.dynamodb_ledger import DynamoDbLedger
from foliostream.domain import portfolio as books
from foliostream.domain.instrument import Instrument
from foliostream.domain.portfolio import Entry
from foliostream.ports import HotStore
from foliostream_client.transport import Rest
from local import rebuild
from tests.e2e.conftest import (
    ACCOUNT_TYPES,
    STATE_UPDATED,
    Cloud,
    Events,
    Holder,
    eventually,
    lose_hot_store,
    now_ms,
    of_type,
    post_price,
    receive,
    total,
    value_of,
)

STATUS_CHANGED = "portfolio_status_changed"


@pytest.fixture
def events(stack: Cloud) -> Iterator[Events]:
    opened = Events(stack, STATE_UPDATED)
    yield opened
    opened.close()


@pytest.fixture
def status_events(stack: Cloud) -> Iterator[Events]:
    opened = Events(stack, STATUS_CHANGED)
    yield opened
    opened.close()


def commit(stack: Cloud, portfolio_id: str, *entries: Entry) -> int:
    """Book as a process does that is killed right after its commit: nothing is projected. The ledger version."""
    ledger = DynamoDbLedger(stack.aws("dynamodb"), stack.outputs.resources["LedgerTableName"])
    before = ledger.load([portfolio_id])[portfolio_id]
    symbols = {entry.instrument_id for entry in entries if entry.instrument_id}
    instruments = {symbol: Instrument(symbol, "stock", "USD") for symbol in symbols}
    after, transactions = books.apply(before, entries, instruments, now_ms())
    ledger.commit(after, transactions, after.symbols - before.symbols, before.symbols - after.symbols)
    return after.version


def buy(symbol: str, quantity: int, price: str) -> Entry:
    return Entry(f"killed-{uuid4().hex}", "BUY", now_ms(), symbol, quantity=Decimal(quantity), price=Decimal(price))


def test_a_change_of_status_is_told_on_the_bus(holder: Callable[[str], Holder], status_events: Events) -> None:
    owner = holder("live")
    answer = owner.rest.call("PATCH", f"/api/v1/portfolio/{owner.portfolio_id}", {"status": "SUSPENDED"})
    version = answer.body["ledger_version"]
    (detail,) = eventually(lambda: status_events.of(owner.portfolio_id), bool, "the event of the change")
    assert detail["event_id"] == f"{STATUS_CHANGED}:{owner.portfolio_id}:{version}"
    told = detail[STATUS_CHANGED]
    assert (told["status"], told["previous_status"], told["ledger_version"]) == ("SUSPENDED", "ACTIVE", version)
    assert set(told) == {"portfolio_id", "status", "previous_status", "ledger_version", "changed_by", "changed_at"}


def test_a_change_of_the_ledger_is_told_on_the_bus_exactly_as_promised(
    admin: Rest, symbol: str, holder: Callable[[str], Holder], events: Events
) -> None:
    post_price(admin, symbol, "100.10")
    owner = holder("live")
    updated = eventually(
        lambda: events.of(owner.portfolio_id),
        lambda seen: any(detail["event_id"] == f"{STATE_UPDATED}:{owner.portfolio_id}:2" for detail in seen),
        "the event of the first purchase",
    )
    detail = next(one for one in updated if one["event_id"].endswith(":2"))
    assert set(detail) == {"event_id", "timestamp", STATE_UPDATED}
    state = detail[STATE_UPDATED]
    assert set(state) == {"portfolio_id", "total_value", "cash_balance", "positions", "last_updated"}
    assert (state["total_value"], state["cash_balance"]) == (total("100.10"), Decimal("8998.50"))
    position = next(one for one in state["positions"] if one["instrument_id"] == symbol)
    assert set(position) == {"instrument_id", "quantity", "market_value", "weight", "unrealized_pnl"}
    assert (position["quantity"], position["market_value"]) == (10, Decimal("1001.00"))
    assert position["unrealized_pnl"] == Decimal("1.00")


@pytest.mark.parametrize("account_type", ACCOUNT_TYPES)
def test_a_commit_whose_process_was_killed_reaches_state_watchers_bus_and_later_prices(
    stack: Cloud, admin: Rest, symbol: str, holder: Callable[[str], Holder], events: Events, account_type: str
) -> None:
    other = f"T{uuid4().hex[:10].upper()}"
    admin.put(f"/api/v1/instruments/{other}", {"kind": "stock", "currency": "USD"})
    post_price(admin, symbol, "100")
    owner = holder(account_type)
    eventually(owner.state, lambda state: state["calc_status"] == "ok", "the first price")
    with stack.socket(owner.name) as socket:
        socket.send({"action": "subscribe", "portfolio_ids": [owner.portfolio_id]})
        receive(socket, of_type("snapshot"), "the snapshot")
        version = commit(stack, owner.portfolio_id, buy(other, 4, "50"))
        receive(
            socket,
            lambda message: message["type"] == "portfolio_update" and shows(message, other),
            "the position that nobody projected",
        )
        eventually(
            lambda: events.ids(owner.portfolio_id),
            lambda seen: f"{STATE_UPDATED}:{owner.portfolio_id}:{version}" in seen,
            "its event",
        )
        # Only a dependent of the new symbol is valued when it ticks.
        post_price(admin, other, "75")
        state = eventually(owner.state, lambda state: state["calc_status"] == "ok", "the price of the new symbol")
    assert state["ledger_version"] == version
    assert state["total_value"] == total("100") + 4 * (75 - 50)


def shows(message: dict[str, Any], symbol: str) -> bool:
    positions = message["updates"][0]["data"].get("positions", [])
    return any(position["instrument_id"] == symbol for position in positions)


def test_a_lost_hot_store_is_rebuilt_while_everything_runs(
    stack: Cloud,
    admin: Rest,
    symbol: str,
    holder: Callable[[str], Holder],
    hot: HotStore,
    at_rest: Callable[[Holder], None],
) -> None:  # G6
    owners = [holder(account_type) for account_type in ACCOUNT_TYPES]
    ids = [owner.portfolio_id for owner in owners]
    post_price(admin, symbol, "100")
    before = [eventually(owner.state, lambda state: state["calc_status"] == "ok", "the price") for owner in owners]
    for owner in owners:
        at_rest(owner)

    def lost() -> list[str]:
        lose_hot_store(stack)
        return list(hot.read(ids))

    # The sweep of the minute may bring one back.
    eventually(lost, lambda left: left == [], "an empty hot store")
    shown: list[str] = []
    progress = rebuild.rebuild_hot(stack.outputs, shown.append)
    assert progress.is_finished
    assert progress.portfolios >= len(owners)
    assert progress.broken == 0
    assert shown[-1].startswith("the hot store is rebuilt")
    # Nobody asks for these portfolios by REST before they are there again, priced by the next tick.
    found = eventually(lambda: hot.read(ids), lambda found: set(found) == set(ids), "snapshots of all portfolios")
    assert all(found[state["portfolio_id"]].head.version > state["version"] for state in before)
    held = [books.decode(item.book or b"").cash for item in found.values()]
    assert held == [{"USD": Decimal("8998.5")}] * len(ids)
    post_price(admin, symbol, "120")
    priced = eventually(
        lambda: hot.read(ids),
        lambda found: all(value_of(found[name]) == total("120") for name in ids),
        "the next price in the snapshots",
    )
    for owner in owners:
        state = owner.state()
        assert state["total_value"] == total("120")
        assert state["version"] >= priced[owner.portfolio_id].head.version > found[owner.portfolio_id].head.version
