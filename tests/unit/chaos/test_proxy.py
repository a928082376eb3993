"""The faults of `make chaos` are those of AWS, as botocore and our adapters meet them."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from foliostream.adapters.dynamodb_batch import batch_get, batch_write, our_errors, refuse_half_answers
from foliostream.adapters.dynamodb_transactions import transact_write
from foliostream.adapters.eventbridge_bus import EventBridgeBus
from foliostream.adapters.sqs_queues import send_entries
from foliostream.errors import RetryableError
from foliostream.settings import Settings
from foliostream.wiring import Wiring
from local.services import HOST
from tests.chaos import acts, faults
from tests.chaos.alarms import Verdict, _judged
from tests.chaos.proxy import Act, Proxy, Rule
from tests.support.environment import ENVIRONMENT

KEYS = [{"pk": {"S": str(number)}, "sk": {"S": "x"}} for number in range(40)]


class Aws:
    """Does everything, and remembers what it was asked."""

    def __init__(self, port: int) -> None:
        self.bodies: list[tuple[str, dict[str, Any]]] = []
        seen = self.bodies

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                name = self.headers["X-Amz-Target"].rpartition(".")[2]
                seen.append((name, asked))
                body = json.dumps(ANSWERS[name](asked)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("x-amz-crc32", str(zlib.crc32(body)))  # by which botocore knows half an answer
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
                """Quiet."""

        self._server = ThreadingHTTPServer((HOST, port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def asked(self, name: str) -> list[dict[str, Any]]:
        return [body for found, body in self.bodies if found == name]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


ANSWERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "BatchGetItem": lambda asked: {"Responses": {name: one["Keys"] for name, one in asked["RequestItems"].items()}},
    "BatchWriteItem": lambda _: {"UnprocessedItems": {}},
    "TransactWriteItems": lambda _: {},
    "GetItem": lambda asked: {"Item": asked["Key"]},
    "SendMessageBatch": lambda asked: {
        "Successful": [{"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": "x"} for entry in asked["Entries"]]
    },
    "PutEvents": lambda asked: {"FailedEntryCount": 0, "Entries": [{"EventId": "e"} for _ in asked["Entries"]]},
}


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy(1) as found:
        yield found


@pytest.fixture
def aws(proxy: Proxy) -> Iterator[Aws]:
    found = Aws(proxy.emulator_port)
    yield found
    found.close()


def client(proxy: Proxy, service: str, attempts: int = 1) -> Any:  # noqa: ANN401 - boto3's have no common type
    return boto3.client(
        service,
        endpoint_url=proxy.endpoint,
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"mode": "standard", "total_max_attempts": attempts}),
    )


def test_keys_left_unprocessed_are_not_asked_of_aws_and_come_with_the_next_round(proxy: Proxy, aws: Aws) -> None:
    proxy.rules = (Rule("dynamodb:Batch", 1.0, acts.unprocessed),)
    dynamodb = client(proxy, "dynamodb")
    first = dynamodb.batch_get_item(RequestItems={"t": {"Keys": KEYS}})
    left = first["UnprocessedKeys"]["t"]["Keys"]
    assert 0 < len(left) < len(KEYS)
    assert first["Responses"]["t"] == aws.asked("BatchGetItem")[0]["RequestItems"]["t"]["Keys"]
    assert sorted(map(str, first["Responses"]["t"] + left)) == sorted(map(str, KEYS))
    proxy.rules = (Rule("dynamodb:Batch", 0.5, acts.unprocessed),)
    assert len(batch_get(dynamodb, "t", KEYS)) == len(KEYS)
    batch_write(dynamodb, "t", puts=KEYS)
    written = [request for body in aws.asked("BatchWriteItem") for request in body["RequestItems"]["t"]]
    assert len(written) == len(KEYS)


def test_a_conflict_is_a_cancelled_transaction_that_aws_never_saw(proxy: Proxy, aws: Aws) -> None:
    proxy.rules = (Rule("dynamodb:TransactWriteItems", 1.0, acts.conflicted),)
    dynamodb = client(proxy, "dynamodb")
    items = [{"Put": {"TableName": "t", "Item": key}} for key in KEYS[:3]]
    with pytest.raises(ClientError) as caught:
        dynamodb.transact_write_items(TransactItems=items)
    reasons = [reason["Code"] for reason in caught.value.response["CancellationReasons"]]
    assert sorted(reasons) == ["None", "None", "TransactionConflict"]
    assert aws.bodies == []
    proxy.rules = (Rule("dynamodb:TransactWriteItems", 0.5, acts.conflicted),)
    assert transact_write(dynamodb, items, "a test") == []


def test_entries_that_fail_are_not_sent_and_those_that_are_sent_are_sent_once(proxy: Proxy, aws: Aws) -> None:
    proxy.rules = (Rule("sqs:", 0.3, acts.partly_sent), Rule("events:", 0.7, acts.partly_put))
    sqs = client(proxy, "sqs")
    for start in range(0, 100, 10):
        entries: list[Any] = [{"Id": str(number), "MessageBody": str(number)} for number in range(start, start + 10)]
        assert send_entries(sqs, "http://sqs.test/1/x", entries) == []
    assert proxy.injected()["partly_sent"] > 1
    sent = sorted(entry["MessageBody"] for body in aws.asked("SendMessageBatch") for entry in body["Entries"])
    assert sent == sorted(map(str, range(100)))
    EventBridgeBus(client(proxy, "events"), "bus").publish("kind", [{"number": number} for number in range(10)])
    put = sorted(entry["Detail"] for body in aws.asked("PutEvents") for entry in body["Entries"])
    assert put == sorted(json.dumps({"number": number}, separators=(",", ":")) for number in range(10))


@pytest.mark.parametrize("act", [acts.throttled, acts.failed, acts.dropped, acts.unanswered])
def test_a_call_that_fails_is_made_again_by_botocore(proxy: Proxy, aws: Aws, act: Act) -> None:
    proxy.rules = (Rule("dynamodb:GetItem", 1.0, act),)
    with pytest.raises((ClientError, BotoCoreError)):
        client(proxy, "dynamodb").get_item(TableName="t", Key=KEYS[0])
    assert len(aws.bodies) == (act is acts.unanswered)
    proxy.rules = (Rule("dynamodb:GetItem", 0.5, act),)
    client(proxy, "dynamodb", attempts=10).get_item(TableName="t", Key=KEYS[0])
    assert proxy.injected()[act.__name__] >= 1


def test_half_an_answer_is_not_an_item_that_is_not_there(proxy: Proxy, aws: Aws) -> None:
    proxy.rules = (Rule("dynamodb:GetItem", 1.0, acts.truncated),)
    dynamodb = client(proxy, "dynamodb", attempts=2)
    assert "Item" not in dynamodb.get_item(TableName="t", Key=KEYS[0]), "which is what botocore makes of it"
    with pytest.raises(RetryableError), our_errors("a test"):
        refuse_half_answers(dynamodb).get_item(TableName="t", Key=KEYS[0])
    assert len(aws.bodies) == 4
    proxy.rules = (Rule("dynamodb:GetItem", 0.5, acts.truncated),)
    assert client(proxy, "dynamodb", attempts=10).get_item(TableName="t", Key=KEYS[0])["Item"] == KEYS[0]


def test_the_deployed_ledger_does_not_take_half_an_answer_for_a_portfolio_that_is_not_there(
    proxy: Proxy, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**credentials, "AWS_ENDPOINT_URL": proxy.endpoint}.items():
        monkeypatch.setenv(name, value)
    ledger = Wiring(Settings.read(ENVIRONMENT)).ledger
    proxy.rules = (Rule("dynamodb:BatchGetItem", 1.0, acts.truncated),)
    with pytest.raises(RetryableError):
        ledger.load(["somebody"])
    assert aws.bodies


def test_what_is_repeated_arrives_twice(proxy: Proxy, aws: Aws) -> None:
    proxy.rules = (Rule("sqs:SendMessageBatch", 1.0, acts.repeated),)
    entry: Any = {"Id": "1", "MessageBody": "b"}
    send_entries(client(proxy, "sqs"), "http://sqs.test/1/x", [entry])
    assert len(aws.asked("SendMessageBatch")) == 2


@pytest.mark.parametrize("store", ["valkey", "dynamodb"])
def test_a_round_of_storms_has_every_fault_of_the_store_and_the_same_seed_the_same_storms(store: str) -> None:
    storms = faults.storms(store, 1_000, 10, Random(5))
    own = {fault for fault in faults.FAULTS if store in fault.stores}
    assert set(sum(storms[: len(own) // 2 + 2], ())) == own
    assert storms == faults.storms(store, 1_000, 10, Random(5))
    assert storms != faults.storms(store, 1_000, 10, Random(6))


def test_an_alarm_is_judged_by_its_own_statistic_threshold_and_periods() -> None:
    alarm = {
        "ExtendedStatistic": "p99",
        "Threshold": 10,
        "ComparisonOperator": "GreaterThanThreshold",
        "EvaluationPeriods": 2,
    }
    quiet = [float(number) for number in [10] * 99 + [50]]
    assert _judged(alarm, [quiet]) == Verdict(0, 2, 10)
    assert not _judged(alarm, [[11.0], quiet]).is_raised
    assert _judged(alarm, [[11.0], quiet, [12.0]]).is_raised
