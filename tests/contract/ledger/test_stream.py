"""What the ledger's stream tells of its commits, read from a real one: the changes that are projected."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from foliostream import lambda_events
from foliostream.adapters.dynamodb_ledger import DynamoDbLedger
from foliostream.adapters.dynamodb_stream import PAGE_SIZE, DynamoDbStream
from foliostream.application import streaming
from foliostream.application.receiving import Change
from foliostream.domain import changes
from foliostream.domain import portfolio as rules
from foliostream.domain.changes import Standing
from foliostream.domain.letters import Part
from foliostream.errors import ConflictError, PermanentError
from tests.contract.ledger.books import booked, buy, commit, deposit, empty, sell
from tests.support.ministack import Emulator


class Stream:
    """The stream of a new table."""

    def __init__(self, emulator: Emulator) -> None:
        self.table = emulator.ledger_table()
        self._streams: Any = emulator.client("dynamodbstreams")
        client = emulator.dynamodb()
        specification: Any = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
        client.update_table(TableName=self.table, StreamSpecification=specification)
        self._arn = client.describe_table(TableName=self.table)["Table"]["LatestStreamArn"]

    def records(self) -> list[dict[str, Any]]:
        """All there are."""
        shards = self._streams.describe_stream(StreamArn=self._arn)["StreamDescription"]["Shards"]
        found: list[dict[str, Any]] = []
        for shard in shards:
            iterator = self._streams.get_shard_iterator(
                StreamArn=self._arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            found += self._streams.get_records(ShardIterator=iterator)["Records"]
        return found

    def changes(self) -> list[Change]:
        return lambda_events.changes({"Records": self.records()})

    def part(self, first: str, last: str) -> Part:
        (shard,) = self._streams.describe_stream(StreamArn=self._arn)["StreamDescription"]["Shards"]
        return Part(self._arn, shard["ShardId"], first, last)


@pytest.fixture
def stream(ministack: Emulator) -> Stream:
    return Stream(ministack)


@pytest.fixture
def ledger(stream: Stream, ministack: Emulator) -> DynamoDbLedger:
    return DynamoDbLedger(ministack.dynamodb(), stream.table)


def test_a_part_of_the_stream_is_read_again_from_its_first_to_its_last_record(
    stream: Stream, ledger: DynamoDbLedger, ministack: Emulator
) -> None:
    ledger.create(empty("one"), [], "digest")
    book = empty("one")
    for number in range(120):
        book = commit(ledger, book, deposit(f"t{number}"))
    everything = stream.records()
    numbers = [record["dynamodb"]["SequenceNumber"] for record in everything]
    source = DynamoDbStream(ministack.client("dynamodbstreams"))

    pages = list(source.records(stream.part(numbers[3], numbers[-5])))

    assert [record for page in pages for record in page] == everything[3:-4]
    assert max(map(len, pages)) <= PAGE_SIZE
    assert len(pages) > 1
    (one,) = source.records(stream.part(numbers[7], numbers[7]))
    assert one == [everything[7]]
    assert [change.sequence_number for change in streaming.changes(everything[3:-4])]


def test_what_the_stream_has_no_more_is_said_so(stream: Stream, ledger: DynamoDbLedger, ministack: Emulator) -> None:
    ledger.create(empty("one"), [], "digest")
    source = DynamoDbStream(ministack.client("dynamodbstreams"))
    place = stream.part("1".zfill(30), "2".zfill(30))
    for gone in (place, place._replace(shard="shardId-00000000000000000000-00000000")):
        with pytest.raises(PermanentError) as refused:
            list(source.records(gone))
        assert refused.value.code == "STREAM_TRIMMED", refused.value


def test_every_commit_is_one_change_with_the_whole_book_in_order(stream: Stream, ledger: DynamoDbLedger) -> None:
    first, transactions = booked(empty("one", account_type="demo"), deposit("start"))
    ledger.create(first, transactions, "digest")
    second = commit(ledger, first, buy("b", "AAPL"), buy("c", "MSFT"))
    third = commit(ledger, second, sell("s", "AAPL"))
    told = stream.changes()
    assert {change.key for change in told} == {"demo:one"}
    assert [rules.decode(change.book or b"") for change in told] == [first, second, third]
    numbers = [int(change.sequence_number) for change in told]
    assert numbers == sorted(set(numbers))
    # Transactions, holders and the owner's index are in the stream too, and are left out.
    assert len(stream.records()) > len(told)


def test_a_change_of_status_is_told_with_its_record(stream: Stream, ledger: DynamoDbLedger) -> None:
    ledger.create(empty("one"), [], "digest")
    amended = changes.amend(empty("one"), Standing("SUSPENDED", allow_short=False), "alice", 1)
    assert amended is not None
    ledger.amend(*amended)
    with pytest.raises(ConflictError):
        ledger.amend(*amended)
    (told,) = lambda_events.amended({"Records": stream.records()})
    assert (told.key, changes.decode(told.record or b"")) == (":one", amended[1])
    assert [change.key for change in stream.changes()] == ["live:one", "live:one"]


def test_a_refused_commit_tells_nothing(stream: Stream, ledger: DynamoDbLedger) -> None:
    first, transactions = booked(empty("one"), deposit("start"))
    ledger.create(first, transactions, "digest")
    commit(ledger, first, deposit("a"))
    with pytest.raises(Exception, match="not at version"):
        commit(ledger, first, deposit("b", "2"))
    books = [rules.decode(change.book or b"") for change in stream.changes()]
    assert [book.cash["USD"] for book in books][-1] == Decimal("1000002.000001")
    assert len(books) == 2
