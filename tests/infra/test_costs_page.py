"""What docs/costs.md counts is what the template has. It cannot tell whether a price is AWS's."""

from __future__ import annotations

import re

from tests.infra.cloudformation import ROOT, referenced, resources, sqs_sources

PAGE = (ROOT / "docs" / "costs.md").read_text()
README = (ROOT / "README.md").read_text()


def counted(pattern: str) -> int:
    """The one number of the page that stands there."""
    (number,) = re.findall(pattern, PAGE)
    return int(number)


def test_what_is_paid_while_nothing_happens_is_counted_as_it_is_deployed() -> None:
    polled = {referenced(source["Queue"]) for source in sqs_sources().values()}
    assert counted(r"(\d+) queues have a reader") == len(polled)
    assert counted(r"an alarm, (\d+) of them") == len(resources("AWS::CloudWatch::Alarm"))


def test_the_readme_says_the_same_sum() -> None:
    queues = counted(r"queues have a reader, so about (\d+)")
    alarms_and_dashboard = counted(r"of them, and 3: about (\d+)")
    assert f"about {queues + alarms_and_dashboard} USD a month" in README
