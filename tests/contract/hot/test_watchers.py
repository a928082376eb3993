"""Who is to be told when a snapshot was written."""

import pytest

from foliostream.adapters.hot_codec import WATCHERS_MAX
from foliostream.errors import RefusedError
from foliostream.ports import Candidate, HotStore
from tests.contract.hot.backends import NOW_MS, Backend
from tests.contract.hot.samples import candidate, snapshot

MINUTE_MS = 60_000


def told(store: HotStore, *, read_at_ms: int = NOW_MS) -> set[str]:
    """Whom a write at that time would tell; the write is done."""
    expected = store.load(["12345"])["12345"].head
    [saved] = store.save([Candidate(snapshot(read_at_ms=read_at_ms, previous=expected), expected)])
    assert saved.written
    return set(saved.watchers)


def test_a_watcher_from_before_the_first_snapshot_is_told_of_it(store: HotStore) -> None:
    store.watch("12345", "c1=", NOW_MS + MINUTE_MS)
    assert store.load(["12345"])["12345"].head is None
    assert store.read(["12345"]) == {}
    assert told(store) == {"c1="}


def test_every_write_tells_all_watchers_of_that_portfolio_only(store: HotStore) -> None:
    store.watch("12345", "c1", NOW_MS + MINUTE_MS)
    store.watch("12345", "c2", NOW_MS + MINUTE_MS)
    store.watch("2", "c3", NOW_MS + MINUTE_MS)
    assert told(store) == {"c1", "c2"}
    assert told(store, read_at_ms=NOW_MS + 1) == {"c1", "c2"}


def test_a_refused_write_tells_nobody(store: HotStore) -> None:
    store.watch("12345", "c1", NOW_MS + MINUTE_MS)
    told(store)
    [saved] = store.save([candidate()])
    assert (saved.written, saved.watchers) == (False, [])


def test_a_lease_that_ended_is_not_told_and_one_that_was_renewed_is(store: HotStore) -> None:
    store.watch("12345", "ended", NOW_MS)
    store.watch("12345", "renewed", NOW_MS)
    store.watch("12345", "renewed", NOW_MS + MINUTE_MS)
    store.watch("12345", "live", NOW_MS + 1)
    assert told(store) == {"renewed", "live"}
    assert told(store, read_at_ms=NOW_MS + 1) == {"renewed"}


def test_an_unwatched_portfolio_tells_only_the_others(store: HotStore) -> None:
    for connection_id in ("c1", "c2", "c3"):
        store.watch("12345", connection_id, NOW_MS + MINUTE_MS)
    store.unwatch("12345", ["c1", "c3", "unknown"])
    assert told(store) == {"c2"}


def test_unwatching_what_was_never_watched_is_no_error(store: HotStore) -> None:
    store.unwatch("12345", ["c1"])
    store.unwatch("12345", [])
    assert store.read(["12345"]) == {}
    told(store)
    store.unwatch("12345", ["c1"])


def test_watchers_outlive_any_number_of_writes(store: HotStore) -> None:
    told(store)
    store.watch("12345", "c1", NOW_MS + MINUTE_MS)
    for later_ms in range(1, 4):
        assert told(store, read_at_ms=NOW_MS + later_ms) == {"c1"}


def test_one_watcher_too_many_is_refused_and_a_renewal_is_not(store: HotStore) -> None:
    for number in range(WATCHERS_MAX):
        store.watch("12345", f"c{number}", NOW_MS + MINUTE_MS)
    with pytest.raises(RefusedError) as refused:
        store.watch("12345", "one-more", NOW_MS + MINUTE_MS)
    assert refused.value.code == "TOO_MANY_WATCHERS"
    store.watch("12345", "c7", NOW_MS + 2 * MINUTE_MS)
    assert len(told(store)) == WATCHERS_MAX


def test_ended_leases_make_room(backend: Backend) -> None:
    store = backend.store
    for number in range(WATCHERS_MAX):
        store.watch("12345", f"c{number}", NOW_MS + MINUTE_MS + number % 2)
    backend.clock.advance(MINUTE_MS)
    store.watch("12345", "one-more", NOW_MS + 2 * MINUTE_MS)
    assert len(told(store, read_at_ms=NOW_MS + MINUTE_MS)) == WATCHERS_MAX // 2 + 1


def test_whoever_watches_can_be_asked_for_without_a_write(store: HotStore) -> None:
    store.watch("12345", "c1", NOW_MS + MINUTE_MS)
    store.watch("12345", "c2", NOW_MS)
    store.watch("2", "c1", NOW_MS + MINUTE_MS)
    store.watch("3", "c3", NOW_MS)
    assert store.watchers(["12345", "2", "3", "4"], NOW_MS) == {"12345": ["c1"], "2": ["c1"]}
    assert store.watchers([], NOW_MS) == {}
    assert set(store.watchers(["12345"], NOW_MS - 1)["12345"]) == {"c1", "c2"}
