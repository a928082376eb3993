"""Books and snapshots: newer books stay, snapshots are compared and set."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

from msgspec.structs import replace

from foliostream.adapters.hot_codec import head_of
from foliostream.domain import margin_status
from foliostream.domain import portfolio as portfolios
from foliostream.domain import snapshot as snapshots
from foliostream.domain.margin_status import MarginEvent, MarginStatus
from foliostream.ports import Candidate, Head, HotStore, Stored
from tests.contract.hot.backends import NOW_MS
from tests.contract.hot.samples import candidate, portfolio, snapshot

# More than one script call, one MGET and one batch per shard can carry, over all shards.
MANY = [f"portfolio-{number}" for number in range(1_500)]


def head(store: HotStore, portfolio_id: str = "12345") -> Head | None:
    return store.load([portfolio_id])[portfolio_id].head


def test_every_id_asked_for_is_in_the_answer(store: HotStore) -> None:
    store.put_book(portfolio("1"))
    loaded = store.load(["1", "2", "1"])
    assert set(loaded) == {"1", "2"}
    assert loaded["2"] == Stored(None, None)
    assert store.load([]) == {}


def test_a_book_comes_back_as_it_was(store: HotStore) -> None:
    for positions in (1, 40):
        book = portfolio(version=positions, positions=positions)
        store.put_book(book)
        assert portfolios.decode(store.load(["12345"])["12345"].book or b"") == book


def test_the_newer_book_stays(store: HotStore) -> None:
    store.put_book(portfolio(version=9, positions=2))
    store.put_book(portfolio(version=8))
    store.put_book(portfolio(version=9))
    assert store.load(["12345"])["12345"].book == portfolios.encode(portfolio(version=9, positions=2))
    store.put_book(portfolio(version=10))
    assert store.load(["12345"])["12345"].book == portfolios.encode(portfolio(version=10))


def test_who_read_a_book_before_reads_the_one_that_replaced_it(store: HotStore) -> None:
    for version in (1, 2, 3):
        book = portfolio(version=version, positions=version)
        store.put_book(book)
        for _ in range(2):
            assert store.load(["12345", "2"])["12345"].book == portfolios.encode(book)


def test_a_snapshot_comes_with_the_book_as_it_is_now(store: HotStore) -> None:
    store.put_book(portfolio())
    store.save([candidate()])
    store.put_book(portfolio(version=2, positions=3))
    found = store.read(["12345"])["12345"]
    assert (found.head.ledger_version, found.book) == (1, portfolios.encode(portfolio(version=2, positions=3)))


def test_of_racing_books_the_newest_stays(store: HotStore) -> None:
    with ThreadPoolExecutor(8) as writers:
        list(writers.map(store.put_book, [portfolio(version=1 + number * 7 % 40) for number in range(40)]))
    assert store.load(["12345"])["12345"].book == portfolios.encode(portfolio(version=40))


def test_a_portfolio_without_a_snapshot_is_left_out(store: HotStore) -> None:
    store.put_book(portfolio())
    assert store.read(["12345", "2"]) == {}
    assert store.read([]) == {}


def test_the_first_snapshot_needs_no_head_before_it(store: HotStore) -> None:
    first = candidate()
    [saved] = store.save([first])
    assert (saved.written, saved.watchers, saved.current) == (True, [], None)
    assert head(store) == head_of(first.snapshot)


def test_a_snapshot_is_read_as_it_was_saved(store: HotStore) -> None:
    for portfolio_id, positions in (("1", 0), ("2", 60)):
        first = candidate(portfolio_id, positions=positions)
        store.save([first])
        found = store.read([portfolio_id])[portfolio_id]
        assert found.head == head_of(first.snapshot)
        assert found.body == snapshots.encode(first.snapshot)
        assert snapshots.decode(found.body) == first.snapshot
        assert found.book is None


def test_a_snapshot_replaces_the_one_it_expects(store: HotStore) -> None:
    store.save([candidate()])
    second = candidate(expected=head(store), read_at_ms=NOW_MS + 5)
    assert store.save([second])[0].written
    assert store.read(["12345"])["12345"].head == head_of(second.snapshot)


def test_one_that_expects_another_head_is_told_the_current_one_and_changes_nothing(store: HotStore) -> None:
    store.save([candidate()])
    current = head(store)
    assert current is not None
    wrong_heads = [None, *(current._replace(**{name: getattr(current, name) + 1}) for name in current._fields[:4])]
    for wrong in [*wrong_heads, current._replace(owner="alice2")]:
        [saved] = store.save([Candidate(snapshot(read_at_ms=NOW_MS + 5), wrong)])
        assert (saved.written, saved.watchers, saved.current) == (False, [], current)
    assert store.read(["12345"])["12345"].head == current


def test_one_that_expects_a_head_where_there_is_none_is_refused(store: HotStore) -> None:
    lost = head_of(snapshot())
    [saved] = store.save([candidate(expected=lost)])
    assert (saved.written, saved.current) == (False, None)
    assert store.read(["12345"]) == {}


def test_two_valuers_with_equal_heads_do_not_both_write(store: HotStore) -> None:
    same = candidate()
    assert store.save([same])[0].written
    assert not store.save([same])[0].written


def test_each_candidate_stands_or_falls_alone_and_answers_keep_their_order(store: HotStore) -> None:
    store.save([candidate("1"), candidate("3")])
    saved = store.save([candidate("0"), candidate("1"), candidate("2"), candidate("3", expected=head(store, "3"))])
    assert [item.written for item in saved] == [True, False, True, True]
    assert saved[1].current == head(store, "1")


def test_owners_may_have_any_characters(store: HotStore) -> None:
    odd = replace(snapshot(), owner='auth0|a"b\\ü€')
    store.save([Candidate(odd, None)])
    assert head(store) == head_of(odd)
    assert store.save([candidate(expected=head(store), read_at_ms=NOW_MS + 1)])[0].written


def test_fifteen_hundred_portfolios_in_one_call(store: HotStore) -> None:
    assert all(saved.written for saved in store.save([candidate(portfolio_id) for portfolio_id in MANY]))
    loaded = store.load(MANY)
    assert set(loaded) == set(MANY)
    assert all(stored.head is not None for stored in loaded.values())
    found = store.read(MANY)
    assert {snapshots.decode(found[name].body).portfolio_id for name in MANY} == set(MANY)
    again = [candidate(name, expected=loaded[name].head, read_at_ms=NOW_MS + 1) for name in MANY]
    again[700] = candidate(MANY[700])
    assert [saved.written for saved in store.save(again)].index(False) == 700


def test_under_eight_racing_valuers_versions_only_rise(store: HotStore) -> None:
    written: list[int] = []

    def value_it(valuer: int) -> None:
        for step in range(10):
            expected = head(store)
            new = candidate(expected=expected, read_at_ms=NOW_MS + valuer + step)
            [saved] = store.save([new])
            if saved.written:
                written.append(new.snapshot.version)
            else:
                assert saved.current is not None
                assert expected is None or saved.current.version > expected.version

    seen: list[int] = []
    with ThreadPoolExecutor(9) as valuers:
        racing = [valuers.submit(value_it, valuer) for valuer in range(8)]
        while not all(future.done() for future in racing):
            current = store.read(["12345"]).get("12345")
            if current:
                seen.append(current.head.version)
                assert snapshots.decode(current.body).version == current.head.version
        for future in racing:
            future.result()
    final = head(store)
    assert final is not None
    assert final.version == max(written)
    assert len(written) == len(set(written)) >= 10
    assert seen == sorted(seen)


def standing(of: Candidate, status: MarginStatus) -> Candidate:
    return of._replace(snapshot=replace(of.snapshot, margin=status))


STOPPED = MarginStatus("stop_out", 7, 8, unsent=(MarginEvent("stop_out", 8, 1, Decimal("0.1"), Decimal(3)),))


def test_where_a_margin_account_stands_is_in_its_head(store: HotStore) -> None:
    assert store.save([standing(candidate(), STOPPED), candidate("2")])[0].written
    found = head(store)
    assert found is not None
    assert margin_status.decode(found.margin) == STOPPED
    other = head(store, "2")
    assert other is not None
    assert other.margin == ""
    read = store.read(["12345"])["12345"]
    assert (read.head, snapshots.decode(read.body).margin) == (found, STOPPED)


def test_the_margin_of_a_snapshot_can_be_replaced_as_long_as_it_stands(store: HotStore) -> None:
    first = standing(candidate(), STOPPED)
    store.save([first])
    done = standing(Candidate(first.snapshot, head(store)), MarginStatus("stop_out", 7, 8))
    assert store.save([done])[0].written
    second = candidate(expected=head(store), read_at_ms=NOW_MS + 1)
    assert store.save([standing(second, STOPPED)])[0].written
    refused = store.save([done])[0]
    assert (refused.written, refused.current) == (False, head_of(standing(second, STOPPED).snapshot))
