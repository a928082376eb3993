"""What is counted of AWS's requests, by examples worked out by hand from AWS's rules."""

from typing import Any

import pytest

from benchmarks import cost, price_list, usage
from benchmarks.usage import Call, Sizes

FIFO = {"QueueUrl": "https://sqs.test/live.fifo"}


class Table:
    """A DynamoDB client that knows one item."""

    def __init__(self, item: dict[str, Any]) -> None:
        self._item = item

    def get_item(self, **_: object) -> dict[str, Any]:
        return {"Item": self._item} if self._item else {}


def _key(name: str) -> dict[str, Any]:
    return {"pk": {"S": name}, "sk": {"S": "X"}}


def _units(operation: str, params: dict[str, Any], answer: dict[str, Any], stored: dict[str, Any]) -> dict[str, float]:
    return usage.dynamodb_usage([Call("dynamodb", operation, params, answer)], Sizes(Table(stored)))


def test_a_batch_of_messages_is_a_request_for_every_64_kib() -> None:
    entries = [{"MessageBody": "x" * 20_000}] * 10
    calls = [
        Call("sqs", "SendMessageBatch", {**FIFO, "Entries": entries}, {}),
        Call("sqs", "ReceiveMessage", FIFO, {"Messages": [{"Body": "x"}]}),
        Call("sqs", "DeleteMessageBatch", {**FIFO, "Entries": []}, {}),
    ]
    assert usage.sqs_usage(calls) == {"sqs_fifo": 4 + 1 + 1, "sqs_standard": 0}


def test_a_receive_that_finds_nothing_is_polling_and_not_counted() -> None:
    assert usage.sqs_usage([Call("sqs", "ReceiveMessage", FIFO, {})])["sqs_fifo"] == 0


def test_an_item_measures_its_names_and_values() -> None:
    item = {"pk": {"S": "abc"}, "n": {"N": "-123456.78"}, "body": {"B": b"12345"}, "deep": {"M": {"x": {"BOOL": True}}}}
    assert usage.item_bytes(item) == (2 + 3) + (1 + 6) + (4 + 5) + (4 + 3 + 1 + 1)


def test_a_write_is_a_unit_a_kib_and_at_least_one() -> None:
    small, large = _key("A"), {**_key("A"), "body": {"B": b"x" * 2_500}}
    assert _units("PutItem", {"TableName": "t", "Item": small}, {}, {})["dynamodb_writes"] == 1
    assert _units("PutItem", {"TableName": "t", "Item": large}, {}, {})["dynamodb_writes"] == 3
    assert _units("UpdateItem", {"TableName": "t", "Key": _key("A")}, {}, large)["dynamodb_writes"] == 3


def test_a_batch_read_rounds_every_item_up_and_leaves_out_what_was_not_processed() -> None:
    stored = {**_key("A"), "body": {"B": b"x" * 5_000}}
    request = {"t": {"Keys": [_key("A"), _key("B"), _key("C")], "ConsistentRead": True}}
    answer = {"UnprocessedKeys": {"t": {"Keys": [_key("C")]}}}
    assert _units("BatchGetItem", {"RequestItems": request}, answer, stored)["dynamodb_reads"] == 2 + 2


def test_an_eventually_consistent_read_is_half_a_unit() -> None:
    assert _units("GetItem", {"TableName": "t", "Key": _key("A")}, {}, {})["dynamodb_reads"] == 0.5


def test_a_query_rounds_the_sum_up() -> None:
    params = {"TableName": "t", "ConsistentRead": True, "ExpressionAttributeValues": {":partition": {"S": "A"}}}
    answer = {"Items": [{"sk": {"S": f"k{number}"}} for number in range(100)]}
    stored = {**_key("A"), "body": {"B": b"x" * (50 - 6 - 4)}}  # 50 bytes each
    assert _units("Query", params, answer, stored)["dynamodb_reads"] == 2


@pytest.mark.parametrize("window_ms", [200, 500, 1_000, 2_000, 3_000])
def test_the_wait_that_is_paid_is_what_the_queues_delay_leaves_of_the_window(window_ms: int) -> None:
    delay_ms = window_ms // 1_000 * 1_000
    waits = [max(0.0, window_ms + 50 - delay_ms - at) for at in range(window_ms)]
    assert cost.mean_wait_ms(window_ms, 50) == pytest.approx(sum(waits) / window_ms, abs=0.6)


def test_what_is_used_is_summed_by_what_it_is_paid_for() -> None:
    used = cost.Used(portfolios=1_000, messages=2, price_invocations=1, invocations=1, compute_s=0.1)
    used.add({"sqs_fifo": 4, "events": 1, "ecpu": 10_000})
    parts = used.parts(window_ms=1_000)
    assert parts["messages"] == pytest.approx(4 * 0.5 / 1_000)
    assert parts["store"] == pytest.approx(10_000 * 0.0023 / 1_000)
    most = used.usd_per_million(1_000)
    assert most == pytest.approx(sum(parts.values()))
    used.add({"ecpu_least": 4_000})
    assert used.least_usd_per_million(1_000) == pytest.approx(most - 6_000 * 0.0023 / 1_000)


def test_every_price_says_where_it_is_from() -> None:
    assert all(price.source and price.usd_per_million > 0 for price in price_list.PRICES.values())
