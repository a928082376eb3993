"""The page's server: its files, its policy, and the API behind it. Does not find: what a browser makes of them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from local.page_server import MAX_BODY_BYTES, Handler, Server, security_headers

WS_URL = "ws://127.0.0.1:9/socket/live"


class Api(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        names = ("Authorization", "Idempotency-Key", "Cookie")
        seen = {"path": self.path, "body": body, "headers": {name: self.headers.get(name) for name in names}}
        content = json.dumps(seen).encode()
        self.send_response(202)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


@dataclass
class Page:
    port: int

    def call(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()


def handler_of(rest_url: str, folder: Path) -> partial[Handler]:
    entry = folder.parent / f"{folder.name}.entry"
    entry.write_text(json.dumps({"word": "c0ffee", "token": "a.b.c"}))
    return partial(Handler, rest_url=rest_url, ws_url=WS_URL, entry=entry, directory=str(folder))


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    (tmp_path / "index.html").write_text("<p>the page</p>")
    (tmp_path / "assets").mkdir()
    api = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    handler = handler_of(f"http://127.0.0.1:{api.server_port}/a/live", tmp_path)
    served = Server(("127.0.0.1", 0), handler)
    threads = [Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}) for server in (api, served)]
    for thread in threads:
        thread.start()
    yield Page(served.server_port)
    for server in (served, api):
        server.shutdown()
        server.server_close()
    for thread in threads:
        thread.join()


def test_the_page_comes_with_a_policy_that_lets_it_talk_to_its_own_cloud_only(page: Page) -> None:
    answer = page.call("GET", "/")
    assert (answer.status, answer.body) == (200, b"<p>the page</p>")
    for name, value in security_headers(WS_URL).items():
        assert answer.headers[name] == value
    assert "connect-src 'self' ws://127.0.0.1:9;" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]


def test_api_calls_are_passed_on_with_their_token_and_without_anything_else(page: Page) -> None:
    headers = {"Authorization": "Bearer x", "Idempotency-Key": "k", "Cookie": "secret"}
    answer = page.call("POST", "/api/v1/prices?a=b", b'{"a": 1}', headers)
    seen = json.loads(answer.body)
    assert answer.status == 202
    assert seen["path"] == "/a/live/api/v1/prices?a=b"
    assert seen["body"] == '{"a": 1}'
    assert seen["headers"] == {"Authorization": "Bearer x", "Idempotency-Key": "k", "Cookie": None}
    assert answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/assets/", 404),
        ("POST", "/", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/in/", 404),
        ("GET", "/in/c0ffe", 404),
        ("GET", "/in/c0ffee0", 404),
    ],
)
def test_there_is_nothing_else(page: Page, method: str, path: str, status: int) -> None:
    assert page.call(method, path).status == status


def test_a_body_beyond_the_apis_limit_is_refused_unread(page: Page) -> None:
    headers = {"Content-Length": str(MAX_BODY_BYTES + 1)}
    assert page.call("POST", "/api/v1/prices", None, headers).status == 413


def test_an_api_that_does_not_answer_is_a_502(tmp_path: Path) -> None:
    with Server(("127.0.0.1", 0), handler_of("http://127.0.0.1:9/a", tmp_path)) as served:
        thread = Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        assert Page(served.server_port).call("GET", "/api/v1/portfolios").status == 502
        served.shutdown()
        thread.join()


def test_the_short_address_leads_to_the_page_with_the_token_where_no_server_sees_it(page: Page) -> None:
    answer = page.call("GET", "/in/c0ffee")
    assert (answer.status, answer.headers["Location"], answer.body) == (302, "/#token=a.b.c", b"")
    assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_the_page_is_told_where_the_websocket_is(page: Page) -> None:
    answer = page.call("GET", "/config.json")
    assert json.loads(answer.body) == {"ws_url": WS_URL}
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(("method", "path"), [("GET", "/in/c0ffee"), ("GET", "/"), ("POST", "/api/v1/prices")])
def test_a_foreign_name_that_leads_to_this_machine_gets_nothing(page: Page, method: str, path: str) -> None:
    assert page.call(method, path, headers={"Host": f"evil.example:{page.port}"}).status == 421
