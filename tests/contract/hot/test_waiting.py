"""Valuations that wait, that fail and that race, over each store."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import count

import pytest
from msgspec.structs import replace

from foliostream.application.marking import Marker
from foliostream.application.pacing import Mark, Pacer
from foliostream.application.recalculate import recalculate
from foliostream.application.valuing import Pending, Valuer
from foliostream.domain.portfolio import Portfolio
from foliostream.domain.price import PriceUpdate
from foliostream.domain.valuation import decode_state
from tests.contract.hot.backends import NOW_MS, SHARDS, Backend
from tests.fakes.instruments import FakeInstruments
from tests.fakes.ledger import FakeLedger
from tests.fakes.notes import FakeNotes
from tests.fakes.queues import FakeQueues
from tests.unit.application.system import received
from tests.unit.domain.examples import STALE_AFTER_MS, booked, buy, deposit, empty, stock

MINUTE = 60_000


def _nothing_follows(pending: Sequence[Pending]) -> dict[str, str]:
    """All of them are cash accounts."""
    assert pending == []
    return {}


class Rig:
    """A container's parts over a store, with queues in memory."""

    def __init__(self, backend: Backend) -> None:
        self.backend, self.queues = backend, FakeQueues()
        nonces = count()
        self.marker = Marker(
            queues=self.queues,
            records=backend.store,
            clock=backend.clock,
            window_ms={"live": 200, "demo": 1000, "paper": 3000},
            flush_ms=100,
            shards=SHARDS,
            keys_per_message=500,
            new_nonce=lambda: str(next(nonces)),
        )
        self.pacer = Pacer(backend.store, self.marker, backend.clock)
        store = backend.store
        self.valuer = Valuer(
            store,
            store,
            store,
            FakeInstruments(stock("AAPL")),
            FakeLedger(),
            backend.holders,
            self.marker,
            backend.clock,
            FakeNotes(),
            STALE_AFTER_MS,
        )

    def put(self, name: str, interval_ms: int | None = None) -> Portfolio:
        """A book of ten AAPL and 9,000 USD."""
        book = booked(empty(portfolio_id=name), deposit("10000"), buy("10", "100"))
        book = replace(book, update_interval_ms=interval_ms)
        self.backend.store.put_book(book)
        return book

    def tick(self, last: str) -> None:
        clock = self.backend.clock
        self.backend.store.put([PriceUpdate("AAPL", clock.now_ms(), 0, last=Decimal(last))])

    def work(self, *queues: str) -> None:
        for queue in queues:
            bundles = self.queues.receive(queue)
            clock = self.backend.clock
            left = recalculate(
                received(bundles),
                valuer=self.valuer,
                pacer=self.pacer,
                follow_up=_nothing_follows,
                marker=self.marker,
                clock=clock,
                skew_ms=50,
            )
            assert left == []

    def mark(self, *names: str) -> None:
        self.marker.mark("live", [f"live:{name}" for name in names], self.marker.window("live"), "price")

    def total(self, name: str) -> Decimal | None:
        return decode_state(self.valuer.current_one(name).body).total_value


@pytest.fixture
def rig(backend: Backend) -> Rig:
    return Rig(backend)


def test_a_portfolio_with_an_interval_is_valued_at_its_end_with_the_last_price(rig: Rig) -> None:  # G1
    rig.put("slow", MINUTE)
    rig.put("fast")
    for last in ("101", "102", "103"):
        rig.tick(last)
        rig.mark("slow", "fast")
        rig.work("live")
    assert (rig.total("slow"), rig.total("fast")) == (10_010, 10_030)
    (delayed,) = rig.queues.receive("delayed")
    assert set(rig.backend.recorded("live", delayed.shard)) == {delayed.bundle_id}
    assert rig.queues.delays[0] in (58, 59, 60)
    rig.backend.clock.advance(rig.queues.delays[0] * 1_000)
    rig.queues.send("delayed", [delayed])
    rig.work("delayed")
    assert rig.backend.clock.now_ms() >= NOW_MS + MINUTE
    assert rig.total("slow") == 10_030
    assert rig.backend.recorded("live", delayed.shard) == {}


def test_two_containers_that_decide_at_once_promise_once(rig: Rig) -> None:
    portfolios = {f"p{number}": MINUTE for number in range(64)}
    clock = rig.backend.clock
    marks = {name: Mark(f"live:{name}", 0, clock.now_ms(), again=False) for name in portfolios}
    assert rig.pacer.hold_back(portfolios, marks) == set()
    clock.advance(1_000)
    marks = {name: mark._replace(price_window_ms=clock.now_ms()) for name, mark in marks.items()}
    with ThreadPoolExecutor(2) as pool:
        held = list(pool.map(lambda _: rig.pacer.hold_back(portfolios, marks), range(2)))
    assert held == [set(portfolios), set(portfolios)]
    promised = sorted(key for bundle in rig.queues.receive("delayed") for key in bundle.message.keys)
    assert len(promised) >= 64
    assert set(promised) == {f"live:{name}" for name in portfolios}
    assert all(pace.due_ms for pace in rig.backend.store.paces(list(portfolios)).values())


def test_a_poison_portfolio_has_one_chain_however_often_it_is_marked(rig: Rig) -> None:  # G3
    rig.put("good")
    for _ in range(10):
        rig.tick("101")
        rig.mark("good", "ghost")
        rig.work("live")
    (retry,) = rig.queues.receive("delayed")
    assert (retry.message.keys, retry.message.attempt) == (["live:ghost"], 1)
    assert rig.total("good") == 10_010
    rig.put("ghost")
    rig.queues.send("delayed", [retry])
    rig.work("delayed")
    assert rig.total("ghost") == 10_010
    assert rig.backend.store.paces(["ghost"])["ghost"].attempt == 0


@pytest.mark.parametrize("first", ["refresh", "window"])
def test_a_refresh_and_a_window_that_race_leave_the_newest_price_and_a_rising_version(rig: Rig, first: str) -> None:
    # The later one reads, the earlier one reads and writes in between, the later one's write is refused.  # G6
    store, clock = rig.backend.store, rig.backend.clock
    rig.put("p1")
    rig.tick("101")
    rig.valuer.value(["p1"])
    before = store.read(["p1"])["p1"].head
    rig.tick("102")
    rig.mark("p1")
    rig.marker.refresh("live:p1")
    queues = ("refresh", "live") if first == "refresh" else ("live", "refresh")
    load, raced = rig.valuer.books.load, []

    class Racing:
        put_book = store.put_book

        def load(self, ids: list[str]) -> object:
            found = load(ids)
            if not raced:
                raced.append(ids)
                clock.advance(1)
                rig.tick("103")
                rig.work(queues[0])
            return found

    object.__setattr__(rig.valuer, "books", Racing())
    rig.work(queues[1])
    after = store.read(["p1"])["p1"].head
    assert after.version > before.version
    assert rig.total("p1") == 10_030
    assert all(rig.backend.recorded("live", shard) == {} for shard in range(SHARDS))
