"""The hot store made again from the ledger: after a loss, while others write, by messages that come twice or never."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from itertools import count

import pytest

from foliostream.application import rebuild_hot
from foliostream.application.projecting import Projector
from foliostream.application.rebuild_hot import Ask, HotRebuild, PartReport
from foliostream.application.sweep_report import SweepReport
from foliostream.application.symbols import Symbols
from foliostream.domain import portfolio as books
from foliostream.domain.portfolio import Portfolio
from foliostream.errors import NotFoundError, RetryableError
from foliostream.ports import IDLE_MS, SYMBOL_BUCKETS, WALK_BUCKETS
from tests.fakes.hot_store import FakeHotStore
from tests.fakes.notes import FakeNotes
from tests.fakes.rebuild import FakeRebuildQueue, FakeRebuildRecords
from tests.unit.application.system import ALICE, SKEW_MS, System, received
from tests.unit.domain.examples import STALE_AFTER_MS, buy, deposit

NAMES = [f"p{number}" for number in range(40)]


class Store(FakeHotStore):
    """Can be lost, and fails for the next calls."""

    failing = 0

    def put_book(self, portfolio: Portfolio) -> None:
        if self.failing:
            self.failing -= 1
            raise RetryableError("the store fails")
        super().put_book(portfolio)

    def lose(self) -> None:
        for kept in (self.prices, self.dependents, self.books, self.snapshots, self.leases, self.records):
            kept.clear()


class Rebuilding:
    """The function, its queue and its records, over the system's fakes."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.records = FakeRebuildRecords()
        self.queue = FakeRebuildQueue()
        self.checkpoints = FakeNotes()
        numbers = count(1)
        self.rebuild = HotRebuild(
            system.ledger,
            self.records,
            self.queue,
            Projector(system.hot, system.hot, system.marker),
            Symbols(
                system.hot,
                system.instruments,
                system.hot,
                system.marker,
                self.checkpoints,
                system.clock,
                STALE_AFTER_MS,
            ),
            system.connections,
            system.hot,
            system.marker,
            system.clock,
            lambda: f"run-{next(numbers)}",
        )

    @property
    def store(self) -> Store:
        assert isinstance(self.system.hot, Store)
        return self.system.hot

    def asks(self) -> list[Ask]:
        waiting, self.queue.waiting = self.queue.waiting, []
        return [Ask(f"m{number}", run_id, bucket) for number, (run_id, bucket) in enumerate(waiting)]

    def finish(self) -> int:
        """Deliver messages until there are none; how many invocations that took."""
        for invocations in count():
            if not self.queue.waiting:
                return invocations
            assert self.rebuild.work(self.asks()).failed == []
        raise AssertionError


@pytest.fixture
def rebuilding() -> Rebuilding:
    system = System(hot=Store)
    for name in NAMES:
        system.open(name, "AAPL", account_type=("live", "demo", "paper")[int(name[1:]) % 3])
    return Rebuilding(system)


@pytest.fixture
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild_hot, "PAGE_SIZE", 1)


@pytest.mark.usefixtures("_small_pages")
def test_a_lost_store_is_made_again_and_values_with_higher_versions(rebuilding: Rebuilding) -> None:  # G6
    system = rebuilding.system
    before = {name: system.state(name).version for name in NAMES}
    rebuilding.store.lose()
    system.clock.advance(1)
    rebuilding.rebuild.start()
    rebuilding.finish()
    system.settle()
    for name in NAMES:
        assert system.state(name).version > before[name]
        assert system.state(name).cash_balance == 9_000
        assert system.state(name).calc_status == "unpriced"  # no sweep had kept the prices
    system.tick("AAPL", "120")
    system.settle()
    assert {system.state(name).total_value for name in NAMES} == {Decimal(10_200)}


def test_prices_come_back_from_the_checkpoint_before_the_first_portfolio(rebuilding: Rebuilding) -> None:
    system = rebuilding.system
    system.tick("AAPL", "120")
    system.settle()
    for bucket in range(SYMBOL_BUCKETS):
        rebuilding.rebuild.symbols.check(bucket, SweepReport())
    before = {name: system.state(name).version for name in NAMES}
    rebuilding.store.lose()
    rebuilding.rebuild.start()
    rebuilding.finish()
    system.settle()
    for name in NAMES:
        assert (system.state(name).total_value, system.state(name).calc_status) == (Decimal(10_200), "ok")
        assert system.state(name).version > before[name]


def test_who_watched_watches_again_and_is_sent_the_newest(rebuilding: Rebuilding) -> None:
    system = rebuilding.system
    system.connect("c1")
    system.connect("gone", lives_ms=1_000)
    system.subscribe(*NAMES[:3])
    system.subscribe(NAMES[0], connection_id="gone")
    system.flush()
    system.messages()
    watchers = {name: {"c1": leases["c1"]} for name, leases in system.watchers().items()}
    assert len(watchers) == 3
    rebuilding.store.lose()
    system.clock.advance(IDLE_MS + 2_000)
    rebuilding.rebuild.start()
    rebuilding.finish()
    assert {name: set(leases) for name, leases in system.watchers().items()} == {name: {"c1"} for name in watchers}
    system.settle()
    system.flush()
    updated = [update for message in system.messages() for update in message.get("updates", [])]
    assert {update["portfolio_id"] for update in updated} == set(NAMES[:3])


def test_every_portfolio_is_counted_once_and_the_end_shows(rebuilding: Rebuilding) -> None:
    first = rebuilding.rebuild.start()
    assert (
        first
        == rebuilding.rebuild.progress()
        == {
            "run_id": "run-1",
            "started_at": first["started_at"],
            "is_finished": False,
            "parts": WALK_BUCKETS + 1,
            "parts_finished": 0,
            "portfolios": 0,
            "broken": 0,
        }
    )
    rebuilding.finish()
    assert rebuilding.rebuild.progress() == first | {
        "is_finished": True,
        "parts_finished": WALK_BUCKETS + 1,
        "portfolios": len(NAMES),
    }


def test_every_portfolio_is_marked_in_the_bulk_queue_and_none_where_prices_wait(rebuilding: Rebuilding) -> None:
    rebuilding.rebuild.start()
    rebuilding.finish()
    bundles = rebuilding.system.queues.receive("bulk")
    assert {bundle.message.reason for bundle in bundles} == {"bulk"}
    keys = {key for bundle in bundles for key in bundle.message.keys}
    types = ("live", "demo", "paper")
    assert keys == {f"{types[number % 3]}:{name}" for number, name in enumerate(NAMES)}
    assert [rebuilding.system.queues.receive(queue) for queue in types] == [[], [], []]


def test_a_bulk_mark_waits_for_no_window_and_a_snapshot_read_after_it_is_enough(rebuilding: Rebuilding) -> None:
    rebuilding.rebuild.start()
    rebuilding.finish()
    system = rebuilding.system
    bundles = system.queues.receive("bulk")
    marked_ms = system.clock.now_ms()
    assert all(bundle.message.window_end_ms <= marked_ms for bundle in bundles)
    assert system.recalculate(received(bundles)) == []
    assert system.clock.now_ms() <= marked_ms + SKEW_MS
    versions = {name: system.state(name).version for name in NAMES}
    system.clock.advance(1)
    assert system.recalculate(received(bundles)) == []
    assert {name: system.state(name).version for name in NAMES} == versions


@pytest.mark.usefixtures("_small_pages")
def test_an_invocation_ends_in_time_and_hands_on_what_is_left(
    rebuilding: Rebuilding, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, put_book = rebuilding.system, rebuilding.store.put_book

    def slow(portfolio: Portfolio) -> None:
        put_book(portfolio)
        system.clock.advance(1_000)

    monkeypatch.setattr(rebuilding.store, "put_book", slow)
    rebuilding.rebuild.start()
    started_ms = system.clock.now_ms()
    asks = rebuilding.asks()
    rebuilding.rebuild.work(asks)
    # The time is looked at after every bucket had a turn, and a turn is a page.
    assert system.clock.now_ms() - started_ms <= 5_000 + len(asks) * 1_000
    assert rebuilding.queue.waiting
    assert rebuilding.finish() > 1
    assert rebuilding.rebuild.progress()["portfolios"] == len(NAMES)


@pytest.mark.usefixtures("_small_pages")
def test_messages_that_come_twice_count_nothing_twice(rebuilding: Rebuilding) -> None:
    rebuilding.rebuild.start()
    asks = rebuilding.asks()
    assert rebuilding.rebuild.work([*asks, *asks]).portfolios == len(NAMES)
    assert rebuilding.rebuild.work(asks) == PartReport()
    assert rebuilding.rebuild.progress()["portfolios"] == len(NAMES)


@pytest.mark.usefixtures("_small_pages")
def test_two_at_work_on_one_bucket_count_nothing_twice(rebuilding: Rebuilding, monkeypatch: pytest.MonkeyPatch) -> None:
    rebuilding.rebuild.start()
    asks = rebuilding.asks()
    walk = rebuilding.system.ledger.walk

    def overtaken(bucket: int, after: str | None, limit: int) -> object:
        page = walk(bucket, after, limit)
        monkeypatch.setattr(rebuilding.system.ledger, "walk", walk)
        rebuilding.rebuild.work(asks)
        return page

    monkeypatch.setattr(rebuilding.system.ledger, "walk", overtaken)
    rebuilding.rebuild.work(asks)
    assert rebuilding.rebuild.progress()["portfolios"] == len(NAMES)


@pytest.mark.usefixtures("_small_pages")
def test_a_store_that_fails_on_the_way_costs_a_delivery_and_no_portfolio(rebuilding: Rebuilding) -> None:
    rebuilding.rebuild.start()
    rebuilding.store.lose()
    rebuilding.store.failing = 3
    asks = rebuilding.asks()
    report = rebuilding.rebuild.work(asks)
    assert len(report.failed) == 3
    again = [ask for ask in asks if ask.message_id in report.failed]
    assert rebuilding.rebuild.work(again).failed == []
    assert sorted(rebuilding.store.books) == sorted(NAMES)
    assert rebuilding.rebuild.progress()["portfolios"] == len(NAMES)


@pytest.mark.usefixtures("_small_pages")
def test_a_run_whose_messages_were_lost_goes_on_where_it_was(
    rebuilding: Rebuilding, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuilding.rebuild.start()
    monkeypatch.setattr(rebuild_hot, "WORK_MS", 0)
    rebuilding.rebuild.work(rebuilding.asks())
    rebuilding.queue.waiting.clear()
    monkeypatch.undo()
    assert rebuilding.rebuild.resume()["run_id"] == "run-1"
    rebuilding.finish()
    assert rebuilding.rebuild.progress()["portfolios"] == len(NAMES)
    assert rebuilding.rebuild.resume()["is_finished"]
    assert rebuilding.queue.waiting == []


def test_a_new_start_supersedes_the_run_under_way(rebuilding: Rebuilding) -> None:
    rebuilding.rebuild.start()
    old = rebuilding.asks()
    rebuilding.rebuild.start()
    report = rebuilding.rebuild.work(old)
    assert (report.superseded, report.portfolios) == (WALK_BUCKETS + 1, 0)
    rebuilding.finish()
    assert rebuilding.rebuild.progress()["run_id"] == "run-2"
    assert rebuilding.rebuild.progress()["portfolios"] == len(NAMES)


def test_a_message_that_could_not_be_handed_on_comes_again(
    rebuilding: Rebuilding, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuilding.rebuild.start()
    monkeypatch.setattr(rebuild_hot, "WORK_MS", 0)
    rebuilding.queue.failing = 1
    asks = rebuilding.asks()
    assert rebuilding.rebuild.work(asks).failed == [asks[0].message_id]


def test_what_changes_meanwhile_is_never_made_older(rebuilding: Rebuilding, monkeypatch: pytest.MonkeyPatch) -> None:
    # Between the read of a page and its projection somebody books, projects and values.
    load = rebuilding.system.ledger.load

    def overtaken(portfolio_ids: Collection[str]) -> dict[str, Portfolio]:
        page = load(portfolio_ids)
        if "p0" in page:
            monkeypatch.setattr(rebuilding.system.ledger, "load", load)
            rebuilding.system.portfolios.update(ALICE, "p0", [buy("1", "5", instrument_id="MSFT"), deposit("5")])
        return page

    monkeypatch.setattr(rebuilding.system.ledger, "load", overtaken)
    rebuilding.rebuild.start()
    rebuilding.finish()
    rebuilding.system.settle()
    assert rebuilding.system.state("p0").ledger_version == 3
    assert rebuilding.system.hot.books["p0"][0] == 3


def test_a_book_that_cannot_be_read_is_counted_and_stops_nobody(
    rebuilding: Rebuilding, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = rebuilding.system.ledger.load

    def poisoned(portfolio_ids: Collection[str]) -> dict[str, Portfolio]:
        if "p7" in portfolio_ids:
            books.decode(b"{")
        return load(portfolio_ids)

    monkeypatch.setattr(rebuilding.system.ledger, "load", poisoned)
    rebuilding.store.lose()
    rebuilding.rebuild.start()
    report = rebuilding.rebuild.work(rebuilding.asks())
    assert list(report.broken) == ["p7"]
    assert "the book cannot be read" in report.broken["p7"]
    progress = rebuilding.rebuild.progress()
    assert (progress["portfolios"], progress["broken"], progress["is_finished"]) == (len(NAMES) - 1, 1, True)
    assert sorted(rebuilding.store.books) == sorted(set(NAMES) - {"p7"})


def test_an_empty_ledger_is_rebuilt_too() -> None:
    rebuilding = Rebuilding(System(hot=Store))
    rebuilding.rebuild.start()
    rebuilding.finish()
    assert rebuilding.rebuild.progress()["is_finished"]


def test_before_the_first_run_there_is_no_progress() -> None:
    rebuilding = Rebuilding(System(hot=Store))
    for call in (rebuilding.rebuild.progress, rebuilding.rebuild.resume):
        with pytest.raises(NotFoundError):
            call()
