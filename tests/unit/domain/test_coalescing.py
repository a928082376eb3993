"""Windows, shards, bundles and their ids. That a queue forgets nothing else, no test here can find."""

from __future__ import annotations

import random

import msgspec
import pytest

from foliostream.domain import coalescing
from foliostream.domain.coalescing import MAX_SYMBOLS_IN_MESSAGE, Bundle, DirtyMessage, Reason, Window
from foliostream.domain.keys import shard_of, stable_hash

WINDOW = Window.at(1_772_101_800_123, 200)
KEYS = [f"live:{number}" for number in range(3000)]


def cut(keys: list[str], window: Window = WINDOW, *, size: int = 50, shards: int = 8, attempt: int = 0) -> list[Bundle]:
    return coalescing.bundles(
        keys, window, shards=shards, keys_per_message=size, reason="price", symbols=["AAPL"], attempt=attempt
    )


@pytest.mark.parametrize(
    ("now_ms", "number", "end_ms"),
    [(0, 0, 200), (199, 0, 200), (200, 1, 400), (1_772_101_800_123, 8_860_509_000, 1_772_101_800_200)],
)
def test_a_window_is_the_stretch_that_now_lies_in(now_ms: int, number: int, end_ms: int) -> None:
    assert Window.at(now_ms, 200) == (number, end_ms)


def test_a_message_is_due_at_its_windows_end_and_the_skew() -> None:
    assert coalescing.due_ms(DirtyMessage(5, 1000, ["live:1"], "price"), 50) == 1050


def test_an_urgent_message_is_due_at_once() -> None:
    assert coalescing.due_ms(DirtyMessage(5, 0, ["live:1"], "refresh"), 50) == 0


@pytest.mark.parametrize(
    ("name", "shard"), [("12345", 33), ("alice-1", 52), ("paper_momentum", 38), ("L0SM9cOFvHcCIhw=", 49)]
)
def test_a_names_shard_never_changes_between_releases(name: str, shard: int) -> None:
    # Books, snapshots, promises and message groups are kept under it.
    assert shard_of(name, 64) == shard


def test_the_hash_behind_shards_and_cuts_never_changes_between_releases() -> None:
    assert stable_hash("12345") == 8383533804853196449
    assert stable_hash("live:12345", b"cut") == 10480305028041991622


def test_a_bundles_id_never_changes_between_releases() -> None:
    (bundle,) = cut(["live:12345"], Window(7, 1400), shards=64)
    assert bundle.bundle_id == bundle.deduplication_id == "7-33-f9a988af300f7347e9e2f1fc"


def test_the_id_names_the_window() -> None:  # G1: a bare key as id would swallow every later update for five minutes
    (now,) = cut(["live:1"], Window(7, 1400))
    (next_one,) = cut(["live:1"], Window(8, 1600))
    assert now.bundle_id.startswith(f"7-{now.shard}-")
    assert next_one.bundle_id.startswith(f"8-{next_one.shard}-")
    assert now.bundle_id.partition("-")[2] == next_one.bundle_id.partition("-")[2]


def test_the_same_keys_in_any_order_and_number_give_the_same_bundles() -> None:
    shuffled = [*KEYS, *KEYS[:100]]
    random.Random(1).shuffle(shuffled)
    assert cut(shuffled) == cut(KEYS)


def test_every_key_is_in_one_bundle_of_its_own_shard() -> None:
    bundles = cut(KEYS)
    assert sorted(key for bundle in bundles for key in bundle.message.keys) == sorted(KEYS)
    for bundle in bundles:
        assert {shard_of(key.partition(":")[2], 8) for key in bundle.message.keys} == {bundle.shard}
        assert bundle.message.keys == sorted(bundle.message.keys)


@pytest.mark.parametrize("size", [1, 2, 50, 500, 5000])
def test_no_bundle_is_larger_than_the_limit_nor_are_there_many_more_than_needed(size: int) -> None:
    bundles = cut(KEYS, size=size)
    assert max(len(bundle.message.keys) for bundle in bundles) <= size
    assert len(bundles) <= max(8, 4 * len(KEYS) // size)


def test_one_more_key_changes_few_bundles() -> None:
    before = {bundle.bundle_id for bundle in cut(KEYS)}
    for number in range(20):
        after = {bundle.bundle_id for bundle in cut([*KEYS, f"live:new{number}"])}
        assert len(after - before) <= 2, "its bundle, or the two that it became"


def test_no_keys_are_no_bundles() -> None:
    assert cut([]) == []


def test_a_retry_is_not_a_duplicate_of_the_first_try() -> None:
    (first,), (again,) = cut(["live:1"]), cut(["live:1"], attempt=1)
    assert first.bundle_id != again.bundle_id
    assert (first.message.attempt, again.message.attempt) == (0, 1)


def test_account_types_never_share_an_id() -> None:
    assert cut(["live:1"])[0].bundle_id != cut(["demo:1"])[0].bundle_id


def test_the_symbols_of_a_message_are_cut_short() -> None:
    symbols = [f"S{number}" for number in range(100)]
    (bundle,) = coalescing.bundles(["live:1"], WINDOW, shards=8, keys_per_message=5, reason="price", symbols=symbols)
    assert bundle.message.symbols == symbols[:MAX_SYMBOLS_IN_MESSAGE]


def test_the_symbols_do_not_make_another_id() -> None:
    other = coalescing.bundles(["live:1"], WINDOW, shards=8, keys_per_message=50, reason="price", symbols=["MSFT"])
    assert other[0].bundle_id == cut(["live:1"])[0].bundle_id


def test_a_mark_that_waits_for_no_interval_is_not_swallowed_by_a_price_that_may() -> None:  # G1
    reasons: tuple[Reason, ...] = ("price", "ledger", "bulk", "refresh", "sweep")
    ids = {
        coalescing.bundles(["live:1"], WINDOW, shards=8, keys_per_message=50, reason=reason)[0].bundle_id: reason
        for reason in reasons
    }
    assert sorted(ids.values()) == ["price", "sweep"], "all that do not wait are one message"


@pytest.mark.parametrize("attempt", [0, 3])
def test_what_is_received_leads_back_to_the_bundle_that_was_sent(attempt: int) -> None:
    for bundle in cut(KEYS, attempt=attempt):
        received = msgspec.json.decode(msgspec.json.encode(bundle.message), type=DirtyMessage)
        assert coalescing.bundle_of(received, 8) == bundle


def test_an_urgent_bundle_is_never_a_duplicate_but_is_recorded_under_its_own_id() -> None:
    first, second = (
        coalescing.urgent(["live:1"], 1000, shards=8, keys_per_message=5, reason="refresh", nonce=nonce)[0]
        for nonce in ("a", "b")
    )
    assert first.deduplication_id != second.deduplication_id
    assert first.message.window_end_ms == 0
    assert coalescing.bundle_of(first.message, 8).bundle_id == first.bundle_id


def test_a_deduplication_id_is_of_the_form_a_fifo_queue_takes() -> None:
    bundle = cut(["paper:" + "x" * 64], Window(10**13, 10**16), shards=16_384, attempt=5)[0]
    assert len(bundle._replace(nonce="f" * 32).deduplication_id) <= 128


def test_a_message_is_written_as_the_contract_has_it() -> None:
    (bundle,) = cut(["live:12345"], Window(7, 1400))
    assert msgspec.json.decode(msgspec.json.encode(bundle.message)) == {
        "v": 1,
        "window": 7,
        "window_end_ms": 1400,
        "keys": ["live:12345"],
        "reason": "price",
        "symbols": ["AAPL"],
        "attempt": 0,
        "origins": [],
    }
