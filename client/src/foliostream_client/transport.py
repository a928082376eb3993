"""REST and WebSocket as they are on the wire: JSON with exact decimals both ways."""

from __future__ import annotations

import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from decimal import Decimal
from email.message import Message
from http.client import HTTPException, HTTPMessage
from ipaddress import ip_address
from types import TracebackType
from typing import IO, Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

import msgspec
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from foliostream_client.errors import ApiError, SocketError

Json = Any

# Once more, and three times again: nothing answered, or somebody will in a moment.
RETRIES: Final = 4
RETRIED_STATUSES: Final = frozenset({0, 429, 502, 503, 504})
FIRST_PAUSE_S: Final = 0.25
MAX_PAUSE_S: Final = 10.0
# Of an answer; the largest, a page of transactions or a portfolio of a thousand positions, stays below six (Lambda).
MAX_ANSWER_BYTES: Final = 16_000_000
MAX_MESSAGE_BYTES: Final = 1_000_000

_encoder = msgspec.json.Encoder(decimal_format="number")


def loads(text: str | bytes) -> Json:
    """JSON with every number that has a point as the Decimal it was written as."""
    return json.loads(text, parse_float=Decimal)


def dumps(content: object) -> bytes:
    """JSON with every Decimal as a number literal."""
    return _encoder.encode(content)


def is_loopback(url: str) -> bool:
    """Whether an address is this machine's, which no proxy knows and no network sees."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def pause_s(failures: int) -> float:
    """How long to wait after so many failures in a row: a random part of 0.25, 0.5, 1, 2, ... up to 10 seconds, since
    clients that lost the same server should not come back at once."""
    return random.uniform(0.1, 1.0) * min(FIRST_PAUSE_S * 2.0**failures, MAX_PAUSE_S)  # noqa: S311 (no secret)


class Answer(NamedTuple):
    """An HTTP answer, whatever its status; ``body`` is decoded JSON, None if there was none, text if it is not JSON."""

    status: int
    body: Json
    headers: Mapping[str, str]
    raw: bytes = b""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A token goes to the address it was given for and to no other."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """Leaves the redirect to the caller, as an answer."""


class Rest:
    """Calls below one stage's address, as the owner of ``token`` (None: nobody). ``pause`` waits before a retry."""

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        timeout_s: float = 30.0,
        *,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s
        self._pause = pause
        proxies: list[urllib.request.BaseHandler] = []
        if is_loopback(base_url):
            proxies.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(_NoRedirects, *proxies)

    def call(
        self, method: str, path: str, body: Json | bytes = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Any request, once; bytes go out as they are, all else as JSON. Raises ``ApiError`` only if nothing
        answered."""
        data = body if body is None or isinstance(body, bytes) else _encoder.encode(body)
        sent = {"Content-Type": "application/json"} if data is not None else {}
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(  # noqa: S310 (the address is the user's own, and checked when it is stored)
            self._base_url + path, data=data, headers=sent | dict(headers or {}), method=method
        )
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                return _answer(response.status, response.read(MAX_ANSWER_BYTES + 1), response.headers)
        except urllib.error.HTTPError as refused:
            with refused:
                return _answer(refused.code, refused.read(MAX_ANSWER_BYTES + 1), refused.headers)
        except (OSError, HTTPException) as fault:
            raise ApiError(f"{method} {path}", 0, "", str(fault) or type(fault).__name__) from fault

    def get(self, path: str) -> Json:
        """The body of a 2xx answer; ``ApiError`` otherwise."""
        return self.expect("GET", path, None).body

    def post(self, path: str, body: Json) -> Json:
        """The body of a 2xx answer; ``ApiError`` otherwise."""
        return self.expect("POST", path, body).body

    def put(self, path: str, body: Json) -> Json:
        """The body of a 2xx answer; ``ApiError`` otherwise."""
        return self.expect("PUT", path, body).body

    def expect(
        self,
        method: str,
        path: str,
        body: Json | bytes = None,
        headers: Mapping[str, str] | None = None,
        *,
        repeatable: bool = False,
    ) -> Answer:
        """A 2xx answer; ``ApiError`` otherwise. ``repeatable``: the request may arrive twice without harm, so where
        nothing answers or the answer is 429, 502, 503 or 504 it is sent again, up to ``RETRIES`` times."""
        for failures in range(RETRIES + 1):
            last = failures == RETRIES or not repeatable
            try:
                answer = self.call(method, path, body, headers)
            except ApiError:
                if last:
                    raise
                self._pause(pause_s(failures))
                continue
            if last or answer.status not in RETRIED_STATUSES:
                break
            self._pause(_asked_pause_s(answer.headers) or pause_s(failures))
        if 200 <= answer.status < 300:
            return answer
        raise refusal(f"{method} {path}", answer)


def refusal(request: str, answer: Answer) -> ApiError:
    """What an answer that is not 2xx says; of API Gateway itself there is a ``message`` only."""
    body = answer.body if isinstance(answer.body, dict) else {}
    error = body.get("error")
    if not isinstance(error, dict):
        error = {"message": body.get("message") or body.get("Message") or str(answer.body)[:500]}
    details = [item for item in error.get("details") or () if isinstance(item, dict)]
    return ApiError(request, answer.status, str(error.get("code", "")), str(error.get("message", "")), details)


class Socket:
    """One WebSocket connection; messages are dicts. Every method raises ``SocketError`` once it is lost."""

    def __init__(self, url: str, token: str | None = None, *, query: str = "", timeout_s: float = 15.0) -> None:
        """Connect with a Bearer header (``token``) and/or a query string (``ticket=...``)."""
        headers = {"Authorization": f"Bearer {token}"} if token is not None else None
        self._opened = ExitStack()
        try:
            opened = connect(
                f"{url}?{query}" if query else url,
                additional_headers=headers,
                open_timeout=timeout_s,
                proxy=None if is_loopback(url) else True,
                max_size=MAX_MESSAGE_BYTES,
                # The application has a ping of its own, which also proves that a function still answers.
                ping_interval=None,
            )
            self._connection: ClientConnection = self._opened.enter_context(opened)
        except (OSError, InvalidHandshake, WebSocketException) as fault:
            status = fault.response.status_code if isinstance(fault, InvalidStatus) else 0
            text = f"the WebSocket could not be opened: {str(fault) or type(fault).__name__}"
            raise SocketError(text, status) from fault

    def send(self, message: Mapping[str, Json] | str) -> None:
        """Send a message; a string goes out as it is."""
        text = message if isinstance(message, str) else _encoder.encode(message).decode()
        try:
            self._connection.send(text)
        except ConnectionClosed as closed:
            raise SocketError(f"the WebSocket was closed: {closed}") from closed

    def receive(self, timeout_s: float) -> dict[str, Json] | None:
        """The next message, or None if there was none for ``timeout_s``."""
        try:
            text = self._connection.recv(timeout=timeout_s)
        except TimeoutError:
            return None
        except ConnectionClosed as closed:
            raise SocketError(f"the WebSocket was closed: {closed}") from closed
        try:
            message = loads(text)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise SocketError(f"a message is no JSON object: {text[:200]!r}")
        return message

    def close(self) -> None:
        """Say goodbye; harmless when already closed."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _answer(status: int, raw: bytes, headers: Message[str, str]) -> Answer:
    if len(raw) > MAX_ANSWER_BYTES:
        raise ApiError("the answer", status, "", f"has more than {MAX_ANSWER_BYTES:,} bytes")
    return Answer(status, _body(raw), dict(headers.items()), raw)


def _body(raw: bytes) -> Json:
    if not raw:
        return None
    try:
        return loads(raw)
    except ValueError:
        return raw.decode(errors="replace")


def _asked_pause_s(headers: Mapping[str, str]) -> float:
    """The answer's ``Retry-After`` in seconds, within reason; 0 where it has none."""
    asked = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return min(float(asked), MAX_PAUSE_S) if asked.isdecimal() else 0.0
