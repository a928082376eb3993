"""Reading the Authorization header and writing API Gateway's policy. No network: the key set is handed in."""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from foliostream.adapters.jwks_tokens import JwksTokenVerifier
from foliostream.application.authorize import Claims, authorize, policy
from foliostream.errors import PermanentError, UnauthorizedError
from local.issuer import ALL_SCOPES

EVENTS = Path(__file__).resolve().parents[2] / "events"
NOW = 1_772_101_800
KEY = ec.generate_private_key(ec.SECP256R1())
JWKS = json.dumps({"keys": [json.loads(jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key())) | {"kid": "k1"}]}).encode()
TOKEN = jwt.encode(
    {
        "iss": "https://issuer.test",
        "aud": "foliostream",
        "sub": "alice",
        "exp": NOW + 570,
        "scope": "prices:write admin",
    },
    KEY,
    algorithm="ES256",
    headers={"kid": "k1"},
)
ALICE = Claims("alice", frozenset({"prices:write", "admin"}), NOW + 600)
REST_ARN = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/live/GET/api/v1/portfolio/12345/state"
KEYS = {"people": "the-key-of-people", "systems": "the-key-of-systems"}
CONNECT_ARN = "arn:aws:execute-api:eu-west-1:123456789012:f6g7h8i9j0/live/$connect"


@pytest.fixture
def verifier() -> JwksTokenVerifier:
    return JwksTokenVerifier(
        "https://issuer.test/jwks", "https://issuer.test", "foliostream", 30, clock=lambda: NOW, fetch=lambda _: JWKS
    )


def event(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((EVENTS / name).read_text())
    return loaded


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
@pytest.mark.parametrize("as_list", [False, True])
def test_header_name_and_scheme_are_read_in_any_case(
    verifier: JwksTokenVerifier, name: str, scheme: str, as_list: bool
) -> None:
    value = f"{scheme} {TOKEN}"
    assert authorize({"Host": "x", name: [value] if as_list else value}, verifier) == ALICE


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "x"},
        {"Authorization": ""},
        {"Authorization": "  "},
        {"Authorization": []},
        {"X-Authorization": "x"},
    ],
)
def test_a_request_without_a_token_is_told_that_it_is_missing(
    verifier: JwksTokenVerifier, headers: dict[str, Any]
) -> None:
    with pytest.raises(UnauthorizedError) as refused:
        authorize(headers, verifier)
    assert refused.value.code == "TOKEN_MISSING"


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": [f"Bearer {TOKEN}", f"Bearer {TOKEN}"]},
        {"Authorization": [f"Bearer {TOKEN}", ""]},
        {"Authorization": f"Bearer {TOKEN}", "authorization": f"Bearer {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN}, Bearer {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN} {TOKEN}"},
    ],
)
def test_more_than_one_value_is_refused_even_when_each_is_valid(
    verifier: JwksTokenVerifier, headers: dict[str, Any]
) -> None:
    with pytest.raises(UnauthorizedError) as refused:
        authorize(headers, verifier)
    assert refused.value.code == "TOKEN_INVALID"


@pytest.mark.parametrize("value", [TOKEN, "Bearer", f"Basic {TOKEN}", f"Bearer{TOKEN}", f"Bearer: {TOKEN}", "Bearer ü"])
def test_anything_but_the_bearer_scheme_is_refused_without_repeating_it(
    verifier: JwksTokenVerifier, value: str
) -> None:
    with pytest.raises(UnauthorizedError) as refused:
        authorize({"Authorization": value}, verifier)
    assert refused.value.code == "TOKEN_INVALID"
    assert TOKEN not in str(refused.value)


def statement(claims: Claims, arn: str) -> dict[str, Any]:
    (only,) = policy(claims, arn, KEYS)["policyDocument"]["Statement"]
    assert (only["Effect"], only["Action"]) == ("Allow", "execute-api:Invoke")
    return dict(only)


@pytest.mark.parametrize(
    "other", ["GET/api/v1/portfolios", "POST/api/v1/prices", "GET/", "PUT/api/v1/instruments/BTC:USD"]
)
def test_a_cached_rest_policy_covers_every_method_of_its_stage_whichever_it_was_made_for(other: str) -> None:
    prefix = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/live/"
    for made_for in ("GET/api/v1/portfolio/12345/state", other):
        assert statement(ALICE, prefix + made_for)["Resource"] == prefix + "*"


@pytest.mark.parametrize(
    "foreign",
    [
        "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/test/GET/x",
        "arn:aws:execute-api:eu-west-1:123456789012:other/live/GET/x",
        "arn:aws:execute-api:eu-west-1:999999999999:a1b2c3d4e5/live/GET/x",
    ],
)
def test_a_policy_reaches_no_other_stage_api_or_account(foreign: str) -> None:
    assert not fnmatch.fnmatchcase(foreign, statement(ALICE, REST_ARN)["Resource"])


def test_a_websocket_policy_allows_the_connection_only() -> None:
    assert statement(ALICE, CONNECT_ARN)["Resource"] == CONNECT_ARN


def test_a_rest_path_that_looks_like_a_connection_or_an_arn_changes_nothing() -> None:
    prefix = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/live/"
    for path in ("GET/$connect", "GET/x:other/live/y", "GET/arn:aws:execute-api:eu-west-1:1:b/c/d"):
        assert statement(ALICE, prefix + path)["Resource"] == prefix + "*"


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_other_partitions_are_understood(partition: str) -> None:
    prefix = f"arn:{partition}:execute-api:x-y-1:123456789012:a1b2c3d4e5/live/"
    assert statement(ALICE, prefix + "GET/x")["Resource"] == prefix + "*"


@pytest.mark.parametrize(
    "arn",
    ["", "*", "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5", "arn:aws:execute-api:eu-west-1:1:api/*/GET/x"],
)
def test_an_arn_that_names_no_method_allows_nothing(arn: str) -> None:
    with pytest.raises(PermanentError):
        policy(ALICE, arn, KEYS)


def test_the_use_cases_get_subject_scopes_and_end_as_strings() -> None:
    answer = policy(ALICE, REST_ARN, KEYS)
    assert answer["principalId"] == "alice"
    assert answer["context"] == {"sub": "alice", "scope": "admin prices:write", "exp": str(NOW + 600)}
    assert policy(Claims("bob", frozenset(), NOW), REST_ARN, KEYS)["context"]["scope"] == ""


@pytest.mark.parametrize("scope", ALL_SCOPES)
def test_a_caller_with_a_scope_of_ours_is_counted_as_a_system_beside_whatever_other_scopes(scope: str) -> None:
    for scopes in ({scope}, {scope, "openid"}, set(ALL_SCOPES)):
        claims = Claims("feed", frozenset(scopes), NOW)
        assert policy(claims, REST_ARN, KEYS)["usageIdentifierKey"] == KEYS["systems"]


@pytest.mark.parametrize("scopes", [[], ["openid", "profile"], ["ADMIN"], ["prices", "write"], ["prices:write:no"]])
def test_every_other_caller_is_counted_as_one_of_the_people(scopes: list[str]) -> None:
    claims = Claims("bob", frozenset(scopes), NOW)
    assert policy(claims, REST_ARN, KEYS)["usageIdentifierKey"] == KEYS["people"]


@pytest.mark.parametrize("name", ["authorizer.rest.json", "authorizer.websocket.json"])
def test_sample_events_hold_a_placeholder_and_no_token(verifier: JwksTokenVerifier, name: str) -> None:
    sample = event(name)
    for headers in (sample["headers"], sample["multiValueHeaders"]):
        with pytest.raises(UnauthorizedError) as refused:
            authorize(headers, verifier)
        assert refused.value.code == "TOKEN_INVALID"
    assert "eyJ" not in json.dumps(sample)
