"""What this repository asks of its template, as rules of cfn-lint on the template as SAM expands it.

`make template` runs them (`cfn-lint --append-rules rules`), and tests/infra/test_broken_templates.py sees each of them
fire. A rule gives the logical id of each resource that breaks it, with a sentence. What compares the template with
code, pages and figures in more than names is in tests/infra.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from cfnlint.rules import CloudFormationLintRule, RuleMatch

from foliostream.settings import ENVIRONMENT_NAMES

# Any part of the template: a mapping, a list or a plain value.
Node: TypeAlias = Any
# A resource's logical id, and what is wrong with it.
Finding: TypeAlias = tuple[str, str]
Check: TypeAlias = Callable[["Stack"], Iterator[Finding]]

FUNCTION = "AWS::Lambda::Function"
ALIAS = "AWS::Lambda::Alias"
SOURCE = "AWS::Lambda::EventSourceMapping"
INVOKE_CONFIG = "AWS::Lambda::EventInvokeConfig"
QUEUE = "AWS::SQS::Queue"
ROLE = "AWS::IAM::Role"
TABLE = "AWS::DynamoDB::Table"
LOG_GROUP = "AWS::Logs::LogGroup"
ALARM = "AWS::CloudWatch::Alarm"
SCHEDULE = "AWS::Scheduler::Schedule"
RULE = "AWS::Events::Rule"
VERSION = "AWS::Lambda::Version"
DEPLOYMENT_GROUP = "AWS::CodeDeploy::DeploymentGroup"
# What names a function that it calls, each with the property in which it does.
CALLERS = {
    SOURCE: "FunctionName",
    "AWS::Lambda::Permission": "FunctionName",
    SCHEDULE: "Target",
    RULE: "Targets",
    "AWS::ApiGateway::RestApi": "Body",
    "AWS::ApiGatewayV2::Integration": "IntegrationUri",
    "AWS::ApiGatewayV2::Authorizer": "AuthorizerUri",
}
# The tables that cannot be made again from anything else.
LEDGER = ("LedgerTable",)
# A bucket of the stack's own; DescribeAlarms knows no single alarms.
EVERY_ONE_OF_A_KIND = (
    "${PageBucket.Arn}/*",
    "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:*",
)
_PLACEHOLDER = re.compile(r"\$\{(\w+)[^}]*\}")
_ACTION = re.compile(r"[a-z0-9-]+:[A-Za-z]+")


class Stack:
    """An expanded template."""

    def __init__(self, template: Mapping[str, Node]) -> None:
        self.resources: Mapping[str, Node] = template["Resources"]

    def of(self, *kinds: str) -> dict[str, Node]:
        """Properties of the resources of some types, by logical id."""
        return {name: body.get("Properties", {}) for name, body in self.resources.items() if body["Type"] in kinds}

    def functions_of(self, aliases: Iterable[str]) -> set[str]:
        """The functions that aliases are of."""
        known = self.of(ALIAS)
        return {name for alias in aliases if alias in known for name in referenced(known[alias]["FunctionName"])}

    def statements(self) -> Iterator[tuple[str, Node]]:
        """Every statement that allows something, with the resource it stands in."""
        for name in self.resources:
            for key, value in walk(self.resources[name]):
                if key == "PolicyDocument":
                    for statement in as_list(value["Statement"]):
                        if statement["Effect"] == "Allow":
                            yield name, statement

    def allowed(self, roles: Iterable[str], action: str) -> set[str]:
        """Logical ids of what roles may use with an action."""
        found = [
            statement["Resource"]
            for name, statement in self.statements()
            if name in roles and action in as_list(statement["Action"])
        ]
        return referenced(found)

    def destinations(self) -> Iterator[tuple[str, set[str]]]:
        """Every path on which nobody waits, and the queue in which it ends; none where it is dropped."""
        for name, queue in self.of(QUEUE).items():
            if self.sources_of(name):
                yield name, referenced(queue.get("RedrivePolicy"))
        for name, source in self.of(SOURCE).items():
            if not self.is_of(source, QUEUE):
                yield name, referenced(source.get("DestinationConfig"))
        for name, config in self.of(INVOKE_CONFIG).items():
            yield name, referenced(config.get("DestinationConfig"))
        for name, target in self.targets():
            yield name, referenced(target.get("DeadLetterConfig"))

    def targets(self) -> Iterator[tuple[str, Node]]:
        """What schedules and rules start."""
        for name, body in self.of(SCHEDULE).items():
            yield name, body["Target"]
        for name, body in self.of(RULE).items():
            for target in body["Targets"]:
                yield name, target

    def is_of(self, source: Node, kind: str) -> bool:
        """Whether an event source reads a resource of this type."""
        return bool(referenced(source.get("EventSourceArn")) & self.of(kind).keys())

    def sources_of(self, queue: str) -> list[Node]:
        """Event sources that read a queue."""
        return [one for one in self.of(SOURCE).values() if queue in referenced(one.get("EventSourceArn"))]


def walk(value: Node) -> Iterator[tuple[str, Node]]:
    """Every key with its value, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key), inner
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)


def referenced(value: Node) -> set[str]:
    """Logical ids (and parameters) anywhere in a value: by Ref, GetAtt or inside a Sub."""
    found: set[str] = set()
    for key, inner in walk({"": value}):
        if key == "Ref":
            found.add(str(inner))
        elif key == "Fn::GetAtt":
            found.add(str(inner[0] if isinstance(inner, list) else inner).partition(".")[0])
        elif key == "Fn::Sub":
            found.update(_PLACEHOLDER.findall(str(as_list(inner)[0])))
    return found


def as_list(value: Node) -> list[Node]:
    """A lone value is a list of one."""
    return value if isinstance(value, list) else [value]


def house_rule(identifier: str, says: str) -> Callable[[Check], type[CloudFormationLintRule]]:
    """Makes a rule of cfn-lint of a check, whose docstring is its description."""

    def made(check: Check) -> type[CloudFormationLintRule]:
        def match(_self: CloudFormationLintRule, cfn: Node) -> list[RuleMatch]:
            return [RuleMatch(["Resources", name], f"{name}: {fault}") for name, fault in check(Stack(cfn.template))]

        about = {"id": identifier, "shortdesc": says, "description": check.__doc__, "tags": ["house"]}
        return type(check.__name__, (CloudFormationLintRule,), {**about, "match": match, "check": staticmethod(check)})

    return made


@house_rule("E9101", "Logs are JSON, in a group of the function's own that forgets")
def logs_forget(stack: Stack) -> Iterator[Finding]:
    """A group without a retention keeps, and costs, for ever; a group by another name is made by Lambda without one."""
    groups = stack.of(LOG_GROUP)
    for name, group in groups.items():
        if "RetentionInDays" not in group:
            yield name, "keeps logs for ever"
    taken: dict[str, str] = {}
    for name, function in stack.of(FUNCTION).items():
        logging = function.get("LoggingConfig", {})
        own = referenced(logging.get("LogGroup")) & groups.keys()
        if logging.get("LogFormat") != "JSON" or len(own) != 1:
            yield name, "logs no JSON, or to no group of the template"
        elif stack.allowed(referenced(function["Role"]), "logs:PutLogEvents") != own:
            yield name, "may write to other log groups than its own, or not to its own"
        elif (other := taken.setdefault(next(iter(own)), name)) != name:
            yield name, f"shares its log group with {other}"


@house_rule("E9102", "What nobody waits for ends in a dead-letter queue")
def nothing_is_dropped(stack: Stack) -> Iterator[Finding]:
    """Queues with a consumer, streams, topics, rules, schedules, and functions that are started without being waited
    for; the function's role may send there."""
    queues = stack.of(QUEUE)
    for name, targets in stack.destinations():
        if not targets & queues.keys():
            yield name, "what fails here is dropped"
    configured = {
        function: referenced(config.get("DestinationConfig")) & queues.keys()
        for config in stack.of(INVOKE_CONFIG).values()
        for function in referenced(config["FunctionName"])
    }
    started = [target for _, target in stack.targets()]
    started += [one["Resource"] for _, one in stack.statements() if "lambda:InvokeFunction" in as_list(one["Action"])]
    for name in stack.functions_of(referenced(started)) - configured.keys():
        yield name, "is started by something that does not wait, and has no on-failure destination"
    for name, destination in configured.items():
        role = referenced(stack.of(FUNCTION)[name]["Role"])
        if not destination <= stack.allowed(role, "sqs:SendMessage"):
            yield name, "may not send to its on-failure destination"


@house_rule("E9103", "Every dead-letter queue has an alarm at its first letter")
def letters_are_seen(stack: Stack) -> Iterator[Finding]:
    """Whatever ends there waits for somebody."""
    watched = {
        name
        for alarm in stack.of(ALARM).values()
        if alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
        and (alarm["Threshold"], alarm["ComparisonOperator"]) == (0, "GreaterThanThreshold")
        for name in referenced(alarm["Dimensions"])
    }
    dead = {name for _, targets in stack.destinations() for name in targets} & stack.of(QUEUE).keys()
    for name in sorted(dead - watched):
        yield name, "nobody is told of its letters"


@house_rule("E9104", "No policy allows every action or every resource")
def privileges_are_least(stack: Stack) -> Iterator[Finding]:
    """Each statement names what it is for; the exceptions are connections, which have no names before they are made,
    and listings that know no single resource."""
    for name, statement in stack.statements():
        for action in texts(statement["Action"]):
            if not _ACTION.fullmatch(action):
                yield name, f"allows {action}"
        for resource in texts(statement.get("Resource", [])):
            is_known = resource in EVERY_ONE_OF_A_KIND or resource.endswith("/@connections/*")
            if "*" in resource and not is_known:
                yield name, f"allows something with {resource}"


def texts(value: Node) -> Iterator[str]:
    """What an action or a resource may be on AWS, as text: of a choice that the emulator makes, AWS's part."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, dict) and "Fn::If" in value:
        condition, there, here = value["Fn::If"]
        if condition != "ExecuteApiBaseGiven":
            yield from texts(there)
        yield from texts(here)
    elif isinstance(value, dict) and "Fn::Sub" in value:
        yield from texts(as_list(value["Fn::Sub"])[0])


@house_rule("E9105", "Every function and the REST API are traced")
def everything_is_traced(stack: Stack) -> Iterator[Finding]:
    """A call is followed through the queues by its trace (docs/operations.md)."""
    for name, function in stack.of(FUNCTION).items():
        if function.get("TracingConfig") != {"Mode": "Active"}:
            yield name, "is not traced"
        managed = str(stack.of(ROLE)[next(iter(referenced(function["Role"])))].get("ManagedPolicyArns"))
        if "AWSXRayDaemonWriteAccess" not in managed:
            yield name, "may not send traces"
    for name, stage in stack.of("AWS::ApiGateway::Stage").items():
        if stage.get("TracingEnabled") is not True:
            yield name, "is not traced"


@house_rule("E9106", "A function is called by its alias")
def callers_name_the_alias(stack: Stack) -> Iterator[Finding]:
    """Else a canary and a snapshot would be of something that nobody calls. Retries and destinations of starts are the
    alias's too."""
    functions = stack.of(FUNCTION).keys()
    yield from _aliases_are_live(stack)
    for kind, where in CALLERS.items():
        for name, body in stack.of(kind).items():
            if referenced(body.get(where)) & functions:
                yield name, "calls a function past its alias"
    for name, statement in stack.statements():
        is_call = "lambda:InvokeFunction" in as_list(statement["Action"])
        if is_call and referenced(statement["Resource"]) & functions:
            yield name, "may call a function past its alias"


def _aliases_are_live(stack: Stack) -> Iterator[Finding]:
    aliases = stack.of(ALIAS)
    for name in stack.of(FUNCTION).keys() - stack.functions_of(aliases):
        yield name, "has no alias"
    for name, alias in aliases.items():
        if alias["Name"] != "live" or not referenced(alias["FunctionVersion"]) & stack.of(VERSION).keys():
            yield name, "is not live, or points to no published version"
    for name, config in stack.of(INVOKE_CONFIG).items():
        if config.get("Qualifier") != "live":
            yield name, "is not of the alias"


@house_rule("E9107", "The environment of every function is what the settings read")
def environments_are_the_settings(stack: Stack) -> Iterator[Finding]:
    """A variable that nobody reads is a mistake in its name, or was forgotten."""
    for name, function in stack.of(FUNCTION).items():
        given = {key for key in function.get("Environment", {}).get("Variables", {}) if key.startswith("PORTFOLIO_")}
        for key in sorted(given - ENVIRONMENT_NAMES):
            yield name, f"is given {key}, which no settings model reads"
        for key in sorted(ENVIRONMENT_NAMES - given):
            yield name, f"is not given {key}"


@house_rule("E9108", "Every event source has a bound, and no function reserves concurrency")
def concurrency_is_bounded(stack: Stack) -> Iterator[Finding]:
    """At the source, where too much waits in its queue; reserved concurrency throttles, which counts as a receive, and
    takes from an account that may have ten executions in all."""
    for name, source in stack.of(SOURCE).items():
        if stack.is_of(source, QUEUE) and "MaximumConcurrency" not in source.get("ScalingConfig", {}):
            yield name, "may take all of the account's concurrency"
        bounds = {"ParallelizationFactor", "MaximumRetryAttempts"}
        if stack.is_of(source, TABLE) and not bounds <= source.keys():
            yield name, "has no bound on its work or on its retries"
    for name, function in stack.of(FUNCTION).items():
        if "ReservedConcurrentExecutions" in function:
            yield name, "reserves concurrency"


@house_rule("E9109", "The ledger is protected from deletion and backed up")
def the_ledger_is_kept(stack: Stack) -> Iterator[Finding]:
    """Nothing else has what is in it."""
    for name in LEDGER:
        table = stack.resources.get(name, {"Properties": {}})
        if not table.get("DeletionPolicy") == table.get("UpdateReplacePolicy") == "Retain":
            yield name, "goes with the stack, or when it is replaced"
        properties = table["Properties"]
        if properties.get("PointInTimeRecoverySpecification") != {"PointInTimeRecoveryEnabled": True}:
            yield name, "has no point-in-time recovery"
        if properties.get("DeletionProtectionEnabled") != {"Fn::If": ["LedgerProtected", True, False]}:
            yield name, "is not protected as ProtectLedger says"


@house_rule("E9110", "Every alias goes over in steps, watched by its function's alarms")
def aliases_go_over_in_steps(stack: Stack) -> Iterator[Finding]:
    """Errors of the function, and the age of what waits in its queues and of the stream. Of a template that is expanded
    with `Canary` other than none."""
    groups, alarms = stack.of(DEPLOYMENT_GROUP), stack.of(ALARM)
    for name in stack.of(ALIAS):
        (function,) = stack.functions_of([name])
        own = referenced(stack.resources[name].get("UpdatePolicy")) & groups.keys()
        watching = {alarm for group in own for alarm in referenced(groups[group].get("AlarmConfiguration"))}
        read = {
            queue
            for source in stack.of(SOURCE).values()
            if name in referenced(source["FunctionName"])
            for queue in referenced(source.get("EventSourceArn")) & stack.of(QUEUE).keys()
        }
        needed = {
            alarm
            for alarm, body in alarms.items()
            if (body["MetricName"] == "Errors" and function in referenced(body["Dimensions"]))
            or (body["MetricName"] == "ApproximateAgeOfOldestMessage" and referenced(body["Dimensions"]) & read)
            or (body["MetricName"] == "IteratorAge" and function in referenced(body["Dimensions"]))
        }
        if not own or not needed or needed - watching:
            yield name, f"goes over unwatched by {', '.join(sorted(needed - watching)) or 'any alarm'}"
