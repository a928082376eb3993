"""Margin accounts valued: their figures and their state come out of the same snapshot as everything else."""

from __future__ import annotations

from decimal import Decimal

import pytest

from foliostream.domain import margin_status, valuation
from foliostream.domain import snapshot as snapshots
from foliostream.domain.instrument import Instrument, Split
from foliostream.domain.margin import Basis
from foliostream.domain.margin_states import MarginRules, Thresholds
from foliostream.domain.margin_status import MarginStatus
from foliostream.domain.portfolio import Portfolio
from foliostream.domain.price import Price
from foliostream.domain.valuation import Valuation
from tests.unit.domain.accounts import account, cfd, held, quote
from tests.unit.domain.examples import NOW, STALE_AFTER_MS, booked, cash, last, stock

D = Decimal
GOLD = cfd(margin_rate=D("0.05"))
RULES = MarginRules(dict.fromkeys(("live", "demo", "paper"), Thresholds()), unknown_after_ms=60_000)
# 10,000 of notional at 100, 500 of margin.
LONG = account("1000", positions={"XAUUSD": held("100", "100", GOLD)}, leverage=None)


def seen(
    portfolio: Portfolio,
    prices: dict[str, Price],
    *instruments: Instrument,
    before: Valuation | None = None,
    after_ms: int = 1000,
    rules: MarginRules = RULES,
) -> Valuation:
    """Valued after what was seen before, a second later."""
    head = before.snapshot if before else None
    return valuation.value(
        portfolio,
        prices,
        {item.symbol: item for item in instruments or (GOLD,)},
        read_at_ms=(head.read_at_ms if head else NOW) + after_ms,
        previous_version=head.version if head else 0,
        stale_after_ms=STALE_AFTER_MS,
        before=(head and head.margin) or MarginStatus(),
        rules=rules,
    )


def at(price: str, ts_ms: int = NOW) -> dict[str, Price]:
    return {"XAUUSD": quote(price, price, ts_ms)}


def test_the_figures_of_a_margin_account_are_shown_with_its_state() -> None:
    shown = seen(LONG, {"XAUUSD": quote("95", "96")}).state
    assert shown.margin is not None
    assert (shown.total_value, shown.margin.equity, shown.margin.balance) == (500, 500, 1000)
    assert (shown.margin.used, shown.margin.free, shown.margin.level_percent) == (480, 20, D("104.17"))
    assert (shown.margin.exposure, shown.margin.leverage_used, shown.margin.state) == (9500, 19, "warning")
    assert [item.margin_used for item in shown.positions] == [480, None]


@pytest.mark.parametrize(
    ("basis", "used", "equity", "level", "state"),
    [
        ("current", 480, 500, "104.17", "warning"),
        ("open", 500, 500, "100", "call"),
        ("mid", "477.5", 550, "115.18", "warning"),
    ],
)
def test_margin_is_needed_at_the_prices_of_the_deployment_in_the_figures_and_in_the_state(
    basis: Basis, used: str, equity: int, level: str, state: str
) -> None:
    found = seen(LONG, {"XAUUSD": quote("95", "96")}, rules=RULES._replace(basis=basis))
    shown = found.state.margin
    assert shown is not None
    assert (shown.used, shown.equity, shown.level_percent, shown.state) == (D(used), equity, D(level), state)
    assert found.state.total_value == 500
    assert found.snapshot.margin is not None
    assert found.snapshot.margin.state == state


def test_a_cash_account_has_no_margin() -> None:
    found = seen(booked(account("100", account_kind="cash", leverage=None)), {})
    assert (found.snapshot.margin, found.state.margin) == (None, None)


def test_the_state_goes_on_from_the_one_before() -> None:
    found: Valuation | None = None
    states, events = [], []
    for price in ("100", "95", "94.7", "92.2", "92.5", "94.9", "97", "100"):
        found = seen(LONG, at(price), before=found)
        assert found.snapshot.margin is not None
        states.append(found.snapshot.margin.state)
        events = [(event.kind, event.begun) for event in found.snapshot.margin.unsent]
    assert states == ["ok", "warning", "call", "stop_out", "stop_out", "call", "ok", "ok"]
    assert events == [
        ("margin_call", NOW + 3000),
        ("stop_out", NOW + 4000),
        ("margin_restored", NOW + 3000),
    ]


@pytest.mark.parametrize(
    "prices", [at("1", NOW - STALE_AFTER_MS - 1), {}, {"XAUUSD": quote(None, "1")}], ids=["stale", "none", "one side"]
)
def test_no_state_changes_on_prices_that_are_not_to_be_trusted(prices: dict[str, Price]) -> None:  # G8
    before = seen(LONG, at("100"))
    found = seen(LONG, prices, before=before)
    assert found.snapshot.calc_status != "ok"
    assert found.snapshot.margin is not None
    assert (found.snapshot.margin.state, found.snapshot.margin.unsent) == ("ok", ())


def test_a_call_that_nobody_can_see_any_more_is_shown_as_unknown() -> None:
    found = seen(LONG, at("94.7"))
    for after_ms in (1000, STALE_AFTER_MS + 1, 60_000):
        found = seen(LONG, at("94.7"), before=found, after_ms=after_ms)
    assert found.snapshot.margin is not None
    assert [event.kind for event in found.snapshot.margin.unsent] == ["margin_call", "margin_unknown"]
    assert found.state.margin is not None
    assert (found.state.margin.state, found.state.margin.equity) == ("unknown", 470)


def test_a_split_that_is_not_booked_yet_changes_no_state() -> None:  # G8
    apple = stock(splits=(Split(NOW + 1, D(4), D(1)),), margin_rate=D("0.05"))
    book = account("1000", positions={"AAPL": held("100", "100", apple)}, leverage=None)
    before = seen(book, {"AAPL": last("100")}, stock(margin_rate=D("0.05")), after_ms=0)
    for price in (last("100"), last("25", ts_ms=NOW + 500)):
        found = seen(book, {"AAPL": price}, apple, before=before)
        assert (found.snapshot.calc_status, found.state.stale) == ("degraded", ["AAPL"])
        assert found.snapshot.margin is not None
        assert (found.snapshot.margin.state, found.snapshot.margin.unsent) == ("ok", ())
    split = cash("SPLIT", "0", instrument_id="AAPL", ratio=(D(4), D(1)), timestamp_ms=NOW + 600)
    after = booked(book, split, now_ms=NOW + 600, instruments={"AAPL": apple})
    found = seen(after, {"AAPL": last("25", ts_ms=NOW + 500)}, apple, before=before)
    assert (found.snapshot.calc_status, found.state.total_value) == ("ok", 1000)


def test_a_position_opened_after_a_split_does_not_wait_for_it() -> None:
    apple = stock(splits=(Split(NOW - 1, D(4), D(1)),), margin_rate=D("0.05"))
    book = account("1000", positions={"AAPL": held("100", "100", apple)}, leverage=None)
    assert seen(book, {"AAPL": last("100")}, apple).snapshot.calc_status == "ok"


def test_a_status_survives_being_stored() -> None:
    found = seen(LONG, at("92.2")).snapshot
    assert found.margin is not None
    assert found.margin.is_pending
    assert snapshots.decode(snapshots.encode(found)).margin == found.margin
    assert margin_status.decode(margin_status.encode(found.margin)) == found.margin
    assert margin_status.decode("") == MarginStatus()
