"""WebSocket clients in a thread of their own: some that stay, one that keeps going away, one that stops reading, and a
stranger, who asks for what is not hers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

from foliostream_client.transport import loads
from tests.e2e.conftest import Cloud
from tests.support.clients import Client

# What is not answered by then was lost: until a message of a function that died is seen again, 35 seconds pass.
ASK_AGAIN_S = 40.0
LOOK_AGAIN_S = 2.0
END_S = 30.0
# What a client may say in a second, with room to spare.
SPACING_S = 0.12
PING_AFTER_S, GIVEN_UP_AFTER_S = 15.0, 60.0
# What JSON has no word for.
_NO_NUMBERS = ("NaN", "Infinity")


@dataclass
class Watcher(Client):
    """Does what `docs/websocket` asks of a client: comes back whenever its connection is lost or nothing is heard of it
    (``silences``), goes on from what it had when it was (``since``), asks again what was not acknowledged, and goes on
    from what it has where an update does not follow that. ``is_stuck``: it does not even notice that it hears nothing.
    ``refusals``: by their codes."""

    values: dict[str, Decimal | None] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)
    since: dict[str, int] = field(default_factory=dict)
    asked_at: dict[str, float] = field(default_factory=dict)
    connections: int = 0
    silences: int = 0
    pinged_at: float = 0.0
    told_at: float = 0.0
    is_stuck: bool = False
    acknowledged: set[str] = field(default_factory=set)
    runs: dict[str, int] = field(default_factory=dict)
    completed: set[str] = field(default_factory=set)
    ended: bool = False

    async def stay(self, ws_url: str, token: str) -> None:
        while not self.ended:
            self.acknowledged.clear()
            self.asked_at.clear()
            self.since = self.versions | self.since
            self.connections += 1
            self.last_heard = time.monotonic()
            with suppress(OSError, WebSocketException, TimeoutError):
                await self.run(ws_url, token)
            await asyncio.sleep(0.5)

    async def ask(self) -> None:
        """Ask for what it watches until all of it is acknowledged, on from the versions it has."""
        asked = self.socket
        while self.socket is asked and not self.ended:
            for name in self.portfolio_ids:
                # As long as events come, what was asked for is on its way.
                asked_at = max(self.told_at, self.asked_at[name]) if name in self.asked_at else -ASK_AGAIN_S
                if name in self.acknowledged or time.monotonic() < asked_at + ASK_AGAIN_S:
                    continue
                self.asked_at[name] = time.monotonic()
                with suppress(WebSocketException):
                    if last_version := self.since.get(name, self.versions.get(name)):
                        await self.say(action="resume", portfolio_id=name, last_version=last_version)
                    else:
                        await self.say(action="subscribe", portfolio_ids=[name])
                await asyncio.sleep(SPACING_S)
            await asyncio.sleep(LOOK_AGAIN_S)
            await self._check_silence(asked)

    async def _check_silence(self, asked: ClientConnection | None) -> None:
        now = time.monotonic()
        if self.socket is not asked or self.is_stuck:
            return
        if now - self.last_heard > GIVEN_UP_AFTER_S:
            self.silences += 1
            _abort(self)
        elif now - max(self.last_heard, self.pinged_at) > PING_AFTER_S:
            self.pinged_at = now
            with suppress(WebSocketException):
                await self.say(action="ping")

    def hear(self, text: str | bytes) -> None:
        try:
            message = loads(text)
            self.faults += [f"{name} in {text!r}" for name in _NO_NUMBERS if name in str(text)]
        except ValueError:
            self.refusals["no JSON"] += 1  # the emulator's own words
        else:
            self.take(message)

    def take(self, message: dict[str, Any]) -> None:
        if "type" not in message or (message["type"] == "error" and message.get("retryable")):
            # The gateway's own words when the function failed, or ours: to be asked again.
            self.refusals[message.get("code", "no type")] += 1
            return
        super().take(message)
        if message["type"] in {"subscribed", "resumed"}:
            self._acknowledged(message)
        if message["type"] == "snapshot":
            self._shows(message["portfolio_id"], message["data"])
        for update in message.get("updates", ()):
            if self.versions[update["portfolio_id"]] == update["version"]:
                self._shows(update["portfolio_id"], update["data"])
        if "event_id" in message:
            self._told(message)
        if "run_id" in message:
            self._analyzed(message)

    def _acknowledged(self, message: dict[str, Any]) -> None:
        """From now on what this client has is what it goes on from. What its session had is there again after its
        first message; that is no answer to any other."""
        if message["type"] == "resumed":
            self.acknowledged.add(message["portfolio_id"])
            self.since.pop(message["portfolio_id"], None)
        elif not message.get("restored"):
            self.acknowledged.update(name for name in message["portfolio_ids"] if name not in self.since)

    def moves(self, portfolio_id: str, version: int, previous: int | None) -> None:
        """Where an update is of something older, it was sent before this client said how far it is; what comes after
        it goes on from there, until the next answer to that."""
        before = self.versions.get(portfolio_id, 0)
        is_asked = portfolio_id not in self.acknowledged
        if previous is not None and version > before and (previous < before or (is_asked and previous > before)):
            if not is_asked:
                self.acknowledged.remove(portfolio_id)
                self.asked_at.pop(portfolio_id, None)
            return
        super().moves(portfolio_id, version, previous)

    def _analyzed(self, message: dict[str, Any]) -> None:
        """G10: every message of a run is of one version, and of one that was superseded comes no result any more."""
        run_id, kind = message["run_id"], message["type"]
        if kind == "analysis_started":
            self.runs.setdefault(run_id, message["version"])
        if run_id in self.runs and message.get("version", self.runs[run_id]) != self.runs[run_id]:
            self.faults.append(f"a run of version {self.runs.get(run_id)}: {message}")
        if kind in {"analysis_result", "analysis_completed"} and run_id != next(reversed(self.runs), ""):
            self.faults.append(f"a result of a run that was superseded: {message}")
        if kind == "analysis_completed":
            self.completed.add(run_id)

    def _shows(self, portfolio_id: str, data: dict[str, Any]) -> None:
        if "total_value" in data:
            value = data["total_value"]
            self.values[portfolio_id] = None if value is None else Decimal(value)

    def _told(self, message: dict[str, Any]) -> None:
        self.told_at = time.monotonic()
        same = str({name: value for name, value in message.items() if name != "timestamp"})
        before = self.contents.setdefault(message["event_id"], same)
        if before != same:
            self.faults.append(f"{message['event_id']} came again with other figures: {before} and {same}")


class Crowd:
    """The clients of one owner. ``healthy`` are held to everything; the others are there to be a burden. The stranger
    has a token of her own."""

    def __init__(
        self, cloud: Cloud, token: str, strangers_token: str, portfolio_ids: list[str], *, healthy: int
    ) -> None:
        self.healthy = [Watcher(number, portfolio_ids) for number in range(healthy)]
        self.leaving, self.stuck = Watcher(healthy, portfolio_ids), Watcher(healthy + 1, portfolio_ids)
        self.stranger = Watcher(healthy + 2, portfolio_ids[:2])
        self._ws_url = cloud.outputs.ws_url
        self._tokens = dict.fromkeys(range(healthy + 2), token) | {self.stranger.number: strangers_token}
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
        return [*self.healthy, self.leaving, self.stuck, self.stranger]

    def _begin(self, client: Watcher) -> None:
        self._tasks[client.number] = self._loop.create_task(client.stay(self._ws_url, self._tokens[client.number]))

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

    def overheard(self) -> list[str]:
        """What the stranger was told of portfolios that are not hers."""
        return [*self.stranger.versions, *self.stranger.events, *self.stranger.values, *self.stranger.runs]

    def analyze(self, client: Watcher, ticker: str, portfolio_id: str) -> None:
        """Asked once; a message may get lost."""
        asked = client.say(action="analyze", ticker=ticker, portfolio_id=portfolio_id)
        with suppress(AssertionError, OSError, WebSocketException, TimeoutError):
            asyncio.run_coroutine_threadsafe(asked, self._loop).result(LOOK_AGAIN_S)

    def cut(self, client: Watcher) -> None:
        """Without a word: nobody is told."""
        self._loop.call_soon_threadsafe(_abort, client)

    def stop_reading(self, client: Watcher) -> None:
        """From now on nothing of what is sent to it is taken."""
        client.is_stuck = True
        self._loop.call_soon_threadsafe(_pause, client)

    def arrived(self, patience_s: float) -> bool:
        """Whether all have a snapshot of everything."""
        stop = time.monotonic() + patience_s
        while any(len(client.versions) < len(client.portfolio_ids) for client in self._everybody[:-1]):
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
