"""Quotes of an HTTP address: what is taken, and what each failure says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from foliostream.adapters import http_quotes
from foliostream.adapters.http_quotes import HttpQuotes
from foliostream.errors import PermanentError, RetryableError, SettingsError
from local.services import HOST, free_port

NOW_MS = 1_767_225_600_000


class Provider:
    """Answers every GET with a status and a body, ``pieces`` of it with a pause before each."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b'{"updates": []}'
        self.headers: dict[str, str] = {}
        self.pause_s = 0.0
        self.pieces = 1
        self.asked: list[str] = []


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def url(provider: Provider) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            provider.asked.append(self.path)
            with suppress(ConnectionError):
                self.send_response(provider.status)
                for name, value in ({"Content-Length": str(len(provider.body))} | provider.headers).items():
                    self.send_header(name, value)
                self.end_headers()
                size = -(-len(provider.body) // provider.pieces) or 1
                for start in range(0, len(provider.body), size):
                    time.sleep(provider.pause_s)
                    self.wfile.write(provider.body[start : start + size])
                    self.wfile.flush()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield f"http://{HOST}:{server.server_address[1]}/quotes?key=secret"
        server.shutdown()


def ask(url: str, timeout_seconds: float = 5) -> list[dict[str, object]]:
    return HttpQuotes(url, timeout_seconds).quotes(0, NOW_MS)


def test_updates_come_as_they_were_sent_with_exact_prices(provider: Provider, url: str) -> None:
    provider.body = (
        b'{"updates": [{"symbol": "AAPL", "last": 0.1000000000000000055511151231257827, "bid": 100, "ask": "100.10",'
        b' "ts": 1767225600000, "seq": 7, "open": null}, {"symbol": "MSFT", "last": 1E+2}], "other": 1}'
    )
    first, second = ask(url)
    assert first == {
        "symbol": "AAPL", "last": Decimal("0.1000000000000000055511151231257827"), "bid": Decimal(100), "ask": "100.10",
        "ts": 1_767_225_600_000, "seq": 7, "open": None,
    }  # fmt: skip
    assert [type(first[name]) for name in ("last", "bid", "ts", "seq")] == [Decimal, Decimal, int, int]
    assert second["last"] == Decimal(100)
    assert provider.asked == ["/quotes?key=secret"]


def test_a_provider_with_nothing_to_say_is_fine(url: str) -> None:
    assert ask(url) == []


def test_an_address_found_in_a_proxy_setting_is_not_asked_for_this_machine(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://{HOST}:{free_port()}")
    assert ask(url) == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_provider_that_fails_may_be_asked_again(provider: Provider, url: str, status: int) -> None:
    provider.status = status
    with pytest.raises(RetryableError, match=rf"^quotes from 127\.0\.0\.1:\d+: answered {status}, not 200$"):
        ask(url)


@pytest.mark.parametrize("status", [201, 204, 301, 302, 400, 401, 403, 404])
def test_any_other_status_is_for_an_operator(provider: Provider, url: str, status: int) -> None:
    provider.status = status
    provider.body = b""
    provider.headers = {"Location": url}
    with pytest.raises(PermanentError, match=f"answered {status}, not 200"):
        ask(url)
    assert len(provider.asked) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b'{"updates": [{"last": NaN}]}', b"\xff\xfe", b"[" * 100_000,
                                  b'{"updates": [{"last": -Infinity}]}', b"9" * 5_000])  # fmt: skip
def test_what_is_not_json_is_said_to_be_so(provider: Provider, url: str, body: bytes) -> None:
    provider.body = body
    with pytest.raises(PermanentError, match="the answer is not JSON"):
        ask(url)


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b"{}", b'{"updates": {}}', b'{"updates": null}',
                                  b'{"updates": [1]}', b'{"updates": [{}, []]}'])  # fmt: skip
def test_what_has_another_shape_is_said_to_have_it(provider: Provider, url: str, body: bytes) -> None:
    provider.body = body
    with pytest.raises(PermanentError, match="not of the shape"):
        ask(url)


def test_an_answer_that_is_too_large_is_not_read_to_its_end(
    provider: Provider, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_quotes, "BYTES_MAX", 1_000)
    provider.body = b" " * 1_001
    with pytest.raises(PermanentError, match="larger than 1000 bytes"):
        ask(url)


def test_a_provider_that_hangs_is_given_up(provider: Provider, url: str) -> None:
    provider.pause_s = 1
    with pytest.raises(RetryableError, match="no answer"):
        ask(url, 0.2)


def test_a_provider_that_trickles_is_given_up(provider: Provider, url: str) -> None:
    provider.pause_s, provider.pieces, provider.body = 0.05, 100, b" " * 1_000
    started = time.monotonic()
    with pytest.raises(RetryableError, match=r"takes over 0\.3 s"):
        ask(url, 0.3)
    assert time.monotonic() - started < 2


def test_an_answer_cut_short_may_be_asked_for_again(provider: Provider, url: str) -> None:
    provider.headers = {"Content-Length": "1000"}
    with pytest.raises(RetryableError, match="cut short"):
        ask(url)


def test_nobody_listening_may_be_asked_again_and_the_message_keeps_the_key() -> None:
    with pytest.raises(RetryableError, match="no answer") as refused:
        ask(f"http://{HOST}:{free_port()}/quotes?key=secret")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("bad", ["http://example.com/q", "http://127.0.0.1.example.com/q", "file:///etc/passwd", "ftp://x/",
                                 "https://", "quotes", "", "HTTP://localhost/"])  # fmt: skip
def test_only_https_or_this_machine_may_be_asked(bad: str) -> None:
    with pytest.raises(SettingsError):
        HttpQuotes(bad, 1)
