"""One load test: deploy, open accounts, connect, send for minutes, wait until nothing waits, compare everything."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.load import sockets
from benchmarks.load.comparison import Comparison, expected_totals, reference
from benchmarks.load.generator import Sent, generate
from benchmarks.load.machine import Watch, leaks
from benchmarks.load.plan import CASH, FIRST_PRICE, FIRST_QUANTITY, Account, Plan
from benchmarks.load.sockets import Timed
from benchmarks.measuring import now_ms, percentile
from foliostream_client.transport import Rest
from local import cloud, figures, sam, services
from local.cloud import Outputs
from local.environments import CACHE
from local.issuer import ALL_SCOPES
from local.processes import Records
from local.settings import Settings

OWNER = "load"
HOME = CACHE / "load"
OPENING_THREADS = 4
# On a busy machine the first call of a function waits for its start.
ANSWER_S = 120.0
SYMBOLS_AT_ONCE = 100
# What was queued when the last message was sent, and what is valued after it.
DRAIN_S = 600.0
NAMED_FAULTS_MAX = 20


@dataclass
class Report:
    """``faults`` is empty where nothing was lost, nothing failed and no worker grew."""

    plan: Plan
    rows: list[tuple[str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, name: str, value: object) -> None:
        """A row."""
        self.rows.append((name, str(value)))

    def lines(self) -> Iterator[str]:
        """As it is printed."""
        plan = self.plan
        yield (
            f"load: {plan.portfolios:,} portfolios, {plan.symbols:,} symbols, {plan.ticks:,} ticks/s, "
            f"{plan.fills:,} fills/s, {plan.sockets:,} sockets, {plan.shards} shards, {plan.seconds:.0f} s"
        )
        yield from (f"  {name:<44} {value}" for name, value in self.rows)
        yield from (f"  FAULT: {fault}" for fault in self.faults[:NAMED_FAULTS_MAX])
        if len(self.faults) > NAMED_FAULTS_MAX:
            yield f"  and {len(self.faults) - NAMED_FAULTS_MAX:,} more"
        yield f"  {len(self.faults):,} faults" if self.faults else "  ok"


def run(plan: Plan, say: Callable[[str], object]) -> Report:
    """In a cloud of its own, with Valkey as hot store."""
    portfolio = {"PORTFOLIO_HOT_STORE": "valkey", "PORTFOLIO_SHARDS": str(plan.shards)}
    settings = Settings(home=HOME, port=0, portfolio=portfolio)
    report = Report(plan)
    try:
        outputs = cloud.up(settings)
        issuer = cloud.local_issuer(settings)
        load = _Load(plan, settings, outputs, issuer.token(OWNER, ALL_SCOPES), report, say)
        asyncio.run(load.all())
    finally:
        cloud.down(settings)
    return report


class _Load:
    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        outputs: Outputs,
        token: str,
        report: Report,
        say: Callable[[str], object],
    ) -> None:
        self.plan, self.outputs, self.token, self.report, self.say = plan, outputs, token, report, say
        self.rest = Rest(outputs.rest_url, token, timeout_s=ANSWER_S)
        self.accounts = plan.accounts()
        records = Records(settings.home)
        found = [records.find(name) for name in (services.EMULATOR, services.VALKEY)]
        self.servers = [record.pid for record in found if record is not None]

    async def all(self) -> None:
        """From the first account to the report."""
        await asyncio.to_thread(self._open)
        self.say("connecting")
        clients = self._clients()
        tasks = await sockets.arrive(clients, self.outputs.ws_url, self.token)
        comparison = Comparison(self.outputs, self.accounts, self.plan.shards)
        try:
            await self._measured(clients, comparison)
        finally:
            comparison.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _measured(self, clients: list[Timed], comparison: Comparison) -> None:
        for client in clients:
            client.delays_ms.clear()
        self.say(f"sending for {self.plan.seconds:.0f} s")
        begun = time.time()
        with Watch(*self.servers) as watch:
            sent = await self._sent()
        self.say("waiting until nothing waits")
        stopped = time.monotonic()
        expected = await asyncio.to_thread(reference, self.accounts, sent.fills)
        totals = expected_totals(expected, sent)
        while self._wrong(comparison, totals) and time.monotonic() - stopped < DRAIN_S:
            await asyncio.sleep(0.5)
        drained_s = time.monotonic() - stopped
        await self._until_told(clients, comparison)
        self._rates(sent, clients, drained_s, begun)
        self._freshness(clients, begun)
        self._machine(watch)
        self._faults(sent, clients, comparison)
        self.report.faults += [*self._wrong(comparison, totals), *comparison.wrong_books(expected)]

    def _open(self) -> None:
        """Instruments, first prices, accounts with what they hold."""
        self.say(f"opening {self.plan.portfolios:,} accounts")
        symbols = self.plan.all_symbols()
        with ThreadPoolExecutor(OPENING_THREADS) as pool:
            list(pool.map(self._register, symbols))
            for start in range(0, len(symbols), SYMBOLS_AT_ONCE):
                updates = list(map(_first, symbols[start : start + SYMBOLS_AT_ONCE]))
                self._insist("POST", "/api/v1/prices", {"updates": updates})
            list(pool.map(self._account, self.accounts))

    def _insist(self, method: str, path: str, body: object) -> None:
        """All that opens accounts may arrive twice."""
        self.rest.expect(method, path, body, repeatable=True)

    def _register(self, symbol: str) -> None:
        self._insist("PUT", f"/api/v1/instruments/{symbol}", {"kind": "stock", "currency": "USD"})

    def _account(self, account: Account) -> None:
        identifier = account.portfolio_id
        body = {"account_kind": "cash", "base_currency": "USD", "cost_basis": "average", "initial_cash": CASH}
        names = {"portfolio_id": identifier, "portfolio_name": identifier, "account_type": account.account_type}
        self._insist("POST", "/api/v1/portfolios", names | body)
        buys = [
            {
                "transaction_id": f"first-{symbol}",
                "instrument_id": symbol,
                "transaction_type": "BUY",
                "quantity_change": FIRST_QUANTITY,
                "price": FIRST_PRICE,
            }
            for symbol in account.symbols
        ]
        update = {"portfolio_id": identifier, "timestamp": now_ms(), "updates": buys}
        self._insist("POST", f"/api/v1/portfolio/{identifier}/update", update)

    def _clients(self) -> list[Timed]:
        ids = [account.portfolio_id for account in self.accounts]
        watched = self.plan.watched
        return [
            Timed(number, sorted({ids[(number * watched + step) % len(ids)] for step in range(watched)}))
            for number in range(self.plan.sockets)
        ]

    async def _sent(self) -> Sent:
        """What the generator says when it is done."""
        context = multiprocessing.get_context("spawn")
        ours, its = context.Pipe(duplex=False)
        process = context.Process(target=generate, args=(self.plan, self.outputs, self.token, its))
        process.start()
        its.close()
        try:
            return await asyncio.to_thread(_received, ours)
        finally:
            await asyncio.to_thread(process.join)

    def _wrong(self, comparison: Comparison, totals: dict[str, Any]) -> list[str]:
        shown = comparison.totals()
        return [
            f"{name} shows {shown[name]}, expected {total}" for name, total in totals.items() if shown[name] != total
        ]

    async def _until_told(self, clients: list[Timed], comparison: Comparison) -> None:
        """The last update is on its way for a flush."""
        stop = time.monotonic() + DRAIN_S
        while _behind(clients, comparison) and time.monotonic() < stop:
            await asyncio.sleep(0.2)

    def _rates(self, sent: Sent, clients: list[Timed], drained_s: float, begun: float) -> None:
        report, seconds = self.report, sent.seconds
        report.add("ticks sent a second", f"{sent.ticks / seconds:,.0f} of {self.plan.ticks:,} asked")
        report.add("fills sent a second", f"{len(sent.fills) / seconds:,.1f} of {self.plan.fills:,} asked")
        report.add("the generator was late by at most", f"{sent.late_s:.1f} s")
        counted = _counted(self.outputs, time.time() - begun)
        for metric, name in (
            ("SymbolsProcessed", "prices stored"),
            ("PortfoliosValued", "portfolios valued"),
            ("FillsBooked", "fills booked"),
            ("MessagesPushed", "messages pushed"),
        ):
            report.add(f"{name} a second", f"{counted.get(metric, 0) / seconds:,.0f}")
        report.add("messages received by clients", f"{sum(client.messages for client in clients):,}")
        report.add("all right after the last price within", f"{drained_s:.1f} s")

    def _freshness(self, clients: list[Timed], begun: float) -> None:
        lines = sam.function_logs(self.outputs.aws_endpoint, "recalculate", round(time.time() - begun))
        for account_type, ages in sorted(figures.ages_ms(lines).items()):
            told = f"p50 {figures.at(ages, 50):,} ms, p99 {figures.at(ages, 99):,} ms"
            self.report.add(f"price to snapshot, {account_type}", told)
        by_type = {account.portfolio_id: account.account_type for account in self.accounts}
        for account_type in sorted(set(by_type.values())):
            delays = [delay for client in clients for name, delay in client.delays_ms if by_type[name] == account_type]
            if delays:
                told = f"p50 {percentile(delays, 50):,.0f} ms, p99 {percentile(delays, 99):,.0f} ms"
                self.report.add(f"price to socket, {account_type}", f"{told} ({len(delays):,} updates)")

    def _machine(self, watch: Watch) -> None:
        cores = watch.cores()
        machine = cores.pop("machine")
        self.report.add("cores busy, all programs of the machine", f"{machine:.2f}")
        for name, busy in cores.items():
            if busy >= 0.01:
                self.report.add(f"- {name}", f"{busy:.2f}")
        memory = watch.memory()
        for name, (start, middle, end) in memory.items():
            self.report.add(f"memory of {name}, MB", f"{start:.0f} {middle:.0f} {end:.0f}")
        self.report.faults += leaks(memory)

    def _faults(self, sent: Sent, clients: list[Timed], comparison: Comparison) -> None:
        faults = self.report.faults
        faults += sent.errors
        faults += [f"client {client.number}: {fault}" for client in clients for fault in client.faults]
        faults += _behind(clients, comparison)
        status = self.rest.get(figures.STATUS)
        faults += [
            f"{queue['waiting']} letters in {name}"
            for name, queue in status["queues"].items()
            if name.endswith("_dead") and queue["waiting"]
        ]
        if status["errors"]:
            faults.append(f"{status['errors']} errors counted by the functions")


def _first(symbol: str) -> dict[str, Any]:
    return {"symbol": symbol, "ts": now_ms(), "last": FIRST_PRICE}


def _received(ours: Connection) -> Sent:
    sent: Sent = ours.recv()
    return sent


def _behind(clients: list[Timed], comparison: Comparison) -> list[str]:
    newest, totals = comparison.versions(), comparison.totals()
    return [
        f"client {client.number} has {name} {client.versions.get(name)} at {client.values.get(name)}"
        for client in clients
        for name in client.portfolio_ids
        if client.versions.get(name) != newest.get(name) or client.values.get(name) != totals[name]
    ]


def _counted(outputs: Outputs, since_s: float) -> dict[str, int]:
    """Sums of what the functions counted in their logs."""
    found: dict[str, int] = {}
    for metrics in figures.metrics(sam.function_logs(outputs.aws_endpoint, since_s=round(since_s))):
        for name, value in metrics.items():
            if isinstance(value, int):
                found[name] = found.get(name, 0) + value
    return found
