"""Daily closes over REST."""

from __future__ import annotations

import json

from foliostream.domain.closes import MAX_CLOSES
from tests.unit.api.client import Answer, Client, sample

PATH = "/api/v1/instruments/AAPL/history"


def put(client: Client, closes: dict[str, object], path: str = PATH, **others: object) -> Answer:
    rows = [{"date": day, "close": close} for day, close in closes.items()]
    return client.send("PUT", path, {"closes": rows} | others)


def get(client: Client, path: str = PATH, **query: str) -> str:
    return client.send("GET", path, query=query or None).text


def test_closes_are_merged_by_date_and_read_oldest_first(client: Client) -> None:
    assert put(client, {"2026-02-25": "150.2500000001", "2026-02-23": 148}).status == 200
    answer = put(client, {"2026-02-24": "0.0000001", "2026-02-25": 151})
    assert answer.body == {"symbol": "AAPL", "kept": 3, "from": "2026-02-23", "to": "2026-02-25"}
    assert json.loads(get(client)) == {
        "symbol": "AAPL",
        "closes": [
            {"date": "2026-02-23", "close": 148},
            {"date": "2026-02-24", "close": 1e-7},
            {"date": "2026-02-25", "close": 151},
        ],
    }
    assert '"close":0.0000001}' in get(client)


def test_a_range_is_answered_with_both_ends(client: Client) -> None:
    put(client, {"2026-02-23": 1, "2026-02-24": 2, "2026-02-25": 3})
    ranged = json.loads(get(client, **{"from": "2026-02-24", "to": "2026-02-24"}))
    assert [item["date"] for item in ranged["closes"]] == ["2026-02-24"]
    assert client.send("GET", PATH, query={"from": "2026-02-25", "to": "2026-02-24"}).code == "INVALID_RANGE"
    assert client.send("GET", PATH, query={"to": "today"}).code == "INVALID_DATE"


def test_closes_of_before_a_split_are_divided_unless_they_came_divided(client: Client) -> None:
    split = {"effective_at": "2026-02-25T00:00:00-05:00", "ratio": "4:1"}
    body = {"kind": "stock", "currency": "USD", "splits": [split]}
    assert client.send("PUT", "/api/v1/instruments/AAPL", body).status == 200
    put(client, {"2026-02-24": 400, "2026-02-25": 101})
    put(client, {"2026-02-23": 99}, adjusted=True)
    assert [item["close"] for item in json.loads(get(client))["closes"]] == [99, 100, 101]


def test_closes_need_their_scope_a_known_symbol_and_dates_that_were(client: Client) -> None:
    body = {"closes": [{"date": "2026-02-25", "close": 1}]}
    assert client.send("PUT", PATH, body, scope="prices:write").status == 403
    assert client.send("PUT", "/api/v1/instruments/NONE/history", body).code == "INSTRUMENT_NOT_FOUND"
    assert client.send("GET", "/api/v1/instruments/NONE/history").code == "INSTRUMENT_NOT_FOUND"
    assert put(client, {"2026-02-27": 1}).code == "DATE_IN_FUTURE"
    assert put(client, {"2026-02-25": "1e"}).status == 400


def test_more_closes_than_are_kept_are_refused(client: Client) -> None:
    rows = [{"date": "2026-02-25", "close": 1}] * (MAX_CLOSES + 1)
    assert client.send("PUT", PATH, {"closes": rows}).status == 400


def test_a_symbol_with_an_ampersand_has_a_history(client: Client) -> None:
    assert put(client, {"2026-02-25": 7}, "/api/v1/instruments/M%26M/history").body["symbol"] == "M&M"


def test_the_sample_event_gives_closes(client: Client) -> None:
    event = sample("put_history")
    client.parts.clock.advance(0)
    answer = client.send(event["httpMethod"], event["path"], event["body"])
    assert answer.body["kept"] == 2
