"""The model of SQS does what AWS says of SQS."""

from __future__ import annotations

import pytest

from tests.simulation.queues import DEDUPLICATION_US, LOOK_AHEAD, Queue
from tests.simulation.world import SECOND, World


@pytest.fixture
def world() -> World:
    return World(1, epoch_ms=0, is_traced=False)


def bodies(queue: Queue, most: int = 10) -> list[str]:
    return [message.body for message, _ in queue.receive(most)]


def test_a_deduplication_id_counts_for_five_minutes_also_after_the_message_is_deleted(world: World) -> None:
    queue = Queue(world, "q")
    assert queue.send("a", group="g", deduplication_id="1")
    [(message, receipt)] = queue.receive(10)
    assert queue.delete(message, receipt)
    world.now_us = DEDUPLICATION_US - 1
    assert not queue.send("b", group="g", deduplication_id="1")
    world.now_us = DEDUPLICATION_US
    assert queue.send("c", group="g", deduplication_id="1")


def test_a_deduplication_id_counts_within_its_group(world: World) -> None:
    queue = Queue(world, "q")
    assert queue.send("a", group="g", deduplication_id="1")
    assert queue.send("a", group="h", deduplication_id="1")


def test_a_group_waits_for_what_is_in_flight(world: World) -> None:
    queue = Queue(world, "q")
    for number in range(3):
        queue.send(str(number), group="g", deduplication_id=str(number))
    queue.send("other", group="h", deduplication_id="9")
    assert bodies(queue, 2) == ["0", "1"]
    assert bodies(queue) == ["other"]
    assert bodies(queue) == []


def test_what_is_not_deleted_comes_again_and_in_the_end_to_the_dead_letters(world: World) -> None:
    queue = Queue(world, "q", max_receives=2)
    queue.send("a", group="g", deduplication_id="1")
    for _ in range(2):
        assert bodies(queue) == ["a"]
        world.now_us += 35 * SECOND
    assert bodies(queue) == []
    assert [message.body for message in queue.dead] == ["a"]


def test_a_late_delete_deletes_nothing(world: World) -> None:
    queue = Queue(world, "q")
    queue.send("a", group="g", deduplication_id="1")
    [(message, old)] = queue.receive(10)
    world.now_us += 35 * SECOND
    queue.receive(10)
    assert not queue.delete(message, old)
    assert queue.messages == [message]


def test_a_delayed_message_waits(world: World) -> None:
    queue = Queue(world, "q", delay_us=SECOND)
    queue.send("a", group="g", deduplication_id="1")
    assert bodies(queue) == []
    world.now_us = SECOND
    assert bodies(queue) == ["a"]


def test_a_group_with_a_long_backlog_hides_the_others(world: World) -> None:
    queue = Queue(world, "q")
    for number in range(LOOK_AHEAD):
        queue.send("a", group="g", deduplication_id=str(number))
    queue.send("b", group="h", deduplication_id="1")
    assert len(bodies(queue)) == 10
    assert bodies(queue) == []


def test_a_standard_queue_takes_everything_and_some_of_it_twice(world: World) -> None:
    queue = Queue(world, "q", is_fifo=False, duplicate=0.5)
    for _ in range(100):
        queue.send("a", deduplication_id="1")
    assert 100 < len(queue.messages) < 200
