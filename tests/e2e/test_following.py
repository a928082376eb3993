"""One price is followed by its id, in what the functions wrote, from the REST call to the push."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from foliostream_client.transport import Rest
from local import sam
from tests.e2e.conftest import Cloud, Holder, eventually, now_ms, of_type, post_price, receive

SINCE_S = 300
_decoder = json.JSONDecoder()


def told(stack: Cloud, function: str, message: str, holds: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """The lines of a function's log with this message that hold, as soon as there is one."""

    def read() -> list[dict[str, Any]]:
        lines = sam.function_logs(stack.outputs.aws_endpoint, function, SINCE_S)
        starts = [(line, line.find("{")) for line in lines]
        found = [_decoder.raw_decode(line, start)[0] for line, start in starts if start >= 0 and message in line]
        return [line for line in found if line.get("message") == message and holds(line)]

    return eventually(read, bool, f"{message!r} of {function}")


def test_a_price_is_followed_from_its_request_over_the_valuation_to_the_push(
    stack: Cloud,
    admin: Rest,
    symbol: str,
    holder: Callable[[str], Holder],
    at_rest: Callable[[Holder], None],
) -> None:
    owner = holder("live")
    with stack.socket(owner.name) as socket:
        socket.send({"action": "subscribe", "portfolio_ids": [owner.portfolio_id]})
        receive(socket, of_type("snapshot"), "the snapshot")
        # Else what the purchase promised might be valued with the new price, and there would be nothing left to send.
        at_rest(owner)
        post_price(admin, symbol, "77")
        # While somebody watches: the first update may still be the purchase's.
        [given] = told(stack, "rest_api", "prices", lambda line: symbol in line["symbols"])
        [origin] = given["origins"]
        assert given["correlation_id"] == origin
        for function, message in (("recalculate", "recalculated"), ("push", "pushed")):
            assert told(stack, function, message, lambda line: origin in line["origins"])


def test_a_price_event_is_followed_by_the_id_that_its_publisher_was_told(
    stack: Cloud, symbol: str, holder: Callable[[str], Holder]
) -> None:
    holder("live")
    entry = {
        "Source": "test",
        "DetailType": "market_price_update",
        "EventBusName": stack.outputs.resources["EventBusName"],
        "Detail": json.dumps({"updates": [{"symbol": symbol, "last": "78", "ts": now_ms()}]}),
    }
    answer = stack.aws("events").put_events(Entries=[entry])
    [event_id] = [item["EventId"] for item in answer["Entries"]]
    for function, message in (("price_update", "prices"), ("recalculate", "recalculated")):
        assert told(stack, function, message, lambda line: event_id in line["origins"])
