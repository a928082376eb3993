"""What protects a stack, on a stack of one queue."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.protect import protect
from tests.support.ministack import Emulator

TEMPLATE = json.dumps(
    {
        "Parameters": {"ProtectLedger": {"Type": "String", "Default": "on"}},
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {}}},
    }
)


@pytest.fixture
def client(ministack: Emulator) -> Any:  # noqa: ANN401 (boto3's clients have no common type)
    return ministack.client("cloudformation")


def deployed(client: Any, value: str) -> str:  # noqa: ANN401
    name = f"stack-{uuid.uuid4().hex[:8]}"
    parameters = [{"ParameterKey": "ProtectLedger", "ParameterValue": value}]
    client.create_stack(StackName=name, TemplateBody=TEMPLATE, Parameters=parameters)
    client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    return name


def denied(client: Any, name: str) -> list[str]:  # noqa: ANN401
    policy = json.loads(client.get_stack_policy(StackName=name)["StackPolicyBody"])
    return [action for one in policy["Statement"] if one["Effect"] == "Deny" for action in one["Action"]]


def test_a_stack_whose_ledger_is_protected_is_not_deleted_and_its_ledger_not_replaced(client: Any) -> None:  # noqa: ANN401
    name = deployed(client, "on")
    assert protect(client, name)
    with pytest.raises(ClientError, match="TerminationProtection"):
        client.delete_stack(StackName=name)
    assert denied(client, name) == ["Update:Replace", "Update:Delete"]


def test_with_the_parameter_the_protection_ends(client: Any) -> None:  # noqa: ANN401
    name = deployed(client, "on")
    protect(client, name)
    parameters = [{"ParameterKey": "ProtectLedger", "ParameterValue": "off"}]
    client.update_stack(StackName=name, UsePreviousTemplate=True, Parameters=parameters)
    client.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    assert not protect(client, name)
    assert denied(client, name) == []
    client.delete_stack(StackName=name)
