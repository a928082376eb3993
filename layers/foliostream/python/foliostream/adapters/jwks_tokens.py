"""JSON Web Tokens proven with the keys an issuer publishes (a JWKS), by PyJWT.

The rules, each of them an attack that worked somewhere: the algorithm follows from the key and never from the token;
nothing in a token is believed before its signature is checked; neither errors nor logs repeat any part of a token.
"""

from __future__ import annotations

import http.client
import json
import logging
import math
import re
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import jwt

from foliostream.errors import RetryableError, SettingsError, UnauthorizedError
from foliostream.ports import Claims

TOKEN_BYTES_MAX: Final = 8 * 1024
JWKS_BYTES_MAX: Final = 64 * 1024
FETCH_TIMEOUT_SECONDS: Final = 3.0
KEYS_LIFETIME_SECONDS: Final = 10 * 60
"""How long a fetched set serves without a look at the issuer; also how long a withdrawn key may live on."""
KEYS_MAX_AGE_SECONDS: Final = 24 * 3600
"""How long it serves when the issuer cannot be reached."""
REFETCH_INTERVAL_SECONDS: Final = 30
"""Least time between two fetches asked for by unknown key ids, and between two tries at an issuer that fails."""
RETRY_WITHOUT_KEYS_SECONDS: Final = 5
"""Least time between two tries while there is no key at all."""
RSA_BITS_MIN: Final = 2048
LEEWAY_SECONDS_MAX: Final = 300

Clock = Callable[[], float]
Fetch = Callable[[str], bytes]
"""Body behind an address; ``RetryableError`` when it cannot be had."""

_ALGORITHMS: Final = {"RSA": "RS256", "EC": "ES256"}
_PUBLIC_MEMBERS: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y")}
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_SUBJECT = re.compile(r"[A-Za-z0-9_.|@:-]{1,128}")
# RFC 6749: no space, quote or backslash. Scopes are passed on joined by spaces, so one with a space would become two.
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_SECONDS_MAX: Final = 2**53

_log = logging.getLogger(__name__)


class JwksTokenVerifier:
    """Verifies RS256 and ES256 tokens of one issuer for one audience (implements ``TokenVerifier``).

    ``leeway_seconds``: how far the issuer's clock may differ. ``clock``: epoch seconds. ``fetch``: how the set is read.
    Meant for one thread, like a Lambda container. Raises ``SettingsError`` for settings that would check nothing.
    """

    def __init__(
        self,
        jwks_url: str,
        issuer: str,
        audience: str,
        leeway_seconds: float,
        *,
        clock: Clock = time.time,
        fetch: Fetch | None = None,
    ) -> None:
        _check_settings(jwks_url, issuer, audience, leeway_seconds)
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway_seconds
        self._clock = clock
        self._keys = _Keys(jwks_url, fetch or fetch_jwks, clock)

    def verify(self, token: str) -> Claims:
        """Claims of a valid token.

        Raises ``UnauthorizedError`` (``TOKEN_MISSING``, ``TOKEN_INVALID``, ``TOKEN_EXPIRED``) and ``RetryableError``
        (``ISSUER_UNAVAILABLE``) when there are no keys to judge it by.
        """
        algorithm, key_id = _header(token)
        key = self._keys.find(key_id)
        if key is None:
            raise _invalid("no signing key of the issuer fits the token's key id (needed when there are several keys)")
        if algorithm != key.algorithm_name:
            raise _invalid("the token's algorithm is not the one its key is for")
        payload = self._decode(token, key)
        expires_at = self._check_times(payload)
        return Claims(subject=_subject(payload), scopes=_scopes(payload), expires_at=expires_at)

    def _decode(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._issuer,
                audience=self._audience,
                # The times are checked by _check_times: PyJWT reads a clock of its own.
                options={
                    "require": ["iss", "aud", "exp", "sub"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.PyJWTError as error:
            raise _invalid(_reason(error)) from None

    def _check_times(self, payload: dict[str, Any]) -> int:
        now = self._clock()
        expires_at = _seconds(payload, "exp")
        if now >= expires_at + self._leeway:
            raise UnauthorizedError("the token has expired", code="TOKEN_EXPIRED")
        for claim in ("nbf", "iat"):
            if claim in payload and _seconds(payload, claim) > now + self._leeway:
                raise _invalid(f"the token is not valid yet ({claim})")
        return math.floor(expires_at + self._leeway)


class _Keys:
    """The issuer's signing keys, fetched when needed and kept.

    A set is fetched again when its lifetime is over, and at once for an unknown key id, so that a new key works from
    its first token. That can be provoked by anybody, hence the interval.
    """

    def __init__(self, url: str, fetch: Fetch, clock: Clock) -> None:
        self._url = url
        self._fetch = fetch
        self._clock = clock
        self._keys: Sequence[jwt.PyJWK] = ()
        self._fetched_at = -math.inf
        self._retry_at = -math.inf
        self._unknown_key_fetch_at = -math.inf

    def find(self, key_id: str | None) -> jwt.PyJWK | None:
        now = self._clock()
        if self._keep_fresh(now):
            return _select(self._keys, key_id)
        key = _select(self._keys, key_id)
        if key is None and key_id is not None and now >= max(self._unknown_key_fetch_at, self._retry_at):
            self._unknown_key_fetch_at = now + REFETCH_INTERVAL_SECONDS
            self._refresh(now)
            key = _select(self._keys, key_id)
        return key

    def _keep_fresh(self, now: float) -> bool:
        """Whether the set was fetched just now."""
        if self._age(now) < KEYS_LIFETIME_SECONDS:
            return False
        if now >= self._retry_at:
            return self._refresh(now)
        if self._age(now) > KEYS_MAX_AGE_SECONDS:
            raise _unavailable("the issuer's signing keys could not be read a moment ago")
        return False

    def _refresh(self, now: float) -> bool:
        """Whether a new set was had; False: the old one serves on. Raises when there is none young enough."""
        try:
            keys = _parse(self._fetch(self._url))
        except RetryableError as error:
            if self._age(now) > KEYS_MAX_AGE_SECONDS:
                self._retry_at = now + RETRY_WITHOUT_KEYS_SECONDS
                raise
            self._retry_at = now + REFETCH_INTERVAL_SECONDS
            _log.warning("signing keys of %.0f s ago serve on: %s", self._age(now), error.message)
            return False
        self._keys, self._fetched_at = keys, now
        if not keys:
            # The issuer withdrew them all, or publishes none we take: nothing can be proven, and nothing is assumed.
            self._fetched_at, self._retry_at = -math.inf, now + RETRY_WITHOUT_KEYS_SECONDS
            raise _unavailable("the issuer publishes no RS256 or ES256 signing key")
        return True

    def _age(self, now: float) -> float:
        return now - self._fetched_at


def fetch_jwks(url: str, *, timeout_seconds: float = FETCH_TIMEOUT_SECONDS, bytes_max: int = JWKS_BYTES_MAX) -> bytes:
    """Body of a 200 answer of at most ``bytes_max``; anything else is ``RetryableError`` (``ISSUER_UNAVAILABLE``).

    No redirect is followed: the address is the operator's and the trust in the keys rests on it. ``timeout_seconds``
    holds for each wait on the connection and for the body as a whole.
    """
    parts = _allowed(url)
    connection_type = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        with closing(connection_type(parts.hostname or "", parts.port, timeout=timeout_seconds)) as connection:
            connection.request("GET", target, headers={"Accept": "application/json", "Connection": "close"})
            # The answer holds the socket too, and keeps it when it is not read to its end.
            with closing(connection.getresponse()) as response:
                return _body(response, time.monotonic() + timeout_seconds, bytes_max)
    except (OSError, http.client.HTTPException) as error:
        raise _unavailable(f"the issuer's signing keys cannot be read: {type(error).__name__}") from error


def _body(response: http.client.HTTPResponse, deadline: float, bytes_max: int) -> bytes:
    if response.status != http.client.OK:
        raise _unavailable(f"the issuer answered {response.status} instead of its signing keys")
    body = b""
    while chunk := response.read1(bytes_max + 1 - len(body)):
        body += chunk
        if len(body) > bytes_max:
            raise _unavailable(f"the issuer's signing keys are larger than {bytes_max} bytes")
        if time.monotonic() > deadline:
            # A socket's timeout starts again with every byte.
            raise _unavailable("the issuer sends its signing keys too slowly")
    return body


def _parse(body: bytes) -> Sequence[jwt.PyJWK]:
    """The usable signing keys of a JWKS; other keys in it are no fault. ``RetryableError`` if it is no JWKS."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise _unavailable("the issuer's signing keys are not JSON") from None
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise _unavailable("the issuer's signing keys are not a JSON Web Key Set")
    return [key for jwk in keys if isinstance(jwk, dict) and (key := _signing_key(jwk)) is not None]


def _signing_key(jwk: dict[str, Any]) -> jwt.PyJWK | None:
    """The public key bound to its one algorithm, or None if it is not for signing tokens that we take."""
    kty, key_id = jwk.get("kty"), jwk.get("kid")
    if kty not in ("RSA", "EC") or not isinstance(key_id, str | None):
        return None
    algorithm = _ALGORITHMS[kty]
    if jwk.get("alg", algorithm) != algorithm or not _is_for_signatures(jwk):
        return None
    if kty == "EC" and jwk.get("crv") != "P-256":
        return None
    # Only the public members: a set that leaks private ones must not make this a holder of them.
    public = {name: jwk[name] for name in _PUBLIC_MEMBERS[kty] if isinstance(jwk.get(name), str)}
    try:
        key = jwt.PyJWK({"kty": kty, "kid": key_id, **public}, algorithm)
    except jwt.PyJWTError:
        return None
    return None if kty == "RSA" and key.key.key_size < RSA_BITS_MIN else key


def _is_for_signatures(jwk: dict[str, Any]) -> bool:
    operations = jwk.get("key_ops", ["verify"])
    return jwk.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations


def _select(keys: Sequence[jwt.PyJWK], key_id: str | None) -> jwt.PyJWK | None:
    """The one key meant: by its id, or without an id the only key there is. Two keys with one id are none."""
    meant = keys if key_id is None else [key for key in keys if key.key_id == key_id]
    return meant[0] if len(meant) == 1 else None


def _header(token: str) -> tuple[str, str | None]:
    """Algorithm and key id a token claims. Believed only as far as choosing what to check it with."""
    if not token:
        raise UnauthorizedError("a token is needed", code="TOKEN_MISSING")
    if len(token) > TOKEN_BYTES_MAX:
        raise _invalid(f"the token is larger than {TOKEN_BYTES_MAX} bytes")
    if _COMPACT.fullmatch(token) is None:
        raise _invalid("the token is not a signed JSON Web Token")
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise _invalid("the token is not a signed JSON Web Token") from None
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS.values():
        raise _invalid("the token must be signed with RS256 or ES256")
    return algorithm, key_id


def _seconds(payload: dict[str, Any], claim: str) -> int | float:
    value = payload[claim]
    # NaN compares false with everything: asked this way round it is refused.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _SECONDS_MAX:
        raise _invalid(f"{claim} must be a time in epoch seconds")
    return value


def _subject(payload: dict[str, Any]) -> str:
    subject = payload["sub"]
    if not isinstance(subject, str) or _SUBJECT.fullmatch(subject) is None:
        raise _invalid(f"sub must match {_SUBJECT.pattern}")
    return subject


def _scopes(payload: dict[str, Any]) -> frozenset[str]:
    """``scope`` (one string) or, without it, ``scp`` (a list); neither: no scopes."""
    scopes = payload.get("scp", [])
    if "scope" in payload:
        scope = payload["scope"]
        scopes = [part for part in scope.split(" ") if part] if isinstance(scope, str) else None
    if not isinstance(scopes, list) or not all(isinstance(one, str) and _SCOPE.fullmatch(one) for one in scopes):
        raise _invalid("scope must be names separated by spaces, or scp a list of names")
    return frozenset(scopes)


def _reason(error: jwt.PyJWTError) -> str:
    """Our words for PyJWT's: its own may quote the token."""
    match error:
        case jwt.MissingRequiredClaimError():
            return "the token must have iss, aud, exp and sub"
        case jwt.InvalidIssuerError():
            return "the token is of another issuer"
        case jwt.InvalidAudienceError():
            return "the token is for another audience"
        case jwt.exceptions.InvalidSubjectError():
            return f"sub must match {_SUBJECT.pattern}"
        case jwt.InvalidSignatureError():
            return "the token's signature is wrong"
        case _:
            return "the token is malformed"


def _check_settings(jwks_url: str, issuer: str, audience: str, leeway_seconds: float) -> None:
    _allowed(jwks_url)
    if not issuer or not audience:
        raise SettingsError("the token issuer and the audience must be set")
    if not 0 <= leeway_seconds <= LEEWAY_SECONDS_MAX:
        raise SettingsError(f"the leeway of token times must be 0 to {LEEWAY_SECONDS_MAX} seconds")


def _allowed(url: str) -> SplitResult:
    """The parts of an https address, or of an http one on this machine; ``SettingsError`` for any other."""
    try:
        parts = urlsplit(url)
        is_allowed = bool(parts.hostname) and "@" not in parts.netloc and (parts.port is None or parts.port > 0)
    except ValueError:
        raise SettingsError("the address of the signing keys is not a URL") from None
    if not is_allowed or not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname == "127.0.0.1")):
        raise SettingsError("the address of the signing keys must be https://..., or http://127.0.0.1...")
    return parts


def _invalid(message: str) -> UnauthorizedError:
    return UnauthorizedError(message, code="TOKEN_INVALID")


def _unavailable(message: str) -> RetryableError:
    return RetryableError(message, code="ISSUER_UNAVAILABLE")
