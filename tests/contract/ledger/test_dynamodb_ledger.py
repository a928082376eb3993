"""What only a ledger behind a network has: lost answers, conflicts of transactions, throttling, the shape of items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from foliostream.adapters import dynamodb_batch
from foliostream.adapters.dynamodb_ledger import DynamoDbLedger
from foliostream.errors import ConflictError, PermanentError, RetryableError
from tests.contract.ledger.books import commit, deposit, empty
from tests.support.ministack import Emulator

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class Unreliable:
    """The real client, whose next transactions go wrong as told: "lost" (done, but the answer never comes), "timeout"
    (not done, no answer), or a cancellation reason of the first item. Its queries answer in pages of at most 3."""

    def __init__(self, client: DynamoDBClient) -> None:
        self._client = client
        self.troubles: list[str] = []
        self.tokens: list[str] = []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the client has
        return getattr(self._client, name)

    def query(self, **request: Any) -> Any:  # noqa: ANN401
        return self._client.query(**request | {"Limit": min(request.get("Limit", 3), 3)})

    def transact_write_items(self, **request: Any) -> Any:  # noqa: ANN401
        self.tokens.append(request["ClientRequestToken"])
        trouble = self.troubles.pop(0) if self.troubles else ""
        if trouble in {"", "lost"}:
            answer = self._client.transact_write_items(**request)
        if trouble in {"lost", "timeout"}:
            raise ReadTimeoutError(endpoint_url="http://127.0.0.1")
        if trouble.endswith("Exception"):
            raise ClientError({"Error": {"Code": trouble}}, "TransactWriteItems")
        if trouble:
            reasons = [{"Code": trouble}, *({"Code": "None"} for _ in request["TransactItems"][1:])]
            error: Any = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}
            raise ClientError(error, "TransactWriteItems")
        return answer


@pytest.fixture
def client(ministack: Emulator) -> Unreliable:
    return Unreliable(ministack.dynamodb())


@pytest.fixture
def table(ministack: Emulator) -> str:
    return ministack.ledger_table()


@pytest.fixture
def ledger(client: Unreliable, table: str, monkeypatch: pytest.MonkeyPatch) -> DynamoDbLedger:
    monkeypatch.setattr(dynamodb_batch, "PAUSE_MS_MAX", 1)
    ledger = DynamoDbLedger(client, table)  # type: ignore[arg-type]
    ledger.create(empty("p1"), [], "digest")
    client.tokens.clear()
    return ledger


@pytest.mark.parametrize("trouble", ["lost", "timeout", "TransactionConflict", "ThrottlingError",
                                     "ProvisionedThroughputExceeded", "TransactionInProgressException",
                                     "ThrottlingException"])  # fmt: skip
def test_a_commit_in_trouble_is_sent_again_under_the_same_token_and_counts_once(
    ledger: DynamoDbLedger, client: Unreliable, trouble: str
) -> None:
    client.troubles = [trouble, trouble]
    after = commit(ledger, empty("p1"), deposit("t1"))
    assert ledger.load(["p1"]) == {"p1": after}
    assert len(client.tokens) == 3
    assert len(set(client.tokens)) == 1


def test_every_commit_has_a_token_of_its_own(ledger: DynamoDbLedger, client: Unreliable) -> None:
    commit(ledger, commit(ledger, empty("p1"), deposit("t1")), deposit("t2"))
    assert len(set(client.tokens)) == 2


def test_a_created_portfolio_whose_answer_was_lost_exists_once_and_is_no_conflict(
    ledger: DynamoDbLedger, client: Unreliable
) -> None:
    client.troubles = ["lost"]
    ledger.create(empty("p2"), [], "digest")
    assert ledger.load(["p2"]) == {"p2": empty("p2")}


def test_an_owners_index_is_read_over_as_many_pages_as_dynamodb_makes_of_it(ledger: DynamoDbLedger) -> None:
    for number in range(2, 9):
        ledger.create(empty(f"p{number}"), [], "digest")
    first = ledger.owned("alice", None, 5)
    assert first.portfolio_ids == ["p1", "p2", "p3", "p4", "p5"]
    assert ledger.owned("alice", first.cursor, 5) == (["p6", "p7", "p8"], None)


def test_endless_conflicts_end_in_an_error_that_may_be_retried(ledger: DynamoDbLedger, client: Unreliable) -> None:
    client.troubles = ["TransactionConflict"] * 100
    with pytest.raises(RetryableError):
        commit(ledger, empty("p1"), deposit("t1"))
    assert len(client.tokens) < 20


def test_a_writer_that_was_overtaken_while_it_was_in_trouble_hears_of_it(
    ledger: DynamoDbLedger, client: Unreliable, ministack: Emulator, table: str
) -> None:
    other = DynamoDbLedger(ministack.dynamodb(), table)
    commit(other, empty("p1"), deposit("theirs"))
    client.troubles = ["TransactionConflict"]
    with pytest.raises(ConflictError) as refused:
        commit(ledger, empty("p1"), deposit("mine"))
    assert refused.value.code == "VERSION_CONFLICT"


def test_a_transaction_dynamodb_calls_invalid_is_not_sent_again(ledger: DynamoDbLedger, client: Unreliable) -> None:
    client.troubles = ["ValidationError"]
    with pytest.raises(PermanentError):
        commit(ledger, empty("p1"), deposit("t1"))
    assert len(client.tokens) == 1


def test_a_missing_table_is_an_error_for_an_operator(ministack: Emulator) -> None:
    with pytest.raises(PermanentError):
        DynamoDbLedger(ministack.dynamodb(), "no-such-table").load(["p1"])


def test_a_portfolio_item_has_the_attributes_the_stream_is_read_by(
    ledger: DynamoDbLedger, client: Unreliable, table: str
) -> None:
    commit(ledger, empty("p1"), deposit("t1"))
    item = client.get_item(TableName=table, Key={"pk": {"S": "PORTFOLIO#p1"}, "sk": {"S": "PORTFOLIO"}})["Item"]
    assert set(item) == {
        *("pk", "sk", "version", "owner", "account_type", "book", "request_digest"),
        *("listing", "sequence"),  # for the walk
    }
    assert item["version"] == {"N": "2"}
