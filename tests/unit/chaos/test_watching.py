"""What `make chaos` holds answers and messages against."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from tests.chaos.crowd import Watcher
from tests.chaos.readers import inconsistencies

STOCK = {"position_type": "LONG", "instrument_id": "A", "quantity": 10, "mark": Decimal("2.5"), "market_value": 25}
CASH = {"position_type": "CASH", "instrument_id": "CASH:USD", "quantity": 75, "mark": None, "market_value": 75}
WHOLE: Mapping[str, Any] = {
    "positions": [STOCK, CASH],
    "cash_balance": 75,
    "total_value": 100,
    "unpriced": [],
    "weights": {"A": Decimal("0.25"), "CASH:USD": Decimal("0.75")},
    "margin": None,
}
BLIND: Mapping[str, Any] = WHOLE | {
    "positions": [{**STOCK, "mark": None, "market_value": None}, CASH],
    "total_value": None,
    "unpriced": ["A"],
    "weights": None,
}
LEVERAGED: Mapping[str, Any] = WHOLE | {
    "positions": [{**STOCK, "unrealized_pnl": Decimal("-5.3")}],
    "margin": {"balance": 100},
    "total_value": Decimal("94.7"),
    "weights": None,
}


@pytest.mark.parametrize("state", [WHOLE, BLIND, LEVERAGED])
def test_a_whole_state_is_not_complained_about(state: Mapping[str, Any]) -> None:
    assert list(inconsistencies(state)) == []


@pytest.mark.parametrize(
    "state",
    [
        {**WHOLE, "total_value": Decimal("100.01")},
        {**WHOLE, "cash_balance": 74},
        {**WHOLE, "weights": {"A": Decimal("0.25"), "CASH:USD": Decimal("0.74")}},
        {**WHOLE, "unpriced": ["A"]},
        {**BLIND, "total_value": 75},
        {**BLIND, "unpriced": []},
        {**LEVERAGED, "total_value": 100},
    ],
)
def test_a_state_whose_parts_do_not_make_it_is(state: Mapping[str, Any]) -> None:
    assert list(inconsistencies(state))


@pytest.fixture
def watcher() -> Watcher:
    found = Watcher(1, ["p"], checks_states=False)
    found.take({"type": "subscribed", "timestamp": "2026-02-26T10:30:00Z", "portfolio_ids": ["p"], "channels": {}})
    found.faults.clear()
    found.take({"type": "snapshot", "portfolio_id": "p", "version": 10, "data": {"total_value": 100}})
    return found


def update(version: int, previous: int, total: int) -> dict[str, Any]:
    entry = {"portfolio_id": "p", "version": version, "previous_version": previous, "data": {"total_value": total}}
    return {"type": "portfolio_update", "updates": [entry]}


def test_a_client_goes_on_from_what_it_has_where_an_update_is_of_something_older(watcher: Watcher) -> None:
    watcher.take(update(12, 8, 120))
    assert (watcher.versions, watcher.values, watcher.acknowledged) == ({"p": 10}, {"p": 100}, set())
    watcher.take(update(13, 12, 130))
    assert (watcher.versions, watcher.values, watcher.faults) == ({"p": 10}, {"p": 100}, []), "until that is answered"
    watcher.take(update(12, 10, 121))
    assert (watcher.versions, watcher.values, watcher.faults) == ({"p": 12}, {"p": 121}, [])


def test_a_client_that_came_back_goes_on_from_what_it_had_then_until_it_is_answered(watcher: Watcher) -> None:
    watcher.acknowledged.clear()
    watcher.since = {"p": 10}
    restored = {"type": "subscribed", "timestamp": "2026-02-26T10:30:00Z", "portfolio_ids": ["p"], "channels": {}}
    watcher.take(restored | {"restored": True})
    watcher.take({"type": "snapshot", "portfolio_id": "p", "version": 20, "data": {"total_value": 200}})
    assert (watcher.since, watcher.acknowledged) == ({"p": 10}, set())
    watcher.take({"type": "resumed", "portfolio_id": "p", "portfolio_ids": ["p"]})
    assert (watcher.since, watcher.acknowledged, watcher.versions) == ({}, {"p"}, {"p": 20})


def test_an_update_that_is_missing_and_a_version_that_falls_are_faults(watcher: Watcher) -> None:
    watcher.take(update(14, 12, 140))
    assert "does not follow" in watcher.faults.pop()
    watcher.take(update(13, 10, 130))
    assert "after" in watcher.faults.pop()


def analysis(kind: str, run_id: str, version: int = 10) -> dict[str, Any]:
    return {"type": f"analysis_{kind}", "run_id": run_id, "version": version}


@pytest.mark.parametrize(
    ("messages", "is_right"),
    [
        ([analysis("started", "a"), analysis("result", "a"), analysis("completed", "a")], True),
        ([analysis("started", "a"), analysis("started", "b"), analysis("result", "b")], True),
        ([analysis("started", "a"), analysis("started", "a"), analysis("result", "a")], True),
        ([analysis("cancelled", "a"), analysis("started", "b"), analysis("result", "b")], True),
        ([analysis("started", "a"), analysis("started", "b"), analysis("result", "a")], False),
        ([analysis("started", "a"), analysis("result", "a", 11)], False),
        ([analysis("result", "a")], False),
    ],
)
def test_a_run_that_was_superseded_has_no_result_and_one_version_is_analyzed(
    watcher: Watcher, messages: list[dict[str, Any]], is_right: bool
) -> None:
    watcher.faults.clear()
    for message in messages:
        watcher.take(message)
    ours = [fault for fault in watcher.faults if "that was superseded" in fault or "a run of version" in fault]
    assert (ours == []) == is_right


def test_no_number_of_a_message_is_one_that_json_has_no_word_for(watcher: Watcher) -> None:
    watcher.hear('{"type": "snapshot", "portfolio_id": "p", "version": 11, "data": {"total_value": NaN}}')
    assert any("NaN" in fault for fault in watcher.faults)
