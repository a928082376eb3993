"""The daily close over fakes: rows, carried quantities, once a day, in bounded parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import msgspec
import pytest

from foliostream.application.amending import Amending, Wanted
from foliostream.application.close_day import DayClosing
from foliostream.application.receiving import Received
from foliostream.application.walking import MAX_DIRECT
from foliostream.domain.history import Day
from foliostream.domain.portfolio import Entry, Portfolio
from foliostream.domain.price import PriceUpdate
from foliostream.errors import CallerError, ConflictError, RetryableError
from foliostream.ports import SYMBOL_BUCKETS, WALK_BUCKETS
from functions.close_day import app
from tests.fakes.closes import FakeCloses
from tests.fakes.ledger import FakeLedger
from tests.fakes.parts import FakePartQueue
from tests.unit.application.system import ALICE, System
from tests.unit.domain.examples import NOW, STALE_AFTER_MS, buy, stock

TODAY = "2026-02-26"
PARTS = WALK_BUCKETS + SYMBOL_BUCKETS
HOLIDAY = "2026-02-16"


class Closing(System):
    """A system with the daily close of a market in New York."""

    def __init__(self, ledger: FakeLedger | None = None) -> None:
        super().__init__(ledger=ledger)
        self.queue = FakePartQueue()
        self.closes = FakeCloses()
        self.closing = DayClosing(
            ledger=self.ledger,
            prices=self.hot,
            instruments=self.instruments,
            price_history=self.closes,
            queue=self.queue,
            clock=self.clock,
            zone=ZoneInfo("America/New_York"),
            holidays=frozenset({HOLIDAY}),
            stale_after_ms=STALE_AFTER_MS,
            each=one_by_one,
        )

    def book(self, portfolio_id: str = "p1") -> Portfolio:
        return self.ledger.load([portfolio_id])[portfolio_id]

    def rows(self, portfolio_id: str = "p1") -> list[Day]:
        return self.ledger.days(portfolio_id, "0001-01-01", "9999-12-31")

    def move(self, kind: str, amount: str) -> None:
        count = self.book().last_sequence
        entry = Entry(f"cash-{count}", kind, self.clock.now_ms(), amount=Decimal(amount), currency="USD")  # type: ignore[arg-type]
        self.portfolios.update(ALICE, "p1", [entry])

    def next_day(self) -> None:
        self.clock.advance(86_400_000)

    def today(self) -> str:
        return self.closing.day_of(self.clock.now_ms())


def one_by_one(work: Callable[[str], str | None], items: Iterable[str]) -> list[str | None]:
    return [work(item) for item in items]


@pytest.fixture
def system() -> Closing:
    system = Closing()
    system.open("p1", "AAPL")
    system.tick("AAPL", "110")
    return system


def test_a_closed_day_has_its_value_and_profit_and_the_next_one_begins_at_its_marks(system: Closing) -> None:
    report = system.closing.close(TODAY, ["p1"])
    assert (report.written, report.unpriced, report.skipped, report.failed) == (["p1"], [], [], {})
    (row,) = system.rows()
    assert (row.day, row.total_value, row.cash_balance) == (TODAY, Decimal("10100.00"), Decimal("9000.00"))
    assert (row.inflows, row.outflows, row.daily_pnl) == (Decimal("10000.00"), 0, Decimal("100.00"))
    book = system.book()
    assert (book.version, book.closed_day) == (3, TODAY)
    assert book.positions["AAPL"].day is not None
    assert book.positions["AAPL"].day.carried_value == 1100


def test_the_mark_carried_over_is_not_rounded_to_the_wire(system: Closing) -> None:
    quote = PriceUpdate("MSFT", NOW, bid=Decimal("10.000001"), ask=Decimal("10.000002"))
    system.prices(quote)
    system.portfolios.update(ALICE, "p1", [buy("2", "10", instrument_id="MSFT")])
    system.closing.close(TODAY, ["p1"])
    day = system.book().positions["MSFT"].day
    assert day is not None
    assert day.carried_value == Decimal("20.000003")


def test_closing_a_day_again_or_an_older_one_changes_nothing(system: Closing) -> None:
    system.closing.close(TODAY, ["p1"])
    book, rows = system.book(), system.rows()
    system.tick("AAPL", "200")
    for day in (TODAY, "2026-02-25", "2020-01-01"):
        assert system.closing.close(day, ["p1"]).skipped == ["p1"]
    assert (system.book(), system.rows()) == (book, rows)


def test_a_day_is_closed_late_while_nothing_newer_has_come(system: Closing) -> None:
    system.next_day()
    assert system.closing.close(TODAY, ["p1"]).written == ["p1"]
    assert [(row.day, row.total_value) for row in system.rows()] == [(TODAY, Decimal("10100.00"))]


@pytest.mark.parametrize("newer", ["price", "booking"])
def test_a_day_whose_prices_or_book_went_on_is_not_closed_any_more_and_the_next_close_covers_it(
    system: Closing, newer: str
) -> None:
    system.next_day()
    if newer == "price":
        system.tick("AAPL", "120")
    else:
        system.move("DEPOSIT", "7")
    before = system.book()
    report = system.closing.close(TODAY, ["p1"])
    assert (report.late, report.written, report.failed) == (["p1"], [], {})
    assert (system.book(), system.rows()) == (before, [])
    assert system.closing.close(system.today(), ["p1"]).written == ["p1"]


def test_a_run_that_comes_too_late_counts_what_it_did_not_close(system: Closing) -> None:
    system.next_day()
    system.tick("AAPL", "120")
    body = msgspec.json.encode({"day": TODAY, "portfolio_ids": ["p1"]}).decode()
    report, again = system.closing.work([Received("m", body, 1)])
    assert (report.late, again) == (["p1"], [])


@pytest.mark.parametrize(
    "event", [{"scheduled_time": f"{HOLIDAY}T22:00:00Z"}, {"day": HOLIDAY, "portfolio_ids": ["p1"]}]
)
def test_a_holiday_of_the_market_is_not_closed(
    system: Closing, monkeypatch: pytest.MonkeyPatch, event: dict[str, str]
) -> None:
    parts = SimpleNamespace(day_closing=system.closing, clock=system.clock)
    monkeypatch.setattr(app, "wiring", lambda: parts)
    before = system.book()
    assert app.handler(event, None) == {"day": HOLIDAY, "holiday": True}
    assert (system.queue.parts, system.rows(), system.book()) == ([], [], before)


def test_flows_are_those_since_the_row_before(system: Closing) -> None:
    system.closing.close(system.today(), ["p1"])
    system.move("DEPOSIT", "500")
    system.move("WITHDRAWAL", "20")
    system.move("DEPOSIT", "1.25")
    system.next_day()
    system.tick("AAPL", "110")
    system.closing.close(system.today(), ["p1"])
    system.next_day()
    system.tick("AAPL", "110")
    system.closing.close(system.today(), ["p1"])
    assert [(row.inflows, row.outflows) for row in system.rows()] == [
        (10_000, 0),
        (Decimal("501.25"), 20),
        (0, 0),
    ]


def test_an_unpriced_day_has_no_row_but_ends_and_its_flows_are_in_the_next_row(system: Closing) -> None:
    system.closing.close(system.today(), ["p1"])
    system.portfolios.update(ALICE, "p1", [buy("1", "50", instrument_id="MSFT")])
    system.move("DEPOSIT", "7")
    system.next_day()
    unpriced = system.today()
    assert system.closing.close(unpriced, ["p1"]).unpriced == ["p1"]
    assert system.book().closed_day == unpriced
    assert system.closing.close(unpriced, ["p1"]).skipped == ["p1"]
    system.next_day()
    system.tick("AAPL", "110")
    system.tick("MSFT", "60")
    system.closing.close(system.today(), ["p1"])
    assert [(row.day, row.inflows) for row in system.rows()] == [(TODAY, 10_000), (system.today(), 7)]


def test_a_stale_day_is_written_as_degraded(system: Closing) -> None:
    system.clock.advance(STALE_AFTER_MS + 1)
    system.closing.close(TODAY, ["p1"])
    assert [row.calc_status for row in system.rows()] == ["degraded"]


def test_a_day_that_has_not_begun_at_the_market_is_not_closed(system: Closing) -> None:
    assert system.closing.checked_day(TODAY) == TODAY
    for day, code in (("2026-02-27", "DAY_IN_FUTURE"), ("2026-2-26", "INVALID_DATE"), ("", "INVALID_DATE")):
        with pytest.raises(CallerError) as refused:
            system.closing.checked_day(day)
        assert refused.value.code == code


def test_the_day_is_the_date_of_the_market_and_not_of_greenwich(system: Closing) -> None:
    assert NOW == 1_772_101_800_000  # 2026-02-26T10:30:00Z
    assert system.closing.day_of(NOW - 6 * 3_600_000) == "2026-02-25"  # 04:30Z is before midnight in New York


def test_a_portfolio_that_does_not_exist_is_named_and_stops_no_other(system: Closing) -> None:
    report = system.closing.close(TODAY, ["nobody", "p1"])
    assert report.written == ["p1"]
    assert report.failed == {"nobody": "there is no such portfolio"}


def test_a_number_of_portfolios_beyond_the_limit_is_refused(system: Closing) -> None:
    with pytest.raises(CallerError):
        system.closing.close(TODAY, [f"p{number}" for number in range(MAX_DIRECT + 1)])


class Overtaken(FakeLedger):
    """Whose next closes meet another writer."""

    times = 0

    def close_day(self, portfolio: Portfolio, day: Day | None, closed: Iterable[str] = ()) -> None:
        if self.times:
            self.times -= 1
            raise ConflictError("moved on", code="VERSION_CONFLICT")
        super().close_day(portfolio, day, list(closed))


def test_a_close_that_meets_a_booking_is_made_again_from_the_new_book() -> None:
    ledger = Overtaken()
    system = Closing(ledger)
    system.open("p1")
    ledger.times = 2
    assert system.closing.close(TODAY, ["p1"]).written == ["p1"]
    ledger.times = 99
    system.next_day()
    assert list(system.closing.close(system.today(), ["p1"]).failed) == ["p1"]


def run(system: Closing) -> list[str]:
    """Work off the queue; the ids of messages that failed."""
    failed: list[str] = []
    for _ in range(100):
        received = system.queue.receive()
        if not received:
            return failed
        failed += system.closing.work(received)[1]
    raise AssertionError("the run does not end")


def test_a_run_closes_every_portfolio_part_by_part(system: Closing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foliostream.application.walking.PAGE_SIZE", 2)
    names = [f"q{number}" for number in range(100)]
    for name in names:
        system.open(name)
    assert system.closing.start(TODAY) == PARTS == len(system.queue.parts)
    assert run(system) == []
    assert {name for name in (*names, "p1") if len(system.rows(name)) == 1} == {*names, "p1"}
    system.closing.start(TODAY)
    assert run(system) == []
    assert all(system.book(name).version == 2 for name in names)


def test_a_portfolio_that_cannot_be_closed_gets_a_message_of_its_own_that_fails_alone(system: Closing) -> None:
    for number in range(20):
        system.open(f"q{number}")
    system.ledger._books["q7"] = b'{"portfolio_id": "q7"}'
    system.closing.start(TODAY)
    assert len(run(system)) == 1
    assert [name for name in (f"q{number}" for number in range(20)) if name != "q7" and not system.rows(name)] == []


def test_a_run_keeps_the_close_of_every_instrument_that_traded_that_day(system: Closing) -> None:
    system.tick("GOOGL", "2800.5")
    for _ in range(2):
        system.closing.start(TODAY)
        assert run(system) == []
        assert {name: system.closes.all(name) for name in ("AAPL", "GOOGL", "MSFT")} == {
            "AAPL": {TODAY: Decimal(110)},
            "GOOGL": {TODAY: Decimal("2800.5")},
            "MSFT": {},
        }
    system.next_day()
    system.tick("AAPL", "120")
    for day in (TODAY, "2026-02-27"):
        system.closing.start(day)
        assert run(system) == []
    assert system.closes.all("AAPL") == {TODAY: Decimal(110), "2026-02-27": Decimal(120)}
    assert system.closes.all("GOOGL") == {TODAY: Decimal("2800.5")}


def test_an_instrument_whose_close_cannot_be_kept_stops_no_other_and_its_message_comes_again(
    system: Closing,
) -> None:
    class Broken(FakeCloses):
        def merge(self, symbol: str, closes: Mapping[str, Decimal]) -> dict[str, Decimal]:
            if symbol == "S7":
                raise RetryableError("down")
            return super().merge(symbol, closes)

    for number in range(200):
        system.instruments.put(stock(f"S{number}"))
        system.tick(f"S{number}", "5")
    broken = Broken()
    system.closing = replace(system.closing, price_history=broken)
    system.closing.start(TODAY)
    assert len(run(system)) == 1
    assert [number for number in range(200) if not broken.all(f"S{number}")] == [7]


def test_a_failing_store_returns_the_message(system: Closing) -> None:
    def fails(*_: object) -> None:
        raise RetryableError("down")

    system.ledger.load = fails  # type: ignore[method-assign, assignment]
    body = msgspec.json.encode({"day": TODAY, "portfolio_ids": ["p1"]}).decode()
    assert system.closing.work([Received("m", body, 1)])[1] == ["m"]


@pytest.mark.parametrize(
    "body", ["{", "{}", '{"day": "2026-02-27", "bucket": 1}', '{"day": "x", "bucket": 1}', '{"day": 1}', '{"other": 1}']
)
def test_a_message_that_cannot_be_followed_fails_alone(system: Closing, body: str) -> None:
    good = msgspec.json.encode({"day": TODAY, "portfolio_ids": ["p1"]}).decode()
    report, again = system.closing.work([Received("bad", body, 1), Received("good", good, 1)])
    assert (report.written, again) == (["p1"], ["bad"])


def test_status_does_not_keep_a_day_from_ending(system: Closing) -> None:
    Amending(system.ledger, system.portfolios, system.clock)(ALICE, "p1", Wanted("SUSPENDED"))
    assert system.closing.close(TODAY, ["p1"]).written == ["p1"]


@pytest.mark.parametrize(
    ("event", "day"),
    [
        ({"scheduled_time": "2026-02-26T04:30:00Z"}, "2026-02-25"),
        ({"scheduled_time": "<aws.scheduler.scheduled-time>"}, TODAY),
        ({}, TODAY),
        ({"day": "2026-02-20"}, "2026-02-20"),
    ],
)
def test_a_run_closes_the_day_of_its_schedule_however_late_it_starts(
    system: Closing, monkeypatch: pytest.MonkeyPatch, event: dict[str, str], day: str
) -> None:
    parts = SimpleNamespace(day_closing=system.closing, clock=system.clock)
    monkeypatch.setattr(app, "wiring", lambda: parts)
    assert app.handler(event, None) == {"day": day, "started": PARTS}
    assert {part["day"] for part in system.queue.parts} == {day}
