"""What goes out is rendered of one book and the prices it was valued from, once for all who ask."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from foliostream.domain import portfolio as books
from foliostream.domain import valuation
from foliostream.domain.snapshot import Snapshot
from foliostream.domain.valuation import PortfolioState, decode_state
from foliostream.errors import RetryableError
from foliostream.ports import StoredSnapshot
from tests.fakes.hot_store import FakeHotStore
from tests.unit.application.system import ALICE, System
from tests.unit.domain.examples import buy, stock


@pytest.fixture
def system() -> System:
    system = System()
    system.open("one", "AAPL")
    system.tick("AAPL", "100")
    system.settle()
    return system


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of portfolios in the order in which they are rendered."""
    ids: list[str] = []
    render = valuation.render

    def noted(snapshot: Snapshot, *arguments: object, **others: object) -> PortfolioState:
        ids.append(snapshot.portfolio_id)
        return render(snapshot, *arguments, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(valuation, "render", noted)
    return ids


def shown(system: System, portfolio_id: str = "one") -> PortfolioState:
    return decode_state(system.valuer.current_one(portfolio_id).body)


def with_one_more(system: System) -> None:
    """The stored book is newer than the snapshot."""
    book = books.decode(system.hot.books["one"][1])
    after, _ = books.apply(book, [buy("1", "100")], {"AAPL": stock()}, system.clock.now_ms())
    system.hot.put_book(after)


def test_prices_that_came_after_the_valuation_are_not_in_what_it_shows(system: System) -> None:  # G5
    before = shown(system)
    system.tick("AAPL", "200")
    after = shown(system)
    assert (after.version, after.total_value, after.positions[0].mark) == (before.version, before.total_value, 100)


def test_a_snapshot_of_an_older_book_is_valued_before_it_is_shown(system: System) -> None:  # G5
    before = shown(system)
    with_one_more(system)
    after = shown(system)
    assert (after.ledger_version, after.positions[0].quantity) == (before.ledger_version + 1, 11)
    assert after.version > before.version
    assert sum(item.market_value or 0 for item in after.positions) == after.total_value


def test_a_book_the_hot_store_lost_is_there_again_for_who_asks(system: System) -> None:
    before = shown(system)
    system.hot.books.clear()
    assert shown(system).total_value == before.total_value
    assert set(system.hot.books) == {"one"}


class _ChangingStore(FakeHotStore):
    """Every reader finds the book changed since the snapshot."""

    system: System

    def read(self, portfolio_ids: Sequence[str]) -> dict[str, StoredSnapshot]:
        if "one" in self.snapshots:
            with_one_more(self.system)
        return super().read(portfolio_ids)


def test_a_book_that_changes_faster_than_it_is_valued_is_not_shown_with_other_figures() -> None:  # G5
    system = System(hot=_ChangingStore)
    system.hot.system = system  # type: ignore[attr-defined]
    system.hot.put_book(books.decode(_book_of(System())))
    system.valuer.value(["one"])
    assert system.valuer.current(["one"]) == {}
    with pytest.raises(RetryableError, match="changes faster"):
        system.valuer.current_one("one")


def _book_of(system: System) -> bytes:
    system.open("one", "AAPL")
    return system.hot.books["one"][1]


def test_everybody_who_watches_a_portfolio_gets_what_was_rendered_once(system: System, rendered: list[str]) -> None:
    for number in range(5):
        system.connect(f"c{number}")
        system.subscribe("one", connection_id=f"c{number}")
    system.flush()
    assert rendered == ["one"]
    system.tick("AAPL", "110")
    system.settle()
    system.flush()
    assert rendered == ["one", "one"]
    assert all(system.messages(f"c{number}") for number in range(5))


def test_a_snapshot_is_rendered_again_when_only_its_book_changed_under_the_same_version(system: System) -> None:
    shown(system)
    version, book = system.hot.books["one"]
    system.hot.books["one"] = version, book.replace(b'"portfolio_name":"Growth"', b'"portfolio_name":"Income"')
    assert shown(system).portfolio_name == "Income"


def test_a_portfolio_that_fails_is_left_out_and_costs_the_others_nothing(system: System) -> None:
    system.open("two", "AAPL")
    system.portfolios.update(ALICE, "two", [buy("1", "100")])
    system.hot.books["one"] = (10**9, b'{"broken":')
    assert set(system.valuer.current(["one", "two"])) == {"two"}
    with pytest.raises(RetryableError, match="cannot be read"):
        system.valuer.current_one("one")
