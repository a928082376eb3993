"""The ledgers the suite runs on, and portfolios to book."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from foliostream.adapters.dynamodb_holders import DynamoDbHolders
from foliostream.adapters.dynamodb_ledger import DynamoDbLedger
from foliostream.adapters.dynamodb_orders import DynamoDbOrders
from foliostream.ports import Ledger, Orders
from tests.fakes.ledger import FakeLedger
from tests.support.ministack import Emulator


@dataclass(frozen=True)
class Subject:
    """A ledger, its orders, and a look at the holder items beside it: (symbol, account type) -> portfolio keys."""

    ledger: Ledger
    orders: Orders
    holders: Callable[[str, str], set[str]]


@pytest.fixture(params=["fake", "dynamodb"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    if request.param == "fake":
        fake = FakeLedger()
        yield Subject(fake, fake, lambda symbol, kind: _held(fake, symbol, kind))
        return
    emulator: Emulator = request.getfixturevalue("ministack")
    client, table = emulator.dynamodb(), emulator.ledger_table()
    with ThreadPoolExecutor(4) as pool:
        holders = DynamoDbHolders(client, table, pool)
        yield Subject(
            DynamoDbLedger(client, table),
            DynamoDbOrders(client, table),
            lambda symbol, kind: {key for page in holders.holders([symbol], kind) for key in page},
        )


@pytest.fixture
def ledger(subject: Subject) -> Ledger:
    return subject.ledger


def _held(fake: FakeLedger, symbol: str, account_type: str) -> set[str]:
    return {key for key, held in fake.holders if held == symbol and key.startswith(f"{account_type}:")}
