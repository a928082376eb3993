"""What the template says about who may what, what is encrypted and what is written down.

It cannot tell whether the roles are enough and no more than enough: the end-to-end tests run with IAM enforced.
"""

from __future__ import annotations

import json
import re

import pytest

from foliostream.api.openapi import OPEN_PATHS
from tests.infra.cloudformation import FUNCTION, QUEUE, Node, as_list, referenced, resources, statements, template, walk

POLICIES = {
    "AWS::SQS::QueuePolicy",
    "AWS::S3::BucketPolicy",
    "AWS::Lambda::Permission",
    "AWS::SecretsManager::ResourcePolicy",
}


def api_events() -> list[dict[str, Node]]:
    return [
        event["Properties"]
        for function in resources(FUNCTION).values()
        for event in function.get("Events", {}).values()
        if event["Type"] == "Api"
    ]


# Who may


def test_of_all_functions_only_the_open_paths_are_reached_without_a_token() -> None:
    without = {event["Path"] for event in api_events() if "Auth" in event}
    assert without == OPEN_PATHS
    assert all(
        event["Auth"] == {"Authorizer": "NONE", "ApiKeyRequired": False} for event in api_events() if "Auth" in event
    )
    assert len(api_events()) > len(without)


def test_there_is_no_way_in_beside_the_two_apis_and_the_bus() -> None:
    assert not [name for name, function in resources(FUNCTION).items() if "FunctionUrlConfig" in function]
    kinds = {
        event["Type"] for function in resources(FUNCTION).values() for event in function.get("Events", {}).values()
    }
    assert kinds <= {"Api", "SQS", "DynamoDB", "Schedule", "ScheduleV2"}


def test_a_role_is_taken_by_one_service_of_aws_only() -> None:
    services = set()
    for name, role in resources("AWS::IAM::Role").items():
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Action"] == "sts:AssumeRole", name
        assert set(statement["Principal"]) == {"Service"}, name
        assert isinstance(statement["Principal"]["Service"], str), name
        services.add(statement["Principal"]["Service"])
    assert services == {"lambda.amazonaws.com", "scheduler.amazonaws.com", "apigateway.amazonaws.com"}


def test_no_policy_lets_everybody_and_each_of_a_resource_has_a_condition() -> None:
    for name, statement in statements():
        assert statement.get("Principal") != "*" or statement["Effect"] == "Deny", name
        assert "NotPrincipal" not in statement, name
        assert "NotAction" not in statement, name
        assert "NotResource" not in statement, name
        if template()["Resources"][name]["Type"] in POLICIES:
            assert statement["Condition"], name


def test_nobody_may_give_rights_or_read_logs_and_keys() -> None:
    for name, statement in statements():
        if statement["Effect"] == "Allow":
            for action in as_list(statement["Action"]):
                allowed = action if isinstance(action, str) else action["Fn::If"][1]
                assert not re.match(r"(iam|sts|organizations|lambda:(Update|Create|Add)|logs:Get)", allowed) or (
                    template()["Resources"][name]["Type"] == "AWS::IAM::Role" and allowed == "sts:AssumeRole"
                ), name


# Encrypted at rest and on the way


@pytest.mark.parametrize("name", sorted(resources("AWS::DynamoDB::Table")))
def test_a_table_is_encrypted_with_a_key_whose_use_is_recorded(name: str) -> None:
    assert resources("AWS::DynamoDB::Table")[name]["SSESpecification"] == {"SSEEnabled": True}


def test_every_queue_is_encrypted() -> None:
    assert all(queue["SqsManagedSseEnabled"] is True for queue in resources(QUEUE).values())


def test_every_role_does_everything_over_tls_only_on_aws() -> None:
    policy = resources("AWS::IAM::ManagedPolicy")["TlsOnlyPolicy"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"], statement["Resource"]) == ("Deny", "*", "*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert {referenced(role) for role in policy["Roles"]} == set(resources("AWS::IAM::Role")) - {"ApiLogsAccountRole"}
    assert template()["Resources"]["TlsOnlyPolicy"]["Condition"] == "RunsOnAws"
    assert template()["Conditions"]["RunsOnAws"] == {"Fn::Equals": [{"Ref": "ExecuteApiBase"}, ""]}


@pytest.mark.parametrize("name", [name for name in template()["Parameters"] if re.search("Url|Root", name)])
def test_an_address_that_is_given_is_https_or_of_this_machine(name: str) -> None:
    if name == "RedisUrl":
        # An existing server inside a network may have no TLS: the deployer's choice, told in docs/security.md.
        return
    pattern = re.compile(template()["Parameters"][name]["AllowedPattern"])
    assert not pattern.search("http://prices.example.com")
    assert not pattern.search("http://127.0.0.1.example.com/")
    assert not pattern.search("ftp://prices.example.com")


def test_the_created_cache_is_spoken_to_over_tls_by_signed_in_roles_only() -> None:
    (user,) = resources("AWS::ElastiCache::User").values()
    assert user["AuthenticationMode"] == {"Type": "iam"}
    assert "-@dangerous" in user["AccessString"]
    urls = [text for key, text in walk(template()["Globals"]) if key == "Fn::Sub" and "HotCache.Endpoint" in str(text)]
    assert urls
    assert all("rediss://" in str(text) for text in urls)


# Secrets, and what is written down


def test_what_may_hold_a_secret_is_not_echoed_and_nothing_secret_is_put_out() -> None:
    parameters = template()["Parameters"]
    assert parameters["RedisUrl"]["NoEcho"] is True
    named = {name for name in parameters if re.search("Secret|Password|Token|Key", name)}
    # Credentials are given by the ARN of a secret, never as a value.
    assert all(name.endswith("Arn") for name in named - {"KeysPerMessage"}), named
    assert not {ref for key, ref in walk(template()["Outputs"]) if key == "Ref"} & (named | {"RedisUrl"})


def test_access_logs_hold_neither_headers_nor_queries_nor_bodies() -> None:
    (rest,), (socket,) = (
        resources(kind).values() for kind in ("AWS::Serverless::Api", "AWS::Serverless::WebSocketApi")
    )
    written = set()
    for log in (rest["AccessLogSetting"], socket["AccessLogSettings"]):
        written |= {value.removeprefix("$context.") for value in json.loads(log["Format"]).values()}
    # A ticket stands in a query, a token in a header: neither is among these.
    assert written == {
        "requestId",
        "requestTimeEpoch",
        "httpMethod",
        "path",
        "status",
        "responseLatency",
        "integrationLatency",
        "authorizer.latency",
        "authorizer.principalId",
        "identity.sourceIp",
        "responseLength",
        "error.responseType",
        "error.message",
        "routeKey",
        "eventType",
        "connectionId",
    }
    (methods,) = rest["MethodSettings"]
    assert "DataTraceEnabled" not in methods


# Limits


def test_a_web_acl_guards_the_rest_stage_where_one_is_given() -> None:
    guard = template()["Resources"]["RestWebAcl"]
    assert guard["Condition"] == "WebAclGiven"
    assert guard["Properties"]["WebACLArn"] == {"Ref": "WebAclArn"}
    text, names = guard["Properties"]["ResourceArn"]["Fn::Sub"]
    assert text.endswith("::/restapis/${RestApi}/stages/${RestStage}")
    assert names == {"RestStage": {"Ref": "RestApi.Stage"}}
    assert template()["Parameters"]["WebAclArn"]["Default"] == ""
