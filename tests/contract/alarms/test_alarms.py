"""Alarms as the emulator's CloudWatch tells them. Does not find: whether AWS raises them, which no emulator can."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from foliostream.adapters.cloudwatch_alarms import KEPT_MS, PAGE_MAX, CloudWatchAlarms
from foliostream.errors import FoliostreamError
from foliostream.ports import Alarm
from tests.fakes.clock import FakeClock
from tests.support.ministack import Emulator


@pytest.fixture
def cloudwatch(ministack: Emulator) -> Any:  # noqa: ANN401 (boto3's clients have no common type)
    return ministack.client("cloudwatch")


@pytest.fixture
def stack() -> str:
    return f"folio-{uuid4().hex[:8]}"


def put(cloudwatch: Any, name: str) -> None:  # noqa: ANN401
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        AlarmDescription="Too late. Runbook: docs/operations.md#late",
        Namespace="Foliostream",
        MetricName="DirtyAge",
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )


def test_alarms_of_the_stack_are_told_by_their_names_in_the_template(cloudwatch: Any, stack: str) -> None:  # noqa: ANN401
    put(cloudwatch, f"{stack}-LateAlarm-8F7ED20797D36")
    put(cloudwatch, f"{stack}-QuietAlarm-8F7ED20797D36")
    put(cloudwatch, f"another-{stack}-LateAlarm-8F7ED20797D36")
    cloudwatch.set_alarm_state(
        AlarmName=f"{stack}-LateAlarm-8F7ED20797D36", StateValue="ALARM", StateReason="a test raised it"
    )
    found = {alarm.name: alarm for alarm in CloudWatchAlarms(cloudwatch, stack, FakeClock()).alarms()}
    assert {name: alarm.state for name, alarm in found.items()} == {
        "LateAlarm": "ALARM",
        "QuietAlarm": "INSUFFICIENT_DATA",
    }
    assert found["LateAlarm"].description == "Too late. Runbook: docs/operations.md#late"
    assert found["LateAlarm"].since_ms > 1_700_000_000_000


def test_more_than_a_page_of_them_are_all_told(cloudwatch: Any, stack: str) -> None:  # noqa: ANN401
    for number in range(PAGE_MAX + 5):
        put(cloudwatch, f"{stack}-A{number}Alarm-8F7ED20797D36")
    assert len(CloudWatchAlarms(cloudwatch, stack, FakeClock()).alarms()) == PAGE_MAX + 5


def test_what_was_read_is_kept_for_a_while(cloudwatch: Any, stack: str) -> None:  # noqa: ANN401
    clock = FakeClock()
    alarms = CloudWatchAlarms(cloudwatch, stack, clock)
    assert alarms.alarms() == []
    put(cloudwatch, f"{stack}-LateAlarm-8F7ED20797D36")
    assert alarms.alarms() == []
    clock.advance(KEPT_MS)
    assert [alarm.name for alarm in alarms.alarms()] == ["LateAlarm"]


def test_a_service_that_does_not_answer_is_an_error_of_ours_and_nothing_is_kept(stack: str) -> None:
    class Down:
        def describe_alarms(self, **_: Any) -> dict[str, Any]:  # noqa: ANN401
            from botocore.exceptions import EndpointConnectionError

            raise EndpointConnectionError(endpoint_url="https://monitoring")

    alarms = CloudWatchAlarms(Down(), stack, FakeClock())
    for _ in range(2):
        with pytest.raises(FoliostreamError):
            alarms.alarms()


def test_an_alarm_without_a_description_has_none(stack: str) -> None:
    class Plain:
        def describe_alarms(self, **_: Any) -> dict[str, Any]:  # noqa: ANN401
            from datetime import UTC, datetime

            since = datetime.fromtimestamp(1_772_101_800, UTC)
            one = {"AlarmName": f"{stack}-Late-1", "StateValue": "OK", "StateUpdatedTimestamp": since}
            return {"MetricAlarms": [one]}

    assert CloudWatchAlarms(Plain(), stack, FakeClock()).alarms() == [Alarm("Late", "OK", 1_772_101_800_000, "")]
