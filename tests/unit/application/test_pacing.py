"""Intervals of portfolios and retries of failing ones, through queues on virtual time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest

from foliostream.application.amending import Amending, Wanted
from foliostream.domain import portfolio as books
from foliostream.domain.coalescing import Bundle
from foliostream.domain.pacing import RETRIES_BEFORE_DEAD_LETTER
from foliostream.errors import RetryableError
from foliostream.ports import Candidate, Paced, Saved
from tests.fakes.hot_store import FakeHotStore
from tests.unit.application.deliveries import Deliveries
from tests.unit.application.system import ALICE, SKEW_MS, System, new_portfolio, received
from tests.unit.domain.examples import NOW, buy

MINUTE = 60_000
VALUING_MS = 20


class CountingStore(FakeHotStore):
    """Knows which portfolios were written when; loses compare-and-sets of paces and fails as told."""

    def __init__(self, clock: object) -> None:
        super().__init__(clock)  # type: ignore[arg-type]
        self.written: list[tuple[int, str]] = []
        self.granted: list[tuple[int, str]] = []
        self.pace_calls = 0
        self.refused = 0
        self.failing = 0

    def save(self, candidates: Sequence[Candidate]) -> list[Saved]:
        if self.failing:
            self.failing -= 1
            raise RetryableError("the store fails")
        saved = super().save(candidates)
        for candidate, answer in zip(candidates, saved, strict=True):
            if answer.written:
                self.written.append((candidate.snapshot.read_at_ms, candidate.snapshot.portfolio_id))
        return saved

    def pace(self, changes: Sequence[Paced]) -> list[bool]:
        self.pace_calls += 1
        if self.refused:
            self.refused -= 1
            return [False] * len(changes)
        before = {change.portfolio_id: change.before for change in changes}
        stands = super().pace(changes)
        for change, held in zip(changes, stands, strict=True):
            was = before[change.portfolio_id]
            if held and change.after.granted_for_ms > (was.granted_for_ms if was else 0):
                self.granted.append((change.after.granted_ms, change.portfolio_id))
        return stands


class Rig:
    """``slow`` has an interval of a minute, ``fast`` has none."""

    def __init__(self) -> None:
        self.system = System(hot=CountingStore)
        self.hot: CountingStore = self.system.hot  # type: ignore[assignment]
        changes = {"update_interval_ms": MINUTE}
        self.system.portfolios.create(ALICE, new_portfolio("slow", changes=changes))
        self.system.portfolios.update(ALICE, "slow", [buy("10", "100")])
        self.system.open("fast", "AAPL")
        self.deliveries = Deliveries(self.system, valuing_ms=VALUING_MS)
        self.start_ms = self.system.clock.time_ms = NOW + 600_000
        self.hot.written.clear()
        self.number = 0

    def ticks(self, for_ms: int, every_ms: int = 370) -> None:
        """Prices 1, 2, 3, ... cents over 100, at even times from now on."""
        start_ms = self.system.clock.now_ms()
        for at_ms in range(start_ms, start_ms + for_ms, every_ms):
            self.deliveries.until(at_ms)
            self.number += 1
            self.last = f"{100 + self.number / 100:.2f}"
            self._tick()

    def _tick(self) -> None:
        """A feed's message that fails comes again."""
        try:
            self.system.tick("AAPL", self.last)
        except RetryableError:
            self._tick()

    def rest(self, for_ms: int) -> None:
        self.deliveries.until(self.system.clock.now_ms() + for_ms)

    def valued(self, portfolio_id: str) -> list[int]:
        """When its snapshots were read."""
        return [at_ms for at_ms, name in self.hot.written if name == portfolio_id]

    def granted(self, portfolio_id: str) -> list[int]:
        """When prices were let through, for another window each time."""
        return [at_ms for at_ms, name in self.hot.granted if name == portfolio_id]

    def mark(self, portfolio_id: str) -> str:
        """The price that its snapshot shows."""
        (position,) = [item for item in self.system.state(portfolio_id).positions if item.instrument_id == "AAPL"]
        return f"{position.mark:.2f}"

    def amend(self, interval_ms: int | None) -> None:
        """As PATCH does, and then what the stream does."""
        system = self.system
        Amending(system.ledger, system.portfolios, system.clock)(ALICE, "slow", Wanted(update_interval_ms=interval_ms))
        system.marker.mark("live", ["live:slow"], system.marker.window("live"), "ledger")


@pytest.fixture
def rig() -> Rig:
    return Rig()


# --- intervals ------------------------------------------------------------------------------------------------------


def test_prices_value_a_portfolio_once_in_its_interval_and_the_others_in_their_windows(rig: Rig) -> None:  # G1, G2
    rig.ticks(10 * MINUTE)
    rig.rest(2 * MINUTE)
    slow = rig.valued("slow")
    assert 10 <= len(slow) <= 11
    gaps = [later - earlier for earlier, later in pairwise(slow)]
    assert min(gaps) >= MINUTE
    assert max(gaps) <= MINUTE + 1_000 + SKEW_MS + 3 * VALUING_MS
    assert len(rig.valued("fast")) > 1_500
    assert rig.mark("slow") == rig.mark("fast") == rig.last
    assert rig.hot.records == {}


def test_each_valuation_that_waits_is_one_message(rig: Rig) -> None:
    rig.ticks(10 * MINUTE)
    rig.rest(2 * MINUTE)
    delayed = [bundle for queue, bundle in rig.deliveries.delivered if queue == "delayed"]
    assert len(delayed) == len(rig.valued("slow")) - 1
    assert all(bundle.message.reason == "price" for bundle in delayed)
    assert all(58 <= seconds <= 60 for seconds in rig.system.queues.delays)


def test_the_last_price_shows_at_the_intervals_end_though_no_other_follows(rig: Rig) -> None:  # G1
    rig.ticks(2_000)
    assert rig.mark("slow") != rig.last
    rig.rest(MINUTE + 2_000)
    assert rig.mark("slow") == rig.last
    assert len(rig.valued("slow")) == 2


@pytest.mark.parametrize("act", ["transaction", "refresh", "bulk", "sweep", "setting"])
def test_nothing_but_prices_waits(rig: Rig, act: str) -> None:
    rig.ticks(2_000)
    system, before = rig.system, len(rig.valued("slow"))
    if act == "transaction":
        system.marker.mark("live", ["live:slow"], system.marker.window("live"), "ledger")
    elif act == "refresh":
        system.marker.refresh("live:slow")
    elif act == "setting":
        rig.amend(900_000)
    elif act == "bulk":
        system.marker.mark("live", ["live:slow"], system.marker.window("live"), "bulk")
    else:
        system.marker.mark("live", ["live:slow"], system.marker.window("live"), "sweep")
    rig.rest(1_000)
    assert len(rig.valued("slow")) > before
    assert rig.mark("slow") == rig.last


def test_a_refresh_does_not_move_the_interval(rig: Rig) -> None:
    rig.ticks(30_000)
    rig.system.marker.refresh("live:slow")
    rig.ticks(45_000)
    first, refreshed, second = rig.valued("slow")
    assert refreshed < first + MINUTE <= second <= first + MINUTE + 1_200


def test_a_lost_message_stays_on_record_for_its_time_and_the_next_price_after_it_mends_it(rig: Rig) -> None:  # G1
    rig.deliveries.lost = lambda queue, _: queue == "delayed"
    rig.ticks(2_000)
    rig.rest(1_000)
    (record,) = rig.hot.records.values()
    assert record.message.keys == ["live:slow"]
    first = rig.valued("slow")[0]
    assert first + MINUTE <= record.message.window_end_ms < first + MINUTE + 1_000, "not overdue before then"
    rig.rest(2 * MINUTE)
    assert rig.mark("slow") != rig.last
    rig.ticks(370)
    rig.rest(1_000)
    assert rig.mark("slow") == rig.last


def test_a_delayed_message_that_comes_twice_is_one_valuation(rig: Rig) -> None:
    rig.ticks(2_000)
    rig.rest(MINUTE + 2_000)
    (bundle,) = [bundle for queue, bundle in rig.deliveries.delivered if queue == "delayed"]
    count = len(rig.valued("slow"))
    assert rig.system.recalculate(received([bundle])) == []
    assert len(rig.valued("slow")) == count
    assert rig.system.queues.receive("delayed") == []


def test_whoever_dies_after_the_grant_leaves_it_to_the_redelivery(rig: Rig) -> None:  # G1
    rig.hot.failing = 1
    rig.ticks(370)
    rig.rest(36_000)
    assert rig.mark("slow") == rig.last
    assert rig.system.queues.delays == [], "the redelivery was not taken for a second valuation"


def test_newer_prices_do_not_put_off_what_was_granted_to_one_who_died(rig: Rig) -> None:
    bundles = []
    for price in ("222", "223"):
        rig.system.tick("AAPL", price)
        bundles += [item for item in rig.system.queues.receive("live") if item.message.keys == ["live:slow"]]
        rig.hot.failing = len(bundles) == 1
        rig.system.clock.advance(1_000)
        if rig.hot.failing:
            with pytest.raises(RetryableError):
                rig.system.recalculate(received(bundles))
    again = received(bundles[:1], receive_count=2) + received(bundles[1:])
    assert rig.system.recalculate(again) == []
    assert rig.mark("slow") == "223.00"
    assert len(rig.granted("slow")) == 1, "the newer window has not been let through"


def test_whoever_dies_between_the_note_and_the_message_sends_it_when_the_mark_comes_again(rig: Rig) -> None:  # G1
    rig.ticks(370)
    rig.rest(1_000)
    rig.system.tick("AAPL", "222")
    (bundle,) = [item for item in rig.system.queues.receive("live") if item.message.keys == ["live:slow"]]
    rig.system.queues.failing = 1
    rig.system.clock.advance(1_000)
    with pytest.raises(RetryableError):
        rig.system.recalculate(received([bundle]))
    assert rig.system.queues.receive("delayed") == []
    assert rig.system.recalculate(received([bundle], receive_count=2)) == []
    (delayed,) = rig.system.queues.receive("delayed")
    assert delayed.message.keys == ["live:slow"]
    slow = {name for name, record in rig.hot.records.items() if record.message.keys == ["live:slow"]}
    assert slow == {("live", delayed.shard, delayed.bundle_id)}


def test_a_shorter_interval_counts_at_once(rig: Rig) -> None:
    rig.ticks(2_000)
    rig.amend(10_000)
    rig.rest(1_000)
    rig.ticks(60_000)
    rig.rest(MINUTE)
    slow = rig.valued("slow")
    assert rig.mark("slow") == rig.last
    assert 6 <= len(slow) <= 11
    assert rig.hot.records == {}


def test_a_longer_interval_passes_the_promise_on(rig: Rig) -> None:
    rig.ticks(2_000)
    rig.amend(5 * MINUTE)
    rig.rest(1_000)
    changed = len(rig.valued("slow"))
    rig.ticks(2_000)
    rig.rest(4 * MINUTE)
    assert len(rig.valued("slow")) == changed
    rig.rest(2 * MINUTE)
    assert len(rig.valued("slow")) == changed + 1
    assert rig.mark("slow") == rig.last


def test_without_its_interval_a_portfolio_is_valued_in_its_windows_again(rig: Rig) -> None:
    rig.ticks(2_000)
    rig.amend(None)
    rig.rest(1_000)
    before = len(rig.valued("slow"))
    rig.ticks(10_000)
    rig.rest(1_000)
    assert len(rig.valued("slow")) - before > 20
    rig.rest(2 * MINUTE)
    assert rig.mark("slow") == rig.last
    assert rig.hot.records == {}


@pytest.mark.parametrize("seed", range(20))
def test_whatever_fails_comes_twice_or_is_changed_the_last_price_shows_and_prices_keep_the_interval(  # G1, G2
    rig: Rig, seed: int
) -> None:
    chance = random.Random(seed)
    rig.deliveries.twice = lambda *_: chance.random() < 0.1
    for _ in range(20):
        rig.ticks(chance.randrange(370, 20_000), every_ms=chance.choice((50, 370, 2_900)))
        rig.hot.failing = chance.choice((0, 0, 0, 1, 3))
        rig.hot.refused = chance.choice((0, 0, 1, 4))
        rig.system.queues.failing = chance.choice((0, 0, 0, 0, 1))
    granted = rig.granted("slow")
    assert min(later - earlier for earlier, later in pairwise(granted)) >= MINUTE
    rig.hot.failing = rig.hot.refused = rig.system.queues.failing = 0
    rig.amend(chance.choice((None, 1_000, 5_000, 900_000)))
    rig.ticks(chance.randrange(370, 5_000))
    rig.rest(16 * MINUTE)
    assert rig.mark("slow") == rig.mark("fast") == rig.last
    assert rig.hot.records == {}


def test_portfolios_without_an_interval_cost_no_call_more(rig: Rig) -> None:
    system = rig.system
    system.tick("AAPL", "150")
    bundles = [bundle for bundle in system.queues.receive("live") if "live:fast" in bundle.message.keys]
    keys = [key for bundle in bundles for key in bundle.message.keys]
    rig.hot.pace_calls = 0
    assert system.recalculate(received(bundles)) == []
    assert rig.hot.pace_calls == ("live:slow" in keys)


def test_many_that_are_due_together_share_messages() -> None:
    system = System(hot=CountingStore)
    for number in range(40):
        changes = {"update_interval_ms": MINUTE}
        system.portfolios.create(ALICE, new_portfolio(f"p{number}", changes=changes))
        system.portfolios.update(ALICE, f"p{number}", [buy("10", "100")])
    for price in ("150", "151"):
        system.clock.advance(1_000)
        system.tick("AAPL", price)
        system.recalculate(received(system.queues.receive("live")))
    delayed = system.queues.receive("delayed")
    assert len(delayed) == len({bundle.shard for bundle in delayed}) == 4
    assert sum(len(bundle.message.keys) for bundle in delayed) == 40


def test_a_pace_that_changed_meanwhile_is_decided_again_and_one_that_always_does_returns_the_batch(rig: Rig) -> None:
    rig.system.tick("AAPL", "150")
    bundles = rig.system.queues.receive("live")
    rig.hot.refused = 5
    with pytest.raises(RetryableError):
        rig.system.recalculate(received(bundles))
    rig.hot.refused = 2
    assert rig.system.recalculate(received(bundles, receive_count=2)) == []
    assert len(rig.valued("slow")) == 1


def test_a_book_with_an_interval_is_stored_without_a_loss_and_one_of_before_has_none() -> None:
    system = System()
    system.portfolios.create(ALICE, new_portfolio("slow", changes={"update_interval_ms": MINUTE}))
    book = system.ledger.load(["slow"])["slow"]
    assert books.decode(books.encode(book)) == book
    raw = books.encode(book).replace(b',"update_interval_ms":60000', b"")
    assert books.decode(raw).update_interval_ms is None


# --- failing portfolios ---------------------------------------------------------------------------------------------


def poison(rig: Rig) -> None:
    rig.hot.books["fast"] = (10**9, b'{"broken": true}')


def mend(rig: Rig) -> None:
    del rig.hot.books["fast"]
    rig.hot.put_book(rig.system.ledger.load(["fast"])["fast"])


def retries(rig: Rig) -> list[int]:
    return [bundle.message.attempt for queue, bundle in rig.deliveries.delivered if queue == "delayed"
            and bundle.message.attempt]  # fmt: skip


def test_under_endless_ticks_a_poison_portfolio_has_one_chain_of_retries_and_one_dead_letter(rig: Rig) -> None:  # G3
    poison(rig)
    rig.ticks(20 * MINUTE)
    assert retries(rig) == [1, 2, 3, 4, 5, 6]
    (given_up,) = rig.system.queues.given_up
    assert (given_up.queue, given_up.message.keys) == ("live", ["live:fast"])
    assert given_up.message.attempt == RETRIES_BEFORE_DEAD_LETTER
    assert "cannot be read" in given_up.reason
    assert len(rig.valued("slow")) >= 19, "nobody else is delayed"


def test_a_fault_of_a_day_is_a_hundred_messages_and_one_dead_letter(rig: Rig) -> None:
    poison(rig)
    rig.system.marker.refresh("live:fast")
    rig.rest(25 * 60 * MINUTE)
    assert retries(rig) == list(range(1, 102))
    assert len(rig.system.queues.given_up) == 1
    assert rig.hot.records == {}


def test_a_mended_book_is_valued_by_the_next_tick(rig: Rig) -> None:
    poison(rig)
    rig.ticks(5 * MINUTE)
    mend(rig)
    rig.ticks(370)
    rig.rest(1_000)
    assert rig.mark("fast") == rig.last


def test_without_ticks_a_mended_book_is_valued_within_a_quarter_of_an_hour(rig: Rig) -> None:  # G1
    poison(rig)
    rig.ticks(3 * MINUTE)
    mend(rig)
    rig.rest(15 * MINUTE + 1_000)
    assert rig.mark("fast") == rig.last
    assert rig.hot.kept_paces["fast"].attempt == 0
    rig.rest(60 * MINUTE)
    assert len(rig.system.queues.given_up) == 1
    assert rig.hot.records == {}


def test_a_second_fault_after_a_recovery_has_a_dead_letter_of_its_own(rig: Rig) -> None:
    for _ in range(2):
        poison(rig)
        rig.ticks(3 * MINUTE)
        mend(rig)
        rig.rest(20 * MINUTE)
    assert len(rig.system.queues.given_up) == 2


def test_a_dead_letter_that_is_put_back_and_fails_again_is_not_lost(rig: Rig) -> None:
    poison(rig)
    rig.system.marker.refresh("live:fast")
    rig.rest(5 * MINUTE)
    (given_up,) = rig.system.queues.given_up
    assert rig.system.recalculate(received([Bundle("again", 0, given_up.message)])) == []
    assert len(rig.system.queues.given_up) == 2


def test_a_chain_whose_message_was_lost_begins_anew_with_the_next_tick(rig: Rig) -> None:
    poison(rig)
    rig.deliveries.lost = lambda queue, _: queue == "delayed"
    rig.ticks(MINUTE)
    rig.deliveries.lost = lambda *_: False
    rig.ticks(10 * MINUTE)
    assert retries(rig)[:3] == [1, 2, 3]
