"""What openapi.json says of names, times and numbers in requests is what the code takes, no less and no more."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import cache
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foliostream.domain import fills, keys, orders
from foliostream.domain.times import MAX_MS
from foliostream.errors import CallerError
from tests.support.hostile import NAMES
from tests.unit.api.client import NOW_MS, Answer, Client, buy

Schema = Mapping[str, Any]
Place = tuple[str, str]


@cache
def document() -> dict[str, Any]:
    return Client().send("GET", "/openapi.json", sub=None).body


def resolved(schema: Schema) -> Schema:
    return document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def allows(schema: Schema, value: object) -> bool:
    """Whether a schema of something that is no object allows a text or a number."""
    if "anyOf" in schema:
        return any(allows(one, value) for one in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    if schema.get("type") == "string" and isinstance(value, str):
        # No wrong text below is a time; $ is the very end, as in the language of the document.
        fits = re.search(schema.get("pattern", "").replace("$", r"\Z"), value) and "format" not in schema
        return bool(fits) and schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
    if schema.get("type") in {"number", "integer"} and isinstance(value, int):
        above = value >= schema.get("minimum", value) and value > schema.get("exclusiveMinimum", value - 1)
        return above and value <= schema.get("maximum", value) and value < schema.get("exclusiveMaximum", value + 1)
    return False


def forms(schema: Schema) -> list[Schema]:
    """Each way to write an object of a schema."""
    found = resolved(schema)
    ways = [way for word in ("anyOf", "oneOf") for one in found.get(word, ()) for way in forms(one)]
    return ways or [found]


def fits(form: Schema, value: Any) -> bool:  # noqa: ANN401 (JSON)
    """Whether a way to write something is the one that was taken: by the names of what is in it."""
    if isinstance(value, list):
        return form.get("type") == "array"
    if form.get("type") != "object":
        return False
    parts = form.get("properties", {})
    kinds = parts.get("transaction_type", {}).get("enum", [value.get("transaction_type")])
    if set(form.get("required", ())) - value.keys() or value.get("transaction_type") not in kinds:
        return False
    return all(parts.get(name) not in ({"type": "null"}, {"const": 0}) for name in value)


# --- every text has a limit -------------------------------------------------------------------------------------------


def texts(name: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Every text that a schema describes, with where it is."""
    schema = resolved(schema)
    for word in ("anyOf", "oneOf"):
        for one in schema.get(word, ()):
            yield from texts(name, one)
    if schema.get("type") == "string":
        yield name, schema
    for part, inner in (*schema.get("properties", {}).items(), *schema.get("patternProperties", {}).items()):
        yield from texts(f"{name}.{part}", inner)
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), Mapping):
            yield from texts(f"{name}[]", schema[word])


def asked() -> Iterator[tuple[str, Schema]]:
    """What every call is asked with: its parameters and its body."""
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            call = f"{method.upper()} {path}"
            for parameter in operation.get("parameters", ()):
                yield f"{call} {parameter['name']}", parameter["schema"]
            if "requestBody" in operation:
                yield call, operation["requestBody"]["content"]["application/json"]["schema"]


def test_every_text_of_a_request_has_a_pattern_a_form_or_a_length() -> None:
    found = [text for name, schema in asked() for text in texts(name, schema)]
    assert len(found) > 100
    assert [
        name for name, schema in found if not {"pattern", "enum", "const", "format", "maxLength"} & set(schema)
    ] == []


# --- what the document allows is what is checked ----------------------------------------------------------------------

CHECKED: dict[Place, Callable[[str], object]] = {
    ("PortfolioRequest", "portfolio_id"): keys.portfolio_id,
    ("PortfolioRequest", "base_currency"): keys.currency,
    ("OrderRequest", "instrument_id"): keys.symbol,
    ("OrderRequest", "client_order_id"): orders.order_id,
    ("UpdateLine", "transaction_id"): keys.transaction_id,
    ("PriceUpdateIn", "symbol"): keys.symbol,
    ("FillIn", "fill_id"): fills.fill_id,
    ("FillIn", "instrument_token"): lambda raw: fills.text("instrument_token", raw),
    ("FillIn", "strategy_id"): lambda raw: fills.portfolio_of("paper", raw),
}


@pytest.mark.parametrize("place", CHECKED, ids=".".join)
def test_a_name_is_taken_exactly_where_the_document_allows_it(place: Place) -> None:
    schema = forms(document()["components"]["schemas"][place[0]])[0]["properties"][place[1]]
    [pattern] = [one["pattern"] for one in schema.get("anyOf", [schema]) if "pattern" in one]

    made_up = st.from_regex(pattern) | st.from_regex(pattern, fullmatch=True).map(str.lower) | st.sampled_from(NAMES)

    @settings(max_examples=200, deadline=None, database=None, derandomize=True)
    @given(made_up | st.sampled_from(["A" * length for length in range(140)]))
    def ask(name: str) -> None:
        try:
            CHECKED[place](name)
        except CallerError:
            taken = False
        else:
            taken = True
        assert taken == allows(schema, name)

    ask()


# --- what the document does not allow is refused wherever it is given -------------------------------------------------

PORTFOLIO = {"portfolio_name": "A", "account_type": "live", "cost_basis": "fifo"}
SETTINGS = {"target_weights": {"AAPL": 1}, "benchmark": "AAPL"}
LEVELS = {"margin_call_percent": 100, "stop_out_percent": 50}
SPLIT = {"effective_at": 0, "ratio": "4:1"}
FILL = {"fill_id": "f1", "instrument_id": "AAPL", "side": "BUY", "quantity": 1, "fill_price": 1, "timestamp": 0}
FILL |= {"order_id": "o", "tag": "t", "exchange": "e", "product": "p", "owner": "alice", "fee": 0}
FILL |= {"fee_currency": "USD"}
LINES: tuple[dict[str, object], ...] = (
    buy(2, 1, fee=1, fee_currency="USD", transaction_id="t", timestamp=0),
    buy(1, 1, transaction_type="SELL"),
    {"transaction_type": "DEPOSIT", "amount": 1, "currency": "USD", "instrument_id": "CASH:USD"},
    {"transaction_type": "WITHDRAWAL", "amount": 1, "currency": "USD"},
    {"transaction_type": "WITHDRAWAL", "quantity_change": 1, "price": 1, "currency": "USD"},
    {"transaction_type": "FX", "from": "USD", "to": "EUR", "amount": 1, "rate": 1},
    {"transaction_type": "SPLIT", "instrument_id": "AAPL", "ratio": "4:1", "cash_price": 1},
    {"transaction_type": "DEPOSIT", "quantity_change": 1, "price": 1, "currency": "USD"},
    {"transaction_type": "DIVIDEND", "amount": 1, "currency": "USD", "instrument_id": "AAPL"},
    {"transaction_type": "FEE", "quantity_change": 1, "price": 1, "amount": 1, "currency": "USD"},
    {"transaction_type": "ADJUSTMENT", "transaction_id": "a1", "reason": "so", "amount": 1, "currency": "USD"},
    {"transaction_type": "ADJUSTMENT", "transaction_id": "a2", "reason": "so", "quantity_change": 1, "price": 1}
    | {"currency": "USD"},
    {"transaction_type": "ADJUSTMENT", "transaction_id": "a3", "reason": "so", "quantity_change": 1, "price": 1}
    | {"instrument_id": "AAPL"},
)
NUMBERS = {"quantity_change", "price", "amount", "fee", "rate", "cash_price"}
MINE, CASH = "/api/v1/portfolio/12345", "/api/v1/portfolio/cash"
BODIES: tuple[tuple[str, str, Any], ...] = (
    (
        "POST",
        "/api/v1/portfolios",
        PORTFOLIO
        | {"portfolio_id": "p", "account_kind": "margin", "base_currency": "USD", "leverage": 1, "initial_cash": 1}
        | {"settings": SETTINGS | LEVELS},
    ),
    (
        "POST",
        "/api/v1/portfolios",
        PORTFOLIO
        | {"portfolio_id": "brokers", "account_kind": "cash", "base_currency": "INR"}
        | {"settings": {"update_interval_ms": 1_000, "broker_share": 1}}
        | {"broker": {"name": "zerodha", "account": "AB1234", "tag": "a"}},
    ),
    (
        "PUT",
        "/api/v1/instruments/GBPUSD",
        {"kind": "forex", "currency": "USD", "base_currency": "GBP", "contract_size": 1, "price_decimals": 5}
        | {"max_age_seconds": 60, "isin": "US0378331005", "token": "1", "lot_step": 1}
        | {"margin_rate": 1, "hours": "Mon-Fri 09:30-16:00 America/New_York"}
        | {"swap": {"long": 1, "short": 1, "mode": "points", "triple_day": "Wed"}},
    ),
    (
        "PUT",
        "/api/v1/instruments/NEW",
        {"kind": "cfd", "currency": "USD", "margin_tiers": [{"notional_from": 0, "margin_rate": 1}], "splits": [SPLIT]},
    ),
    ("PUT", "/api/v1/instruments/AAPL/history", {"closes": [{"date": "2026-02-25", "close": 1}]}),
    *(("POST", f"{CASH}/update", {"portfolio_id": "cash", "timestamp": NOW_MS, "updates": [line]}) for line in LINES),
    ("PATCH", MINE, {"status": "ACTIVE", "settings": SETTINGS | LEVELS}),
    ("PATCH", "/api/v1/portfolio/brokers", {"settings": {"update_interval_ms": 1_000, "broker_share": 1}}),
    ("POST", f"{MINE}/margin/preview", {"orders": [{"instrument_id": "AAPL", "quantity": 1, "price": 1, "fee": 0}]}),
    (
        "POST",
        f"{MINE}/orders",
        {"instrument_id": "AAPL", "side": "BUY", "quantity": 1, "order_type": "limit", "limit_price": 1}
        | {"client_order_id": "o"},
    ),
    (
        "POST",
        "/api/v1/prices",
        {
            "updates": [
                {"symbol": "AAPL", "ts": 1, "seq": 1, "last": 1, "bid": 1, "ask": 1, "open": 1} | {"previous_close": 1}
            ]
        },
    ),
    ("POST", "/api/v1/fills", FILL | {"portfolio_id": "12345"}),
    (
        "POST",
        "/api/v1/fills",
        {name: value for name, value in FILL.items() if name not in {"side", "instrument_id"}}
        | {"signal_type": "BUY", "execution_mode": "paper", "strategy_id": "s", "instrument_token": "1"}
        | {"currency": "USD"},
    ),
)
WRONG: tuple[object, ...] = (
    *NAMES,
    "",
    "\n",
    "usd",
    "USD\n",
    "CASH:USD",
    "x" * 5_000,
    "2026-02-30",
    "0:0",
    "0",
    0,
    "-1",
    -1,
    2**53,
    MAX_MS + 1,
    10**15,
    -(10**15),
)


def limited(whole: Any, part: Any, schema: Schema, name: str) -> Iterator[tuple[Place, Any, Any, Schema]]:  # noqa: ANN401
    """Every text and number of a body: its place in the document, what holds it, under which key, and its schema."""
    for one in (schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())):
        if "$ref" in one:
            name = one["$ref"].rpartition("/")[2]
    form = next(form for form in forms(schema) if fits(form, whole[part]))
    for key in list(whole[part]) if isinstance(whole[part], dict) else range(len(whole[part])):
        inner = form["items"] if "items" in form else form.get("properties", {}).get(key)
        if isinstance(whole[part][key], dict | list):
            yield from limited(whole[part], key, inner, f"{name}.{key}")
        elif inner is not None:
            yield (name, key), whole[part], key, inner


def bodies() -> Iterator[tuple[str, str, list[Any], list[tuple[Place, Any, Any, Schema]]]]:
    """Every body, in a list, with the places of the texts and numbers in it."""
    for method, path, body in BODIES:
        template = re.sub(r"(?<=portfolio/)\w+", "{portfolio_id}", path)
        template = re.sub(r"(?<=instruments/)\w+", "{symbol}", template)
        schema = document()["paths"][template][method.lower()]["requestBody"]["content"]["application/json"]["schema"]
        sent = [deepcopy(body)]
        yield method, path, sent, list(limited(sent, 0, schema, ""))


@pytest.fixture
def client() -> Client:
    """Of whoever owns the portfolios of the bodies."""
    found = Client()
    assert found.create(account_type="paper", account_kind="margin", leverage=1).status == 201
    assert found.create(portfolio_id="cash").status == 201
    assert found.prices({"symbol": "EURUSD", "ts": NOW_MS, "bid": 1, "ask": 1}).status == 202
    return found


def is_taken(answer: Answer) -> bool:
    return answer.status in {200, 201} or (answer.status == 202 and answer.body["accepted"] == 1)


def test_what_the_document_does_not_allow_is_refused_wherever_it_is_given(client: Client) -> None:
    tried, taken = set(), []
    for method, path, sent, places in bodies():
        for place, holder, key, schema in places:
            before = holder[key]
            for wrong in WRONG:
                if allows(schema, wrong):
                    continue
                holder[key] = wrong
                answer = client.send(method, path, sent[0])
                if is_taken(answer) or answer.status not in {202, 400}:
                    taken.append((place, wrong, answer.text))
                tried.add(place)
            holder[key] = before
        right = client.send(method, path, sent[0])
        assert is_taken(right), right.text
    assert taken == []
    described = {
        (name, key)
        for name, schema in document()["components"]["schemas"].items()
        if name.endswith(("Request", "In", "Line", "Order", "Change", "Settings"))
        for form in forms(schema)
        for key, inner in form["properties"].items()
        if any(allows(inner, right) for right in ("AAPL", "USD", "a", 1, 50)) or "format" in str(inner)
    }
    assert described - tried == set()


# What JSON Schema counts as an integer too, and what no decoder may spend its time on.
NO_INTEGERS = ("1.0", "1e0", "1.5", "1e400", "1e999999999", "1e-999999999", "9" * 5_000)


def test_an_integer_is_written_as_the_document_says_without_a_fraction_and_an_exponent(client: Client) -> None:
    assert "without a fraction and without an exponent" in document()["info"]["description"]
    tried, taken = set(), []
    for method, path, sent, places in bodies():
        for place, holder, key, schema in places:
            if any(one.get("type") == "integer" for one in (schema, *schema.get("anyOf", ()))):
                before, holder[key] = holder[key], "@"
                text = json.dumps(sent[0])
                holder[key] = before
                for number in NO_INTEGERS:
                    answer = client.send(method, path, text.replace('"@"', number))
                    fault = (answer.body.get("rejected") or [answer.body.get("error")])[0]
                    if fault is None or not fault["code"].startswith("INVALID"):
                        taken.append((place, number, answer.text))
                tried.add(place[1])
    assert taken == []
    assert {"timestamp", "update_interval_ms", "ts", "seq", "price_decimals", "instrument_token"} <= tried


# --- a line has the fields of its type --------------------------------------------------------------------------------


def lines() -> Iterator[tuple[Schema, dict[str, object]]]:
    """A way to write a line, and one of ``LINES`` that is written in it."""
    for form in forms({"$ref": "#/components/schemas/UpdateLine"}):
        instruments = form["properties"]["instrument_id"]
        for line in LINES:
            if fits(form, line) and ("instrument_id" not in line or allows(instruments, line["instrument_id"])):
                yield form, line


def booked(line: dict[str, object]) -> Answer:
    """What a portfolio that has cash and something of everything answers to it."""
    client = Client()
    client.create()
    client.prices({"symbol": "EURUSD", "ts": NOW_MS, "bid": 1, "ask": 1})
    client.update(buy(1, 1))
    return client.update(line)


def test_every_way_to_write_a_line_is_in_the_samples_and_taken_with_nothing_but_what_it_needs() -> None:
    tried = []
    for form, line in lines():
        least = {name: value for name, value in line.items() if name in (*form["required"], "transaction_id")}
        for sent in (line, least):
            answer = booked(sent)
            assert answer.status == 200, (sent, answer.text)
        tried.append(form)
    assert [form for form in forms({"$ref": "#/components/schemas/UpdateLine"}) if form not in tried] == []


def test_a_number_of_a_line_is_taken_with_the_signs_that_the_document_allows() -> None:
    tried, differing = set(), []
    for form, sample in lines():
        # The product of two others has no sign of its own.
        parts = sample.keys() - ({"amount"} if "quantity_change" in sample else set())
        for name, number in product(parts & NUMBERS, (1, -1, "1", "-1")):
            line = {part: sample[part] for part in parts} | {name: number}
            if (booked(line).status == 200) != allows(form["properties"][name], number):
                differing.append((line, name))
            tried.add((sample["transaction_type"], name))
    assert differing == []
    assert {("FX", "amount"), ("SELL", "quantity_change"), ("WITHDRAWAL", "amount"), ("FEE", "price")} <= tried


def test_a_line_without_what_it_needs_or_with_what_it_has_not_is_refused() -> None:
    client = Client()
    client.create()
    full = {name: value for line in LINES for name, value in line.items()}
    ways = forms({"$ref": "#/components/schemas/UpdateLine"})
    for form, line in lines():
        less = [{part: value for part, value in line.items() if part != name} for name in form["required"]]
        not_had = [name for name, schema in form["properties"].items() if schema in ({"type": "null"}, {"const": 0})]
        for changed in (*less, *(line | {name: full[name]} for name in not_had)):
            if not any(fits(way, changed) for way in ways):
                assert client.update(changed).status == 400, changed
