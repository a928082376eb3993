"""The progress of a rebuild: kept by run, moved on by whoever read it last."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from foliostream.adapters.dynamodb_rebuild import DynamoDbRebuildRecords
from foliostream.adapters.sqs_rebuild import SqsRebuildQueue
from foliostream.errors import ConflictError
from foliostream.ports import Rebuild, RebuildQueue, RebuildRecords, Segment
from tests.fakes.rebuild import FakeRebuildQueue, FakeRebuildRecords
from tests.support.ministack import Emulator
from tests.support.servers import wait_until


@pytest.fixture(params=["fake", "dynamodb"])
def records(request: pytest.FixtureRequest) -> RebuildRecords:
    if request.param == "fake":
        return FakeRebuildRecords()
    emulator: Emulator = request.getfixturevalue("ministack")
    return DynamoDbRebuildRecords(emulator.dynamodb(), emulator.table())


def run(run_id: str = "first", segments: int = 3) -> Rebuild:
    return Rebuild(run_id, 1_772_101_800_000, [Segment(bucket) for bucket in range(segments)])


def test_before_the_first_run_there_is_none(records: RebuildRecords) -> None:
    assert records.current() is None
    assert records.segment("first", 0) is None


def test_a_run_is_read_as_it_was_begun(records: RebuildRecords) -> None:
    records.begin(run())
    assert records.current() == run()
    assert records.segment("first", 2) == Segment(2)


def test_a_segment_moves_on_and_ends(records: RebuildRecords) -> None:
    records.begin(run())
    middle = Segment(1, "growth-7", portfolios=500, broken=2)
    end = Segment(1, None, portfolios=612, broken=2, is_finished=True)
    records.advance("first", Segment(1), middle)
    assert records.segment("first", 1) == middle
    records.advance("first", middle, end)
    current = records.current()
    assert current is not None
    assert current.segments == [Segment(0), end, Segment(2)]


@pytest.mark.parametrize(
    ("stored", "before"),
    [
        (Segment(0, "b"), Segment(0)),
        (Segment(0, "b"), Segment(0, "a")),
        (Segment(0, None, is_finished=True), Segment(0)),
        (Segment(0, None, is_finished=True), Segment(0, "b")),
        (Segment(0), Segment(0, "a")),
    ],
)
def test_whoever_read_an_older_segment_cannot_move_it(
    records: RebuildRecords, stored: Segment, before: Segment
) -> None:
    records.begin(Rebuild("first", 1, [stored]))
    with pytest.raises(ConflictError) as refused:
        records.advance("first", before, replace(before, cursor="z", portfolios=9))
    assert refused.value.code == "SEGMENT_MOVED"
    assert records.segment("first", 0) == stored


def test_a_new_run_takes_the_place_of_the_old_one(records: RebuildRecords) -> None:
    records.begin(run("first", segments=4))
    records.advance("first", Segment(0), Segment(0, "a", portfolios=1))
    records.begin(run("second"))
    assert records.current() == run("second")
    assert records.segment("first", 0) is None
    with pytest.raises(ConflictError):
        records.advance("first", Segment(1), Segment(1, "a"))
    assert records.segment("second", 1) == Segment(1)


# --- messages ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Messages:
    queue: RebuildQueue
    receive: Callable[[int], list[tuple[str, int]]]


@pytest.fixture(params=["fake", "sqs"])
def messages(request: pytest.FixtureRequest) -> Messages:
    if request.param == "fake":
        fake = FakeRebuildQueue()
        return Messages(fake, lambda _: sorted(fake.waiting))
    emulator: Emulator = request.getfixturevalue("ministack")
    client: Any = emulator.client("sqs")
    url = client.create_queue(QueueName=f"rebuild-{uuid.uuid4().hex}")["QueueUrl"]

    def receive(count: int) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []

        def arrived() -> bool:
            answer = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
            bodies = [json.loads(message["Body"]) for message in answer.get("Messages", [])]
            found.extend((body["run_id"], body["bucket"]) for body in bodies)
            return len(found) >= count

        wait_until(arrived, f"{count} messages", 10)
        return sorted(found)

    return Messages(SqsRebuildQueue(client, url), receive)


def test_a_message_a_bucket_arrives_also_a_delayed_one(messages: Messages) -> None:
    messages.queue.send("first", [0, 15])
    messages.queue.send("first", [7], delay_seconds=1)
    assert messages.receive(3) == [("first", 0), ("first", 7), ("first", 15)]
