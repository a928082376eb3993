"""What the template must say. It cannot tell whether AWS or the emulator does what it says: the end-to-end tests do."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from foliostream import queues
from foliostream.application.dead_letters import HOLD_SECONDS
from foliostream.application.protocol import ACTIONS
from foliostream.application.record_fill import RATE_RECEIVES_MAX
from foliostream.domain.swaps import BORDER_MINUTES, BORDER_ZONE
from foliostream.queues import Queue
from foliostream.settings import CALLERS, ENVIRONMENT_NAMES, Settings
from local import page_server
from tests.infra.cloudformation import (
    FUNCTION,
    QUEUE,
    ROOT,
    Node,
    allowed,
    as_list,
    function_setting,
    referenced,
    resources,
    sqs_sources,
    statements,
    template,
    walk,
)
from tests.infra.deployed import ACCOUNT, Values
from tests.infra.expanded import expanded
from tests.support.environment import ENVIRONMENT

# AWS's own cache policy, the same in every account.
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
# An SQS queue's name has 80 characters at most.
STACK_NAME_MAX = 50

# Named by resources of the stack; nobody sets them.
OF_THE_STACK = {
    "PORTFOLIO_STACK",
    "PORTFOLIO_QUEUES",
    "PORTFOLIO_LEDGER_TABLE",
    "PORTFOLIO_HOT_TABLE",
    "PORTFOLIO_SESSIONS_TABLE",
    "PORTFOLIO_USAGE_KEYS",
}
OTHER_NAMES = {
    "PORTFOLIO_WINDOW_MS": ("LiveWindowMs", "DemoWindowMs", "PaperWindowMs"),
    "PORTFOLIO_EVENT_BUS": ("EventBusName",),
}


# Every store and every provider can be chosen in it.
OPEN_TO_ALL = ENVIRONMENT | {
    "PORTFOLIO_REDIS_URL": "redis://127.0.0.1:6379",
    "PORTFOLIO_MARKET_HTTP_URL": "https://quotes.example.com",
}


def parameters() -> dict[str, dict[str, Any]]:
    loaded: dict[str, dict[str, Any]] = template()["Parameters"]
    return loaded


def environment() -> dict[str, Any]:
    loaded: dict[str, Any] = template()["Globals"]["Function"]["Environment"]["Variables"]
    return loaded


def parameters_of(variable: str) -> tuple[str, ...]:
    words = variable.removeprefix("PORTFOLIO_").split("_")
    return OTHER_NAMES.get(variable, ("".join(word.capitalize() for word in words),))


def mentions(value: Node, parameter: str) -> bool:
    """By Ref or inside a Sub."""
    return any(
        (key == "Ref" and inner == parameter) or (key == "Fn::Sub" and f"${{{parameter}}}" in str(as_list(inner)[0]))
        for key, inner in walk(value)
    )


def ends(definition: dict[str, Any]) -> list[str]:
    """Smallest, largest and default value, or all that are allowed."""
    values = definition.get("AllowedValues", [definition.get("MinValue"), definition.get("MaxValue")])
    return [str(value) for value in [*values, definition.get("Default")] if value is not None]


NUMERIC_SETTINGS = [
    (variable, parameter)
    for variable in sorted(ENVIRONMENT_NAMES - OF_THE_STACK - {"PORTFOLIO_WINDOW_MS"})
    for parameter in parameters_of(variable)
    if parameters().get(parameter, {}).get("Type") == "Number" or "AllowedValues" in parameters().get(parameter, {})
]


# Settings and parameters


@pytest.mark.parametrize("variable", sorted(ENVIRONMENT_NAMES - OF_THE_STACK))
def test_every_setting_of_a_deployer_is_the_parameter_named_after_it(variable: str) -> None:
    for parameter in parameters_of(variable):
        assert parameter in parameters()
        assert mentions({"value": environment()[variable]}, parameter)


@pytest.mark.parametrize(("variable", "parameter"), NUMERIC_SETTINGS)
def test_what_a_parameter_allows_the_settings_accept(variable: str, parameter: str) -> None:
    assert ends(parameters()[parameter])
    for value in ends(parameters()[parameter]):
        Settings.read(OPEN_TO_ALL | {variable: value})


def test_every_window_that_is_allowed_the_settings_accept() -> None:
    windows = template()["Mappings"]["LiveWindow"]
    live = [windows[value][store] for value in ends(parameters()["LiveWindowMs"]) for store in ("dynamodb", "valkey")]
    for demo in ends(parameters()["DemoWindowMs"]):
        for paper in ends(parameters()["PaperWindowMs"]):
            Settings.read(OPEN_TO_ALL | {"PORTFOLIO_WINDOW_MS": f"live={live[0]},demo={demo},paper={paper}"})
    for value in live:
        Settings.read(OPEN_TO_ALL | {"PORTFOLIO_WINDOW_MS": f"live={value},demo=1000,paper=3000"})


@pytest.mark.parametrize("name", sorted(template()["Parameters"]))
def test_a_parameter_is_described_in_a_sentence_and_bounded(name: str) -> None:
    definition = parameters()[name]
    description = definition["Description"]
    assert description[0].isupper() or description[0] == "`"
    assert description.endswith(".")
    if definition["Type"] == "Number":
        assert "AllowedValues" in definition or {"MinValue", "MaxValue"} <= definition.keys()
    elif "AllowedValues" not in definition:
        assert {"AllowedPattern", "ConstraintDescription"} <= definition.keys()
        assert "MaxLength" in definition or definition["Type"] == "CommaDelimitedList"


def test_every_parameter_stands_in_one_group_of_the_form() -> None:
    groups = template()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(parameters())


def test_who_may_call_is_never_guessed() -> None:
    assert [name for name in parameters() if "Default" not in parameters()[name]] == [
        "JwtIssuer",
        "JwtAudience",
        "JwksUrl",
    ]


@pytest.mark.parametrize(
    ("url", "accepted"),
    [
        ("https://issuer.example.com/jwks.json", True),
        ("http://127.0.0.1:8080/jwks.json", True),
        ("http://issuer.example.com/jwks.json", False),
        ("http://127.0.0.1.example.com/jwks.json", False),
        ("file:///etc/passwd", False),
        ("", False),
    ],
)
def test_keys_come_over_https_or_from_this_machine(url: str, accepted: bool) -> None:
    assert bool(re.search(parameters()["JwksUrl"]["AllowedPattern"], url)) is accepted


def test_left_alone_the_template_costs_nothing_fixed_calls_nobody_and_protects_the_ledger() -> None:
    expected = {"HotStore": "dynamodb", "MarketProvider": "none", "ProtectLedger": "on", "ExecuteApiBase": ""}
    assert {name: parameters()[name]["Default"] for name in expected} == expected


# Windows


def test_a_queue_holds_a_message_for_the_whole_seconds_of_its_window() -> None:
    delays = template()["Mappings"]["WindowDelay"]
    assert {window: row["Seconds"] for window, row in delays.items()} == {
        window: int(window) // 1000 for window in delays
    }
    chosen = {value for row in template()["Mappings"]["LiveWindow"].values() for value in row.values()}
    assert chosen | set(ends(parameters()["DemoWindowMs"])) | set(ends(parameters()["PaperWindowMs"])) <= set(delays)


def test_the_live_window_is_what_was_asked_for_and_auto_depends_on_the_store() -> None:
    rows = template()["Mappings"]["LiveWindow"]
    assert set(rows) == set(parameters()["LiveWindowMs"]["AllowedValues"])
    assert rows["auto"] == {"dynamodb": "1000", "valkey": "200"}
    assert all(row == {"dynamodb": name, "valkey": name} for name, row in rows.items() if name != "auto")


def test_queue_delay_and_environment_take_the_same_window() -> None:
    live = {"Fn::FindInMap": ["LiveWindow", {"Ref": "LiveWindowMs"}, {"Ref": "HotStore"}]}
    windows = {
        "DirtyLiveQueue": live,
        "DirtyDemoQueue": {"Ref": "DemoWindowMs"},
        "DirtyPaperQueue": {"Ref": "PaperWindowMs"},
    }
    for queue, window in windows.items():
        assert resources(QUEUE)[queue]["DelaySeconds"] == {"Fn::FindInMap": ["WindowDelay", window, "Seconds"]}
    assert environment()["PORTFOLIO_WINDOW_MS"] == {
        "Fn::Sub": ["live=${Live},demo=${DemoWindowMs},paper=${PaperWindowMs}", {"Live": live}]
    }


def test_only_dirty_queues_delay() -> None:
    delayed = {name for name, queue in resources(QUEUE).items() if "DelaySeconds" in queue}
    assert delayed == {"DirtyLiveQueue", "DirtyDemoQueue", "DirtyPaperQueue"}


# Queues


def dead_letter_queue(name: str) -> str:
    return referenced(resources(QUEUE)[name]["RedrivePolicy"]["deadLetterTargetArn"])


WORKING_QUEUES = sorted(name for name in resources(QUEUE) if not name.endswith("DeadLetterQueue"))
DEAD_LETTER_QUEUES = sorted(name for name in resources(QUEUE) if name.endswith("DeadLetterQueue"))


def queue_name(resource: str) -> str:
    """What comes after the stack's name and a dash."""
    given = resources(QUEUE)[resource]["QueueName"]["Fn::Sub"]
    assert given.startswith("${AWS::StackName}-")
    return str(given.removeprefix("${AWS::StackName}-"))


def test_the_queues_are_those_that_the_code_names() -> None:
    assert {queue_name(name) for name in WORKING_QUEUES} == set(Queue)
    for name in WORKING_QUEUES:
        assert queue_name(dead_letter_queue(name)) == Queue(queue_name(name)).dead
    of_starts = {queue_name(name) for name in DEAD_LETTER_QUEUES} - {queue.dead for queue in Queue}
    assert queues.LEDGER_DEAD in of_starts
    assert all(name.endswith("-dead") for name in of_starts)


@pytest.mark.parametrize("name", sorted(resources(QUEUE)))
def test_a_queue_is_fifo_where_its_name_says_so(name: str) -> None:
    assert resources(QUEUE)[name].get("FifoQueue", False) is queue_name(name).endswith(".fifo")


def test_a_stack_whose_name_has_the_length_that_is_told_has_no_queue_with_too_long_a_name() -> None:
    longest = max(len(queue_name(name)) for name in resources(QUEUE))
    assert STACK_NAME_MAX + len("-") + longest <= 80
    told = f"{STACK_NAME_MAX} characters"
    assert told in template()["Description"]
    assert told in (ROOT / "README.md").read_text()


def test_the_addresses_of_all_queues_begin_as_the_setting_says() -> None:
    for host in ("https://sqs.eu-west-1.amazonaws.com", "http://127.0.0.1:4566"):
        values = Values({"AWS::AccountId": ACCOUNT, "AWS::StackName": "my-price-stack"}, host)
        base = values.of(environment()["PORTFOLIO_QUEUES"])
        for name in resources(QUEUE):
            assert base + queue_name(name) == values.of({"Ref": name})


STACK_ID = "arn:aws:cloudformation:eu-west-1:123456789012:stack/app/0a1b2c3d-1111-2222-3333-0123456789ab"
LONG = {
    "AWS::StackId": STACK_ID,
    "RedisUrl": "rediss://" + "r" * 120 + ":6379",
    "RedisIam": "u" * 40 + "@" + "c" * 40,
    "MarketHttpUrl": "https://" + "q" * 200,
    "JwtIssuer": "https://" + "i" * 120,
    "JwksUrl": "https://" + "j" * 150,
    "KiteSecretArn": "arn:aws:secretsmanager:ap-southeast-1:123456789012:secret:" + "k" * 60,
    "KiteRoot": "https://" + "k" * 60,
    "JwtAudience": "a" * 64,
    "FillsOwner": "o" * 128,
    "EventBusName": "b" * 60,
    "MarketHolidays": ",".join(["2026-12-25"] * 30),
    "CloseTimeZone": "America/Argentina/ComodRivadavia",
}


@pytest.mark.parametrize("name", sorted(resources(FUNCTION)))
def test_the_environment_of_a_function_stays_below_the_four_kilobytes_that_lambda_has(name: str) -> None:
    values = Values(
        {"AWS::AccountId": ACCOUNT, "AWS::StackName": "s" * STACK_NAME_MAX, "AWS::Region": "ap-southeast-1"} | LONG,
        "https://sqs.ap-southeast-1.amazonaws.com",
    )
    own = resources(FUNCTION)[name].get("Environment", {}).get("Variables", {})
    variables = {key: values.of(value) for key, value in (environment() | own).items()}
    assert not [key for key, value in variables.items() if "${" in value]
    assert len(json.dumps(variables)) <= 4_096


@pytest.mark.parametrize("name", [name for name, queue in resources(QUEUE).items() if queue.get("FifoQueue")])
def test_a_fifo_queue_has_high_throughput_and_deduplicates_by_group(name: str) -> None:
    queue = resources(QUEUE)[name]
    assert queue["DeduplicationScope"] == "messageGroup"
    assert queue["FifoThroughputLimit"] == "perMessageGroupId"
    assert "ContentBasedDeduplication" not in queue


@pytest.mark.parametrize("name", WORKING_QUEUES)
def test_a_queue_gives_up_to_a_dead_letter_queue_of_its_own_kind(name: str) -> None:
    queues = resources(QUEUE)
    target = dead_letter_queue(name)
    assert target == name.removesuffix("Queue") + "DeadLetterQueue"
    assert queues[target].get("FifoQueue") == queues[name].get("FifoQueue")
    assert queues[name]["RedrivePolicy"]["maxReceiveCount"] >= 20


@pytest.mark.parametrize("name", WORKING_QUEUES)
def test_a_dead_letter_queue_admits_its_own_queue_only(name: str) -> None:
    queues = resources(QUEUE)
    policy = queues[dead_letter_queue(name)]["RedriveAllowPolicy"]
    source = queues[name]["QueueName"]["Fn::Sub"]
    arn = "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:" + source
    assert policy == {"redrivePermission": "byQueue", "sourceQueueArns": [{"Fn::Sub": arn}]}


@pytest.mark.parametrize("name", DEAD_LETTER_QUEUES)
def test_a_dead_letter_queue_keeps_for_fourteen_days(name: str) -> None:
    assert resources(QUEUE)[name]["MessageRetentionPeriod"] == 14 * 86_400


@pytest.mark.parametrize("name", sorted(resources(QUEUE)))
def test_a_queue_is_encrypted(name: str) -> None:
    assert resources(QUEUE)[name]["SqsManagedSseEnabled"] is True


@pytest.mark.parametrize("source", sorted(sqs_sources()))
def test_a_batch_is_ten_at_once_and_reports_its_failures_one_by_one(source: tuple[str, str]) -> None:
    properties = sqs_sources()[source]
    assert properties["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert properties["BatchSize"] == 10
    assert "MaximumBatchingWindowInSeconds" not in properties


@pytest.mark.parametrize("source", sorted(sqs_sources()))
def test_an_event_source_is_bounded_by_its_own_parameter(source: tuple[str, str]) -> None:
    properties = sqs_sources()[source]
    queue = referenced(properties["Queue"])
    limit = properties["ScalingConfig"]["MaximumConcurrency"]
    fixed = {"FeedQueue": 2, "RebuildQueue": 5}
    fixed |= dict.fromkeys(("CloseDayQueue", "BookSwapsQueue", "OrdersQueue", "LiquidationQueue"), 10)
    if queue in fixed:
        assert limit == fixed[queue]
        return
    parameter = queue.removeprefix("Dirty").removesuffix("Queue") + "MaximumConcurrency"
    assert limit == {"Fn::FindInMap": ["Concurrency", {"Ref": parameter}, "Number"]}


def test_the_concurrency_that_is_asked_for_is_the_one_that_is_set() -> None:
    rows = template()["Mappings"]["Concurrency"]
    assert {name: row["Number"] for name, row in rows.items()} == {name: int(name) for name in rows}
    limits = [body["AllowedValues"] for name, body in parameters().items() if name.endswith("MaximumConcurrency")]
    assert limits == [list(rows)] * 12
    assert all(2 <= row["Number"] <= 1000 for row in rows.values())


@pytest.mark.parametrize("source", sorted(sqs_sources()))
def test_a_message_comes_back_soon_after_its_function_could_have_ended(source: tuple[str, str]) -> None:
    visibility = resources(QUEUE)[referenced(sqs_sources()[source]["Queue"])]["VisibilityTimeout"]
    timeout = function_setting(source[0], "Timeout")
    assert timeout + 5 <= visibility <= timeout + 10


def test_every_queue_has_one_consumer() -> None:
    assert sorted(referenced(source["Queue"]) for source in sqs_sources().values()) == WORKING_QUEUES


def dead_letters_of(destination: Node) -> str:
    """The queue that ``DestinationConfig`` names."""
    return referenced(destination["OnFailure"]["Destination"])


def started_functions() -> set[str]:
    """Those that a schedule, a rule or another function starts without waiting, or that ask for retries of it."""
    targets = [target for rule in resources("AWS::Events::Rule").values() for target in rule["Targets"]]
    targets += [schedule["Target"] for schedule in resources("AWS::Scheduler::Schedule").values()]
    named = {referenced(target["Arn"]) for target in targets} & resources(FUNCTION).keys()
    named |= {name for name in resources(FUNCTION) if function_setting(name, "EventInvokeConfig")}
    return named | allowed("WebSocketRole", "lambda:InvokeFunction")


def asynchronous_paths() -> dict[str, str]:
    """Every way in which something is worked on that nobody waits for, and the dead-letter queue in which it ends."""
    paths = {name: dead_letter_queue(name) for name in WORKING_QUEUES}
    for name, mapping in resources("AWS::Lambda::EventSourceMapping").items():
        paths[name] = dead_letters_of(mapping["DestinationConfig"])
    paths["stream"] = dead_letters_of(ledger_stream()["DestinationConfig"])
    for name, rule in resources("AWS::Events::Rule").items():
        paths |= {f"{name}.{target['Id']}": referenced(target["DeadLetterConfig"]["Arn"]) for target in rule["Targets"]}
    for name, schedule in resources("AWS::Scheduler::Schedule").items():
        paths[name] = referenced(schedule["Target"]["DeadLetterConfig"]["Arn"])
    for name in started_functions():
        paths[name] = dead_letters_of(function_setting(name, "EventInvokeConfig")["DestinationConfig"])
    return paths


def test_functions_take_events_of_queues_the_ledgers_stream_and_the_apis_only() -> None:
    kinds = {
        event["Type"] for function in resources(FUNCTION).values() for event in function.get("Events", {}).values()
    }
    assert kinds == {"SQS", "DynamoDB", "Api"}


def test_every_asynchronous_path_ends_in_dead_letters_that_the_code_knows_and_the_function_may_read() -> None:
    used = set(asynchronous_paths().values())
    assert used == set(DEAD_LETTER_QUEUES)
    known = {url.removeprefix("https://sqs/") for url in queues.all_dead_letter_urls("https://sqs/").values()}
    assert {queue_name(name) for name in used} == known
    for action in ("GetQueueAttributes", "ReceiveMessage", "ChangeMessageVisibility", "DeleteMessage"):
        assert allowed("DeadLettersRole", f"sqs:{action}") == used


def test_dead_letters_go_back_to_every_queue_and_to_every_function_that_they_can_come_from() -> None:
    sources = {url.removeprefix("https://sqs/") for url in queues.source_urls("https://sqs/").values()}
    sends = {queue_name(name) for name in allowed("DeadLettersRole", "sqs:SendMessage")}
    # Delayed ones are marked anew; books that cannot be projected become dead letters again.
    assert sends == (sources - {Queue.DELAYED}) | {queues.LEDGER_DEAD}
    assert allowed("DeadLettersRole", "lambda:InvokeFunction") == started_functions()


def test_dead_letters_are_held_for_longer_than_a_call_takes() -> None:
    assert function_setting("DeadLettersFunction", "Timeout") < HOLD_SECONDS
    assert "Events" not in resources(FUNCTION)["DeadLettersFunction"]


def ledger_stream() -> dict[str, Any]:
    (source,) = [
        event["Properties"]
        for function in resources(FUNCTION).values()
        for event in function.get("Events", {}).values()
        if event["Type"] == "DynamoDB"
    ]
    properties: dict[str, Any] = source
    return properties


def test_of_the_ledgers_stream_portfolios_changes_of_their_status_and_fills_are_read_from_the_first_one() -> None:
    source = ledger_stream()
    assert source == resources(FUNCTION)["ProjectLedgerFunction"]["Events"]["Ledger"]["Properties"]
    assert source["Stream"] == {"Fn::GetAtt": ["LedgerTable", "StreamArn"]}
    assert source["StartingPosition"] == "TRIM_HORIZON"
    (pattern,) = [json.loads(one["Pattern"]) for one in source["FilterCriteria"]["Filters"]]
    read = ["PORTFOLIO", {"prefix": "CHANGE#"}, {"prefix": "TRANSACTION#fill:"}, {"prefix": "TRANSACTION#order:"}]
    assert pattern == {"eventName": ["INSERT", "MODIFY"], "dynamodb": {"Keys": {"sk": {"S": read}}}}


def test_a_change_that_fails_is_retried_alone_and_bounded_and_ends_as_a_dead_letter() -> None:
    source = ledger_stream()
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["BisectBatchOnFunctionError"] is True
    assert 1 < source["ParallelizationFactor"] <= 10
    assert 0 < source["BatchSize"] <= 100
    assert 0 < source["MaximumRetryAttempts"] <= 10_000
    # Longer than an outage, shorter than the stream keeps anything.
    assert 900 <= source["MaximumRecordAgeInSeconds"] < 86_400
    queue = referenced(source["DestinationConfig"]["OnFailure"]["Destination"])
    assert queue in DEAD_LETTER_QUEUES
    assert "FifoQueue" not in resources(QUEUE)[queue]  # Lambda refuses FIFO queues as a stream's destination
    role = referenced(function_setting("ProjectLedgerFunction", "Role"))
    assert queue in allowed(role, "sqs:SendMessage")
    for action in ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"):
        assert allowed(role, f"dynamodb:{action}") == {"LedgerTable"}


def test_only_the_two_rules_may_send_from_outside_each_to_its_own_queues() -> None:
    policies = resources("AWS::SQS::QueuePolicy")
    rules = {
        "PriceQueue": "PriceRule",
        "PriceRuleDeadLetterQueue": "PriceRule",
        "OrderFilledQueue": "OrderFilledRule",
        "OrderFilledRuleDeadLetterQueue": "OrderFilledRule",
    }
    assert {referenced(queue) for policy in policies.values() for queue in policy["Queues"]} == set(rules)
    for policy in policies.values():
        (queue,) = map(referenced, policy["Queues"])
        (statement,) = policy["PolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "events.amazonaws.com"}
        assert statement["Action"] == "sqs:SendMessage"
        assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": [rules[queue], "Arn"]}}}


def test_the_feed_starts_every_minute_only_where_there_is_a_provider() -> None:
    schedule = resources("AWS::Scheduler::Schedule")["FeedSchedule"]
    assert schedule["ScheduleExpression"] == "cron(* * * * ? *)"
    assert schedule["State"] == {"Fn::If": ["FeedRuns", "ENABLED", "DISABLED"]}
    assert template()["Conditions"]["FeedRuns"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "MarketProvider"}, "none"]}]}


# Functions and what they may do


@pytest.mark.parametrize("name", sorted(resources(FUNCTION)))
def test_a_function_is_one_folder_that_holds_its_handler_only(name: str) -> None:
    folder = ROOT / resources(FUNCTION)[name]["CodeUri"]
    assert folder.parent == ROOT / "functions"
    assert folder.name.replace("_", "") == name.removesuffix("Function").lower()
    assert [path.name for path in folder.iterdir() if path.name != "__pycache__"] == ["app.py"]
    assert "\ndef handler(" in (folder / "app.py").read_text()


def test_every_log_group_keeps_as_long_as_the_deployer_says() -> None:
    for group in resources("AWS::Logs::LogGroup").values():
        assert group["RetentionInDays"] == {"Ref": "LogRetentionDays"}


@pytest.mark.parametrize("name", sorted(resources(FUNCTION)))
def test_a_function_has_a_role_of_its_own_for_python_313_on_arm(name: str) -> None:
    assert referenced(function_setting(name, "Role")) == name.removesuffix("Function") + "Role"
    assert function_setting(name, "Runtime") == "python3.13"
    assert function_setting(name, "Architectures") == ["arm64"]
    assert function_setting(name, "Handler") == "app.handler"


def test_managed_policies_are_only_those_for_traces_networks_and_access_logs() -> None:
    arns = {
        text
        for role in resources("AWS::IAM::Role").values()
        for key, text in walk({"Arns": role.get("ManagedPolicyArns", [])})
        if key == "Fn::Sub"
    }
    assert {arn.rpartition("/")[2] for arn in arns} == {
        "AWSXRayDaemonWriteAccess",
        "AWSLambdaENIManagementAccess",
        "AWSLambdaMSKExecutionRole",
        "AmazonAPIGatewayPushToCloudWatchLogs",
    }


@pytest.mark.parametrize("name", sorted(resources(FUNCTION)))
def test_a_function_may_receive_from_its_event_sources_only(name: str) -> None:
    role = referenced(function_setting(name, "Role"))
    sources = {referenced(source["Queue"]) for (function, _), source in sqs_sources().items() if function == name}
    if name == "DeadLettersFunction":
        sources = set(DEAD_LETTER_QUEUES)
    for action in ("sqs:ReceiveMessage", "sqs:DeleteMessage"):
        assert allowed(role, action) == sources
    # The status asks for the depth of queues that others consume.
    asked = allowed(role, "sqs:GetQueueAttributes")
    assert asked >= sources if name == "RestApiFunction" else asked == sources


LEDGER_WRITES = {f"dynamodb:{action}" for action in ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem")}


def test_bulk_marks_go_where_no_price_waits() -> None:
    dirty = {"DirtyLiveQueue", "DirtyDemoQueue", "DirtyPaperQueue"}
    assert "BulkQueue" in sends_to("RebuildHotRole") & sends_to("RestApiRole") & sends_to("SweepRole")
    assert "DelayedQueue" in sends_to("RecalculateRole")
    for role in ("RebuildHotRole", "RecalculateRole"):
        assert not sends_to(role) & dirty


def sends_to(role: str) -> set[str]:
    """The queues it may send to."""
    statements = resources("AWS::IAM::Role")[role]["Policies"][0]["PolicyDocument"]["Statement"]
    return {
        referenced(resource)
        for statement in statements
        if "sqs:SendMessage" in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }


def test_what_a_portfolio_is_filled_with_comes_in_through_one_event_only() -> None:
    rule = resources("AWS::Events::Rule")["OrderFilledRule"]
    assert rule["EventPattern"] == {"detail-type": ["order_filled"]}
    assert referenced(rule["Targets"][0]["Arn"]) == "OrderFilledQueue"


def test_only_who_books_closes_days_sweeps_or_reconciles_writes_the_ledger() -> None:
    writers = {
        name
        for name, statement in statements()
        if any(action in LEDGER_WRITES for action in as_list(statement["Action"]) if isinstance(action, str))
        and "LedgerTable" in map(referenced, as_list(statement["Resource"]))
    }
    assert writers == {
        "RestApiRole",
        "RecordFillRole",
        "LiquidateRole",
        "FillOrdersRole",
        "CloseDayRole",
        "SweepRole",
        "ReconcileRole",
        "BrokerApiRole",
        "BookSwapsRole",
    }


@pytest.mark.parametrize(
    "role",
    [
        "RestApiRole",
        "RecordFillRole",
        "LiquidateRole",
        "FillOrdersRole",
        "CloseDayRole",
        "ReconcileRole",
        "BrokerApiRole",
    ],
)
def test_who_writes_the_ledger_may_put_update_and_delete_in_its_transactions(role: str) -> None:
    """Books are updated, records put, and holders deleted: by trades, and by the close that ends a currency."""
    granted = {
        action
        for name, statement in statements()
        if name == role and {"Fn::GetAtt": ["LedgerTable", "Arn"]} in as_list(statement["Resource"])
        for action in as_list(statement["Action"])
    }
    assert granted >= {"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"}


def test_a_fill_that_lacks_a_rate_is_given_up_with_its_reason_before_its_queue_does() -> None:
    assert resources(QUEUE)["FillsQueue"]["RedrivePolicy"]["maxReceiveCount"] > RATE_RECEIVES_MAX


def test_the_authorizer_may_do_nothing_but_log_and_take_tickets() -> None:
    granted = [as_list(statement["Action"]) for name, statement in statements() if name == "AuthorizerRole"]
    assert granted == [["logs:CreateLogStream", "logs:PutLogEvents"], ["dynamodb:DeleteItem"]]
    assert allowed("AuthorizerRole", "dynamodb:DeleteItem") == {"SessionsTable"}


def test_who_lets_no_ticket_pass_can_still_only_issue_them() -> None:
    assert allowed("RestApiRole", "dynamodb:PutItem") >= {"SessionsTable"}
    assert "SessionsTable" not in allowed("RestApiRole", "dynamodb:GetItem")


def test_only_the_socket_functions_post_to_connections() -> None:
    posting = {name for name, statement in statements() if statement["Action"] == "execute-api:ManageConnections"}
    assert posting == {"WebSocketRole", "PushRole"}


def test_the_functions_in_the_network_are_those_that_may_sign_in_to_the_cache() -> None:
    inside = {
        referenced(function_setting(name, "Role"))
        for name in resources(FUNCTION)
        if function_setting(name, "VpcConfig")
    }
    signed_in = {referenced(role) for role in resources("AWS::IAM::ManagedPolicy")["HotCacheConnectPolicy"]["Roles"]}
    assert inside == signed_in
    assert {name for name in resources(FUNCTION) if referenced(function_setting(name, "Role")) not in inside} == {
        "MarketFeedFunction",
        "AuthorizerFunction",
        "AcceptFillsFunction",
        "AnalyzeFunction",
    }


# The daily close


def test_a_day_is_closed_by_the_markets_calendar_and_named_by_it() -> None:
    schedule = resources("AWS::Scheduler::Schedule")["CloseDayTimer"]
    assert schedule["ScheduleExpression"] == {"Ref": "CloseDaySchedule"}
    assert schedule["ScheduleExpressionTimezone"] == {"Ref": "CloseTimeZone"}
    assert referenced(schedule["Target"]["Arn"]) == "CloseDayFunction"
    assert json.loads(schedule["Target"]["Input"]) == {"scheduled_time": "<aws.scheduler.scheduled-time>"}
    assert "State" not in schedule


@pytest.mark.parametrize(
    ("expression", "accepted"),
    [("cron(0 17 ? * MON-FRI *)", True), ("cron(30 15 L * ? *)", True), ("rate(1 day)", False), ("0 17 * * *", False)],
)
def test_the_calendar_is_a_cron_expression(expression: str, accepted: bool) -> None:
    assert bool(re.search(parameters()["CloseDaySchedule"]["AllowedPattern"], expression)) is accepted


# The nightly swap


def test_a_night_is_charged_soon_after_it_begins_in_new_york_and_named_by_it() -> None:
    schedule = resources("AWS::Scheduler::Schedule")["BookSwapsTimer"]
    assert schedule["ScheduleExpression"] == "cron(5 17 * * ? *)"
    assert schedule["ScheduleExpressionTimezone"] == BORDER_ZONE
    assert BORDER_MINUTES == 17 * 60
    assert referenced(schedule["Target"]["Arn"]) == "BookSwapsFunction"
    assert json.loads(schedule["Target"]["Input"]) == {"scheduled_time": "<aws.scheduler.scheduled-time>"}
    assert "State" not in schedule


def test_swaps_that_are_given_up_raise_an_alarm() -> None:
    alarm = resources("AWS::CloudWatch::Alarm")["BookSwapsDeadLetterAlarm"]
    assert alarm["Dimensions"] == [
        {"Name": "QueueName", "Value": {"Fn::GetAtt": ["BookSwapsDeadLetterQueue", "QueueName"]}}
    ]
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (0, "GreaterThanThreshold")


def test_the_nightly_swap_adds_to_books_and_deletes_nothing() -> None:
    assert "LedgerTable" not in allowed("BookSwapsRole", "dynamodb:DeleteItem")
    assert "LedgerTable" in allowed("BookSwapsRole", "dynamodb:UpdateItem")


# The sweep, and what is watched


def test_the_sweep_starts_every_minute_is_never_tried_again_and_ends_before_the_next_but_one() -> None:
    schedule = resources("AWS::Scheduler::Schedule")["SweepSchedule"]
    assert schedule["ScheduleExpression"] == "cron(* * * * ? *)"
    assert "State" not in schedule
    assert schedule["Target"]["RetryPolicy"]["MaximumRetryAttempts"] == 0
    assert function_setting("SweepFunction", "EventInvokeConfig")["MaximumRetryAttempts"] == 0
    assert 45 < function_setting("SweepFunction", "Timeout") <= 60


def test_the_sweep_writes_checkpoints_and_dependents_but_no_books() -> None:
    assert "LedgerTable" not in allowed("SweepRole", "dynamodb:UpdateItem")
    assert "LedgerTable" in allowed("SweepRole", "dynamodb:PutItem")


def test_the_status_may_ask_for_the_depth_of_every_queue_it_shows() -> None:
    base = "https://sqs/"
    shown = {url.removeprefix(base) for url in queues.shown_urls(base).values()}
    assert {queue_name(name) for name in allowed("RestApiRole", "sqs:GetQueueAttributes")} == shown


def test_alarms_are_seen_by_the_status_only_and_changed_by_nobody() -> None:
    who = {
        (name, action)
        for name, statement in statements()
        for action in as_list(statement["Action"])
        if isinstance(action, str) and action.startswith("cloudwatch:")
    }
    assert who == {("RestApiRole", "cloudwatch:DescribeAlarms")}


def test_whatever_the_sweep_finds_raises_an_alarm_of_this_stack() -> None:
    alarm = resources("AWS::CloudWatch::Alarm")["SweepFindsAlarm"]
    assert (alarm["Namespace"], alarm["MetricName"]) == ("Foliostream", "SweepFinds")
    assert alarm["Dimensions"] == [{"Name": "Stack", "Value": {"Ref": "AWS::StackName"}}]
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (0, "GreaterThanThreshold")


def test_all_open_orders_are_looked_at_every_minute_and_a_failure_raises_an_alarm() -> None:
    schedule = resources("AWS::Scheduler::Schedule")["OrdersSchedule"]
    assert schedule["ScheduleExpression"] == "cron(* * * * ? *)"
    assert referenced(schedule["Target"]["Arn"]) == "FillOrdersFunction"
    assert function_setting("FillOrdersFunction", "EventInvokeConfig")["MaximumRetryAttempts"] == 0
    alarm = resources("AWS::CloudWatch::Alarm")["OrdersDeadLetterAlarm"]
    assert "OrdersDeadLetterQueue" in str(alarm["Dimensions"])
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (0, "GreaterThanThreshold")


def test_a_sweep_that_does_not_run_or_fails_raises_an_alarm() -> None:
    alarm = resources("AWS::CloudWatch::Alarm")["SweepMissingAlarm"]
    assert alarm["TreatMissingData"] == "breaching"


@pytest.mark.parametrize("account_type", ["Live", "Demo", "Paper"])
def test_a_dirty_queue_that_falls_behind_raises_an_alarm(account_type: str) -> None:
    alarm = resources("AWS::CloudWatch::Alarm")[f"Dirty{account_type}AgeAlarm"]
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/SQS", "ApproximateAgeOfOldestMessage")
    assert alarm["Dimensions"] == [
        {"Name": "QueueName", "Value": {"Fn::GetAtt": [f"Dirty{account_type}Queue", "QueueName"]}}
    ]


def test_a_stop_out_that_could_not_be_booked_raises_an_alarm() -> None:
    alarm = resources("AWS::CloudWatch::Alarm")["LiquidationDeadLetterAlarm"]
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/SQS", "ApproximateNumberOfMessagesVisible")
    dead = {"Fn::GetAtt": ["LiquidationDeadLetterQueue", "QueueName"]}
    assert alarm["Dimensions"] == [{"Name": "QueueName", "Value": dead}]
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (0, "GreaterThanThreshold")


# Tables


@pytest.mark.parametrize("name", sorted(resources("AWS::DynamoDB::Table")))
def test_a_table_is_paid_by_use_and_encrypted(name: str) -> None:
    table = resources("AWS::DynamoDB::Table")[name]
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["SSESpecification"] == {"SSEEnabled": True}
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["pk", "sk"]


def test_the_ledgers_stream_has_books_before_and_after() -> None:
    ledger = resources("AWS::DynamoDB::Table")["LedgerTable"]
    assert ledger["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}


def test_the_ledgers_index_holds_records_and_no_books() -> None:
    (index,) = resources("AWS::DynamoDB::Table")["LedgerTable"]["GlobalSecondaryIndexes"]
    assert index["IndexName"] == "by_sequence"
    assert [key["AttributeName"] for key in index["KeySchema"]] == ["listing", "sequence"]
    assert index["Projection"] == {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["record"]}


def test_of_the_ledger_only_what_names_a_time_is_ever_deleted() -> None:
    """What was booked of a broker's orders; ``tests/contract/accounts`` looks that nothing else has the attribute."""
    ledger = resources("AWS::DynamoDB::Table")["LedgerTable"]
    assert ledger["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}


def test_sessions_expire_by_their_own_attribute() -> None:
    sessions = resources("AWS::DynamoDB::Table")["SessionsTable"]
    assert sessions["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}


# APIs


def rest_api() -> dict[str, Any]:
    (api,) = resources("AWS::Serverless::Api").values()
    return api


def test_every_rest_call_but_health_and_description_needs_a_token() -> None:
    assert rest_api()["Auth"]["DefaultAuthorizer"] == "Tokens"
    authorizer = rest_api()["Auth"]["Authorizers"]["Tokens"]
    assert referenced(authorizer["FunctionArn"]) == "AuthorizerFunction"
    assert authorizer["FunctionPayloadType"] == "REQUEST"
    assert authorizer["Identity"] == {"Headers": ["Authorization"], "ReauthorizeEvery": 60}
    routes = [event["Properties"] for event in resources(FUNCTION)["RestApiFunction"]["Events"].values()]
    free = {(route["Method"], route["Path"]) for route in routes if "Auth" in route}
    assert free == {("GET", "/health"), ("GET", "/openapi.json")}
    assert {route["Method"] for route in routes if "Auth" not in route} == {"GET", "POST", "PUT", "PATCH", "DELETE"}
    assert {route["Path"] for route in routes if "Auth" not in route} == {"/{proxy+}"}


def test_what_speaks_to_a_broker_is_apart_and_only_the_postback_needs_no_token() -> None:
    layered = {
        name
        for name, function in resources(FUNCTION).items()
        if "BrokerDependenciesLayer" in map(referenced, function.get("Layers", []))
    }
    assert layered == {"ReconcileFunction", "BrokerApiFunction"}
    routes = [event["Properties"] for event in resources(FUNCTION)["BrokerApiFunction"]["Events"].values()]
    assert {(route["Method"], route["Path"], "Auth" in route) for route in routes} == {
        ("POST", "/api/v1/portfolio/{portfolio_id}/reconcile", False),
        ("POST", "/webhooks/kite", True),
    }


def test_credentials_of_accounts_are_read_by_them_alone_and_only_where_there_are_any() -> None:
    readers = {name for name, statement in statements() if statement["Action"] == "secretsmanager:GetSecretValue"
               and statement["Resource"] == {"Ref": "KiteSecretArn"}}  # fmt: skip
    assert readers == {"ReconcileRole", "BrokerApiRole"}
    for role in readers:
        (given,) = [item for item in resources("AWS::IAM::Role")[role]["Policies"] if "Fn::If" in item]
        assert given["Fn::If"][0] == "KiteSecretGiven"


@pytest.mark.parametrize(("name", "metric"), [("ReconcileFailedAlarm", "AccountsFailed"),
                                              ("AccountsDifferingAlarm", "AccountsDiffering")])  # fmt: skip
def test_an_account_that_nobody_can_confirm_raises_an_alarm(name: str, metric: str) -> None:
    alarm = resources("AWS::CloudWatch::Alarm")[name]
    assert (alarm["MetricName"], alarm["Dimensions"]) == (
        metric,
        [{"Name": "Stack", "Value": {"Ref": "AWS::StackName"}}],
    )
    assert alarm["Threshold"] == 0


def test_the_socket_asks_the_authorizer_and_requires_no_header() -> None:
    (api,) = resources("AWS::Serverless::WebSocketApi").values()
    assert api["Auth"]["AuthType"] == "CUSTOM"
    assert referenced(api["Auth"]["AuthArn"]) == "AuthorizerFunction"
    # AWS gets no identity source at all, the emulator an empty list.
    assert api["Auth"]["IdentitySource"] == {"Fn::If": ["ExecuteApiBaseGiven", [], {"Ref": "AWS::NoValue"}]}
    assert api["RouteSelectionExpression"] == "$request.body.action"
    assert set(api["Routes"]) == {"$connect", "$disconnect", "$default", *ACTIONS}
    assert {referenced(route["FunctionArn"]) for route in api["Routes"].values()} == {"WebSocketFunction"}


def test_calls_answered_from_outside_end_before_the_gateway_gives_up() -> None:
    assert {
        function_setting(name, "Timeout") for name in ("RestApiFunction", "BrokerApiFunction", "WebSocketFunction")
    } == {29}
    assert function_setting("AuthorizerFunction", "Timeout") == 10


@pytest.mark.parametrize("kind", sorted(rest_api()["GatewayResponses"]))
def test_what_the_gateway_answers_by_itself_has_the_shape_of_every_error(kind: str) -> None:
    response = rest_api()["GatewayResponses"][kind]
    text = response["ResponseTemplates"]["application/json"].replace("$context.error.messageString", '"text"')
    error = json.loads(text)["error"]
    assert list(error) == ["code", "message", "request_id", "details"]
    assert re.fullmatch(r"[A-Z][A-Z_]*", error["code"])
    assert error["request_id"] == "$context.requestId"
    assert error["details"] == []


def test_nothing_the_gateway_answers_falls_through() -> None:
    assert {"UNAUTHORIZED", "ACCESS_DENIED", "DEFAULT_4XX", "DEFAULT_5XX"} <= set(rest_api()["GatewayResponses"])


def test_both_stages_log_json_lines_and_have_limits() -> None:
    (socket,) = resources("AWS::Serverless::WebSocketApi").values()
    for log in (rest_api()["AccessLogSetting"], socket["AccessLogSettings"]):
        assert referenced(log["DestinationArn"]) in resources("AWS::Logs::LogGroup")
        assert json.loads(log["Format"])["request_id"] == "$context.requestId"
    (limits,) = rest_api()["MethodSettings"]
    for settings, prefix in ((limits, "Rest"), (socket["DefaultRouteSettings"], "WebSocket")):
        assert settings["ThrottlingRateLimit"] == {"Ref": f"{prefix}RateLimit"}
        assert settings["ThrottlingBurstLimit"] == {"Ref": f"{prefix}BurstLimit"}
    assert (limits["ResourcePath"], limits["HttpMethod"]) == ("/*", "*")


def test_every_stage_that_is_deployed_has_limits_for_every_method_and_route_and_none_of_its_own() -> None:
    stages = [body for body in expanded()["Resources"].values() if body["Type"].endswith("::Stage")]
    (rest,) = (body["Properties"] for body in stages if body["Type"] == "AWS::ApiGateway::Stage")
    (socket,) = (body["Properties"] for body in stages if body["Type"] == "AWS::ApiGatewayV2::Stage")
    assert len(stages) == 2
    ((setting,), route) = rest["MethodSettings"], socket["DefaultRouteSettings"]
    for limits, prefix in ((setting, "Rest"), (route, "WebSocket")):
        for kind in ("Rate", "Burst"):
            assert limits[f"Throttling{kind}Limit"] == {"Ref": f"{prefix}{kind}Limit"}
            asked = template()["Parameters"][f"{prefix}{kind}Limit"]
            assert 1 <= asked["MinValue"] <= asked["Default"] <= asked["MaxValue"] <= 10_000
    assert (setting["ResourcePath"], setting["HttpMethod"]) == ("/*", "*")
    assert "RouteSettings" not in socket


@pytest.mark.parametrize("kind", CALLERS)
def test_each_kind_of_caller_has_a_plan_of_its_own_with_limits_below_those_of_the_stage(kind: str) -> None:
    name = kind.capitalize()
    plan = resources("AWS::ApiGateway::UsagePlan")[f"{name}Plan"]
    assert plan["ApiStages"] == [{"ApiId": {"Ref": "RestApi"}, "Stage": {"Ref": "RestApi.Stage"}}]
    for limit in ("RateLimit", "BurstLimit"):
        assert plan["Throttle"][limit] == {"Ref": f"Rest{name}{limit}"}
        assert parameters()[f"Rest{name}{limit}"]["Default"] < parameters()[f"Rest{limit}"]["Default"]


@pytest.mark.parametrize("kind", CALLERS)
def test_a_call_is_counted_by_the_key_that_the_authorizer_names(kind: str) -> None:
    name = kind.capitalize()
    key = resources("AWS::ApiGateway::ApiKey")[f"{name}Key"]
    assert resources("AWS::ApiGateway::UsagePlanKey")[f"{name}PlanKey"] == {
        "KeyId": {"Ref": f"{name}Key"},
        "KeyType": "API_KEY",
        "UsagePlanId": {"Ref": f"{name}Plan"},
    }
    assert rest_api()["ApiKeySourceType"] == "AUTHORIZER"
    values = Values({"AWS::StackId": STACK_ID}, "")
    told = values.of(environment()["PORTFOLIO_USAGE_KEYS"])
    assert key["Enabled"] is True
    assert values.of(key["Value"]) == Settings.read(ENVIRONMENT | {"PORTFOLIO_USAGE_KEYS": told}).usage_keys[kind]


def test_every_call_with_a_token_is_counted_and_nothing_else_needs_a_key() -> None:
    paths = expanded()["Resources"]["RestApi"]["Properties"]["Body"]["paths"]
    asked = {
        (path, method): {name for requirement in call.get("security", []) for name in requirement}
        for path, methods in paths.items()
        for method, call in methods.items()
    }
    assert {"Tokens", "api_key"} in asked.values()
    assert all(names in ({"Tokens", "api_key"}, set()) for names in asked.values())
    opened = {path for (path, method), names in asked.items() if not names and method != "options"}
    assert opened == {"/health", "/openapi.json", "/webhooks/kite"}


def test_the_outputs_name_all_that_a_caller_or_a_test_needs() -> None:
    outputs = set(template()["Outputs"])
    assert {"RestUrl", "WebSocketUrl", "EventBusName"} <= outputs
    assert {f"{name}Name" for name in resources("AWS::DynamoDB::Table")} <= outputs
    assert {f"{name}Url" for name in resources(QUEUE)} <= outputs
    assert {f"{name}Name" for name in resources(FUNCTION)} <= outputs


# The page


def test_a_stack_has_no_page_unless_one_is_asked_for() -> None:
    assert template()["Parameters"]["Page"]["Default"] == "none"
    assert template()["Conditions"]["HasPage"] == {"Fn::Equals": [{"Ref": "Page"}, "cloudfront"]}
    ours = {name for name in template()["Resources"] if name.startswith("Page")}
    assert len(ours) == 5
    assert {template()["Resources"][name]["Condition"] for name in ours} == {"HasPage"}
    assert {template()["Outputs"][name]["Condition"] for name in ("PageUrl", "PageBucketName")} == {"HasPage"}


def test_the_pages_files_are_read_by_its_distribution_only() -> None:
    bucket = resources("AWS::S3::Bucket")["PageBucket"]
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    allow, deny = resources("AWS::S3::BucketPolicy")["PageBucketPolicy"]["PolicyDocument"]["Statement"]
    assert (allow["Effect"], allow["Action"]) == ("Allow", "s3:GetObject")
    assert allow["Principal"] == {"Service": "cloudfront.amazonaws.com"}
    (source,) = allow["Condition"]["StringEquals"].values()
    assert source["Fn::Sub"].endswith(":distribution/${PageDistribution}")
    assert (deny["Effect"], deny["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    control = resources("AWS::CloudFront::OriginAccessControl")["PageAccess"]["OriginAccessControlConfig"]
    assert control["SigningBehavior"] == "always"


def test_the_page_has_the_policy_that_it_is_tested_with_on_this_machine() -> None:
    headers = resources("AWS::CloudFront::ResponseHeadersPolicy")["PageHeaders"]["ResponseHeadersPolicyConfig"]
    security = headers["SecurityHeadersConfig"]
    here = "wss://${WebSocketApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}"
    served = page_server.security_headers(here)
    assert security["ContentSecurityPolicy"]["ContentSecurityPolicy"]["Fn::Sub"] == served["Content-Security-Policy"]
    assert security["ReferrerPolicy"]["ReferrerPolicy"] == served["Referrer-Policy"]
    assert "ContentTypeOptions" in security
    assert all(header["Override"] is True for header in security.values())


def test_the_page_and_its_api_are_reached_over_tls_and_nothing_of_the_api_is_kept() -> None:
    distribution = resources("AWS::CloudFront::Distribution")["PageDistribution"]["DistributionConfig"]
    (api,) = distribution["CacheBehaviors"]
    assert api["PathPattern"] == "/api/*"
    assert api["ViewerProtocolPolicy"] == "https-only"
    assert api["CachePolicyId"] == CACHING_DISABLED
    assert distribution["DefaultCacheBehavior"]["ViewerProtocolPolicy"] == "redirect-to-https"
    for behaviour in (api, distribution["DefaultCacheBehavior"]):
        assert behaviour["ResponseHeadersPolicyId"] == {"Ref": "PageHeaders"}
    (origin,) = (one["CustomOriginConfig"] for one in distribution["Origins"] if one["Id"] == "api")
    assert origin == {"OriginProtocolPolicy": "https-only", "OriginSSLProtocols": ["TLSv1.2"]}
    assert distribution["ViewerCertificate"]["Fn::If"][1]["MinimumProtocolVersion"].startswith("TLSv1.2")
    # An answer of the API that CloudFront replaced would be an error without its code.
    assert "CustomErrorResponses" not in distribution


# Deploying in steps


def test_what_moves_aliases_is_what_was_asked_for() -> None:
    rows = template()["Mappings"]["Canary"]
    assert set(rows) == set(parameters()["Canary"]["AllowedValues"])
    assert rows["none"] == {"Enabled": "false", "Type": "AllAtOnce"}
    assert all(row == {"Enabled": "true", "Type": name} for name, row in rows.items() if name != "none")


def test_a_canary_lasts_twice_as_long_as_the_errors_that_end_it_take_to_be_an_alarm() -> None:
    alarms = [alarm for alarm in resources("AWS::CloudWatch::Alarm").values() if alarm["MetricName"] == "Errors"]
    minutes_seen = max(alarm["Period"] * alarm["EvaluationPeriods"] // 60 for alarm in alarms)
    for name in parameters()["Canary"]["AllowedValues"]:
        if found := re.fullmatch(r"(Canary|Linear)10Percent(?:Every)?(\d+)Minutes", name):
            # A linear one takes nine steps after the first tenth.
            minutes = int(found[2]) * (1 if found[1] == "Canary" else 9)
            assert minutes >= 2 * minutes_seen


def test_make_deploy_goes_over_in_steps_that_the_template_knows() -> None:
    (asked,) = re.findall(r"^CANARY \?= (\w+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert asked in parameters()["Canary"]["AllowedValues"]
    assert asked != "none"
