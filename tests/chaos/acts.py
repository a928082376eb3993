"""What can go wrong with one call of AWS: each a function from the request to an answer, or to none at all."""

from __future__ import annotations

import json
import time
from random import Random
from typing import Any

from tests.chaos.proxy import Answer, Request

# botocore gives an answer up after five seconds and asks again; this one then still does what it was asked.
HANG_S = 5.5
SLOW_S = 1.5

_AMZ_JSON = {"Content-Type": "application/x-amz-json-1.0"}
_THROTTLED = {
    "dynamodb": (400, "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"),
    "sqs": (400, "com.amazonaws.sqs#RequestThrottled"),
    "events": (400, "ThrottlingException"),
    "lambda": (429, "TooManyRequestsException"),
    "posts": (429, "LimitExceededException"),
}
_FAILED = {"dynamodb": "InternalServerError", "sqs": "InternalError", "events": "InternalException"}


def throttled(request: Request) -> Answer:
    """Refused, nothing is done."""
    status, code = _THROTTLED.get(_service(request), (429, "ThrottlingException"))
    return _refusal(status, code, "Rate exceeded")


def failed(request: Request) -> Answer:
    """A fault of the service, nothing is done."""
    return _refusal(500, _FAILED.get(_service(request), "InternalServerError"), "Something broke")


def dropped(_: Request) -> None:
    """The connection ends before anything is done."""


def unanswered(request: Request) -> None:
    """It is done, and the connection ends without a word."""
    request.forward()


def truncated(request: Request) -> Answer:
    """It is done, and the connection ends in the middle of the answer."""
    answer = request.forward()
    return Answer(answer.status, answer.body, answer.headers, is_cut=True)


def slow(request: Request) -> Answer:
    """It is done late."""
    time.sleep(request.draw.uniform(0.1, SLOW_S))
    return request.forward()


def hanging(request: Request) -> Answer:
    """It is done after whoever asked has given up, and asked again."""
    time.sleep(HANG_S)
    return request.forward()


def unprocessed(request: Request) -> Answer:
    """BatchGetItem and BatchWriteItem: part of it is done, the rest given back."""
    asked = request.json()
    is_read = request.operation.endswith("BatchGetItem")
    done: dict[str, Any] = {}
    left: dict[str, Any] = {}
    for table, wanted in asked["RequestItems"].items():
        items = wanted["Keys"] if is_read else wanted
        now, later = _parted(items, request.draw)
        if now:
            done[table] = {**wanted, "Keys": now} if is_read else now
        if later:
            left[table] = {**wanted, "Keys": later} if is_read else later
    name = "UnprocessedKeys" if is_read else "UnprocessedItems"
    if not done:
        return Answer(200, json.dumps({name: left} | ({"Responses": {}} if is_read else {})).encode(), _AMZ_JSON)
    answer = request.forward({**asked, "RequestItems": done})
    return answer if answer.status != 200 else answer.with_json({**answer.json(), name: left})


def conflicted(request: Request) -> Answer:
    """Another transaction has one of the items just now."""
    if not request.operation.endswith("TransactWriteItems"):
        return _refusal(400, "com.amazonaws.dynamodb.v20120810#TransactionConflictException", "Transaction is ongoing")
    items = request.json()["TransactItems"]
    guilty = request.draw.randrange(len(items))
    reasons = [{"Code": "TransactionConflict" if number == guilty else "None"} for number in range(len(items))]
    code = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"
    message = f"Transaction cancelled, reasons [{', '.join(reason['Code'] for reason in reasons)}]"
    body = {"__type": code, "Message": message, "CancellationReasons": reasons}
    return Answer(400, json.dumps(body).encode(), _AMZ_JSON)


def partly_sent(request: Request) -> Answer:
    """SendMessageBatch: some entries are sent, the others named as failed."""
    asked = request.json()
    now, later = _parted(asked["Entries"], request.draw)
    failed_entries = [
        {"Id": entry["Id"], "SenderFault": False, "Code": "InternalError", "Message": "try again"} for entry in later
    ]
    if not now:
        return Answer(200, json.dumps({"Failed": failed_entries}).encode(), _AMZ_JSON)
    answer = request.forward({**asked, "Entries": now})
    if answer.status != 200:
        return answer
    said = answer.json()
    return answer.with_json({**said, "Failed": [*said.get("Failed", ()), *failed_entries]})


def partly_put(request: Request) -> Answer:
    """PutEvents: some events are on the bus, the others failed, each at its place."""
    entries = request.json()["Entries"]
    chosen = [request.draw.random() < 0.5 for _ in entries]
    refused = {"ErrorCode": "InternalFailure", "ErrorMessage": "try again"}
    sent = [entry for entry, now in zip(entries, chosen, strict=True) if now]
    if not sent:
        content = {"FailedEntryCount": len(entries), "Entries": [refused] * len(entries)}
        return Answer(200, json.dumps(content).encode(), {"Content-Type": "application/x-amz-json-1.1"})
    answer = request.forward({"Entries": sent})
    if answer.status != 200:
        return answer
    said = answer.json()
    results = iter(said["Entries"])
    merged = [next(results) if now else refused for now in chosen]
    return answer.with_json({"FailedEntryCount": sum("ErrorCode" in one for one in merged), "Entries": merged})


def repeated(request: Request) -> Answer:
    """It is done twice, as a queue or a bus that delivers at least once may."""
    request.forward()
    return request.forward()


def reordered(request: Request) -> Answer:
    """SendMessageBatch to a standard queue: the entries arrive in another order, some of them after others that were
    sent later. A FIFO queue keeps its order."""
    asked = request.json()
    if asked["QueueUrl"].endswith(".fifo"):
        return request.forward()
    entries = list(asked["Entries"])
    request.draw.shuffle(entries)
    time.sleep(request.draw.uniform(0, 0.3))
    return request.forward({**asked, "Entries": entries})


def _service(request: Request) -> str:
    return request.operation.partition(":")[0]


def _refusal(status: int, code: str, message: str) -> Answer:
    body = {"__type": code, "message": message}
    return Answer(status, json.dumps(body).encode(), {**_AMZ_JSON, "x-amzn-ErrorType": code})


def _parted(items: list[Any], draw: Random) -> tuple[list[Any], list[Any]]:
    """Each item on one side or the other, at least one on the second."""
    chosen = [draw.random() < 0.5 for _ in items]
    chosen[draw.randrange(len(items))] = False
    return (
        [item for item, now in zip(items, chosen, strict=True) if now],
        [item for item, now in zip(items, chosen, strict=True) if not now],
    )
