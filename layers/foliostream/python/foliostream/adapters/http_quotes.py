"""Quotes of any address that answers JSON in the shape of ``POST /api/v1/prices``."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from http.client import HTTPException, HTTPResponse
from typing import Final, NoReturn
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from foliostream.errors import PermanentError, RetryableError, SettingsError

TIMEOUT_SECONDS: Final = 10.0
BYTES_MAX: Final = 4 * 1024 * 1024
_PRICES: Final = ("bid", "ask", "last", "open", "previous_close")
_OK = 200
_TOO_MANY_REQUESTS = 429
_REQUEST_TIMEOUT = 408
_SERVER_ERROR = 500


class HttpQuotes:
    """Implements ``ports.QuoteSource`` with one GET a tick: ``{"updates": [{"symbol": ..., "last": ..., ...}]}``.

    ``url``: https, or plain http on 127.0.0.1; anything else is a ``SettingsError``. ``timeout_seconds`` holds for
    each wait on the connection and for the body as a whole. Redirects are not followed: the address is the
    operator's. Messages name the host, never the whole address (its query may hold a key).
    """

    def __init__(self, url: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        parts = urlsplit(url)
        local = parts.scheme == "http" and parts.hostname == "127.0.0.1"
        if not local and (parts.scheme != "https" or not parts.hostname):
            raise SettingsError("the quote address must start with https:// (or http://127.0.0.1)")
        self._url = url
        self._host = parts.netloc.rpartition("@")[2]
        self._timeout_seconds = timeout_seconds
        self._opener = _opener(local=local)

    def quotes(self, slot: int, now_ms: int) -> list[dict[str, object]]:  # noqa: ARG002 - the provider has its own clock
        """The provider's updates as they came, prices as exact Decimals; what is wrong inside one update is for the
        use case to refuse alone.

        ``RetryableError``: no answer in time, 408, 429 or 5xx. ``PermanentError``: any other status, an answer that
        is too large, not JSON or not of the shape.
        """
        return _updates(self._parse(self._fetch()), self._host)

    def _fetch(self) -> bytes:
        request = Request(self._url, headers={"Accept": "application/json"})  # noqa: S310 - checked at the start
        deadline = time.monotonic() + self._timeout_seconds
        try:
            with self._opener.open(request, timeout=self._timeout_seconds) as response:
                if response.status != _OK:
                    self._refuse(response.status)
                return self._body(response, deadline)
        except HTTPError as answer:
            with answer:
                self._refuse(answer.code)
        except (OSError, HTTPException) as fault:  # also URLError and timeouts
            raise RetryableError(f"quotes from {self._host}: no answer ({_kind(fault)})") from fault

    def _refuse(self, status: int) -> NoReturn:
        message = f"quotes from {self._host}: answered {status}, not {_OK}"
        if status >= _SERVER_ERROR or status in {_REQUEST_TIMEOUT, _TOO_MANY_REQUESTS}:
            raise RetryableError(message)
        raise PermanentError(message)

    def _body(self, response: HTTPResponse, deadline: float) -> bytes:
        body = bytearray()
        while chunk := response.read1(BYTES_MAX + 1 - len(body)):
            body += chunk
            if len(body) > BYTES_MAX:
                raise PermanentError(f"quotes from {self._host}: the answer is larger than {BYTES_MAX} bytes")
            if time.monotonic() > deadline:  # a socket's timeout starts again with every byte
                raise RetryableError(f"quotes from {self._host}: the answer takes over {self._timeout_seconds} s")
        if response.length:  # what the headers promised and did not come
            raise RetryableError(f"quotes from {self._host}: the answer was cut short")
        return bytes(body)

    def _parse(self, body: bytes) -> object:
        try:
            return json.loads(body, parse_float=Decimal, parse_constant=_not_a_number)
        except (ValueError, RecursionError) as fault:
            raise PermanentError(f"quotes from {self._host}: the answer is not JSON ({_kind(fault)})") from fault


def _opener(*, local: bool) -> OpenerDirector:
    """What a GET needs, and nothing that follows redirects: they are refused with their status like other answers."""
    opener = OpenerDirector()
    for handler in (HTTPHandler(), HTTPSHandler(), HTTPErrorProcessor(), HTTPDefaultErrorHandler()):
        opener.add_handler(handler)
    if not local:
        opener.add_handler(ProxyHandler())
    return opener


def _updates(document: object, host: str) -> list[dict[str, object]]:
    updates = document.get("updates") if isinstance(document, dict) else None
    if not isinstance(updates, list) or not all(isinstance(update, dict) for update in updates):
        raise PermanentError(f'quotes from {host}: the answer is not of the shape {{"updates": [{{...}}, ...]}}')
    return [{name: _exact(name, value) for name, value in update.items()} for update in updates]


def _exact(name: str, value: object) -> object:
    """Prices written as whole numbers are Decimals too; a time stays the whole number it is."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return Decimal(value) if is_whole and name in _PRICES else value  # type: ignore[arg-type]  # narrowed by is_whole


def _not_a_number(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is not JSON")


def _kind(fault: BaseException) -> str:
    reason = getattr(fault, "reason", None)
    return type(reason).__name__ if isinstance(reason, BaseException) else type(fault).__name__
