"""Bundles are on record from before they are sent until their snapshots are written."""

from collections import defaultdict

from foliostream.adapters.hot_codec import DirtyRecord
from foliostream.domain.coalescing import Bundle, Window, bundles
from foliostream.domain.keys import shard_of
from foliostream.ports import Promised
from tests.contract.hot.backends import NOW_MS, SHARDS, Backend


def bundles_of(count: int, *, keys_per_message: int = 10) -> list[Bundle]:
    window = Window.at(NOW_MS, 200)
    keys = [f"live:{number}" for number in range(count)]
    return bundles(keys, window, shards=SHARDS, keys_per_message=keys_per_message, reason="price", symbols=["AAPL"])


def test_a_recorded_bundle_can_be_found_with_its_message_and_time(backend: Backend) -> None:
    [bundle] = bundles_of(1)
    backend.store.record("live", [bundle])
    assert backend.recorded("live", bundle.shard) == {bundle.bundle_id: DirtyRecord(NOW_MS, bundle.message)}
    assert backend.recorded("demo", bundle.shard) == {}


def test_a_forgotten_bundle_is_gone_and_the_others_stay(backend: Backend) -> None:
    first, second = bundles_of(200)[:2]
    backend.store.record("live", [first, second])
    backend.store.forget("live", [(first.shard, first.bundle_id)])
    assert backend.recorded("live", first.shard) == {}
    assert set(backend.recorded("live", second.shard)) == {second.bundle_id}


def test_forgetting_the_unknown_is_no_error(backend: Backend) -> None:
    backend.store.forget("live", [(3, "never-recorded")])
    backend.store.forget("live", [])
    backend.store.record("live", [])


def test_recording_again_keeps_one_record(backend: Backend) -> None:
    [bundle] = bundles_of(1)
    backend.store.record("live", [bundle])
    backend.store.record("live", [bundle, bundle])
    assert list(backend.recorded("live", bundle.shard)) == [bundle.bundle_id]


def test_many_bundles_of_all_shards_in_one_call(backend: Backend) -> None:
    many = bundles_of(2_000, keys_per_message=4)
    backend.store.record("live", many)
    ids: dict[int, set[str]] = defaultdict(set)
    for bundle in many:
        ids[bundle.shard].add(bundle.bundle_id)
    assert len(ids) == SHARDS
    assert all(set(backend.recorded("live", shard)) == expected for shard, expected in ids.items())
    backend.store.forget("live", [(bundle.shard, bundle.bundle_id) for bundle in many])
    assert not any(backend.recorded("live", shard) for shard in ids)


def promised(backend: Backend, account_type: str = "live") -> dict[str, Promised]:
    return {item.bundle_id: item for part in backend.store.promised(account_type) for item in part}


def test_what_is_promised_is_listed_over_all_shards_by_account_type(backend: Backend) -> None:
    many = bundles_of(2_000, keys_per_message=4)
    backend.store.record("live", many)
    assert promised(backend, "demo") == {}
    assert promised(backend) == {
        bundle.bundle_id: Promised(bundle.shard, bundle.bundle_id, NOW_MS, bundle.message) for bundle in many
    }
    kept = many[::2]
    backend.store.forget("live", [(bundle.shard, bundle.bundle_id) for bundle in many[1::2]])
    assert set(promised(backend)) == {bundle.bundle_id for bundle in kept}


def test_full_bundles_of_one_shard_come_in_bounded_parts(backend: Backend) -> None:
    names = [name for number in range(40_000) if shard_of(name := f"portfolio-{number}", SHARDS) == 7]
    window = Window.at(NOW_MS, 200)
    many = bundles(
        [f"live:{name}" for name in names], window, shards=SHARDS, keys_per_message=5, reason="bulk", symbols=[]
    )
    assert len(many) > 100
    backend.store.record("live", many)
    parts = list(backend.store.promised("live"))
    keys = {key for part in parts for item in part if item.message for key in item.message.keys}
    assert keys == {f"live:{name}" for name in names}
