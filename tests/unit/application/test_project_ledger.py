"""Changes of the ledger, delivered by its stream: in order or not, once or again, whoever died before."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from foliostream.application.project_ledger import LedgerProjection, LedgerReport
from foliostream.application.projecting import Projector
from foliostream.application.receiving import Amended, Booked, Change
from foliostream.domain import changes
from foliostream.domain import portfolio as books
from foliostream.domain.changes import STATUS_CHANGED, Standing
from foliostream.domain.portfolio import Entry, Portfolio, Status
from foliostream.errors import PermanentError, RetryableError
from tests.fakes.bus import FakeBus
from tests.fakes.hot_store import FakeHotStore
from tests.unit.application.system import ALICE, System
from tests.unit.domain.examples import NOW, buy, deposit, sell

EVENT = "portfolio_state_updated"


class Bus(FakeBus):
    """Fails the next calls; refuses for good what holds one of the words."""

    def __init__(self) -> None:
        super().__init__()
        self.failing = 0
        self.refused = ""

    def publish(self, detail_type: str, details: Sequence[Mapping[str, object]]) -> None:
        if self.failing:
            self.failing -= 1
            raise RetryableError("the bus fails")
        if self.refused and any(self.refused in str(detail["event_id"]) for detail in details):
            raise PermanentError("refused for good")
        super().publish(detail_type, details)


class Store(FakeHotStore):
    """Fails to store the books of the portfolios named, for now or for ever; ``tries`` counts."""

    failing: Collection[str] = ()
    broken: Collection[str] = ()
    adding_fails = False
    tries = 0

    def put_book(self, portfolio: Portfolio) -> None:
        self.tries += 1
        if portfolio.portfolio_id in self.failing:
            raise RetryableError("the store fails")
        if portfolio.portfolio_id in self.broken:
            raise PermanentError("too large for the store")
        super().put_book(portfolio)

    def add(self, portfolio_key: str, symbols: Collection[str]) -> None:
        if self.adding_fails:
            raise RetryableError("the store fails")
        super().add(portfolio_key, symbols)


class Stream:
    """The function behind the stream, over the system's fakes."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.bus = Bus()
        assert isinstance(system.hot, Store)
        self.store = system.hot
        self.project = LedgerProjection(
            Projector(system.hot, system.hot, system.marker),
            system.valuer,
            self.bus,
            system.queues,
            system.clock,
            system.announce,
        )

    def commit(self, portfolio_id: str, *entries: Entry) -> Change:
        """As a process does that dies right after its commit; what the stream tells of it."""
        before = self.system.ledger.load([portfolio_id])[portfolio_id]
        after, transactions = books.apply(
            before, entries, self.system.instruments.get(("AAPL", "MSFT", "GOOGL")), self.system.clock.now_ms()
        )
        self.system.ledger.commit(after, transactions, after.symbols - before.symbols, before.symbols - after.symbols)
        return change(after)

    def told(self) -> list[dict[str, Any]]:
        """The details published so far, forgotten then."""
        published, self.bus.published = self.bus.published, []
        assert {kind for kind, _ in published} <= {EVENT}
        return [dict(detail) for _, detail in published]

    def ids(self) -> list[str]:
        return [detail["event_id"] for detail in self.told()]


def change(portfolio: Portfolio, sequence_number: str = "") -> Change:
    return Change(
        sequence_number or f"{portfolio.portfolio_id}-{portfolio.version}", portfolio.key, books.encode(portfolio)
    )


def amended(status: Status = "SUSPENDED", *, allow_short: bool = False, number: str = "a") -> Amended:
    """The record of a change of alice, active until then."""
    before, after = Standing("ACTIVE", allow_short=False), Standing(status, allow_short=allow_short)
    return Amended(number, ":one", changes.encode(changes.Change("one", 3, NOW, "alice", before, after)))


@pytest.fixture
def stream() -> Stream:
    system = System(hot=Store)
    system.open("one", "AAPL")
    return Stream(system)


# --- what a change does -----------------------------------------------------------------------------------------------


def test_a_commit_whose_process_died_is_valued_told_and_its_new_symbol_watched(stream: Stream) -> None:  # G1
    system = stream.system
    system.connect()
    system.subscribe("one")
    system.flush()
    system.messages()
    system.clock.advance(1000)
    report = stream.project([stream.commit("one", buy("5", "100", instrument_id="MSFT"))])
    assert report == LedgerReport(portfolios=1, events=1)
    assert system.state("one").ledger_version == 3
    system.settle()
    system.flush()
    (update,) = [message for message in system.messages() if message["type"] == "portfolio_update"]
    assert {item["instrument_id"] for item in update["updates"][0]["data"]["positions"]} >= {"MSFT"}
    system.tick("MSFT", "200")
    assert system.dirty() == ["live:one"]


def test_the_mark_names_the_window_after_book_and_dependents_are_stored(stream: Stream) -> None:  # G1
    system, add = stream.system, stream.store.add

    def slow(portfolio_key: str, symbols: Collection[str]) -> None:
        add(portfolio_key, symbols)
        system.clock.advance(1000)

    stream.store.add = slow  # type: ignore[method-assign]
    committed = stream.commit("one", deposit("1"))
    stream.project([committed])
    (bundle,) = system.queues.receive("live")
    assert (bundle.message.keys, bundle.message.reason) == (["live:one"], "ledger")
    assert bundle.message.window == system.clock.now_ms() // 200


def test_every_account_type_is_marked_in_its_own_queue(stream: Stream) -> None:
    stream.system.open("two", account_type="demo")
    stream.system.open("three", account_type="paper")
    stream.project([stream.commit(name, deposit("1")) for name in ("one", "two", "three")])
    for queue, key in (("live", "live:one"), ("demo", "demo:two"), ("paper", "paper:three")):
        assert stream.system.dirty(queue) == [key]


def test_the_event_is_the_contracts_and_exact(stream: Stream) -> None:  # G12
    stream.system.tick("AAPL", "101.25")
    stream.system.settle()
    stream.project([stream.commit("one", deposit("0.75"))])
    (detail,) = stream.told()
    assert list(detail) == ["event_id", "timestamp", EVENT]
    assert detail["event_id"] == f"{EVENT}:one:3"
    assert detail["timestamp"] == "2026-02-26T10:30:00.250Z"
    state = detail[EVENT]
    assert list(state) == ["portfolio_id", "total_value", "cash_balance", "positions", "last_updated"]
    assert (state["portfolio_id"], state["total_value"]) == ("one", Decimal("10013.25"))
    assert state["cash_balance"] == Decimal("9000.75")
    stock, cash = state["positions"]
    assert list(stock) == list(cash) == ["instrument_id", "quantity", "market_value", "weight", "unrealized_pnl"]
    assert (stock["instrument_id"], stock["quantity"], stock["market_value"]) == ("AAPL", 10, Decimal("1012.50"))
    assert stock["unrealized_pnl"] == Decimal("12.50")
    assert (cash["instrument_id"], cash["market_value"]) == ("CASH:USD", Decimal("9000.75"))
    assert stock["weight"] + cash["weight"] == 1


def test_what_has_no_price_is_null_in_the_event(stream: Stream) -> None:  # G7
    stream.project([stream.commit("one", buy("1", "5", instrument_id="MSFT"))])
    (detail,) = stream.told()
    assert detail[EVENT]["total_value"] is None
    assert detail[EVENT]["cash_balance"] == 8995


def test_what_its_writer_has_valued_already_is_not_valued_once_more(stream: Stream) -> None:
    stream.system.portfolios.update(ALICE, "one", [deposit("1")])
    version = stream.system.state("one").version
    stream.project([change(stream.system.ledger.load(["one"])["one"])])
    assert stream.system.state("one").version == version
    assert stream.ids() == [f"{EVENT}:one:3"]


# --- disorder, repeats, deaths ----------------------------------------------------------------------------------------


def test_several_changes_of_a_portfolio_are_one_event_of_the_newest(stream: Stream) -> None:
    changes = [stream.commit("one", deposit(str(amount))) for amount in (1, 2, 3)]
    assert stream.project(changes).events == 1
    (detail,) = stream.told()
    assert (detail["event_id"], detail[EVENT]["cash_balance"]) == (f"{EVENT}:one:5", 9006)


def test_old_changes_make_nothing_older(stream: Stream) -> None:  # G6
    old = stream.commit("one", deposit("1"))
    new = stream.commit("one", deposit("1"))
    stream.project([new])
    version = stream.system.state("one").version
    stream.project([old])
    stream.system.settle()
    assert stream.system.hot.books["one"][0] == 4
    assert stream.system.state("one").ledger_version == 4
    assert stream.system.state("one").version > version
    assert stream.ids() == [f"{EVENT}:one:4"] * 2


def test_a_refused_book_adds_the_dependents_of_the_one_that_is_stored(stream: Stream) -> None:  # G1
    # Whoever stored the newer book died before its dependents; its own change may come much later.
    old = stream.commit("one", deposit("1"))
    stream.commit("one", buy("1", "5", instrument_id="MSFT"))
    stream.store.put_book(stream.system.ledger.load(["one"])["one"])
    stream.project([old])
    stream.system.settle()
    stream.system.tick("MSFT", "6")
    assert stream.system.dirty() == ["live:one"]


def test_a_sale_leaves_its_dependent_in_place(stream: Stream) -> None:
    stream.project([stream.commit("one", sell("10", "100"))])
    stream.system.settle()
    stream.system.tick("AAPL", "1")
    assert stream.system.dirty() == ["live:one"]


def test_a_change_delivered_again_is_told_under_the_same_id_and_promised_again(stream: Stream) -> None:
    committed = stream.commit("one", deposit("1"))
    stream.project([committed])
    stream.system.settle()
    stream.system.clock.advance(5_000)
    assert stream.project([committed]) == LedgerReport(portfolios=1, events=1)
    assert stream.ids() == [f"{EVENT}:one:3"] * 2
    assert stream.system.dirty() == ["live:one"]
    assert stream.system.state("one").cash_balance == 9001  # G4


# --- failures ---------------------------------------------------------------------------------------------------------


def reasons(stream: Stream) -> list[tuple[str, list[str], str]]:
    return [(given.queue, given.message.keys, given.reason) for given in stream.system.queues.given_up]


def test_a_book_that_cannot_be_read_is_given_up_with_its_reason_and_stops_nobody(stream: Stream) -> None:  # G3
    stream.system.open("two")
    poison = [Change("7", "live:poison", b"{"), Change("8", "live:none", None)]
    report = stream.project([*poison, stream.commit("one", deposit("1")), stream.commit("two", deposit("1"))])
    assert (report.portfolios, report.again, sorted(report.given_up)) == (2, [], ["7", "8"])
    assert stream.ids() == [f"{EVENT}:one:3", f"{EVENT}:two:2"]
    (unread, missing) = reasons(stream)
    assert unread[:2] == ("ledger", ["live:poison"])
    assert "the book cannot be read" in unread[2]
    assert "(sequence number 7)" in unread[2]
    assert missing == ("ledger", ["live:none"], "the item holds no book (sequence number 8)")


def test_a_book_the_store_refuses_for_good_is_given_up_alone(stream: Stream) -> None:
    stream.system.open("two")
    changes = [stream.commit("two", deposit("1")), stream.commit("one", deposit("1"))]
    stream.store.broken = ["two"]
    report = stream.project(changes)
    assert report.given_up == {"two-2": "cannot be projected: too large for the store"}
    assert stream.ids() == [f"{EVENT}:one:3"]


def test_a_failing_store_has_only_what_it_did_not_take_delivered_again(stream: Stream) -> None:
    stream.system.open("two")
    changes = [stream.commit("one", deposit("1")), stream.commit("two", deposit("1"))]
    stream.store.failing = ["two"]
    report = stream.project(changes)
    assert (report.again, report.events) == (["two-2"], 1)
    stream.store.failing = []
    assert stream.project(changes[1:]).again == []
    assert stream.ids() == [f"{EVENT}:one:3", f"{EVENT}:two:2"]


def test_a_store_that_takes_nothing_fails_the_whole_batch_after_one_try(stream: Stream) -> None:
    stream.system.open("two")
    changes = [stream.commit(name, deposit("1")) for name in ("one", "two")]
    stream.store.failing, stream.store.tries = ["one", "two"], 0
    with pytest.raises(RetryableError, match="none of 2 changes could be projected: the store fails"):
        stream.project(changes)
    assert stream.store.tries == 1  # each waits for seconds: all of them would outlast the function
    assert stream.told() == []


def test_who_dies_between_book_and_dependents_is_made_up_for_by_the_retry(stream: Stream) -> None:  # G1
    committed = stream.commit("one", buy("1", "5", instrument_id="MSFT"))
    stream.store.adding_fails = True
    with pytest.raises(RetryableError):
        stream.project([committed])
    assert stream.system.dirty() == []
    stream.store.adding_fails = False
    stream.project([committed])
    stream.system.settle()
    stream.system.tick("MSFT", "6")
    assert stream.system.dirty() == ["live:one"]


def test_a_mark_that_could_not_be_sent_is_made_by_the_retry(stream: Stream) -> None:
    committed = stream.commit("one", deposit("1"))
    stream.system.queues.failing = 1
    with pytest.raises(RetryableError):
        stream.project([committed])
    stream.project([committed])
    assert stream.system.dirty() == ["live:one"]


def test_an_event_that_could_not_be_published_is_published_by_the_retry_under_the_same_id(stream: Stream) -> None:
    committed = stream.commit("one", deposit("1"))
    stream.bus.failing = 1
    with pytest.raises(RetryableError, match="the bus fails"):
        stream.project([committed])
    assert stream.project([committed]).again == []
    assert stream.ids() == [f"{EVENT}:one:3"]


def test_an_event_refused_for_good_is_given_up_and_the_others_are_published(stream: Stream) -> None:
    stream.system.open("two")
    changes = [stream.commit("two", deposit("1")), stream.commit("one", deposit("1"))]
    stream.bus.refused = ":two:"
    report = stream.project(changes)
    assert report.given_up == {"two-2": "the event cannot be published: refused for good"}
    assert (report.events, stream.ids()) == (1, [f"{EVENT}:one:3"])


def test_a_portfolio_that_cannot_be_valued_is_marked_and_given_up_alone(stream: Stream) -> None:
    stream.system.open("two")
    after = stream.system.ledger.load(["one"])["one"]
    broken = (
        books.encode(after).replace(b'"quantity":"10"', b'"quantity":"NaN"').replace(b'"version":2', b'"version":9')
    )
    report = stream.project([Change("5", "live:one", broken), stream.commit("two", deposit("1"))])
    assert list(report.given_up) == ["5"]
    assert "valuation failed" in report.given_up["5"]
    assert stream.ids() == [f"{EVENT}:two:2"]
    assert stream.system.dirty() == ["live:one", "live:two"]


def test_a_dead_letter_queue_that_fails_has_the_change_delivered_again(stream: Stream) -> None:
    def fails(*_: object) -> None:
        raise RetryableError("the queue fails")

    stream.system.queues.dead_letter = fails  # type: ignore[method-assign]
    report = stream.project([Change("7", "live:poison", b"{"), stream.commit("one", deposit("1"))])
    assert (report.again, report.given_up) == (["7"], {})


def test_nothing_to_do_is_nothing_done(stream: Stream) -> None:
    assert stream.project([]) == LedgerReport()


# --- changes of status ------------------------------------------------------------------------------------------------


def test_a_change_of_status_is_told_under_the_same_id_however_often_it_comes(stream: Stream) -> None:
    for _ in range(2):
        assert stream.project([], [amended()]) == LedgerReport(events=1)
    first, second = stream.bus.published
    assert first == second
    assert first == (
        STATUS_CHANGED,
        {
            "event_id": "portfolio_status_changed:one:3",
            "timestamp": "2026-02-26T10:30:00.000Z",
            "portfolio_status_changed": {
                "portfolio_id": "one",
                "status": "SUSPENDED",
                "previous_status": "ACTIVE",
                "ledger_version": 3,
                "changed_by": "alice",
                "changed_at": "2026-02-26T10:30:00.000Z",
            },
        },
    )


def test_a_change_of_settings_only_tells_nobody(stream: Stream) -> None:
    assert stream.project([], [amended("ACTIVE", allow_short=True)]) == LedgerReport()
    assert stream.bus.published == []


def test_a_change_of_status_that_the_bus_does_not_take_comes_again_and_stops_no_portfolio(stream: Stream) -> None:
    commit = stream.commit("one", deposit("1"))
    publish = stream.bus.publish

    def fails_for_status(detail_type: str, details: Sequence[Mapping[str, object]]) -> None:
        if detail_type == STATUS_CHANGED:
            raise RetryableError("the bus fails")
        publish(detail_type, details)

    stream.bus.publish = fails_for_status  # type: ignore[method-assign]
    report = stream.project([commit], [amended()])
    assert (report.portfolios, report.again, report.given_up) == (1, ["a"], {})
    with pytest.raises(RetryableError):
        stream.project([], [amended()])


@pytest.mark.parametrize("record", [None, b"{", b"{}"])
def test_a_record_that_cannot_be_read_is_given_up_with_its_reason(stream: Stream, record: bytes | None) -> None:
    report = stream.project([], [Amended("a", ":one", record)])
    assert list(report.given_up) == ["a"]
    (letter,) = stream.system.queues.given_up
    assert (letter.queue, letter.message.keys) == ("ledger", [":one"])


def test_a_status_event_that_the_bus_refuses_for_good_is_given_up(stream: Stream) -> None:
    stream.bus.refused = "status_changed"
    assert list(stream.project([], [amended()]).given_up) == ["a"]


# --- fills ------------------------------------------------------------------------------------------------------------


def booked(stream: Stream, fill_id: str, quantity: str, price: str) -> Booked:
    """A fill that was committed, as the stream tells of it."""
    system = stream.system
    before = system.ledger.load(["one"])["one"]
    entry = replace(buy(quantity, price), transaction_id=f"fill:{fill_id}", reported=True)
    instruments = system.instruments.get(("AAPL",))
    after, [transaction] = books.apply(before, [entry], instruments, system.clock.now_ms())
    system.ledger.commit(after, [transaction], (), ())
    return Booked(f"t-{fill_id}", ":one", books.encode(transaction))


def watched(stream: Stream) -> System:
    system = stream.system
    system.connect()
    system.subscribe("one")
    system.flush()
    system.messages()
    return system


def test_a_booked_fill_is_told_to_who_watches_the_portfolio(stream: Stream) -> None:
    system = watched(stream)
    report = stream.project([], [], [booked(stream, "f1", "5", "101.50")])
    assert (report.again, report.given_up) == ([], {})
    system.flush()
    [fill] = [message for message in system.messages() if message["type"] == "fill"]
    assert fill == {
        "type": "fill",
        "timestamp": fill["timestamp"],
        "event_id": "fill:one:f1",
        "portfolio_id": "one",
        "fill_id": "f1",
        "instrument_id": "AAPL",
        "side": "BUY",
        "quantity": 5,
        "price": Decimal("101.50"),
        "currency": "USD",
        "fee": 0,
        "realized_pnl": 0,
        "quantity_after": 15,
        "ledger_version": 3,
        "executed_at": fill["executed_at"],
        "fee_currency": None,
        "order_id": None,
    }


def test_a_fill_delivered_again_is_told_once(stream: Stream) -> None:
    system = watched(stream)
    item = booked(stream, "f1", "5", "101.50")
    for _ in range(3):
        stream.project([], [], [item])
        system.flush()
        system.clock.advance(1_000)
    assert [message["event_id"] for message in system.messages() if message["type"] == "fill"] == ["fill:one:f1"]


def test_a_fill_that_cannot_be_read_is_given_up_and_one_that_cannot_be_kept_comes_again(stream: Stream) -> None:
    system = watched(stream)
    good = booked(stream, "f1", "5", "101.50")
    report = stream.project([], [], [Booked("bad", ":one", b"{}"), Booked("none", ":one", None), good])
    assert sorted(report.given_up) == ["bad", "none"]

    def fails(*_: object) -> None:
        raise RetryableError("the store fails")

    system.notices.keep = fails  # type: ignore[method-assign]
    bad = Booked("bad", ":one", b"{}")
    assert stream.project([], [], [bad, good]).again == ["t-f1"]
    with pytest.raises(RetryableError):
        stream.project([], [], [good])
