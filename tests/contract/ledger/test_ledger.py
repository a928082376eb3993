"""What every ledger must hold; run on the fake and on DynamoDB."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from foliostream.domain.portfolio import Entry, Portfolio, Position, encode
from foliostream.errors import CallerError, ConflictError, RefusedError
from foliostream.ports import Booking, Ledger
from tests.contract.ledger.books import NOW_MS, booked, buy, commit, commit_until_done, deposit, empty, sell
from tests.contract.ledger.conftest import Subject


def position(symbol_count: int, digits: int) -> dict[str, Position]:
    amount = Decimal("1." + "1" * digits)
    one = Position(amount, amount, amount, amount, Decimal(1), "USD", NOW_MS, NOW_MS)
    return {f"SYMBOL{number}": one for number in range(symbol_count)}


def with_positions(portfolio: Portfolio, positions: dict[str, Position]) -> Portfolio:
    return Portfolio(
        **{name: getattr(portfolio, name) for name in portfolio.__struct_fields__} | {"positions": positions}
    )


def test_what_was_created_is_loaded_digit_by_digit(ledger: Ledger) -> None:
    after, transactions = booked(empty("p1"), deposit("t1", "0.000001"))
    ledger.create(after, transactions, "digest")
    assert ledger.load(["p1", "p2"]) == {"p1": after}
    assert ledger.transactions("p1", ["t1", "t2"]) == {"t1": transactions[0]}


def test_a_portfolio_id_is_taken_once_by_whomever(ledger: Ledger) -> None:
    ledger.create(*booked(empty("p1"), deposit("initial_cash")), "digest")
    with pytest.raises(ConflictError) as refused:
        ledger.create(*booked(empty("p1", owner="bob"), deposit("initial_cash")), "other")
    assert refused.value.code == "PORTFOLIO_EXISTS"
    assert ledger.load(["p1"])["p1"].owner == "alice"
    assert ledger.owned("bob", None, 10).portfolio_ids == []


def test_the_request_digest_stays_over_commits(ledger: Ledger) -> None:
    assert ledger.request_digest("p1") is None
    ledger.create(empty("p1"), [], "digest")
    commit(ledger, empty("p1"), deposit("t1"))
    assert ledger.request_digest("p1") == "digest"


def test_a_commit_stores_the_next_version_and_its_transactions(ledger: Ledger) -> None:
    ledger.create(empty("p1"), [], "digest")
    after = commit(ledger, empty("p1"), deposit("t1", "0.1"), buy("t2", "AAPL", "3", "0.333333"))
    assert after.version == 2
    assert ledger.load(["p1"]) == {"p1": after}
    assert {t.ledger_version for t in ledger.transactions("p1", ["t1", "t2"]).values()} == {2}


def booking(before: Portfolio, *entries: Entry) -> Booking:
    after, transactions = booked(before, *entries)
    return Booking(after, transactions, after.symbols - before.symbols, before.symbols - after.symbols)


def test_two_portfolios_are_booked_together_or_not_at_all(subject: Subject) -> None:
    ledger = subject.ledger
    for name in ("p1", "p2"):
        ledger.create(empty(name), [], "digest")
    first = [booking(empty(name), buy("t1", "AAPL")) for name in ("p1", "p2")]
    ledger.commit_together(first)
    assert ledger.load(["p1", "p2"]) == {item.portfolio.portfolio_id: item.portfolio for item in first}
    assert subject.holders("AAPL", "live") == {"live:p1", "live:p2"}

    held = ledger.load(["p1", "p2"])
    moved = commit(ledger, held["p2"], deposit("t2"))
    with pytest.raises(ConflictError) as refused:
        ledger.commit_together([booking(held[name], sell("t3", "AAPL")) for name in ("p1", "p2")])
    assert refused.value.code == "VERSION_CONFLICT"
    assert ledger.load(["p1", "p2"]) == {"p1": held["p1"], "p2": moved}
    with pytest.raises(ConflictError) as refused:
        ledger.commit_together([booking(held["p1"], deposit("t4")), booking(moved, deposit("t2"))])
    assert refused.value.code == "TRANSACTION_EXISTS"
    assert ledger.transactions("p1", ["t3", "t4"]) == {}


def test_together_there_are_no_more_items_than_in_one_booking(ledger: Ledger) -> None:
    for name in ("p1", "p2"):
        ledger.create(empty(name), [], "digest")
    many = [booking(empty(name), *(deposit(f"t{number}") for number in range(50))) for name in ("p1", "p2")]
    with pytest.raises(RefusedError) as refused:
        ledger.commit_together(many)
    assert refused.value.code == "TOO_MANY_ITEMS"


def test_a_commit_on_an_old_version_is_refused_and_changes_nothing(ledger: Ledger) -> None:
    ledger.create(empty("p1"), [], "digest")
    newest = commit(ledger, empty("p1"), deposit("t1"))
    with pytest.raises(ConflictError) as refused:
        commit(ledger, empty("p1"), deposit("t2"), buy("t3", "AAPL"))
    assert refused.value.code == "VERSION_CONFLICT"
    assert ledger.load(["p1"]) == {"p1": newest}
    assert ledger.transactions("p1", ["t2", "t3"]) == {}


def test_a_commit_that_skips_a_version_is_refused(ledger: Ledger) -> None:
    ledger.create(empty("p1"), [], "digest")
    ahead, _ = booked(booked(empty("p1"), deposit("t1"))[0], deposit("t2"))
    with pytest.raises(ConflictError) as refused:
        ledger.commit(ahead, [], [], [])
    assert refused.value.code == "VERSION_CONFLICT"


def test_a_commit_to_a_portfolio_that_does_not_exist_is_a_version_conflict(ledger: Ledger) -> None:
    with pytest.raises(ConflictError) as refused:
        commit(ledger, empty("p1"), deposit("t1"))
    assert refused.value.code == "VERSION_CONFLICT"
    assert ledger.load(["p1"]) == {}


def test_a_transaction_id_counts_once_for_ever(subject: Subject) -> None:
    ledger = subject.ledger
    ledger.create(empty("p1"), [], "digest")
    newest = empty("p1")
    for number in range(3):
        newest = commit(ledger, newest, deposit(f"t{number}"))
    with pytest.raises(ConflictError) as refused:
        commit(ledger, newest, deposit("new"), deposit("t0"), buy("new too", "AAPL"), deposit("t2"))
    assert refused.value.code == "TRANSACTION_EXISTS"
    assert refused.value.details == [{"transaction_id": "t0"}, {"transaction_id": "t2"}]
    assert ledger.load(["p1"]) == {"p1": newest}
    assert ledger.transactions("p1", ["new", "new too"]) == {}
    assert subject.holders("AAPL", "live") == set()


def test_a_repeated_commit_says_that_its_transactions_exist_and_not_that_the_version_moved(ledger: Ledger) -> None:
    ledger.create(empty("p1"), [], "digest")
    commit(ledger, empty("p1"), deposit("t1"))
    with pytest.raises(ConflictError) as refused:
        commit(ledger, empty("p1"), deposit("t1"))
    assert refused.value.code == "TRANSACTION_EXISTS"


def test_the_same_transaction_id_in_another_portfolio_is_another_transaction(ledger: Ledger) -> None:
    for name in ("p1", "p2"):
        ledger.create(empty(name), [], "digest")
        commit(ledger, empty(name), deposit("t1"))
    assert ledger.load(["p2"])["p2"].version == 2


def test_holders_follow_what_is_held(subject: Subject) -> None:
    ledger = subject.ledger
    ledger.create(empty("p1", account_type="demo"), [], "digest")
    both = commit(ledger, empty("p1", account_type="demo"), buy("t1", "AAPL"), buy("t2", "MSFT"))
    assert subject.holders("AAPL", "demo") == subject.holders("MSFT", "demo") == {"demo:p1"}
    assert subject.holders("AAPL", "live") == set()
    commit(ledger, both, sell("t3", "AAPL"), buy("t4", "KO"))
    assert subject.holders("AAPL", "demo") == set()
    assert subject.holders("MSFT", "demo") == subject.holders("KO", "demo") == {"demo:p1"}


def test_what_a_portfolio_is_created_with_has_holders_too(subject: Subject) -> None:
    after, transactions = booked(empty("p1"), buy("t1", "AAPL"))
    subject.ledger.create(after, transactions, "digest")
    assert subject.holders("AAPL", "live") == {"live:p1"}


def test_a_symbol_named_as_opened_and_closed_keeps_its_holder(subject: Subject) -> None:
    subject.ledger.create(empty("p1"), [], "digest")
    after, transactions = booked(empty("p1"), buy("t1", "AAPL"))
    subject.ledger.commit(after, transactions, ["AAPL"], ["AAPL"])
    assert subject.holders("AAPL", "live") == {"live:p1"}


def test_a_hundred_items_are_written_and_one_more_is_refused_by_its_number(ledger: Ledger) -> None:
    ledger.create(empty("p1"), [], "digest")
    newest = commit(ledger, empty("p1"), *(deposit(f"t{number}") for number in range(99)))
    with pytest.raises(RefusedError) as refused:
        commit(ledger, newest, *(deposit(f"u{number}") for number in range(99)), buy("b", "AAPL"))
    assert refused.value.code == "TOO_MANY_ITEMS"
    assert refused.value.details == [{"limit": 100, "value": 102}]
    assert ledger.load(["p1"]) == {"p1": newest}


def test_a_portfolio_near_the_item_limit_is_stored_and_a_larger_one_is_refused(ledger: Ledger) -> None:
    ledger.create(empty("p1"), [], "digest")
    large = with_positions(booked(empty("p1"))[0], position(1_000, 55))
    assert 370_000 < len(encode(large)) < 400_000
    ledger.commit(large, [], [], [])
    assert ledger.load(["p1"]) == {"p1": large}
    too_large = with_positions(booked(large)[0], position(1_000, 65))
    with pytest.raises(RefusedError) as refused:
        ledger.commit(too_large, [], [], [])
    assert refused.value.code == "PORTFOLIO_TOO_LARGE"
    assert ledger.load(["p1"])["p1"].version == 2


def test_writers_hammering_one_portfolio_lose_nothing_and_leave_no_gap(ledger: Ledger) -> None:
    ledger.create(empty("p1"), [], "digest")
    names = [[f"writer{writer}-{number}" for number in range(15)] for writer in range(3)]

    def write(mine: list[str]) -> None:
        for name in mine:
            commit_until_done(ledger, "p1", [deposit(name)])

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(write, names))
    newest = ledger.load(["p1"])["p1"]
    assert newest.cash["USD"] == empty("p1").cash["USD"] + 45
    assert newest.version == 46
    transactions = ledger.transactions("p1", [name for mine in names for name in mine])
    assert sorted(t.ledger_version for t in transactions.values()) == list(range(2, 47))


def test_two_creators_of_one_id_make_one_portfolio(ledger: Ledger) -> None:
    def create(owner: str) -> str:
        try:
            ledger.create(empty("p1", owner=owner), [], owner)
        except ConflictError as conflict:
            return conflict.code
        return owner

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(create, [f"owner{number}" for number in range(8)]))
    (winner,) = set(answers) - {"PORTFOLIO_EXISTS"}
    assert answers.count("PORTFOLIO_EXISTS") == 7
    assert ledger.load(["p1"])["p1"].owner == ledger.request_digest("p1") == winner


def test_an_owner_pages_through_250_portfolios_in_order_and_sees_no_others(ledger: Ledger) -> None:
    names = [f"p{number:03d}" for number in range(250)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: ledger.create(empty(name), [], "digest"), names))
        list(pool.map(lambda name: ledger.create(empty(f"b-{name}", owner="bob"), [], "digest"), names[:5]))
    pages, cursor = [], None
    while True:
        page = ledger.owned("alice", cursor, 100)
        pages.append(page.portfolio_ids)
        cursor = page.cursor
        if cursor is None:
            break
    assert [len(page) for page in pages] == [100, 100, 50]
    assert [name for page in pages for name in page] == names
    assert ledger.owned("alice", None, 250).cursor is None  # exactly all: no empty page follows
    assert ledger.owned("nobody", None, 10) == ([], None)


def test_a_cursor_of_somebody_else_or_none_at_all_is_refused(ledger: Ledger) -> None:
    for name in ("p1", "p2"):
        ledger.create(empty(name), [], "digest")
        ledger.create(empty(f"b-{name}", owner="bob"), [], "digest")
    cursor = ledger.owned("alice", None, 1).cursor
    foreign = ledger.owned("bob", None, 1).cursor
    assert cursor
    assert foreign
    for bad in (foreign, cursor + "A", cursor[:-2], "!" + cursor[1:], "", "p1", "ß", "A", "=" * 8):
        with pytest.raises(CallerError) as refused:
            ledger.owned("alice", bad, 1)
        assert refused.value.code == "INVALID_CURSOR", bad
    assert ledger.owned("alice", cursor, 1) == (["p2"], None)


def test_more_portfolios_and_transactions_than_one_read_takes_are_all_found(ledger: Ledger) -> None:
    names = [f"p{number}" for number in range(101)]
    for name in names:
        ledger.create(empty(name), [], "digest")
    newest = empty("p0")
    ids = [f"t{number}" for number in range(101)]
    newest = commit(ledger, newest, *map(deposit, ids[:60]))
    commit(ledger, newest, *map(deposit, ids[60:]))
    assert set(ledger.load([*names, *names, "unknown"])) == set(names)
    assert set(ledger.transactions("p0", ids)) == set(ids)
    assert ledger.load([]) == {}
    assert ledger.transactions("p0", []) == {}
