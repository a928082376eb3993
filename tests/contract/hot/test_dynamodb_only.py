"""What only DynamoDB can get wrong: pages, unprocessed keys, lost answers, large items, its errors."""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from foliostream.adapters import dynamodb_batch
from foliostream.adapters.dynamodb_batch import batch_get, batch_write, translated
from foliostream.adapters.dynamodb_holders import HOLDER_BUCKETS, DynamoDbHolders, holder_key
from foliostream.adapters.dynamodb_hot_store import DynamoDbHotStore
from foliostream.adapters.dynamodb_ledger import DynamoDbLedger
from foliostream.domain import portfolio as portfolios
from foliostream.domain import snapshot as snapshots
from foliostream.errors import ConflictError, FoliostreamError, PermanentError, RetryableError
from foliostream.ports import Promised
from tests.contract.hot.backends import NOW_MS, SHARDS
from tests.contract.hot.samples import candidate, portfolio
from tests.fakes.clock import FakeClock
from tests.support.ministack import Emulator

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def client(ministack: Emulator) -> Iterator["DynamoDBClient"]:
    """One of its own: tests change what it does to a request or an answer."""
    made = ministack.dynamodb()
    yield made
    made.close()


@pytest.fixture
def hot_store(ministack: Emulator, client: "DynamoDBClient", pool: Executor) -> DynamoDbHotStore:
    return DynamoDbHotStore(client, ministack.table(), FakeClock(NOW_MS), pool, shards=SHARDS)


@contextmanager
def handler(client: "DynamoDBClient", event: str, change: Any) -> Iterator[None]:  # noqa: ANN401
    client.meta.events.register(event, change)
    yield
    client.meta.events.unregister(event, change)


def test_holders_come_page_by_page_from_every_bucket(
    ministack: Emulator, client: "DynamoDBClient", pool: Executor
) -> None:
    table = ministack.table()
    everybody = {f"live:{number}" for number in range(300)}
    items = [holder_key(symbol, "live", key) for key in everybody for symbol in ("AAPL", "MSFT")]
    batch_write(client, table, puts=items, pool=pool)
    assert len({item["pk"]["S"] for item in items}) == 2 * HOLDER_BUCKETS

    def small_pages(params: dict[str, Any], **_: object) -> dict[str, Any]:
        return {**params, "Limit": 7}

    with handler(client, "provide-client-params.dynamodb.Query", small_pages):
        parts = list(DynamoDbHolders(client, table, pool).holders(["AAPL", "MSFT"], "live"))
    assert max(map(len, parts)) == 7
    assert sorted(key for part in parts for key in part) == sorted([*everybody, *everybody])


def test_unprocessed_keys_are_asked_for_again(hot_store: DynamoDbHotStore, client: "DynamoDBClient") -> None:
    names = [str(number) for number in range(250)]
    hot_store.save([candidate(name) for name in names])

    def all_but_forty(parsed: dict[str, Any], **_: object) -> None:
        for table, items in parsed["Responses"].items():
            keys = [{"pk": item["pk"], "sk": {"S": "SNAPSHOT"}} for item in items[40:]]
            del items[40:]
            if keys:
                parsed["UnprocessedKeys"] = {table: {"Keys": keys, "ConsistentRead": True}}

    with handler(client, "after-call.dynamodb.BatchGetItem", all_but_forty):
        assert set(hot_store.read(names)) == set(names)


def test_keys_that_stay_unprocessed_are_a_retryable_error(
    hot_store: DynamoDbHotStore, client: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[int] = []
    monkeypatch.setattr(dynamodb_batch, "pause", rounds.append)
    waiting: dict[str, Any] = {}

    def remember(params: dict[str, Any], **_: object) -> None:
        waiting.update(params["RequestItems"])

    def nothing_done(parsed: dict[str, Any], **_: object) -> None:
        parsed["UnprocessedKeys"] = waiting

    with (
        handler(client, "provide-client-params.dynamodb.BatchGetItem", remember),
        handler(client, "after-call.dynamodb.BatchGetItem", nothing_done),
        pytest.raises(RetryableError, match="throttled"),
    ):
        hot_store.read(["1"])
    assert rounds == list(range(1, dynamodb_batch.ROUNDS_MAX))


def test_a_save_whose_answer_was_lost_still_tells_the_watchers(
    hot_store: DynamoDbHotStore, client: "DynamoDBClient"
) -> None:
    hot_store.watch("12345", "c1", NOW_MS + 1)

    def once_more(attempts: int, **_: object) -> int | None:
        return 0 if attempts == 1 else None

    with handler(client, "needs-retry.dynamodb.UpdateItem", once_more):
        [saved] = hot_store.save([candidate()])
    assert (saved.written, saved.watchers) == (True, ["c1"])


def test_a_thousand_positions_fit_an_item(hot_store: DynamoDbHotStore) -> None:
    large = candidate(positions=1_000)
    book = portfolio(positions=1_000)
    hot_store.put_book(book)
    assert hot_store.save([large])[0].written
    found = hot_store.read(["12345"])["12345"]
    assert found.body == snapshots.encode(large.snapshot)
    assert found.book == portfolios.encode(book)


def test_a_batch_takes_the_same_key_more_than_once(ministack: Emulator, client: "DynamoDBClient") -> None:
    table = ministack.table()
    key = {"pk": {"S": "a"}, "sk": {"S": "b"}}
    batch_write(client, table, puts=[{**key, "n": {"N": "1"}}, {**key, "n": {"N": "2"}}])
    assert batch_get(client, table, [key, key]) == [{**key, "n": {"N": "2"}}]
    batch_write(client, table, deletes=[key, key])
    assert batch_get(client, table, [key]) == []
    batch_write(client, table)
    assert batch_get(client, table, []) == []


def test_a_table_that_does_not_answer_is_a_retryable_error(pool: Executor) -> None:
    client = Emulator("http://127.0.0.1:1").dynamodb()
    store = DynamoDbHotStore(client, "hot", FakeClock(NOW_MS), pool, shards=SHARDS)
    for attempt in (
        lambda: store.load(["12345"]),
        lambda: store.save([candidate()]),
        lambda: store.put_book(portfolio()),
        lambda: store.watch("12345", "c1", NOW_MS),
    ):
        with pytest.raises(RetryableError):
            attempt()
    with pytest.raises(RetryableError):
        list(DynamoDbHolders(client, "ledger", pool).holders(["AAPL"], "live"))
    client.close()


def test_a_table_that_does_not_exist_is_a_permanent_error(client: "DynamoDBClient", pool: Executor) -> None:
    store = DynamoDbHotStore(client, "no-such-table", FakeClock(NOW_MS), pool, shards=SHARDS)
    with pytest.raises(PermanentError):
        store.get(["AAPL"])


def _refused(code: str, status: int = 400, reasons: tuple[str, ...] = ()) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "no"},
        "ResponseMetadata": {"HTTPStatusCode": status},
        "CancellationReasons": [{"Code": reason} for reason in reasons],
    }
    return ClientError(response, "Anything")


@pytest.mark.parametrize(
    ("fault", "ours"),
    [
        (_refused("ConditionalCheckFailedException"), ConflictError),
        (_refused("ProvisionedThroughputExceededException"), RetryableError),
        (_refused("ThrottlingException"), RetryableError),
        (_refused("SomethingNew", 503), RetryableError),
        (_refused("ValidationException"), PermanentError),
        (_refused("AccessDeniedException"), PermanentError),
        (_refused("TransactionCanceledException", 400, ("None", "ConditionalCheckFailed")), ConflictError),
        (_refused("TransactionCanceledException", 400, ("TransactionConflict", "None")), RetryableError),
        (
            _refused("TransactionCanceledException", 400, ("ConditionalCheckFailed", "TransactionConflict")),
            ConflictError,
        ),
        (_refused("TransactionCanceledException", 400, ("ValidationError",)), PermanentError),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), RetryableError),
        (NoCredentialsError(), PermanentError),
    ],
)
def test_every_error_of_aws_becomes_one_of_ours(fault: ClientError, ours: type[FoliostreamError]) -> None:
    error = translated(fault, "PutItem")
    assert type(error) is ours
    assert "PutItem" in error.message


def test_a_dependent_is_removed_only_from_the_version_of_the_ledger_that_was_looked_at(
    ministack: Emulator, client: "DynamoDBClient", pool: Executor
) -> None:
    table = ministack.ledger_table()
    holders = DynamoDbHolders(client, table, pool)
    ledger = DynamoDbLedger(client, table)
    owner = portfolio(positions=1)
    ledger.create(owner, [], "digest")
    assert not holders.remove("live:12345", ["S0"], 7)
    assert not holders.remove("live:12345", ["S0"], None)
    assert holders.missing({"live:12345": ["S0"]}) == {}
    assert holders.remove("live:12345", ["S0"], owner.version)
    assert holders.missing({"live:12345": ["S0"]}) == {"live:12345": ["S0"]}


def test_a_record_that_cannot_be_read_is_listed_without_its_message(
    client: "DynamoDBClient", pool: Executor, ministack: Emulator
) -> None:
    table = ministack.table()
    store = DynamoDbHotStore(client, table, FakeClock(NOW_MS), pool, shards=SHARDS)
    item = {"pk": {"S": "DIRTY#live#3"}, "sk": {"S": "broken"}, "record": {"B": b"{"}}
    client.put_item(TableName=table, Item=item)
    assert list(store.promised("live")) == [[Promised(3, "broken", 0, None)]]
