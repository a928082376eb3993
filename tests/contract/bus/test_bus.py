"""Events on EventBridge, read where a rule puts them; entries that fail."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from foliostream.adapters import dynamodb_batch
from foliostream.adapters.eventbridge_bus import EventBridgeBus
from foliostream.errors import PermanentError, RetryableError
from foliostream.ports import EventBus
from tests.fakes.bus import FakeBus
from tests.support.ministack import Emulator
from tests.support.servers import wait_until


@dataclass(frozen=True)
class Subject:
    """A bus, and (detail type, detail) of the first ``count`` events that arrive."""

    bus: EventBus
    receive: Callable[[int], list[tuple[str, Any]]]


def _client(emulator: Emulator, service: str) -> Any:  # noqa: ANN401 - a type for each service
    return emulator.client(service)


class Rule:
    """A bus of an emulator whose events all end in a queue."""

    def __init__(self, emulator: Emulator) -> None:
        self.name = f"bus-{uuid.uuid4().hex}"
        self.events = _client(emulator, "events")
        self._sqs = _client(emulator, "sqs")
        self._url = self._sqs.create_queue(QueueName=self.name)["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.events.create_event_bus(Name=self.name)
        self.events.put_rule(Name="all", EventBusName=self.name, EventPattern='{"source": ["foliostream"]}')
        self.events.put_targets(Rule="all", EventBusName=self.name, Targets=[{"Id": "queue", "Arn": arn}])

    def bodies(self, count: int) -> list[str]:
        """The texts of the first events, in no order."""
        found: list[str] = []

        def arrived() -> bool:
            answer = self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10)
            for message in answer.get("Messages", []):
                found.append(message["Body"])
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
            return len(found) >= count

        wait_until(arrived, f"{count} events", 20)
        return found

    def receive(self, count: int) -> list[tuple[str, Any]]:
        events = [json.loads(body, parse_float=Decimal) for body in self.bodies(count)]
        return [(event["detail-type"], event["detail"]) for event in events]


@pytest.fixture
def rule(ministack: Emulator) -> Rule:
    return Rule(ministack)


@pytest.fixture(params=["fake", "eventbridge"])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "fake":
        fake = FakeBus()
        return Subject(fake, lambda _: list(fake.published))
    rule: Rule = request.getfixturevalue("rule")
    return Subject(EventBridgeBus(rule.events, rule.name), rule.receive)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamodb_batch, "PAUSE_MS_MAX", 1)


def test_an_event_arrives_with_its_type_and_detail(subject: Subject) -> None:
    # Fifteen digits: the emulator reads details into floats on the way to its targets. What leaves us is exact, below.
    detail = {
        "updates": [
            {
                "symbol": "M&M",
                "last": Decimal("75125.00"),
                "bid": Decimal("0.123456789012345"),
                "ts": 1_767_225_600_000,
                "open": None,
            }
        ]
    }
    subject.bus.publish("market_price_update", [detail])
    assert subject.receive(1) == [("market_price_update", detail)]


def test_no_event_is_no_call(subject: Subject) -> None:
    subject.bus.publish("market_price_update", [])
    subject.bus.publish("other", [{"n": 1}])
    assert subject.receive(1) == [("other", {"n": 1})]


def test_twenty_five_events_all_arrive(subject: Subject) -> None:
    subject.bus.publish("market_price_update", [{"n": number} for number in range(25)])
    assert sorted(detail["n"] for _, detail in subject.receive(25)) == list(range(25))


def test_events_too_large_for_one_call_together_are_sent_in_several(subject: Subject) -> None:
    subject.bus.publish("market_price_update", [{"n": number, "text": "x" * 100_000} for number in range(5)])
    assert sorted(detail["n"] for _, detail in subject.receive(5)) == list(range(5))


class Recorded:
    """Answers like EventBridge and keeps what it took; the first tries of entry ``n`` fail with the codes given."""

    def __init__(self, **codes: list[str]) -> None:
        self._codes = codes
        self.taken: list[str] = []
        self.calls: list[int] = []

    def put_events(self, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803 - boto3's
        self.calls.append(len(Entries))
        answers = []
        for entry in Entries:
            codes = self._codes.get(json.loads(entry["Detail"]).get("n"))
            if codes:
                answers.append({"ErrorCode": codes.pop(0), "ErrorMessage": "no"})
            else:
                self.taken.append(entry["Detail"])
                answers.append({"EventId": str(len(self.taken))})
        return {"FailedEntryCount": sum("ErrorCode" in answer for answer in answers), "Entries": answers}


def bus_of(client: Recorded) -> EventBridgeBus:
    return EventBridgeBus(client, "default")  # type: ignore[arg-type]


def test_entries_that_fail_are_sent_again_and_only_they() -> None:
    client = Recorded(b=["ThrottlingException", "InternalFailure"], c=["InternalException"])
    bus_of(client).publish("t", [{"n": name} for name in "abc"])
    assert sorted(client.taken) == ['{"n":"a"}', '{"n":"b"}', '{"n":"c"}']
    assert client.calls == [3, 2, 1]


def test_an_entry_that_fails_for_ever_is_an_error_that_may_be_retried() -> None:
    client = Recorded(b=["InternalFailure"] * 100)
    with pytest.raises(RetryableError, match="InternalFailure: no"):
        bus_of(client).publish("t", [{"n": name} for name in "abc"])
    assert client.taken == ['{"n":"a"}', '{"n":"c"}']


def test_an_entry_eventbridge_refuses_for_good_is_tried_once_and_the_others_are_sent() -> None:
    client = Recorded(b=["MalformedDetail"] * 100)
    with pytest.raises(PermanentError, match="MalformedDetail: no"):
        bus_of(client).publish("t", [{"n": name} for name in ("b", *"acdefghijklm")])
    assert len(client.taken) == 12
    assert client.calls == [10, 3]


def test_details_are_json_with_exact_decimals() -> None:
    client = Recorded()
    bus_of(client).publish("t", [{"a": Decimal("75125.00"), "b": Decimal("0.1000000000000000055511151231257827")}])
    assert client.taken == ['{"a":75125.00,"b":0.1000000000000000055511151231257827}']


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_not_finite_never_leaves(number: str) -> None:
    client = Recorded()
    with pytest.raises(PermanentError, match="not finite"):
        bus_of(client).publish("t", [{"n": "a"}, {"value": Decimal(number)}])
    assert client.calls == []


def test_an_event_too_large_for_eventbridge_is_refused_before_anything_is_sent() -> None:
    client = Recorded()
    with pytest.raises(PermanentError) as refused:
        bus_of(client).publish("t", [{"n": "a"}, {"text": "ü" * 140_000}])
    assert refused.value.code == "EVENT_TOO_LARGE"
    assert client.calls == []
