"""What a piece of work uses of AWS, as AWS counts it: requests seen on the way out of boto3, and Valkey's own counters.

DynamoDB's units are computed from the bytes of items, since an emulator's consumed capacity proves nothing. Sizes of
items that were read or updated are looked up afterwards, by a client that is not counted, so that this costs the
measured work no time.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import boto3
import redis

from benchmarks import price_list

Item = Mapping[str, Mapping[str, Any]]


class Call(NamedTuple):
    """One request to AWS with its answer."""

    service: str
    operation: str
    params: Mapping[str, Any]
    answer: Mapping[str, Any]


class Meter:
    """Sees every call of the clients that boto3's default session makes from now on; use one a process at a time."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        boto3.setup_default_session()
        events = boto3.DEFAULT_SESSION.events  # type: ignore[union-attr]
        events.register("before-parameter-build", self._before)
        events.register("after-call", self._after)

    def take(self) -> list[Call]:
        """The calls since the last time."""
        calls, self._calls = self._calls, []
        return calls

    def _before(self, params: Mapping[str, Any], context: dict[str, Any], **_: object) -> None:
        context["metered"] = params

    def _after(self, parsed: Mapping[str, Any], model: Any, context: Mapping[str, Any], **_: object) -> None:  # noqa: ANN401
        self._calls.append(Call(model.service_model.service_name, model.name, context["metered"], parsed))


def sqs_usage(calls: Iterable[Call]) -> dict[str, float]:
    """Requests by kind of queue. A receive that finds nothing is left out: it is polling, paid also in the night."""
    used = {"sqs_fifo": 0.0, "sqs_standard": 0.0}
    for call in calls:
        if call.service != "sqs" or (call.operation == "ReceiveMessage" and not call.answer.get("Messages")):
            continue
        unit = "sqs_fifo" if call.params["QueueUrl"].endswith(".fifo") else "sqs_standard"
        used[unit] += max(1, math.ceil(_sqs_bytes(call) / price_list.SQS_CHUNK_BYTES))
    return used


def _sqs_bytes(call: Call) -> int:
    if call.operation == "SendMessageBatch":
        return sum(len(entry["MessageBody"].encode()) for entry in call.params["Entries"])
    if call.operation == "SendMessage":
        return len(call.params["MessageBody"].encode())
    if call.operation == "ReceiveMessage":
        return sum(len(message["Body"].encode()) for message in call.answer["Messages"])
    return 0


def dynamodb_usage(calls: Iterable[Call], sizes: "Sizes") -> dict[str, float]:
    """Request units of both kinds."""
    used = {"dynamodb_writes": 0.0, "dynamodb_reads": 0.0}
    for call in calls:
        if call.service == "dynamodb":
            unit, count = _DYNAMODB[call.operation](call, sizes)
            used[unit] += count
    return used


class Sizes:
    """Bytes of the items of the tables, by table and key: those written in whole are remembered, others looked up."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401 (a client that is not counted)
        self._client = client
        self._known: dict[tuple[str, str, str], int] = {}

    def written(self, table: str, item: Item) -> int:
        """Of an item that a call brings in whole."""
        size = item_bytes(item)
        self._known[_key(table, item)] = size
        return size

    def stored(self, table: str, key: Item) -> int:
        """Of a stored item; 0 if there is none and never was."""
        name = _key(table, key)
        if name not in self._known:
            answer = self._client.get_item(TableName=table, Key=dict(key), ConsistentRead=True)
            self._known[name] = item_bytes(answer.get("Item", {}))
        return self._known[name]


def item_bytes(item: Item) -> int:
    """As DynamoDB measures: names and values in UTF-8, numbers about half a byte a digit."""
    return sum(len(name.encode()) + _value_bytes(*next(iter(value.items()))) for name, value in item.items())


def _value_bytes(kind: str, value: Any) -> int:  # noqa: ANN401 (any DynamoDB value)
    if kind == "S":
        return len(value.encode())
    if kind == "B":
        return len(value)
    if kind == "N":
        return math.ceil(len(value.strip("-")) / 2) + 1
    if kind == "M":
        return 3 + item_bytes(value)
    return 3 + sum(1 + _value_bytes(*next(iter(part.items()))) for part in value) if kind == "L" else 1


def _key(table: str, item: Item) -> tuple[str, str, str]:
    return table, item["pk"]["S"], item["sk"]["S"]


def _write_units(size: int) -> int:
    return max(1, math.ceil(size / price_list.WRITE_UNIT_BYTES))


def _read_units(size: int, params: Mapping[str, Any]) -> float:
    units = max(1, math.ceil(size / price_list.READ_UNIT_BYTES))
    return units if params.get("ConsistentRead") else units / 2


def _put(call: Call, sizes: Sizes) -> tuple[str, float]:
    return "dynamodb_writes", _write_units(sizes.written(call.params["TableName"], call.params["Item"]))


def _update(call: Call, sizes: Sizes) -> tuple[str, float]:
    return "dynamodb_writes", _write_units(sizes.stored(call.params["TableName"], call.params["Key"]))


def _get(call: Call, sizes: Sizes) -> tuple[str, float]:
    size = sizes.stored(call.params["TableName"], call.params["Key"])
    return "dynamodb_reads", _read_units(size, call.params)


def _batch_get(call: Call, sizes: Sizes) -> tuple[str, float]:
    """Every item is rounded up for itself; a projection makes nothing cheaper, and an unprocessed key costs nothing."""
    units = 0.0
    for table, request in call.params["RequestItems"].items():
        left = call.answer.get("UnprocessedKeys", {}).get(table, {}).get("Keys", [])
        keys = [key for key in request["Keys"] if key not in left]
        units += sum(_read_units(sizes.stored(table, key), request) for key in keys)
    return "dynamodb_reads", units


def _batch_write(call: Call, sizes: Sizes) -> tuple[str, float]:
    units = 0
    for table, requests in call.params["RequestItems"].items():
        left = call.answer.get("UnprocessedItems", {}).get(table, [])
        for request in (request for request in requests if request not in left):
            if "PutRequest" in request:
                size = sizes.written(table, request["PutRequest"]["Item"])
            else:
                size = sizes.stored(table, request["DeleteRequest"]["Key"])
            units += _write_units(size)
    return "dynamodb_writes", units


def _delete(call: Call, sizes: Sizes) -> tuple[str, float]:
    return "dynamodb_writes", _write_units(sizes.stored(call.params["TableName"], call.params["Key"]))


def _query(call: Call, sizes: Sizes) -> tuple[str, float]:
    """The sum of the items' sizes is rounded up once; a projection saves nothing. The partition is ``:partition``."""
    table, partition = call.params["TableName"], call.params["ExpressionAttributeValues"][":partition"]
    keys = [{"pk": partition, "sk": item["sk"]} for item in call.answer.get("Items", [])]
    return "dynamodb_reads", _read_units(sum(sizes.stored(table, key) for key in keys), call.params)


_DYNAMODB = {
    "PutItem": _put,
    "UpdateItem": _update,
    "GetItem": _get,
    "BatchGetItem": _batch_get,
    "BatchWriteItem": _batch_write,
    "DeleteItem": _delete,
    "Query": _query,
}


class ValkeyMeter:
    """ECPUs from the server's own counters.

    AWS takes the larger of a command's two dimensions: KiB in and out, and processor time in that of a simple command.
    So all bytes together are the least (``ecpu_least``), and bytes plus commands, those inside scripts too, the most
    (``ecpu``), as long as a command inside a script takes no more time than a simple one by itself.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._last = self._read()

    def take(self) -> dict[str, float]:
        """Both since the last time."""
        now, before = self._read(), self._last
        self._last = now
        least = (now[1] - before[1]) / price_list.ECPU_BYTES
        return {"ecpu": now[0] - before[0] + least, "ecpu_least": least}

    def _read(self) -> tuple[int, int]:
        stats: Any = self._client.info("stats")
        commands: Any = self._client.info("commandstats")
        ours = sum(one["calls"] for name, one in commands.items() if name != "cmdstat_info")
        return ours, stats["total_net_input_bytes"] + stats["total_net_output_bytes"]
