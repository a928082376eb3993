"""What only SQS has: entries that fail, message attributes, delays."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from foliostream.adapters import dynamodb_batch
from foliostream.adapters.sqs_queues import SqsFeedTimer, SqsQueues
from foliostream.domain.coalescing import DirtyMessage
from foliostream.errors import CallerError, PermanentError, RetryableError
from foliostream.ports import Delayed
from tests.contract.queues.conftest import Cloud, decode
from tests.contract.queues.test_queues import in_window, keys
from tests.fakes.queues import FakeFeedTimer
from tests.support.servers import wait_until

Judge = Callable[[dict[str, Any], int], dict[str, Any] | None]


class Failing:
    """The real client, except that ``judge`` may fail an entry (given with the number of its tries so far); what it
    answers stands in ``Failed``, an empty answer leaves the entry out of the response altogether."""

    def __init__(self, cloud: Cloud, judge: Judge) -> None:
        self._cloud = cloud
        self._judge = judge
        self.tries: dict[str, int] = {}

    def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - boto3's
        failed, good = [], []
        for entry in Entries:
            name = entry["MessageDeduplicationId"]
            self.tries[name] = self.tries.get(name, 0) + 1
            failure = self._judge(entry, self.tries[name])
            if failure is None:
                good.append(entry)
            elif failure:
                failed.append({"Id": entry["Id"], **failure})
        sent: Any = {"Successful": []}
        if good:
            sent = self._cloud.client.send_message_batch(QueueUrl=QueueUrl, Entries=good)  # type: ignore[arg-type]
        return {"Successful": sent["Successful"], "Failed": failed}


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamodb_batch, "PAUSE_MS_MAX", 1)


def failing(cloud: Cloud, judge: Judge) -> tuple[Failing, SqsQueues]:
    client: Any = Failing(cloud, judge)
    return client, SqsQueues(client, cloud.urls, cloud.dead_letter_urls)


INTERNAL = {"Code": "InternalError", "Message": "try later", "SenderFault": False}
OURS = {"Code": "InvalidMessageContents", "Message": "not XML", "SenderFault": True}
THROTTLED = {"Code": "RequestThrottled", "Message": "slow down", "SenderFault": True}


@pytest.mark.parametrize("trouble", [INTERNAL, THROTTLED, {}], ids=["internal", "throttled", "not mentioned"])
def test_entries_that_fail_are_sent_again_and_only_they(cloud: Cloud, trouble: dict[str, Any]) -> None:
    def judge(entry: dict[str, Any], tries: int) -> dict[str, Any] | None:
        return trouble if "live:p7" in entry["MessageBody"] and tries < 3 else None

    client, queues = failing(cloud, judge)
    sent = in_window(1, keys(100), shards=25)
    queues.send("live", sent)
    received = [decode(message) for message in cloud.take(cloud.urls["live"])]
    assert sorted(message.keys for message in received) == sorted(bundle.message.keys for bundle in sent)
    assert set(client.tries.values()) == {1, 3}


def test_an_entry_that_fails_for_ever_is_an_error_that_may_be_retried_and_the_others_are_sent(cloud: Cloud) -> None:
    client, queues = failing(cloud, lambda entry, _: INTERNAL if '"live:p7"' in entry["MessageBody"] else None)
    with pytest.raises(RetryableError, match="InternalError: try later"):
        queues.send("live", in_window(1, keys(100), shards=25))
    assert len(cloud.take(cloud.urls["live"])) == 24
    assert max(client.tries.values()) < 20


def test_an_entry_that_is_our_fault_is_tried_once_and_the_others_are_sent(cloud: Cloud) -> None:
    client, queues = failing(cloud, lambda entry, _: OURS if '"live:p7"' in entry["MessageBody"] else None)
    with pytest.raises(PermanentError, match="InvalidMessageContents") as refused:
        queues.send("live", in_window(1, keys(100), shards=25))
    assert refused.value.details == [{"reason": "InvalidMessageContents: not XML"}]
    assert len(cloud.take(cloud.urls["live"])) == 24
    assert set(client.tries.values()) == {1}


def test_a_fifo_message_carries_its_shard_as_group_and_the_bundles_id(cloud: Cloud) -> None:
    (bundle,) = in_window(1, keys(1))
    SqsQueues(cloud.client, cloud.urls, {}).send("live", [bundle])
    (message,) = cloud.take(cloud.urls["live"])
    assert message["Attributes"]["MessageGroupId"] == str(bundle.shard)
    assert message["Attributes"]["MessageDeduplicationId"] == bundle.deduplication_id


def test_a_body_is_the_json_of_the_contract(cloud: Cloud) -> None:
    (bundle,) = in_window(7, keys(1))
    SqsQueues(cloud.client, cloud.urls, {}).send("live", [bundle])
    (message,) = cloud.take(cloud.urls["live"])
    assert msgspec.json.decode(message["Body"]) == {
        "v": 1, "window": 7, "window_end_ms": 1400, "keys": ["live:p0"], "reason": "price",
        "symbols": ["AAPL", "M&M"], "attempt": 0, "origins": [],
    }  # fmt: skip


def test_any_reason_fits_into_a_message_attribute(cloud: Cloud) -> None:
    queues = SqsQueues(cloud.client, cloud.urls, cloud.dead_letter_urls)
    for number, reason in enumerate(("", "nul \0 and \x1b[31m", "ü" * 100_000, "\ud800")):
        queues.dead_letter("live", DirtyMessage(number, 0, ["live:p1"], "price"), reason)
    reasons = [
        gone["MessageAttributes"]["reason"]["StringValue"] for gone in cloud.take(cloud.dead_letter_urls["live"])
    ]
    assert reasons == ["unknown", "nul ? and ?[31m", "ü" * 1_000, "?"]


def test_a_message_given_up_twice_is_there_once(cloud: Cloud) -> None:
    queues = SqsQueues(cloud.client, cloud.urls, cloud.dead_letter_urls)
    for _ in range(2):
        queues.dead_letter("live", DirtyMessage(1, 200, ["live:p1"], "price", attempt=5), "why")
    assert len(cloud.take(cloud.dead_letter_urls["live"])) == 1


def test_a_queue_that_does_not_exist_is_an_error_for_an_operator(cloud: Cloud) -> None:
    queues = SqsQueues(cloud.client, {"live": cloud.urls["live"].replace("live-", "gone-")}, {})
    with pytest.raises(PermanentError, match="SendMessageBatch"):
        queues.send("live", in_window(1, keys(1)))


def test_the_feed_is_woken_after_its_delay_and_not_before(cloud: Cloud) -> None:
    url, sent_at = cloud.urls["refresh"], time.monotonic()
    SqsFeedTimer(cloud.client, url).wake(57_840_000, 1)
    taken: list[dict[str, Any]] = []

    def arrived() -> bool:
        taken.extend(cloud.take(url))
        return bool(taken)

    wait_until(arrived, "the delayed message", 10)
    assert time.monotonic() - sent_at >= 0.9
    assert [message["Body"] for message in taken] == ['{"slot":57840000}']


@pytest.mark.parametrize("delay", [-1, 901])
def test_a_delay_sqs_does_not_have_is_refused(cloud: Cloud, delay: int) -> None:
    for timer in (SqsFeedTimer(cloud.client, cloud.urls["refresh"]), FakeFeedTimer()):
        with pytest.raises(CallerError, match=str(delay)):
            timer.wake(1, delay)


def test_a_delayed_bundle_comes_after_its_own_delay_and_not_before(cloud: Cloud) -> None:
    queues = SqsQueues(cloud.client, cloud.urls, cloud.dead_letter_urls)
    (soon,), (late,) = in_window(1, keys(1)), in_window(2, keys(1))
    sent_at = time.monotonic()
    queues.send_later([Delayed(late, 2), Delayed(soon, 0)])
    windows: list[int] = []

    def arrived() -> bool:
        windows.extend(decode(message).window for message in cloud.take(cloud.urls["delayed"]))
        return len(windows) == 2

    wait_until(arrived, "both bundles", 10)
    assert time.monotonic() - sent_at >= 1.9
    assert windows == [1, 2]


def test_a_message_is_sent_with_the_trace_of_the_invocation_that_sends_it(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent, since the emulator forgets system attributes of a batch."""
    sent: list[dict[str, Any]] = []
    _, queues = failing(cloud, lambda entry, _: sent.append(entry))
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    monkeypatch.setenv("_X_AMZN_TRACE_ID", trace)
    queues.send("live", in_window(1, keys(1)))
    monkeypatch.delenv("_X_AMZN_TRACE_ID")
    queues.send("live", in_window(2, keys(1)))
    first, second = sent
    assert first["MessageSystemAttributes"] == {"AWSTraceHeader": {"DataType": "String", "StringValue": trace}}
    assert "MessageSystemAttributes" not in second
    assert len(cloud.take(cloud.urls["live"])) == 2
