"""Which fields a line of an update has, by its type: what is checked, and what OpenAPI says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from foliostream.api.models import NONZERO, POSITIVE, UNSIGNED, text
from foliostream.domain import keys


class Form(NamedTuple):
    """One way to write lines of these types: the fields they need, those they may have, what an ``instrument_id`` is,
    and the schemas of numbers that have not every sign that such a field may have. Beside them every line may have
    ``OF_ALL``."""

    types: tuple[str, ...]
    needed: tuple[str, ...]
    optional: tuple[str, ...]
    instrument: str = keys.SYMBOL
    signs: Mapping[str, Mapping[str, Any]] = {}


OF_ALL = ("transaction_type", "transaction_id", "timestamp")
_INCOME, _ADJUSTMENT = ("DIVIDEND", "FEE", "SWAP"), ("ADJUSTMENT",)
# What moves cash, by its amount or by a quantity.
_BY_AMOUNT = (("amount",), ("instrument_id", "currency"))
_BY_QUANTITY = (("quantity_change",), ("instrument_id", "price", "amount", "currency"))
_TRADE = (("instrument_id", "quantity_change", "price"), ("fee", "fee_currency"))
_SIGNED = {"price": NONZERO}
_RECEIVED = {"quantity_change": POSITIVE, "price": POSITIVE, "amount": POSITIVE}
FORMS = (
    Form(("BUY",), *_TRADE, signs={"quantity_change": POSITIVE, "price": UNSIGNED}),
    Form(("SELL",), *_TRADE, signs={"price": UNSIGNED}),
    Form(("DEPOSIT",), *_BY_AMOUNT, keys.CASH, {"amount": POSITIVE}),
    Form(("DEPOSIT",), *_BY_QUANTITY, keys.CASH, _RECEIVED),
    Form(("WITHDRAWAL",), *_BY_AMOUNT, keys.CASH),
    Form(("WITHDRAWAL",), *_BY_QUANTITY, keys.CASH, {"price": POSITIVE, "amount": POSITIVE}),
    Form(_INCOME, *_BY_AMOUNT, keys.SYMBOL_OR_CASH),
    Form(_INCOME, *_BY_QUANTITY, keys.SYMBOL_OR_CASH, _SIGNED),
    Form(("SPLIT",), ("instrument_id", "ratio"), ("cash_price",)),
    Form(("FX",), ("from", "to", "amount", "rate"), ("fee", "fee_currency"), signs={"amount": POSITIVE}),
    Form(_ADJUSTMENT, ("reason", *_BY_AMOUNT[0]), _BY_AMOUNT[1], keys.CASH),
    Form(_ADJUSTMENT, ("reason", *_BY_QUANTITY[0]), _BY_QUANTITY[1], keys.CASH, _SIGNED),
    Form(_ADJUSTMENT, ("reason", "instrument_id", "quantity_change", "price"), (), signs={"price": UNSIGNED}),
)
FIELDS_OF: Mapping[str, frozenset[str]] = {
    kind: frozenset(name for form in FORMS if kind in form.types for name in (*OF_ALL, *form.needed, *form.optional))
    for form in FORMS
    for kind in form.types
}


def described(line: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a line, made of that of the fields of all types."""
    about = {name: line[name] for name in ("title", "description")}
    return about | {"anyOf": [_described(form, line["properties"]) for form in FORMS]}


def _described(form: Form, properties: Mapping[str, Any]) -> dict[str, Any]:
    """What a line does not have may still be null, and its fee zero."""
    found: dict[str, Any] = {}
    has = (*form.needed, *form.optional)
    own = {**form.signs, "instrument_id": {"anyOf": [text(form.instrument)]}}
    for name, schema in properties.items():
        if name in has and name in own:
            schema = {"anyOf": [*own[name]["anyOf"], {"type": "null"}]}
        if name in form.needed:
            schema = {"anyOf": [one for one in schema["anyOf"] if one != {"type": "null"}]}
        elif name not in (*has, *OF_ALL):
            schema = {"const": 0} if name == "fee" else {"type": "null"}
        found[name] = schema
    found["transaction_type"] = {"type": "string", "enum": [*form.types]}
    required = ["transaction_type", *form.needed]
    return {"type": "object", "properties": found, "required": required, "additionalProperties": False}
