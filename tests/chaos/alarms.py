"""Which of the template's alarms would have been raised: their own metrics, judged by their own thresholds.

The emulator raises none. What the functions wrote in the embedded metric format, what the queues hold, and which
invocations failed is put together here as CloudWatch would, in the periods the alarm names.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from local.figures import metrics
from local.sam import function_logs
from tests.e2e.conftest import Cloud
from tests.infra.cloudformation import referenced, resources

_BEYOND: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": lambda value, limit: value > limit,
    "GreaterThanOrEqualToThreshold": lambda value, limit: value >= limit,
}
DEAD_LETTERS = "ApproximateNumberOfMessagesVisible"


class Verdict(NamedTuple):
    """``breaching`` datapoints of the periods looked at, ``needed`` for the alarm, the worst of their values."""

    breaching: int
    needed: int
    worst: float

    @property
    def is_raised(self) -> bool:
        return self.breaching >= self.needed


@dataclass(frozen=True)
class Alarms:
    """Since ``begun_at``."""

    cloud: Cloud
    begun_at: datetime

    def verdicts(self) -> dict[str, Verdict]:
        """Of every alarm on a metric of our own, on failed invocations and on dead letters, by logical id."""
        own = self._own_samples()
        names = self._physical_ids()
        found = {}
        for name, alarm in resources("AWS::CloudWatch::Alarm").items():
            if alarm["Namespace"] == "Foliostream":
                found[name] = _judged(alarm, _periods(own[_series(alarm)], alarm["Period"]))
            elif alarm["MetricName"] == "Errors":
                found[name] = _judged(alarm, self._failed(names[_resource(alarm)], alarm["Period"]))
            elif alarm["MetricName"] == DEAD_LETTERS:
                found[name] = _judged(alarm, [[self._visible(names[_resource(alarm)])]])
        return found

    def _own_samples(self) -> defaultdict[tuple[str, str], list[tuple[int, float]]]:
        """(metric, account type or "") -> (time in ms, value)."""
        found: defaultdict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
        begun_ms = self.begun_at.timestamp() * 1000
        for line in metrics(function_logs(self.cloud.outputs.aws_endpoint)):
            at_ms = line["_aws"]["Timestamp"]
            for name in (item["Name"] for item in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]):
                values = line[name] if isinstance(line[name], list) else [line[name]]
                if at_ms >= begun_ms:
                    found[name, line.get("AccountType", "")] += [(at_ms, float(value)) for value in values]
        return found

    def _physical_ids(self) -> dict[str, str]:
        pages = self.cloud.aws("cloudformation").get_paginator("list_stack_resources")
        return {
            item["LogicalResourceId"]: item["PhysicalResourceId"]
            for page in pages.paginate(StackName=self.cloud.outputs.stack_name)
            for item in page["StackResourceSummaries"]
        }

    def _failed(self, function: str, period: int) -> list[list[float]]:
        """Invocations that failed, summed up by period."""
        answer = self.cloud.aws("cloudwatch").get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName="Errors",
            Dimensions=[{"Name": "FunctionName", "Value": function}],
            StartTime=self.begun_at,
            EndTime=datetime.now(UTC) + timedelta(minutes=1),
            Period=period,
            Statistics=["Sum"],
        )
        return [[point["Sum"]] for point in answer["Datapoints"]]

    def _visible(self, queue_url: str) -> float:
        attributes = self.cloud.aws("sqs").get_queue_attributes(
            QueueUrl=queue_url, AttributeNames=["ApproximateNumberOfMessages"]
        )
        return float(attributes["Attributes"]["ApproximateNumberOfMessages"])


def _series(alarm: Mapping[str, Any]) -> tuple[str, str]:
    dimensions = {item["Name"]: item["Value"] for item in alarm["Dimensions"]}
    return alarm["MetricName"], dimensions.get("AccountType", "")


def _resource(alarm: Mapping[str, Any]) -> str:
    return referenced(alarm["Dimensions"][0]["Value"])


def _periods(samples: Iterable[tuple[int, float]], period: int) -> list[list[float]]:
    """The values of each period of so many seconds that has any."""
    by_period: defaultdict[int, list[float]] = defaultdict(list)
    for at_ms, value in samples:
        by_period[at_ms // (period * 1000)].append(value)
    return [values for _, values in sorted(by_period.items())]


def _judged(alarm: Mapping[str, Any], periods: Iterable[list[float]]) -> Verdict:
    statistic = alarm.get("ExtendedStatistic") or alarm["Statistic"]
    points = [_statistic(statistic, values) for values in periods]
    is_beyond = _BEYOND[alarm["ComparisonOperator"]]
    breaching = [point for point in points if is_beyond(point, alarm["Threshold"])]
    needed = alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"])
    return Verdict(len(breaching), needed, max(points, default=0.0))


def _statistic(name: str, values: list[float]) -> float:
    if name.startswith("p"):
        ordered = sorted(values)
        return ordered[max(math.ceil(len(ordered) * float(name[1:]) / 100) - 1, 0)]
    return {"Sum": sum, "Maximum": max, "Minimum": min, "Average": _average}[name](values)


def _average(values: list[float]) -> float:
    return sum(values) / len(values)
