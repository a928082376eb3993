"""Daily closes into the deployed stack, and what `GET .../analytics` and an analysis make of hundreds of them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from foliostream.domain import history
from foliostream.domain.history import Day
from foliostream_client.transport import Rest
from local.__main__ import main
from local.environments import ROOT
from tests.e2e.conftest import Cloud, Holder, eventually, now_ms, post_price

PACKAGED = ROOT / "layers" / "foliostream" / "python" / "foliostream" / "data" / "sp500_20_closes_2020_2022.csv"
DAYS = 400
# Of the day in the middle: paid in before it began.
PAID_IN = 5_000
D = Decimal
ZERO = D(0)


def real_closes(ticker: str) -> dict[str, Decimal]:
    """The last 400 of a real stock, as of the days before today."""
    with PACKAGED.open() as file:
        found = [D(row[ticker]) for row in csv.DictReader(file)][-DAYS:]
    first = datetime.now(UTC).date() - timedelta(DAYS)
    return {(first + timedelta(number)).isoformat(): close for number, close in enumerate(found)}


@pytest.fixture
def benchmark_symbol(admin: Rest) -> str:
    name = f"B{uuid4().hex[:10].upper()}"
    admin.put(f"/api/v1/instruments/{name}", {"kind": "stock", "currency": "USD"})
    return name


@pytest.fixture
def imported(
    stack: Cloud, symbol: str, benchmark_symbol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Mapping[str, Mapping[str, Decimal]]:
    """400 closes of two symbols, as `make import-history` gives them."""
    closes = {symbol: real_closes("AAPL"), benchmark_symbol: real_closes("JPM")}
    file = tmp_path / "closes.csv"
    with file.open("w", newline="") as opened:
        rows = csv.writer(opened)
        rows.writerow(["date", *closes])
        rows.writerows([day, *(closes[name][day] for name in closes)] for day in closes[symbol])
    monkeypatch.setenv("FOLIOSTREAM_HOME", str(stack.settings.home))
    assert main(["import-history", str(file)]) == 0
    return closes


def close(day: str, value: Decimal, inflows: Decimal, inflows_total: Decimal) -> Day:
    """A row of the daily history."""
    return Day(
        day=day,
        closed_at_ms=now_ms(),
        ledger_version=1,
        calc_status="ok",
        total_value=value,
        cash_balance=ZERO,
        realized_pnl=ZERO,
        unrealized_pnl=ZERO,
        daily_change=None,
        daily_change_percent=None,
        daily_pnl=None,
        daily_missing=[],
        inflows=inflows,
        outflows=ZERO,
        inflows_total=inflows_total,
        outflows_total=ZERO,
    )


def live_through(stack: Cloud, owner: Holder, closes: Mapping[str, Decimal]) -> list[Day]:
    """The rows that 400 ends of day would have left: 100 of the stock, and from the middle on what 5,000 bought."""
    held, rows = D(100), []
    for number, (day, price) in enumerate(closes.items()):
        paid = D(PAID_IN) if number == DAYS // 2 else ZERO
        # Bought at the close of the day before: what is paid in counts from the day's start.
        held += paid / list(closes.values())[number - 1] if paid else ZERO
        rows.append(close(day, held * price, paid, D(PAID_IN) if number >= DAYS // 2 else ZERO))
    client, table = stack.aws("dynamodb"), stack.outputs.resources["LedgerTableName"]
    for row in rows:
        key = {"pk": {"S": f"PORTFOLIO#{owner.portfolio_id}"}, "sk": {"S": f"DAY#{row.day}"}}
        client.put_item(TableName=table, Item=key | {"record": {"S": history.encode(row).decode()}})
    return rows


def analytics(owner: Holder) -> dict[str, Any]:
    body: dict[str, Any] = owner.rest.get(f"/api/v1/portfolio/{owner.portfolio_id}/analytics")
    return body


def rounded(value: float) -> Decimal:
    return D(str(round(float(value), 4)))


def test_closes_that_were_imported_are_there(
    admin: Rest, symbol: str, imported: Mapping[str, Mapping[str, Decimal]]
) -> None:
    path = f"/api/v1/instruments/{symbol}/history"
    days = list(imported[symbol])
    kept = admin.get(f"{path}?from={days[0]}&to={days[-1]}")["closes"]
    assert {item["date"]: item["close"] for item in kept} == imported[symbol]
    assert admin.put(path, {"closes": [{"date": days[0], "close": "1.5"}]})["kept"] == DAYS, "merged by date"
    assert admin.get(f"{path}?from={days[0]}&to={days[0]}")["closes"] == [{"date": days[0], "close": D("1.5")}]


def test_the_figures_of_four_hundred_days_are_those_of_their_closes(
    stack: Cloud,
    admin: Rest,
    holder: Callable[[str], Holder],
    symbol: str,
    benchmark_symbol: str,
    imported: Mapping[str, Mapping[str, Decimal]],
) -> None:
    owner = holder("live")
    rows = live_through(stack, owner, imported[symbol])
    post_price(admin, symbol, 110)
    settings = {"benchmark": benchmark_symbol, "target_weights": {symbol: "0.75", benchmark_symbol: "0.25"}}
    changed = owner.rest.call("PATCH", f"/api/v1/portfolio/{owner.portfolio_id}", {"settings": settings})
    assert changed.status == 200, changed.body
    state = eventually(owner.state, lambda state: state["calc_status"] == "ok", "a priced account")
    found = eventually(lambda: analytics(owner), lambda body: body["beta_observations"] > 0, "the benchmark")

    prices = np.array([float(item) for item in imported[symbol].values()])
    its = np.array([float(item) for item in imported[benchmark_symbol].values()])
    returns, against = prices[1:] / prices[:-1] - 1, its[1:] / its[:-1] - 1
    worst = np.sort(returns)
    path = np.concatenate([[1.0], np.cumprod(1 + returns)])
    assert found["period"] == {"from": rows[0].day, "to": rows[-1].day, "observations": DAYS - 1}
    assert (found["benchmark"], found["beta_observations"]) == (benchmark_symbol, DAYS - 1)
    assert found["version"] >= state["version"]
    assert {name: found[name] for name in ("time_weighted_return", "volatility", "sharpe", "max_drawdown")} == {
        "time_weighted_return": rounded(prices[-1] / prices[0] - 1),
        "volatility": rounded(returns.std(ddof=1) * np.sqrt(252)),
        "sharpe": rounded(returns.mean() / returns.std(ddof=1) * np.sqrt(252)),
        "max_drawdown": rounded((path / np.maximum.accumulate(path) - 1).min()),
    }
    assert found["sortino"] == rounded(returns.mean() * 252 / np.sqrt((np.minimum(returns, 0) ** 2).mean() * 252))
    assert found["beta"] == rounded(np.cov(returns, against, ddof=1)[0, 1] / against.var(ddof=1))
    assert [found["var_95"], found["var_99"]] == [rounded(np.quantile(returns, part)) for part in (0.05, 0.01)]
    assert found["cvar_95"] == rounded(worst[: int((len(worst) - 1) * 0.05) + 1].mean())
    rate = float(found["money_weighted_return"])
    start = date.fromisoformat(rows[0].day)
    flows = [(rows[0].day, -float(rows[0].total_value)), (rows[DAYS // 2].day, -PAID_IN)]
    flows.append((rows[-1].day, float(rows[-1].total_value)))
    worth = sum(flow * (1 + rate) ** (-(date.fromisoformat(day) - start).days / 365) for day, flow in flows)
    assert abs(worth) < float(rows[-1].total_value) * 2e-4, "the rate explains the flows, to four digits"
    assert found["concentration"] == 1
    assert found["target_drift"] == D("0.25")
    assert set(found["exposure_by_kind"]) == {"stock", "cash"}


def test_an_account_of_today_says_of_every_figure_why_it_has_none(
    admin: Rest, holder: Callable[[str], Holder], symbol: str
) -> None:
    owner = holder("live")
    post_price(admin, symbol, 110)
    eventually(owner.state, lambda state: state["calc_status"] == "ok", "a priced account")
    found = analytics(owner)
    assert found["period"] == {"from": None, "to": None, "observations": 0}
    unknown = {name: figure for name, figure in found.items() if isinstance(figure, dict) and "reason" in figure}
    assert set(unknown) == {
        *("time_weighted_return", "money_weighted_return", "volatility", "sharpe", "sortino", "max_drawdown", "beta"),
        *("var_95", "var_99", "cvar_95", "var_95_normal", "var_99_normal", "cvar_95_normal", "target_drift"),
    }
    assert all(figure["value"] is None and figure["reason"] for figure in unknown.values())
    assert unknown["beta"]["reason"] == "no benchmark is set"
