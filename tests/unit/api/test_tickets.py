"""Tickets for the WebSocket."""

from __future__ import annotations

import pytest

from foliostream.application.authorize import ticket_of
from foliostream.application.tickets import LIFE_SECONDS
from foliostream.errors import UnauthorizedError
from tests.unit.api.client import Client

CONNECT = "arn:aws:execute-api:eu-west-1:123456789012:f6g7h8i9j0/live/$connect"


@pytest.fixture
def client() -> Client:
    return Client()


def refused(client: Client, ticket: str) -> str:
    with pytest.raises(UnauthorizedError) as fault:
        client.parts.ticket_office.redeem(ticket)
    return fault.value.code


def test_a_ticket_is_good_once_and_for_its_callers_token(client: Client) -> None:
    answer = client.send("POST", "/api/v1/ws-ticket", scope="prices:write")
    assert answer.status == 200
    assert answer.body == {"ticket": "secret-0", "expires_in": 30, "url": "wss://socket/live?ticket=secret-0"}
    assert answer.headers["Cache-Control"] == "no-store"
    claims = client.parts.ticket_office.redeem("secret-0")
    assert (claims.subject, claims.scopes, claims.expires_at) == ("alice", {"prices:write"}, 1_772_105_400)
    assert refused(client, "secret-0") == "TICKET_INVALID"


def test_a_ticket_is_good_for_half_a_minute(client: Client) -> None:
    for _ in range(2):
        client.send("POST", "/api/v1/ws-ticket")
    client.parts.clock.advance(LIFE_SECONDS * 1000 - 1)
    assert client.parts.ticket_office.redeem("secret-0").subject == "alice"
    client.parts.clock.advance(1)
    assert refused(client, "secret-1") == "TICKET_INVALID"


@pytest.mark.parametrize("ticket", ["", "guess", "x" * 129, "\ud800"])
def test_what_was_never_issued_is_refused(client: Client, ticket: str) -> None:
    assert refused(client, ticket) == "TICKET_INVALID"


def test_only_a_digest_of_a_ticket_is_kept(client: Client) -> None:
    client.send("POST", "/api/v1/ws-ticket")
    assert "secret-0" not in str(vars(client.parts.ticket_office.tickets))


def test_nobody_without_a_token_gets_one(client: Client) -> None:
    assert client.send("POST", "/api/v1/ws-ticket", sub=None).status == 401


def test_a_ticket_opens_a_websocket_and_nothing_else() -> None:
    assert ticket_of({"ticket": ["t"]}, {"Host": ["x"]}, CONNECT) == "t"
    assert ticket_of({"ticket": "t"}, {}, CONNECT) == "t"
    assert ticket_of({}, {}, CONNECT) == ""
    for path in ("GET/api/v1/portfolios", "GET/$connect", "POST/api/v1/prices"):
        assert ticket_of({"ticket": "t"}, {}, CONNECT.replace("$connect", path)) == ""


@pytest.mark.parametrize(
    ("parameters", "headers"), [({"ticket": ["a", "b"]}, {}), ({"ticket": ["a"]}, {"Authorization": ["Bearer b"]})]
)
def test_two_proofs_are_none(parameters: dict[str, list[str]], headers: dict[str, list[str]]) -> None:
    with pytest.raises(UnauthorizedError):
        ticket_of(parameters, headers, CONNECT)
