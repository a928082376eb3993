"""What the page is measured with: a REST API and a WebSocket that tell of one portfolio as fast as they are asked."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server as SocketServer
from websockets.sync.server import ServerConnection, serve

from local import page_server
from local.services import HOST

PORTFOLIO = "measured"
SYMBOLS = [f"STOCK{number:02d}" for number in range(20)]


@dataclass
class Feed:
    """Sends ``per_second`` updates of every figure and all 20 positions; the total is the number of the update."""

    per_second: int
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def talk(self, connection: ServerConnection) -> None:
        """Until the page goes."""
        try:
            while json.loads(connection.recv())["action"] != "subscribe":
                pass
            self._tell(connection)
        except ConnectionClosed:
            return

    def _tell(self, connection: ServerConnection) -> None:
        connection.send(json.dumps(_message("snapshot", version=0, portfolio_id=PORTFOLIO, data=_state(0))))
        due = time.monotonic()
        while self.per_second:
            due += 1 / self.per_second
            time.sleep(max(due - time.monotonic(), 0))
            self.sent += 1
            changed = {name: value for name, value in _state(self.sent).items() if name in _MOVING}
            update = {"portfolio_id": PORTFOLIO, "version": self.sent, "previous_version": self.sent - 1}
            connection.send(json.dumps(_message("portfolio_update", updates=[update | {"data": changed}])))
        connection.recv()


class Api(BaseHTTPRequestHandler):
    """The two calls that the page makes."""

    def __init__(self, *args: Any, ws_url: str) -> None:  # noqa: ANN401 (the base class's own)
        self._ws_url = ws_url
        super().__init__(*args)

    def do_GET(self) -> None:
        """The list."""
        one = {"portfolio_id": PORTFOLIO, "portfolio_name": "Measured", "account_type": "live", "account_kind": "cash"}
        self._answer({"portfolios": [one | {"base_currency": "USD", "status": "ACTIVE"}], "cursor": None})

    def do_POST(self) -> None:
        """A ticket."""
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self._answer({"ticket": "measured", "expires_in": 30, "url": f"{self._ws_url}?ticket=measured"})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
        """Nothing."""

    def _answer(self, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def served(folder: Path, feed: Feed) -> Iterator[str]:
    """The address of the built page, above the feed, while inside."""
    with serve(feed.talk, HOST, 0) as sockets:
        ws_url = f"ws://{HOST}:{_port(sockets)}"
        api = ThreadingHTTPServer((HOST, 0), partial(Api, ws_url=ws_url))
        handler = partial(
            page_server.Handler,
            rest_url=f"http://{HOST}:{api.server_port}",
            ws_url=ws_url,
            entry=folder / "none",
            directory=str(folder),
        )
        pages = page_server.Server((HOST, 0), handler)
        threads = [threading.Thread(target=server.serve_forever, daemon=True) for server in (sockets, api, pages)]
        for thread in threads:
            thread.start()
        try:
            yield f"http://{HOST}:{pages.server_port}/#token=measured"
        finally:
            for server in (pages, api, sockets):
                server.shutdown()
            for server in (pages, api):
                server.server_close()
            for thread in threads:
                thread.join(5)


def _port(server: SocketServer) -> int:
    port: int = server.socket.getsockname()[1]
    return port


def _message(kind: str, **content: object) -> dict[str, object]:
    return {"type": kind, "timestamp": "2026-02-26T10:30:00Z", **content}


_MOVING = ("total_value", "positions", "daily_change", "daily_change_percent", "daily_pnl", "unrealized_pnl", "as_of")


def _state(number: int) -> dict[str, Any]:
    """Everything moves with the number."""
    return {
        "portfolio_id": PORTFOLIO,
        "portfolio_name": "Measured",
        "account_type": "live",
        "account_kind": "cash",
        "base_currency": "USD",
        "status": "ACTIVE",
        "total_value": number,
        "cash_balance": 1000,
        "positions": [_position(symbol, number + place) for place, symbol in enumerate(SYMBOLS)],
        "weights": dict.fromkeys(SYMBOLS, 0.05),
        "last_updated": "2026-02-26T10:30:00Z",
        "as_of": "2026-02-26T10:30:00Z",
        "calc_status": "ok",
        "unpriced": [],
        "stale": [],
        "realized_pnl": 0,
        "unrealized_pnl": number,
        "daily_change": number % 50 - 25,
        "daily_change_percent": 0.5,
        "daily_pnl": number % 40 - 20,
        "margin": None,
        "unreconciled_since": None,
    }


def _position(symbol: str, number: int) -> dict[str, Any]:
    return {
        "instrument_id": symbol,
        "position_type": "LONG",
        "quantity": 100,
        "average_price": 95,
        "mark": 100 + number % 10,
        "market_value": (100 + number % 10) * 100,
        "weight": 0.05,
        "unrealized_pnl": number % 30 * 100,
        "daily_pnl": number % 20 - 10,
        "currency": "USD",
        "price_ts": "2026-02-26T10:30:00Z",
    }
