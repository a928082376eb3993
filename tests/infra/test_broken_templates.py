"""Each house rule is seen to fire: the template is broken on purpose, and the rule that should say so does."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple

import pytest

from tests.infra import cloudformation
from tests.infra import test_alarms as alarm_rules
from tests.infra import test_template as rules

Template = dict[str, Any]


metric_is_emitted = alarm_rules.test_an_alarm_on_a_metric_of_our_own_waits_for_one_that_is_emitted_as_it_says


class Broken(NamedTuple):
    """``breaks`` changes the template; ``rule`` is the test that must fail then."""

    breaks: Callable[[Template], object]
    rule: Callable[[], object]


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


def widened(template: Template) -> None:
    """Push may write any table."""
    policy = properties(template, "PushRole")["Policies"][0]["PolicyDocument"]
    policy["Statement"].append({"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": "*"})


def widened_on_aws(template: Template) -> None:
    """Alarms are asked for without naming any, on AWS too."""
    for statement in properties(template, "RestApiRole")["Policies"][0]["PolicyDocument"]["Statement"]:
        if statement["Action"] == "cloudwatch:DescribeAlarms":
            statement["Resource"]["Fn::If"][2] = "*"


def any_action(template: Template) -> None:
    """Push may do anything with the ledger."""
    policy = properties(template, "PushRole")["Policies"][0]["PolicyDocument"]
    ledger = {"Fn::GetAtt": ["LedgerTable", "Arn"]}
    policy["Statement"].append({"Effect": "Allow", "Action": "dynamodb:*", "Resource": ledger})


def unread_setting(template: Template) -> None:
    """A variable that no settings model reads."""
    template["Globals"]["Function"]["Environment"]["Variables"]["PORTFOLIO_TYPO"] = "1"


def traces_off(template: Template) -> None:
    """For all functions."""
    template["Globals"]["Function"]["Tracing"] = "PassThrough"


BROKEN = {
    "an alarm of a dead-letter queue is gone": Broken(
        without("FillsDeadLetterAlarm"), alarm_rules.test_every_dead_letter_queue_has_an_alarm
    ),
    "an alarm of a function is gone": Broken(
        without("PushErrorsAlarm"),
        alarm_rules.test_every_function_is_watched_for_errors_and_the_urgent_ones_for_throttles,
    ),
    "an alarm of a queue's age is gone": Broken(
        without("PriceAgeAlarm"),
        alarm_rules.test_every_queue_with_a_consumer_and_the_ledgers_stream_are_watched_for_what_waits,
    ),
    "an alarm waits for a metric that nobody emits": Broken(
        changed("SweepFindsAlarm", "SweepFound", "MetricName"),
        lambda: alarm_rules.test_an_alarm_on_a_metric_of_our_own_waits_for_one_that_is_emitted_as_it_says(
            "SweepFindsAlarm"
        ),
    ),
    "an alarm names a runbook that does not exist": Broken(
        changed("SweepFindsAlarm", "Something. Runbook: docs/operations.md#nowhere", "AlarmDescription"),
        lambda: alarm_rules.test_an_alarm_says_what_is_the_matter_and_where_its_runbook_is("SweepFindsAlarm"),
    ),
    "an alarm tells nobody": Broken(
        changed("SweepFindsAlarm", [], "AlarmActions"),
        alarm_rules.test_an_alarm_tells_the_topic_that_is_given_and_nobody_without_one,
    ),
    "a queue never gives up": Broken(
        without("FillsQueue", "RedrivePolicy"),
        lambda: rules.test_a_queue_gives_up_to_a_dead_letter_queue_of_its_own_kind("FillsQueue"),
    ),
    "a start that fails is dropped": Broken(
        without("SweepFunction", "EventInvokeConfig", "DestinationConfig"),
        rules.test_every_asynchronous_start_ends_in_a_dead_letter_queue,
    ),
    "a schedule that fails is dropped": Broken(
        without("SweepSchedule", "Target", "DeadLetterConfig"),
        rules.test_every_asynchronous_start_ends_in_a_dead_letter_queue,
    ),
    "a policy names every resource": Broken(widened, rules.test_no_policy_names_every_resource_or_every_action),
    "a policy names every resource on AWS": Broken(
        widened_on_aws, rules.test_no_policy_names_every_resource_or_every_action
    ),
    "a policy names every action": Broken(any_action, rules.test_no_policy_names_every_resource_or_every_action),
    "a log group keeps for ever": Broken(
        without("PushLogGroup", "RetentionInDays"),
        lambda: rules.test_a_function_logs_json_to_a_group_of_its_own_that_forgets("PushFunction"),
    ),
    "traces are off": Broken(
        traces_off,
        lambda: rules.test_a_function_has_a_role_of_its_own_for_python_313_on_arm_with_traces("PushFunction"),
    ),
    "a consumer is not bounded": Broken(
        without("PushFunction", "Events", "Connections", "Properties", "ScalingConfig"),
        lambda: rules.test_an_event_source_is_bounded_by_its_own_parameter(("PushFunction", "Connections")),
    ),
    "a setting is not read": Broken(
        unread_setting, rules.test_functions_get_exactly_the_environment_that_the_settings_read
    ),
    "the page may be read by anybody": Broken(
        changed("PageBucket", {"BlockPublicAcls": True}, "PublicAccessBlockConfiguration"),
        rules.test_the_pages_files_are_read_by_its_distribution_only,
    ),
    "the page may load foreign scripts": Broken(
        changed(
            "PageHeaders",
            {"Fn::Sub": "default-src *"},
            *("ResponseHeadersPolicyConfig", "SecurityHeadersConfig"),
            *("ContentSecurityPolicy", "ContentSecurityPolicy"),
        ),
        rules.test_the_page_has_the_policy_that_it_is_tested_with_on_this_machine,
    ),
    "the page's calls go unencrypted": Broken(
        lambda template: properties(template, "PageDistribution")["DistributionConfig"]["CacheBehaviors"][0].update(
            ViewerProtocolPolicy="allow-all"
        ),
        rules.test_the_page_and_its_api_are_reached_over_tls_and_nothing_of_the_api_is_kept,
    ),
    "the ledger has no backups": Broken(
        without("LedgerTable", "PointInTimeRecoverySpecification"),
        rules.test_the_ledger_can_be_restored_is_streamed_and_outlives_the_stack,
    ),
    "the ledger can be deleted": Broken(
        changed("LedgerTable", False, "DeletionProtectionEnabled"),
        rules.test_the_ledger_can_be_restored_is_streamed_and_outlives_the_stack,
    ),
}


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_a_rule_fires_where_the_template_breaks_it(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    breaks, rule = BROKEN[case]
    rule()
    broken = deepcopy(cloudformation.template())
    breaks(broken)
    for module in (cloudformation, alarm_rules, rules):
        monkeypatch.setattr(module, "template", lambda: broken)
    with pytest.raises((AssertionError, KeyError)):
        rule()
