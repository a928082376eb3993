"""WebSocket clients in a thread of their own: some that stay, one that keeps going away, one that stops reading."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import WebSocketException

from foliostream_client.transport import loads
from tests.e2e.conftest import Cloud
from tests.support.clients import Client

ASK_AGAIN_S = 3.0
END_S = 30.0
# What a client may say in a second, with room to spare.
SPACING_S = 0.12


@dataclass
class Watcher(Client):
    """Comes back whenever its connection is lost, and asks again what was not acknowledged, as a client would."""

    values: dict[str, Decimal | None] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    refusals: int = 0
    connections: int = 0
    acknowledged: set[str] = field(default_factory=set)
    ended: bool = False

    async def stay(self, ws_url: str, token: str) -> None:
        while not self.ended:
            self.acknowledged.clear()
            self.connections += 1
            with suppress(OSError, WebSocketException, TimeoutError):
                await self.run(ws_url, token)
            await asyncio.sleep(0.5)

    async def ask(self) -> None:
        """Ask for what it watches until all of it is acknowledged, on from the versions it has."""
        asked = self.socket
        while self.socket is asked and not self.ended:
            for name in self.portfolio_ids:
                if name in self.acknowledged:
                    continue
                with suppress(WebSocketException):
                    if name in self.versions:
                        await self.say(action="resume", portfolio_id=name, last_version=self.versions[name])
                    else:
                        await self.say(action="subscribe", portfolio_ids=[name])
                await asyncio.sleep(SPACING_S)
            await asyncio.sleep(ASK_AGAIN_S)

    def hear(self, text: str | bytes) -> None:
        try:
            message = loads(text)
        except ValueError:
            self.refusals += 1  # no JSON: the emulator's own words
        else:
            self.take(message)

    def take(self, message: dict[str, Any]) -> None:
        if "type" not in message or (message["type"] == "error" and message.get("retryable")):
            self.refusals += 1  # the gateway's own words when the function failed, or ours: to be asked again
            return
        super().take(message)
        if message["type"] in {"subscribed", "resumed"}:
            self.acknowledged.update(message["portfolio_ids"])
        if message["type"] == "snapshot":
            self._shows(message["portfolio_id"], message["data"])
        for update in message.get("updates", ()):
            self._shows(update["portfolio_id"], update["data"])
        if "event_id" in message:
            self._told(message)

    def _shows(self, portfolio_id: str, data: dict[str, Any]) -> None:
        if "total_value" in data:
            value = data["total_value"]
            self.values[portfolio_id] = None if value is None else Decimal(value)

    def _told(self, message: dict[str, Any]) -> None:
        same = str({name: value for name, value in message.items() if name != "timestamp"})
        before = self.contents.setdefault(message["event_id"], same)
        if before != same:
            self.faults.append(f"{message['event_id']} came again with other figures: {before} and {same}")


class Crowd:
    """The clients of one owner. ``healthy`` are held to everything; the others are there to be a burden."""

    def __init__(self, cloud: Cloud, token: str, portfolio_ids: list[str], *, healthy: int) -> None:
        self.healthy = [Watcher(number, portfolio_ids) for number in range(healthy)]
        self.leaving, self.stuck = Watcher(healthy, portfolio_ids), Watcher(healthy + 1, portfolio_ids)
        self._ws_url, self._token = cloud.outputs.ws_url, token
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="crowd")
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        for client in self._everybody:
            self._loop.call_soon_threadsafe(self._begin, client)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(END_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def _everybody(self) -> list[Watcher]:
        return [*self.healthy, self.leaving, self.stuck]

    def _begin(self, client: Watcher) -> None:
        self._tasks[client.number] = self._loop.create_task(client.stay(self._ws_url, self._token))

    async def _end(self) -> None:
        for client in self._everybody:
            client.ended = True
            _abort(client)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def broken(self) -> list[str]:
        """Clients whose own program failed."""
        return [
            f"client {number} failed: {task.exception()!r}"
            for number, task in self._tasks.items()
            if task.done() and not task.cancelled() and task.exception()
        ]

    def cut(self, client: Watcher) -> None:
        """Without a word: nobody is told."""
        self._loop.call_soon_threadsafe(_abort, client)

    def stop_reading(self, client: Watcher) -> None:
        """From now on nothing of what is sent to it is taken."""
        self._loop.call_soon_threadsafe(_pause, client)

    def arrived(self, patience_s: float) -> bool:
        """Whether all have a snapshot of everything."""
        stop = time.monotonic() + patience_s
        while any(len(client.versions) < len(client.portfolio_ids) for client in self._everybody):
            if time.monotonic() > stop:
                return False
            time.sleep(0.1)
        return True


def _abort(client: Watcher) -> None:
    if client.socket is not None:
        client.socket.transport.abort()


def _pause(client: Watcher) -> None:
    if client.socket is not None:
        client.socket.transport.pause_reading()
