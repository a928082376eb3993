"""Dirty messages in, snapshots out: when it reads, what it skips, and what a failure costs whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from foliostream.application.receiving import MAX_WAIT_MS, Received
from foliostream.domain.coalescing import Bundle, DirtyMessage
from foliostream.errors import RetryableError
from foliostream.ports import Candidate, Saved, Stored
from tests.fakes.hot_store import FakeHotStore
from tests.unit.application.system import ALICE, SKEW_MS, System, received
from tests.unit.domain.examples import NOW, buy


class WatchedStore(FakeHotStore):
    """Calls ``on_load`` and ``on_save`` before it loads and saves."""

    on_load: Callable[[], None] = staticmethod(lambda: None)
    on_save: Callable[[], None] = staticmethod(lambda: None)

    def load(self, portfolio_ids: Sequence[str]) -> dict[str, Stored]:
        self.on_load()
        return super().load(portfolio_ids)

    def save(self, candidates: Sequence[Candidate]) -> list[Saved]:
        self.on_save()
        return super().save(candidates)


@pytest.fixture
def system() -> System:
    system = System(hot=WatchedStore)
    system.open("one", "AAPL")
    system.open("two", "AAPL")
    system.clock.time_ms = NOW + 60_000
    return system


def marked(system: System) -> list[Bundle]:
    return system.queues.receive("live")


def failing() -> None:
    raise RetryableError("the store fails")


def test_marked_portfolios_are_valued_at_the_newest_price(system: System) -> None:
    system.tick("AAPL", "150")
    assert system.recalculate(received(marked(system))) == []
    assert [system.state(name).total_value for name in ("one", "two")] == [10_500, 10_500]
    assert system.state("one").calc_status == "ok"


def test_nothing_is_read_before_the_windows_end_and_the_skew(system: System) -> None:  # G1
    times: list[int] = []
    system.hot.on_load = lambda: times.append(system.clock.now_ms())
    system.tick("AAPL", "150")
    bundles = marked(system)
    system.recalculate(received(bundles))
    due_ms = max(bundle.message.window_end_ms for bundle in bundles) + SKEW_MS
    assert due_ms == NOW + 60_200 + SKEW_MS
    assert times == [due_ms]


def test_a_price_of_the_windows_last_moment_is_in_the_snapshot(system: System) -> None:  # G1
    system.tick("AAPL", "150")
    bundles = marked(system)
    system.clock.time_ms = bundles[0].message.window_end_ms - 1
    system.tick("AAPL", "151")
    assert marked(system) == [], "the queue takes it for a duplicate"
    system.recalculate(received(bundles))
    assert system.state("one").total_value == 10_510


def test_a_portfolio_valued_after_the_window_is_skipped(system: System) -> None:  # G2
    system.tick("AAPL", "150")
    bundles = marked(system)
    system.recalculate(received(bundles))
    version = system.state("one").version
    system.clock.advance(1)
    system.recalculate(received(bundles))
    assert system.state("one").version == version


def test_a_portfolio_valued_a_millisecond_too_early_is_not_skipped(system: System) -> None:  # G1
    system.tick("AAPL", "150")
    bundles = marked(system)
    system.clock.time_ms = max(bundle.message.window_end_ms for bundle in bundles) + SKEW_MS - 1
    system.valuer.value(["one"])
    early = system.state("one").version
    system.recalculate(received(bundles))
    assert system.state("one").version == early + 1


def test_a_refresh_is_never_skipped_and_waits_for_nothing(system: System) -> None:
    system.valuer.value(["one"])
    version = system.state("one").version
    system.marker.refresh("live:one")
    system.recalculate(received(system.queues.receive("refresh")))
    assert system.state("one").version > version
    assert system.clock.now_ms() == NOW + 60_000


def test_a_refresh_beside_a_skipped_mark_of_the_same_portfolio_is_not_skipped(system: System) -> None:
    system.tick("AAPL", "150")
    bundles = marked(system)
    system.recalculate(received(bundles))
    version = system.state("one").version
    system.clock.advance(1)
    system.marker.refresh("live:one")
    system.recalculate(received([*bundles, *system.queues.receive("refresh")]))
    assert system.state("one").version > version
    assert system.state("two").version == version


def test_a_message_received_before_is_never_skipped(system: System) -> None:  # G1
    system.tick("AAPL", "150")
    bundles = marked(system)
    system.recalculate(received(bundles))
    version = system.state("one").version
    system.clock.advance(1)
    system.recalculate(received(bundles, receive_count=2))
    assert system.state("one").version > version


def test_several_messages_about_one_portfolio_are_one_valuation(system: System) -> None:  # G2
    system.tick("AAPL", "150")
    system.clock.advance(200)
    system.tick("AAPL", "151")
    saves: list[int] = []
    system.hot.on_save = lambda: saves.append(1)
    system.recalculate(received(marked(system)))
    assert saves == [1]
    assert system.state("one").total_value == 10_510


def test_the_promise_is_forgotten_only_after_the_snapshot_is_written(system: System) -> None:  # G1
    system.tick("AAPL", "150")
    promised: list[int] = []
    system.hot.on_save = lambda: promised.append(len(system.hot.records))
    bundles = marked(system)
    assert system.recalculate(received(bundles)) == []
    assert promised == [len(bundles)]
    assert system.hot.records == {}


def test_a_failing_store_fails_the_batch_keeps_the_promise_and_a_redelivery_mends_it(system: System) -> None:  # G1
    system.tick("AAPL", "150")
    bundles = marked(system)
    for hook in ("on_load", "on_save"):
        setattr(system.hot, hook, failing)
        with pytest.raises(RetryableError):
            system.recalculate(received(bundles))
        assert len(system.hot.records) == len(bundles)
        setattr(system.hot, hook, lambda: None)
    assert system.recalculate(received(bundles, receive_count=3)) == []
    assert system.state("one").total_value == 10_500
    assert system.hot.records == {}


def test_a_failing_queue_after_the_write_fails_the_batch_and_the_redelivery_tells_the_watchers(  # G1
    system: System,
) -> None:
    system.connect()
    system.subscribe("one")
    system.queues.receive("push")
    system.tick("AAPL", "150")
    bundles = marked(system)
    system.queues.failing = 1
    with pytest.raises(RetryableError):
        system.recalculate(received(bundles))
    system.recalculate(received(bundles, receive_count=2))
    assert [bundle.message.keys for bundle in system.queues.receive("push")] == [["c1"]]


def test_watchers_of_what_was_written_are_marked_for_the_next_flush(system: System) -> None:
    system.connect()
    system.subscribe("one")
    system.queues.receive("push")
    system.tick("AAPL", "150")
    system.recalculate(received(marked(system)))
    (bundle,) = system.queues.receive("push")
    assert bundle.message.keys == ["c1"]
    assert bundle.message.window_end_ms > system.clock.now_ms()


def poison(system: System, portfolio_id: str = "two") -> None:
    system.hot.books[portfolio_id] = (10**9, b'{"broken": true}')


def test_a_poison_portfolio_is_sent_again_alone_and_the_others_are_valued(system: System) -> None:  # G3
    poison(system)
    system.tick("AAPL", "150")
    assert system.recalculate(received(marked(system))) == []
    assert system.state("one").total_value == 10_500
    (again,) = system.queues.receive("delayed")
    assert (again.message.keys, again.message.attempt, again.message.reason) == (["live:two"], 1, "bulk")
    assert again.message.window_end_ms == system.clock.now_ms() + 1_000
    assert marked(system) == []
    assert [record.message.keys for record in system.hot.records.values()] == [["live:two"]]


def test_a_portfolio_that_nobody_has_is_no_reason_to_fail_the_others(system: System) -> None:
    message = DirtyMessage(1, 0, ["live:ghost", "live:one"], "bulk")
    assert system.recalculate([Received("m", encode(message), 1)]) == []
    assert [bundle.message.keys for bundle in system.queues.receive("delayed")] == [["live:ghost"]]


def test_a_book_the_hot_store_lost_is_rebuilt_from_the_ledger(system: System) -> None:
    system.tick("AAPL", "150")
    bundles = marked(system)
    system.hot.books.clear()
    system.hot.dependents.clear()
    system.hot.snapshots.clear()
    system.recalculate(received(bundles))
    assert system.state("one").total_value == 10_500
    assert set(system.hot.books) == {"one", "two"}
    assert system.hot.dependents["AAPL", "live"] == {"live:one", "live:two"}


def test_versions_rise_also_after_the_hot_store_was_lost(system: System) -> None:  # G6
    system.valuer.value(["one"])
    version = system.state("one").version
    system.hot.snapshots.clear()
    system.clock.advance(1)
    system.valuer.value(["one"])
    assert system.state("one").version > version


@pytest.mark.parametrize(
    "body",
    ["", "{}", '{"window": 1}', "[]", '{"window":1,"window_end_ms":0,"keys":[],"reason":"price"}',
     '{"window":1,"window_end_ms":0,"keys":["12345"],"reason":"price"}'],
)  # fmt: skip
def test_a_message_that_cannot_be_read_comes_back_alone(system: System, body: str) -> None:
    system.tick("AAPL", "150")
    assert system.recalculate([Received("broken", body, 1), *received(marked(system))]) == ["broken"]
    assert system.state("one").total_value == 10_500


def test_a_window_that_ends_far_too_late_is_returned_and_not_waited_for(system: System) -> None:
    message = DirtyMessage(1, system.clock.now_ms() + MAX_WAIT_MS + 1, ["live:one"], "price")
    assert system.recalculate([Received("late", encode(message), 1)]) == ["late"]
    assert system.clock.now_ms() == NOW + 60_000


def test_a_ledger_change_is_valued_with_the_book_of_after_it(system: System) -> None:
    system.tick("AAPL", "150")
    system.settle()
    before = system.state("one").ledger_version
    system.portfolios.update(ALICE, "one", [buy("1", "1")])
    system.settle()
    assert system.state("one").ledger_version == before + 1
    assert system.state("one").total_value == 10_649


def encode(message: DirtyMessage) -> str:
    return received([Bundle("b", 0, message)])[0].body
