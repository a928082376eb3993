"""Whoever is woken by an alarm reads what is the matter and where to go on, and no alarm waits for nothing."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import pytest

from foliostream.application import taking_prices
from foliostream.application.update_prices import PriceReport
from foliostream.domain import reconciliation
from foliostream.domain.reconciliation import Report
from tests.infra.cloudformation import FUNCTION, QUEUE, ROOT, referenced, resources, template

OPERATIONS = ROOT / "docs" / "operations.md"
OWN = "Foliostream"
# Their callers, prices, fills and stop-outs wait for them; all others may come later.
URGENT = (
    "PriceUpdate",
    "Recalculate",
    "Push",
    "RestApi",
    "WebSocket",
    "Authorizer",
    "ProjectLedger",
    "RecordFill",
    "Liquidate",
)


def alarms() -> dict[str, dict[str, Any]]:
    return resources("AWS::CloudWatch::Alarm")


def headings() -> set[str]:
    """Anchors of the runbooks, as GitHub makes them of headings."""
    titles = re.findall(r"^#+ (.+)$", OPERATIONS.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}


def emitted() -> dict[str, set[str]]:
    """The metrics that functions write, each with the dimensions of its line; those of prices and of a
    broker's account are written where they are taken and looked at, whoever asked for it (``wiring``)."""
    report = Report(broker="b", account="a", status="ok", checked_at_ms=0)
    shared = (*reconciliation.figures(report), *taking_prices.figures(PriceReport(), 0, ()))
    found = {name: {"Stack"} for name in shared}
    for path in (ROOT / "functions").glob("*/app.py"):
        tree = ast.parse(path.read_text())
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and "metrics.emit" in ast.unparse(node)]
        if calls:
            keys = {
                key.value
                for node in ast.walk(tree)
                if isinstance(node, ast.Dict)
                for key in node.keys
                if isinstance(key, ast.Constant) and str(key.value)[:1].isupper()
            }
            dimensions = keys & {"Stack", "AccountType"}
            for name in keys - dimensions:
                found[str(name)] = {str(dimension) for dimension in dimensions}
    return found


def dimensions(alarm: dict[str, Any]) -> dict[str, Any]:
    return {item["Name"]: item["Value"] for item in alarm["Dimensions"]}


def watched(metric: str) -> set[str]:
    """The resources that have an alarm on a metric."""
    return {
        referenced(value)
        for alarm in alarms().values()
        if alarm["MetricName"] == metric
        for value in dimensions(alarm).values()
    }


@pytest.mark.parametrize("name", sorted(alarms()))
def test_an_alarm_says_what_is_the_matter_and_where_its_runbook_is(name: str) -> None:
    said = re.fullmatch(
        r"([A-Z].+[.]) Runbook: docs/operations\.md#([a-z0-9-]+)\n?", alarms()[name]["AlarmDescription"]
    )
    assert said, alarms()[name]["AlarmDescription"]
    assert said[2] in headings()


def test_every_runbook_of_an_alarm_is_of_an_alarm_and_says_whom_to_call() -> None:
    text = OPERATIONS.read_text()
    section = text.partition("\n## Alarms\n")[2].partition("\n## ")[0]
    runbooks = section.split("\n### ")[1:]
    linked = {alarm["AlarmDescription"].strip().rpartition("#")[2] for alarm in alarms().values()}
    titles = [runbook.splitlines()[0] for runbook in runbooks]
    assert {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles} == linked
    assert not [title for title, runbook in zip(titles, runbooks, strict=True) if "- **Do:**" not in runbook]
    assert not [title for title, runbook in zip(titles, runbooks, strict=True) if "- **Escalate**" not in runbook]


def test_an_alarm_tells_the_topic_that_is_given_and_nobody_without_one() -> None:
    told = {"Fn::If": ["AlarmTopicGiven", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}
    assert [name for name, alarm in alarms().items() if alarm["AlarmActions"] != told] == []


@pytest.mark.parametrize("name", sorted(name for name, alarm in alarms().items() if alarm["Namespace"] == OWN))
def test_an_alarm_on_a_metric_of_our_own_waits_for_one_that_is_emitted_as_it_says(name: str) -> None:
    alarm = alarms()[name]
    assert set(dimensions(alarm)) == emitted()[alarm["MetricName"]]
    assert dimensions(alarm)["Stack"] == {"Ref": "AWS::StackName"}


def test_every_queue_with_a_consumer_and_the_ledgers_stream_are_watched_for_what_waits() -> None:
    working = {name for name in resources(QUEUE) if not name.endswith("DeadLetterQueue")}
    assert watched("ApproximateAgeOfOldestMessage") == working
    assert watched("IteratorAge") == {"ProjectLedgerFunction"}


def test_every_function_is_watched_for_errors_and_the_urgent_ones_for_throttles() -> None:
    assert watched("Errors") == set(resources(FUNCTION))
    assert watched("Throttles") == {f"{name}Function" for name in URGENT}


def test_every_account_type_is_watched_for_late_updates_by_its_worst_hundredth() -> None:
    late = [alarm for alarm in alarms().values() if alarm["MetricName"] == "DirtyAge"]
    assert {dimensions(alarm)["AccountType"] for alarm in late} == {"live", "demo", "paper"}
    assert {alarm["ExtendedStatistic"] for alarm in late} == {"p99"}


# The dashboard


def widgets() -> list[dict[str, Any]]:
    (dashboard,) = resources("AWS::CloudWatch::Dashboard").values()
    found: list[dict[str, Any]] = json.loads(dashboard["DashboardBody"]["Fn::Sub"])["widgets"]
    return found


def series(widget: dict[str, Any]) -> list[list[Any]]:
    """The metrics of a widget, without its expressions."""
    return [metric for metric in widget["properties"]["metrics"] if isinstance(metric[0], str)]


def test_the_first_row_says_how_fresh_how_much_what_was_lost_what_is_degraded_and_who_is_gone() -> None:
    first = {metric[1] for widget in widgets() if widget["y"] == 0 for metric in series(widget)}
    assert first == {
        "DirtyAge",
        "SymbolsProcessed",
        "PortfoliosValued",
        "PortfoliosDegraded",
        "MessagesPushed",
        "FillsBooked",
        "SweepFinds",
        "GonePercent",
    }
    fresh = {(metric[5], metric[-1]["stat"]) for metric in series(widgets()[0])}
    assert fresh == {(name, stat) for name in ("live", "demo", "paper") for stat in ("p50", "p99")}


def test_the_dashboard_shows_metrics_that_are_emitted_and_resources_that_exist() -> None:
    for widget in widgets():
        for namespace, metric, *pairs in series(widget):
            names = dict(zip(pairs[:-1:2], pairs[1:-1:2], strict=True))
            if namespace == OWN:
                assert set(names) == emitted()[metric], metric
            else:
                (value,) = names.values()
                assert value.strip("${}").partition(".")[0] in template()["Resources"]


def test_widgets_do_not_overlap_and_fill_the_grid() -> None:
    taken = [
        (x, y)
        for widget in widgets()
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) == 23


def test_what_a_dashboard_and_a_stack_hold_is_not_exceeded() -> None:
    assert max(len(series(widget)) for widget in widgets()) <= 500
    assert sum(len(series(widget)) for widget in widgets()) <= 2_500
    assert len(template()["Parameters"]) <= 200
