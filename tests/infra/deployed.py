"""What values of the template become when it is deployed: as much of CloudFormation as the environment needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tests.infra.cloudformation import QUEUE, Node, resources, template

ACCOUNT = "123456789012"
# What AWS adds to the name of a table, a user or a cache, and the ids of APIs.
_SUFFIX = "-ABCDEFGHIJKLM"
_PLACEHOLDER = re.compile(r"\$\{([^}]+)\}")


class Values:
    """``given``: parameters and pseudo parameters; the other parameters have their defaults. ``host``: what addresses
    of queues begin with. Of two branches the longer one is taken."""

    def __init__(self, given: Mapping[str, str], host: str) -> None:
        self._given = {"AWS::URLSuffix": "amazonaws.com", "AWS::Region": "eu-west-1", **given}
        self._host = host
        self._functions: dict[str, Callable[[Node], str]] = {
            "Ref": self._ref,
            "Fn::GetAtt": lambda path: self._resource(".".join(path)),
            "Fn::Sub": self._sub,
            "Fn::If": lambda parts: max((self.of(part) for part in parts[1:]), key=len),
            "Fn::Join": lambda parts: str(parts[0]).join(self.of(part) for part in parts[1]),
            "Fn::Select": lambda parts: self._split(parts[1])[int(parts[0])],
            "Fn::FindInMap": self._longest_in_map,
        }

    def of(self, value: Node) -> str:
        """The text that a value becomes."""
        if not isinstance(value, dict):
            return str(value)
        ((function, arguments),) = value.items()
        return self._functions[function](arguments)

    def _ref(self, name: str) -> str:
        if name in self._given:
            return self._given[name]
        if name in template()["Parameters"]:
            return str(template()["Parameters"][name].get("Default", ""))
        return self._resource(name)

    def _resource(self, name: str) -> str:
        logical = name.partition(".")[0]
        assert logical in template()["Resources"], name
        if name in resources(QUEUE):
            return f"{self._host}/{self._given['AWS::AccountId']}/" + self.of(resources(QUEUE)[name]["QueueName"])
        return f"{self._given['AWS::StackName']}-{name}{_SUFFIX}"

    def _sub(self, arguments: Node) -> str:
        text, local = arguments if isinstance(arguments, list) else (arguments, {})
        known = {name: self.of(value) for name, value in local.items()}
        return _PLACEHOLDER.sub(lambda found: known.get(found[1]) or self._ref(found[1]), text)

    def _split(self, value: Node) -> list[str]:
        separator, text = value["Fn::Split"]
        return self.of(text).split(separator)

    def _longest_in_map(self, arguments: Node) -> str:
        rows = template()["Mappings"][arguments[0]]
        return max((str(value) for row in rows.values() for value in row.values()), key=len)
