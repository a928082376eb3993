"""Who may do what, asked of the deployed system: every entry of ``tests/support/access.py`` as everybody."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from foliostream_client.errors import SocketError
from foliostream_client.transport import Answer, Rest, Socket
from local import cloud
from local.issuer import ALL_SCOPES, Issuer, key_id
from tests.e2e.conftest import Cloud, anything, post_price, receive
from tests.support.access import ACTIONS, CALLS, Action, Call, Ground

NOBODYS = "nobodys-portfolio"


@dataclass(frozen=True)
class Scene:
    """An account, its owner and everybody else."""

    ground: Ground
    owner: str
    stack: Cloud

    def ask(self, call: Call, rest: Rest, portfolio_id: str | None = None) -> Answer:
        ground = Ground(portfolio_id or self.ground.portfolio_id, self.ground.symbol, self.ground.order_id, _name())
        body = call.body(ground) if call.body else {} if call.method == "POST" else None
        return rest.call(call.method, ground.path(call.path), body)

    def books(self) -> Any:  # noqa: ANN401 (JSON)
        """What nobody else may have changed."""
        rest, path = self.stack.rest(self.owner), f"/api/v1/portfolio/{self.ground.portfolio_id}"
        listed = rest.get("/api/v1/portfolios")["portfolios"]
        return listed, rest.get(f"{path}/orders"), rest.get(f"{path}/transactions")


def _name() -> str:
    return f"m{uuid4().hex[:12]}"


@pytest.fixture
def scene(stack: Cloud, admin: Rest, symbol: str) -> Scene:
    owner = _name()
    rest = stack.rest(owner)
    post_price(admin, symbol, 100)
    portfolio = {
        "portfolio_name": "Mine",
        "account_type": "paper",
        "account_kind": "margin",
        "leverage": 2,
        "base_currency": "USD",
        "cost_basis": "average",
        "initial_cash": 10_000,
    }
    identifier = rest.post("/api/v1/portfolios", portfolio)["portfolio_id"]
    buy = {"instrument_id": symbol, "quantity_change": 10, "price": 100, "transaction_type": "BUY"}
    update = {"portfolio_id": identifier, "timestamp": time.time_ns() // 1_000_000, "updates": [buy]}
    rest.post(f"/api/v1/portfolio/{identifier}/update", update)
    order = {"instrument_id": symbol, "side": "BUY", "quantity": 1, "order_type": "limit", "limit_price": 1}
    rest.post(f"/api/v1/portfolio/{identifier}/orders", order | {"client_order_id": "open-order"})
    return Scene(Ground(identifier, symbol, "open-order", _name()), owner, stack)


def named(who: str) -> Any:  # noqa: ANN401 (pytest's own type)
    return pytest.mark.parametrize("call", [call for call in CALLS if call.who == who], ids=lambda call: call.name)


def test_the_deployed_description_names_exactly_the_calls_that_are_asked_here(stack: Cloud) -> None:
    paths = Rest(stack.outputs.rest_url).get("/openapi.json")["paths"]
    deployed = [f"{method.upper()} {path}" for path, operations in paths.items() for method in operations]
    assert sorted(deployed) == sorted(call.name for call in CALLS)


@named("owner")
def test_a_portfolio_is_its_owners_and_to_all_others_as_if_it_were_not_there(call: Call, scene: Scene) -> None:
    stack, before = scene.stack, scene.books()
    assert scene.ask(call, Rest(stack.outputs.rest_url)).status == 401
    for stranger in (stack.rest(_name()), stack.rest(_name(), ALL_SCOPES)):
        refused = scene.ask(call, stranger)
        absent = scene.ask(call, stranger, NOBODYS)
        assert (refused.status, refused.body["error"]["code"]) == (404, "PORTFOLIO_NOT_FOUND")
        assert _without_names(absent, NOBODYS) == _without_names(refused, scene.ground.portfolio_id)
    assert scene.books() == before
    allowed = scene.ask(call, stack.rest(scene.owner))
    assert allowed.status == call.status, allowed.body


@named("scope")
def test_a_scope_is_needed_and_no_other_does(call: Call, scene: Scene) -> None:
    stack, before = scene.stack, scene.books()
    assert scene.ask(call, Rest(stack.outputs.rest_url)).status == 401
    others = [scope for scope in ALL_SCOPES if scope != call.scope]
    # Names that only begin or end like the one that is needed.
    near = [f"{call.scope}s", f"x{call.scope}", call.scope.upper()]
    for scopes in ((), tuple(others), tuple(near)):
        refused = scene.ask(call, stack.rest(scene.owner, scopes))
        assert (refused.status, refused.body["error"]["code"]) == (403, "MISSING_SCOPE"), scopes
    assert scene.books() == before
    allowed = scene.ask(call, stack.rest(_name(), (call.scope,)))
    assert allowed.status == call.status, allowed.body
    assert not (allowed.body or {}).get("rejected"), allowed.body


@named("known")
def test_a_token_of_anybody_is_enough_and_shows_nothing_of_anybody_else(call: Call, scene: Scene) -> None:
    assert scene.ask(call, Rest(scene.stack.outputs.rest_url)).status == 401
    allowed = scene.ask(call, scene.stack.rest(_name()))
    assert allowed.status == call.status, allowed.body
    assert scene.ground.portfolio_id not in str(allowed.body)


@named("anybody")
def test_what_is_open_is_open(call: Call, scene: Scene) -> None:
    assert scene.ask(call, Rest(scene.stack.outputs.rest_url)).status == call.status


@named("proof")
def test_a_webhook_without_its_proof_is_refused_whatever_token_it_brings(call: Call, scene: Scene) -> None:
    for rest in (Rest(scene.stack.outputs.rest_url), scene.stack.rest(scene.owner, ALL_SCOPES)):
        assert scene.ask(call, rest).status == 401


# Tokens


def _tokens(issuer: Issuer) -> Iterator[tuple[str, str]]:
    """Tokens for an administrator that are each wrong in one thing."""
    now_s = int(time.time())
    claims: dict[str, Any] = {"iss": issuer.issuer, "aud": issuer.audience, "sub": "admin", "exp": now_s + 600}
    header = {"kid": key_id(issuer.key)}
    public = issuer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def signed(**changes: object) -> str:
        return jwt.encode(claims | changes, issuer.key, algorithm="RS256", headers=header)

    yield "of another issuer", signed(iss="https://issuer.example.com")
    yield "for another audience", signed(aud="somebody-else")
    yield "expired", signed(exp=now_s - 3600)
    yield "not valid yet", signed(nbf=now_s + 3600)
    yield "without an end", jwt.encode({k: v for k, v in claims.items() if k != "exp"}, issuer.key, "RS256", header)
    yield "of another key", jwt.encode(claims, stranger, algorithm="RS256", headers=header)
    yield "of an unknown key", jwt.encode(claims, stranger, algorithm="RS256", headers={"kid": "unknown"})
    yield "of an unknown key again", jwt.encode(claims, stranger, algorithm="RS256", headers={"kid": "unknown-2"})
    yield "unsigned", jwt.encode(claims, None, algorithm="none", headers=header)
    yield "of another algorithm of the key", jwt.encode(claims, issuer.key, algorithm="RS512", headers=header)
    # PyJWT itself refuses to sign with a public key: by hand, as somebody would who means it.
    yield "signed with the public key as a secret", _hmac(claims, header, public)


def _hmac(claims: dict[str, Any], header: dict[str, str], secret: bytes) -> str:
    message = jwt.encode(claims, "a" * 32, algorithm="HS256", headers=header).rpartition(".")[0]
    hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    return f"{message}.{jwt.utils.base64url_encode(hmac.sign(message.encode(), secret)).decode()}"


def test_a_token_that_is_wrong_in_one_thing_opens_nothing(stack: Cloud) -> None:
    issuer = cloud.local_issuer(stack.settings)
    assert Rest(stack.outputs.rest_url, issuer.token("admin")).call("GET", "/api/v1/portfolios").status == 200
    for what, token in _tokens(issuer):
        assert Rest(stack.outputs.rest_url, token).call("GET", "/api/v1/portfolios").status == 401, what
        with pytest.raises(SocketError):
            Socket(stack.outputs.ws_url, token).close()


# WebSocket


def _say(socket: Socket, action: Action, ground: Ground) -> dict[str, Any]:
    """The answer to it, whatever comes beside."""
    request_id = _name()
    socket.send({"action": action.name, "request_id": request_id} | action.fields(ground))
    return receive(socket, lambda message: message.get("request_id") == request_id, f"the answer to {action.name}")


def _by_header(stack: Cloud, subject: str) -> Socket:
    return Socket(stack.outputs.ws_url, stack.token(subject, ALL_SCOPES))


def _by_ticket(stack: Cloud, subject: str) -> Socket:
    return Socket(stack.rest(subject).post("/api/v1/ws-ticket", {})["url"])


@pytest.mark.parametrize("opened", [_by_header, _by_ticket])
def test_an_action_on_somebody_elses_portfolio_is_refused_and_nothing_of_it_comes(
    scene: Scene, admin: Rest, opened: Callable[[Cloud, str], Socket]
) -> None:
    with opened(scene.stack, _name()) as stranger:
        for action in ACTIONS:
            answer = _say(stranger, action, scene.ground)
            if action.names_portfolio:
                assert (answer["type"], answer["code"]) == ("error", "PORTFOLIO_NOT_FOUND"), action.name
            elif action.name == "cancel":
                assert answer["code"] == "NOTHING_TO_CANCEL"
            else:
                assert (answer["type"], answer.get("portfolio_ids", [])) == (action.answer, [])
        post_price(admin, scene.ground.symbol, 123)
        with scene.stack.socket(scene.owner) as owner:
            # What the price changed has arrived at the owner: by then the stranger would have it too.
            owner.send({"action": "subscribe", "portfolio_ids": [scene.ground.portfolio_id]})
            receive(owner, lambda message: shows_mark(message, 123), "the price")
        stranger.send({"action": "ping"})
        assert receive(stranger, anything, "only the pong")["type"] == "pong"


def shows_mark(message: dict[str, Any], price: int) -> bool:
    """Whether a position of a snapshot or an update is at this price."""
    shown = [message["data"]] if message["type"] == "snapshot" else [one["data"] for one in message.get("updates", ())]
    return any(position["mark"] == price for data in shown for position in data.get("positions", ()))


def test_every_action_on_ones_own_portfolio_is_served(scene: Scene) -> None:
    with scene.stack.socket(scene.owner) as owner:
        for action in ACTIONS:
            answer = _say(owner, action, scene.ground)
            # A short analysis may be over before it is cancelled.
            is_late = action.name == "cancel" and answer.get("code") == "NOTHING_TO_CANCEL"
            assert is_late or answer["type"] == action.answer, answer


def test_a_session_of_somebody_else_cannot_be_opened(scene: Scene) -> None:
    token = scene.stack.token(scene.owner)
    session = _name()
    with Socket(scene.stack.outputs.ws_url, token, query=f"session_id={session}") as owner:
        with pytest.raises(SocketError):
            Socket(scene.stack.outputs.ws_url, scene.stack.token(_name()), query=f"session_id={session}").close()
        assert _say(owner, ACTIONS[0], scene.ground)["type"] == "pong"


def _without_names(answer: Answer, portfolio_id: str) -> tuple[int, str]:
    error = dict(answer.body["error"])
    del error["request_id"]
    return answer.status, str(error).replace(portfolio_id, "ID")
