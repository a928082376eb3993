"""What every set of queues must hold; run on the fake and on SQS."""

from __future__ import annotations

import pytest

from foliostream.domain.coalescing import Bundle, DirtyMessage, Window, bundles, urgent
from foliostream.errors import CallerError, PermanentError
from foliostream.ports import Delayed
from tests.contract.queues.conftest import Subject

NOW_MS = 1_767_225_600_000


def keys(count: int) -> list[str]:
    return [f"live:p{number}" for number in range(count)]


def in_window(number: int, dirty: list[str], *, shards: int = 64) -> list[Bundle]:
    window = Window(number, number * 200)
    return bundles(dirty, window, shards=shards, keys_per_message=500, reason="price", symbols=["AAPL", "M&M"])


def test_a_message_arrives_as_it_was_sent(subject: Subject) -> None:
    (bundle,) = in_window(7, keys(1))
    subject.queues.send("live", [bundle])
    assert subject.receive("live") == [bundle.message]
    assert subject.receive("live") == []


def test_nothing_sent_is_nothing_received(subject: Subject) -> None:
    subject.queues.send("live", [])
    assert subject.receive("live") == []


def test_every_queue_takes_messages_of_its_own(subject: Subject) -> None:
    names = ("live", "demo", "paper", "bulk", "refresh", "delayed", "push")
    for number, queue in enumerate(names):
        subject.queues.send(queue, in_window(number, keys(1)))
    for number, queue in enumerate(names):
        assert [message.window for message in subject.receive(queue)] == [number]


def test_messages_of_one_group_come_in_the_order_they_were_sent(subject: Subject) -> None:
    for number in range(25):
        subject.queues.send("live", in_window(number, keys(1)))
    assert [message.window for message in subject.receive("live")] == list(range(25))


def test_five_and_twenty_bundles_all_arrive(subject: Subject) -> None:
    sent = in_window(1, keys(200), shards=25)
    assert len(sent) == 25
    subject.queues.send("live", sent)
    received = subject.receive("live")
    assert sorted(message.keys for message in received) == sorted(bundle.message.keys for bundle in sent)


def test_two_hundred_bundles_sent_side_by_side_all_arrive_once(subject: Subject) -> None:
    sent = [bundle for number in range(4) for bundle in in_window(number, keys(500), shards=50)]
    subject.queues.send("live", sent)
    received = subject.receive("live")
    assert len(received) == 200
    assert {(message.window, *message.keys) for message in received} == {
        (bundle.message.window, *bundle.message.keys) for bundle in sent
    }


def test_bundles_too_large_for_one_request_are_sent_in_several(subject: Subject) -> None:
    long = [f"live:{'p' * 55}{number:07d}" for number in range(20_000)]
    sent = bundles(long, Window(1, 200), shards=10, keys_per_message=3_000, reason="bulk")
    assert len(sent) == 10
    assert sum(len("".join(bundle.message.keys)) for bundle in sent) > 1_200_000
    subject.queues.send("live", sent)
    received = subject.receive("live")
    assert sorted(key for message in received for key in message.keys) == long


def test_a_bundle_promised_twice_in_its_window_is_queued_once_also_after_it_was_received(subject: Subject) -> None:
    subject.queues.send("live", in_window(1, keys(3), shards=1))
    subject.queues.send("live", in_window(1, keys(3), shards=1))
    assert len(subject.receive("live")) == 1
    subject.queues.send("live", in_window(1, keys(3), shards=1))
    assert subject.receive("live") == []
    subject.queues.send("live", in_window(2, keys(3), shards=1))
    assert len(subject.receive("live")) == 1


def test_the_same_id_in_two_groups_is_two_messages(subject: Subject) -> None:
    (bundle,) = in_window(1, keys(1))
    subject.queues.send("live", [bundle._replace(shard=1), bundle._replace(shard=2)])
    assert len(subject.receive("live")) == 2


def test_urgent_bundles_are_never_swallowed(subject: Subject) -> None:
    for nonce in ("a", "b"):
        ask = urgent(keys(1), NOW_MS, shards=64, keys_per_message=500, reason="refresh", nonce=nonce)
        subject.queues.send("push", ask)
        subject.queues.send("refresh", ask)
        subject.queues.send("refresh", ask)
    assert len(subject.receive("push")) == 2
    assert len(subject.receive("refresh")) == 4


def test_a_message_given_up_goes_to_its_dead_letter_queue_with_the_reason(subject: Subject) -> None:
    message = DirtyMessage(7, 1400, ["live:p1"], "price", ["AAPL"], attempt=5)
    other = DirtyMessage(7, 1400, ["live:p2"], "price", attempt=5)
    subject.queues.dead_letter("live", message, "InvalidOperation: 1 / 0 in p1, Zürich")
    subject.queues.dead_letter("live", other, "no book")
    subject.queues.dead_letter("push", DirtyMessage(7, 0, ["aBc="], "push"), "no post")
    given_up = subject.given_up("live")
    assert sorted(given_up, key=lambda gone: gone[0].keys) == [
        (message, "InvalidOperation: 1 / 0 in p1, Zürich"),
        (other, "no book"),
    ]
    assert [gone[0].keys for gone in subject.given_up("push")] == [["aBc="]]
    assert subject.receive("live") == []


def test_a_queue_nobody_named_is_an_error_for_an_operator(subject: Subject) -> None:
    with pytest.raises(PermanentError, match="gold"):
        subject.queues.send("gold", in_window(1, keys(1)))
    with pytest.raises(PermanentError, match="gold"):
        subject.queues.dead_letter("gold", DirtyMessage(1, 200, ["live:p1"], "price"), "why")


def test_delayed_bundles_go_to_their_queue_and_none_of_them_counts_as_a_duplicate(subject: Subject) -> None:
    bundle, *_ = in_window(1, keys(1))
    subject.queues.send_later([Delayed(bundle, 0), Delayed(bundle, 0)])
    assert subject.receive("delayed") == [bundle.message] * 2
    subject.queues.send_later([])
    assert subject.receive("delayed") == []


def test_a_delay_that_no_queue_has_is_refused_before_anything_is_sent(subject: Subject) -> None:
    bundle, *_ = in_window(1, keys(1))
    for seconds in (-1, 901):
        with pytest.raises(CallerError, match="900"):
            subject.queues.send_later([Delayed(bundle, 0), Delayed(bundle, seconds)])
    assert subject.receive("delayed") == []


def test_a_refresh_is_received_while_a_hundred_bundles_of_its_group_wait(subject: Subject) -> None:
    for number in range(100):
        subject.queues.send("live", in_window(number, keys(1), shards=1))
    ask = urgent(keys(1), NOW_MS, shards=1, keys_per_message=500, reason="refresh", nonce="n")
    subject.queues.send("refresh", ask)
    assert [message.reason for message in subject.receive("refresh")] == ["refresh"]
    assert len(subject.receive("live")) == 100
