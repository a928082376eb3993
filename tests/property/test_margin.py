"""Margin accounts on drawn positions: against the reference, and what must hold whatever is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from foliostream.domain import liquidation, margin, money
from foliostream.domain.instrument import Instrument, MarginTier
from foliostream.domain.liquidation import Account, Plan
from foliostream.domain.margin import Line, Sides
from foliostream.domain.margin_states import MarginEvent, MarginStatus, Thresholds, judge, level_state
from foliostream.domain.money import ONE
from foliostream.domain.portfolio import Position
from foliostream.domain.rates import SAME, Rate
from tests.property import margin_reference as reference
from tests.property.strategies import decimals, moderate
from tests.unit.domain.accounts import account as book
from tests.unit.domain.accounts import at_level, market, quote
from tests.unit.domain.examples import booked, buy, sell

D = Decimal
LIMITS = Thresholds()
UNTIL = LIMITS.stopped_until
leverages = st.sampled_from([D(1), D(20), D(30), D(100), D(400), D(500)])
prices = st.one_of(decimals("0.5", "2", 5), decimals("10", "3000", 2))
rates = st.decimals(D("0.00001"), D(1), places=5, allow_nan=False)


@st.composite
def tiers(draw: st.DrawFn) -> tuple[MarginTier, ...]:
    borders = sorted(draw(st.sets(decimals("1", "100000", 2), max_size=4)))
    return tuple(MarginTier(start, draw(rates)) for start in [D(0), *borders])


@st.composite
def instruments(draw: st.DrawFn, symbol: str, *, rated: bool = False) -> Instrument:
    form = draw(st.sampled_from(["rate", "tiers"] if rated else ["none", "rate", "tiers"]))
    return Instrument(
        symbol,
        "cfd",
        "USD",
        contract_size=draw(st.sampled_from([None, D(10), D("0.1")])),
        margin_rate=draw(rates) if form == "rate" else None,
        margin_tiers=draw(tiers()) if form == "tiers" else (),
        lot_step=draw(st.sampled_from([None, D(1), D("0.1"), D("0.03")])),
    )


@st.composite
def lines(draw: st.DrawFn, symbol: str, *, rated: bool = False, same: bool = False) -> Line:
    instrument = draw(instruments(symbol, rated=rated))
    quantity = draw(decimals("0.1", "40", 1)) * draw(st.sampled_from([1, -1]))
    ask = draw(prices)
    bid = ask - draw(st.sampled_from([D(0), D("0.00012"), D("0.05")]))
    average = max(D("0.01"), ask * (1 + draw(decimals("-0.3", "0.3", 3))))
    position = Position(
        quantity=quantity,
        cost=abs(quantity) * instrument.multiplier * average,
        realized_pnl=D(0),
        fees=D(0),
        multiplier=instrument.multiplier,
        currency="USD",
        opened_at_ms=draw(st.integers(0, 2)),
        updated_at_ms=0,
    )
    rate = SAME
    if not same and draw(st.booleans()):
        rate = Rate(draw(decimals("0.5", "1", 4)), draw(decimals("1", "1.5", 4)), (("X", 1),))
    return Line(symbol, position, instrument, Sides(bid, ask), rate)


@st.composite
def accounts(draw: st.DrawFn, *, same: bool = False) -> tuple[Decimal | None, list[Line]]:
    """A leverage and positions that all have a margin."""
    leverage = draw(st.one_of(st.none(), leverages))
    count = draw(st.integers(1, 6))
    return leverage, [draw(lines(f"S{number}", rated=leverage is None, same=same)) for number in range(count)]


def held(line: Line) -> reference.Held:
    position, instrument, rate = line.position, line.instrument, line.rate
    assert instrument is not None
    assert rate is not None
    assert line.sides.bid is not None
    assert line.sides.ask is not None
    found = [(Fraction(tier.notional_from), Fraction(tier.margin_rate)) for tier in instrument.margin_tiers]
    if instrument.margin_rate is not None:
        found = [(Fraction(0), Fraction(instrument.margin_rate))]
    return reference.Held(
        line.symbol, Fraction(position.quantity) * Fraction(position.multiplier), Fraction(position.cost),
        Fraction(line.sides.bid), Fraction(line.sides.ask), Fraction(rate.bid), Fraction(rate.ask), found,
        position.opened_at_ms,
    )  # fmt: skip


def fraction(value: Decimal | None) -> Fraction | None:
    return None if value is None else Fraction(value)


# --- figures ----------------------------------------------------------------------------------------------------------


@moderate
@given(accounts(), decimals("-500", "90000", 2), st.sampled_from(["current", "open", "mid"]), st.data())
def test_figures_are_those_of_the_reference(
    given_account: tuple[Decimal | None, list[Line]], balance: Decimal, basis: margin.Basis, data: st.DataObject
) -> None:
    leverage, positions = given_account
    found = margin.figures(balance, leverage, positions, basis)
    expected = reference.figures(Fraction(balance), [held(line) for line in positions], fraction(leverage), basis)
    assert found.equity is not None
    assert found.used is not None
    assert Fraction(found.equity) == expected.equity
    assert abs(Fraction(found.used) - expected.used) < Fraction(1, 10**45)  # a thirtieth has no end
    percent = data.draw(st.sampled_from([D(50), D(100), D(120)]))
    for amount in (found.equity, data.draw(decimals("-10", "300", 2))):
        moved = margin.figures(balance + amount - found.equity, leverage, positions, basis)
        below = 100 * Fraction(amount) <= Fraction(percent) * expected.used
        assert (moved.at_or_below(percent), moved.above(percent)) == (below, not below)


@moderate
@given(accounts(), decimals("-500", "90000", 2))
def test_parts_sum_to_the_whole(given_account: tuple[Decimal | None, list[Line]], balance: Decimal) -> None:
    leverage, positions = given_account
    found = margin.figures(balance, leverage, positions)
    assert found.used is not None
    assert found.free is not None
    assert found.equity is not None
    parts = found.positions.values()
    assert Fraction(found.equity) == Fraction(balance) + sum(Fraction(part.unrealized) for part in parts)
    assert abs(
        Fraction(found.used) - sum(Fraction(found.used_of(symbol) or 0) for symbol in found.positions)
    ) < Fraction(1, 10**45)
    assert abs(Fraction(found.free) + Fraction(found.used) - Fraction(found.equity)) < Fraction(1, 10**45)


@moderate
@given(accounts(same=True), decimals("-500", "90000", 2), st.integers(2, 1000))
def test_levels_scale_with_prices(
    given_account: tuple[Decimal | None, list[Line]], balance: Decimal, factor: int
) -> None:
    """A hundred times the price of everything, cash included, is the same account in cents."""
    leverage, positions = given_account

    def scaled(line: Line) -> Line:
        assert line.instrument is not None
        assert line.sides.bid is not None
        assert line.sides.ask is not None
        borders = tuple(MarginTier(t.notional_from * factor, t.margin_rate) for t in line.instrument.margin_tiers)
        return line._replace(
            position=replace(line.position, cost=line.position.cost * factor),
            instrument=replace(line.instrument, margin_tiers=borders),
            sides=Sides(line.sides.bid * factor, line.sides.ask * factor),
        )

    before = margin.figures(balance, leverage, positions)
    after = margin.figures(balance * factor, leverage, [scaled(line) for line in positions])
    assert before.level_percent is not None
    assert after.level_percent is not None
    assert abs(before.level_percent - after.level_percent) < D("1e-40")
    assert before.leverage_used is None or abs(before.leverage_used - (after.leverage_used or 0)) < D("1e-40")


@moderate
@given(
    st.lists(st.tuples(st.sampled_from(["A", "B"]), decimals("-5", "5", 1), decimals("90", "110", 2)), min_size=1,
             max_size=6),
    decimals("0", "3", 2), st.sampled_from([D(1), D("0.5"), D("0.1")]), leverages,
)  # fmt: skip
def test_closing_a_position_never_lowers_free_margin_but_by_its_fee(
    trades: list[tuple[str, Decimal, Decimal]], fee: Decimal, share: Decimal, leverage: Decimal
) -> None:
    """At the price it is valued at, where the spread is in the figures already."""
    registry = {symbol: Instrument(symbol, "cfd", "EUR", lot_step=D("0.1")) for symbol in ("A", "B")}
    there = market(
        {"A": quote("99.5", "100.5"), "B": quote("101", "101.3"), "EURUSD": quote("1.1", "1.2")}, *registry.values()
    )
    portfolio = book("1000000", leverage=leverage)
    for symbol, quantity, price in trades:
        if quantity:
            entry = (buy if quantity > 0 else sell)(str(abs(quantity)), str(price), instrument_id=symbol, fx_rate=D(1))
            portfolio = booked(portfolio, entry, instruments=registry)
    assume(portfolio.positions)
    before = margin.assess(portfolio, there)
    for line in margin.lines_of(portfolio, there):
        position = line.position
        at = line.sides.of(long=position.quantity > 0)
        assert line.rate is not None
        quantity = abs(position.quantity) * share
        realized = (at or ONE) * position.quantity * share - position.signed_cost * share
        entry = (sell if position.quantity > 0 else buy)(
            str(quantity), str(at), str(fee), instrument_id=line.symbol, fx_rate=line.rate.worse(realized),
            fee_currency="USD",
        )  # fmt: skip
        after = margin.assess(booked(portfolio, entry, instruments=registry), there)
        assert after.free is not None
        assert before.free is not None
        assert after.free >= before.free - fee - D("1e-8")  # realized amounts have ten decimals


# --- states -----------------------------------------------------------------------------------------------------------

levels = st.one_of(decimals("-20", "300", 2), st.sampled_from([D(x) for x in (50, 55, 100, 105, 120, 125)]))
seen = st.lists(st.tuples(levels, st.sampled_from(["ok", "ok", "ok", "degraded", "unpriced"])), max_size=60)


def watched(levels: Sequence[tuple[Decimal, str]]) -> tuple[list[str], list[MarginEvent], MarginStatus]:
    status, states, raised = MarginStatus(), list[str](), list[MarginEvent]()
    for number, (level, calc_status) in enumerate(levels):
        found = at_level(str(level))
        before = status
        status, events = judge(before, found, calc_status, 1000 + number, number * 1000, LIMITS, 5000)  # type: ignore[arg-type]
        assert judge(before, found, calc_status, 1000 + number, number * 1000, LIMITS, 5000) == (status, events)  # type: ignore[arg-type]
        status = replace(status, unsent=())
        states.append(status.state)
        raised += events
    return states, raised, status


@moderate
@given(seen)
def test_every_event_is_raised_once_and_states_are_those_of_the_reference(
    given_levels: list[tuple[Decimal, str]],
) -> None:
    states, raised, _ = watched(given_levels)
    ids = [event.event_id("demo:1") for event in raised]
    assert len(ids) == len(set(ids))
    watch = reference.Watch({"warning": Fraction(120), "call": Fraction(100), "stop_out": Fraction(50)})
    for number, (level, calc_status) in enumerate(given_levels):
        if calc_status == "ok":
            watch.see(number, reference.Figures(Fraction(level), Fraction(100)))
        assert states[number] == watch.state
    known = [(event.at_ms // 1000, event.kind) for event in raised if event.kind != "margin_unknown"]
    assert known == watch.raised


@moderate
@given(seen)
def test_calls_and_restorations_alternate(given_levels: list[tuple[Decimal, str]]) -> None:
    _, raised, status = watched(given_levels)
    kinds = [event.kind for event in raised if event.kind in ("margin_call", "margin_restored")]
    assert all(one != other for one, other in pairwise(kinds))
    assert kinds[:1] in ([], ["margin_call"])
    assert bool(status.call_version) is (kinds[-1:] == ["margin_call"])


@moderate
@given(
    st.lists(decimals("95.01", "105", 2), min_size=1, max_size=40), st.lists(decimals("45.01", "55", 2), max_size=40)
)
def test_nothing_flaps_within_the_hysteresis(calls: list[Decimal], stops: list[Decimal]) -> None:
    given_levels = [(level, "ok") for level in (D(100), *calls, D(50), *stops)]
    _, raised, _ = watched(given_levels)
    assert [event.kind for event in raised] == ["margin_call", "stop_out"]


@moderate
@given(st.sampled_from(["unknown", "ok", "warning", "call", "stop_out"]), levels, levels)
def test_a_lower_level_is_never_a_better_state(before: margin.State, one: Decimal, other: Decimal) -> None:
    worse, better = sorted((one, other))
    states = [reference.LADDER.index(level_state(before, at_level(str(level)), LIMITS)) for level in (worse, better)]
    assert states[0] >= states[1]


@moderate
@given(accounts(), st.sampled_from(["degraded", "unpriced"]), decimals("-500", "500", 2), seen)
def test_bad_data_changes_no_state_and_calls_nobody(
    given_account: tuple[Decimal | None, list[Line]], calc_status: str, balance: Decimal,
    given_levels: list[tuple[Decimal, str]],
) -> None:  # fmt: skip
    leverage, positions = given_account
    _, _, before = watched(given_levels)
    found = margin.figures(balance, leverage, positions)
    after, events = judge(before, found, calc_status, 9999, 9_999_000, LIMITS, 5000)  # type: ignore[arg-type]
    assert (after.state, after.call_version, after.stop_out_version) == (
        before.state, before.call_version, before.stop_out_version)  # fmt: skip
    assert {event.kind for event in events} <= {"margin_unknown"}
    planned = liquidation.plan(Account("demo:1", 1, balance, leverage, positions), calc_status, 1, LIMITS)  # type: ignore[arg-type]
    assert planned is None


# --- plans ------------------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    account: Account
    plan: Plan
    reference_level: Fraction


@st.composite
def stopped(draw: st.DrawFn, *, partial: bool) -> Case:
    """An account at or below the stop-out, some of its markets closed."""
    leverage, positions = draw(accounts())
    fees = {line.symbol: draw(st.sampled_from([D(0), D("0.001")])) for line in positions}
    closed = draw(st.sets(st.sampled_from([line.symbol for line in positions]), max_size=2))
    free = margin.figures(D(0), leverage, positions)
    assert free.used is not None
    assert free.equity is not None
    level = draw(decimals("-50", "50", 2))
    balance = money.EXACT.divide(free.used * level, D(100)) - free.equity
    balance = money.rounded(balance, 6) - D("0.000001")
    account = Account("demo:1", 3, balance, leverage, positions, fees=fees, closed=closed, partial=partial)
    plan = liquidation.plan(account, "ok", 1000, LIMITS)
    assert plan is not None
    return Case(account, plan, Fraction(UNTIL))


def after_closes(case: Case, count: int, last_quantity: Decimal | None = None) -> reference.Figures:
    """The reference's figures once the first ``count`` closes are filled, the last one perhaps with less."""
    account = case.account
    balance, left = Fraction(account.balance), {line.symbol: held(line) for line in account.lines}
    for number, close in enumerate(case.plan.closes[:count], start=1):
        item = left.pop(close.symbol)
        position = next(line.position for line in account.lines if line.symbol == close.symbol)
        quantity = abs(close.quantity if last_quantity is None or number < count else last_quantity)
        share = Fraction(quantity) / abs(Fraction(position.quantity))
        price = item.bid if item.units > 0 else item.ask
        native = share * (item.units * price - (item.cost if item.units > 0 else -item.cost))
        balance += native * (item.rate_bid if native >= 0 else item.rate_ask)
        balance -= Fraction(account.fees[close.symbol]) * Fraction(quantity)
        if share != 1:
            left[close.symbol] = item._replace(units=item.units * (1 - share), cost=item.cost * (1 - share))
    return reference.figures(balance, list(left.values()), fraction(account.leverage))


def does(found: reference.Figures, until: Fraction, slack: Fraction = Fraction(0)) -> bool:
    return found.level is None or found.level > until + slack


ROUNDING = Fraction(1, 10**3)  # of a level: books keep ten decimals of what a close realizes


@moderate
@given(stopped(partial=False))
def test_a_plan_closes_in_the_order_of_the_reference_and_no_proper_prefix_would_do(case: Case) -> None:
    open_ones = [line for line in case.account.lines if line.symbol not in case.account.closed]
    expected = reference.order([held(line) for line in case.account.lines], fraction(case.account.leverage))
    expected = [symbol for symbol in expected if symbol in {line.symbol for line in open_ones}]
    symbols = [close.symbol for close in case.plan.closes]
    assert symbols == expected[: len(symbols)]
    for count in range(len(symbols)):
        assert not does(after_closes(case, count), case.reference_level, ROUNDING)
    if case.plan.suffices:
        assert does(after_closes(case, len(symbols)), case.reference_level, -ROUNDING)
    else:
        assert symbols == expected
        assert case.plan.skipped


@settings(moderate, max_examples=80)
@given(stopped(partial=True))
def test_a_partial_close_is_the_least_number_of_steps(case: Case) -> None:
    if not case.plan.closes:
        return
    count, last = len(case.plan.closes), case.plan.closes[-1]
    line = next(line for line in case.account.lines if line.symbol == last.symbol)
    assert line.instrument is not None
    step = line.instrument.lot_step
    whole = abs(last.quantity) == abs(line.position.quantity)
    for close in case.plan.closes[:-1]:
        assert abs(close.quantity) == abs(
            next(i for i in case.account.lines if i.symbol == close.symbol).position.quantity
        )
    for shorter in range(count):
        assert not does(after_closes(case, shorter), case.reference_level, ROUNDING)
    if step is None:
        assert whole
        return
    tried, smaller = step, list[Decimal]()
    while tried < abs(last.quantity):
        smaller.append(tried)
        tried += step
    for quantity in smaller:
        assert not does(after_closes(case, count, quantity), case.reference_level, ROUNDING)
    if not whole:
        assert abs(last.quantity) % step == 0
        assert does(after_closes(case, count), case.reference_level, -ROUNDING)


@moderate
@given(stopped(partial=False), st.randoms(use_true_random=False))
def test_a_plan_does_not_depend_on_the_order_of_the_book(case: Case, random: object) -> None:
    shuffled = list(case.account.lines)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert liquidation.plan(case.account._replace(lines=shuffled), "ok", 1000, LIMITS) == case.plan


@moderate
@given(stopped(partial=True))
def test_after_a_plan_there_is_no_other_one_but_for_closed_markets(case: Case) -> None:
    """Filled as planned, the level is out of the stop-out, or only what cannot be closed is left."""
    left = {line.symbol: line for line in case.account.lines}
    for close in case.plan.closes:
        line = left.pop(close.symbol)
        rest = line.position.quantity + close.quantity
        if rest:
            share = money.EXACT.divide(rest, line.position.quantity)
            left[close.symbol] = line._replace(
                position=replace(line.position, quantity=rest, cost=money.rounded(line.position.cost * share, 10))
            )
    after = case.account._replace(lines=list(left.values()), balance=case.plan.after.balance, ledger_version=4)
    again = liquidation.plan(after, "ok", 1000, LIMITS)
    assert again is None or (not again.closes and set(again.skipped) == set(left))
