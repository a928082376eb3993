"""A small client of the deployed application: REST and WebSocket, exact decimals both ways."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from decimal import Decimal
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec
from websockets.exceptions import ConnectionClosed, InvalidHandshake, WebSocketException
from websockets.sync.client import ClientConnection, connect

Json = Any

_encoder = msgspec.json.Encoder(decimal_format="number")


def loads(text: str | bytes) -> Json:
    """JSON with every number that has a point as the Decimal it was written as."""
    return json.loads(text, parse_float=Decimal)


class Answer(NamedTuple):
    """An HTTP answer, whatever its status; ``body`` is decoded JSON, None if there was none, text if it is not JSON."""

    status: int
    body: Json
    headers: Mapping[str, str]


class ApiError(RuntimeError):
    """The API refused; ``status`` 0 if nothing answered at all. ``code`` is the contract's, or empty."""

    def __init__(self, request: str, status: int, code: str, message: str) -> None:
        super().__init__(f"{request}: {status or 'no answer'} {code} {message}".replace("  ", " ").strip())
        self.status = status
        self.code = code


class Rest:
    """Calls below one stage's address, as the owner of ``token`` (None: nobody)."""

    def __init__(self, base_url: str, token: str | None = None, timeout_s: float = 30.0) -> None:
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s
        # These are addresses of this machine: a proxy that the user has set does not know them.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def call(
        self, method: str, path: str, body: Json | bytes = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Any request; bytes go out as they are, all else as JSON. Raises ``ApiError`` only if nothing answered."""
        data = body if body is None or isinstance(body, bytes) else _encoder.encode(body)
        sent = {"Content-Type": "application/json"} if data is not None else {}
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(
            self._base_url + path, data=data, headers=sent | dict(headers or {}), method=method
        )
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                return Answer(response.status, _body(response.read()), dict(response.headers))
        except urllib.error.HTTPError as refused:
            with refused:
                return Answer(refused.code, _body(refused.read()), dict(refused.headers))
        except OSError as fault:
            raise ApiError(f"{method} {path}", 0, "", str(fault)) from fault

    def get(self, path: str) -> Json:
        """The body of a 2xx answer; ``ApiError`` otherwise."""
        return self._expect("GET", path, None)

    def post(self, path: str, body: Json) -> Json:
        """The body of a 2xx answer; ``ApiError`` otherwise."""
        return self._expect("POST", path, body)

    def put(self, path: str, body: Json) -> Json:
        """The body of a 2xx answer; ``ApiError`` otherwise."""
        return self._expect("PUT", path, body)

    def _expect(self, method: str, path: str, body: Json) -> Json:
        answer = self.call(method, path, body)
        if 200 <= answer.status < 300:
            return answer.body
        error = answer.body.get("error") if isinstance(answer.body, dict) else None
        if not isinstance(error, dict):
            error = {"message": str(answer.body)[:500]}
        raise ApiError(f"{method} {path}", answer.status, str(error.get("code", "")), str(error.get("message", "")))


class SocketError(ConnectionError):
    """The WebSocket refused the connection or lost it; says which and why."""


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
                proxy=None,
                # The application has a ping of its own, which also proves that a function still answers.
                ping_interval=None,
            )
            self._connection: ClientConnection = self._opened.enter_context(opened)
        except (OSError, InvalidHandshake, WebSocketException) as fault:
            raise SocketError(f"the WebSocket could not be opened: {str(fault) or type(fault).__name__}") from fault

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


def _body(raw: bytes) -> Json:
    if not raw:
        return None
    try:
        return loads(raw)
    except ValueError:
        return raw.decode(errors="replace")
