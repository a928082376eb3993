"""The states of the stack's alarms, as CloudWatch has them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Protocol

from foliostream.adapters.aws_errors import our_errors
from foliostream.ports import Alarm, Clock

# CloudWatch answers at most so many at once, and a few calls a second to the whole account: so what was read is kept
# for a while, by each container.
PAGE_MAX: Final = 100
PAGES_MAX: Final = 5
KEPT_MS: Final = 15_000
# What CloudFormation puts after the name in the template.
_SUFFIX_AFTER: Final = "-"


class CloudWatch(Protocol):
    """The one call that is needed of boto3's client."""

    def describe_alarms(self, **request: Any) -> Mapping[str, Any]:  # noqa: ANN401 (as boto3's clients are)
        """A page of them."""


class CloudWatchAlarms:
    """The port ``Alarms``. ``stack``: its alarms are named after it."""

    def __init__(self, client: CloudWatch, stack: str, clock: Clock) -> None:
        self._client = client
        self._prefix = f"{stack}-"
        self._clock = clock
        self._kept: tuple[int, list[Alarm]] | None = None

    def alarms(self) -> list[Alarm]:
        """At most ``KEPT_MS`` old; the first ``PAGES_MAX`` pages."""
        now_ms = self._clock.now_ms()
        if self._kept is None or now_ms - self._kept[0] >= KEPT_MS:
            self._kept = (now_ms, self._read())
        return self._kept[1]

    def _read(self) -> list[Alarm]:
        found: list[Alarm] = []
        request: dict[str, Any] = {"AlarmNamePrefix": self._prefix, "MaxRecords": PAGE_MAX}
        for _ in range(PAGES_MAX):
            with our_errors("CloudWatch, DescribeAlarms"):
                answer = self._client.describe_alarms(**request)
            found += map(self._alarm, answer["MetricAlarms"])
            if not answer.get("NextToken"):
                break
            request["NextToken"] = answer["NextToken"]
        return found

    def _alarm(self, described: Mapping[str, Any]) -> Alarm:
        name = described["AlarmName"].removeprefix(self._prefix).partition(_SUFFIX_AFTER)[0]
        since: datetime = described["StateUpdatedTimestamp"]
        since_ms = int(since.timestamp() * 1000)
        return Alarm(name, described["StateValue"], since_ms, described.get("AlarmDescription", ""))
