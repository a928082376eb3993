"""Servers on 127.0.0.1 that answer as the test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from websockets.sync.server import ServerConnection, serve

WAIT_S = 10.0


class Request(NamedTuple):
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


class Reply(NamedTuple):
    status: int
    body: object
    headers: Mapping[str, str] = {}


class Http(NamedTuple):
    """Where it answers, and what was asked so far."""

    url: str
    requests: Sequence[Request]


@contextmanager
def http(reply: Callable[[Request], Reply]) -> Iterator[Http]:
    asked: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, dict(self.headers), json.loads(raw) if raw else None)
            asked.append(request)
            answer = reply(request)
            body = answer.body.encode() if isinstance(answer.body, str) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 (the names are the base's)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is the base's)
            """Nothing: tests look at what was asked."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield Http(f"http://127.0.0.1:{server.server_port}", asked)
        finally:
            server.shutdown()
            thread.join(WAIT_S)


@contextmanager
def websocket(handle: Callable[[ServerConnection], None]) -> Iterator[str]:
    with serve(handle, "127.0.0.1", 0) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{running.socket.getsockname()[1]}"
        finally:
            running.shutdown()
            thread.join(WAIT_S)


def said(connection: ServerConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(connection.recv(timeout=WAIT_S))
    return message


def say(connection: ServerConnection, **message: object) -> None:
    connection.send(json.dumps({"timestamp": "2026-02-26T10:30:00Z"} | message))
