"""The books as their owners meet them: lists, status, and the day that is closed, on both hot stores."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from foliostream_client.transport import Rest
from tests.e2e.conftest import Cloud, Holder, eventually, now_ms, post_price


def close(stack: Cloud, **event: object) -> dict[str, Any]:
    """The answer of close_day to a direct invocation."""
    answer = stack.aws("lambda").invoke(
        FunctionName=stack.outputs.resources["CloseDayFunctionName"], Payload=json.dumps(event).encode()
    )
    body: dict[str, Any] = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, body
    return body


def book(holder: Holder, *lines: dict[str, object]) -> dict[str, Any]:
    update = {"portfolio_id": holder.portfolio_id, "timestamp": now_ms(), "updates": list(lines)}
    state: dict[str, Any] = holder.rest.post(f"/api/v1/portfolio/{holder.portfolio_id}/update", update)
    return state


def trade(symbol: str, quantity: object, price: object) -> dict[str, object]:
    kind = "SELL" if str(quantity).startswith("-") else "BUY"
    return {"instrument_id": symbol, "quantity_change": quantity, "price": price, "transaction_type": kind}


def patch(holder: Holder, **body: object) -> Any:  # noqa: ANN401 (an answer's body)
    answer = holder.rest.call("PATCH", f"/api/v1/portfolio/{holder.portfolio_id}", body)
    assert answer.status == 200, answer.body
    return answer.body


def history(holder: Holder) -> list[dict[str, Any]]:
    days: list[dict[str, Any]] = holder.rest.get(f"/api/v1/portfolio/{holder.portfolio_id}/history")["days"]
    return days


@pytest.fixture
def other_symbol(admin: Rest) -> str:
    name = f"T{uuid4().hex[:10].upper()}"
    admin.put(f"/api/v1/instruments/{name}", {"kind": "stock", "currency": "USD"})
    return name


def test_transactions_are_listed_page_by_page_newest_first(holder: Callable[[str], Holder]) -> None:
    owner = holder("live")
    for _ in range(3):
        book(owner, *[{"transaction_type": "DEPOSIT", "amount": "0.01"}] * 40)
    path = f"/api/v1/portfolio/{owner.portfolio_id}/transactions"
    first = owner.rest.get(path)
    second = owner.rest.get(f"{path}?cursor={first['cursor']}")
    sequences = [item["sequence"] for page in (first, second) for item in page["transactions"]]
    assert sequences == list(range(122, 0, -1))
    assert (len(first["transactions"]), second["cursor"]) == (100, None)
    assert second["transactions"][-2]["transaction_id"] == "first-buy"
    assert second["transactions"][-2]["fee"] == Decimal("1.50")


def test_a_status_is_changed_and_the_books_follow_it(holder: Callable[[str], Holder], symbol: str) -> None:
    owner = holder("live")
    assert patch(owner, status="SUSPENDED")["status"] == "SUSPENDED"
    body = {"portfolio_id": owner.portfolio_id, "timestamp": now_ms(), "updates": [trade(symbol, 1, 1)]}
    refused = owner.rest.call("POST", f"/api/v1/portfolio/{owner.portfolio_id}/update", body)
    assert (refused.status, refused.body["error"]["code"]) == (422, "PORTFOLIO_SUSPENDED")
    assert patch(owner, status="ACTIVE", settings={"allow_short": True})["status"] == "ACTIVE"
    assert book(owner, trade(symbol, -30, 100))["positions"][0]["quantity"] == -20


def test_a_closed_day_stands_in_the_history_and_the_next_one_counts_from_its_marks(
    stack: Cloud, admin: Rest, holder: Callable[[str], Holder], symbol: str, other_symbol: str
) -> None:
    owner = holder("live")
    patch(owner, settings={"allow_short": True})
    post_price(admin, symbol, 110)
    over = close(stack, portfolio_ids=[owner.portfolio_id], day="2026-01-02")
    assert over == {
        "day": "2026-01-02",
        "written": [],
        "unpriced": [],
        "skipped": [],
        "late": [owner.portfolio_id],
        "failed": {},
        "closes": 0,
    }
    closed = close(stack, portfolio_ids=[owner.portfolio_id])
    assert closed == over | {"day": closed["day"], "written": [owner.portfolio_id], "late": []}
    assert close(stack, portfolio_ids=[owner.portfolio_id], day=closed["day"])["skipped"] == [owner.portfolio_id]
    (day,) = history(owner)
    assert (day["date"], day["total_value"]) == (closed["day"], Decimal("10098.50"))
    assert (day["inflows"], day["outflows"], day["daily_pnl"]) == (10_000, 0, Decimal("100.00"))

    # Carried in at 110, 4 of it sold at 115; the other one is sold short today at 50 and half of it bought back at 48.
    book(owner, trade(symbol, -4, 115), trade(other_symbol, -6, 50), trade(other_symbol, 3, 48))
    post_price(admin, symbol, 120)
    post_price(admin, other_symbol, 55)
    expected = Decimal(6 * (120 - 110) + 4 * (115 - 110) - 3 * (55 - 50) + 3 * (50 - 48))
    state = eventually(
        owner.state,
        lambda seen: seen["daily_pnl"] == expected,
        f"a daily profit of {expected} after trades of today",
    )
    assert state["daily_missing"] == sorted([symbol, other_symbol])  # neither has an open
    by_symbol = {item["instrument_id"]: item for item in state["positions"]}
    assert by_symbol[symbol]["carried_quantity"] == 10
    assert by_symbol[other_symbol]["daily_pnl"] == -3 * 5 + 3 * 2
    # All of it closed: what was earned today stays today's.
    book(owner, trade(symbol, -6, 121), trade(other_symbol, 3, 54))
    done = Decimal(4 * 5 + 6 * 11 + 3 * 2 - 3 * 4)
    eventually(owner.state, lambda seen: seen["daily_pnl"] == done, f"a daily profit of {done} with nothing held")


def test_a_run_over_all_portfolios_closes_the_day_of_each(
    stack: Cloud, admin: Rest, holder: Callable[[str], Holder], symbol: str
) -> None:
    owners = [holder(kind) for kind in ("live", "demo", "paper")]
    post_price(admin, symbol, 101)
    started = close(stack)
    assert started["started"] == 80
    for owner in owners:
        (day,) = eventually(lambda owner=owner: history(owner), bool, "the day in the history")  # type: ignore[misc]
        assert (day["date"], day["total_value"]) == (started["day"], Decimal("10008.50"))
        eventually(owner.state, lambda state: state["daily_pnl"] == 0, "a new day")
    path = f"/api/v1/instruments/{symbol}/history"
    kept = eventually(lambda: admin.get(path)["closes"], bool, "the close of the instrument")
    assert kept == [{"date": started["day"], "close": 101}]
    given = {"closes": [{"date": "2026-01-02", "close": "99.5"}]}
    assert admin.put(path, given)["kept"] == 2
    assert [item["close"] for item in admin.get(path)["closes"]] == [Decimal("99.5"), 101]
