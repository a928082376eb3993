"""The nightly swap over fakes: once a night, what was held as it began, in bounded parts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from foliostream.application.book_swaps import MAX_AGE_DAYS, MAX_TOGETHER, Report, SwapBooking
from foliostream.application.receiving import Received
from foliostream.application.walking import MAX_DIRECT
from foliostream.domain import swaps
from foliostream.domain.instrument import Instrument, Swap
from foliostream.domain.portfolio import Portfolio, Transaction
from foliostream.domain.price import PriceUpdate
from foliostream.domain.swaps import Night
from foliostream.domain.times import epoch_ms
from foliostream.errors import CallerError, ConflictError, RetryableError
from foliostream.ports import WALK_BUCKETS
from functions.book_swaps import app
from tests.fakes.ledger import FakeLedger
from tests.fakes.parts import FakePartQueue
from tests.unit.application.system import ALICE, System, new_portfolio
from tests.unit.domain.accounts import cfd, forex
from tests.unit.domain.examples import buy, sell

D = Decimal
NIGHT = swaps.latest(epoch_ms("2026-02-26T22:00:00Z"))
BORDER_MS = NIGHT.at_ms
EURUSD = forex(swap=Swap(D(7), D(-9), "points", "Wed"))


class Busy(FakeLedger):
    """``conflicts``: commits that find another version; ``after``: what happens before a commit, once."""

    def __init__(self) -> None:
        super().__init__()
        self.conflicts = 0
        self.down: set[str] = set()

    def load(self, portfolio_ids: Collection[str]) -> dict[str, Portfolio]:
        if self.down & set(portfolio_ids):
            raise RetryableError("throttled")
        return super().load(portfolio_ids)

    def commit(self, portfolio: Portfolio, transactions: Sequence[Transaction], *symbols: Any, **more: Any) -> None:  # noqa: ANN401
        if self.conflicts:
            self.conflicts -= 1
            raise ConflictError("moved on", code="VERSION_CONFLICT")
        super().commit(portfolio, transactions, *symbols, **more)


class Desk(System):
    """An hour before the border of Thursday's night; ``p1`` is a demo margin account of 100,000 USD."""

    def __init__(self) -> None:
        self.books = Busy()
        super().__init__(ledger=self.books)
        self.clock.wait_until(BORDER_MS - 3_600_000)
        self.instruments.put(EURUSD)
        self.queue = FakePartQueue()
        self.booking = SwapBooking(self.ledger, self.hot, self.instruments, self.queue, self.clock, one_by_one)
        self.account("p1")
        self.quote("EURUSD", "1.0999", "1.1001")

    def account(self, portfolio_id: str, kind: str = "margin", base: str = "USD") -> None:
        changes = {"account_kind": kind, "base_currency": base, "leverage": D(30) if kind == "margin" else None}
        made = new_portfolio(portfolio_id, account_type="demo", cash="100000", changes=changes)
        self.portfolios.create(ALICE, made)

    def quote(self, symbol: str, bid: str, ask: str) -> None:
        assert self.prices(PriceUpdate(symbol, self.clock.now_ms(), bid=D(bid), ask=D(ask))).accepted == 1

    def listed(self, symbol: str, currency: str = "USD", swap: Swap | None = None, **others: Any) -> None:  # noqa: ANN401
        """A CFD with a price of 100."""
        self.instruments.put(cfd(symbol, currency, swap=swap or Swap(D(-2), D(1), "currency"), **others))
        self.quote(symbol, "100", "100")

    def trade(self, quantity: str, symbol: str = "EURUSD", portfolio_id: str = "p1", price: str = "1.1") -> None:
        entry = (sell if quantity.startswith("-") else buy)(
            quantity.removeprefix("-"), price, instrument_id=symbol, timestamp_ms=self.clock.now_ms()
        )
        self.portfolios.update(ALICE, portfolio_id, [entry])

    def lose(self, *symbols: str) -> None:
        """Their prices."""
        for symbol in symbols:
            del self.hot.prices[symbol]

    def after_border(self, ms: int = 300_000) -> None:
        self.clock.wait_until(BORDER_MS + ms)

    def book(self, *portfolio_ids: str, night: Night = NIGHT) -> Report:
        return self.booking.book(night, portfolio_ids or ["p1"])

    def charged(self, portfolio_id: str = "p1") -> dict[str, Decimal]:
        """Amounts by transaction id."""
        last = self.ledger.load([portfolio_id])[portfolio_id].last_sequence
        found = self.ledger.newest(portfolio_id, last, last)
        return {item.entry.transaction_id: item.entry.amount for item in found if item.entry.transaction_type == "SWAP"}


def one_by_one(work: Callable[[str], str | None], items: Iterable[str]) -> list[str | None]:
    return [work(item) for item in items]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_night_is_charged_once_a_symbol(desk: Desk) -> None:
    desk.instruments.put(cfd("SPX", swap=Swap(D("-3.6"), D(0), "interest", "Fri")))
    desk.quote("SPX", "5000", "5001")
    desk.trade("2")
    desk.trade("1", "SPX", price="5000")
    desk.after_border()
    assert desk.book() == Report(booked=["p1"])
    assert desk.charged() == {"SWAP:demo:p1:EURUSD:2026-02-26": 14, "SWAP:demo:p1:SPX:2026-02-26": D("-0.5")}
    book = desk.ledger.load(["p1"])["p1"]
    assert (book.swap_total, book.cash["USD"]) == (D("13.5"), D("100013.5"))
    assert desk.book() == Report(nothing=["p1"])
    assert desk.ledger.load(["p1"])["p1"] == book


def test_what_is_held_as_the_night_begins_is_charged_whatever_was_traded_since(desk: Desk) -> None:
    desk.listed("GOLD")
    desk.listed("SPX")
    desk.trade("2")
    desk.trade("-3", "GOLD", price="100")
    desk.after_border(60_000)
    desk.trade("-3")
    desk.trade("3", "GOLD", price="100")
    desk.trade("1", "SPX", price="100")
    desk.after_border()
    desk.book()
    assert desk.charged() == {"SWAP:demo:p1:EURUSD:2026-02-26": 14, "SWAP:demo:p1:GOLD:2026-02-26": 3}


def test_a_night_may_be_charged_days_later(desk: Desk) -> None:
    desk.trade("2")
    desk.after_border(60_000)
    for _ in range(70):
        desk.trade("0.01")
    desk.after_border(5 * 86_400_000)
    desk.book()
    assert desk.charged() == {"SWAP:demo:p1:EURUSD:2026-02-26": 14}


def test_the_charge_is_converted_like_every_other_amount(desk: Desk) -> None:
    desk.account("p2", base="EUR")
    desk.trade("-1", portfolio_id="p2")
    desk.after_border()
    desk.book("p2")
    assert desk.charged("p2") == {"SWAP:demo:p2:EURUSD:2026-02-26": -9}
    assert desk.ledger.load(["p2"])["p2"].swap_total == D("-8.1825620511")  # -9 / 1.0999, the bid: it is owed


def test_who_holds_nothing_that_is_charged_pays_nothing(desk: Desk) -> None:
    desk.account("flat")
    desk.account("cash", kind="cash")
    desk.trade("1", "AAPL", "cash", price="100")
    desk.trade("1", "AAPL", price="100")
    desk.after_border()
    assert desk.book("flat", "cash", "p1", "p1") == Report(nothing=["flat", "cash", "p1"])


def test_a_portfolio_that_changes_meanwhile_is_charged_from_its_newest_book(desk: Desk) -> None:
    desk.trade("2")
    desk.after_border()
    desk.books.conflicts = 4
    assert desk.book() == Report(booked=["p1"])
    desk.account("p2")
    desk.trade("1", portfolio_id="p2")
    desk.books.conflicts = 5
    assert desk.book("p2", night=swaps.of_day(NIGHT.day)).nothing == ["p2"]
    desk.clock.wait_until(BORDER_MS + 86_400_000)
    later = swaps.latest(desk.clock.now_ms())
    assert desk.book("p2", night=later).failed == {"p2": "it changed 5 times meanwhile"}


def test_a_charge_without_a_price_or_a_rate_fails_alone_and_succeeds_when_there_is_one(desk: Desk) -> None:
    desk.instruments.put(Instrument("USDJPY", "forex", "JPY", base_currency="USD"))
    desk.quote("USDJPY", "150", "150")
    desk.listed("DAX", "EUR")
    desk.listed("N225", "JPY")
    desk.listed("SPX", swap=Swap(D(-4), D(0), "interest"))
    for symbol in ("DAX", "N225", "SPX"):
        desk.trade("1", symbol, price="100")
    desk.lose("USDJPY", "SPX")
    desk.after_border()
    report = desk.book()
    assert set(report.failed) == {"p1"}
    assert "USDJPY" in report.failed["p1"]
    assert report.failed["p1"].endswith("; no price of SPX")
    assert list(desk.charged()) == ["SWAP:demo:p1:DAX:2026-02-26"]
    desk.quote("USDJPY", "150", "150")
    desk.quote("SPX", "99", "101")
    assert desk.book() == Report(booked=["p1"])
    assert desk.charged()["SWAP:demo:p1:SPX:2026-02-26"] == D("-0.011")
    assert len(desk.charged()) == 3


def test_more_symbols_than_one_transaction_takes_are_charged_in_several(desk: Desk) -> None:
    count = MAX_TOGETHER + 1
    for number in range(count):
        desk.listed(f"C{number:03d}")
        desk.trade("1", f"C{number:03d}", price="100")
    desk.after_border()
    before = desk.ledger.load(["p1"])["p1"].version
    assert desk.book() == Report(booked=["p1"])
    assert len(desk.charged()) == count
    assert desk.ledger.load(["p1"])["p1"].version == before + 2


def test_a_run_that_dies_in_between_is_finished_by_the_next_one(desk: Desk) -> None:
    for symbol, currency in (("AAA", "USD"), ("BBB", "EUR")):
        desk.listed(symbol, currency)
        desk.trade("1", symbol, price="100")
    desk.after_border()
    stop = desk.books.commit
    calls: list[int] = []

    def dies(*arguments: Any, **named: Any) -> None:  # noqa: ANN401
        calls.append(1)
        if len(calls) == 2:
            raise RetryableError("no answer")
        stop(*arguments, **named)

    desk.books.commit = dies  # type: ignore[method-assign]
    with pytest.raises(RetryableError):
        desk.book()
    assert len(desk.charged()) == 1
    assert desk.book() == Report(booked=["p1"])
    assert len(desk.charged()) == 2


# Runs


def test_a_run_walks_all_portfolios_in_messages_and_a_second_one_changes_nothing(desk: Desk) -> None:
    names = [f"walk-{number}" for number in range(30)]
    for name in names:
        desk.account(name)
        desk.trade("1", portfolio_id=name)
    desk.after_border()
    for _ in range(2):
        assert desk.booking.start(NIGHT) == WALK_BUCKETS
        while messages := desk.queue.receive():
            report, again = desk.booking.work(messages)
            assert (report.failed, again) == ({}, [])
    assert all(list(desk.charged(name).values()) == [7] for name in names)


def test_a_portfolio_that_fails_gets_a_message_of_its_own(desk: Desk) -> None:
    desk.listed("SPX", swap=Swap(D(1), D(0), "interest"))
    desk.trade("1", "SPX", price="100")
    desk.lose("SPX")
    desk.after_border()
    desk.booking.start(NIGHT)
    failed: dict[str, str] = {}
    alone: list[Received] = []
    while messages := desk.queue.receive():
        for message in messages:
            report, again = desk.booking.work([message])
            failed |= report.failed
            alone += [message] if again else []
    (message,) = alone
    assert failed == {
        "p1": "no price of SPX",
        f"message {message.message_id}": "not charged: {'p1': 'no price of SPX'}",
    }
    desk.quote("SPX", "100", "100")
    assert desk.booking.work([message])[1] == []
    assert len(desk.charged()) == 1


def test_a_failing_store_gives_the_message_back(desk: Desk) -> None:
    desk.after_border()
    desk.books.down.add("p1")
    body = msgspec.json.encode({"night": "2026-02-26", "portfolio_ids": ["p1"]}).decode()
    assert desk.booking.work([Received("m", body, 1), Received("n", "{", 1)])[1] == ["m", "n"]


# Which night


@pytest.mark.parametrize(
    ("raw", "code"), [("2026-02-27", "NIGHT_IN_FUTURE"), ("2026-01-01", "NIGHT_TOO_OLD"), ("soon", "INVALID_DATE")]
)
def test_a_night_has_begun_and_is_not_long_ago(desk: Desk, raw: str, code: str) -> None:
    desk.after_border(0)
    with pytest.raises(CallerError) as fault:
        desk.booking.night(raw)
    assert fault.value.code == code
    assert desk.booking.night("2026-02-26") == NIGHT
    assert (NIGHT.day - desk.booking.night("2026-01-26").day).days == MAX_AGE_DAYS


def test_too_many_at_once_are_refused(desk: Desk) -> None:
    with pytest.raises(CallerError):
        desk.booking.book(NIGHT, [f"p{number}" for number in range(MAX_DIRECT + 1)])


@pytest.mark.parametrize(
    ("event", "night"),
    [
        ({"scheduled_time": "2026-02-26T22:05:00Z"}, "2026-02-26"),
        ({"scheduled_time": "<aws.scheduler.scheduled-time>"}, "2026-02-26"),
        ({}, "2026-02-26"),
        ({"night": "2026-02-25"}, "2026-02-25"),
    ],
)
def test_the_schedule_says_which_night_it_is(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, event: dict[str, str], night: str
) -> None:
    desk.after_border(3_600_000)
    monkeypatch.setattr(app, "wiring", lambda: SimpleNamespace(swap_booking=desk.booking, clock=desk.clock))
    assert app.handler(event, None) == {"night": night, "started": WALK_BUCKETS}
    assert {str(part["night"]) for part in desk.queue.parts} == {night}


def test_a_direct_invocation_says_what_became_of_each(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.trade("1")
    desk.after_border()
    monkeypatch.setattr(app, "wiring", lambda: SimpleNamespace(swap_booking=desk.booking, clock=desk.clock))
    found = app.handler({"portfolio_ids": ["p1", "nobody"]}, None)
    assert found == {
        "night": "2026-02-26",
        "booked": ["p1"],
        "nothing": [],
        "failed": {"nobody": "there is no such portfolio"},
    }
