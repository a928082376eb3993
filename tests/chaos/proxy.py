"""What stands between the functions and AWS: an HTTP server on 127.0.0.1 that hands requests on, but for its faults.

The functions know nothing of it. The launcher starts the emulator with the proxy's address as ``AWS_ENDPOINT_URL``,
which every function it runs inherits and boto3 reads by itself; posts to WebSocket clients follow the template's
parameter ``ExecuteApiBase``. Whoever else calls the emulator (deployments, tests, people) passes it by.

A request that a fault had to change is signed anew by the emulator's root, since the role's secret is the function's.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from types import TracebackType
from typing import Any, NamedTuple, Self

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.services import HOST, free_port
from local.settings import ACCESS_KEY_ID, SECRET_ACCESS_KEY

# Longer than any function waits for an answer.
FORWARD_TIMEOUT_S = 40.0
_TARGETS = {"DynamoDB_20120810": "dynamodb", "AmazonSQS": "sqs", "AWSEvents": "events"}
_OF_THE_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})
# Of a body that is no longer the one it was made for.
_OF_THE_BODY = frozenset({"x-amz-crc32"})


@dataclass(frozen=True)
class Answer:
    """``is_cut``: the connection ends in the middle of it."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    is_cut: bool = False

    def json(self) -> Any:  # noqa: ANN401 (any shape)
        return json.loads(self.body)

    def with_json(self, content: object) -> Answer:
        """The same with another body."""
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_THE_BODY}
        return Answer(self.status, json.dumps(content).encode(), headers)


@dataclass(frozen=True)
class Request:
    """One call; ``operation``: ``dynamodb:PutItem``, ``sqs:SendMessageBatch``, ``events:PutEvents``, ``posts:POST`` (to
    a WebSocket client), ``lambda:POST``, ``other:...``. ``draw``: its own random numbers. ``caller_port``: the caller's
    end of the connection."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    operation: str
    draw: Random
    port: int
    caller_port: int

    def json(self) -> Any:  # noqa: ANN401 (any shape)
        return json.loads(self.body)

    def forward(self, content: object = None) -> Answer:
        """The emulator's answer; to another body if ``content`` is given."""
        if content is None:
            return self._send(self.body, dict(self.headers))
        body = json.dumps(content).encode()
        return self._send(body, self._signed(body))

    def _send(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        connection = HTTPConnection(HOST, self.port, timeout=FORWARD_TIMEOUT_S)
        try:
            connection.request(self.method, self.path, body, {**headers, "Connection": "close"})
            answer = connection.getresponse()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in _OF_THE_CONNECTION}
            return Answer(answer.status, answer.read(), kept)
        finally:
            connection.close()

    def _signed(self, body: bytes) -> dict[str, str]:
        lower = {name.lower(): value for name, value in self.headers.items()}
        _, region, service, _ = lower["authorization"].partition("Credential=")[2].partition(",")[0].split("/")[1:]
        wanted: dict[str, str] = {
            name: lower[name] for name in ("host", "content-type", "x-amz-target") if name in lower
        }
        request = AWSRequest(self.method, f"http://{lower['host']}{self.path}", data=body, headers=wanted)
        SigV4Auth(Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY), service, region).add_auth(request)
        return dict(request.headers.items())


class Passed:
    """What an act leaves to the rules after it, and to AWS."""


# None: no answer, the connection just ends.
Act = Callable[[Request], "Answer | Passed | None"]


class Rule(NamedTuple):
    """``share`` of the requests whose operation begins with ``operations`` (one or several) meet the fault."""

    operations: str | tuple[str, ...]
    share: float
    act: Act


class Proxy:
    """Runs in threads of this process from ``with`` to its end. ``rules``: the first that matches and is drawn counts.

    ``counts``: faults so far by operation and kind, all requests under "".
    """

    def __init__(self, seed: int) -> None:
        self.emulator_port = free_port()
        self.rules: Sequence[Rule] = ()
        self.counts: Counter[tuple[str, str]] = Counter()
        self._seeds = Random(seed)
        self._lock = threading.Lock()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1})

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, caller_port: int
    ) -> Answer | None:
        """What the function gets."""
        operation = _operation(method, path, headers)
        with self._lock:
            draw = Random(self._seeds.random())
            self.counts[operation, ""] += 1
        request = Request(method, path, headers, body, operation, draw, self.emulator_port, caller_port)
        for rule in self.rules:
            if operation.startswith(rule.operations) and draw.random() < rule.share:
                answer = rule.act(request)
                if isinstance(answer, Passed):
                    continue
                with self._lock:
                    self.counts[operation, rule.act.__name__] += 1
                return answer
        return request.forward()

    def injected(self) -> dict[str, int]:
        """How often each kind of fault was met."""
        kinds: Counter[str] = Counter()
        with self._lock:
            for (_, kind), number in self.counts.items():
                kinds[kind] += number
        return {kind: number for kind, number in sorted(kinds.items()) if kind}

    def requests(self) -> int:
        with self._lock:
            return sum(number for (_, kind), number in self.counts.items() if not kind)


def _operation(method: str, path: str, headers: Mapping[str, str]) -> str:
    target = next((value for name, value in headers.items() if name.lower() == "x-amz-target"), "")
    service, _, name = target.rpartition(".")
    if service in _TARGETS:
        return f"{_TARGETS[service]}:{name}"
    if "/@connections/" in path.replace("%40", "@"):
        return f"posts:{method}"
    if path.startswith("/2015-03-31/functions/"):
        return f"lambda:{method}"
    return f"other:{target or path}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        super().__init__((HOST, 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 (the base class's)
        """A function that is killed, or gave up waiting, ends its connection: nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            answer = self.server.proxy.answer(
                self.command, self.path, dict(self.headers.items()), body, self.client_address[1]
            )
        except (OSError, HTTPException):
            answer = None  # the emulator is gone, or did not answer in time
        if answer is None:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body[: len(answer.body) // 2] if answer.is_cut else answer.body)
        self.wfile.flush()
        self.close_connection = self.close_connection or answer.is_cut

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _handle  # noqa: N815 (the base class's names)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's)
        """Quiet: a fault is counted where it is made."""
