"""What clients of the WebSocket may say, made up after the AsyncAPI document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st

from tests.support import asyncapi

Schema = Mapping[str, Any]


def valid(portfolio_id: str = "growth", ticker: str = "AAPL") -> st.SearchStrategy[dict[str, Any]]:
    """Messages that are as the document says; some name a portfolio and a ticker that are there."""
    there = {"portfolio_id": st.just(portfolio_id), "ticker": st.just(ticker)}
    there["portfolio_ids"] = st.just([portfolio_id])
    return st.one_of([_object(schema, there) for schema in asyncapi.messages("say").values()])


def _object(schema: Schema, there: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    fields = {name: of(inner) | there.get(name, st.nothing()) for name, inner in schema["properties"].items()}
    needed = {name: fields[name] for name in schema["required"]}
    return st.fixed_dictionaries(needed, optional={name: fields[name] for name in fields if name not in needed})


def of(schema: Schema) -> st.SearchStrategy[Any]:
    """Values of a schema; a type that is not known here is an error."""
    schema = asyncapi.resolved(schema)
    for word in ("const", "enum"):
        if word in schema:
            return st.sampled_from([schema[word]] if word == "const" else schema[word])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of([_MADE[kind](schema) for kind in kinds])


def _string(schema: Schema) -> st.SearchStrategy[str]:
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True)
    # JSON can hold half a character; a text on the wire cannot.
    characters = st.characters(codec="utf-8")
    return st.text(characters, min_size=schema.get("minLength", 0), max_size=schema.get("maxLength", 50))


def _array(schema: Schema) -> st.SearchStrategy[list[Any]]:
    return st.lists(of(schema["items"]), min_size=schema.get("minItems", 0), max_size=min(schema["maxItems"], 5))


def _integer(schema: Schema) -> st.SearchStrategy[int]:
    edges = st.sampled_from([schema["minimum"], schema["maximum"]])
    return st.integers(schema["minimum"], schema["maximum"]) | edges


_MADE: dict[str, Callable[[Schema], st.SearchStrategy[Any]]] = {
    "string": _string,
    "array": _array,
    "integer": _integer,
    "null": lambda _: st.none(),
}
