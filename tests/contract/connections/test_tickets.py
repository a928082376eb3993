"""Tickets are taken once; run on the fake and on DynamoDB."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from foliostream.adapters.dynamodb_tickets import DynamoDbTickets
from foliostream.ports import Claims, TakenTicket, Tickets
from tests.fakes.tickets import FakeTickets
from tests.support.ministack import Emulator

NOW_MS = 1_767_225_600_500
ALICE = Claims("alice|1", frozenset({"admin", "prices:write"}), 1_767_229_200)


@pytest.fixture(params=["fake", "dynamodb"])
def tickets(request: pytest.FixtureRequest) -> Tickets:
    if request.param == "fake":
        return FakeTickets()
    emulator: Emulator = request.getfixturevalue("ministack")
    return DynamoDbTickets(emulator.dynamodb(), emulator.table())


@pytest.mark.parametrize("claims", [ALICE, Claims("bob", frozenset(), 1)])
def test_a_ticket_is_taken_as_it_was_put_and_then_gone(tickets: Tickets, claims: Claims) -> None:
    tickets.put("d1", claims, NOW_MS)
    assert tickets.take("d2") is None
    assert tickets.take("d1") == TakenTicket(claims, NOW_MS)
    assert tickets.take("d1") is None


def test_of_many_who_take_it_at_once_one_gets_it(tickets: Tickets) -> None:
    tickets.put("d1", ALICE, NOW_MS)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: tickets.take("d1"), range(16)))
    assert [item for item in taken if item is not None] == [TakenTicket(ALICE, NOW_MS)]
