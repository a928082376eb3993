"""Many clients at once, and all of them coming back at once.

``STREAM_CLIENTS`` and ``STREAM_PORTFOLIOS`` choose the size (``make streams``: 500 and 200); figures are printed as
they come.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import quantiles
from typing import Any

import pytest

from local import services
from local.processes import Records
from tests.e2e.conftest import DEADLINE_S, Cloud
from tests.e2e.crowd import CALLED, FINE, STOPPED, WATCHED, Crowd, gathered
from tests.support.clients import Client
from tests.support.watching import descendants, resident_mb

CLIENTS = int(os.environ.get("STREAM_CLIENTS", "24"))
PORTFOLIOS = int(os.environ.get("STREAM_PORTFOLIOS", "12"))
TICKING_S = float(os.environ.get("STREAM_SECONDS", "10"))
# Handshakes at once: API Gateway takes 500 a second, the emulator runs each through two functions.
AT_ONCE = 20
LEAVING = 3
# One process answers for all of AWS here: what it cannot work off in a second only piles up.
TICK_EVERY_S = max(0.1, CLIENTS / 250)
# The emulator answers one after the other what AWS answers side by side.
PATIENCE_S = DEADLINE_S + CLIENTS / 2
# What a worker has that has begun to serve, and by how much it may grow beyond that while it serves thousands.
STARTED_MB, GROWTH_MAX = 64, 4 / 3

pytestmark = pytest.mark.timeout(300 + 6 * CLIENTS)


class Figures(dict[str, object]):
    """What was measured, printed as soon as it is known: a big crowd takes its time."""

    def __setitem__(self, name: str, figure: object) -> None:
        super().__setitem__(name, figure)
        print(f"  {name}: {figure}", flush=True)  # noqa: T201 - asked for


@pytest.fixture
def crowd(stack: Cloud) -> Iterator[Crowd]:
    with gathered(stack, CLIENTS, PORTFOLIOS) as everybody:
        yield everybody


def test_many_clients_are_served_side_by_side_and_all_come_back_at_once(
    crowd: Crowd, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nstreams: {CLIENTS} clients, {PORTFOLIOS} portfolios", flush=True)  # noqa: T201 - asked for
        asyncio.run(the_day(crowd))


async def the_day(crowd: Crowd) -> None:
    stopped, *others = crowd.clients
    leaving, staying = others[:LEAVING], others[LEAVING:]
    figures = Figures()
    begun = time.monotonic()
    tasks = await arrive(crowd, crowd.clients, figures)
    await until(lambda: all(len(c.versions) == WATCHED for c in crowd.clients), lambda: "not everybody has snapshots")
    figures["all_connected_with_snapshots_s"] = round(time.monotonic() - begun, 1)

    price = await the_market_moves(crowd, stopped, leaving, staying, figures)
    await everybody_comes_back(crowd, staying, tasks, price, figures)


# --- connected -----------------------------------------------------------------------------------------------------


async def the_market_moves(
    crowd: Crowd, stopped: Client, leaving: list[Client], staying: list[Client], figures: Figures
) -> int:
    """Ticks, first for everybody; then one client does not read any more and some go without a word, while margin
    accounts are called and restored and the broker's books drift."""
    price = await ticking(crowd, TICKING_S / 2, 100, warming=staying)
    figures["first_half"] = heard(crowd, staying)
    workers, gone = workers_mb(crowd), connections(crowd, leaving)
    assert len(gone) == LEAVING
    assert stopped.socket is not None
    stopped.socket.transport.pause_reading()
    for client in leaving:
        assert client.socket is not None
        client.socket.transport.abort()
    begun = time.monotonic()
    crowd.listen(staying)
    happening = asyncio.create_task(things_happen(crowd))
    while not happening.done() or time.monotonic() - begun < TICKING_S / 2:
        price = await ticking(crowd, 1.0, price)
    await happening
    figures["second_half"] = heard(crowd, staying)
    figures["workers_mb"] = steady(workers, workers_mb(crowd))
    figures["newest_everywhere_s"] = round(await settle(crowd, staying), 1)
    assert [client.number for client in staying if not client.messages] == [], "whoever stays is told"
    await has_every_event_once(crowd, staying)
    assert [fault for client in staying for fault in client.faults] == []
    assert sum(client.repeats for client in staying) == 0, "versions strictly rise"
    await until(
        lambda: not any(row["pk"]["S"] in gone for row in rows(crowd)), lambda: f"rows of {gone} are still there"
    )
    return price


async def things_happen(crowd: Crowd) -> None:
    """While ticks flow, which bring the price of the moment."""
    await asyncio.to_thread(crowd.fill, 1)
    await asyncio.to_thread(crowd.drift, 90_000)
    await moves(crowd, CALLED, "margin_call", 1)
    await moves(crowd, FINE, "margin_restored", 1)


async def moves(crowd: Crowd, price: str, kind: str, times: int) -> None:
    """Until every margin account has had so many events of a kind; ticks bring the price."""
    crowd.cfd_price = price
    wanted = times * len(crowd.margin)

    def count() -> int:
        return crowd.bus.count(kind, crowd.margin)

    await until(lambda: count() >= wanted, lambda: f"{count()} of {wanted} {kind}")


async def ticking(crowd: Crowd, seconds: float, first: int, warming: Iterable[Client] = ()) -> int:
    """Prices of every symbol, one after the other; the last one. ``warming``: counts begin after a second."""
    started = time.monotonic()
    price, waiting = first, list(warming)
    while time.monotonic() < started + seconds:
        if waiting and time.monotonic() > started + 1:
            crowd.listen(waiting)
            waiting.clear()
        price += 1
        await asyncio.to_thread(crowd.tick, price)
        await asyncio.sleep(TICK_EVERY_S)
    return price


# --- the storm -----------------------------------------------------------------------------------------------------


async def everybody_comes_back(
    crowd: Crowd, staying: list[Client], tasks: list[asyncio.Task[None]], price: int, figures: Figures
) -> None:
    """All drop at once, miss prices, fills, a call with its stop-out and what the broker shows, and resume at once."""
    for client in crowd.clients:
        if client.socket is not None:
            client.socket.transport.abort()
    await asyncio.wait(tasks, timeout=PATIENCE_S)
    missing = asyncio.create_task(what_is_missed(crowd))
    while not missing.done():
        price = await ticking(crowd, 1.0, price)
    await missing
    before = {client.number: client.events.total() for client in staying}
    begun = time.monotonic()
    again = await arrive(crowd, staying, figures)
    await settle(crowd, staying)
    figures["all_back_and_newest_s"] = round(time.monotonic() - begun, 1)
    await has_every_event_once(crowd, staying)
    figures["all_back_with_every_event_s"] = round(time.monotonic() - begun, 1)
    assert [fault for client in staying for fault in client.faults] == []
    # The session goes on from what was sent; a client's own resume, which crosses that, asks for the same once more.
    assert [client.number for client in staying if client.repeats > len(client.portfolio_ids)] == [], "more than once"
    figures["events_each"] = spread([len(client.events) for client in staying])
    figures["events_in_all"] = Counter(name.partition(":")[0] for client in staying for name in client.events)
    figures["replayed_each"] = spread([client.events.total() - before[client.number] for client in staying])
    for client in staying:
        assert client.socket is not None
        await client.socket.close()
    await asyncio.wait(again, timeout=PATIENCE_S)


async def what_is_missed(crowd: Crowd) -> None:
    for number in (2, 3):
        await asyncio.to_thread(crowd.fill, number)
    for cash in (100_000, 80_000):
        await asyncio.to_thread(crowd.drift, cash)
    await moves(crowd, CALLED, "margin_call", 2)
    await moves(crowd, STOPPED, "stop_out", 1)
    await moves(crowd, STOPPED, "margin_restored", 2)


# --- looking -------------------------------------------------------------------------------------------------------


async def until(holds: Callable[[], bool], what: Callable[[], object]) -> float:
    """The seconds it took."""
    begun = time.monotonic()
    while not await asyncio.to_thread(holds):
        if time.monotonic() - begun > PATIENCE_S:
            pytest.fail(f"not within {PATIENCE_S} s: {what()}")
        await asyncio.sleep(0.2)
    return time.monotonic() - begun


async def arrive(crowd: Crowd, clients: Iterable[Client], figures: Figures) -> list[asyncio.Task[None]]:
    """Connect them, a few at a time; who is refused comes again after a growing pause, as clients have to."""
    gate, refused = asyncio.Semaphore(AT_ONCE), 0

    async def connected(client: Client) -> asyncio.Task[None] | None:
        client.socket = None
        task = asyncio.create_task(client.run(crowd.cloud.outputs.ws_url, crowd.token))
        while client.socket is None and not task.done():
            await asyncio.sleep(0.01)
        return None if task.done() and task.exception() else task

    async def gated(client: Client) -> asyncio.Task[None]:
        nonlocal refused
        for pause_s in (1, 2, 4, 8, 16):
            async with gate:
                if (task := await connected(client)) is not None:
                    return task
            refused += 1
            await asyncio.sleep(Random(client.number).uniform(0, pause_s))
        pytest.fail(f"client {client.number} cannot connect")

    tasks = list(await asyncio.gather(*(gated(client) for client in clients)))
    figures["refused_handshakes"] = refused
    return tasks


async def settle(crowd: Crowd, clients: list[Client]) -> float:
    """Until everybody has the newest version of everything; the seconds that the slowest took."""
    await until(lambda: len({str(crowd.newest()) for _ in range(2)}) == 1, lambda: "versions still rise")
    newest = await asyncio.to_thread(crowd.newest)
    return await until(lambda: not behind(clients, newest), lambda: behind(clients, newest)[:10])


def behind(clients: Iterable[Client], newest: dict[str, int]) -> list[str]:
    """Who does not have the newest version of what it watches."""
    return [
        f"{client.number}: {name} {client.versions.get(name)} < {newest[name]}"
        for client in clients
        for name in client.portfolio_ids
        if client.versions.get(name, 0) < newest[name]
    ]


async def has_every_event_once(crowd: Crowd, clients: list[Client]) -> None:
    """Everything that happened to what a client watches, and nothing else. ``clients`` count by ``event_id``, as every
    client has to: a resume sends again what may have been missed."""

    def lacking() -> list[object]:
        happened = crowd.events()
        wanted = {c.number: set().union(*(happened[name] for name in c.portfolio_ids)) for c in clients}
        return [(c.number, wanted[c.number] ^ set(c.events)) for c in clients if set(c.events) != wanted[c.number]]

    await until(lambda: not lacking(), lambda: lacking()[:5])


def connections(crowd: Crowd, clients: list[Client]) -> set[str]:
    """Partition keys of the connections that sessions of these clients have."""
    sessions = {client.session_id for client in clients}
    found = (row for row in rows(crowd) if row.get("session_id", {}).get("S") in sessions)
    return {row["pk"]["S"] for row in found if row["sk"]["S"] == "CONNECTION"}


def rows(crowd: Crowd) -> Iterator[dict[str, Any]]:
    """Everything that is stored about sessions and connections."""
    client, table = crowd.cloud.aws("dynamodb"), crowd.cloud.outputs.resources["SessionsTableName"]
    for page in client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        yield from page["Items"]


def heard(crowd: Crowd, clients: list[Client]) -> dict[str, object]:
    """Least, middle and most of every client; ages are of the newest price in an update, on arrival. Nobody is told
    anything while the market itself is silent."""
    ages = sorted(age for client in clients for age in client.ages_ms)
    pauses = [later - earlier for earlier, later in pairwise(crowd.ticked_s)]
    return {
        "ticks": len(crowd.ticked_s),
        "longest_pause_of_the_market_s": round(max(pauses), 1),
        "messages_each": spread([client.messages for client in clients]),
        "longest_silence_s": spread([round(client.silence_s(), 1) for client in clients]),
        "age_ms_p50_p95_max": (round(ages[len(ages) // 2]), round(quantiles(ages, n=20)[-1]), round(ages[-1])),
    }


def spread(values: list[float]) -> tuple[float, float, float]:
    """Least, middle, most."""
    ordered = sorted(values)
    return ordered[0], ordered[len(ordered) // 2], ordered[-1]


def workers_mb(crowd: Crowd) -> dict[str, int]:
    """Memory of every worker of a function, by the directory it runs in."""
    emulator = Records(crowd.cloud.settings.home).find(services.EMULATOR)
    assert emulator is not None
    found = {}
    for pid in descendants(emulator.pid):
        with suppress(OSError):  # it has ended meanwhile
            command = Path(f"/proc/{pid}/cmdline").read_text()
            if "ministack-lambda-" in command:
                found[command.split("ministack-lambda-")[1].split("/")[0]] = resident_mb([pid])
    return found


def steady(before: dict[str, int], after: dict[str, int]) -> dict[str, object]:
    """The memory of all workers half way and at the end, and of the one that grew most; none may have grown much."""
    both = before.keys() & after.keys()
    assert both
    grown = {name: after[name] - before[name] for name in both}
    too_much = {name: grown[name] for name in both if after[name] > max(before[name], STARTED_MB) * GROWTH_MAX}
    assert too_much == {}
    most = max(grown, key=lambda name: grown[name])
    return {
        "half_way": sum(before[name] for name in both),
        "at_the_end": sum(after[name] for name in both),
        "grew_most": f"{most.split('-')[1]} {before[most]} to {after[most]}",
    }
