"""What decoders expect, as plain data: kept with a release, they stand for it when the next one is tested.

Described are types of msgspec as far as stored items use them; any other is an error, so that nothing goes unkept.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal, Union

import msgspec
from msgspec import inspect

# A spec: a name of these, or a list that begins with what it is.
_PLAIN: dict[str, Any] = {
    "any": Any,
    "none": None,
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "decimal": Decimal,
}
_NAMES: dict[type[inspect.Type], str] = {
    inspect.AnyType: "any",
    inspect.RawType: "any",
    inspect.NoneType: "none",
    inspect.BoolType: "bool",
    inspect.IntType: "int",
    inspect.FloatType: "float",
    inspect.StrType: "str",
    inspect.DecimalType: "decimal",
}


def described(kind: Any) -> Any:  # noqa: ANN401 (any type; the answer is JSON)
    """The spec of a type that is decoded from JSON."""
    return _spec(inspect.type_info(kind))


def rebuilt(spec: Any) -> Any:  # noqa: ANN401 (JSON; the answer is a type)
    """A type that decodes as the one that was described."""
    if isinstance(spec, str):
        return _PLAIN[spec]
    kind, *parts = spec
    return _BUILDERS[kind](*parts)


def _spec(info: inspect.Type) -> Any:  # noqa: ANN401
    if type(info) in _NAMES:
        limits = {name: getattr(info, name) for name in getattr(info, "__struct_fields__", ()) if getattr(info, name)}
        assert not limits, f"limits are not described: {limits}"
        return _NAMES[type(info)]
    if isinstance(info, inspect.ListType | inspect.SetType | inspect.FrozenSetType | inspect.VarTupleType):
        return ["list", _spec(info.item_type)]
    if isinstance(info, inspect.TupleType):
        return ["tuple", *map(_spec, info.item_types)]
    if isinstance(info, inspect.DictType):
        return ["dict", _spec(info.key_type), _spec(info.value_type)]
    if isinstance(info, inspect.LiteralType):
        return ["literal", *info.values]
    if isinstance(info, inspect.EnumType):
        return ["literal", *(member.value for member in info.cls)]
    if isinstance(info, inspect.UnionType):
        return ["union", *map(_spec, info.types)]
    assert isinstance(info, inspect.StructType | inspect.NamedTupleType), f"{info} is not described"
    return _fields(info)


def _fields(info: inspect.StructType | inspect.NamedTupleType) -> list[Any]:
    is_struct = isinstance(info, inspect.StructType)
    assert not (is_struct and (info.tag or info.forbid_unknown_fields)), info
    layout = "object" if is_struct and not info.array_like else "array" if is_struct else "tuple"
    return ["fields", info.cls.__name__, layout, [[f.encode_name, _spec(f.type), f.required] for f in info.fields]]


def _built(name: str, layout: str, fields: list[list[Any]]) -> type:
    members: list[Any] = [
        (field, rebuilt(spec)) if required else (field, rebuilt(spec), None) for field, spec, required in fields
    ]
    if layout == "tuple":
        # Unlike a compact struct it takes no element more than it has.
        optional = [None for *_, required in fields if not required]
        made = namedtuple(name, [field for field, *_ in fields], defaults=optional)
        made.__annotations__ = {field: rebuilt(spec) for field, spec, _ in fields}
        return made
    is_object = layout == "object"
    return msgspec.defstruct(name, members, array_like=not is_object, kw_only=is_object, omit_defaults=is_object)


_BUILDERS: dict[str, Callable[..., Any]] = {
    "list": lambda item: list[rebuilt(item)],  # type: ignore[misc]
    "tuple": lambda *items: tuple[tuple(map(rebuilt, items))],  # type: ignore[misc]
    "dict": lambda key, value: dict[rebuilt(key), rebuilt(value)],  # type: ignore[misc]
    "literal": lambda *values: Literal[tuple(values)],
    "union": lambda *kinds: Union[tuple(map(rebuilt, kinds))],  # noqa: UP007 (made of a tuple)
    "fields": _built,
}


def filled(spec: Any, value: Any) -> set[tuple[str, str]]:  # noqa: ANN401 (JSON)
    """The fields of structs, with the struct's name, that an item gives a value."""
    if isinstance(spec, str):
        return set()
    kind, *parts = spec
    if kind == "fields":
        name, layout, fields = parts
        if isinstance(value, dict) != (layout == "object") or value is None:
            return set()
        pairs = [(f, s, value.get(f)) for f, s, _ in fields] if layout == "object" else _positions(fields, value)
        found = {(name, field) for field, _, inner in pairs if inner is not None}
        return found.union(*(filled(inner_spec, inner) for _, inner_spec, inner in pairs))
    if kind == "union":
        return set().union(*(filled(part, value) for part in parts))
    if kind == "dict":
        return set().union(*(filled(parts[1], inner) for inner in value.values())) if isinstance(value, dict) else set()
    if kind in ("list", "tuple") and isinstance(value, list):
        specs = parts * len(value) if kind == "list" else parts
        return set().union(*(filled(inner_spec, inner) for inner_spec, inner in zip(specs, value, strict=False)))
    return set()


def fields_of(spec: Any) -> set[tuple[str, str]]:  # noqa: ANN401 (JSON)
    """All of them that there are."""
    if not isinstance(spec, list):
        return set()
    own = {(spec[1], field) for field, *_ in spec[3]} if spec[0] == "fields" else set()
    parts = [inner for _, inner, _ in spec[3]] if spec[0] == "fields" else spec[1:]
    return own.union(*map(fields_of, parts))


def _positions(fields: list[list[Any]], values: Any) -> list[tuple[str, Any, Any]]:  # noqa: ANN401
    return [(field, spec, value) for (field, spec, _), value in zip(fields, values, strict=False)]
