"""Bundles and windows under any keys and times."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from foliostream.domain import coalescing
from foliostream.domain.coalescing import Bundle, DirtyMessage, Window
from foliostream.domain.keys import shard_of
from tests.property.strategies import moderate

keys = st.lists(st.from_regex(r"(live|demo|paper):[A-Za-z0-9_.-]{1,12}", fullmatch=True), max_size=120)
sizes = st.integers(1, 40)
shards = st.integers(1, 16)
lengths = st.sampled_from([50, 100, 200, 1000, 3000, 10_000])
times = st.integers(0, 4_102_444_800_000)
WINDOW = Window.at(1_772_101_800_123, 200)


def cut(dirty: list[str], size: int, count: int, window: Window = WINDOW) -> list[Bundle]:
    return coalescing.bundles(dirty, window, shards=count, keys_per_message=size, reason="price")


@moderate
@given(keys, sizes, shards)
def test_bundles_hold_every_key_once_in_the_shard_of_its_name(dirty: list[str], size: int, count: int) -> None:
    bundles = cut(dirty, size, count)
    assert sorted(key for bundle in bundles for key in bundle.message.keys) == sorted(set(dirty))
    for bundle in bundles:
        assert 0 < len(bundle.message.keys) <= size
        assert {shard_of(key.partition(":")[2], count) for key in bundle.message.keys} == {bundle.shard}


@moderate
@given(keys, sizes, shards, st.randoms(use_true_random=False))
def test_the_order_of_the_keys_does_not_matter(dirty: list[str], size: int, count: int, random: object) -> None:
    shuffled = list(dirty)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert cut(shuffled, size, count) == cut(dirty, size, count)


@moderate
@given(keys, sizes, shards)
def test_every_bundle_has_an_id_of_its_own(dirty: list[str], size: int, count: int) -> None:
    ids = [(bundle.shard, bundle.bundle_id) for bundle in cut(dirty, size, count)]
    assert len(set(ids)) == len(ids)


@moderate
@given(keys.filter(bool), sizes, shards)
def test_another_window_gives_other_ids_to_the_same_keys(dirty: list[str], size: int, count: int) -> None:  # G1
    now, later = cut(dirty, size, count), cut(dirty, size, count, Window.at(1_772_101_800_323, 200))
    assert [bundle.message.keys for bundle in now] == [bundle.message.keys for bundle in later]
    assert not {bundle.deduplication_id for bundle in now} & {bundle.deduplication_id for bundle in later}


@moderate
@given(keys, st.from_regex(r"live:[a-z]{13}", fullmatch=True), sizes, shards)
def test_one_more_key_touches_no_other_shard_and_at_most_one_old_bundle(
    dirty: list[str], more: str, size: int, count: int
) -> None:
    before, after = cut(dirty, size, count), cut([*dirty, more], size, count)
    gone = {bundle.bundle_id for bundle in before} - {bundle.bundle_id for bundle in after}
    assert len(gone) <= 1


@moderate
@given(keys, sizes, shards)
def test_a_message_leads_back_to_its_bundle(dirty: list[str], size: int, count: int) -> None:
    for bundle in cut(dirty, size, count):
        assert coalescing.bundle_of(bundle.message, count) == bundle


@moderate
@given(times, lengths, st.integers(0, 5000))
def test_nothing_is_due_before_its_window_has_ended(now_ms: int, length_ms: int, skew_ms: int) -> None:
    window = Window.at(now_ms, length_ms)
    assert now_ms < window.end_ms <= now_ms + length_ms
    due_ms = coalescing.due_ms(DirtyMessage(window.number, window.end_ms, ["live:1"], "price"), skew_ms)
    assert due_ms >= window.end_ms > now_ms


@moderate
@given(times, lengths)
def test_windows_follow_each_other_without_gap_or_overlap(now_ms: int, length_ms: int) -> None:
    window = Window.at(now_ms, length_ms)
    assert Window.at(window.end_ms, length_ms).number == window.number + 1
    assert Window.at(window.end_ms - 1, length_ms) == window
