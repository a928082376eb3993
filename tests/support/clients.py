"""WebSocket clients, many in one event loop, that keep what they were told and notice what should not be."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from foliostream_client.transport import loads
from tests.support import asyncapi


@dataclass
class Client:
    """What a client keeps: the version of each portfolio, the ids of events it has seen, and what was wrong."""

    number: int
    portfolio_ids: list[str]
    session_id: str = field(default_factory=lambda: uuid4().hex)
    versions: dict[str, int] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    messages: int = 0
    socket: ClientConnection | None = None

    async def run(self, ws_url: str, token: str) -> None:
        """Connect, subscribe or resume, and take what comes until the connection ends."""
        url = f"{ws_url}?session_id={self.session_id}"
        headers = {"Authorization": f"Bearer {token}"}
        async with connect(
            url, additional_headers=headers, ping_interval=None, proxy=None, open_timeout=60
        ) as self.socket:
            beginning = asyncio.create_task(self.begin())
            try:
                async for text in self.socket:
                    self.hear(text)
            except ConnectionClosed:
                return
            finally:
                beginning.cancel()

    async def begin(self) -> None:
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

    def take(self, message: dict[str, Any]) -> None:
        self.messages += 1
        self.faults += asyncapi.faults("tell", message)
        if message["type"] == "snapshot":
            self.moves(message["portfolio_id"], message["version"], None)
        for update in message.get("updates", ()):
            self.moves(update["portfolio_id"], update["version"], update["previous_version"])
        if "event_id" in message and message["event_id"] not in self.events:
            self.events.append(message["event_id"])
        if message["type"] == "error":
            self.faults.append(str(message))

    def moves(self, portfolio_id: str, version: int, previous: int | None) -> None:
        before = self.versions.get(portfolio_id, 0)
        if previous is not None and version > before and previous != before:
            self.faults.append(f"{portfolio_id}: {previous} -> {version} does not follow {before}")
        if version < before and previous is not None:
            self.faults.append(f"{portfolio_id}: {version} after {before}")
        self.versions[portfolio_id] = max(version, before)
