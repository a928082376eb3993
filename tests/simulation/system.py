"""The deployed system on virtual time: our use cases in containers, over the model of queues, stores and clocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from greenlet import getcurrent

from foliostream.application import price_input, recalculate, update_prices
from foliostream.application.access import Caller
from foliostream.application.analyzing import Analyzing
from foliostream.application.announcing import Announcer
from foliostream.application.answering import Answers
from foliostream.application.marking import Marker
from foliostream.application.portfolios import Portfolios
from foliostream.application.project_ledger import LedgerProjection
from foliostream.application.projecting import Projector
from foliostream.application.push import Sender, push
from foliostream.application.receiving import Change, Received
from foliostream.application.runs import Runs
from foliostream.application.subscribing import Subscribing
from foliostream.application.valuing import Valuer
from foliostream.application.watching import Watching
from foliostream.domain.instrument import Instrument
from foliostream.domain.keys import ACCOUNT_TYPES
from tests.fakes.starter import FakeStarter
from tests.simulation.checks import SKEW_MS, Watch
from tests.simulation.lambdas import POLL_MOST_US, Function, Invocation, QueueSource, StreamSource
from tests.simulation.machines import CALLS, Faults, Latency, Machine, Network
from tests.simulation.queues import Queue
from tests.simulation.stores import (
    RemoteBus,
    RemoteConnections,
    RemoteGateway,
    RemoteHot,
    RemoteLedger,
    RemoteQueues,
    Stores,
)
from tests.simulation.world import MS, SECOND, World

EPOCH_MS = 1_772_101_800_000  # 2026-02-26T10:30:00.000Z
STALE_AFTER_MS = 900_000
FLUSH_MS = 100
KEPT_MS = 86_400_000
TIMEOUT_US = 30 * SECOND
REST_TIMEOUT_US = 29 * SECOND
LANES = 2
ALICE = Caller("alice", frozenset({"fills:write", "prices:write"}))
SYMBOLS = ("AAPL", "GOOGL", "MSFT", "TSLA")
INSTRUMENTS = tuple(Instrument(symbol, "stock", "USD") for symbol in SYMBOLS)


@dataclass
class Settings:
    """Of one run. ``skew_us``: how far two machines' clocks are apart at most; ``calls``: of these the fragile and
    the slow one are chosen for each storm."""

    window_ms: dict[str, int] = field(default_factory=lambda: {"live": 200, "demo": 1000, "paper": 3000})
    shards: int = 4
    keys_per_message: int = 500
    concurrency: int = 5
    skew_us: int = SKEW_MS * MS
    is_unsteady: bool = False
    latency: Latency = field(default_factory=lambda: Latency(3 * MS, 10 * MS))
    faults: Faults = field(default_factory=Faults)
    eventual_us: int = 0
    calls: Sequence[str] = CALLS


class Container:
    """What a cold start makes: the use cases over this machine's clock and network."""

    def __init__(self, system: System, name: str) -> None:
        world, settings, stores = system.world, system.settings, system.stores
        self.clock = Machine(world, name, skew_us=settings.skew_us, is_unsteady=settings.is_unsteady)
        network = Network(world, settings.faults, settings.latency, name)
        self.hot = RemoteHot(stores, network)
        queues, ledger, bus = RemoteQueues(stores, network), RemoteLedger(stores, network), RemoteBus(stores, network)
        connections, gateway = RemoteConnections(stores, network), RemoteGateway(stores, network)
        instruments = stores.instruments
        self.marker = Marker(
            queues,
            self.hot,
            self.clock,
            settings.window_ms,
            FLUSH_MS,
            settings.shards,
            settings.keys_per_message,
            system.new_nonce,
        )
        hot = self.hot
        self.valuer = Valuer(hot, hot, hot, instruments, ledger, hot, self.marker, self.clock, STALE_AFTER_MS)
        sessions = stores.sessions
        self.sender = Sender(connections, sessions, hot, self.valuer, gateway, self.clock)
        self.portfolios = Portfolios(ledger, instruments, self.valuer, self.marker, self.clock)
        answers = Answers(connections, gateway, self.marker, self.sender, self.clock)
        subscribing = Subscribing(
            connections, sessions, stores.notices, hot, ledger, answers, self.clock, kept_ms=KEPT_MS
        )
        runs = Runs(sessions, connections, self.marker, self.clock, system.new_nonce)
        analyzing = Analyzing(subscribing, self.valuer, runs, FakeStarter(), answers)
        self.watching = Watching(connections, sessions, gateway, subscribing, analyzing, answers, session_ms=KEPT_MS)
        projector = Projector(hot, hot, self.marker)
        announce = Announcer(stores.notices, connections, hot, self.marker, self.clock, KEPT_MS)
        self.projection = LedgerProjection(projector, self.valuer, bus, queues, self.clock, announce)
        self._instruments = instruments

    # --- the handlers, as functions/*/app.py have them ----------------------------------------------------------------

    def price_update(self, received: Sequence[Received]) -> list[str]:
        parsed, broken = price_input.from_messages(received)
        if parsed.refused:
            raise ValueError(f"the storm's prices are well-formed, but {parsed.refused}")
        self.prices(parsed)
        return broken

    def prices(self, parsed: price_input.Parsed) -> None:
        update_prices.update_prices(
            parsed.updates,
            prices=self.hot,
            holders=self.hot,
            instruments=self._instruments,
            marker=self.marker,
            clock=self.clock,
        )

    def recalculate(self, received: Sequence[Received]) -> list[str]:
        return recalculate.recalculate(
            received, valuer=self.valuer, marker=self.marker, clock=self.clock, skew_ms=SKEW_MS
        )

    def push(self, received: Sequence[Received]) -> list[str]:
        return push(received, sender=self.sender, marker=self.marker, clock=self.clock, each=map)

    def project_ledger(self, changes: Sequence[Change]) -> list[str]:
        return self.projection(changes).again


class System:
    """Everything that is deployed. ``mishaps``: tracebacks of errors that are none of ours."""

    def __init__(self, world: World, settings: Settings) -> None:
        self.world = world
        self.settings = settings
        self.mishaps: list[str] = []
        self.watch = Watch(world, self._bound_us)
        clock = Machine(world, "stores", skew_us=settings.skew_us, is_unsteady=False)
        self.stores = Stores(world, clock, INSTRUMENTS, self.watch)
        self.stores.eventual_us = settings.eventual_us
        self._nonces = 0
        self._functions = {
            name: self._function(name, REST_TIMEOUT_US if name == "rest_api" else TIMEOUT_US)
            for name in ("price_update", "recalculate", "push", "project_ledger", "rest_api")
        }
        self._sources()
        self.watch.set_back_ms = settings.skew_us // MS if settings.is_unsteady else 0
        self.watch.is_recorded = self._is_recorded

    def new_nonce(self) -> str:
        self._nonces += 1
        return f"{self._nonces:08d}"

    def _function(self, name: str, timeout_us: int) -> Function[Container]:
        new = partial(Container, self)
        return Function(self.world, name, new, self.watch.ended, self.mishaps, timeout_us=timeout_us)

    def _sources(self) -> None:
        """As in template.yaml. A further queue (delayed, standard) or a schedule is wired here."""
        for account_type in ACCOUNT_TYPES:
            delay_us = self.settings.window_ms[account_type] // 1000 * SECOND
            self._source(self._queue(account_type, delay_us=delay_us), "recalculate", Container.recalculate)
        self._source(self._queue("refresh", is_fifo=False), "recalculate", Container.recalculate)
        self._source(self._queue("push"), "push", Container.push)
        self._source(self._queue("price", is_fifo=False), "price_update", Container.price_update)
        project = self._functions["project_ledger"]
        self.stores.ledger.lanes = [
            StreamSource(self.world, f"stream {lane}", project, Container.project_ledger, self.settings.faults)
            for lane in range(LANES)
        ]

    def _queue(self, name: str, *, is_fifo: bool = True, delay_us: int = 0) -> Queue:
        queue = Queue(self.world, name, is_fifo=is_fifo, delay_us=delay_us, duplicate=self.settings.faults.duplicate)
        self.stores.queues[name] = queue
        return queue

    def _source(
        self, queue: Queue, function: str, handle: Callable[[Container, Sequence[Received]], list[str]]
    ) -> None:
        concurrency = self.settings.concurrency
        QueueSource(self.world, queue, self._functions[function], handle, self.settings.faults, concurrency=concurrency)

    def ask(self, handle: Callable[[Container], Any]) -> Invocation:
        """Of the REST API or the WebSocket's, by a client who waits for the answer (in a greenlet of its own)."""
        client = getcurrent()
        invocation = Invocation("rest_api", "client")
        self._functions["rest_api"].invoke(
            invocation, handle, lambda _: self.world.after(self.settings.latency.one(self.world), client.switch)
        )
        self.world.park()
        return invocation

    def _is_recorded(self, key: str, attempt: int) -> bool:
        records = self.stores.hot.records.values()
        return any(key in record.message.keys and record.message.attempt > attempt for record in records)

    def _bound_us(self, account_type: str) -> int | None:
        """Two windows and processing (G3): a mark may wait for the batch before it in its group, which waits for the
        end of its own newest window, and then in its own batch for the end of the newest window there."""
        if not self.settings.faults.is_none or self.settings.latency.slow:
            return None
        call_us = 3 * self.settings.latency.most_us
        marking_us = (1 + len(ACCOUNT_TYPES) * (len(SYMBOLS) + 2)) * call_us
        # Three rounds of load, prices, save; watchers, sending again what failed (two calls), forgetting.
        valuing_us = (3 * 3 + 1 + 2 + 1) * call_us + 3 * POLL_MOST_US
        turns = 2 * -(-self.settings.shards // self.settings.concurrency)
        window_ms = self.settings.window_ms[account_type]
        return marking_us + turns * (valuing_us + (window_ms + 2 * SKEW_MS) * MS)
