"""What the ledger's stream tells of its commits, read from a real one: the changes that are projected."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from foliostream import lambda_events
from foliostream.adapters.dynamodb_ledger import DynamoDbLedger
from foliostream.application.receiving import Change
from foliostream.domain import changes
from foliostream.domain import portfolio as rules
from foliostream.domain.changes import Standing
from foliostream.errors import ConflictError
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


@pytest.fixture
def stream(ministack: Emulator) -> Stream:
    return Stream(ministack)


@pytest.fixture
def ledger(stream: Stream, ministack: Emulator) -> DynamoDbLedger:
    return DynamoDbLedger(ministack.dynamodb(), stream.table)


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
