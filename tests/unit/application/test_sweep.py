"""The sweep over the whole system: what was lost is found and mended, what is silent is told, nothing is done twice."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec
import pytest

from foliostream.adapters.hot_codec import DirtyRecord
from foliostream.application import comparing, repairing
from foliostream.application.comparing import Comparison
from foliostream.application.late_promises import LATE_MS, LatePromises
from foliostream.application.repairing import Repair
from foliostream.application.sweep import ENDED, Sweep
from foliostream.application.sweep_report import SweepReport
from foliostream.application.symbols import RECHECK_AFTER_MS, Symbols
from foliostream.domain.coalescing import MAX_ATTEMPTS, DirtyMessage
from foliostream.domain.portfolio import Portfolio
from foliostream.domain.price import Price
from foliostream.errors import RetryableError
from foliostream.ports import WALK_BUCKETS
from tests.fakes.notes import FakeNotes
from tests.unit.application.system import ALICE, System, price, received
from tests.unit.domain.examples import STALE_AFTER_MS, buy, sell, stock

MINUTE_MS = 60_000
HOUR_MS = 3_600_000


class Swept:
    """The system with its sweep."""

    def __init__(self) -> None:
        self.system = system = System()
        self.notes, self.checkpoints = FakeNotes(), FakeNotes()
        hot = system.hot
        self.symbols = Symbols(
            hot, system.instruments, hot, system.marker, self.checkpoints, system.clock, STALE_AFTER_MS
        )
        self.repair = Repair(system.ledger, system.instruments, hot, hot, system.marker, self.notes, system.clock)
        comparison = Comparison(system.ledger, hot, hot, hot, system.marker, self.notes, system.clock)
        self.sweep = Sweep(
            LatePromises(hot, system.queues, system.marker, comparison, 50),
            self.symbols,
            comparison,
            self.repair,
            self.notes,
            system.clock,
        )

    def __call__(self, after_ms: int = MINUTE_MS) -> SweepReport:
        self.system.clock.advance(after_ms)
        return self.sweep()

    def until(self, done: Callable[[SweepReport], bool], *, hours: int = 2) -> SweepReport:
        """Minute by minute, marks worked off, until a run is as wished."""
        for _ in range(hours * 60):
            report = self()
            if done(report):
                return report
            self.system.settle()
        raise AssertionError(f"not within {hours} hours; last: {report}")


@pytest.fixture
def swept() -> Swept:
    return prepared(Swept())


@pytest.fixture
def lasting() -> Swept:
    """Prices last for a month: what falls silent is valued for that reason."""
    made = Swept()
    made.system.instruments.put(stock("AAPL", max_age_seconds=30 * 86_400))
    return prepared(made)


def prepared(made: Swept) -> Swept:
    for name, account_type in (("one", "live"), ("two", "demo"), ("three", "paper")):
        made.system.open(name, "AAPL", account_type=account_type)
    made.system.tick("AAPL", "120")
    made.system.settle()
    assert made().finds == 0
    return made


def test_where_nothing_is_lost_nothing_is_found_and_nobody_is_marked(swept: Swept) -> None:
    for _ in range(10):
        swept.system.tick("AAPL", "120")
        swept.system.settle()
        report = swept()
        assert (report.finds, report.marked, report.failed) == (0, 0, {})
        assert all(swept.system.queues.receive(queue) == [] for queue in ("live", "demo", "paper"))


# --- promises ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "account_type"), [("one", "live"), ("two", "demo"), ("three", "paper")])
def test_a_bundle_whose_message_was_lost_is_valued_after_the_sweep(swept: Swept, name: str, account_type: str) -> None:
    system = swept.system
    system.tick("AAPL", "150")
    for queue in ("live", "demo", "paper"):
        system.queues.receive(queue)  # gone
    assert system.state(name).total_value == Decimal(10_200)
    assert swept(LATE_MS + 3_000).late == 3
    [bundle] = system.queues.receive(account_type)
    assert (bundle.message.reason, bundle.message.attempt) == ("sweep", 1)
    system.recalculate(received([bundle]))
    assert system.state(name).total_value == Decimal(10_500)


def test_a_promise_that_is_not_late_is_left_alone(swept: Swept) -> None:
    swept.system.tick("AAPL", "150")
    report = swept(LATE_MS - 10_000)
    assert report.late == 0
    assert len(swept.system.hot.records) == 3


def test_the_old_record_goes_only_after_the_new_one_is_there(swept: Swept) -> None:
    system = swept.system
    system.tick("AAPL", "150")
    before = set(system.hot.records)
    system.queues.failing = 3
    report = swept(LATE_MS + 3_000)
    assert set(report.failed) == {"promises live", "promises demo", "promises paper"}
    assert before < set(system.hot.records)
    system.settle()
    swept(2 * LATE_MS + 5_000)
    system.settle()
    assert system.hot.records == {}


def test_a_bundle_that_is_promised_again_and_again_is_given_up_with_its_reason(lasting: Swept) -> None:
    system = lasting.system
    system.tick("AAPL", "150")
    for attempt in range(MAX_ATTEMPTS + 1):
        system.queues.receive("live")
        assert not system.queues.given_up
        lasting((LATE_MS << attempt) + 5_000)
        for queue in ("demo", "paper"):
            for bundle in system.queues.receive(queue):
                system.recalculate(received([bundle]))
    [given_up] = system.queues.given_up
    assert (given_up.queue, given_up.message.keys) == ("live", ["live:one"])
    assert "never valued" in given_up.reason
    assert not [key for key in system.hot.records if key[0] == "live"]


def test_a_promise_whose_work_a_newer_price_has_done_is_marked_again_but_was_not_lost(swept: Swept) -> None:
    system = swept.system
    now_ms = system.clock.now_ms()
    # Recorded in a later window than that of the newer price, by somebody who died before it was sent.
    left = DirtyMessage(1, now_ms + 60_000, ["live:one"], "price")
    system.tick("AAPL", "150")
    system.settle()
    system.hot.records["live", 3, "1-3-left"] = DirtyRecord(now_ms, left)
    report = swept(LATE_MS + 61_000)

    assert (report.late, report.overtaken, report.finds) == (0, 1, 0)
    assert [bundle.message.keys for bundle in system.queues.receive("live")] == [["live:one"]]
    assert ("live", 3, "1-3-left") not in system.hot.records


def test_a_promise_that_was_kept_is_not_lost_though_a_newer_price_is_on_its_way(swept: Swept) -> None:
    system = swept.system
    left = DirtyMessage(1, system.clock.now_ms(), ["live:one"], "price")
    system.hot.records["live", 3, "1-3-left"] = DirtyRecord(system.clock.now_ms(), left)
    system.clock.advance(1_000)
    system.tick("AAPL", "150")
    system.settle()
    system.clock.advance(LATE_MS)
    system.tick("AAPL", "151")

    assert (report := swept(1_000)).late == 0
    assert report.overtaken == 1


def test_what_others_have_done_is_never_given_up(swept: Swept) -> None:
    system = swept.system
    left = DirtyMessage(1, system.clock.now_ms(), ["live:gone", "live:one"], "price", attempt=MAX_ATTEMPTS)
    system.hot.records["live", 3, "1-3-left"] = DirtyRecord(system.clock.now_ms(), left)
    report = swept((LATE_MS << MAX_ATTEMPTS) + 1_000)

    assert (report.given_up, report.overtaken) == (1, 1)
    assert [item.message.keys for item in system.queues.given_up] == [["live:gone"]]


def test_an_outage_of_two_hours_gives_nothing_up(swept: Swept) -> None:
    swept.system.tick("AAPL", "150")
    for _ in range(120):
        swept()
    assert swept.system.queues.given_up == []
    swept.system.settle()
    assert swept.system.state("one").total_value == Decimal(10_500)


def test_a_huge_record_is_cut_into_messages_of_the_set_size(swept: Swept) -> None:
    system = swept.system
    keys = [f"live:p{number}" for number in range(2_000)]
    now_ms = system.clock.now_ms()
    message = DirtyMessage(1, now_ms, keys, "price")
    system.hot.records["live", 3, "1-3-huge"] = DirtyRecord(now_ms, message)
    report = swept(LATE_MS + 1_000)
    assert report.late == 2_000
    bundles = system.queues.receive("live")
    assert {key for bundle in bundles for key in bundle.message.keys} == set(keys)
    assert max(len(bundle.message.keys) for bundle in bundles) <= 500
    assert ("live", 3, "1-3-huge") not in system.hot.records


# --- snapshots --------------------------------------------------------------------------------------------------------


def test_a_snapshot_older_than_its_price_without_a_promise_is_lost_and_marked(lasting: Swept) -> None:
    system = lasting.system
    system.clock.advance(10_000)
    system.hot.put([price("AAPL", "150", ts_ms=system.clock.now_ms())])  # and nobody is marked
    total = 0
    for _ in range(2 * 60):
        total += lasting().lost
        system.settle()
    assert total == 3
    assert {system.state(name).total_value for name in ("one", "two", "three")} == {Decimal(10_500)}


def test_a_backdated_price_is_noticed_too(lasting: Swept) -> None:
    system = lasting.system
    stored = system.hot.prices["AAPL"]
    late = price("AAPL", "150", ts_ms=stored.last_ts_ms + 1)
    assert late.ts_ms < system.state("one").version  # older than the snapshot's reading
    system.hot.put([late])
    assert lasting.until(lambda report: report.lost > 0).lost > 0


def test_a_book_newer_than_its_snapshot_is_lost_too(lasting: Swept) -> None:
    system = lasting.system
    held = system.ledger.load(["one"])["one"]
    system.portfolios.update(ALICE, "one", [buy("1", "100")])
    snapshot = system.hot.snapshots["one"]
    system.hot.snapshots["one"] = snapshot._replace(head=snapshot.head._replace(ledger_version=held.version))
    system.queues.receive("live")
    system.hot.records.clear()
    assert lasting.until(lambda report: report.lost > 0).lost == 1


def test_what_is_valued_before_the_second_look_was_not_lost(swept: Swept) -> None:
    system = swept.system
    system.clock.advance(10_000)
    system.hot.put([price("AAPL", "150", ts_ms=system.clock.now_ms())])
    for _ in range(WALK_BUCKETS * 4 + 1):
        assert swept().lost == 0
        system.valuer.value(["one", "two", "three"])


def test_the_second_look_comes_a_minute_later_however_often_the_sweep_is_invoked(lasting: Swept) -> None:
    system = lasting.system
    system.clock.advance(10_000)
    system.hot.put([price("AAPL", "150", ts_ms=system.clock.now_ms())])
    lasting.until(lambda _: "live:one" in lasting.notes.kept["compare"].decode())
    assert [lasting(5_000).lost for _ in range(8)] == [0] * 8
    assert lasting(15_000).lost == 1


def test_what_is_promised_is_not_lost(swept: Swept) -> None:
    system = swept.system
    for _ in range(WALK_BUCKETS * 4):
        system.tick("AAPL", "150")  # marked, and not yet valued
        assert swept().lost == 0
        system.settle()


def test_a_slice_of_one_run_is_bounded_and_the_next_run_goes_on(swept: Swept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "PAGE_SIZE", 1)
    monkeypatch.setattr(comparing, "PORTFOLIOS_MAX", 2)
    for number in range(40):
        swept.system.open(f"p{number}", "AAPL")
    compared = [swept().compared for _ in range(2 * 60)]
    assert max(compared) == 2
    assert sum(compared) >= 43


# --- symbols ----------------------------------------------------------------------------------------------------------


def test_a_symbol_that_falls_silent_marks_its_dependents_once(swept: Swept) -> None:
    system = swept.system
    assert system.state("one").calc_status == "ok"
    report = swept.until(lambda report: report.stale > 0)
    assert (report.stale, report.marked, report.finds) == (1, 3, 0)
    system.settle()
    assert {system.state(name).calc_status for name in ("one", "two", "three")} == {"degraded"}
    assert [swept().stale for _ in range(5)] == [0] * 5
    system.tick("AAPL", "121")
    system.settle()
    assert system.state("one").calc_status == "ok"
    assert swept.until(lambda report: report.stale > 0).marked == 3


def test_silence_is_that_of_the_instrument_where_it_sets_a_limit(swept: Swept) -> None:
    swept.system.instruments.put(stock("AAPL", max_age_seconds=5))
    assert swept().stale == 1


def test_a_closed_market_is_not_silent(swept: Swept) -> None:
    swept.system.instruments.put(stock("AAPL", max_age_seconds=5, hours="Mon-Fri 09:30-16:00 America/New_York"))
    assert swept(60_000).stale == 0


def test_silence_is_told_again_when_marking_failed(swept: Swept) -> None:
    system = swept.system
    system.clock.advance(STALE_AFTER_MS)
    system.queues.failing = 1
    assert [step for step in swept().failed if step.startswith("symbols")]
    assert swept().stale == 1


def test_a_changed_instrument_marks_its_dependents_when_no_container_knows_the_old_one(swept: Swept) -> None:
    swept.system.instruments.put(stock("AAPL", max_age_seconds=86_400))
    assert swept().rechecked == 0
    assert swept(RECHECK_AFTER_MS - 5_000).rechecked == 0
    report = swept(10_000)
    assert (report.rechecked, report.marked) == (1, 3)
    assert swept().rechecked == 0


def test_a_price_the_hot_store_lost_comes_back_from_the_checkpoint_and_marks(swept: Swept) -> None:
    system = swept.system
    del system.hot.prices["AAPL"]
    report = swept()
    assert (report.restored, report.marked) == (1, 3)
    assert system.hot.prices["AAPL"].last == 120


def test_an_older_price_is_replaced_and_a_newer_one_is_not(swept: Swept) -> None:
    system = swept.system
    kept = system.hot.prices["AAPL"]
    system.hot.prices["AAPL"] = Price(last=Decimal(90), last_ts_ms=kept.last_ts_ms - 1)
    assert swept().restored == 1
    assert system.hot.prices["AAPL"].last == 120
    newer = Price(last=Decimal(130), last_ts_ms=kept.last_ts_ms + 1)
    system.hot.prices["AAPL"] = newer
    assert swept().restored == 0
    assert system.hot.prices["AAPL"] == newer


def test_only_changed_prices_are_kept_again(swept: Swept) -> None:
    assert swept().checkpointed == 0
    kept = dict(swept.checkpoints.kept)
    swept.system.tick("AAPL", "121")
    assert swept().checkpointed == 1
    changed = [name for name in kept if swept.checkpoints.kept[name] != kept[name]]
    assert len(changed) == 1


# --- dependents -------------------------------------------------------------------------------------------------------


def repaired(swept: Swept) -> SweepReport:
    """A whole round of the repair: 64 hours."""
    total = SweepReport()
    for _ in range(WALK_BUCKETS + 1):
        swept.system.clock.advance(4 * HOUR_MS)
        for _ in range(3):
            swept.repair.run(total, swept.system.clock.now_ms() + 10_000)
            swept.system.clock.advance(MINUTE_MS)
    return total


def test_a_missing_dependent_is_added_and_valued(swept: Swept) -> None:
    system = swept.system
    system.hot.dependents["AAPL", "live"].discard("live:one")
    report = repaired(swept)
    assert (report.missing, report.removed) == (1, 0)
    assert "live:one" in system.hot.dependents["AAPL", "live"]
    assert system.dirty() == ["live:one"]


def test_a_dependent_that_is_not_needed_is_removed(swept: Swept) -> None:
    system = swept.system
    system.hot.add("live:one", ["MSFT"])
    system.hot.add("live:nobody", ["AAPL"])
    report = repaired(swept)
    assert (report.missing, report.removed) == (0, 2)
    assert system.hot.dependents["MSFT", "live"] == set()
    assert system.hot.dependents["AAPL", "live"] == {"live:one"}
    assert repaired(swept).removed == 0


def test_a_purchase_between_the_look_at_the_ledger_and_the_removal_keeps_its_dependent(
    swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = swept.system
    system.hot.add("live:one", ["MSFT"])
    remove = system.hot.remove

    def overtaken(key: str, symbols: list[str], version: int | None) -> bool:
        monkeypatch.setattr(system.hot, "remove", remove)
        system.portfolios.update(ALICE, "one", [buy("1", "100", instrument_id="MSFT")])
        system.settle()
        return remove(key, symbols, version)

    monkeypatch.setattr(system.hot, "remove", overtaken)
    assert repaired(swept).removed == 0
    assert system.hot.dependents["MSFT", "live"] == {"live:one"}
    assert system.dirty() == ["live:one"]  # a price may have passed it by


def test_a_holder_that_is_no_portfolio_key_is_told_and_stops_nothing(swept: Swept) -> None:
    swept.system.hot.dependents["AAPL", "live"] |= {"rubbish", "live:nobody"}
    report = repaired(swept)
    assert list(report.broken) == ["rubbish"]
    assert report.removed == 1


def test_a_broken_book_is_told_and_the_comparison_goes_on(swept: Swept, monkeypatch: pytest.MonkeyPatch) -> None:
    system = swept.system
    del system.hot.books["one"]
    load = system.ledger.load

    def broken(names: list[str]) -> dict[str, Portfolio]:
        if "one" in names:
            raise msgspec.ValidationError("no book")
        return load(names)

    monkeypatch.setattr(system.ledger, "load", broken)
    reports = [swept() for _ in range(64)]
    assert {name for report in reports for name in report.broken} == {"one"}
    assert all(not report.failed for report in reports)


def test_a_sold_symbol_loses_its_dependent_with_the_next_round(swept: Swept) -> None:
    system = swept.system
    system.portfolios.update(ALICE, "one", [sell("10", "120")])
    system.settle()
    assert "live:one" in system.hot.dependents["AAPL", "live"]
    swept.system.clock.advance(24 * HOUR_MS)
    # Sold today: it counts for the day's result until the day is closed, and only then is not needed any more.
    needed = "AAPL" in system.ledger.load(["one"])["one"].symbols
    assert repaired(swept).removed == (0 if needed else 1)


def test_the_repair_is_bounded_and_goes_on(swept: Swept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repairing, "PORTFOLIOS_MAX", 1)
    swept.system.hot.dependents["AAPL", "live"].discard("live:one")
    total = 0
    for _ in range(WALK_BUCKETS):
        swept.system.clock.advance(4 * HOUR_MS)
        for _ in range(10):
            report = SweepReport()
            swept.repair.run(report, swept.system.clock.now_ms() + 10_000)
            total += report.missing
    assert total == 1


# --- the run ----------------------------------------------------------------------------------------------------------


def test_a_step_that_fails_stops_no_other_and_the_run_is_not_counted_as_ended(
    swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = swept.notes.kept[ENDED]

    def fails(_: str) -> None:
        raise RetryableError("the store does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(swept.system.hot, "promised", fails)
        report = swept()
    assert report.failed == {"promises": "the store does not answer"}
    assert swept.notes.kept[ENDED] == ended
    assert swept().failed == {}
    assert swept.notes.kept[ENDED] != ended


def test_symbols_that_the_time_did_not_suffice_for_come_first_in_the_next_run(
    swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    check = Symbols.check

    def slow(self: Symbols, bucket: int, report: SweepReport) -> None:
        seen.append(bucket)
        swept.system.clock.advance(1_000)
        check(self, bucket, report)

    monkeypatch.setattr(Symbols, "check", slow)
    for _ in range(5):
        swept()
    assert set(range(64)) <= set(seen)
    assert len(seen) == 75
