"""The template as plain data: intrinsic functions become ``{"Ref": name}``, ``{"Fn::Sub": text}`` and so on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import yaml

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"
FUNCTION = "AWS::Serverless::Function"
LAYER = "AWS::Serverless::LayerVersion"
QUEUE = "AWS::SQS::Queue"
# Any part of the template: a mapping, a list or a plain value.
Node: TypeAlias = Any


class _Loader(yaml.SafeLoader):
    """Knows the short forms of CloudFormation's functions."""


def _long_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        text = loader.construct_scalar(node)
        return {name: str(text).split(".", 1) if suffix == "GetAtt" else text}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.MappingNode)
    return {name: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _long_form)


@cache
def template() -> dict[str, Any]:
    """The parsed template; read only."""
    with TEMPLATE.open() as handle:
        loaded: dict[str, Any] = yaml.load(handle, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    return loaded


def resources(kind: str) -> dict[str, dict[str, Any]]:
    """Properties of the resources of one type, by logical id."""
    return {name: body.get("Properties", {}) for name, body in template()["Resources"].items() if body["Type"] == kind}


def function_setting(name: str, key: str) -> Node:
    """What a function says itself, else what Globals say."""
    return resources(FUNCTION)[name].get(key, template()["Globals"]["Function"].get(key))


def referenced(value: Node) -> str:
    """The logical id in ``{"Ref": id}`` or ``{"Fn::GetAtt": [id, attribute]}``; for an alias its function's."""
    return str(value["Ref"] if "Ref" in value else value["Fn::GetAtt"][0]).removesuffix(".Alias")


def walk(value: Node) -> Iterator[tuple[str, Node]]:
    """Every key with its value, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)


def as_list(value: Node) -> list[Node]:
    """A lone value is a list of one."""
    return value if isinstance(value, list) else [value]


def sqs_sources() -> dict[tuple[str, str], dict[str, Any]]:
    """Properties of the queues' event sources, by function and event."""
    return {
        (name, event): body["Properties"]
        for name, function in resources(FUNCTION).items()
        for event, body in function.get("Events", {}).items()
        if body["Type"] == "SQS"
    }


def statements() -> list[tuple[str, dict[str, Any]]]:
    """Every policy statement of the template with the resource it stands in."""
    found = []
    for name, body in template()["Resources"].items():
        for key, value in walk(body):
            if key == "PolicyDocument":
                found += [(name, statement) for statement in as_list(value["Statement"])]
    return found


def allowed(role: str, action: str) -> set[str]:
    """Logical ids of the resources that a role may use with an action."""
    return {
        referenced(resource)
        for name, statement in statements()
        if name == role and action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }
