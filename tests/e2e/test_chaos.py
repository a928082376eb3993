"""Half a minute of what `make chaos` does for minutes, in a cloud of its own behind a proxy (tests/chaos)."""

from __future__ import annotations

import pytest

from tests.chaos import faults
from tests.chaos.run import Plan, run

STORMS = (
    (faults.UNPROCESSED_KEYS, faults.PARTLY_FAILING_BATCHES),
    (faults.KILLED_WORKERS, faults.CONFLICTS),
    (faults.POISON, faults.FAILING_BUS),
    (faults.LYING_FEED, faults.FAILING_POSTS),
)


@pytest.mark.timeout(900)
def test_whatever_aws_does_nothing_is_lost_doubled_or_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan("dynamodb", seed=1, seconds=28, storm_s=7, storms=STORMS, with_unreadable=False)
    report = run(plan)
    with capsys.disabled():
        print("\n" + "\n".join(report.lines()))  # noqa: T201 - what was disturbed, beside what held
    assert report.violations == []
