"""The reconciliation of accounts over fakes: what is caught up, told, applied, and left alone."""

from __future__ import annotations

import itertools
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from foliostream.adapters.sqs_fills import encode
from foliostream.application import managers as modes_of
from foliostream.application.access import Caller
from foliostream.application.broker_orders import BrokerOrders
from foliostream.application.managers import KiteManager, PaperManager
from foliostream.application.order_watch import OrderWatch
from foliostream.application.postbacks import Postbacks
from foliostream.application.receiving import Received
from foliostream.application.reconcile import Reconciliation
from foliostream.application.reconcile_on_demand import Reconciling
from foliostream.application.reconcile_schedule import ACCOUNTS_MAX, ReconcileSchedule
from foliostream.application.record_fill import FillRecorder
from foliostream.domain import changes, market_hours, reconciliation
from foliostream.domain.account import BrokerAccount, Portfolio
from foliostream.domain.broker import Answer, Row
from foliostream.domain.fills import Fill
from foliostream.domain.instrument import Instrument
from foliostream.domain.order_fills import OrderState
from foliostream.domain.reconciliation import Report
from foliostream.errors import FoliostreamError, NotFoundError, PermanentError, RetryableError, UnauthorizedError
from tests.fakes.accounts import FakeBroker, FakeTurns
from tests.fakes.bus import FakeBus
from tests.fakes.fills import FakeFillQueue
from tests.fakes.notes import FakeNotes
from tests.fakes.queues import FakeOrderQueue
from tests.support.managers import managers
from tests.unit.application.system import System, price
from tests.unit.domain.examples import empty

DAY = "2026-02-26"
ALICE = Caller("alice")


def indian(symbol: str, **changes: Any) -> Instrument:  # noqa: ANN401
    return Instrument(symbol=symbol, kind="stock", currency="INR", **changes)


class Desk:
    """A live account at a broker, and everything that deals with it."""

    def __init__(self, *members: str, hours: str = "1-7/00:00-24:00", holidays: frozenset[str] = frozenset()) -> None:
        self.system = System()
        self.clock, self.ledger = self.system.clock, self.system.ledger
        self.broker, self.bus, self.queue = FakeBroker(), FakeBus(), FakeFillQueue()
        self.counted: list[Report] = []
        for instrument in (
            indian("TCS", token="7"),
            indian("INFY", token="8"),
            indian("LEAD", contract_size=Decimal(1000)),
        ):
            self.system.instruments.put(instrument)
        for member in members or ("growth",):
            portfolio_id, _, tag = member.partition(":")
            self.ledger.create(_live(portfolio_id, tag), [], "r")
        instruments = self.system.instruments
        self.orders = BrokerOrders(self.ledger.accounts, instruments, self.ledger, self.queue, self.clock)
        self.recorder = FillRecorder(
            self.ledger,
            instruments,
            self.system.hot,
            self.queue,
            self.clock,
            self.system.margin_check,
            managers(self.clock, instruments),
        )
        self.reconciliation = Reconciliation(
            ledger=self.ledger,
            instruments=instruments,
            prices=self.system.hot,
            accounts=self.ledger.accounts,
            brokers={"zerodha": self.broker},
            orders=self.orders,
            bus=self.bus,
            announce=self.system.announce,
            turns=FakeTurns(self.clock),
            clock=self.clock,
            hours=market_hours.parse(hours),
            holidays=holidays,
            count=self.counted.append,
        )
        self.broker.answer = Answer(cash=Decimal(100_000))

    def run(self, *, later_ms: int = 120_000, **how: bool) -> Report:
        self.clock.advance(later_ms)
        return self.reconciliation("zerodha", "AB1001", **how)

    def book(self) -> None:
        """Work off the fills queue."""
        assert self.recorder.record(self.queue.receive()).again == []

    def portfolio(self, portfolio_id: str = "growth") -> Portfolio:
        return self.ledger.load([portfolio_id])[portfolio_id]

    def owned(self, symbol: str, quantity: int, price: str = "100", cash: str | None = None) -> None:
        """What the broker says: bought today at one price."""
        worth = quantity * Decimal(price)
        row = Row(
            name=symbol,
            exchange="NSE",
            product="CNC",
            quantity=Decimal(quantity),
            buy_quantity=Decimal(quantity),
            buy_value=worth,
            average_price=Decimal(price),
            last_price=Decimal(price),
        )
        rest = [item for item in self.broker.answer.rows if item.name != symbol]
        money = self.broker.answer.cash if cash is None else Decimal(cash)
        self.broker.answer = Answer(rows=(*rest, *([row] if quantity else [])), cash=money)

    def filled(self, symbol: str, quantity: int, price: str = "100", order_id: str = "1", **other: Any) -> OrderState:  # noqa: ANN401
        """An order of today, as far as the broker says."""
        order = OrderState(
            day=DAY,
            order_id=order_id,
            name=symbol,
            exchange="NSE",
            product="CNC",
            side=other.pop("side", "BUY"),
            filled=Decimal(quantity),
            value=quantity * Decimal(price),
            timestamp_ms=self.clock.now_ms(),
            **other,
        )
        self.broker.today = [item for item in self.broker.today if item.order_id != order_id] + [order]
        return order

    def hold(self, symbol: str = "TCS", quantity: int = 10, price: str = "100") -> None:
        """Traded, told, booked and confirmed."""
        self.filled(symbol, quantity, price)
        self.owned(symbol, quantity, price, cash=str(100_000 - quantity * Decimal(price)))
        self.run()
        self.book()
        assert self.run().status == "ok"


def _live(portfolio_id: str, tag: str) -> Portfolio:
    return empty(
        portfolio_id=portfolio_id,
        base_currency="INR",
        version=1,
        cash={"INR": Decimal(100_000)},
        net_deposits=Decimal(100_000),
        broker=BrokerAccount("zerodha", "AB1001", tag),
        unreconciled_since_ms=1,
    )


def kinds(report: Report) -> list[str]:
    return [item.kind for item in report.discrepancies]


def test_books_that_agree_are_confirmed() -> None:
    desk = Desk()
    assert desk.run().status == "ok"
    assert desk.portfolio().unreconciled_since_ms is None
    assert desk.bus.published == []


def test_missed_fills_are_caught_up_and_then_all_is_well() -> None:
    desk = Desk()
    desk.filled("TCS", 10)
    desk.owned("TCS", 10, cash="99000")

    first = desk.run()
    assert (first.status, first.protected) == ("discrepancies", ("TCS",))
    assert desk.portfolio().unreconciled_since_ms is not None
    desk.book()
    assert desk.portfolio().positions["TCS"].quantity == 10

    assert desk.run().status == "ok"
    assert desk.portfolio().unreconciled_since_ms is None


@pytest.mark.parametrize("ways", list(itertools.permutations(["postback", "poll", "late postback", "poll"])))
def test_trades_seen_by_postback_and_by_polling_count_once(ways: tuple[str, ...]) -> None:
    desk = Desk()
    early, late = desk.filled("TCS", 4), desk.filled("TCS", 10)
    members = desk.ledger.accounts.members("zerodha", "AB1001")
    for way in ways:
        told = [early] if way == "postback" else [late]
        desk.orders.take("zerodha", "AB1001", told, members)
        desk.book()
    desk.orders.take("zerodha", "AB1001", [late], members)
    desk.book()

    assert desk.portfolio().positions["TCS"].quantity == 10
    assert desk.portfolio().cash["INR"] == 99_000


def test_a_fill_that_was_claimed_and_not_queued_is_queued_when_the_order_is_seen_again() -> None:
    desk = Desk()
    order = desk.filled("TCS", 10)
    members = desk.ledger.accounts.members("zerodha", "AB1001")
    desk.queue.failing = 1
    with pytest.raises(RetryableError):
        desk.orders.take("zerodha", "AB1001", [order], members)

    desk.orders.take("zerodha", "AB1001", [order], members)
    desk.book()

    assert desk.portfolio().positions["TCS"].quantity == 10


def test_an_order_goes_to_the_portfolio_of_its_tag() -> None:
    desk = Desk("mom:momentum", "val:value")
    orders = [
        desk.filled("TCS", 4, order_id="1", tags=("momentum",)),
        desk.filled("INFY", 3, order_id="2", tags=("value",)),
        desk.filled("INFY", 2, order_id="3"),
    ]
    taken = desk.orders.take("zerodha", "AB1001", orders, desk.ledger.accounts.members("zerodha", "AB1001"))
    desk.book()

    assert desk.portfolio("mom").positions["TCS"].quantity == 4
    assert desk.portfolio("val").positions["INFY"].quantity == 3
    assert [(order.symbol, order.quantity) for order in taken.external] == [("INFY", 2)]


def test_a_drift_is_reported_and_told_once_and_nothing_changes() -> None:
    desk = Desk()
    desk.hold()
    desk.owned("TCS", 13)
    version = desk.portfolio().version

    report, again = desk.run(), desk.run()

    assert (report.status, kinds(report), report.applied) == ("discrepancies", ["quantity"], ())
    assert again.digest == report.digest
    assert desk.portfolio().positions["TCS"].quantity == 10
    assert desk.portfolio().version == version + 1  # since when nobody confirms it, once
    assert desk.portfolio().unreconciled_since_ms == report.checked_at_ms
    told = [detail for kind, detail in desk.bus.published if kind == "reconciliation_discrepancy"]
    assert len({detail["event_id"] for detail in told}) == len(told)
    assert told[-1]["reconciliation_discrepancy"] == reconciliation.shown(report, "growth")
    assert len(told) == 3  # the fill in flight, that it is well, the drift


def test_what_is_evident_is_applied_on_demand_at_the_price_of_the_missed_trade() -> None:
    desk = Desk()
    desk.hold()
    desk.owned("TCS", 13, cash="98700")
    report = desk.run(apply=True)

    assert (report.status, len(report.applied)) == ("ok", 1)
    held = desk.portfolio()
    assert (held.positions["TCS"].quantity, held.cash["INR"]) == (13, 98_700)
    booked = desk.ledger.transactions("growth", report.applied)[report.applied[0]]
    assert (booked.entry.transaction_type, booked.entry.price) == ("ADJUSTMENT", 100)
    assert desk.run(apply=True).applied == ()
    assert desk.run().status == "ok"


FAULTS: list[FoliostreamError] = [
    RetryableError("no answer", code="BROKER_DOWN"),
    RetryableError("429", code="BROKER_THROTTLED"),
    RetryableError("half of it", code="BROKER_ANSWER"),
    PermanentError("expired", code="TOKEN_EXPIRED"),
    PermanentError("another one", code="WRONG_ACCOUNT"),
    PermanentError("nothing there", code="NO_CREDENTIALS"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.code)
def test_a_broker_that_fails_changes_nothing_says_so_and_recovery_is_automatic(fault: FoliostreamError) -> None:
    desk = Desk()
    desk.hold()
    before = desk.portfolio()
    desk.broker.fault = fault

    report = desk.run(apply=True)

    assert (report.status, report.code, report.discrepancies) == ("failed", fault.code, ())
    assert desk.portfolio().positions == before.positions
    assert desk.portfolio().cash == before.cash
    assert desk.portfolio().unreconciled_since_ms == report.checked_at_ms
    _, detail = desk.bus.published[-1]
    assert detail["reconciliation_discrepancy"] == reconciliation.shown(report, "growth")
    desk.broker.fault, desk.broker.token = None, "second"
    assert desk.run().status == "ok"
    assert desk.portfolio().unreconciled_since_ms is None


def test_a_doubt_keeps_the_time_at_which_it_began() -> None:
    desk = Desk()
    desk.broker.fault = RetryableError("no answer", code="BROKER_DOWN")
    desk.run()

    assert desk.portfolio().unreconciled_since_ms == 1  # since it was opened nobody has confirmed it


def test_an_expired_token_is_not_tried_again_until_there_is_another() -> None:
    desk = Desk()
    desk.broker.fault = PermanentError("expired", code="TOKEN_EXPIRED")
    desk.run()
    desk.broker.fault = None

    assert desk.run().code == "TOKEN_EXPIRED"
    assert desk.broker.asked == 0
    desk.broker.token = "second"
    assert desk.run().status == "ok"


def test_an_answer_that_contradicts_the_orders_of_the_day_is_not_believed() -> None:
    desk = Desk()
    desk.hold()
    desk.filled("TCS", 12)
    desk.broker.answer = Answer(cash=Decimal(1))

    assert desk.run(apply=True).code == "BROKER_ANSWER"


def test_an_account_that_shows_nothing_needs_a_minute_and_a_word() -> None:
    desk = Desk()
    desk.hold()
    desk.system.hot.put([price("TCS", "110", ts_ms=desk.clock.now_ms())])
    desk.broker.answer, desk.broker.today = Answer(cash=Decimal(99_000)), []

    first = desk.run(apply=True, confirm_empty=True)
    assert (kinds(first), first.applied) == (["extra"], ())
    assert first.reason is not None
    assert first.reason.startswith("ALL_GONE")
    assert desk.run(apply=True, later_ms=70_000).applied == ()
    report = desk.run(apply=True, confirm_empty=True)

    assert len(report.applied) == 1
    assert desk.portfolio().positions == {}
    assert desk.portfolio().cash["INR"] == 99_000  # in kind


def test_an_account_that_came_back_begins_its_minute_anew() -> None:
    desk = Desk()
    desk.hold()
    desk.system.hot.put([price("TCS", "110", ts_ms=desk.clock.now_ms())])
    full, desk.broker.today = desk.broker.answer, []
    desk.broker.answer = Answer(cash=Decimal(99_000))
    desk.run()
    desk.broker.answer = full
    desk.run()
    desk.broker.answer = Answer(cash=Decimal(99_000))

    assert desk.run(apply=True, confirm_empty=True).applied == ()


def test_nothing_is_applied_outside_market_hours() -> None:
    for desk in (Desk(hours="1-5/09:15-15:30"), Desk(holidays=frozenset({DAY}))):
        desk.clock.time_ms = 1_772_101_800_000 if desk.reconciliation.holidays else 1_772_128_800_000
        desk.owned("TCS", 10, cash="99000")

        report = desk.run(apply=True)

        assert report.applied == ()
        assert str(report.reason).startswith("MARKET_CLOSED")


def test_the_second_answer_has_to_be_the_same() -> None:
    desk = Desk()
    desk.owned("TCS", 10, cash="99000")
    desk.broker.meanwhile = lambda count: desk.owned("TCS", 10 + count)

    report = desk.run(apply=True)

    assert (report.applied, str(report.reason)[:7]) == ((), "CHANGED")
    assert desk.portfolio().positions == {}


def test_books_that_changed_meanwhile_are_not_adjusted() -> None:
    desk = Desk()
    desk.owned("TCS", 10, cash="99000")
    commit = desk.ledger.commit_together

    def late(bookings: Any) -> None:  # noqa: ANN401
        desk.ledger.commit_together = commit  # type: ignore[method-assign]
        held = desk.portfolio()
        desk.ledger.commit(replace(held, version=held.version + 1), [], (), ())
        commit(bookings)

    desk.ledger.commit_together = late  # type: ignore[method-assign]
    report = desk.run(apply=True)

    assert (report.applied, str(report.reason)[:7]) == ((), "CHANGED")


def test_a_fill_on_its_way_is_never_adjusted_however_long_it_takes() -> None:
    desk = Desk()
    desk.filled("TCS", 10)
    desk.owned("TCS", 10, cash="99000")
    desk.run()

    report = desk.run(apply=True, later_ms=3_600_000)  # the queue did not get on

    assert (kinds(report), report.applied) == (["missing", "cash"], ())
    desk.book()
    assert desk.run().status == "ok"


def test_strategies_on_one_account_are_compared_in_sum_and_only_reported() -> None:
    desk = Desk("mom:momentum", "val:value")
    desk.filled("TCS", 4, order_id="1", tags=("momentum",))
    desk.filled("TCS", 6, order_id="2", tags=("value",))
    desk.owned("TCS", 10, cash="199000")
    desk.run()
    desk.book()
    assert desk.run().status == "ok"
    desk.owned("TCS", 12)

    report = desk.run(apply=True)

    assert (kinds(report), report.applied) == (["quantity"], ())


def sharing(desk: Desk, **shares: str) -> None:
    """What a PATCH of the settings does."""
    for name, share in shares.items():
        before = desk.portfolio(name)
        wanted = replace(changes.standing(before), broker_share=Decimal(share))
        amended = changes.amend(before, wanted, "alice", desk.clock.now_ms())
        assert amended is not None
        desk.ledger.amend(*amended)


def strategies(**shares: str) -> Desk:
    """Two that hold 4 and 6 of what the account owns."""
    desk = Desk("mom:momentum", "val:value")
    sharing(desk, **shares)
    desk.filled("TCS", 4, order_id="1", tags=("momentum",))
    desk.filled("TCS", 6, order_id="2", tags=("value",))
    desk.owned("TCS", 10, cash="199000")
    desk.run()
    desk.book()
    assert desk.run().status == "ok"
    return desk


def test_a_difference_is_divided_among_strategies_by_their_shares_in_one_booking() -> None:
    desk = strategies(mom="0.3", val="0.7")
    desk.filled("TCS", 10, order_id="3")  # by hand: no tag
    desk.owned("TCS", 20, cash="198000")

    reported = desk.run()
    assert kinds(reported) == ["quantity", "external_order", "cash"]
    shown: Any = reconciliation.shown(reported, "mom")
    assert shown["discrepancies"][0]["attributed"] == [
        {"portfolio_id": "mom", "quantity": 3},
        {"portfolio_id": "val", "quantity": 7},
    ]
    assert shown["discrepancies"][1]["attributed"] == []
    report = desk.run(apply=True)

    assert (report.status, len(report.applied)) == ("ok", 2)
    held = {name: desk.portfolio(name) for name in ("mom", "val")}
    assert {name: item.positions["TCS"].quantity for name, item in held.items()} == {"mom": 7, "val": 13}
    assert {name: item.cash["INR"] for name, item in held.items()} == {"mom": 99_300, "val": 98_700}
    assert desk.run(apply=True).applied == ()


def test_an_order_that_was_adjusted_is_nobodys_fill_later_and_what_it_fills_then_is_told() -> None:
    desk = strategies(mom="1")
    desk.filled("TCS", 5, order_id="3")
    desk.owned("TCS", 15, cash="198500")
    assert desk.run(apply=True).status == "ok"
    desk.ledger.create(_live("rest", ""), [], "r")  # takes orders without a tag from now on
    members = desk.ledger.accounts.members("zerodha", "AB1001")

    again = desk.orders.take("zerodha", "AB1001", desk.broker.today, members)
    assert (again.queued, again.external) == (0, [])
    desk.broker.today = [order for order in desk.broker.today if order.order_id != "3"]
    grown = desk.filled("TCS", 8, order_id="3")
    told = desk.orders.take("zerodha", "AB1001", [grown], members)
    assert (told.queued, [order.quantity for order in told.external]) == (0, [3])


def test_of_an_adjustment_in_two_portfolios_all_is_booked_or_nothing() -> None:
    desk = strategies(mom="0.5", val="0.5")
    desk.owned("TCS", 20, cash="198000")
    commit = desk.ledger.commit_together

    def late(bookings: Any) -> None:  # noqa: ANN401
        desk.ledger.commit_together = commit  # type: ignore[method-assign]
        held = desk.portfolio("val")
        desk.ledger.commit(replace(held, version=held.version + 1), [], (), ())
        commit(bookings)

    desk.ledger.commit_together = late  # type: ignore[method-assign]
    report = desk.run(apply=True)

    assert (report.applied, str(report.reason)[:7]) == ((), "CHANGED")
    assert [desk.portfolio(name).positions["TCS"].quantity for name in ("mom", "val")] == [4, 6]
    assert len(desk.run(apply=True).applied) == 2


def test_shares_that_do_not_sum_to_one_leave_it_at_the_report() -> None:
    desk = strategies(mom="0.5", val="0.4")
    desk.owned("TCS", 12, cash="199000")

    report = desk.run(apply=True)

    assert (kinds(report), report.applied) == (["quantity"], ())
    assert report.discrepancies[0].note == "the broker_shares on the account sum to 0.9, not to 1"


def test_an_order_of_a_day_whose_bookings_may_be_forgotten_is_not_booked_again() -> None:
    desk = Desk()
    order = replace(desk.filled("TCS", 10), day="2026-01-20")

    assert desk.orders.take("zerodha", "AB1001", [order], desk.ledger.accounts.members("zerodha", "AB1001")).queued == 0
    assert desk.queue.receive() == []


def test_an_account_is_asked_at_most_once_a_second() -> None:
    desk = Desk()
    desk.run()
    at_ms = desk.clock.now_ms()
    desk.run(later_ms=0)

    assert desk.clock.now_ms() >= at_ms + 1_000


def test_paper_and_live_books_of_the_same_fills_are_identical() -> None:
    desk = Desk()
    desk.ledger.create(
        replace(_live("paper_growth", ""), account_type="paper", broker=None, unreconciled_since_ms=None), [], "r"
    )
    trades = [("TCS", 10, "100", "BUY"), ("TCS", 4, "103.35", "SELL"), ("INFY", 7, "1500.05", "BUY"),
              ("TCS", 9, "99", "SELL"), ("INFY", 7, "1499", "SELL")]  # fmt: skip
    members = desk.ledger.accounts.members("zerodha", "AB1001")
    for number, (symbol, quantity, at, side) in enumerate(trades):
        order = desk.filled(symbol, quantity, at, order_id=str(number), side=side)
        desk.orders.take("zerodha", "AB1001", [order], members)
        desk.book()
        fill = Fill(
            fill_id=f"p{number}",
            portfolio_id="paper_growth",
            instrument_id=symbol,
            side="BUY" if side == "BUY" else "SELL",
            quantity=Decimal(quantity),
            price=Decimal(at),
            timestamp_ms=order.timestamp_ms,
        )
        desk.queue.send([fill])
        desk.book()
    live, paper = desk.portfolio(), desk.portfolio("paper_growth")

    own = {"portfolio_id": "", "account_type": "live", "broker": None, "unreconciled_since_ms": None}
    assert replace(live, **own) == replace(paper, **own)
    assert live.positions["TCS"].quantity == -3


# Modes, postbacks and the schedule


def modes(desk: Desk) -> Reconciling:
    postbacks = Postbacks(desk.ledger.accounts, desk.broker, desk.orders)
    schedule = schedule_of(desk, FakeReconcileQueue())
    kite = KiteManager(lambda: postbacks, lambda: desk.reconciliation, lambda: schedule)
    paper = managers(desk.clock, desk.system.instruments)["paper"]
    return Reconciling(desk.ledger, {"paper": paper, "zerodha": kite})


def test_the_manager_is_chosen_by_the_portfolio() -> None:
    desk = Desk()
    desk.ledger.create(empty(portfolio_id="paper_x", account_type="paper", version=1), [], "r")
    desk.clock.advance(5_000)

    assert modes(desk)(ALICE, "growth", apply=False, confirm_empty=False).status == "ok"
    paper = modes(desk)(ALICE, "paper_x", apply=True, confirm_empty=True)
    assert (paper.broker, paper.status, paper.code) == ("paper", "skipped", "NO_BROKER")
    with pytest.raises(NotFoundError):
        modes(desk)(Caller("bob"), "growth", apply=False, confirm_empty=False)


class Failing:
    """A manager whose mode fails at every turn."""

    def ticked(self, symbols: Any) -> int:  # noqa: ANN401
        raise RetryableError(f"{len(symbols)} are too many")


def test_ticks_reach_every_mode_whatever_fails_in_another() -> None:
    desk, queue = Desk(), FakeOrderQueue()
    desk.system.hot.hint(["TCS"])
    both = managers(desk.clock, desk.system.instruments, watch=OrderWatch(desk.system.hot, queue))
    failing: Any = {"other": Failing()}

    assert modes_of.ticked(failing | both, {"TCS", "INFY"}) == 1
    assert queue.receive() == [["TCS"]]


def test_a_mode_recovers_in_its_own_way() -> None:
    desk = Desk()
    assert modes(desk).managers["zerodha"].recover() == 1  # the account is queued
    told: Any = SimpleNamespace(tell_all=lambda: 7)
    paper = PaperManager(desk.clock, desk.system.instruments, Decimal(0), lambda: told, lambda: told)
    assert paper.recover() == 7


def test_a_fill_opens_a_paper_portfolio_and_none_at_a_broker() -> None:
    desk = Desk()
    fill = Fill(
        fill_id="f", portfolio_id="paper_new", instrument_id="TCS", side="BUY", quantity=Decimal(1), price=Decimal(1),
        timestamp_ms=1, new_owner="alice",
    )  # fmt: skip
    desk.queue.send([fill, replace(fill, portfolio_id="zerodha_new")])
    desk.book()

    assert desk.portfolio("paper_new").positions["TCS"].quantity == 1
    assert [(item.code, item.group) for item in desk.queue.given_up] == [("PORTFOLIO_NOT_FOUND", "zerodha_new")]


def test_fills_of_a_broker_are_live_ones_and_given_up_in_their_own_queues_name() -> None:
    desk = Desk()
    desk.orders.take("zerodha", "AB1001", [desk.filled("TCS", 4)], desk.ledger.accounts.members("zerodha", "AB1001"))
    (message,) = desk.queue.receive()
    fill = msgspec.json.decode(message.body, type=Fill)
    assert fill.live

    unknown = encode(replace(fill, instrument_id="NOPE", fill_id="2"))
    desk.recorder.record([message, Received("m2", unknown, 1), Received("m3", "{", 1)], "live_fills")
    assert {item.source for item in desk.queue.given_up} == {"live_fills"}
    assert len(desk.queue.given_up) == 2


def test_a_look_that_somebody_asked_for_is_counted_as_the_schedules_is() -> None:
    desk = Desk()
    desk.clock.advance(5_000)
    modes(desk)(ALICE, "growth", apply=False, confirm_empty=False)
    desk.broker.fault = PermanentError("expired", code="TOKEN_EXPIRED")
    desk.run()

    names = ["AccountsReconciled", "AccountsDiffering", "AccountsFailed", "BrokerTokensExpired"]
    assert [list(reconciliation.figures(report)) for report in desk.counted] == [names, names]
    assert [list(reconciliation.figures(report).values()) for report in desk.counted] == [[1, 0, 0, 0], [0, 0, 1, 1]]


def test_a_postback_of_an_unknown_account_is_refused_like_a_wrong_checksum() -> None:
    desk = Desk()
    manager = modes(desk).managers["zerodha"]
    for account in ("AB9999", "a b", "#"):
        with pytest.raises(UnauthorizedError):
            manager.reported(_postback(account))


def _postback(account: str) -> str:
    return (
        f'{{"user_id": "{account}", "order_id": "1", "checksum": "x", "status": "COMPLETE", "order_timestamp": '
        '"2026-02-26 10:00:00", "exchange": "NSE", "tradingsymbol": "TCS", "instrument_token": 7, "product": "CNC", '
        '"transaction_type": "BUY", "filled_quantity": 1, "average_price": 1}'
    )


class FakeReconcileQueue:
    """Implements ``ports.ReconcileQueue``."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int]] = []

    def send(self, accounts: list[BrokerAccount], slot: int) -> None:  # type: ignore[override]
        self.sent += [(item.account, slot) for item in accounts]


def schedule_of(desk: Desk, queue: FakeReconcileQueue) -> ReconcileSchedule:
    return ReconcileSchedule(
        desk.ledger.accounts,
        FakeNotes(),
        queue,
        desk.reconciliation,
        desk.clock,
        300_000,  # type: ignore[arg-type]
    )


def test_each_account_is_queued_once_in_a_slot() -> None:
    desk, queue = Desk(), FakeReconcileQueue()
    schedule = schedule_of(desk, queue)

    assert [schedule.start(), schedule.start()] == [1, 0]
    desk.clock.advance(300_000)
    assert schedule.start() == 1
    first, second = queue.sent
    assert (first[0], second[1] - first[1]) == ("AB1001", 1)


def test_a_run_is_bounded_and_the_next_one_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foliostream.application.reconcile_schedule.ACCOUNTS_MAX", 2)
    assert ACCOUNTS_MAX == 1_000
    desk, queue = Desk(), FakeReconcileQueue()
    for number in range(2, 6):
        portfolio = replace(_live(f"p{number}", ""), broker=BrokerAccount("zerodha", f"AB100{number}"))
        desk.ledger.create(portfolio, [], "r")
    schedule = schedule_of(desk, queue)

    assert [schedule.start() for _ in range(4)] == [2, 2, 1, 0]
    assert sorted(account for account, _ in queue.sent) == [f"AB100{number}" for number in range(1, 6)]


def test_a_queued_account_is_reconciled_and_one_of_a_slot_that_is_over_is_not() -> None:
    desk = Desk()
    schedule = schedule_of(desk, FakeReconcileQueue())
    slot = desk.clock.now_ms() // 300_000
    body = '{{"broker": "zerodha", "account": "AB1001", "slot": {}}}'

    reports, again = schedule.work([Received("a", body.format(slot), 1), Received("b", body.format(slot - 2), 1)])

    assert ([report.status for report in reports], again) == (["ok"], [])


def test_an_entry_of_the_books_is_seen_in_what_is_expected() -> None:
    """Closed today, carried, opened again: the sums that are compared with the broker's."""
    desk = Desk()
    desk.hold()
    assert desk.run().discrepancies == ()
    desk.filled("TCS", 10, "120", order_id="2", side="SELL")
    row = desk.broker.answer.rows[0]
    desk.broker.answer = Answer(
        rows=(replace(row, quantity=Decimal(0), sell_quantity=Decimal(10), sell_value=Decimal(1200)),),
        cash=Decimal(100_200),
    )
    desk.run()
    desk.book()

    assert desk.run().status == "ok"
    desk.broker.answer = replace(
        desk.broker.answer, rows=(replace(desk.broker.answer.rows[0], sell_value=Decimal(1300)),)
    )
    assert kinds(desk.run()) == ["pnl"]
