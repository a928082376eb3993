"""Brokers' accounts and turns: on the fakes and on DynamoDB."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from foliostream.adapters.dynamodb_accounts import DynamoDbAccounts
from foliostream.adapters.dynamodb_ledger import DynamoDbLedger
from foliostream.adapters.dynamodb_turns import DynamoDbTurns
from foliostream.domain.account import BrokerAccount, Portfolio
from foliostream.domain.fills import Fill
from foliostream.domain.order_fills import KEPT_DAYS, ORDER_AGE_DAYS_MAX, Booked, Member
from foliostream.domain.reconciliation import AccountState
from foliostream.domain.times import epoch_ms
from foliostream.errors import ConflictError
from foliostream.ports import Accounts, Ledger, Turns
from tests.fakes.accounts import FakeTurns
from tests.fakes.clock import FakeClock
from tests.fakes.ledger import FakeLedger
from tests.support.ministack import Emulator
from tests.unit.domain.examples import empty


class Subject(NamedTuple):
    ledger: Ledger
    accounts: Accounts
    turns: Callable[[FakeClock], Turns]


@pytest.fixture(params=["fake", "dynamodb"])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "fake":
        fake = FakeLedger()
        return Subject(fake, fake.accounts, FakeTurns)
    emulator: Emulator = request.getfixturevalue("ministack")
    client, table = emulator.dynamodb(), emulator.ledger_table()
    return Subject(
        DynamoDbLedger(client, table),
        DynamoDbAccounts(client, table),
        lambda clock: DynamoDbTurns(client, table, clock),
    )


def on(account: str, portfolio_id: str, tag: str = "", owner: str = "alice") -> Portfolio:
    broker = BrokerAccount("zerodha", account, tag)
    return empty(portfolio_id=portfolio_id, owner=owner, broker=broker, version=1)


def test_a_new_portfolio_is_on_its_account(subject: Subject) -> None:
    subject.ledger.create(on("AB1001", "growth"), [], "r")
    subject.ledger.create(on("AB1001", "value", "val"), [], "r")
    subject.ledger.create(empty(portfolio_id="alone", version=1), [], "r")

    assert subject.accounts.members("zerodha", "AB1001") == [Member("growth"), Member("value", "val")]
    assert subject.accounts.members("zerodha", "AB1002") == []


def test_an_account_has_one_owner(subject: Subject) -> None:
    subject.ledger.create(on("AB1001", "growth"), [], "r")

    with pytest.raises(ConflictError) as refused:
        subject.ledger.create(on("AB1001", "thief", owner="bob"), [], "r")

    assert refused.value.code == "BROKER_ACCOUNT_TAKEN"
    assert subject.ledger.load(["thief"]) == {}
    with pytest.raises(ConflictError) as refused:
        subject.ledger.create(on("AB1001", "growth"), [], "r")
    assert refused.value.code == "PORTFOLIO_EXISTS"


def test_accounts_are_listed_page_by_page(subject: Subject) -> None:
    for number in range(5):
        subject.ledger.create(on(f"AB{number}", f"p{number}"), [], "r")
    found: list[str] = []
    cursor: str | None = None
    for _ in range(10):
        page = subject.accounts.page(cursor, 2)
        found += [item.account for item in page.accounts]
        cursor = page.cursor
        if cursor is None:
            break

    assert found == [f"AB{number}" for number in range(5)]


def test_what_is_booked_of_an_order_moves_on_from_what_was_read_only(subject: Subject) -> None:
    fill = Fill(
        fill_id="kite:1",
        portfolio_id="growth",
        instrument_id="TCS",
        side="BUY",
        quantity=Decimal(4),
        price=Decimal("100.5"),
        timestamp_ms=1,
    )
    first = Booked(Decimal(4), Decimal(402), "growth", (fill,), 7)
    order = ("2026-11-20", "42")
    subject.accounts.book("zerodha", "AB1001", order, Booked(), first)

    with pytest.raises(ConflictError):
        subject.accounts.book("zerodha", "AB1001", order, Booked(), first)
    assert subject.accounts.booked_order("zerodha", "AB1001", *order) == first
    assert subject.accounts.booked("zerodha", "AB1001", "2026-11-20") == {"42": first}
    assert subject.accounts.booked("zerodha", "AB1001", "2026-11-21") == {}
    sent = replace(first, unsent=())
    subject.accounts.book("zerodha", "AB1001", order, first, sent)
    assert subject.accounts.booked_order("zerodha", "AB1001", *order) == sent
    assert subject.accounts.booked_order("zerodha", "AB1001", "2026-11-20", "43") == Booked()


def test_what_is_booked_of_an_order_is_deleted_long_after_nobody_books_it_any_more(ministack: Emulator) -> None:
    client, table = ministack.dynamodb(), ministack.ledger_table()
    DynamoDbAccounts(client, table).book("zerodha", "AB1001", ("2026-11-20", "42"), Booked(), Booked(Decimal(4)))
    DynamoDbLedger(client, table).create(on("AB1001", "growth"), [], "r")

    items = client.scan(TableName=table)["Items"]

    assert {item["sk"]["S"]: item.get("expires_at") for item in items if "expires_at" in item} == {
        "ORDER#2026-11-20#42": {"N": str(epoch_ms("2027-01-04T00:00:00Z") // 1000)}
    }
    assert KEPT_DAYS > ORDER_AGE_DAYS_MAX + 7


def test_the_state_of_an_account_is_the_last_one_kept(subject: Subject) -> None:
    assert subject.accounts.state("zerodha", "AB1001") == AccountState()
    state = AccountState(status="failed", checked_at_ms=7, since_ms=5, digest="d", changes=2, expired_token="t")
    subject.accounts.keep_state("zerodha", "AB1001", state)

    assert subject.accounts.state("zerodha", "AB1001") == state


def test_a_turn_is_one_at_a_time(subject: Subject) -> None:
    clock = FakeClock()
    turns = subject.turns(clock)
    assert turns.take("AB1001", 1000) == 0
    assert turns.take("AB1002", 1000) == 0
    clock.advance(999)
    assert turns.take("AB1001", 1000) > 0
    clock.advance(1)
    assert turns.take("AB1001", 1000) == 0


def test_a_turn_set_by_a_clock_that_is_far_ahead_does_not_count(subject: Subject) -> None:
    clock = FakeClock(2_000_000_000_000)
    turns = subject.turns(clock)
    turns.take("AB1001", 1000)
    clock.time_ms -= 3_600_000

    assert turns.take("AB1001", 1000) == 0
