"""The token verifier and the authorizer's handler against an issuer that really serves its keys over HTTP.

Finds: each known way of getting a token believed that is not, and how key rotation, an issuer that is down and a storm
of unknown keys are met. Cannot find: what API Gateway makes of the answer (the end-to-end tests do), faults of TLS.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.util
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from foliostream.adapters import jwks_tokens
from foliostream.adapters.jwks_tokens import JwksTokenVerifier, fetch_jwks
from foliostream.errors import RetryableError, SettingsError, UnauthorizedError
from foliostream.ports import Claims
from foliostream.wiring import wiring
from tests.support.environment import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]
ISSUER = "https://issuer.test"
AUDIENCE = "foliostream"
LEEWAY = 30
NOW = 1_772_101_800.0

RSA_KEY = rsa.generate_private_key(65537, 2048)
RSA_OTHER = rsa.generate_private_key(65537, 2048)
RSA_SMALL = rsa.generate_private_key(65537, 1024)  # noqa: S505  (what must be refused)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
EC_OTHER = ec.generate_private_key(ec.SECP256R1())
EC_384 = ec.generate_private_key(ec.SECP384R1())

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
Reply = Callable[[BaseHTTPRequestHandler], None]


def jwk(key: PrivateKey, kid: str | None = None, **more: object) -> dict[str, Any]:
    if isinstance(key, rsa.RSAPrivateKey):
        made = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        made = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    # PyJWT adds key_ops; issuers mostly publish use.
    made.pop("key_ops", None)
    return {**made, **({} if kid is None else {"kid": kid}), **more}


def payload(**changes: object) -> dict[str, Any]:
    """Good claims with changes; None takes one away."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": NOW + 600, "iat": NOW, **changes}
    return {name: value for name, value in claims.items() if value is not None}


def signed(key: PrivateKey, kid: str | None, header: dict[str, Any] | None = None, **changes: object) -> str:
    algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    headers = {**({} if kid is None else {"kid": kid}), **(header or {})}
    return jwt.encode(payload(**changes), key, algorithm=algorithm, headers=headers)


def b64(data: bytes | dict[str, Any]) -> str:
    raw = json.dumps(data).encode() if isinstance(data, dict) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class Issuer:
    """A key server: ``reply`` overrides what it answers; ``paths`` holds what it was asked."""

    port: int = 0
    keys: list[dict[str, Any]] = field(default_factory=list)
    reply: Reply | None = None
    paths: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/jwks.json"

    @property
    def fetches(self) -> int:
        return len(self.paths)

    def down(self) -> None:
        self.reply = status(503)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.paths.append(request.path)
        (self.reply or body(json.dumps({"keys": self.keys}).encode()))(request)


def body(content: bytes) -> Reply:
    def send(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    return send


def status(code: int, **headers: str) -> Reply:
    def send(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return send


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer(keys=[jwk(RSA_KEY, "r1", use="sig", alg="RS256"), jwk(EC_KEY, "e1", use="sig", alg="ES256")])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield made
        server.shutdown()
        thread.join()


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def verifier(issuer: Issuer, clock: Clock) -> JwksTokenVerifier:
    return JwksTokenVerifier(issuer.url, ISSUER, AUDIENCE, LEEWAY, clock=clock)


def refusal(verifier: JwksTokenVerifier, token: str) -> UnauthorizedError:
    with pytest.raises(UnauthorizedError) as refused:
        verifier.verify(token)
    assert_tells_nothing(token, str(refused.value))
    return refused.value


def assert_tells_nothing(token: str, text: str) -> None:
    assert not [part for part in token.split(".") if len(part) > 8 and part in text]


def assert_invalid(verifier: JwksTokenVerifier, token: str, why: str) -> None:
    error = refusal(verifier, token)
    assert (error.code, why in error.message) == ("TOKEN_INVALID", True), error.message


# --- what is accepted


@pytest.mark.parametrize(("key", "kid"), [(RSA_KEY, "r1"), (EC_KEY, "e1")])
def test_a_token_signed_with_a_published_key_is_accepted(
    verifier: JwksTokenVerifier, key: PrivateKey, kid: str
) -> None:
    token = signed(key, kid, scope="prices:write  admin", nbf=NOW)
    assert verifier.verify(token) == Claims("alice", frozenset({"prices:write", "admin"}), int(NOW) + 600 + LEEWAY)


def test_the_audience_may_be_one_of_a_list(verifier: JwksTokenVerifier) -> None:
    assert verifier.verify(signed(EC_KEY, "e1", aud=["other", AUDIENCE])).subject == "alice"


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({}, set()),
        ({"scope": ""}, set()),
        ({"scp": ["prices:write", "admin"]}, {"prices:write", "admin"}),
        ({"scope": "admin", "scp": ["prices:write"]}, {"admin"}),
    ],
)
def test_scopes_come_as_a_string_or_as_a_list(
    verifier: JwksTokenVerifier, claims: dict[str, Any], scopes: set[str]
) -> None:
    assert verifier.verify(signed(EC_KEY, "e1", **claims)).scopes == scopes


@pytest.mark.parametrize("claims", [{"scope": ["admin"]}, {"scope": 7}, {"scp": [1]}, {"scp": {"admin": 1}}])
def test_scopes_of_another_shape_are_refused(verifier: JwksTokenVerifier, claims: dict[str, Any]) -> None:
    assert_invalid(verifier, signed(EC_KEY, "e1", **claims), "scope must be")


@pytest.mark.parametrize("claims", [{"scp": ["read admin"]}, {"scope": "read\tadmin"}, {"scp": [""]}])
def test_one_scope_cannot_become_two_when_they_are_joined(verifier: JwksTokenVerifier, claims: dict[str, Any]) -> None:
    assert_invalid(verifier, signed(EC_KEY, "e1", **claims), "scope must be")


@pytest.mark.parametrize("sub", ["a", "auth0|5f7c8ec7", "alice@example.test", "A-Z_0.9:x", "x" * 128])
def test_usual_subjects_are_accepted(verifier: JwksTokenVerifier, sub: str) -> None:
    assert verifier.verify(signed(EC_KEY, "e1", sub=sub)).subject == sub


# --- signatures and algorithms


@pytest.mark.parametrize(("forger", "kid"), [(RSA_OTHER, "r1"), (EC_OTHER, "e1")])
def test_a_forged_signature_is_refused(verifier: JwksTokenVerifier, forger: PrivateKey, kid: str) -> None:
    assert_invalid(verifier, signed(forger, kid), "signature is wrong")


@pytest.mark.parametrize(("key", "kid"), [(RSA_KEY, "r1"), (EC_KEY, "e1")])
def test_claims_changed_after_signing_are_refused(verifier: JwksTokenVerifier, key: PrivateKey, kid: str) -> None:
    header, _, signature = signed(key, kid).split(".")
    assert_invalid(verifier, f"{header}.{b64(payload(sub='mallory'))}.{signature}", "signature is wrong")


def test_a_forged_token_is_refused_for_its_signature_even_if_it_has_expired(verifier: JwksTokenVerifier) -> None:
    assert_invalid(verifier, signed(EC_OTHER, "e1", exp=NOW - 999), "signature is wrong")


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE"])
@pytest.mark.parametrize("signature", ["", "AAAA"])
def test_an_unsigned_token_is_refused_in_every_spelling(
    verifier: JwksTokenVerifier, issuer: Issuer, alg: str, signature: str
) -> None:
    token = f"{b64({'alg': alg, 'kid': 'r1'})}.{b64(payload())}.{signature}"
    assert_invalid(verifier, token, "signed")
    assert issuer.fetches == 0


def public_key_spellings() -> list[bytes]:
    made = []
    for key in (RSA_KEY, EC_KEY):
        pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        made += [pem, pem.strip(), json.dumps(jwk(key)).encode()]
    return made


@pytest.mark.parametrize("secret", public_key_spellings())
@pytest.mark.parametrize("kid", ["r1", "e1"])
def test_the_public_key_is_no_hmac_secret(verifier: JwksTokenVerifier, secret: bytes, kid: str) -> None:
    signing_input = f"{b64({'alg': 'HS256', 'typ': 'JWT', 'kid': kid})}.{b64(payload())}"
    token = f"{signing_input}.{b64(hmac.digest(secret, signing_input.encode(), hashlib.sha256))}"
    assert_invalid(verifier, token, "RS256 or ES256")


def test_a_symmetric_key_in_the_set_is_never_used(verifier: JwksTokenVerifier, issuer: Issuer) -> None:
    secret = b"s" * 32
    issuer.keys.append({"kty": "oct", "kid": "h1", "k": b64(secret), "alg": "HS256", "use": "sig"})
    token = jwt.encode(payload(), secret, algorithm="HS256", headers={"kid": "h1"})
    assert_invalid(verifier, token, "RS256 or ES256")


@pytest.mark.parametrize(("key", "kid"), [(RSA_KEY, "e1"), (EC_KEY, "r1")])
def test_a_key_of_one_type_never_verifies_the_algorithm_of_the_other(
    verifier: JwksTokenVerifier, key: PrivateKey, kid: str
) -> None:
    assert_invalid(verifier, signed(key, kid), "algorithm is not the one its key is for")


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
def test_other_algorithms_of_the_same_key_are_refused(verifier: JwksTokenVerifier, algorithm: str) -> None:
    token = jwt.encode(payload(), RSA_KEY, algorithm=algorithm, headers={"kid": "r1"})
    assert_invalid(verifier, token, "RS256 or ES256")


@pytest.mark.parametrize(
    "unfit",
    [
        jwk(RSA_KEY, "x", alg="RS512"),
        jwk(RSA_KEY, "x", alg="ES256"),
        jwk(RSA_KEY, "x", alg=None),
        jwk(RSA_KEY, "x", use="enc"),
        jwk(RSA_KEY, "x", key_ops=["encrypt"]),
        jwk(RSA_KEY, "x", key_ops="verify"),
        {**jwk(RSA_KEY, "x"), "n": "!"},
        {**jwk(RSA_KEY, "x"), "kty": "EC"},
        {**jwk(RSA_KEY, "x"), "kty": ["RSA"]},
    ],
)
def test_a_key_meant_for_something_else_verifies_nothing(
    verifier: JwksTokenVerifier, issuer: Issuer, unfit: dict[str, Any]
) -> None:
    issuer.keys.append(unfit)
    assert_invalid(verifier, signed(RSA_KEY, "x"), "no signing key")
    assert verifier.verify(signed(EC_KEY, "e1")).subject == "alice"


def test_small_rsa_keys_and_other_curves_are_not_used(verifier: JwksTokenVerifier, issuer: Issuer) -> None:
    issuer.keys += [jwk(RSA_SMALL, "small"), jwk(EC_384, "p384")]
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        small = signed(RSA_SMALL, "small")
    assert_invalid(verifier, small, "no signing key")
    token = jwt.encode(payload(), EC_384, algorithm="ES384", headers={"kid": "p384"})
    _, claims, signature = token.split(".")
    relabelled = b64({"alg": "ES256", "kid": "p384"})
    assert_invalid(verifier, f"{relabelled}.{claims}.{signature}", "no signing key")


def test_a_key_brought_along_in_the_header_is_ignored(verifier: JwksTokenVerifier, issuer: Issuer) -> None:
    brought = {"jwk": jwk(EC_OTHER, "e1"), "jku": f"http://127.0.0.1:{issuer.port}/evil", "x5u": "https://evil.test"}
    assert_invalid(verifier, signed(EC_OTHER, "e1", header=brought), "signature is wrong")
    assert set(issuer.paths) == {"/jwks.json"}


@pytest.mark.parametrize("extension", [{"crit": ["exp2"], "exp2": 1}, {"crit": ["b64"], "b64": False}, {"crit": []}])
def test_critical_extensions_are_refused(verifier: JwksTokenVerifier, extension: dict[str, Any]) -> None:
    signing_input = f"{b64({'alg': 'ES256', 'kid': 'e1', **extension})}.{b64(payload())}"
    signature = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).sign(signing_input.encode(), EC_KEY)
    assert refusal(verifier, f"{signing_input}.{b64(signature)}").code == "TOKEN_INVALID"


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "\ud800.b.c",
        "ü.b.c",
        f"{b64(b'[]')}.{b64(b'{}')}.AAAA",
        f"{b64(b'[' * 4000)}.{b64(b'{}')}.AAAA",
        f"{b64({'alg': ['RS256'], 'kid': 'r1'})}.{b64(b'{}')}.AAAA",
        f"{b64({'alg': 'RS256', 'kid': ['r1']})}.{b64(b'{}')}.AAAA",
        f"{b64({'alg': 'RS256', 'kid': 'r1'})}.{b64(b'[]')}.AAAA",
        f"{b64({'kid': 'r1'})}.{b64(b'{}')}.AAAA",
    ],
)
def test_what_is_no_token_is_refused_and_breaks_nothing(verifier: JwksTokenVerifier, token: str) -> None:
    assert refusal(verifier, token).code == "TOKEN_INVALID"


def test_signed_content_that_is_no_json_object_is_refused(verifier: JwksTokenVerifier) -> None:
    for content in (b"[]", b"\xff", b"[" * 4000, b"7"):
        token = jwt.api_jws.encode(content, EC_KEY, algorithm="ES256", headers={"kid": "e1"})
        assert_invalid(verifier, token, "malformed")


def test_an_empty_token_is_missing(verifier: JwksTokenVerifier) -> None:
    assert refusal(verifier, "").code == "TOKEN_MISSING"


def test_a_token_up_to_8_kb_is_accepted_and_a_larger_one_refused_unread(
    verifier: JwksTokenVerifier, issuer: Issuer
) -> None:
    fits = signed(EC_KEY, "e1", padding="x" * 5000)
    assert 6000 < len(fits) <= 8192
    assert verifier.verify(fits).subject == "alice"
    fetches = issuer.fetches
    assert_invalid(verifier, signed(EC_KEY, "unknown", padding="x" * 7000), "8192 bytes")
    assert issuer.fetches == fetches


# --- claims


def test_another_issuer_is_refused(verifier: JwksTokenVerifier) -> None:
    for iss in ("https://evil.test", ISSUER + "/", [ISSUER]):
        header = b64({"alg": "ES256", "kid": "e1"})
        signing_input = f"{header}.{b64(payload(iss=iss))}"
        signature = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).sign(signing_input.encode(), EC_KEY)
        assert_invalid(verifier, f"{signing_input}.{b64(signature)}", "another issuer")


@pytest.mark.parametrize("aud", ["other", ["other", "more"], AUDIENCE + "2", "folio", {AUDIENCE: 1}])
def test_another_audience_is_refused(verifier: JwksTokenVerifier, aud: object) -> None:
    assert_invalid(verifier, signed(EC_KEY, "e1", aud=aud), "another audience")


@pytest.mark.parametrize("claim", ["iss", "aud", "exp", "sub"])
def test_a_token_without_a_required_claim_is_refused(verifier: JwksTokenVerifier, claim: str) -> None:
    assert_invalid(verifier, signed(EC_KEY, "e1", **{claim: None}), "must have iss, aud, exp and sub")


@pytest.mark.parametrize(
    "sub", ["", "x" * 129, "a b", "alice\n", "\nalice", "a/b", "a#b", "älice", "*", "a\x00", 7, ["alice"]]
)
def test_a_subject_that_could_be_misread_is_refused_naming_the_rule(verifier: JwksTokenVerifier, sub: object) -> None:
    assert_invalid(verifier, signed(EC_KEY, "e1", sub=sub), "[A-Za-z0-9_.|@:-]{1,128}")


def test_a_token_expires_once_the_leeway_is_over(verifier: JwksTokenVerifier, clock: Clock) -> None:
    token = signed(EC_KEY, "e1", exp=NOW + 60)
    clock.now = NOW + 60 + LEEWAY - 1
    assert verifier.verify(token).expires_at == NOW + 60 + LEEWAY
    clock.now = NOW + 60 + LEEWAY
    assert refusal(verifier, token).code == "TOKEN_EXPIRED"


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_token_from_the_future_waits_until_the_leeway_reaches_it(
    verifier: JwksTokenVerifier, clock: Clock, claim: str
) -> None:
    token = signed(EC_KEY, "e1", None, **{claim: NOW + LEEWAY + 1})
    assert_invalid(verifier, token, f"not valid yet ({claim})")
    clock.now += 1
    assert verifier.verify(token).subject == "alice"


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 10**400, True, "1772105400", [1]])
def test_a_time_that_is_no_time_is_refused(verifier: JwksTokenVerifier, claim: str, value: object) -> None:
    assert_invalid(verifier, signed(EC_KEY, "e1", None, **{claim: value}), f"{claim} must be a time")


# --- choosing and keeping keys


def test_the_key_id_may_be_left_out_only_if_there_is_one_key(
    verifier: JwksTokenVerifier, issuer: Issuer, clock: Clock
) -> None:
    for _ in range(2):
        assert_invalid(verifier, signed(EC_KEY, None), "no signing key")
    assert issuer.fetches == 1, "nothing to look for: no second fetch"
    issuer.keys = [jwk(EC_KEY), jwk(RSA_KEY, "enc", use="enc")]
    clock.now += 600
    assert verifier.verify(signed(EC_KEY, None)).subject == "alice"


def test_two_keys_with_one_id_are_none(verifier: JwksTokenVerifier, issuer: Issuer) -> None:
    issuer.keys = [jwk(EC_KEY, "e1"), jwk(EC_OTHER, "e1")]
    assert_invalid(verifier, signed(EC_KEY, "e1"), "no signing key")


def test_keys_are_fetched_once_in_their_lifetime(verifier: JwksTokenVerifier, issuer: Issuer, clock: Clock) -> None:
    for _ in range(50):
        verifier.verify(signed(EC_KEY, "e1"))
    clock.now = NOW + 599
    verifier.verify(signed(EC_KEY, "e1"))
    assert issuer.fetches == 1
    clock.now = NOW + 600
    verifier.verify(signed(EC_KEY, "e1"))
    assert issuer.fetches == 2


def test_a_new_key_is_taken_at_its_first_token(verifier: JwksTokenVerifier, issuer: Issuer) -> None:
    verifier.verify(signed(EC_KEY, "e1"))
    issuer.keys.append(jwk(EC_OTHER, "e2"))
    assert verifier.verify(signed(EC_OTHER, "e2")).subject == "alice"
    assert issuer.fetches == 2


def test_a_withdrawn_key_stops_working_when_the_set_is_read_again(
    verifier: JwksTokenVerifier, issuer: Issuer, clock: Clock
) -> None:
    verifier.verify(signed(EC_KEY, "e1"))
    issuer.keys.pop()
    clock.now += 600
    assert_invalid(verifier, signed(EC_KEY, "e1", exp=clock.now + 60), "no signing key")


def test_a_set_read_for_a_token_is_not_read_again_for_the_same_token(
    verifier: JwksTokenVerifier, issuer: Issuer
) -> None:
    assert_invalid(verifier, signed(EC_OTHER, "e2"), "no signing key")
    assert issuer.fetches == 1


@pytest.mark.parametrize("is_warm", [True, False])
def test_a_storm_of_unknown_keys_costs_one_extra_fetch(
    verifier: JwksTokenVerifier, issuer: Issuer, is_warm: bool
) -> None:
    if is_warm:
        verifier.verify(signed(EC_KEY, "e1"))
    for number in range(1000):
        token = f"{b64({'alg': 'ES256', 'kid': f'u{number}'})}.{b64(b'{}')}.AAAA"
        assert refusal(verifier, token).code == "TOKEN_INVALID"
    assert issuer.fetches == 2, "the first one and one more"
    assert verifier.verify(signed(EC_KEY, "e1")).subject == "alice"


def test_after_a_storm_a_new_key_is_taken_when_the_interval_is_over(
    verifier: JwksTokenVerifier, issuer: Issuer, clock: Clock
) -> None:
    verifier.verify(signed(EC_KEY, "e1"))
    refusal(verifier, signed(EC_OTHER, "e2"))
    issuer.keys.append(jwk(EC_OTHER, "e2"))
    clock.now += 29
    assert_invalid(verifier, signed(EC_OTHER, "e2"), "no signing key")
    clock.now += 1
    assert verifier.verify(signed(EC_OTHER, "e2")).subject == "alice"


# --- an issuer in trouble


def unavailable(verifier: JwksTokenVerifier, token: str) -> RetryableError:
    with pytest.raises(RetryableError) as failed:
        verifier.verify(token)
    assert failed.value.code == "ISSUER_UNAVAILABLE"
    assert_tells_nothing(token, str(failed.value))
    return failed.value


def test_an_issuer_that_is_down_at_the_start_is_retryable_and_asked_again_soon(
    verifier: JwksTokenVerifier, issuer: Issuer, clock: Clock
) -> None:
    issuer.down()
    for _ in range(20):
        unavailable(verifier, signed(EC_KEY, "e1"))
    assert issuer.fetches == 1
    issuer.reply = None
    clock.now += 5
    assert verifier.verify(signed(EC_KEY, "e1")).subject == "alice"


def test_an_issuer_nobody_answers_for_is_retryable(clock: Clock) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        port = closed.server_address[1]
    verifier = JwksTokenVerifier(f"http://127.0.0.1:{port}/", ISSUER, AUDIENCE, LEEWAY, clock=clock)
    assert "ConnectionRefusedError" in unavailable(verifier, signed(EC_KEY, "e1")).message


def test_kept_keys_serve_for_a_day_when_the_issuer_goes_down(
    verifier: JwksTokenVerifier, issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    token = signed(EC_KEY, "e1", exp=NOW + 200_000)
    verifier.verify(token)
    issuer.down()
    for age in (600, 3600, 24 * 3600):
        clock.now = NOW + age
        assert verifier.verify(token).subject == "alice"
        assert refusal(verifier, signed(EC_OTHER, "e1", exp=NOW + 200_000)).code == "TOKEN_INVALID"
    assert "serve on" in caplog.text
    clock.now = NOW + 24 * 3600 + 1
    unavailable(verifier, token)
    clock.now += 31
    unavailable(verifier, token)
    issuer.reply = None
    clock.now += 5
    assert verifier.verify(token).subject == "alice"


def test_a_failing_issuer_is_left_alone_between_tries_while_kept_keys_serve(
    verifier: JwksTokenVerifier, issuer: Issuer, clock: Clock
) -> None:
    verifier.verify(signed(EC_KEY, "e1"))
    issuer.down()
    clock.now += 600
    for number in range(30):
        verifier.verify(signed(EC_KEY, "e1", exp=NOW + 9999))
        refusal(verifier, signed(EC_KEY, f"u{number}", exp=NOW + 9999))
        clock.now += 0.9
    assert issuer.fetches == 2
    clock.now += 30
    verifier.verify(signed(EC_KEY, "e1", exp=NOW + 9999))
    assert issuer.fetches == 3


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"\xff\xfe", b"[]", b"7", b'["keys"]', b"{}", b'{"keys": {}}', b"[" * 60_000, b"7" * 5000],
)
def test_an_answer_that_is_no_key_set_replaces_nothing(
    verifier: JwksTokenVerifier, issuer: Issuer, clock: Clock, content: bytes
) -> None:
    verifier.verify(signed(EC_KEY, "e1"))
    issuer.reply = body(content)
    clock.now += 600
    assert verifier.verify(signed(EC_KEY, "e1")).subject == "alice"
    assert issuer.fetches == 2


def test_a_set_without_usable_keys_ends_the_old_ones(verifier: JwksTokenVerifier, issuer: Issuer, clock: Clock) -> None:
    verifier.verify(signed(EC_KEY, "e1"))
    issuer.keys = []
    clock.now += 600
    for _ in range(20):
        unavailable(verifier, signed(EC_KEY, "e1", exp=NOW + 9999))
    assert issuer.fetches == 2
    issuer.keys = [jwk(EC_KEY, "e1")]
    clock.now += 5
    assert verifier.verify(signed(EC_KEY, "e1", exp=NOW + 9999)).subject == "alice"


@pytest.mark.parametrize("target", ["/elsewhere", "http://127.0.0.1:{port}/elsewhere", "file:///etc/hostname"])
@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_no_redirect_is_followed(verifier: JwksTokenVerifier, issuer: Issuer, target: str, code: int) -> None:
    good = body(json.dumps({"keys": issuer.keys}).encode())
    redirect = status(code, Location=target.format(port=issuer.port))
    issuer.reply = lambda request: (good if request.path == "/elsewhere" else redirect)(request)
    assert str(code) in unavailable(verifier, signed(EC_KEY, "e1")).message
    assert issuer.paths == ["/jwks.json"]


def test_a_set_over_the_size_limit_is_not_read(verifier: JwksTokenVerifier, issuer: Issuer) -> None:
    issuer.reply = body(json.dumps({"keys": issuer.keys, "padding": "x" * 70_000}).encode())
    assert "65536" in unavailable(verifier, signed(EC_KEY, "e1")).message


def test_an_issuer_that_never_answers_is_given_up(issuer: Issuer) -> None:
    released = threading.Event()

    def hang(_: BaseHTTPRequestHandler) -> None:
        released.wait(10)

    issuer.reply = hang
    started = time.monotonic()
    with pytest.raises(RetryableError):
        fetch_jwks(issuer.url, timeout_seconds=0.2)
    released.set()
    assert time.monotonic() - started < 5


def test_an_issuer_that_drips_its_answer_is_given_up(issuer: Issuer) -> None:
    released = threading.Event()

    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        for _ in range(200):
            if released.wait(0.05):
                return
            request.wfile.write(b" ")

    issuer.reply = drip
    started = time.monotonic()
    with pytest.raises(RetryableError, match="slowly"):
        fetch_jwks(issuer.url, timeout_seconds=0.3)
    released.set()
    assert time.monotonic() - started < 5


def test_the_usual_timeout_is_three_seconds() -> None:
    assert jwks_tokens.FETCH_TIMEOUT_SECONDS == 3


@pytest.mark.parametrize(
    "url",
    [
        "",
        "issuer.test/jwks",
        "http://issuer.test/jwks",
        "http://localhost/jwks",
        "http://127.0.0.1.evil.test/jwks",
        "http://127.0.0.1@evil.test/jwks",
        "https://user:word@issuer.test/jwks",
        "https:///jwks",
        "https://issuer.test:port/jwks",
        "file:///etc/passwd",
        "ftp://127.0.0.1/jwks",
        "http://[::1/jwks",
    ],
)
def test_keys_come_over_https_or_from_this_machine_only(url: str) -> None:
    with pytest.raises(SettingsError, match="address of the signing keys"):
        JwksTokenVerifier(url, ISSUER, AUDIENCE, LEEWAY)
    with pytest.raises(SettingsError):
        fetch_jwks(url)


@pytest.mark.parametrize("changes", [{"issuer": ""}, {"audience": ""}, {"leeway_seconds": -1}, {"leeway_seconds": 301}])
def test_settings_that_would_check_nothing_are_refused(changes: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"issuer": ISSUER, "audience": AUDIENCE, "leeway_seconds": LEEWAY, **changes}
    with pytest.raises(SettingsError):
        JwksTokenVerifier("https://issuer.test/jwks", **settings)


# --- the handler


JWT = {
    "PORTFOLIO_JWT_ISSUER": ISSUER,
    "PORTFOLIO_JWT_AUDIENCE": AUDIENCE,
    "PORTFOLIO_JWT_LEEWAY_SECONDS": str(LEEWAY),
}


@pytest.fixture
def app(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A cold container: functions/authorizer/app.py with its environment set."""
    for name, value in (ENVIRONMENT | JWT).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PORTFOLIO_JWKS_URL", issuer.url)
    spec = importlib.util.spec_from_file_location("authorizer_app", ROOT / "functions/authorizer/app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    wiring.cache_clear()
    return module


def event(name: str, *tokens: str) -> dict[str, Any]:
    """A sample event with the tokens in its header, as API Gateway fills both forms of it."""
    sample: dict[str, Any] = json.loads((ROOT / "events" / name).read_text())
    (header,) = [name for name in sample["headers"] if name.lower() == "authorization"]
    sample["headers"][header] = f"Bearer {tokens[-1]}"
    sample["multiValueHeaders"][header] = [f"Bearer {token}" for token in tokens]
    return sample


def fresh(key: PrivateKey = EC_KEY, kid: str = "e1", **changes: object) -> str:
    """A token by the real clock, which the handler uses."""
    now = int(time.time())
    return signed(key, kid, None, **{"iat": now, "exp": now + 60, **changes})


REST, WEBSOCKET = "authorizer.rest.json", "authorizer.websocket.json"


def test_the_handler_opens_the_whole_stage_to_a_rest_caller(app: ModuleType) -> None:
    answer = app.handler(event(REST, fresh(scope="admin")), None)
    (statement,) = answer["policyDocument"]["Statement"]
    assert statement["Resource"] == "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/live/*"
    assert (answer["principalId"], answer["context"]["scope"]) == ("alice", "admin")
    json.dumps(answer)


def test_the_handler_opens_a_websocket_connection(app: ModuleType) -> None:
    sample = event(WEBSOCKET, fresh())
    (statement,) = app.handler(sample, None)["policyDocument"]["Statement"]
    assert statement["Resource"] == sample["methodArn"]


def test_an_event_with_plain_headers_only_is_understood(app: ModuleType) -> None:
    sample = event(REST, fresh())
    del sample["multiValueHeaders"]
    assert app.handler(sample, None)["principalId"] == "alice"


def test_the_container_keeps_the_keys_between_requests(app: ModuleType, issuer: Issuer) -> None:
    for name in (REST, WEBSOCKET, REST):
        app.handler(event(name, fresh()), None)
    assert issuer.fetches == 1


@pytest.mark.parametrize("name", [REST, WEBSOCKET])
def test_the_handler_says_exactly_unauthorized_and_logs_no_token(
    app: ModuleType, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    forged = fresh(EC_OTHER)
    for tokens in ([forged], [fresh(exp=1)], [fresh(), fresh()], [""]):
        assert_unauthorized(app, event(name, *tokens))
    assert_unauthorized(app, event(name, forged) | {"headers": None, "multiValueHeaders": None})
    assert [code for code in ("TOKEN_INVALID", "TOKEN_EXPIRED", "TOKEN_MISSING") if code not in caplog.text] == []
    assert_tells_nothing(forged, caplog.text)


def assert_unauthorized(app: ModuleType, sample: dict[str, Any]) -> None:
    """API Gateway compares the whole message."""
    with pytest.raises(Exception, match="Unauthorized") as refused:
        app.handler(sample, None)
    assert str(refused.value) == "Unauthorized"
    assert refused.value.__suppress_context__, "the runtime prints no other error with it"


def test_an_issuer_that_is_down_is_not_the_callers_fault(app: ModuleType, issuer: Issuer) -> None:
    issuer.down()
    with pytest.raises(RetryableError) as failed:
        app.handler(event(REST, fresh()), None)
    assert str(failed.value) != "Unauthorized"
