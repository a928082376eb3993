"""The stores: the in-memory ones that pass the contract suites, reached over the network of each machine.

What one call does to several items is no transaction, as in the real ones; one item is. Reads are strongly consistent
unless ``Stores.eventual_us`` says otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial

import msgspec

from foliostream.application.receiving import Change
from foliostream.domain import portfolio as books
from foliostream.domain.changes import Change as Amendment
from foliostream.domain.coalescing import Bundle, DirtyMessage
from foliostream.domain.instrument import Instrument
from foliostream.domain.pacing import Pace
from foliostream.domain.portfolio import Portfolio, Transaction
from foliostream.domain.price import Price, PriceUpdate
from foliostream.domain.sessions import Told
from foliostream.ports import (
    Admitted,
    Candidate,
    Closed,
    Connection,
    ConnectionView,
    Delayed,
    Outgoing,
    Paced,
    Saved,
    Stored,
    StoredSnapshot,
)
from foliostream.ports import Subscription as Subscribed
from tests.fakes.bus import FakeBus
from tests.fakes.connections import FakeConnections
from tests.fakes.gateway import FakeGateway
from tests.fakes.hot_store import FakeHotStore
from tests.fakes.instruments import FakeInstruments
from tests.fakes.ledger import FakeLedger
from tests.fakes.notes import FakeNotes
from tests.fakes.notices import FakeNotices
from tests.fakes.sessions import FakeSessions
from tests.simulation.checks import Watch
from tests.simulation.lambdas import Invocation, StreamSource, current_invocation
from tests.simulation.machines import Machine, Network
from tests.simulation.queues import Message, Queue
from tests.simulation.world import SECOND, World

DELAYED = "delayed"


class StreamingLedger(FakeLedger):
    """A ledger whose portfolios' changes go to a stream; the lane follows from the portfolio."""

    def __init__(self, lanes: Sequence[StreamSource[object]], watch: Watch) -> None:
        super().__init__()
        self.lanes = lanes
        self._watch = watch
        self._sequence = 0

    def create(self, portfolio: Portfolio, transactions: Sequence[Transaction], request_digest: str) -> None:
        super().create(portfolio, transactions, request_digest)
        self._changed(portfolio)

    def commit(
        self,
        portfolio: Portfolio,
        transactions: Sequence[Transaction],
        opened: Collection[str],
        closed: Collection[str],
    ) -> None:
        super().commit(portfolio, transactions, opened, closed)
        self._changed(portfolio)

    def amend(self, portfolio: Portfolio, change: Amendment) -> None:
        super().amend(portfolio, change)
        self._changed(portfolio)

    def _changed(self, portfolio: Portfolio) -> None:
        self._sequence += 1
        self._watch.committed(portfolio)
        change = Change(f"{self._sequence:021d}", portfolio.key, books.encode(portfolio))
        self.lanes[sum(portfolio.portfolio_id.encode()) % len(self.lanes)].append(change)


class Stores:
    """What all machines share. ``eventual_us``: how old a read of prices and dependents may be (a fault)."""

    def __init__(self, world: World, clock: Machine, instruments: Sequence[Instrument], watch: Watch) -> None:
        self.world = world
        self.watch = watch
        self.hot = FakeHotStore(clock)
        self.ledger = StreamingLedger([], watch)
        self.instruments = FakeInstruments(*instruments)
        self.connections = FakeConnections()
        self.gateway = FakeGateway()
        self.notes = FakeNotes()
        self.notices = FakeNotices()
        self.sessions = FakeSessions()
        self.bus = FakeBus()
        self.queues: dict[str, Queue] = {}
        self.given_up: list[tuple[str, DirtyMessage, str]] = []
        self.eventual_us = 0
        self._was: dict[str, list[tuple[int, Price]]] = {}

    def put_price(self, update: PriceUpdate) -> bool:
        [taken] = self.hot.put([update])
        if taken:
            stored = self.hot.prices[update.symbol]
            self._was.setdefault(update.symbol, []).append((self.world.now_us, stored))
            self.watch.priced(update.symbol, stored)
        return taken

    def price(self, symbol: str) -> Price | None:
        if self.eventual_us:
            old_us = self.world.now_us - self.world.between(0, self.eventual_us)
            was = [price for at_us, price in self._was.get(symbol, []) if at_us <= old_us]
            return was[-1] if was else None
        return self.hot.prices.get(symbol)

    def save(self, candidate: Candidate, by: Invocation | None) -> Saved:
        [saved] = self.hot.save([candidate])
        self.watch.saved(candidate, saved, by)
        return saved

    def add_holder(self, portfolio_key: str, symbols: Collection[str]) -> None:
        self.hot.add(portfolio_key, symbols)
        self.watch.added(portfolio_key, symbols)

    def record(self, account_type: str, bundle: Bundle) -> None:
        self.hot.record(account_type, [bundle])

    def forget(self, account_type: str, bundle_id: tuple[int, str], by: Invocation | None) -> None:
        record = self.hot.records.get((account_type, *bundle_id))
        if record is not None:
            self.watch.forgets(record.message, by)
        self.hot.forget(account_type, [bundle_id])

    def enqueue(self, queue: str, bundle: Bundle) -> None:
        self.watch.sent(queue, bundle.message)
        body = msgspec.json.encode(bundle.message).decode()
        self.queues[queue].send(
            body, group=str(bundle.shard), deduplication_id=bundle.deduplication_id, content=bundle.message
        )

    def enqueue_later(self, delayed: Delayed) -> None:
        message = delayed.bundle.message
        self.watch.sent(DELAYED, message)
        body = msgspec.json.encode(message).decode()
        self.queues[DELAYED].send(body, content=message, delay_us=delayed.delay_seconds * SECOND)

    def pace(self, change: Paced) -> bool:
        [stands] = self.hot.pace([change])
        if stands:
            self.watch.paced(change)
        return stands

    def give_up(self, queue: str, message: DirtyMessage, reason: str) -> None:
        self.given_up.append((queue, message, reason))
        self.watch.gave_up(queue, message, reason)

    def post(self, connection_id: str, payload: bytes) -> bool:
        is_there = self.gateway.post(connection_id, payload)
        if is_there:
            self.watch.posted(connection_id, payload)
        return is_there

    def publish(self, detail_type: str, detail: Mapping[str, object]) -> None:
        self.bus.publish(detail_type, [detail])
        self.watch.published(detail_type, detail)

    def lost(self) -> list[Message]:
        """Messages that a queue gave up."""
        return [message for queue in self.queues.values() for message in queue.dead]


class RemoteHot:
    """The ports ``HotStore`` and ``Holders`` as one machine sees them."""

    def __init__(self, stores: Stores, network: Network) -> None:
        self._stores = stores
        self._hot = stores.hot
        self._call = network.call

    def get(self, symbols: Collection[str]) -> dict[str, Price]:
        names = sorted(symbols)
        found = self._call("prices.get", [partial(self._stores.price, name) for name in names])
        return {name: price for name, price in zip(names, found, strict=True) if price is not None}

    def put(self, updates: Sequence[PriceUpdate]) -> list[bool]:
        return self._call(
            "prices.put", [partial(self._stores.put_price, item) for item in updates], in_order=True, repeatable=True
        )

    def holders(self, symbols: Collection[str], account_type: str) -> Iterator[Sequence[str]]:
        for symbol in sorted(symbols):
            [parts] = self._call("holders", [lambda name=symbol: list(self._hot.holders([name], account_type))])
            yield from parts

    def add(self, portfolio_key: str, symbols: Collection[str]) -> None:
        names = sorted(symbols)
        self._call(
            "holders.add", [partial(self._stores.add_holder, portfolio_key, [name]) for name in names], repeatable=True
        )

    def put_book(self, portfolio: Portfolio) -> None:
        self._call("put_book", [partial(self._hot.put_book, portfolio)], repeatable=True)

    def load(self, portfolio_ids: Sequence[str]) -> dict[str, Stored]:
        """Head and book are two reads in this order."""
        steps = [partial(self._hot.load, [name]) for name in portfolio_ids for _ in range(2)]
        found = self._call("load", steps, in_order=True)
        heads, stored = found[::2], found[1::2]
        return {
            name: Stored(first[name].head, second[name].book)
            for name, first, second in zip(portfolio_ids, heads, stored, strict=True)
        }

    def read(self, portfolio_ids: Sequence[str]) -> dict[str, StoredSnapshot]:
        """Snapshot and book are two reads in this order."""
        steps = [partial(self._hot.read, [name]) for name in portfolio_ids for _ in range(2)]
        found = self._call("read", steps, in_order=True)
        return {
            name: first[name]._replace(book=second[name].book)
            for name, first, second in zip(portfolio_ids, found[::2], found[1::2], strict=True)
            if name in first
        }

    def save(self, candidates: Sequence[Candidate]) -> list[Saved]:
        self._stores.watch.valued(candidates)
        by = current_invocation()
        return self._call("save", [partial(self._stores.save, item, by) for item in candidates])

    def watch(self, portfolio_id: str, connection_id: str, lease_until_ms: int) -> None:
        self._call("watch", [partial(self._hot.watch, portfolio_id, connection_id, lease_until_ms)], repeatable=True)

    def unwatch(self, portfolio_id: str, connection_ids: Collection[str]) -> None:
        self._call("unwatch", [partial(self._hot.unwatch, portfolio_id, connection_ids)], repeatable=True)

    def watchers(self, portfolio_ids: Collection[str], at_ms: int) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for part in self._call(
            "watchers", [partial(self._hot.watchers, [name], at_ms) for name in sorted(portfolio_ids)]
        ):
            found |= part
        return found

    def record(self, account_type: str, bundles: Sequence[Bundle]) -> None:
        self._call(
            "record", [partial(self._stores.record, account_type, bundle) for bundle in bundles], repeatable=True
        )

    def forget(self, account_type: str, bundle_ids: Collection[tuple[int, str]]) -> None:
        by = current_invocation()
        steps = [partial(self._stores.forget, account_type, name, by) for name in sorted(bundle_ids)]
        self._call("forget", steps, repeatable=True)

    def paces(self, portfolio_ids: Collection[str]) -> dict[str, Pace]:
        found: dict[str, Pace] = {}
        for part in self._call("paces", [partial(self._hot.paces, [name]) for name in portfolio_ids]):
            found |= part
        return found

    def pace(self, changes: Sequence[Paced]) -> list[bool]:
        return self._call("pace", [partial(self._stores.pace, change) for change in changes], repeatable=True)


class RemoteQueues:
    """The port ``Queues``."""

    def __init__(self, stores: Stores, network: Network) -> None:
        self._stores = stores
        self._call = network.call

    def send(self, queue: str, bundles: Sequence[Bundle]) -> None:
        steps = [partial(self._stores.enqueue, queue, bundle) for bundle in bundles]
        self._call(f"send to {queue}", steps, in_order=True, repeatable=True)

    def send_later(self, delayed: Sequence[Delayed]) -> None:
        steps = [partial(self._stores.enqueue_later, item) for item in delayed]
        self._call("send to delayed", steps, in_order=True, repeatable=True)

    def dead_letter(self, queue: str, message: DirtyMessage, reason: str) -> None:
        self._call("dead_letter", [partial(self._stores.give_up, queue, message, reason)], repeatable=True)


class RemoteLedger:
    """The part of the port ``Ledger`` that the simulated functions use."""

    def __init__(self, stores: Stores, network: Network) -> None:
        self._ledger = stores.ledger
        self._call = network.call

    def load(self, portfolio_ids: Collection[str]) -> dict[str, Portfolio]:
        found: dict[str, Portfolio] = {}
        for part in self._call("ledger.load", [partial(self._ledger.load, [name]) for name in sorted(portfolio_ids)]):
            found |= part
        return found

    def create(self, portfolio: Portfolio, transactions: Sequence[Transaction], request_digest: str) -> None:
        self._call("ledger.create", [partial(self._ledger.create, portfolio, transactions, request_digest)])

    def request_digest(self, portfolio_id: str) -> str | None:
        [digest] = self._call("ledger.digest", [partial(self._ledger.request_digest, portfolio_id)])
        return digest

    def commit(
        self,
        portfolio: Portfolio,
        transactions: Sequence[Transaction],
        opened: Collection[str],
        closed: Collection[str],
    ) -> None:
        self._call("ledger.commit", [partial(self._ledger.commit, portfolio, transactions, opened, closed)])

    def amend(self, portfolio: Portfolio, change: Amendment) -> None:
        self._call("ledger.amend", [partial(self._ledger.amend, portfolio, change)])

    def transactions(self, portfolio_id: str, transaction_ids: Collection[str]) -> dict[str, Transaction]:
        [found] = self._call(
            "ledger.transactions", [partial(self._ledger.transactions, portfolio_id, list(transaction_ids))]
        )
        return found


class RemoteConnections:
    """The port ``Connections``."""

    def __init__(self, stores: Stores, network: Network) -> None:
        self._all = stores.connections
        self._call = network.call

    def open(self, connection: Connection) -> None:
        self._call("connections.open", [partial(self._all.open, connection)])

    def view(self, connection_id: str, now_ms: int) -> ConnectionView | None:
        [view] = self._call("connections.view", [partial(self._all.view, connection_id, now_ms)])
        return view

    def close(self, connection_id: str) -> Closed:
        [gone] = self._call("connections.close", [partial(self._all.close, connection_id)])
        return gone

    def admit(self, connection_id: str, now_ms: int, interval_ms: int, burst_ms: int) -> Admitted:
        [admitted] = self._call("admit", [partial(self._all.admit, connection_id, now_ms, interval_ms, burst_ms)])
        return admitted

    def subscribe(self, connection: Connection, subscriptions: Collection[Subscribed]) -> None:
        self._call("subscribe", [partial(self._all.subscribe, connection, list(subscriptions))])

    def unsubscribe(self, connection_id: str, portfolio_ids: Collection[str]) -> None:
        self._call("unsubscribe", [partial(self._all.unsubscribe, connection_id, list(portfolio_ids))])

    def mark_sent(self, connection: Connection, subscriptions: Sequence[Subscribed]) -> None:
        self._call("mark_sent", [partial(self._all.mark_sent, connection, [item]) for item in subscriptions])

    def enqueue(self, letters: Sequence[tuple[str, Outgoing]], expires_at_ms: int) -> None:
        self._call("enqueue", [partial(self._all.enqueue, [letter], expires_at_ms) for letter in letters])

    def dequeue(self, connection_id: str, entry_ids: Collection[str]) -> None:
        self._call("dequeue", [partial(self._all.dequeue, connection_id, list(entry_ids))])

    def note_events(self, connection_id: str, event_ids: Sequence[str]) -> None:
        self._call("note_events", [partial(self._all.note_events, connection_id, list(event_ids))])

    def note_told(self, connection_id: str, told: Told) -> None:
        self._call("note_told", [partial(self._all.note_told, connection_id, told)])

    def note_touched(self, connection_id: str, touched_at_ms: int) -> None:
        self._call("note_touched", [partial(self._all.note_touched, connection_id, touched_at_ms)])

    def note_restored(self, connection_id: str) -> None:
        self._call("note_restored", [partial(self._all.note_restored, connection_id)])


class RemoteGateway:
    """The port ``Gateway``."""

    def __init__(self, stores: Stores, network: Network) -> None:
        self._stores = stores
        self._call = network.call

    def post(self, connection_id: str, payload: bytes) -> bool:
        [is_there] = self._call("post", [partial(self._stores.post, connection_id, payload)])
        return is_there

    def close(self, connection_id: str) -> None:
        self._call("close", [partial(self._stores.gateway.close, connection_id)])


class RemoteBus:
    """The port ``EventBus``."""

    def __init__(self, stores: Stores, network: Network) -> None:
        self._stores = stores
        self._call = network.call

    def publish(self, detail_type: str, details: Sequence[Mapping[str, object]]) -> None:
        steps = [partial(self._stores.publish, detail_type, detail) for detail in details]
        self._call("publish", steps, repeatable=True)
