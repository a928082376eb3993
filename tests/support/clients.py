"""WebSocket clients, many in one event loop, that keep what they were told and notice what should not be."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from foliostream_client.transport import loads
from tests.support import asyncapi

HANDSHAKE_S = 60


@dataclass
class Client:
    """What a client keeps: the version of each portfolio, how often it was sent each event, and what was wrong.

    ``repeats``: updates that came again, which a crash after a post makes. ``ages_ms``: how old the newest price of
    an update was on arrival. ``checks_states``: states too are held against the document; it costs a crowd its clock.
    """

    number: int
    portfolio_ids: list[str]
    session_id: str = field(default_factory=lambda: uuid4().hex)
    versions: dict[str, int] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    repeats: int = 0
    messages: int = 0
    ages_ms: list[float] = field(default_factory=list)
    last_heard: float = 0.0
    longest_silence_s: float = 0.0
    checks_states: bool = True
    socket: ClientConnection | None = None

    async def run(self, ws_url: str, token: str) -> None:
        """Connect, subscribe or resume, and take what comes until the connection ends."""
        url = f"{ws_url}?session_id={self.session_id}"
        headers = {"Authorization": f"Bearer {token}"}
        async with connect(
            url, additional_headers=headers, ping_interval=None, proxy=None, open_timeout=HANDSHAKE_S
        ) as self.socket:
            beginning = asyncio.create_task(self.ask())
            try:
                async for text in self.socket:
                    self.hear(text)
            except ConnectionClosed:
                return
            finally:
                beginning.cancel()

    async def ask(self) -> None:
        """The first messages of a connection: on from the versions it has, or from the start."""
        known = dict(self.versions)
        with suppress(ConnectionClosed):
            for name, version in known.items():
                await self.say(action="resume", portfolio_id=name, last_version=version)
            if not known:
                await self.say(action="subscribe", portfolio_ids=self.portfolio_ids)

    def hear(self, text: str | bytes) -> None:
        self.take(loads(text))

    async def say(self, **message: object) -> None:
        assert self.socket is not None
        await self.socket.send(json.dumps(message))

    def begin(self) -> None:
        """Messages, silences and ages count from here."""
        self.messages, self.longest_silence_s, self.last_heard = 0, 0.0, time.monotonic()
        self.ages_ms.clear()

    def silence_s(self) -> float:
        """The longest one since ``begin``, the one that goes on included."""
        return max(self.longest_silence_s, time.monotonic() - self.last_heard)

    def take(self, message: dict[str, Any]) -> None:
        self.messages += 1
        self.longest_silence_s = self.silence_s()
        self.last_heard = time.monotonic()
        if self.checks_states or message["type"] not in {"portfolio_update", "snapshot"}:
            self.faults += asyncapi.faults("tell", message)
        if message["type"] == "snapshot":
            self.moves(message["portfolio_id"], message["version"], None)
        for update in message.get("updates", ()):
            self.moves(update["portfolio_id"], update["version"], update["previous_version"])
            if as_of := update["data"].get("as_of"):
                self.ages_ms.append((time.time() - datetime.fromisoformat(as_of).timestamp()) * 1000)
        if "event_id" in message:
            self.events[message["event_id"]] += 1
        if message["type"] == "error":
            self.faults.append(str(message))

    def moves(self, portfolio_id: str, version: int, previous: int | None) -> None:
        """Up, and an update from what is there."""
        before = self.versions.get(portfolio_id, 0)
        if previous is not None and version > before and previous != before:
            self.faults.append(f"{portfolio_id}: {previous} -> {version} does not follow {before}")
        if version < before and previous is not None:
            self.faults.append(f"{portfolio_id}: {version} after {before}")
        self.repeats += previous is not None and version == before
        self.versions[portfolio_id] = max(version, before)
