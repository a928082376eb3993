"""The deployed system on virtual time: our use cases in containers, over the model of queues, stores and clocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

from greenlet import getcurrent

from foliostream.application import price_input, recalculate, update_prices
from foliostream.application.access import Caller
from foliostream.application.margin_events import MarginFollowUp
from foliostream.application.marking import Marker
from foliostream.application.push import push
from foliostream.application.receiving import Change, Received
from foliostream.domain.coalescing import DirtyMessage
from foliostream.domain.instrument import Instrument
from foliostream.domain.keys import ACCOUNT_TYPES, split_key
from foliostream.domain.pacing import NO_PACE
from foliostream.settings import Settings as Deployed
from foliostream.wiring import Wiring
from tests.fakes.liquidations import FakeLiquidations
from tests.simulation.checks import SKEW_MS, Watch
from tests.simulation.lambdas import POLL_MOST_US, Function, Invocation, QueueSource, StreamSource
from tests.simulation.machines import CALLS, Faults, Latency, Machine, Network
from tests.simulation.queues import Queue
from tests.simulation.stores import (
    DELAYED,
    RemoteBus,
    RemoteConnections,
    RemoteGateway,
    RemoteHot,
    RemoteLedger,
    RemoteQueues,
    Stores,
)
from tests.simulation.world import MS, SECOND, World
from tests.support.environment import ENVIRONMENT

EPOCH_MS = 1_772_101_800_000  # 2026-02-26T10:30:00.000Z
DEPLOYED = Deployed.read(ENVIRONMENT)
TIMEOUT_US = 30 * SECOND
REST_TIMEOUT_US = 29 * SECOND
LANES = 2
ALICE = Caller("alice", frozenset({"fills:write", "prices:write"}))
SYMBOLS = ("AAPL", "GOOGL", "MSFT", "TSLA")
INSTRUMENTS = tuple(Instrument(symbol, "stock", "USD") for symbol in SYMBOLS)


@dataclass
class Settings:
    """Of one run. ``margin``: the share of accounts with margin, all of them short; ``paced``: the share of portfolios
    that begin with one of ``intervals_ms``; ``skew_us``: how far two machines' clocks are apart at most; ``calls``: of
    these the fragile and the slow one are chosen for each storm."""

    window_ms: dict[str, int] = field(default_factory=lambda: {"live": 200, "demo": 1000, "paper": 3000})
    shards: int = 4
    keys_per_message: int = 500
    margin: float = 0.2
    paced: float = 0.3
    intervals_ms: Sequence[int | None] = (None, 1_000, 2_000, 5_000, 60_000)
    concurrency: int = 5
    skew_us: int = SKEW_MS * MS
    is_unsteady: bool = False
    latency: Latency = field(default_factory=lambda: Latency(3 * MS, 10 * MS))
    faults: Faults = field(default_factory=Faults)
    eventual_us: int = 0
    calls: Sequence[str] = CALLS


class Container(Wiring):
    """What a cold start makes: the very parts that are deployed, over this machine's clock and network."""

    def __init__(self, system: System, name: str) -> None:
        run, stores = system.settings, system.stores
        super().__init__(
            replace(
                DEPLOYED,
                hot_store="valkey",  # dependents are where the prices are
                window_ms=run.window_ms,
                shards=run.shards,
                keys_per_message=run.keys_per_message,
            )
        )
        self._new_nonce = system.new_nonce
        self.clock = Machine(system.world, name, skew_us=run.skew_us, is_unsteady=run.is_unsteady)
        network = Network(system.world, run.faults, run.latency, name)
        self.hot = self.holders = RemoteHot(stores, network)
        self.queues = RemoteQueues(stores, network)
        self.ledger = RemoteLedger(stores, network)
        self.bus = RemoteBus(stores, network)
        self.connections = RemoteConnections(stores, network)
        self.gateway = RemoteGateway(stores, network)
        self.instruments = stores.instruments
        self.sessions = stores.sessions
        self._notes = stores.notes
        self.notices = stores.notices

    @cached_property
    def margin_follow_up(self) -> MarginFollowUp:
        """Nobody here has what stops out closed: what is ordered stays a promise of the next valuation."""
        self._sqs = None
        return replace(super().margin_follow_up, liquidations=FakeLiquidations())

    @cached_property
    def marker(self) -> Marker:
        """With names that are the same whenever the seed is."""
        return replace(super().marker, new_nonce=self._new_nonce)

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
            instruments=self.instruments,
            marker=self.marker,
            clock=self.clock,
        )

    def recalculate(self, received: Sequence[Received]) -> list[str]:
        return recalculate.recalculate(
            received,
            valuer=self.valuer,
            pacer=self.pacer,
            marker=self.marker,
            clock=self.clock,
            skew_ms=self.settings.skew_ms,
            follow_up=lambda pending: self.margin_follow_up(pending),
        )

    def push(self, received: Sequence[Received]) -> list[str]:
        return push(
            received,
            sender=self.sender,
            marker=self.marker,
            clock=self.clock,
            each=map,
            skew_ms=self.settings.skew_ms,
        )

    def project_ledger(self, changes: Sequence[Change]) -> list[str]:
        return self.ledger_projection(changes).again


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
        self.watch.is_promised_again = self._is_promised_again

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
        for name in ("bulk", "refresh", DELAYED):
            self._source(self._queue(name, is_fifo=False), "recalculate", Container.recalculate)
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

    def _is_promised_again(self, key: str, message: DirtyMessage) -> bool:
        """On record for another try or a later time, or noted for a later time, by somebody who sees to the rest."""
        pace = self.stores.hot.kept_paces.get(split_key(key)[1], NO_PACE)
        if pace.retry_ms or pace.due_ms > message.window_end_ms:
            return True
        others = [record.message for record in self.stores.hot.records.values() if key in record.message.keys]
        return any(other.attempt > message.attempt or other.window_end_ms > message.window_end_ms for other in others)

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
