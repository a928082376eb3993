"""Dead letters as an operator meets them: `make dlq-list`, `dlq-show`, `dlq-replay` with a deployed cloud."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from foliostream_client.transport import Rest
from local.dead_letters import DeadLetters
from local.services import CloudError
from tests.e2e.conftest import Cloud, Holder, eventually, post_price
from tests.e2e.test_fills import fill, held, publish, state


class Operator:
    """What the commands print."""

    def __init__(self, stack: Cloud) -> None:
        self.lines: list[str] = []
        self._commands = DeadLetters(stack.outputs, self.lines.append)

    def list(self) -> str:
        return self._said(self._commands.list)

    def show(self, queue: str, *ids: str) -> str:
        return self._said(lambda: self._commands.show(queue, ids))

    def replay(self, queue: str, *ids: str) -> bool:
        self.lines.clear()
        return self._commands.replay(queue, ids)

    def id_of(self, queue: str, word: str) -> str:
        """Of the letter whose body has the word; empty if there is none."""
        self.show(queue)
        letters = zip(self.lines[::3], self.lines[2::3], strict=False)
        return next((head.partition(" ")[0] for head, body in letters if word in body), "")

    def _said(self, command: Callable[[], None]) -> str:
        self.lines.clear()
        command()
        return "\n".join(self.lines)


@pytest.fixture
def operator(stack: Cloud) -> Operator:
    return Operator(stack)


def put_again(stack: Cloud, queue: str, body: str) -> None:
    """The letter as it is there where somebody died between sending it back and deleting it."""
    client = stack.aws("sqs")
    (url,) = [name for name in client.list_queues()["QueueUrls"] if name.endswith(f"-{queue}")]
    client.send_message(QueueUrl=url, MessageBody=body)


def test_a_fill_that_was_given_up_is_listed_with_its_reason_and_repaired_and_replayed_counts_once(
    stack: Cloud, admin: Rest, operator: Operator
) -> None:
    symbol, strategy = f"T{uuid4().hex[:10].upper()}", uuid4().hex[:8]
    poison = fill(symbol, f"p-{strategy}", strategy)
    publish(stack, poison)
    identifier = eventually(lambda: operator.id_of("order_filled", strategy), bool, "the dead letter")
    assert "order_filled " in operator.list()
    assert "UNKNOWN_SYMBOL" in operator.show("order_filled", identifier)

    admin.put(f"/api/v1/instruments/{symbol}", {"kind": "stock", "currency": "USD"})
    post_price(admin, symbol, 110)

    def replayed() -> bool:
        return operator.replay("order_filled", identifier)

    assert replayed()
    found = eventually(lambda: state(stack, strategy), lambda seen: held(seen) == 10, "the fill")
    assert operator.id_of("order_filled", strategy) == ""
    assert not replayed()
    assert operator.lines[-1].endswith("not found")

    detail = {"detail-type": "order_filled", "source": "example.broker", "detail": poison}
    put_again(stack, "order-filled-dead", json.dumps(detail))
    again = eventually(lambda: operator.id_of("order_filled", strategy), bool, "the same letter again")
    assert operator.replay("order_filled", again)
    # Another fill, behind it in the same queues, shows that it is through.
    publish(stack, fill(symbol, f"q-{strategy}", strategy, quantity=1))
    after = eventually(lambda: state(stack, strategy), lambda seen: held(seen) > 10, "the next fill")
    assert held(after) == 11
    assert after["ledger_version"] == found["ledger_version"] + 1


def test_a_portfolio_that_was_given_up_is_valued_with_all_of_its_queue(
    stack: Cloud,
    holder: Callable[[str], Holder],
    operator: Operator,
    at_rest: Callable[[Holder], None],
) -> None:
    someone = holder("live")
    at_rest(someone)
    version = someone.state()["version"]
    key = f"live:{someone.state()['portfolio_id']}"
    body = {"window": 1, "window_end_ms": 2, "keys": [key], "reason": "price", "symbols": [], "attempt": 5, "v": 1}
    client = stack.aws("sqs")
    (url,) = [name for name in client.list_queues()["QueueUrls"] if name.endswith("-dirty-live-dead.fifo")]
    client.send_message(
        QueueUrl=url,
        MessageBody=json.dumps(body),
        MessageGroupId=key,
        MessageDeduplicationId=uuid4().hex,
        MessageAttributes={"reason": {"DataType": "String", "StringValue": "no price"}},
    )
    assert "no price" in operator.show("live", eventually(lambda: operator.id_of("live", key), bool, "the letter"))
    assert operator.replay("live")
    eventually(someone.state, lambda seen: seen["version"] > version, "a valuation")
    assert operator.id_of("live", key) == ""


def test_an_invocation_that_failed_is_made_again_with_its_event(stack: Cloud, operator: Operator) -> None:
    """The day that was asked for is no day: it fails, as often as Lambda tries, and once more when it is replayed."""
    name = stack.outputs.resources["CloseDayFunctionName"]
    arn = stack.aws("lambda").get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    payload = {"day": "2026-02-26", "portfolio_ids": [f"nobody-{uuid4().hex[:8]}"]}
    record = {
        "version": "1.0",
        "requestContext": {
            "functionArn": f"{arn}:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "requestPayload": payload,
        "responsePayload": {"errorType": "RetryableError", "errorMessage": "the store is down"},
    }
    put_again(stack, "close-day-dead", json.dumps(record))
    word = payload["portfolio_ids"][0]
    identifier = eventually(lambda: operator.id_of("close_day", word), bool, "the letter")
    assert "RetryableError: the store is down" in operator.show("close_day", identifier)
    assert operator.replay("close_day", identifier)
    assert operator.id_of("close_day", word) == ""


def test_what_is_not_asked_for_rightly_is_refused_with_a_sentence(operator: Operator) -> None:
    with pytest.raises(CloudError, match="no dead letters of 'nothing'"):
        operator.show("nothing")


def test_nothing_is_lost_by_looking(stack: Cloud, operator: Operator) -> None:
    word = uuid4().hex
    put_again(stack, "feed-dead", json.dumps({"slot": 1, "word": word}))
    first = eventually(lambda: operator.id_of("feed", word), bool, "the letter")
    assert {operator.id_of("feed", word) for _ in range(2)} == {first}
    (line,) = [line for line in operator.list().splitlines() if line.startswith("feed ")]
    assert int(line.split()[1].strip(",")) >= 1


def test_all_are_replayed_however_many_calls_it_takes(stack: Cloud, operator: Operator) -> None:
    """Parts of a rebuild that never was: its consumer leaves them."""
    client = stack.aws("sqs")
    (url,) = [name for name in client.list_queues()["QueueUrls"] if name.endswith("-rebuild-dead")]
    body = json.dumps({"run_id": "nobody", "bucket": 0})
    for _ in range(11):
        client.send_message_batch(QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": body} for n in range(10)])
    assert operator.replay("rebuild")
    assert operator.lines == ["rebuild: 100 replayed", "rebuild: 10 replayed"]
    assert operator.show("rebuild") == "no dead letters of rebuild"


def test_a_part_of_the_ledgers_stream_that_was_given_up_is_projected_again(
    stack: Cloud, holder: Callable[[str], Holder], operator: Operator, at_rest: Callable[[Holder], None]
) -> None:
    """As Lambda writes the letter: where in the stream, and nothing of what."""
    someone = holder("demo")
    at_rest(someone)
    identifier = someone.state()["portfolio_id"]
    streams = stack.aws("dynamodbstreams")
    table = stack.outputs.resources["LedgerTableName"]
    arn = stack.aws("dynamodb").describe_table(TableName=table)["Table"]["LatestStreamArn"]
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    numbers = [
        record["dynamodb"]["SequenceNumber"]
        for record in read_all(streams, arn, shard["ShardId"])
        if record["dynamodb"]["Keys"]["pk"]["S"] == f"PORTFOLIO#{identifier}"
    ]
    letter = {
        "requestContext": {"condition": "RetryAttemptsExhausted", "approximateInvokeCount": 1001},
        "DDBStreamBatchInfo": {
            "streamArn": arn,
            "shardId": shard["ShardId"],
            "startSequenceNumber": numbers[0],
            "endSequenceNumber": numbers[-1],
            "batchSize": len(numbers),
        },
    }
    put_again(stack, "project-ledger-dead", json.dumps(letter))
    name = eventually(lambda: operator.id_of("ledger", numbers[0]), bool, "the letter")
    version = someone.state()["version"]

    assert operator.replay("ledger", name), operator.lines
    eventually(someone.state, lambda seen: seen["version"] > version, "a valuation")
    assert operator.id_of("ledger", numbers[0]) == ""


def read_all(streams: Any, arn: str, shard: str) -> list[dict[str, Any]]:  # noqa: ANN401 (boto3 has no types of it)
    """What the stream has of a shard."""
    iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    found: list[dict[str, Any]] = []
    at: str = iterator["ShardIterator"]
    while page := streams.get_records(ShardIterator=at):
        found += page["Records"]
        at = page.get("NextShardIterator", "")
        if not at or not page["Records"]:
            break
    return found
