"""Which of the template's alarms would have been raised: their own metrics, judged by their own thresholds.

The emulator raises none. What the functions wrote in the embedded metric format, what the queues hold, and which
invocations failed is put together here as CloudWatch would, in the periods the alarm names.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from local import services
from local.figures import metrics
from local.sam import function_logs
from tests.e2e.conftest import Cloud
from tests.infra.cloudformation import referenced, resources

_BEYOND: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": lambda value, limit: value > limit,
    "GreaterThanOrEqualToThreshold": lambda value, limit: value >= limit,
}
_FAILED = re.compile(r"^(\S+ \S+) WARNING \[lambda\] ESM: Lambda (\S+) failed processing", re.MULTILINE)
_TIMED_OUT = "s — killing worker"
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
        own, failures = self._own_samples(), self._failures()
        names = self._physical_ids()
        found = {}
        for name, alarm in resources("AWS::CloudWatch::Alarm").items():
            if alarm["Namespace"] == "Foliostream":
                found[name] = _judged(alarm, _periods(own[_series(alarm)], alarm["Period"]))
            elif alarm["MetricName"] == "Errors":
                found[name] = _judged(alarm, _periods(failures[names[_resource(alarm)]], alarm["Period"]))
            elif alarm["MetricName"] == DEAD_LETTERS:
                found[name] = _judged(alarm, [[self._visible(names[_resource(alarm)])]])
        return found

    def of_dead_letters(self) -> dict[str, str]:
        """The alarm on each dead-letter queue, by its address."""
        names = self._physical_ids()
        alarms = resources("AWS::CloudWatch::Alarm").items()
        return {names[_resource(alarm)]: name for name, alarm in alarms if alarm["MetricName"] == DEAD_LETTERS}

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

    def _failures(self) -> defaultdict[str, list[tuple[int, float]]]:
        """Function -> one for each invocation that failed, at its time in ms."""
        found: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        for at, function in failed_invocations(self.cloud):
            if at >= self.begun_at:
                found[function].append((round(at.timestamp() * 1000), 1.0))
        return found

    def _visible(self, queue_url: str) -> float:
        attributes = self.cloud.aws("sqs").get_queue_attributes(
            QueueUrl=queue_url, AttributeNames=["ApproximateNumberOfMessages"]
        )
        return float(attributes["Attributes"]["ApproximateNumberOfMessages"])


def failed_invocations(cloud: Cloud) -> list[tuple[datetime, str]]:
    """When an invocation failed, and of which function. The emulator counts those only that somebody waits for; of all
    that queues and streams started, its log tells."""
    log = (cloud.settings.logs / f"{services.EMULATOR}.log").read_text(errors="replace")
    return [(datetime.fromisoformat(time).astimezone(), function) for time, function in _FAILED.findall(log)]


def timed_out(cloud: Cloud) -> int:
    """How many invocations the emulator ended since their time was over."""
    return (cloud.settings.logs / f"{services.EMULATOR}.log").read_text(errors="replace").count(_TIMED_OUT)


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
    return _STATISTICS[name](values)


_STATISTICS: dict[str, Callable[[list[float]], float]] = {
    "Sum": sum,
    "Maximum": max,
    "Minimum": min,
    "Average": lambda values: sum(values) / len(values),
}
