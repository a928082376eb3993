"""Posts to WebSocket clients: the answers of API Gateway as boto3 reads them, over real HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config

from foliostream.adapters.websocket_gateway import WebSocketGateway
from foliostream.errors import PermanentError, RetryableError
from local.services import HOST, free_port
from tests.fakes.gateway import FakeGateway
from tests.support.ministack import Emulator

if TYPE_CHECKING:
    from mypy_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient


def client_of(endpoint: str) -> ApiGatewayManagementApiClient:
    return boto3.session.Session(
        aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-west-1"
    ).client(
        "apigatewaymanagementapi",
        endpoint_url=endpoint,
        config=Config(connect_timeout=1, read_timeout=1, retries={"total_max_attempts": 1}, proxies={}),
    )


class Api:
    """Answers every post with one status and error type; None never answers."""

    def __init__(self) -> None:
        self.answer: tuple[int, str] | None = (200, "")
        self.posted: list[tuple[str, bytes]] = []
        self.released = threading.Event()


@contextmanager
def serving(api: Api) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            api.posted.append((self.path, body))
            if api.answer is None:
                api.released.wait(10)
                return
            status, kind = api.answer
            self.send_response(status)
            if kind:
                self.send_header("x-amzn-ErrorType", kind)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield f"http://{HOST}:{server.server_address[1]}/live"
        api.released.set()
        server.shutdown()


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def gateway(api: Api) -> Iterator[WebSocketGateway]:
    with serving(api) as endpoint:
        yield WebSocketGateway(client_of(endpoint))


def test_a_payload_is_posted_byte_by_byte_to_its_connection(api: Api, gateway: WebSocketGateway) -> None:
    assert gateway.post("aBc=", '{"value":75125.00,"ü":1}'.encode()) is True
    assert api.posted == [("/live/@connections/aBc%3D", '{"value":75125.00,"ü":1}'.encode())]


def test_the_emulator_calls_an_unknown_connection_gone(ministack: Emulator) -> None:
    gateway = WebSocketGateway(client_of(f"{ministack.endpoint}/_aws/execute-api/api/live"))
    assert gateway.post("unknown=", b"{}") is False


@pytest.mark.parametrize("kind", ["GoneException", ""])
def test_a_gone_connection_is_an_answer_and_no_error(api: Api, gateway: WebSocketGateway, kind: str) -> None:
    api.answer = (410, kind)
    assert gateway.post("aBc=", b"{}") is False


@pytest.mark.parametrize(
    "answer",
    [
        (429, "LimitExceededException"),
        (429, ""),
        (400, "ThrottlingException"),
        (500, ""),
        (503, "Unavailable"),
        (504, ""),
    ],
)
def test_what_may_work_later_is_an_error_that_may_be_retried(
    api: Api, gateway: WebSocketGateway, answer: tuple[int, str]
) -> None:
    api.answer = answer
    with pytest.raises(RetryableError, match="PostToConnection aBc="):
        gateway.post("aBc=", b"{}")


@pytest.mark.parametrize(
    "answer", [(413, "PayloadTooLargeException"), (403, "ForbiddenException"), (400, "BadRequest")]
)
def test_what_no_retry_can_mend_is_permanent(api: Api, gateway: WebSocketGateway, answer: tuple[int, str]) -> None:
    api.answer = answer
    with pytest.raises(PermanentError, match=r"2 bytes"):
        gateway.post("aBc=", b"{}")


def test_no_answer_in_time_may_be_retried(api: Api, gateway: WebSocketGateway) -> None:
    api.answer = None
    with pytest.raises(RetryableError):
        gateway.post("aBc=", b"{}")


def test_nobody_listening_may_be_retried() -> None:
    with pytest.raises(RetryableError):
        WebSocketGateway(client_of(f"http://{HOST}:{free_port()}/live")).post("aBc=", b"{}")


def test_the_fake_answers_in_the_same_three_ways() -> None:
    fake = FakeGateway()
    fake.gone.add("gone")
    fake.failing.add("failing")
    assert fake.post("c1", b"1") is True
    assert fake.post("gone", b"2") is False
    with pytest.raises(RetryableError):
        fake.post("failing", b"3")
    assert fake.to("c1") == [b"1"]
    assert fake.to("gone") == []
