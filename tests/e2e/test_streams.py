"""Many clients at once, and all of them coming back at once.

``STREAM_CLIENTS`` and ``STREAM_PORTFOLIOS`` choose the size (``make streams``: 500 and 200); figures are printed.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import uuid4

import pytest

from foliostream_client.transport import Rest
from local import services
from local.processes import Records
from tests.e2e.conftest import DEADLINE_S, Cloud, now_ms
from tests.support.clients import Client
from tests.support.watching import descendants, resident_mb

CLIENTS = int(os.environ.get("STREAM_CLIENTS", "24"))
PORTFOLIOS = int(os.environ.get("STREAM_PORTFOLIOS", "12"))
TICKING_S = float(os.environ.get("STREAM_SECONDS", "10"))
WATCHED = 5
SYMBOLS = 6
# Handshakes at once: API Gateway takes 500 a second, the emulator runs each through two functions.
AT_ONCE = 20
LEAVING = 3
# The emulator answers one after the other what AWS answers side by side.
PATIENCE_S = DEADLINE_S + CLIENTS / 2

pytestmark = pytest.mark.timeout(240 + 4 * CLIENTS)


@dataclass(frozen=True)
class Crowd:
    """The clients of one owner, and what they watch."""

    cloud: Cloud
    admin: Rest
    rest: Rest
    token: str
    symbols: list[str]
    portfolio_ids: list[str]
    clients: list[Client]

    def newest(self) -> dict[str, int]:
        """The versions that are stored, by REST, which mends nothing here: everything is valued."""
        with ThreadPoolExecutor(4) as pool:
            states = pool.map(lambda name: self.rest.get(f"/api/v1/portfolio/{name}/state"), self.portfolio_ids)
            return {state["portfolio_id"]: state["version"] for state in states}

    def tick(self, price: int) -> None:
        updates = [{"symbol": name, "last": price, "ts": now_ms()} for name in self.symbols]
        self.admin.post("/api/v1/prices", {"updates": updates})

    def fill(self, number: int) -> list[str]:
        """One fill of every portfolio; their event ids."""
        fills = [
            {
                "fill_id": f"f{number}",
                "portfolio_id": name,
                "instrument_id": self.symbols[index % SYMBOLS],
                "side": "BUY",
                "quantity": 1,
                "fill_price": 10,
                "timestamp": now_ms(),
            }
            for index, name in enumerate(self.portfolio_ids)
        ]
        for start in range(0, len(fills), 50):
            answer = self.rest.post("/api/v1/fills", fills[start : start + 50])
            assert answer["rejected"] == []
        return [f"fill:{name}:f{number}" for name in self.portfolio_ids]


@pytest.fixture
def crowd(stack: Cloud, admin: Rest) -> Crowd:
    name = f"crowd-{uuid4().hex[:8]}"
    rest = stack.rest(name, ("fills:write",))
    symbols = [f"T{uuid4().hex[:10].upper()}" for _ in range(SYMBOLS)]
    for symbol in symbols:
        admin.put(f"/api/v1/instruments/{symbol}", {"kind": "stock", "currency": "USD"})

    def create(number: int) -> str:
        made = rest.post(
            "/api/v1/portfolios",
            {
                "portfolio_name": f"Number {number}",
                "account_type": "live",
                "account_kind": "cash",
                "base_currency": "USD",
                "cost_basis": "average",
                "initial_cash": 10_000,
            },
        )
        identifier: str = made["portfolio_id"]
        buy = {"instrument_id": symbols[number % SYMBOLS], "quantity_change": 10, "price": 10}
        update = {"portfolio_id": identifier, "timestamp": now_ms(), "updates": [buy | {"transaction_type": "BUY"}]}
        rest.post(f"/api/v1/portfolio/{identifier}/update", update)
        return identifier

    with ThreadPoolExecutor(4) as pool:
        identifiers = list(pool.map(create, range(PORTFOLIOS)))
    clients = [
        Client(number, [identifiers[(number * WATCHED + step) % PORTFOLIOS] for step in range(WATCHED)])
        for number in range(CLIENTS)
    ]
    return Crowd(stack, admin, rest, stack.token(name, ("fills:write",)), symbols, identifiers, clients)


async def until(holds: Callable[[], bool], what: Callable[[], object]) -> float:
    """The seconds it took."""
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > PATIENCE_S:
            pytest.fail(f"not within {PATIENCE_S} s: {what()}")
        await asyncio.sleep(0.2)
    return time.monotonic() - begun


async def arrive(crowd: Crowd, clients: Iterable[Client]) -> list[asyncio.Task[None]]:
    """Connect them, a few at a time."""
    gate = asyncio.Semaphore(AT_ONCE)
    tasks = []

    async def gated(client: Client) -> asyncio.Task[None]:
        async with gate:
            client.socket = None
            task = asyncio.create_task(client.run(crowd.cloud.outputs.ws_url, crowd.token))
            while client.socket is None and not task.done():
                await asyncio.sleep(0.01)
        return task

    tasks = await asyncio.gather(*(gated(client) for client in clients))
    return list(tasks)


async def ticking(crowd: Crowd, seconds: float, first: int) -> int:
    """Prices of every symbol, as fast as they are taken; the last one."""
    stop = time.monotonic() + seconds
    price = first
    while time.monotonic() < stop:
        price += 1
        await asyncio.to_thread(crowd.tick, price)
        await asyncio.sleep(0.1)
    return price


def behind(clients: Iterable[Client], newest: dict[str, int]) -> list[str]:
    """Who does not have the newest version of what it watches."""
    return [
        f"{client.number}: {name} {client.versions.get(name)} < {newest[name]}"
        for client in clients
        for name in client.portfolio_ids
        if client.versions.get(name, 0) < newest[name]
    ]


async def settle(crowd: Crowd, clients: list[Client]) -> float:
    """Until everybody has the newest version of everything; the seconds that the slowest took."""
    await until(lambda: len(set(map(str, (crowd.newest(), crowd.newest())))) == 1, lambda: "versions still rise")
    newest = await asyncio.to_thread(crowd.newest)
    return await until(lambda: not behind(clients, newest), lambda: behind(clients, newest)[:10])


def test_many_clients_are_served_side_by_side_and_all_come_back_at_once(
    crowd: Crowd, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = asyncio.run(the_day(crowd))
    with capsys.disabled():
        print(f"\nstreams: {figures}")  # noqa: T201 - asked for by make streams


async def the_day(crowd: Crowd) -> dict[str, object]:
    stopped, *others = crowd.clients
    leaving, staying = others[:LEAVING], others[LEAVING:]
    figures: dict[str, object] = {"clients": CLIENTS, "portfolios": PORTFOLIOS}
    begun = time.monotonic()
    tasks = await arrive(crowd, crowd.clients)
    await until(lambda: all(len(c.versions) == WATCHED for c in crowd.clients), lambda: "not everybody has snapshots")
    figures["all_snapshots_s"] = round(time.monotonic() - begun, 1)

    price = await the_market_moves(crowd, stopped, leaving, staying, figures)
    await everybody_comes_back(crowd, staying, tasks, price, figures)
    return figures


async def the_market_moves(
    crowd: Crowd, stopped: Client, leaving: list[Client], staying: list[Client], figures: dict[str, object]
) -> int:
    """Ticks, while one client stops reading and some go without a word."""
    emulator = Records(crowd.cloud.settings.home).find(services.EMULATOR)
    assert emulator is not None
    price = await ticking(crowd, TICKING_S / 2, 100)
    memory_mb = {"half_way": resident_mb(descendants(emulator.pid))}
    assert stopped.socket is not None
    stopped.socket.transport.pause_reading()
    for client in leaving:
        assert client.socket is not None
        client.socket.transport.abort()
    before = {client.number: client.messages for client in staying}
    price = await ticking(crowd, TICKING_S / 2, price)
    figures["memory_mb"] = memory_mb | {"at_the_end": resident_mb(descendants(emulator.pid))}
    figures["newest_everywhere_s"] = round(await settle(crowd, staying), 1)
    starved = [client.number for client in staying if client.messages == before[client.number]]
    assert starved == [], "whoever stays is told"
    assert [fault for client in staying for fault in client.faults] == []
    counts = sorted(client.messages - before[client.number] for client in staying)
    figures["messages_each"] = (counts[0], counts[len(counts) // 2], counts[-1])
    gone = {client.session_id for client in leaving}
    await until(lambda: not gone & open_sessions(crowd), lambda: "the connections that went are still there")
    return price


def open_sessions(crowd: Crowd) -> set[str]:
    """Sessions that a stored connection belongs to."""
    client, table = crowd.cloud.aws("dynamodb"), crowd.cloud.outputs.resources["SessionsTableName"]
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    rows = (item for page in pages for item in page["Items"] if item["sk"]["S"] == "CONNECTION")
    return {row["session_id"]["S"] for row in rows}


async def everybody_comes_back(
    crowd: Crowd, staying: list[Client], tasks: list[asyncio.Task[None]], price: int, figures: dict[str, object]
) -> None:
    """All drop at once, miss fills and prices, and resume at once."""
    for client in crowd.clients:
        if client.socket is not None:
            client.socket.transport.abort()
    await asyncio.wait(tasks, timeout=PATIENCE_S)
    for client in staying:
        client.events.clear()
    missed = await asyncio.to_thread(lambda: [*crowd.fill(1), *crowd.fill(2)])
    await asyncio.to_thread(crowd.tick, price + 1)
    begun = time.monotonic()
    again = await arrive(crowd, staying)
    await settle(crowd, staying)
    wanted = {c.number: {e for e in missed if e.split(":")[1] in c.portfolio_ids} for c in staying}
    await until(lambda: all(set(c.events) == wanted[c.number] for c in staying), lambda: lacking(staying, wanted))
    figures["all_back_and_newest_s"] = round(time.monotonic() - begun, 1)
    assert [fault for client in staying for fault in client.faults] == []
    for client in staying:
        assert client.socket is not None
        await client.socket.close()
    await asyncio.wait(again, timeout=PATIENCE_S)


def lacking(staying: Iterable[Client], wanted: dict[int, set[str]]) -> list[object]:
    """What events clients do not have, or should not."""
    return [(c.number, wanted[c.number] ^ set(c.events)) for c in staying if set(c.events) != wanted[c.number]][:5]
