"""Protects a deployed stack, or ends its protection: `python -m local.protect ENV`, after each `make deploy`.

Where the stack's own parameter `ProtectLedger` is on, CloudFormation neither deletes the stack nor replaces or deletes
its ledger; the template itself can say the former of no stack. Who are meant are those who make a mistake: whoever may
deploy may end both.
"""

import json
import sys
import tomllib
from typing import Any

import boto3

from local.environments import ROOT

_ANY = {"Effect": "Allow", "Action": "Update:*", "Principal": "*", "Resource": "*"}
_LEDGER = {
    "Effect": "Deny",
    "Action": ["Update:Replace", "Update:Delete"],
    "Principal": "*",
    "Resource": "LogicalResourceId/LedgerTable",
}


def protect(client: Any, stack: str) -> bool:  # noqa: ANN401 (boto3's clients have no common type)
    """Whether the stack is protected now, which is what its parameter says."""
    deployed = client.describe_stacks(StackName=stack)["Stacks"][0]
    values = {item["ParameterKey"]: item["ParameterValue"] for item in deployed.get("Parameters", [])}
    is_on = bool(values["ProtectLedger"] == "on")
    policy = {"Statement": [_ANY, _LEDGER] if is_on else [_ANY]}
    client.set_stack_policy(StackName=stack, StackPolicyBody=json.dumps(policy))
    client.update_termination_protection(StackName=stack, EnableTerminationProtection=is_on)
    return is_on


def _section(environment: str) -> dict[str, Any]:
    """What samconfig.toml says for all commands and for `deploy`."""
    commands: dict[str, Any] = tomllib.loads((ROOT / "samconfig.toml").read_text())[environment]
    found: dict[str, Any] = commands["global"]["parameters"] | commands["deploy"]["parameters"]
    return found


if __name__ == "__main__":
    section = _section(sys.argv[1])
    cloudformation = boto3.client("cloudformation", region_name=section.get("region"))
    said = "protected" if protect(cloudformation, section["stack_name"]) else "not protected"
    print(f"the stack {section['stack_name']} and its ledger are {said} from deletion")
