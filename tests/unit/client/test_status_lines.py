"""What `foliostream status` says of freshness and alarms."""

from __future__ import annotations

import pytest

from foliostream_client import commands
from foliostream_client.models import AlarmStates, Freshness, RaisedAlarm


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([50, 49, 1, 0], "half within 200 ms, 99 % within 400 ms"),
        ([0, 0, 1, 0], "half within 1000 ms, 99 % within 1000 ms"),
        ([98, 0, 0, 2], "half within 200 ms, 99 % later"),
    ],
)
def test_freshness_is_told_by_the_bounds_that_half_and_nearly_all_keep(counts: list[int], said: str) -> None:
    assert commands._aged(Freshness([200, 400, 1000], counts)) == said


def test_alarms_that_are_raised_are_named_with_their_runbook() -> None:
    raised = RaisedAlarm("PushAgeAlarm", "2026-02-26T10:30:00.000Z", "Late. Runbook: docs/operations.md#late")
    assert commands._alarms(AlarmStates(80, 2, [raised])) == [
        ("alarms", "1 raised, 80 ok, 2 without data"),
        ("alarm PushAgeAlarm", "since 2026-02-26T10:30:00.000Z: Late. Runbook: docs/operations.md#late"),
    ]
