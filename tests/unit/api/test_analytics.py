"""A portfolio's analytics over REST."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from foliostream.application import analytics
from foliostream.domain.history import Day
from tests.unit.api.client import NOW_MS, Client, buy

PATH = "/api/v1/portfolio/12345/analytics"
DAYS = [f"2026-02-{number:02d}" for number in range(2, 26)]


@pytest.fixture
def invested(client: Client) -> Client:
    """Half in AAPL, with 24 closed days that go up by 1 and down by 1 percent in turn."""
    client.create(initial_cash=10_000)
    client.prices({"symbol": "AAPL", "ts": NOW_MS, "last": 100})
    client.update(buy(50, 100))
    value = Decimal(10_000)
    for number, day in enumerate(DAYS):
        value = value * (Decimal("1.01") if number % 2 else Decimal("0.99")) if number else value
        close_day(client, day, str(round(value, 2)))
    return client


def close_day(client: Client, day: str, value: str, **flows: Decimal) -> None:
    """A row as the daily close writes it, the book one version on."""
    book = client.parts.ledger.load(["12345"])["12345"]
    amounts = dict.fromkeys(("realized_pnl", "inflows", "outflows", "inflows_total", "outflows_total"), Decimal(0))
    unknown = dict.fromkeys(("cash_balance", "unrealized_pnl", "daily_change", "daily_change_percent", "daily_pnl"))
    row = Day(
        day=day,
        closed_at_ms=NOW_MS,
        ledger_version=book.version + 1,
        calc_status="ok",
        total_value=Decimal(value),
        daily_missing=[],
        **unknown,
        **(amounts | flows),
    )
    client.parts.ledger.close_day(replace(book, version=book.version + 1), row)


def get(client: Client) -> dict[str, Any]:
    return client.send("GET", PATH).body


def test_analytics_are_numbers_over_the_closed_days_and_of_the_newest_state(invested: Client) -> None:
    found = get(invested)
    assert found["period"] == {"from": DAYS[0], "to": DAYS[-1], "observations": 23}
    assert found["version"] == invested.state()["version"]
    assert found["as_of"] == "2026-02-26T10:30:00.000Z"
    assert found["time_weighted_return"] == Decimal("0.0089")
    assert found["volatility"] == Decimal("0.1622")
    assert found["max_drawdown"] == Decimal("-0.011")
    assert found["var_95"] == Decimal("-0.01")
    assert found["cvar_95"] == Decimal("-0.01")
    assert found["money_weighted_return"] == {"value": None, "reason": "less than 30 days"}
    assert found["concentration"] == 1
    assert found["exposure_by_currency"] == {"USD": 1}
    assert found["exposure_by_kind"] == {"cash": Decimal("0.5"), "stock": Decimal("0.5")}


def test_a_new_portfolio_has_reasons_instead_of_numbers(client: Client) -> None:
    client.create()
    found = get(client)
    assert found["period"] == {"from": None, "to": None, "observations": 0}
    assert found["time_weighted_return"] == {"value": None, "reason": "0 daily returns, at least 1 are needed"}
    assert found["concentration"] == {"value": None, "reason": "nothing that is held is worth anything"}
    figures = set(found) - {"portfolio_id", "version", "as_of", "period", "benchmark", "beta_observations"}
    assert {name for name in figures if isinstance(found[name], dict) and found[name].get("reason")} == figures - {
        "exposure_by_currency",
        "exposure_by_kind",
    }


def test_what_is_unpriced_has_no_exposure_and_no_concentration(client: Client) -> None:
    client.create()
    client.update(buy(1, 100))
    found = get(client)
    assert found["concentration"] == {"value": None, "reason": "no price of AAPL"}
    assert found["exposure_by_kind"] == {"value": None, "reason": "the total value is unknown"}


def test_beta_is_against_the_benchmark_that_is_set(invested: Client) -> None:
    assert get(invested)["beta"] == {"value": None, "reason": "no benchmark is set"}
    change = {"settings": {"benchmark": "M&M"}}
    assert invested.send("PATCH", "/api/v1/portfolio/12345", change).status == 200
    assert get(invested)["beta"] == {"value": None, "reason": "no daily closes of M&M"}
    closes = [{"date": day, "close": 102 if number % 2 else 100} for number, day in enumerate(DAYS[:12])]
    invested.send("PUT", "/api/v1/instruments/M%26M/history", {"closes": closes})
    invested.send("PATCH", "/api/v1/portfolio/12345", {"settings": {"allow_short": True}})
    found = get(invested)
    assert (found["benchmark"], found["beta_observations"], found["beta"]) == ("M&M", 11, Decimal("0.505"))
    invested.send("PATCH", "/api/v1/portfolio/12345", {"settings": {"benchmark": None}})
    assert get(invested)["benchmark"] is None


def test_drift_is_from_the_target_weights_that_are_set(invested: Client) -> None:
    assert get(invested)["target_drift"]["reason"] == "no target weights are set"
    path = "/api/v1/portfolio/12345"
    targets = {"AAPL": "0.25", "M&M": 0.75}
    assert invested.send("PATCH", path, {"settings": {"target_weights": targets}}).status == 200
    assert get(invested)["target_drift"] == Decimal("0.75")
    assert invested.send("PATCH", path, {"settings": {"target_weights": {"AAPL": 0.5}}}).status == 400
    assert invested.send("PATCH", path, {"settings": {"target_weights": {"aapl": 1}}}).status == 400
    assert invested.send("PATCH", path, {"settings": {"target_weights": None}}).status == 200
    assert get(invested)["target_drift"]["reason"] == "no target weights are set"


def test_a_portfolio_may_begin_with_targets_and_a_benchmark(client: Client) -> None:
    settings = {"target_weights": {"AAPL": "1.0"}, "benchmark": "M&M"}
    assert client.create(settings=settings).status == 201
    assert client.create(settings={"target_weights": {"AAPL": 1}, "benchmark": "M&M"}).status == 200
    assert client.create(settings=settings | {"benchmark": "AAPL"}).status == 409
    assert get(client)["benchmark"] == "M&M"


def test_analytics_are_computed_once_a_version(invested: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    first = get(invested)
    monkeypatch.setattr(analytics.Analytics, "_computed", lambda *_: pytest.fail("computed again"))
    assert get(invested) == first
    monkeypatch.undo()
    close_day(invested, "2026-02-26", "20000")
    invested.send("PATCH", "/api/v1/portfolio/12345", {"settings": {"allow_short": True}})
    assert get(invested)["period"]["observations"] == 24


def test_analytics_of_somebody_else_do_not_exist(invested: Client) -> None:
    assert invested.send("GET", PATH, sub="bob").code == "PORTFOLIO_NOT_FOUND"
