"""Whatever a function is given, it takes it, names what it refuses, or raises an error of our tree: nothing else.

The handlers are the deployed ones, over the stores in memory (``tests/support/handlers.py``); what AWS itself writes
around a message is as AWS writes it, and everything that somebody else writes is made up (``tests/support/fuzz.py``).
"""

from __future__ import annotations

import json
import logging
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliostream import queues
from foliostream.application import price_input, protocol
from foliostream.domain import kite
from foliostream.errors import CallerError, FoliostreamError
from tests.support import asyncapi, fuzz, said
from tests.support.handlers import NAMES, NOW_MS, SETTINGS, Fakes, handler, sample, samples
from tests.unit.api.client import CONTEXT

# Of inputs that are large themselves, Hypothesis warns before it shows them.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

Event = dict[str, Any]
ALL = {name: samples(name) for name in NAMES}
# When the samples were sent, and when the night and the day that they speak of are over.
TIMES = st.sampled_from((NOW_MS, NOW_MS + 13 * 3_600_000))
CLIENT = "Zm9saW9zdHJlYW0="


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Thousands of refusals would be thousands of lines."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def call(function: str, event: Event, parts: Fakes) -> Any:  # noqa: ANN401 (a handler's answer)
    """One input of the function."""
    fuzz.tried(f"{function}: events and messages")
    with handler(function, parts) as handle:
        return handle(event, CONTEXT)


@contextmanager
def refusals() -> Iterator[None]:
    """An error of our tree, that says what is wrong, is an answer."""
    try:
        yield
    except FoliostreamError as fault:
        if not (fault.code and str(fault)):
            raise


def is_queued(event: Event) -> bool:
    return "Records" in event and "body" in event["Records"][0]


def is_asked(event: Event) -> bool:
    """By whoever may invoke functions, or by a schedule."""
    return not {"Records", "records", "requestContext", "methodArn"} & event.keys()


def parsed(text: str) -> Any:  # noqa: ANN401 (JSON)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


# --- queues -----------------------------------------------------------------------------------------------------------

QUEUED = {name: found for name, all_ in ALL.items() if (found := [event for event in all_ if is_queued(event)])}
RECORDS = {name: [record for event in found for record in event["Records"]] for name, found in QUEUED.items()}
# Messages of before, that are still understood.
GOOD = {
    name: [record for record in records if isinstance(parsed(record["body"]), dict)]
    for name, records in RECORDS.items()
}


def failed(function: str, records: list[Event], now_ms: int) -> set[str]:
    answer = call(function, {"Records": records}, Fakes(now_ms))
    return {item["itemIdentifier"] for item in answer["batchItemFailures"]} if "batchItemFailures" in answer else set()


@pytest.mark.parametrize("function", sorted(QUEUED))
@fuzz.inputs(60)
@given(data=st.data())
def test_a_message_that_is_wrong_fails_alone(function: str, data: st.DataObject) -> None:
    bodies = [parsed(record["body"]) for record in RECORDS[function]]
    bad = data.draw(st.sampled_from(RECORDS[function])) | {
        "messageId": "bad",
        "body": data.draw(fuzz.text(bodies), label="body"),
    }
    good = data.draw(st.sampled_from(GOOD[function])) | {"messageId": "good"}
    now_ms = data.draw(TIMES)
    batch = data.draw(st.permutations([bad, good]))
    assert failed(function, batch, now_ms) - {"bad"} == failed(function, [good], now_ms)


# --- topics and streams -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["accept_fills", "price_update"])
@fuzz.inputs(100)
@given(data=st.data())
def test_a_record_of_a_topic_that_is_wrong_is_given_up_and_the_others_are_taken(
    function: str, data: st.DataObject
) -> None:
    (topic,) = (event for event in ALL[function] if "records" in event)
    (partition, records) = next(iter(topic["records"].items()))
    values = [parsed(b64decode(record.get("value") or "").decode(errors="replace")) for record in records]
    value = data.draw(st.one_of(fuzz.text(values).map(_bytes), st.binary(), st.none()), label="value")
    bad = records[0] | {"value": None if value is None else b64encode(value).decode(), "offset": 1_000_000}
    parts = Fakes()
    event = topic | {"records": {partition: [bad, *records]}}
    assert call(function, event, parts) == {"batchItemFailures": []}
    alone = Fakes()
    call(function, topic, alone)
    assert letters(alone) <= letters(parts) <= letters(alone) | {f"{bad['topic']}-{bad['partition']}@1000000"}


def letters(parts: Fakes) -> set[str]:
    return {letter.message_id for letter in parts.fill_queue.given_up}


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


@fuzz.inputs(200)
@given(data=st.data())
def test_a_change_of_the_ledger_that_is_wrong_is_given_up_and_stops_nobody(data: st.DataObject) -> None:
    records = ALL["project_ledger"][0]["Records"]
    kept = [image[name]["S"] for record in records for image in [_image(record)] for name in image if name in HELD]
    bad = deepcopy(data.draw(st.sampled_from(records)))
    for name in HELD & _image(bad).keys():
        _image(bad)[name]["S"] = data.draw(fuzz.text([parsed(text) for text in kept]), label=name)
    bad["dynamodb"]["SequenceNumber"] = "999"
    event = {"Records": data.draw(st.permutations([bad, records[0]]))}
    answer = call("project_ledger", event, Fakes())
    assert answer == {"batchItemFailures": []}


HELD = {"book", "record"}


def _image(record: Event) -> Event:
    image: Event = record["dynamodb"].get("NewImage", {})
    return image


# --- invocations ------------------------------------------------------------------------------------------------------

ASKED = {name: found for name, all_ in ALL.items() if (found := [event for event in all_ if is_asked(event)])}


@pytest.mark.parametrize("function", sorted(ASKED))
@fuzz.inputs(100)
@given(data=st.data())
def test_whoever_invokes_a_function_with_nonsense_is_told_so(function: str, data: st.DataObject) -> None:
    anything = st.dictionaries(st.text(max_size=12), fuzz.values, max_size=5)
    asked = data.draw(st.one_of(fuzz.changed(ASKED[function]), fuzz.changed(ASKED[function]), anything), label="event")
    # Only objects are sent here, and what has records is a queue's or a topic's.
    if not isinstance(asked, dict) or {"Records", "records"} & asked.keys():
        asked = {"x": asked}
    with refusals():
        json.dumps(call(function, asked, Fakes(data.draw(TIMES))))


# --- the edges --------------------------------------------------------------------------------------------------------

CREATE = ("create_portfolio", "create_paper_portfolio", "create_margin_account", "update", "place_limit_order")
REQUESTS = [event for name in ("rest_api", "broker_api") for event in ALL[name]]
BODIES = [parsed(event["body"]) for event in REQUESTS if event.get("body")]


def rest_parts() -> Fakes:
    """With the accounts of the samples."""
    parts = Fakes()
    with handler("rest_api", parts) as handle:
        for case in CREATE:
            assert handle(sample(f"rest_api.{case}"), CONTEXT)["statusCode"] < 300
    return parts


@pytest.mark.parametrize("function", ["rest_api", "broker_api"])
@fuzz.inputs(150)
@given(data=st.data())
def test_every_request_gets_an_answer_and_none_says_that_we_failed(function: str, data: st.DataObject) -> None:
    event = deepcopy(data.draw(st.sampled_from(ALL[function])))
    own = [parsed(event["body"])] if event.get("body") else BODIES
    body = data.draw(st.one_of(fuzz.text(own), st.none()), label="body")
    if body is not None and data.draw(st.booleans()):
        body, event["isBase64Encoded"] = b64encode(_bytes(body)).decode(), True
    event["body"] = body
    segments = event["path"].split("/")
    if data.draw(st.booleans()):
        at = data.draw(st.integers(1, len(segments) - 1))
        segments[at] = data.draw(st.one_of(st.text(), st.sampled_from(["..", "%2F", "growth", "CASH:USD", "a%23b"])))
    event["path"] = "/".join(segments)
    names = st.sampled_from(("cursor", "from", "to", "state", "limit", "x"))
    written = st.one_of(st.text(), st.sampled_from(("2026-02-30", "eyJ9", "OPEN", "0", "-1", "AAAA")))
    query = data.draw(st.dictionaries(names, written, max_size=2), label="query") or None
    event["queryStringParameters"] = query
    event["multiValueQueryStringParameters"] = query and {name: [value] for name, value in query.items()}
    answer = call(function, event, rest_parts())
    assert answer["statusCode"] < 500, answer
    content = json.loads(answer["body"])
    assert answer["statusCode"] < 400 or content["error"]["code"], answer


@fuzz.inputs(400)
@given(body=st.deferred(lambda: fuzz.text(SAID)))
def test_every_message_of_a_client_is_answered_as_described_and_the_connection_lives_on(body: str) -> None:
    parts = Fakes()
    parts.watching.connect(CLIENT, "alice", (), NOW_MS + 3_600_000)
    event = deepcopy(SPOKEN[0])
    event["body"] = body
    assert call("websocket", event, parts) == {"statusCode": 200}
    parts.sender.flush(CLIENT, NOW_MS)
    told = [json.loads(payload) for payload in parts.gateway.to(CLIENT)]
    assert told
    assert [asyncapi.faults("tell", message) for message in told] == [[]] * len(told)
    assert CLIENT not in parts.gateway.gone


SPOKEN = [
    event
    for event in ALL["websocket"]
    if event["requestContext"]["routeKey"] not in {"$connect", "$disconnect"} and event.get("body")
]
SAID = [parsed(event["body"]) for event in SPOKEN]


@fuzz.inputs(100)
@given(
    session_id=st.one_of(st.text(), st.none(), st.sampled_from(fuzz.EDGES).filter(lambda edge: isinstance(edge, str)))
)
def test_a_session_of_whatever_name_is_opened_or_refused(session_id: str | None) -> None:
    (event, *_) = (deepcopy(one) for one in ALL["websocket"] if one["requestContext"]["routeKey"] == "$connect")
    event["queryStringParameters"] = None if session_id is None else {"session_id": session_id}
    assert call("websocket", event, Fakes())["statusCode"] in {200, 400}


@fuzz.inputs(200)
@given(data=st.data())
def test_whoever_brings_neither_a_good_token_nor_a_good_ticket_is_refused(data: st.DataObject) -> None:
    event = deepcopy(data.draw(st.sampled_from(ALL["authorizer"])))
    names = st.one_of(st.sampled_from(("Authorization", "authorization", "ticket", "Cookie")), st.text(max_size=8))
    proofs = st.one_of(
        st.text().filter(lambda text: "good" not in text and "secret" not in text),
        st.sampled_from(("Bearer", "Bearer ", "Basic good", "Bearer  x", "bearer a.b.c", "Bearer " + "x" * 20_000)),
    )
    several = st.dictionaries(names, st.lists(proofs, min_size=1, max_size=3), max_size=3)
    for single, many in (
        ("headers", "multiValueHeaders"),
        ("queryStringParameters", "multiValueQueryStringParameters"),
    ):
        found = data.draw(several, label=many)
        event[many] = data.draw(st.sampled_from((found, None)))
        event[single] = {name: values[-1] for name, values in found.items()}
    with pytest.raises(Exception, match=r"\AUnauthorized\Z"):
        call("authorizer", event, Fakes())


# --- what has no function of its own ----------------------------------------------------------------------------------

PRICES = [parsed(record["body"])["detail"] for record in GOOD["price_update"] if "detail" in parsed(record["body"])]


@fuzz.inputs(200)
@given(message=st.one_of(fuzz.text(PRICES).map(_bytes), st.binary()))
def test_a_publishers_message_is_read_or_refused(message: bytes) -> None:
    fuzz.tried("the bridge: published messages")
    with refusals():
        found = price_input.from_message(message)
        assert all(refused.code and refused.message for refused in found.refused)


POSTBACKS = [parsed(event["body"]) for event in ALL["broker_api"] if "webhooks" in event["path"]]


@fuzz.inputs(200)
@given(body=fuzz.text(POSTBACKS))
def test_a_postback_is_taken_or_refused_also_with_the_right_checksum(body: str) -> None:
    fuzz.tried("the broker: postbacks")
    for sent in (body, _proved(body)):
        with refusals():
            kite.postback(sent, "secret")


def _proved(body: str) -> str:
    order = parsed(body)
    if not isinstance(order, dict):
        return body
    proof = f"{order.get('order_id')}{order.get('order_timestamp')}secret".encode(errors="replace")
    return json.dumps(order | {"checksum": sha256(proof).hexdigest()})


LETTERS = [parsed(record["body"]) for records in RECORDS.values() for record in records]
ATTRIBUTES = ("reason", "detail", "ERROR_CODE", "ERROR_MESSAGE", "RETRY_ATTEMPTS", "TARGET_ARN", "SCHEDULED_TIME")
INVOKED = {
    "requestContext": {"functionArn": "arn:aws:lambda:r:1:function:foliostream-sweep:live", "condition": "x"},
    "requestPayload": {},
    "responsePayload": {"errorType": "x", "errorMessage": "y"},
}

STREAMED = {
    "requestContext": {"condition": "RetryAttemptsExhausted"},
    "DDBStreamBatchInfo": {
        "shardId": "shardId-1",
        "startSequenceNumber": "1",
        "endSequenceNumber": "2",
        "batchSize": 2,
        "streamArn": "arn:aws:dynamodb:r:1:table/ledger/stream/1",
    },
}


@fuzz.inputs(300)
@given(data=st.data())
def test_a_dead_letter_of_whatever_kind_is_shown_and_replayed_or_kept_with_its_reason(data: st.DataObject) -> None:
    parts = Fakes()
    name = data.draw(st.sampled_from(sorted(queues.all_dead_letter_urls(SETTINGS.queues))))
    written = st.one_of(st.text(), st.sampled_from(("²", "-1", "arn:aws:lambda:r:1:function:f:live", "9" * 5_000)))
    attributes = data.draw(st.dictionaries(st.sampled_from(ATTRIBUTES), written, max_size=4), label="attributes")
    body = data.draw(fuzz.text([*LETTERS, INVOKED, STREAMED]), label="body")
    letter = parts.dead_letter_office.letters.put(name, body, **attributes)
    shown = call("dead_letters", {"action": "show", "queue": name}, parts)
    assert [one["id"] for one in shown["letters"]] == [letter]
    done = call("dead_letters", {"action": "replay", "queue": name, "ids": [letter]}, parts)
    assert done["replayed"] == [letter] or done["failed"][letter]


# --- the WebSocket and its document -----------------------------------------------------------------------------------

REFUSED_AS_SUCH = {"UNKNOWN_ACTION", "INVALID_MESSAGE"}
DESCRIBED = said.valid()


@fuzz.inputs(600)
@given(message=st.one_of(DESCRIBED, DESCRIBED.flatmap(lambda one: fuzz.changed([one]))))
def test_exactly_what_the_document_describes_is_understood(message: object) -> None:
    fuzz.tried("websocket: messages after the document")
    if not isinstance(message, dict):
        return
    faults = asyncapi.faults("say", message)
    try:
        protocol.action(protocol.envelope(json.dumps(message)))
    except CallerError as refused:
        code = refused.code
    else:
        code = ""
    # Half a character, or more than 32 KB: not of what is said, but of the text that says it.
    if code not in {"INVALID_JSON", "MESSAGE_TOO_LARGE"}:
        assert (code in REFUSED_AS_SUCH) == bool(faults), (code, faults)
