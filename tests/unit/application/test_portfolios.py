"""Portfolios over REST: whose they are, what a repeat does, what a race does. The ledger is a fake with its limits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from decimal import Decimal
from typing import Any

import pytest

from foliostream.application.access import Caller
from foliostream.application.instruments import get_instrument, put_instrument
from foliostream.application.portfolios import MAX_COMMIT_ROUNDS, MAX_ENTRIES, PAGE_SIZE
from foliostream.domain.instrument import Instrument
from foliostream.domain.portfolio import Entry, Portfolio, Transaction
from foliostream.domain.valuation import PortfolioState, decode_state
from foliostream.errors import (
    CallerError,
    ConflictError,
    FoliostreamError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
    RetryableError,
)
from foliostream.ports import StoredSnapshot
from tests.fakes.ledger import FakeLedger
from tests.unit.application.system import ALICE, BOB, System, new_portfolio
from tests.unit.domain.examples import buy, deposit, sell, stock


class RacingLedger(FakeLedger):
    """Runs one of ``rivals`` before each commit."""

    def __init__(self) -> None:
        super().__init__()
        self.rivals: list[Callable[[], object]] = []

    def commit(
        self,
        portfolio: Portfolio,
        transactions: Sequence[Transaction],
        opened: Collection[str],
        closed: Collection[str],
    ) -> None:
        if self.rivals:
            self.rivals.pop(0)()
        super().commit(portfolio, transactions, opened, closed)


@pytest.fixture
def ledger() -> RacingLedger:
    return RacingLedger()


@pytest.fixture
def system(ledger: RacingLedger) -> System:
    system = System(ledger=ledger)
    system.open("one", "AAPL")
    return system


def figures(snapshot: StoredSnapshot) -> PortfolioState:
    return decode_state(snapshot.body)


def update(system: System, *entries: Entry, caller: Caller = ALICE) -> PortfolioState:
    return figures(system.portfolios.update(caller, "one", entries))


# --- create ----------------------------------------------------------------------------------------------------------


def test_a_new_portfolio_is_booked_projected_and_answered_with_its_state(system: System) -> None:
    created = system.portfolios.create(ALICE, new_portfolio("new", cash="250.50"))
    assert created.created
    state = figures(created.snapshot)
    assert (state.total_value, state.cash_balance, state.ledger_version) == (Decimal("250.50"),) * 2 + (1,)
    assert (state.net_deposits, state.status, state.positions[0].instrument_id) == (
        Decimal("250.50"),
        "ACTIVE",
        "CASH:USD",
    )
    assert "new" in system.hot.books


def test_a_portfolio_may_start_with_nothing(system: System) -> None:
    assert figures(system.portfolios.create(ALICE, new_portfolio("new", cash="0")).snapshot).total_value == 0


def test_the_same_request_again_is_answered_with_the_same_portfolio(system: System) -> None:
    first = system.portfolios.create(ALICE, new_portfolio("new"))
    again = system.portfolios.create(ALICE, new_portfolio("new"))
    assert (first.created, again.created) == (True, False)
    assert figures(again.snapshot).total_value == 10_000
    assert figures(again.snapshot).ledger_version == 1


def test_another_request_for_a_taken_id_is_a_conflict_whoever_asks(system: System) -> None:  # G11
    system.portfolios.create(ALICE, new_portfolio("new"))
    for caller, digest in ((ALICE, "other"), (BOB, "d"), (BOB, "other")):
        with pytest.raises(ConflictError) as refused:
            system.portfolios.create(caller, new_portfolio("new", digest=digest))
        assert (refused.value.code, refused.value.message) == ("PORTFOLIO_EXISTS", "there is a portfolio new already")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"portfolio_id": "a b"}, "portfolio_id"),
        ({"base_currency": "usd"}, "currency"),
        ({"initial_cash": Decimal(-1)}, "amount must not be negative"),
        ({"initial_cash": Decimal("NaN")}, "amount must be a finite number"),
        ({"initial_cash": Decimal("0.0000001")}, "amount has at most 6 decimals"),
    ],
)
def test_a_wrong_request_is_refused_and_creates_nothing(system: System, changes: dict[str, object], says: str) -> None:
    with pytest.raises(CallerError, match=says):
        system.portfolios.create(ALICE, new_portfolio("new", changes=changes))
    assert system.ledger.load(["new", "a b"]) == {}


@pytest.mark.parametrize("name", ["paper_momentum", "zerodha_1"])
def test_ids_that_fills_name_need_the_scope_of_fills(system: System, name: str) -> None:
    with pytest.raises(ForbiddenError):
        system.portfolios.create(ALICE, new_portfolio(name))
    allowed = Caller("alice", frozenset({"fills:write"}))
    assert system.portfolios.create(allowed, new_portfolio(name)).created


# --- whose it is -----------------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[System, Caller, str], object]] = {
    "state": lambda system, caller, name: system.portfolios.state(caller, name),
    "refresh": lambda system, caller, name: system.portfolios.refresh(caller, name),
    "update": lambda system, caller, name: system.portfolios.update(caller, name, [deposit("1")]),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("hot", [True, False])
def test_a_foreign_portfolio_is_answered_like_one_that_does_not_exist(  # G11
    system: System, call: str, hot: bool
) -> None:
    if not hot:
        system.hot.snapshots.clear()
        system.hot.books.clear()
    answers = []
    for name in ("one", "eno"):
        with pytest.raises(NotFoundError) as refused:
            CALLS[call](system, BOB, name)
        fault = refused.value
        answers.append((type(fault), fault.code, fault.message.replace(name, "?"), fault.details))
    assert answers[0] == answers[1]
    assert answers[0][1] == "PORTFOLIO_NOT_FOUND"
    assert system.queues.receive("refresh") == []
    assert system.ledger.load(["one"])["one"].version == 2


def test_a_list_has_the_callers_own_portfolios_only(system: System) -> None:  # G11
    system.open("two")
    system.open("bobs", caller=BOB)
    listed = system.portfolios.list(ALICE, None)
    assert ([item.portfolio_id for item in listed.portfolios], listed.cursor) == (["one", "two"], None)
    assert system.portfolios.list(Caller("nobody"), None).portfolios == []


def test_a_long_list_comes_in_pages_and_anothers_cursor_is_refused(system: System) -> None:
    for number in range(PAGE_SIZE):
        system.portfolios.create(ALICE, new_portfolio(f"p{number:03}"))
    first = system.portfolios.list(ALICE, None)
    rest = system.portfolios.list(ALICE, first.cursor)
    assert (len(first.portfolios), len(rest.portfolios), rest.cursor) == (PAGE_SIZE, 1, None)
    with pytest.raises(CallerError):  # G11
        system.portfolios.list(BOB, first.cursor)


# --- update ----------------------------------------------------------------------------------------------------------


def test_an_update_is_answered_with_the_state_after_it(system: System) -> None:
    system.tick("AAPL", "120")
    state = update(system, sell("4", "120", "1"))
    assert (state.total_value, state.realized_pnl, state.fees_total) == (10_199, 80, 1)
    assert state.positions[0].quantity == 6


def test_a_new_holding_is_valued_when_its_price_moves(system: System) -> None:  # G1
    update(system, buy("1", "100", instrument_id="MSFT"))
    system.settle()
    system.clock.advance(1000)
    system.tick("MSFT", "200")
    assert system.dirty() == ["live:one"]


def test_a_change_of_the_books_is_shown_to_watchers_at_once_and_leaves_the_mark_to_its_stream(system: System) -> None:
    system.connect()
    system.subscribe("one")
    system.flush()
    system.messages()
    update(system, deposit("1"))
    assert system.dirty() == []
    system.flush()
    (message,) = system.messages()
    assert message["updates"][0]["data"]["cash_balance"] == 9001


def test_a_repeated_update_changes_nothing_and_answers_the_same_way(system: System) -> None:  # G4
    entries = [buy("2", "100", transaction_id="a"), deposit("5", transaction_id="b")]
    first, again = update(system, *entries), update(system, *entries)
    assert (again.ledger_version, again.cash_balance) == (first.ledger_version, first.cash_balance)


def test_a_repeat_that_would_not_fit_any_more_is_still_a_repeat(system: System) -> None:  # G4
    all_of_it = buy("90", "100", transaction_id="a")
    first = update(system, all_of_it)
    assert first.cash_balance == 0
    assert update(system, all_of_it).ledger_version == first.ledger_version


@pytest.mark.parametrize(
    "entries",
    [
        [buy("3", "100", transaction_id="a")],
        [buy("2", "100", transaction_id="a"), deposit("1", transaction_id="new")],
        [buy("9999", "100", transaction_id="a")],
    ],
)
def test_a_known_id_with_another_body_is_a_conflict_and_books_nothing(
    system: System, entries: list[Entry]
) -> None:  # G4
    before = update(system, buy("2", "100", transaction_id="a"))
    with pytest.raises(ConflictError) as refused:
        update(system, *entries)
    assert refused.value.code == "TRANSACTION_CONFLICT"
    assert system.ledger.load(["one"])["one"].version == before.ledger_version


def test_an_id_twice_in_one_update_is_refused(system: System) -> None:
    with pytest.raises(CallerError) as refused:
        update(system, deposit("1", transaction_id="a"), deposit("1", transaction_id="a"))
    assert refused.value.code == "DUPLICATE_TRANSACTION_ID"


@pytest.mark.parametrize("count", [0, MAX_ENTRIES + 1])
def test_an_update_has_between_one_and_forty_entries(system: System, count: int) -> None:
    with pytest.raises(CallerError) as refused:
        update(system, *[deposit("1") for _ in range(count)])
    assert refused.value.code == "TOO_MANY_ENTRIES"
    assert str(count) in refused.value.message


def test_the_largest_update_is_booked(system: System) -> None:
    assert update(system, *[deposit("1") for _ in range(MAX_ENTRIES)]).cash_balance == 9000 + MAX_ENTRIES


def test_a_lost_race_for_the_version_is_run_again_on_the_newer_books(system: System, ledger: RacingLedger) -> None:
    ledger.rivals = [lambda: update(system, deposit("7"))]
    state = update(system, deposit("1"))
    assert state.cash_balance == 9008


def test_the_loser_of_a_race_is_refused_where_the_winner_took_the_cash(system: System, ledger: RacingLedger) -> None:
    ledger.rivals = [lambda: update(system, buy("90", "100"))]
    with pytest.raises(RefusedError) as refused:
        update(system, buy("1", "100"))
    assert refused.value.code == "INSUFFICIENT_CASH"


def test_the_same_update_sent_twice_at_once_is_booked_once(system: System, ledger: RacingLedger) -> None:  # G4
    entry = deposit("7", transaction_id="a")
    ledger.rivals = [lambda: update(system, entry)]
    assert update(system, entry).cash_balance == 9007


def test_who_loses_every_race_is_told_so(system: System, ledger: RacingLedger) -> None:
    def commit(*_: object) -> None:
        raise ConflictError("moved on", code="VERSION_CONFLICT")

    ledger.commit = commit  # type: ignore[method-assign]
    with pytest.raises(ConflictError) as refused:
        update(system, deposit("1"))
    assert (refused.value.code, str(MAX_COMMIT_ROUNDS) in refused.value.message) == ("TOO_MUCH_CONTENTION", True)


def test_what_was_booked_while_the_store_failed_is_a_repeat_that_mends(system: System) -> None:  # G1, G4
    put_book, faults = system.hot.put_book, [RetryableError("the store fails")]

    def fails_once(portfolio: Portfolio) -> None:
        if faults:
            raise faults.pop()
        put_book(portfolio)

    system.hot.put_book = fails_once  # type: ignore[method-assign]
    entry = deposit("7", transaction_id="a")
    with pytest.raises(RetryableError) as refused:
        update(system, entry)
    assert (refused.value.code, refused.value.details) == ("NOT_VALUED_YET", [{"transaction_id": "a"}])
    assert update(system, entry).cash_balance == 9007


def test_a_commit_whose_answer_was_lost_names_the_ids_to_repeat_it_with(system: System, ledger: RacingLedger) -> None:
    commit, lost = ledger.commit, [RetryableError("no answer")]

    def answers_late(*arguments: Any) -> None:  # noqa: ANN401
        commit(*arguments)
        if lost:
            raise lost.pop()

    ledger.commit = answers_late  # type: ignore[method-assign]
    entry = deposit("7", transaction_id="made-for-the-caller")
    with pytest.raises(RetryableError) as refused:
        update(system, entry)
    assert (refused.value.code, refused.value.details) == (
        "OUTCOME_UNKNOWN",
        [{"transaction_id": "made-for-the-caller"}],
    )
    assert update(system, entry).cash_balance == 9007


def test_closing_and_opening_keeps_the_ledgers_holders(system: System, ledger: RacingLedger) -> None:
    update(system, sell("10", "100"), buy("1", "100", instrument_id="MSFT"))
    assert ledger.holders == {("live:one", "MSFT")}


def test_every_refusal_names_its_entry(system: System) -> None:
    with pytest.raises(FoliostreamError) as refused:
        update(system, deposit("1"), buy("1", "1", instrument_id="NOPE", transaction_id="x"))
    assert refused.value.code == "UNKNOWN_SYMBOL"
    assert refused.value.details == [{"index": 1, "transaction_id": "x"}]


# --- refresh and instruments -----------------------------------------------------------------------------------------


def test_a_refresh_is_promised_past_the_windows(system: System) -> None:
    system.portfolios.refresh(ALICE, "one")
    system.portfolios.refresh(ALICE, "one")
    bundles = system.queues.receive("refresh")
    assert [(bundle.message.keys, bundle.message.window_end_ms) for bundle in bundles] == [(["live:one"], 0)] * 2
    assert system.queues.receive("live") == []


WRITER = Caller("ops", frozenset({"instruments:write"}))


def put(system: System, caller: Caller, instrument: Instrument) -> Instrument:
    return put_instrument(
        caller, instrument, instruments=system.instruments, holders=system.hot, marker=system.marker, clock=system.clock
    )


def test_a_change_of_an_instrument_marks_its_dependents_as_bulk(system: System) -> None:
    system.open("trial", "AAPL", account_type="demo")
    system.open("other", "MSFT", account_type="demo")
    system.clock.advance(1_000)
    put(system, WRITER, stock("AAPL", max_age_seconds=5))
    bundles = [bundle.message for bundle in system.queues.receive("bulk")]
    [marked] = [message for message in bundles if message.keys[0].startswith("demo:")]
    assert (marked.keys, marked.reason, marked.symbols) == (["demo:trial"], "bulk", ["AAPL"])


def test_an_instrument_is_registered_by_who_may_and_read_by_all(system: System) -> None:
    put(system, WRITER, stock("NEW"))
    assert get_instrument("NEW", system.instruments) == stock("NEW")
    with pytest.raises(ForbiddenError):
        put(system, ALICE, stock("OTHER"))
    with pytest.raises(NotFoundError):
        get_instrument("OTHER", system.instruments)


def test_what_books_depend_on_is_fixed_and_the_rest_may_change(system: System) -> None:
    assert put(system, WRITER, stock("AAPL", max_age_seconds=5)).max_age_seconds == 5
    with pytest.raises(RefusedError) as refused:
        put(system, WRITER, stock("AAPL", currency="EUR"))
    assert refused.value.code == "INSTRUMENT_FIXED"


@pytest.mark.parametrize("changes", [{"price_decimals": 20}, {"contract_size": Decimal(0)}, {"max_age_seconds": -1}])
def test_an_instrument_that_would_break_prices_or_books_is_refused(system: System, changes: dict[str, object]) -> None:
    with pytest.raises(CallerError):
        put(system, WRITER, stock("NEW", **changes))
    assert system.instruments.get(["NEW"]) == {}
