"""Fills from the door into the books, over fakes."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from foliostream.application import fill_input
from foliostream.application.accept_fills import FillAccepter, FillReport, accept_events
from foliostream.application.access import Caller
from foliostream.application.receiving import Received
from foliostream.application.record_fill import MAX_CONFLICTS, RATE_RECEIVES_MAX, FillRecorder, Recorded
from foliostream.domain.fills import Fill
from foliostream.domain.instrument import Instrument
from foliostream.domain.portfolio import Portfolio, Transaction
from foliostream.domain.price import PriceUpdate
from foliostream.errors import CallerError, ConflictError, RetryableError
from tests.fakes.fills import FakeFillQueue
from tests.fakes.ledger import FakeLedger
from tests.support.managers import managers
from tests.unit.application.system import System, new_portfolio
from tests.unit.domain.examples import NOW, stock


class Shaky(FakeLedger):
    """Counts its calls. ``down``: the portfolios it cannot serve; ``busy``: how often a commit finds another version;
    ``dies_after``: commits after which the answer is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.down: set[str] = set()
        self.busy = 0
        self.dies_after = -1

    def load(self, portfolio_ids: Collection[str]) -> dict[str, Portfolio]:
        self.calls.append("load")
        if self.down & set(portfolio_ids):
            raise RetryableError("throttled")
        return super().load(portfolio_ids)

    def create(self, portfolio: Portfolio, transactions: Sequence[Transaction], request_digest: str) -> None:
        self.calls.append("create")
        super().create(portfolio, transactions, request_digest)

    def commit(self, portfolio: Portfolio, transactions: Sequence[Transaction], *symbols: Any, **more: Any) -> None:  # noqa: ANN401
        self.calls.append("commit")
        if self.busy:
            self.busy -= 1
            raise ConflictError("moved on", code="VERSION_CONFLICT")
        super().commit(portfolio, transactions, *symbols, **more)
        if self.dies_after == 0:
            self.dies_after = -1
            raise RetryableError("no answer")
        self.dies_after -= 1

    def transactions(self, portfolio_id: str, transaction_ids: Collection[str]) -> dict[str, Transaction]:
        self.calls.append("transactions")
        return super().transactions(portfolio_id, transaction_ids)


class Desk:
    """Both ends of the fills queue, over one system with the paper portfolio of bob and a live one of alice."""

    def __init__(self, *, default_owner: str = "desk", starting_cash: str = "1000") -> None:
        self.ledger = Shaky()
        self.system = System(ledger=self.ledger)
        self.system.instruments.put(stock("INFY", currency="INR", token="408065"))
        self.queue = FakeFillQueue()
        self.accepter = FillAccepter(self.ledger, self.system.instruments, self.queue, default_owner)
        self.recorder = self.container(starting_cash)
        writes = frozenset({"fills:write"})
        self.system.open("zerodha_trend", cash="10000", caller=Caller("alice", writes))
        self.system.open("paper_mine", account_type="paper", caller=Caller("bob", writes), cash="500")
        self.ledger.calls.clear()

    def container(self, starting_cash: str = "1000") -> FillRecorder:
        """A recorder that remembers nothing yet."""
        system = self.system
        cash = Decimal(starting_cash)
        modes = managers(system.clock, system.instruments, starting_cash=cash)
        return FillRecorder(
            self.ledger, system.instruments, system.hot, self.queue, system.clock, system.margin_check, modes
        )

    def report(self, *fills: dict[str, object], by: str = "") -> FillReport:
        return self.accepter.accept(fill_input.from_body(json.dumps(fills)), by)

    def book(self, received: Sequence[Received] | None = None) -> Recorded:
        return self.recorder.record(self.queue.receive() if received is None else received)

    def portfolio(self, portfolio_id: str = "zerodha_trend") -> Portfolio:
        return FakeLedger.load(self.ledger, [portfolio_id])[portfolio_id]

    def quantity(self, symbol: str = "AAPL", portfolio_id: str = "zerodha_trend") -> Decimal:
        return self.portfolio(portfolio_id).positions[symbol].quantity


@pytest.fixture
def desk() -> Desk:
    return Desk()


def fill(fill_id: str = "f1", **changes: object) -> dict[str, object]:
    """Ten AAPL bought at 100 for the live portfolio; None takes a field away."""
    fields = {
        "fill_id": fill_id,
        "portfolio_id": "zerodha_trend",
        "instrument_id": "AAPL",
        "side": "BUY",
        "quantity": 10,
        "fill_price": "100",
        "timestamp": NOW,
    } | changes
    return {name: value for name, value in fields.items() if value is not None}


def paper(fill_id: str = "f1", strategy: str = "new", **changes: object) -> dict[str, object]:
    return fill(fill_id, portfolio_id=None, execution_mode="paper", strategy_id=strategy, **changes)


# What is taken at the door


def test_a_fill_is_booked_with_its_fee_under_an_id_of_its_own(desk: Desk) -> None:
    assert desk.report(fill(fee="1.25")) == FillReport(1, [])
    assert desk.book() == Recorded(booked=1)
    assert desk.portfolio().cash["USD"] == Decimal("8998.75")
    (booked,) = desk.ledger.transactions("zerodha_trend", ["fill:f1"]).values()
    assert booked.entry.reported
    assert booked.entry.timestamp_ms == NOW


def test_a_sale_a_signal_and_a_strategy_are_other_words_for_the_same(desk: Desk) -> None:
    named = {"portfolio_id": None, "execution_mode": "zerodha", "strategy_id": "trend", "side": None}
    assert desk.report(fill("f1", **named, signal_type="BUY"), fill("f2", side="SELL", quantity="4")).accepted == 2
    desk.book()
    assert desk.quantity() == 6


def test_an_instrument_may_be_named_by_the_brokers_token(desk: Desk) -> None:
    body = paper("f1", instrument_id=None, instrument_token=408065, fill_price="1500.05", quantity=1)
    assert desk.report(body, fill("f2", instrument_id=None, instrument_token="1")).rejected[0].code == (
        "UNKNOWN_INSTRUMENT_TOKEN"
    )
    desk.book()
    assert desk.portfolio("paper_new").base_currency == "INR"
    assert desk.quantity("INFY", "paper_new") == 1


def test_without_a_fill_id_it_is_refused_saying_why(desk: Desk) -> None:
    for missing in (None, ""):
        (refused,) = desk.report(fill() | {"fill_id": missing}).rejected
        assert refused.code == "FILL_ID_MISSING"
        assert "twice" in refused.message


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"fill_id": "a b"}, "INVALID", "fill_id"),
        ({"fill_id": "f" * 124}, "INVALID", "fill_id"),
        ({"side": "HOLD"}, "INVALID", "side"),
        ({"side": None}, "INVALID", "missing"),
        ({"side": "BUY", "signal_type": "SELL"}, "INVALID", "BUY, SELL"),
        ({"quantity": 0}, "INVALID", "quantity"),
        ({"quantity": -1}, "INVALID", "quantity"),
        ({"quantity": "NaN"}, "INVALID", "quantity"),
        ({"quantity": None}, "INVALID", "quantity is missing"),
        ({"quantity": "0.0000000000001"}, "INVALID", "12 decimals"),
        ({"quantity": "1e999999999"}, "INVALID", ""),
        ({"fill_price": -1}, "INVALID", "fill_price"),
        ({"fill_price": None}, "INVALID", "fill_price is missing"),
        ({"fee": "-1"}, "INVALID", "fee"),
        ({"fee_currency": "dollar"}, "INVALID", "currency"),
        ({"currency": "EUR"}, "CURRENCY_MISMATCH", "AAPL is traded in USD"),
        ({"timestamp": None}, "INVALID", "timestamp is missing"),
        ({"timestamp": "2026-02-26T10:30:00"}, "INVALID", "offset"),
        ({"instrument_id": "NONE"}, "UNKNOWN_SYMBOL", "NONE"),
        ({"instrument_id": None}, "INVALID", "instrument_id or instrument_token"),
        ({"portfolio_id": None}, "INVALID", "portfolio_id, or execution_mode and strategy_id"),
        ({"portfolio_id": "a/b"}, "INVALID", "portfolio_id"),
        ({"portfolio_id": "zerodha_gone"}, "PORTFOLIO_NOT_FOUND", "zerodha_gone"),
        ({"portfolio_id": "12345"}, "PORTFOLIO_NOT_FOUND", "12345"),
        ({"execution_mode": "paper", "strategy_id": "x"}, "INVALID", "paper_x"),
        ({"portfolio_id": None, "execution_mode": "ibkr", "strategy_id": "x"}, "UNKNOWN_EXECUTION_MODE", "zerodha"),
        ({"owner": "mallory"}, "OWNER_MISMATCH", "another owner"),
        ({"tag": "x" * 129}, "INVALID", "tag"),
        ({"order_id": "a\nb"}, "INVALID", "order_id"),
        ({"quantity": {}}, "INVALID", "quantity"),
    ],
)
def test_what_cannot_be_booked_is_refused_alone_with_its_code(
    desk: Desk, changes: dict[str, object], code: str, says: str
) -> None:
    bad = fill("bad") | changes
    report = desk.report(fill("f1"), {name: value for name, value in bad.items() if value is not None}, fill("f2"))
    assert report.accepted == 2
    assert [(refused.number, refused.code) for refused in report.rejected] == [(1, code)]
    assert says in report.rejected[0].message
    assert desk.book() == Recorded(booked=2)


def test_a_future_time_a_short_sale_and_too_little_cash_are_no_reason_to_refuse_what_has_happened(desk: Desk) -> None:
    report = desk.report(
        fill("f1", timestamp=NOW + 3_600_000), fill("f2", side="SELL", quantity=25), fill("f3", quantity=1000)
    )
    assert report.accepted == 3
    assert desk.book() == Recorded(booked=3)
    assert desk.quantity() == 985
    assert desk.portfolio().cash["USD"] < 0


@pytest.mark.parametrize("body", ["[]", "[" + ",".join(["{}"] * 101) + "]", "{", "1", '"f"', "null", "[" * 5000])
def test_a_body_that_is_neither_a_fill_nor_a_list_of_them_is_refused_whole(body: str) -> None:
    with pytest.raises(CallerError):
        fill_input.from_body(body)


def test_one_fill_needs_no_list(desk: Desk) -> None:
    assert desk.accepter.accept(fill_input.from_body(json.dumps(fill()))).accepted == 1


def test_whose_a_portfolio_is_is_read_once_and_every_new_one_until_it_is_there(desk: Desk) -> None:
    for number in range(3):
        desk.report(fill(f"f{number}"))
    assert desk.ledger.calls == ["load"]


# Events


def test_what_is_refused_of_events_is_a_dead_letter_with_its_reason_as_it_came(desk: Desk) -> None:
    def message(name: str, body: object) -> Received:
        return Received(name, body if isinstance(body, str) else json.dumps(body), 1)

    bad = {"detail-type": "order_filled", "detail": fill("f2", side="HOLD")}
    messages = [message("a", bad), message("b", {"detail": fill("f1")}), message("c", "{"), message("d", "{}")]
    assert accept_events(messages, desk.accepter, desk.queue).accepted == 1
    assert {(item.source, item.message_id, item.code) for item in desk.queue.given_up} == {
        ("order_filled", "a", "INVALID"),
        ("order_filled", "c", "INVALID_JSON"),
        ("order_filled", "d", "INVALID"),
    }
    assert [json.loads(item.body) for item in desk.queue.given_up if item.message_id == "a"] == [bad]


# New portfolios


def test_fills_of_live_accounts_are_told_apart_from_paper_ones(desk: Desk) -> None:
    desk.report(fill("1"), fill("2", portfolio_id="paper_mine"), fill("3", portfolio_id="paper_new"))
    queued = [msgspec.json.decode(message.body, type=Fill) for message in desk.queue.receive()]
    assert [(item.portfolio_id, item.live) for item in queued] == [
        ("zerodha_trend", True),
        ("paper_mine", False),
        ("paper_new", False),
    ]


def test_a_paper_portfolio_is_made_by_its_first_fill_with_its_starting_cash_and_may_go_short(desk: Desk) -> None:
    desk.report(paper("f1", side="SELL"), paper("f2", side="SELL"))
    assert desk.book() == Recorded(booked=2)
    made = desk.portfolio("paper_new")
    assert (made.account_type, made.account_kind, made.base_currency, made.owner) == ("paper", "cash", "USD", "desk")
    assert made.allow_short
    assert made.positions["AAPL"].quantity == -20
    assert made.cash == {"USD": Decimal(3000)}
    assert made.net_deposits == 1000
    assert desk.ledger.calls.count("create") == 1


@pytest.mark.parametrize(
    ("default", "named", "by", "owner"),
    [("desk", "bob", "carol", "bob"), ("desk", None, "carol", "desk"), ("", None, "carol", "carol")],
)
def test_it_belongs_to_whom_the_fill_names_else_the_setting_else_the_caller(
    default: str, named: str | None, by: str, owner: str
) -> None:
    desk = Desk(default_owner=default)
    desk.report(paper(owner=named), by=by)
    desk.book()
    assert desk.portfolio("paper_new").owner == owner


def test_with_nobody_to_own_it_the_fill_is_refused() -> None:
    desk = Desk(default_owner="")
    (refused,) = desk.report(paper()).rejected
    assert refused.code == "OWNER_MISSING"


def test_of_two_owners_who_were_both_first_the_second_books_nothing_in_the_others_portfolio(desk: Desk) -> None:
    desk.report(paper("f1", owner="alice"), paper("f2", owner="bob"), paper("f3", owner="alice"))
    done = desk.book()
    assert (done.booked, done.given_up) == (2, ["OWNER_MISMATCH"])
    assert desk.portfolio("paper_new").owner == "alice"


def test_without_starting_cash_it_starts_with_nothing() -> None:
    desk = Desk(starting_cash="0")
    desk.report(paper())
    assert desk.book() == Recorded(booked=1)
    assert desk.portfolio("paper_new").net_deposits == 0


# Once, for ever


def test_the_same_fill_three_times_counts_once_in_one_batch_and_in_three_and_in_another_container(desk: Desk) -> None:
    desk.report(fill(), fill(), fill())
    assert desk.book() == Recorded(booked=1, known=2)
    desk.report(fill())
    assert desk.book() == Recorded(known=1)
    desk.report(fill())
    desk.recorder = desk.container()
    assert desk.book() == Recorded(known=1)
    assert desk.quantity() == 10
    assert not desk.queue.given_up


def test_the_same_id_with_another_body_is_a_conflict_whether_in_the_same_batch_or_a_year_later(desk: Desk) -> None:
    desk.report(fill("f1"), fill("f1", quantity=11), fill("f2"))
    done = desk.book()
    assert (done.booked, done.given_up, done.again) == (2, ["CONFLICT"], [])
    desk.system.clock.wait_until(NOW + 366 * 86_400_000)
    desk.report(fill("f1", side="SELL"))
    assert desk.book().given_up == ["CONFLICT"]
    assert desk.quantity() == 20
    given_up = desk.queue.given_up[0]
    assert (given_up.source, given_up.code, given_up.group) == ("fills", "CONFLICT", "zerodha_trend")


def test_a_lost_answer_after_the_commit_is_found_out_on_the_next_delivery(desk: Desk) -> None:
    desk.report(fill("f1"), fill("f2"))
    messages = desk.queue.receive()
    desk.ledger.dies_after = 0
    assert desk.book(messages).again == [message.message_id for message in messages]
    assert desk.book(messages) == Recorded(known=2)
    assert desk.quantity() == 20


# Failures


def test_a_message_that_is_no_fill_is_given_up_and_the_others_go_on(desk: Desk) -> None:
    desk.report(fill())
    messages = [Received("x", "{", 1), Received("y", '{"fill_id": 1}', 1), *desk.queue.receive()]
    done = desk.book(messages)
    assert (done.booked, done.given_up, done.again) == (1, ["INVALID", "INVALID"], [])


def test_a_fill_the_books_can_never_take_is_given_up_and_those_beside_it_are_booked(desk: Desk) -> None:
    desk.system.instruments.put(stock("BOND"))
    desk.report(fill("f1"), fill("f2", instrument_id="BOND"), fill("f3"))
    del desk.system.instruments._known["BOND"]
    done = desk.book()
    assert (done.booked, done.given_up, done.again) == (2, ["UNKNOWN_SYMBOL"], [])
    assert desk.quantity() == 20


def test_a_live_portfolio_that_is_not_there_any_more_gives_its_fills_up(desk: Desk) -> None:
    desk.report(fill("f1"), fill("f2"))
    del desk.ledger._books["zerodha_trend"]
    assert desk.book().given_up == ["PORTFOLIO_NOT_FOUND", "PORTFOLIO_NOT_FOUND"]


def test_a_portfolio_whose_turn_fails_gives_back_all_of_its_own_and_the_others_go_on(desk: Desk) -> None:
    desk.report(fill("f1"), fill("f2", portfolio_id="paper_mine", quantity=1), fill("f3"))
    messages = desk.queue.receive()
    desk.ledger.down = {"zerodha_trend"}
    done = desk.book(messages)
    assert (done.booked, done.again) == (1, [messages[0].message_id, messages[2].message_id])
    desk.ledger.down = set()
    assert desk.book([messages[0], messages[2]]) == Recorded(booked=2)


def test_a_dead_letter_queue_that_fails_stops_its_portfolio_there_and_keeps_the_order(desk: Desk) -> None:
    desk.report(fill("f1"))
    desk.book()
    desk.report(fill("f1", quantity=7), fill("f2"), fill("f3", portfolio_id="paper_mine", quantity=1))
    messages = desk.queue.receive()
    desk.queue.failing = 1
    done = desk.book(messages)
    assert (done.booked, done.again) == (1, [messages[0].message_id, messages[1].message_id])
    done = desk.book(messages[:2])
    assert (done.booked, done.given_up) == (1, ["CONFLICT"])


def test_a_book_that_cannot_be_read_stops_its_own_portfolio_only(desk: Desk) -> None:
    desk.report(fill("f1"), fill("f2", portfolio_id="paper_mine", quantity=1))
    messages = desk.queue.receive()
    desk.ledger._books["zerodha_trend"] = b"{"
    done = desk.book(messages)
    assert (done.booked, done.again) == (1, [messages[0].message_id])


@pytest.mark.parametrize(("busy", "booked", "again"), [(MAX_CONFLICTS - 1, 1, 0), (MAX_CONFLICTS, 0, 1)])
def test_a_portfolio_that_moves_on_is_read_again_a_bounded_number_of_times(
    desk: Desk, busy: int, booked: int, again: int
) -> None:
    desk.ledger.busy = busy
    desk.report(fill())
    done = desk.book()
    assert (done.booked, len(done.again)) == (booked, again)


def test_a_remembered_portfolio_that_another_writer_changed_is_read_again_and_loses_nothing(desk: Desk) -> None:
    desk.report(fill("f1"))
    desk.book()
    desk.report(fill("f2"))
    assert desk.container().record(desk.queue.receive()) == Recorded(booked=1)
    desk.report(fill("f3"))
    assert desk.book() == Recorded(booked=1)
    assert desk.quantity() == 30
    assert desk.portfolio().version == 4


# The usual path


def test_a_warm_container_asks_the_ledger_for_one_thing_a_batch_of_one_portfolio(desk: Desk) -> None:
    desk.report(fill("f0"))
    desk.book()
    desk.ledger.calls.clear()
    desk.report(fill("f1"))
    desk.book()
    assert desk.ledger.calls == ["commit"]
    desk.report(*(fill(f"g{number}") for number in range(10)))
    desk.book()
    assert desk.ledger.calls == ["commit", "commit"]
    assert desk.quantity() == 120


# A rate that is missing


def priced(desk: Desk, price: str) -> None:
    desk.system.instruments.put(stock("INRUSD", kind="forex"))
    desk.system.prices(PriceUpdate("INRUSD", NOW, bid=Decimal(price), ask=Decimal(price)))


def again(messages: Sequence[Received], receive_count: int) -> list[Received]:
    return [message._replace(receive_count=receive_count) for message in messages]


def test_a_fill_whose_rate_is_missing_waits_for_it_with_those_after_it(desk: Desk) -> None:
    desk.report(
        fill("f0", instrument_id="INFY"),
        fill("f1", instrument_id="INFY", side="SELL", fill_price="110"),
        fill("f2"),
        paper("f3", strategy="mine", quantity=1),
    )
    messages = desk.queue.receive()
    assert desk.book(messages) == Recorded(booked=2, again=["m2", "m3"])
    priced(desk, "0.012")
    assert desk.book(again(messages[1:3], 2)) == Recorded(booked=2)
    assert desk.portfolio().realized_pnl == Decimal("1.2")
    assert desk.queue.given_up == []


def test_a_fill_whose_rate_stays_away_is_given_up_with_its_reason_and_may_be_sent_again(desk: Desk) -> None:
    desk.report(fill("f1", instrument_id="INFY", fee=1), fill("f2"))
    messages = desk.queue.receive()
    assert desk.book(again(messages, RATE_RECEIVES_MAX - 1)) == Recorded(again=["m1", "m2"])
    assert desk.book(again(messages, RATE_RECEIVES_MAX)) == Recorded(booked=1, given_up=["RATE_MISSING"])
    (letter,) = desk.queue.given_up
    assert (letter.code, letter.group) == ("RATE_MISSING", "zerodha_trend")
    priced(desk, "0.012")
    assert desk.book([Received("redriven", letter.body, 1)]) == Recorded(booked=1)


# Margin


def gold(desk: Desk, account_type: str) -> dict[str, object]:
    """A fill of one XAUUSD at 2000 for a margin account of 100 at 1:30, where it is priced 1999/2001."""
    desk.system.instruments.put(Instrument("XAUUSD", "cfd", "USD"))
    quote = PriceUpdate("XAUUSD", NOW, bid=Decimal(1999), ask=Decimal(2001))
    assert desk.system.prices(quote).accepted == 1
    margin = {"account_kind": "margin", "leverage": Decimal(30)}
    made = new_portfolio("m1", account_type=account_type, cash="100", changes=margin)
    desk.system.portfolios.create(Caller("alice"), made)
    return fill(portfolio_id="m1", instrument_id="XAUUSD", fill_price="2000", quantity=1)


@pytest.mark.parametrize("account_type", ["demo", "paper"])
def test_a_fill_beyond_the_margin_of_a_demo_or_paper_account_is_given_up_with_its_figures(
    desk: Desk, account_type: str
) -> None:
    too_much = gold(desk, account_type) | {"quantity": 2}
    assert desk.report(too_much, too_much | {"fill_id": "f2", "quantity": 1}).accepted == 2
    assert desk.book() == Recorded(booked=1, given_up=["INSUFFICIENT_MARGIN"])
    assert desk.quantity("XAUUSD", "m1") == 1
    assert desk.queue.given_up[0].reason == (
        "free margin would be -35.4 USD: 135.4 needed for margin, spread, fees and payments, 100 available"
    )


def test_a_fill_on_a_live_account_is_booked_whatever_its_margin(desk: Desk) -> None:
    assert desk.report(gold(desk, "live") | {"quantity": 2}).accepted == 1
    assert desk.book() == Recorded(booked=1)


def test_a_fill_that_reduces_is_booked_on_an_account_short_of_margin(desk: Desk) -> None:
    first = gold(desk, "demo")
    desk.report(first)
    desk.book()
    desk.system.clock.advance(1)
    assert desk.system.prices(PriceUpdate("XAUUSD", NOW + 1, bid=Decimal(1900), ask=Decimal(1901))).accepted == 1
    desk.report(first | {"fill_id": "f2", "quantity": "0.01"})
    desk.report(first | {"fill_id": "f3", "quantity": "0.5", "side": "SELL"})
    assert desk.book() == Recorded(booked=1, given_up=["INSUFFICIENT_MARGIN"])
    assert desk.quantity("XAUUSD", "m1") == Decimal("0.5")
