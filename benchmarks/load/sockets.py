"""Clients of the WebSocket that measure how old the newest price is when it reaches them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from benchmarks.measuring import now_ms
from tests.support.clients import Client

# Handshakes at once: the emulator runs each through two functions.
AT_ONCE = 10
SNAPSHOTS_S = 120.0


@dataclass
class Timed(Client):
    """``delays_ms``: of each update the portfolio, and the time from its newest price to its arrival; ``values``: what
    is shown last."""

    delays_ms: list[tuple[str, int]] = field(default_factory=list)
    values: dict[str, Decimal | None] = field(default_factory=dict)

    def take(self, message: dict[str, Any]) -> None:
        """Without a look into the document of the messages, which would be most of the work here."""
        at_ms = now_ms()
        self.messages += 1
        if message["type"] == "snapshot":
            self.moves(message["portfolio_id"], message["version"], None)
            self.values[message["portfolio_id"]] = message["data"]["total_value"]
        for update in message.get("updates", ()):
            self.moves(update["portfolio_id"], update["version"], update["previous_version"])
            data = update["data"]
            if "total_value" in data:
                self.values[update["portfolio_id"]] = data["total_value"]
            if data.get("as_of"):
                priced_ms = round(datetime.fromisoformat(data["as_of"]).timestamp() * 1000)
                self.delays_ms.append((update["portfolio_id"], at_ms - priced_ms))
        if message["type"] == "error":
            self.faults.append(str(message))


async def arrive(clients: Sequence[Timed], ws_url: str, token: str) -> list[asyncio.Task[None]]:
    """Connect them, a few at a time, until everybody has its snapshots."""
    gate = asyncio.Semaphore(AT_ONCE)
    tasks: list[asyncio.Task[None]] = []

    async def one(client: Timed) -> None:
        async with gate, asyncio.timeout(SNAPSHOTS_S):
            task = asyncio.create_task(client.run(ws_url, token))
            tasks.append(task)
            while len(client.versions) < len(client.portfolio_ids):
                if task.done():
                    raise RuntimeError(f"client {client.number} could not stay") from task.exception()
                await asyncio.sleep(0.05)

    await asyncio.gather(*(one(client) for client in clients))
    return tasks
