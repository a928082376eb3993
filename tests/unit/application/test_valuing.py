"""Two valuers at a time, and what goes out when nobody values: over a store that lets others in between."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from decimal import Decimal

import pytest

from foliostream.domain import portfolio as books
from foliostream.domain.instrument import Instrument
from foliostream.domain.price import Price
from foliostream.domain.valuation import decode_state
from foliostream.errors import NotFoundError
from foliostream.ports import Candidate, Saved
from tests.fakes.hot_store import FakeHotStore
from tests.unit.application.system import ALICE, System
from tests.unit.domain.examples import NOW, STALE_AFTER_MS, buy, last, snapshot, stock


class RacingStore(FakeHotStore):
    """Runs one of ``rivals`` before each save, and one of ``early_rivals`` after each read of prices."""

    def __init__(self, clock: object) -> None:
        super().__init__(clock)  # type: ignore[arg-type]
        self.rivals: list[Callable[[], object]] = []
        self.early_rivals: list[Callable[[], object]] = []

    def get(self, symbols: Collection[str]) -> dict[str, Price]:
        found = super().get(symbols)
        if self.early_rivals:
            self.early_rivals.pop(0)()
        return found

    def save(self, candidates: Sequence[Candidate]) -> list[Saved]:
        if self.rivals:
            self.rivals.pop(0)()
        return super().save(candidates)


@pytest.fixture
def system() -> System:
    system = System(hot=RacingStore)
    system.open("one", "AAPL")
    system.clock.time_ms = NOW + 60_000
    system.tick("AAPL", "100")
    system.settle()
    system.clock.advance(1000)
    return system


def rival_writes(system: System, price: str, *, read_at_ms: int) -> None:
    """Another valuer, who read the stored book at ``read_at_ms`` and a price of its own, writes its snapshot."""
    head = system.hot.snapshots["one"].head
    portfolio = books.decode(system.hot.books["one"][1])
    theirs = snapshot(portfolio, {"AAPL": last(price)}, read_at_ms=read_at_ms, previous_version=head.version)
    assert FakeHotStore.save(system.hot, [Candidate(theirs, head)])[0].written


def test_a_slow_valuer_never_replaces_a_snapshot_of_newer_prices(system: System) -> None:  # G6
    def faster() -> None:
        system.clock.advance(10)
        system.tick("AAPL", "200")
        assert system.valuer.value(["one"]).written == ["one"]

    system.hot.rivals = [faster]
    slow = system.valuer.value(["one"])
    assert (slow.written, slow.skipped, slow.failed) == ([], ["one"], {})
    assert system.state("one").total_value == 11_000


def test_a_slow_valuer_never_replaces_a_snapshot_of_a_newer_book(system: System) -> None:  # G6
    def faster() -> None:
        system.clock.advance(10)
        system.portfolios.update(ALICE, "one", [buy("1", "50")])

    before = system.state("one").ledger_version
    system.hot.rivals = [faster]
    assert system.valuer.value(["one"]).skipped == ["one"]
    assert system.state("one").ledger_version == before + 1
    assert system.state("one").total_value == 10_050


def test_who_read_book_and_prices_before_another_wrote_does_not_write_over_it(system: System) -> None:  # G6
    # The head it compares with is of before its other reads; one read later would let the older figures pass.
    def faster() -> None:
        system.clock.advance(10)
        system.tick("AAPL", "200")
        system.portfolios.update(ALICE, "one", [buy("1", "50")])

    system.hot.early_rivals = [faster]
    assert system.valuer.value(["one"]).skipped == ["one"]
    assert system.state("one").total_value == 11_150


def test_a_lost_race_against_older_prices_is_run_again(system: System) -> None:  # G6
    read_at_ms = system.clock.now_ms()
    system.hot.rivals = [lambda: rival_writes(system, "1", read_at_ms=read_at_ms - 1)]
    valued = system.valuer.value(["one"])
    assert (valued.written, valued.skipped) == (["one"], [])
    assert system.state("one").total_value == 10_000


def test_a_lost_race_against_an_older_book_is_run_again(system: System) -> None:  # G6
    stale_book = books.decode(system.hot.books["one"][1])
    head = system.hot.snapshots["one"].head
    before = system.state("one").ledger_version

    def late() -> None:
        # Its clock runs ahead, but its book is the old one.
        theirs = snapshot(
            stale_book, {"AAPL": last("1")}, read_at_ms=system.clock.now_ms() + 40, previous_version=head.version
        )
        assert FakeHotStore.save(system.hot, [Candidate(theirs, head)])[0].written

    after, _ = books.apply(stale_book, [buy("1", "50")], {"AAPL": stock()}, system.clock.now_ms())
    system.hot.put_book(after)
    system.hot.rivals = [late]
    assert system.valuer.value(["one"]).written == ["one"]
    assert system.state("one").ledger_version == before + 1


def test_versions_rise_through_lost_races(system: System) -> None:  # G6
    seen = [system.state("one").version]
    for _ in range(3):
        # The clock stands still: only the versions tell the snapshots apart.
        system.valuer.value(["one"])
        seen.append(system.state("one").version)
    assert seen == sorted(set(seen))


def test_who_is_overtaken_three_times_gives_up_and_says_so(system: System) -> None:
    read_at_ms = system.clock.now_ms()
    system.hot.rivals = [lambda: rival_writes(system, "1", read_at_ms=read_at_ms - 1)] * 3
    valued = system.valuer.value(["one"])
    assert valued.failed == {"one": "overtaken 3 times by other valuations"}
    system.tick("AAPL", "100")
    system.settle()
    assert system.state("one").total_value == 10_000


def test_one_of_many_that_loses_its_race_costs_the_others_nothing(system: System) -> None:
    system.open("two", "AAPL")
    read_at_ms = system.clock.now_ms()
    system.hot.rivals = [lambda: rival_writes(system, "1", read_at_ms=read_at_ms - 1)]
    assert sorted(system.valuer.value(["one", "two"]).written) == ["one", "two"]


def test_a_portfolio_named_twice_is_valued_once(system: System) -> None:
    assert system.valuer.value(["one", "one"]).written == ["one"]


def test_a_head_read_before_the_book_makes_a_write_between_them_a_lost_race(system: System) -> None:  # G5
    # The stored snapshot is of one book version and one set of prices, whoever wins.
    def faster() -> None:
        system.portfolios.update(ALICE, "one", [buy("5", "100")])

    system.hot.rivals = [faster]
    system.valuer.value(["one"])
    figures = system.state("one")
    parts = [item.market_value for item in figures.positions]
    assert sum(parts) == figures.total_value == 10_000
    assert figures.positions[0].quantity == 15


def test_a_portfolio_whose_figures_cannot_be_computed_fails_alone(system: System) -> None:
    system.open("two", "AAPL")
    book = books.decode(system.hot.books["one"][1])
    broken = books.encode(book).replace(b'"quantity":"10"', b'"quantity":"NaN"')
    assert broken != books.encode(book)
    system.hot.books["one"] = (10**9, broken)
    valued = system.valuer.value(["one", "two"])
    assert valued.written == ["two"]
    assert "valuation failed" in valued.failed["one"]
    assert b"NaN" not in system.hot.snapshots["one"].body  # G12


def test_what_goes_out_of_a_silent_feed_is_degraded_though_nobody_valued(system: System) -> None:  # G7
    fresh = system.valuer.current_one("one")
    assert decode_state(fresh.body).calc_status == "ok"
    system.clock.advance(STALE_AFTER_MS + 1)
    silent = decode_state(system.valuer.current_one("one").body)
    assert (silent.calc_status, silent.stale) == ("degraded", ["AAPL"])
    assert silent.total_value == 10_000


def test_an_instruments_own_age_limit_counts_on_reading(system: System) -> None:  # G7
    system.instruments.put(Instrument("AAPL", "stock", "USD", max_age_seconds=2))
    system.valuer.value(["one"])
    system.clock.time_ms = system.hot.prices["AAPL"].last_ts_ms + 2000
    assert decode_state(system.valuer.current_one("one").body).stale == []
    system.clock.advance(1)
    assert decode_state(system.valuer.current_one("one").body).stale == ["AAPL"]


def test_a_missing_price_is_shown_as_missing_in_what_is_stored() -> None:  # G7
    system = System()
    system.open("one", "AAPL", "MSFT")
    system.tick("AAPL", "100")
    system.settle()
    figures = system.state("one")
    assert (figures.calc_status, figures.unpriced, figures.total_value) == ("unpriced", ["MSFT"], None)


def test_a_snapshot_the_hot_store_lost_is_valued_for_who_asks(system: System) -> None:
    system.hot.snapshots.clear()
    assert decode_state(system.valuer.current_one("one").body).total_value == Decimal(10_000)


def test_a_portfolio_that_does_not_exist_is_not_found(system: System) -> None:
    with pytest.raises(NotFoundError) as refused:
        system.valuer.current_one("ghost")
    assert refused.value.code == "PORTFOLIO_NOT_FOUND"
