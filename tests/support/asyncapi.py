"""The AsyncAPI document of the WebSocket, and whether a message is as it says.

Only the part of JSON Schema that the document uses is known here; any other word in it is an error, so that nothing in
the document goes unchecked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import yaml

DOCUMENT = Path(__file__).parents[2] / "docs" / "websocket" / "asyncapi.yaml"
FRAME_BYTES = 32_768
_NOTES = {"description", "default"}
_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, Mapping),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float | Decimal) and not isinstance(value, bool),
}


@cache
def document() -> dict[str, Any]:
    """As it is in the repository."""
    loaded: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text())
    return loaded


def messages(operation: str) -> dict[str, dict[str, Any]]:
    """Payload schemas of what is received (``say``) or sent (``tell``), by name."""
    found = {}
    for reference in document()["operations"][operation]["messages"]:
        channel_message = resolved(reference)
        name = reference["$ref"].rpartition("/")[2]
        found[name] = resolved(channel_message)["payload"]
    return found


def resolved(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What a ``$ref`` stands for; anything else is itself."""
    if "$ref" not in schema:
        return dict(schema)
    found: Any = document()
    for step in schema["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return dict(found)


def faults(operation: str, message: Mapping[str, Any]) -> list[str]:
    """What is wrong with a message; nothing, if it is as the document says."""
    known = messages(operation)
    kind = message.get("type" if operation == "tell" else "action")
    if not isinstance(kind, str) or kind not in known:
        return [f"no message {kind!r}"]
    return list(_check(message, known[kind], kind))


def _check(value: object, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    schema = resolved(schema)
    for word, wanted in schema.items():
        if word not in _NOTES:
            yield from _WORDS[word](value, wanted, schema, path)


def _type(value: object, wanted: Any, _: object, path: str) -> Iterator[str]:  # noqa: ANN401 - as JSON Schema has it
    if not any(_TYPES[name](value) for name in ([wanted] if isinstance(wanted, str) else wanted)):
        yield f"{path}: {value!r} is no {wanted}"


def _enum(value: object, wanted: Any, _: object, path: str) -> Iterator[str]:  # noqa: ANN401
    if value not in wanted:
        yield f"{path}: {value!r} is none of {wanted}"


def _const(value: object, wanted: Any, _: object, path: str) -> Iterator[str]:  # noqa: ANN401
    if value != wanted:
        yield f"{path}: {value!r} is not {wanted!r}"


def _pattern(value: object, wanted: Any, _: object, path: str) -> Iterator[str]:  # noqa: ANN401
    if isinstance(value, str) and not re.search(wanted, value):
        yield f"{path}: {value!r} does not match {wanted}"


def _bound(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any, Mapping[str, Any], str], Iterator[str]]:
    def check(value: Any, wanted: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:  # noqa: ANN401
        # Null has no length, and what is of another type is wrong already.
        if value is not None and not list(_type(value, schema["type"], None, path)) and not holds(value, wanted):
            yield f"{path}: {value!r} is beyond {wanted}"

    return check


def _required(value: Any, wanted: Any, _: object, path: str) -> Iterator[str]:  # noqa: ANN401
    if isinstance(value, Mapping):
        yield from (f"{path}: {name} is missing" for name in wanted if name not in value)


def _properties(value: Any, wanted: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:  # noqa: ANN401
    for name, inner in value.items() if isinstance(value, Mapping) else ():
        if name in wanted:
            yield from _check(inner, wanted[name], f"{path}.{name}")
        elif schema.get("additionalProperties") is False:
            yield f"{path}: {name} is not described"


def _others(value: Any, wanted: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:  # noqa: ANN401
    for name, inner in value.items() if isinstance(value, Mapping) and isinstance(wanted, Mapping) else ():
        if name not in schema.get("properties", {}):
            yield from _check(inner, wanted, f"{path}.{name}")


def _items(value: Any, wanted: Any, _: object, path: str) -> Iterator[str]:  # noqa: ANN401
    for index, inner in enumerate(value if isinstance(value, list) else ()):
        yield from _check(inner, wanted, f"{path}[{index}]")


def _any_of(value: object, wanted: Any, _: object, path: str) -> Iterator[str]:  # noqa: ANN401
    if all(list(_check(value, option, path)) for option in wanted):
        yield f"{path}: {value!r} is none of the {len(wanted)} kinds"


_WORDS: dict[str, Callable[[Any, Any, Mapping[str, Any], str], Iterator[str]]] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "pattern": _pattern,
    "required": _required,
    "properties": _properties,
    "additionalProperties": _others,
    "items": _items,
    "anyOf": _any_of,
    "minimum": _bound(lambda value, wanted: value >= wanted),
    "maximum": _bound(lambda value, wanted: value <= wanted),
    "minLength": _bound(lambda value, wanted: len(value) >= wanted),
    "minItems": _bound(lambda value, wanted: len(value) >= wanted),
    "maxItems": _bound(lambda value, wanted: len(value) <= wanted),
    "maxLength": _bound(lambda value, wanted: len(value) <= wanted),
}
