"""Analyze a ticker of a portfolio over the WebSocket, switch to another one in the middle, print what arrives.

    python examples/analyze.py --rest http://127.0.0.1:4566/... --token "$TOKEN" --portfolio demo --tickers AAPL MSFT

Needs the package websockets. Comes back by itself when the connection is lost, with the same session.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import urllib.request
import uuid
from contextlib import suppress
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

PAUSE_SECONDS_MAX = 60
# What is not answered by then was lost; after so many times it is the connection that is no good.
ASK_AGAIN_SECONDS, ASKED_MAX = 40, 3


def arguments() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rest", required=True, help="address of the REST API, without /api/v1")
    parser.add_argument("--token", required=True, help="a token of the issuer")
    parser.add_argument("--portfolio", required=True, help="portfolio_id")
    parser.add_argument("--tickers", nargs="+", default=["AAPL", "MSFT"], help="analyzed one after the other")
    return parser.parse_args()


def socket_url(options: argparse.Namespace, session_id: str) -> str:
    """With a new ticket: each opens one connection. (A program could send its token in a header instead.)"""
    request = urllib.request.Request(
        f"{options.rest.rstrip('/')}/api/v1/ws-ticket",
        method="POST",
        data=b"{}",
        headers={"Authorization": f"Bearer {options.token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        url: str = json.load(answer)["url"]
    return f"{url}&session_id={session_id}"


class Client:
    """What is remembered between connections: the session, what was analyzed, the events that were seen. ``since`` is
    the version it goes on from, until `resumed` answers; 0 where it waits for no answer."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.session_id = uuid.uuid4().hex
        self.waiting = list(options.tickers)
        self.version = 0
        self.since = 0
        self.asked_times, self.asked_at = 0, 0.0
        self.events: dict[str, None] = {}

    def say(self, socket: ClientConnection, action: str, **content: object) -> None:
        """Send and print a message."""
        text = json.dumps({"action": action, **content})
        print(f"> {text}")
        socket.send(text)

    def begin(self, socket: ClientConnection) -> None:
        """The first messages of a connection: from the start, or on from the version that is there."""
        if self.version:
            self.since = self.since or self.version
            self.asked_times = 0
            self.resume(socket)
        else:
            self.say(socket, "subscribe", portfolio_ids=[self.options.portfolio])
            self.analyze_next(socket)

    def resume(self, socket: ClientConnection) -> None:
        """Go on from what was there when the connection was lost."""
        self.asked_times, self.asked_at = self.asked_times + 1, time.monotonic()
        self.say(socket, "resume", portfolio_id=self.options.portfolio, last_version=self.since)

    def check(self, socket: ClientConnection) -> None:
        """Ask again what must have been lost, and give the connection up after the third time."""
        if not self.since or time.monotonic() - self.asked_at < ASK_AGAIN_SECONDS:
            return
        if self.asked_times < ASKED_MAX:
            self.resume(socket)
        else:
            socket.close()

    def analyze_next(self, socket: ClientConnection) -> None:
        """The next ticker: whatever still runs gives way to it."""
        if self.waiting:
            self.say(socket, "analyze", ticker=self.waiting.pop(0), portfolio_id=self.options.portfolio)

    def take(self, socket: ClientConnection, message: dict[str, Any]) -> bool:
        """Print a message and do what it asks for; False once the last analysis is through."""
        if "event_id" in message and message["event_id"] in self.events:
            return True  # an event may come again
        if "event_id" in message:
            self.events[message["event_id"]] = None
        print(f"< {json.dumps(message)}")
        kind = message["type"]
        if kind == "snapshot":
            self.version = message["version"]
        elif kind == "portfolio_update":
            self.version = max(self.version, *(update["version"] for update in message["updates"]))
        elif kind == "resumed":
            self.since = 0
        elif kind == "analysis_result" and self.waiting:
            self.analyze_next(socket)  # in the middle of the one before
        # The one before may be through just as it is told to give way.
        is_last = not self.waiting and message.get("ticker", self.options.tickers[-1]) == self.options.tickers[-1]
        return not (kind in {"analysis_completed", "analysis_failed", "error"} and is_last)


def main() -> int:
    """Until the last analysis is through; 1 if the server cannot be reached for long."""
    client, pause_seconds = Client(arguments()), 1
    while pause_seconds <= PAUSE_SECONDS_MAX:
        try:
            with connect(socket_url(client.options, client.session_id), proxy=None) as socket:
                client.begin(socket)
                pause_seconds = 1
                while True:
                    client.check(socket)
                    with suppress(TimeoutError):
                        if not client.take(socket, json.loads(socket.recv(timeout=1))):
                            return 0
        except (OSError, WebSocketException) as fault:
            print(f"lost: {fault}", file=sys.stderr)
        # A random part of a growing pause: others were cut off at the same moment.
        time.sleep(random.uniform(0, pause_seconds))
        pause_seconds *= 2
    return 1


if __name__ == "__main__":
    sys.exit(main())
