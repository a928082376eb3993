"""The template keeps the house rules, and each is seen to fire: the template is broken on purpose, and the rule that
should say so does. The same of what tests hold instead of rules."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple

import pytest

from rules import house_rules
from tests.infra import cloudformation
from tests.infra import test_alarms as alarm_tests
from tests.infra import test_template as template_tests
from tests.infra.expanded import expanded

Template = dict[str, Any]
RULES = {rule.id: rule for rule in vars(house_rules).values() if isinstance(rule, type) and hasattr(rule, "check")}


class Broken(NamedTuple):
    """``breaks`` changes the expanded template; the rule must then name the resource."""

    rule: str
    resource: str
    breaks: Callable[[Template], object]


def properties(template: Template, name: str) -> dict[str, Any]:
    found: dict[str, Any] = template["Resources"][name]["Properties"]
    return found


def without(name: str, *path: str) -> Callable[[Template], object]:
    """Leaves out a property of a resource, or the resource."""

    def leave_out(template: Template) -> None:
        inside = template["Resources"]
        for key in (name, "Properties", *path)[:-1] if path else ():
            inside = inside[key]
        del inside[path[-1] if path else name]

    return leave_out


def changed(name: str, value: object, *path: str) -> Callable[[Template], object]:
    """Gives a property of a resource another value."""

    def change(template: Template) -> None:
        inside = properties(template, name)
        for key in path[:-1]:
            inside = inside[key]
        inside[path[-1]] = value

    return change


def allows(role: str, action: str, resource: object) -> Callable[[Template], object]:
    """One statement more in a role."""

    def allow(template: Template) -> None:
        statement = {"Effect": "Allow", "Action": action, "Resource": resource}
        properties(template, role)["Policies"][0]["PolicyDocument"]["Statement"].append(statement)

    return allow


def past_the_alias(template: Template) -> None:
    """The socket's route as it would be by ``!GetAtt WebSocketFunction.Arn``."""
    uri = properties(template, "WebSocketApiSubscribeIntegration")["IntegrationUri"]
    uri["Fn::Sub"][1]["FunctionArn"] = {"Fn::GetAtt": ["WebSocketFunction", "Arn"]}


def rest_past_the_alias(template: Template) -> None:
    """A call as it would be without aliases."""
    call = properties(template, "RestApi")["Body"]["paths"]["/health"]["get"]["x-amazon-apigateway-integration"]
    call["uri"] = {"Fn::Sub": call["uri"]["Fn::Sub"].replace("FunctionAliaslive", "Function.Arn")}


def reserved(template: Template) -> None:
    """As a function had it once."""
    properties(template, "DeadLettersFunction")["ReservedConcurrentExecutions"] = 1


def kept_by_nobody(template: Template) -> None:
    """The ledger goes with the stack."""
    template["Resources"]["LedgerTable"]["DeletionPolicy"] = "Delete"


def source_of(function: str, event: str) -> str:
    """The logical id that SAM gives an event source."""
    return f"{function}Function{event}"


ALL = {"Fn::GetAtt": ["LedgerTable", "Arn"]}
BROKEN = {
    "a log group keeps for ever": Broken("E9101", "PushLogGroup", without("PushLogGroup", "RetentionInDays")),
    "logs are text": Broken("E9101", "PushFunction", changed("PushFunction", "Text", "LoggingConfig", "LogFormat")),
    "a function writes to another's log": Broken(
        "E9101", "PushFunction", allows("PushRole", "logs:PutLogEvents", {"Fn::GetAtt": ["SweepLogGroup", "Arn"]})
    ),
    "two functions share a log": Broken(
        "E9101", "PushFunction", changed("PushFunction", {"Ref": "SweepLogGroup"}, "LoggingConfig", "LogGroup")
    ),
    "a queue never gives up": Broken("E9102", "FillsQueue", without("FillsQueue", "RedrivePolicy")),
    "a start that fails is dropped": Broken("E9102", "SweepFunction", without("SweepFunctionEventInvokeConfig")),
    "a start that fails has nowhere to go": Broken(
        "E9102", "SweepFunctionEventInvokeConfig", without("SweepFunctionEventInvokeConfig", "DestinationConfig")
    ),
    "a schedule that fails is dropped": Broken(
        "E9102", "SweepSchedule", without("SweepSchedule", "Target", "DeadLetterConfig")
    ),
    "what a stream gives up is dropped": Broken(
        "E9102", "ProjectLedgerFunctionLedger", without("ProjectLedgerFunctionLedger", "DestinationConfig")
    ),
    "an alarm of a dead-letter queue is gone": Broken("E9103", "FillsDeadLetterQueue", without("FillsDeadLetterAlarm")),
    "an alarm waits for a second letter": Broken(
        "E9103", "FillsDeadLetterQueue", changed("FillsDeadLetterAlarm", 1, "Threshold")
    ),
    "a policy names every resource": Broken("E9104", "PushRole", allows("PushRole", "dynamodb:PutItem", "*")),
    "a policy names every action": Broken("E9104", "PushRole", allows("PushRole", "dynamodb:*", ALL)),
    "a policy names every table": Broken(
        "E9104", "PushRole", allows("PushRole", "dynamodb:PutItem", {"Fn::Sub": "arn:aws:dynamodb:x:y:table/*"})
    ),
    "traces are off": Broken(
        "E9105", "PushFunction", changed("PushFunction", {"Mode": "PassThrough"}, "TracingConfig")
    ),
    "a route calls the function itself": Broken("E9106", "WebSocketApiSubscribeIntegration", past_the_alias),
    "a REST call calls the function itself": Broken("E9106", "RestApi", rest_past_the_alias),
    "a schedule starts the function itself": Broken(
        "E9106", "SweepSchedule", changed("SweepSchedule", {"Fn::GetAtt": ["SweepFunction", "Arn"]}, "Target", "Arn")
    ),
    "a function has no alias": Broken("E9106", "RebuildHotFunction", without("RebuildHotFunctionAliaslive")),
    "a setting is not read": Broken(
        "E9107", "PushFunction", changed("PushFunction", "1", "Environment", "Variables", "PORTFOLIO_TYPO")
    ),
    "a setting is not given": Broken(
        "E9107", "PushFunction", without("PushFunction", "Environment", "Variables", "PORTFOLIO_STACK")
    ),
    "a consumer is not bounded": Broken(
        "E9108", source_of("Push", "Connections"), without(source_of("Push", "Connections"), "ScalingConfig")
    ),
    "a function reserves concurrency": Broken("E9108", "DeadLettersFunction", reserved),
    "the ledger goes with the stack": Broken("E9109", "LedgerTable", kept_by_nobody),
    "the ledger has no backups": Broken(
        "E9109", "LedgerTable", without("LedgerTable", "PointInTimeRecoverySpecification")
    ),
    "the ledger can be deleted": Broken(
        "E9109", "LedgerTable", changed("LedgerTable", False, "DeletionProtectionEnabled")
    ),
    "nothing watches a deployment": Broken(
        "E9110", "PushFunctionAliaslive", without("PushFunctionDeploymentGroup", "AlarmConfiguration")
    ),
    "a deployment is not stopped by what piles up": Broken(
        "E9110",
        "PushFunctionAliaslive",
        changed("PushFunctionDeploymentGroup", [{"Name": {"Ref": "PushErrorsAlarm"}}], "AlarmConfiguration", "Alarms"),
    ),
}


def findings(rule: str, template: Template) -> set[str]:
    """The resources that a rule names."""
    return {name for name, _ in RULES[rule].check(house_rules.Stack(template))}


@pytest.mark.parametrize("rule", sorted(RULES))
def test_the_template_keeps_the_house_rules(rule: str) -> None:
    assert list(RULES[rule].check(house_rules.Stack(expanded()))) == []


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_a_rule_fires_where_the_template_breaks_it(case: str) -> None:
    rule, resource, breaks = BROKEN[case]
    broken = deepcopy(expanded())
    breaks(broken)
    assert resource in findings(rule, broken)


def test_every_rule_is_seen_to_fire() -> None:
    assert {case.rule for case in BROKEN.values()} == RULES.keys()


# What is held by tests, since it compares the template with pages and code.


class Untested(NamedTuple):
    """``breaks`` changes the template as it is written; ``test`` must fail then."""

    breaks: Callable[[Template], object]
    test: Callable[[], object]


BY_TESTS = {
    "an alarm of a function is gone": Untested(
        without("PushErrorsAlarm"),
        alarm_tests.test_every_function_is_watched_for_errors_and_the_urgent_ones_for_throttles,
    ),
    "an alarm of a queue's age is gone": Untested(
        without("PriceAgeAlarm"),
        alarm_tests.test_every_queue_with_a_consumer_and_the_ledgers_stream_are_watched_for_what_waits,
    ),
    "an alarm waits for a metric that nobody emits": Untested(
        changed("SweepFindsAlarm", "SweepFound", "MetricName"),
        lambda: alarm_tests.test_an_alarm_on_a_metric_of_our_own_waits_for_one_that_is_emitted_as_it_says(
            "SweepFindsAlarm"
        ),
    ),
    "an alarm names a runbook that does not exist": Untested(
        changed("SweepFindsAlarm", "Something. Runbook: docs/operations.md#nowhere", "AlarmDescription"),
        lambda: alarm_tests.test_an_alarm_says_what_is_the_matter_and_where_its_runbook_is("SweepFindsAlarm"),
    ),
    "an alarm tells nobody": Untested(
        changed("SweepFindsAlarm", [], "AlarmActions"),
        alarm_tests.test_an_alarm_tells_the_topic_that_is_given_and_nobody_without_one,
    ),
    "a consumer is bounded by another's parameter": Untested(
        changed("PushFunction", 2, "Events", "Connections", "Properties", "ScalingConfig", "MaximumConcurrency"),
        lambda: template_tests.test_an_event_source_is_bounded_by_its_own_parameter(("PushFunction", "Connections")),
    ),
}


@pytest.mark.parametrize("case", sorted(BY_TESTS))
def test_a_test_fails_where_the_template_is_broken(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    breaks, test = BY_TESTS[case]
    test()
    broken = deepcopy(cloudformation.template())
    breaks(broken)
    for module in (cloudformation, alarm_tests, template_tests):
        monkeypatch.setattr(module, "template", lambda: broken)
    with pytest.raises((AssertionError, KeyError)):
        test()


# Publishing versions


def versions(template: Template) -> set[str]:
    return {name for name, body in template["Resources"].items() if body["Type"] == "AWS::Lambda::Version"}


def test_a_deployment_that_is_not_in_steps_needs_no_codedeploy() -> None:
    kinds = {body["Type"].partition("::CodeDeploy")[1] for body in expanded("none")["Resources"].values()}
    assert kinds == {""}
    assert findings("E9106", expanded("none")) == set()


@pytest.mark.parametrize("name", ["FoliostreamLayer", "MetricsDependenciesLayer"])
def test_another_layer_publishes_a_version_of_every_function_that_has_it(name: str) -> None:
    everywhere = cloudformation.template()["Globals"]["Function"]["Layers"]
    layered = {
        function
        for function, body in cloudformation.resources(cloudformation.FUNCTION).items()
        if name in map(cloudformation.referenced, [*everywhere, *body.get("Layers", [])])
    }
    content = f"ContentUri: {cloudformation.resources(cloudformation.LAYER)[name]['ContentUri']}\n"
    text = cloudformation.TEMPLATE.read_text()
    assert text.count(content) == 1
    other = expanded(template=text.replace(content, "ContentUri: layers/other\n"))
    published = {version.partition("Version")[0] for version in versions(other) - versions(expanded())}
    assert published == layered
