"""The bridge on virtual time: batches, gaps, silence, ties, a full backlog."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import pairwise

import pytest

from foliostream.application import bridging
from foliostream.application.bridging import Backlog, Bridge, Counts, Pace, Sender, Stop, pause_seconds, updates_of
from foliostream.domain.price import Price, PriceUpdate
from foliostream.errors import RetryableError
from tests.fakes.ticks import FakePriceQueue, FakePrices, FakeTicks, Time

TS = 1_772_101_800_000


class Run:
    """A bridge over scripted connections (an exception: one that cannot be made), until their time is over."""

    def __init__(self, *, limit: int = 1_000, batch_updates: int = 500) -> None:
        self.time = Time()
        self.prices = FakePrices()
        self.counts = Counts()
        self.lines: list[tuple[str, dict[str, object]]] = []
        self.backlog = Backlog(limit, self.counts, self.note)
        self.pace = Pace(0.05, batch_updates, 10.0, 3.0)
        self.handed_over: list[tuple[float, list[PriceUpdate]]] = []
        self.waited: list[float] = []
        put = self.backlog.put

        def recorded(updates: Sequence[PriceUpdate]) -> None:
            self.handed_over.append((round(self.time.now - 1_000, 3), list(updates)))
            put(updates)

        self.backlog.put = recorded  # type: ignore[method-assign]

    def note(self, level: str, event: str, **facts: object) -> None:
        self.lines.append((event, facts | {"level": level}))

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.time.now += seconds

    def go(self, seconds: float, *connections: Callable[[], FakeTicks]) -> None:
        left = list(connections)
        end = self.time.now + seconds

        def connect() -> FakeTicks:
            if not left:
                raise RetryableError("nobody listens")
            return left.pop(0)()

        bridge = Bridge(
            connect,
            self.prices,
            self.backlog,
            self.pace,
            counts=self.counts,
            note=self.note,
            stop=Stop(lambda: self.time.now >= end, self.wait),
            monotonic=self.time.monotonic,
            now_us=lambda: round(self.time.now * 1_000_000),
            jitter=lambda: 1.0,
        )
        bridge.run()

    def channel(self, *script: tuple[float, bytes], deaf: bool = False) -> Callable[[], FakeTicks]:
        return lambda: FakeTicks(self.time, script, deaf=deaf)

    @property
    def updates(self) -> list[PriceUpdate]:
        return [update for _, part in self.handed_over for update in part]


def json_of(symbol: str, price: int, ts: int = TS, seq: str = "") -> bytes:
    return f'{{"symbol":"{symbol}","last":{price},"ts":{ts}{seq}}}'.encode()


def price_of(last: int, ts: int = TS) -> Price:
    return Price(last=Decimal(last), last_ts_ms=ts)


def test_a_batch_goes_fifty_milliseconds_after_its_first_message() -> None:
    run = Run()
    run.go(1, run.channel((0.1, json_of("A", 1)), (0.14, json_of("B", 2)), (0.2, json_of("C", 3))))
    assert [(at, [update.symbol for update in part]) for at, part in run.handed_over] == [
        (0.15, ["A", "B"]),
        (0.25, ["C"]),
    ]


def test_a_batch_goes_at_once_when_it_has_its_number_of_updates() -> None:
    run = Run(batch_updates=3)
    run.go(1, run.channel(*[(0.1 + number / 1000, json_of("A", number + 1, TS + number)) for number in range(7)]))
    assert [len(part) for _, part in run.handed_over] == [3, 3, 1]
    assert run.handed_over[0][0] == pytest.approx(0.102)


def test_every_published_update_goes_also_of_one_symbol_in_one_batch() -> None:
    run = Run()
    run.go(1, run.channel(*[(0.1, json_of("A", number + 1, TS + number)) for number in range(5)]))
    assert [update.last for update in run.updates] == [1, 2, 3, 4, 5]


def test_a_name_is_looked_up_when_its_batch_ends_once_however_often_it_came() -> None:
    run = Run()
    run.prices.stored["M&M"] = price_of(7)
    run.go(1, run.channel((0.1, b"M&M"), (0.12, b"M&M"), (0.13, b' "M&M"\n')))
    assert [(update.symbol, update.ts_ms, update.last) for update in run.updates] == [("M&M", TS, 7)]
    assert run.prices.read == [["M&M"]]


@pytest.mark.parametrize(
    "message",
    [
        b'{"updates":[{"symbol":"A","last":1,"ts":1},{"symbol":"B","last":"2.50","ts":"2026-02-26T10:30:00Z"}]}',
        b' [{"symbol":"A","last":1,"ts":1},{"symbol":"B","last":2.50,"ts":1772101800000}]',
    ],
)
def test_a_message_may_hold_many_updates(message: bytes) -> None:
    run = Run()
    run.go(1, run.channel((0.1, message)))
    assert [(update.symbol, str(update.last)) for update in run.updates] == [("A", "1"), ("B", "2.50")]
    assert run.updates[1].ts_ms == TS


@pytest.mark.parametrize(
    "message", [b"", b"not a symbol", b"\xff\xfe", b"{", b"[1]", b'{"symbol":"A"}', b'{"updates":3}', b"[" * 5000]
)
def test_what_cannot_be_read_is_counted_and_told_and_stops_nobody(message: bytes) -> None:
    run = Run()
    run.go(1, run.channel((0.1, message), (0.11, json_of("A", 1))))
    assert run.counts.unreadable == 1
    assert ("unreadable", "warning") in [(event, facts["level"]) for event, facts in run.lines]
    assert [update.symbol for update in run.updates] == ["A"]


def test_after_a_gap_the_hashes_that_changed_meanwhile_are_read() -> None:
    run = Run()
    run.prices.stored = {"A": price_of(1), "B": price_of(2)}

    def lost() -> FakeTicks:
        ticks = FakeTicks(run.time, [(0.1, b"A"), (0.1, b"B"), (0.1, json_of("C", 3))])
        receive = ticks.receive

        def failing(seconds: float) -> object:
            if run.time.now > 1_000.5:
                run.prices.stored["A"] = price_of(9, TS + 1)
                raise RetryableError("connection reset")
            return receive(seconds)

        ticks.receive = failing  # type: ignore[method-assign, assignment]
        return ticks

    run.go(3, lost, run.channel())
    assert [(update.symbol, update.last) for update in run.updates] == [("C", 3), ("A", 1), ("B", 2), ("A", 9)]
    assert run.counts.connections == 2


def test_names_that_could_not_be_looked_up_are_looked_up_after_the_next_connection() -> None:
    run = Run()
    run.prices.stored["A"] = price_of(5)
    run.prices.failing = 1
    run.go(2, run.channel((0.1, b"A")), run.channel())
    assert [(update.symbol, update.ts_ms, update.last) for update in run.updates[:1]] == [("A", TS, 5)]


def test_it_connects_again_after_pauses_that_grow_to_a_limit() -> None:
    run = Run()
    run.go(100)
    assert run.waited[:4] == [0.1, 0.2, 0.4, 0.8]
    assert max(run.waited) == bridging.LONGEST_PAUSE_SECONDS
    assert all(first <= second for first, second in pairwise(run.waited))
    assert pause_seconds(3, lambda: 0.0) == pytest.approx(0.4)


def test_a_silent_server_is_asked_and_stays_when_it_answers() -> None:
    run = Run()
    made: list[FakeTicks] = []

    def quiet() -> FakeTicks:
        made.append(FakeTicks(run.time))
        return made[-1]

    run.go(35, quiet)
    assert len(made) == 1
    assert [round(at - 1_000, 1) for at in made[0].asked_at] == [10.0, 20.0, 30.0]
    assert made[0].closed


def test_what_a_silent_subscription_missed_is_read_when_it_answers() -> None:
    run = Run()
    run.prices.stored["A"] = price_of(1)

    def quiet() -> FakeTicks:
        run.prices.stored["A"] = price_of(1)
        return FakeTicks(run.time, [(0.1, b"A")])

    ticks = quiet()
    ask = ticks.ask

    def asked() -> None:
        run.prices.stored["A"] = price_of(2, TS + 5)
        ask()

    ticks.ask = asked  # type: ignore[method-assign]
    run.go(12, lambda: ticks)
    assert [update.last for update in run.updates] == [1, 2]


def test_a_server_that_does_not_answer_is_left_for_a_new_connection() -> None:
    run = Run()
    run.go(16, run.channel(deaf=True), run.channel((0.5, json_of("A", 1))))
    assert run.counts.connections == 2
    assert [update.symbol for update in run.updates] == ["A"]
    (facts,) = [facts for event, facts in run.lines if event == "source lost"]
    assert "no answer within 3.0 s" in str(facts["reason"])


def test_what_has_come_before_a_stop_is_still_delivered_and_an_endless_publisher_does_not_keep_it() -> None:
    run = Run()
    run.go(0.1, run.channel(*[(0.11 + number / 1000, json_of("A", number + 1)) for number in range(30)]))
    assert len(run.updates) == 30
    run = Run()
    run.go(0.1, run.channel(*[(number / 100, json_of("A", number + 1)) for number in range(1_000)]))
    assert 90 <= len(run.updates) <= 130


def test_updates_without_a_sequence_are_numbered_as_they_came_also_over_a_restart() -> None:
    run = Run()
    run.go(1, run.channel(*[(0.1, json_of("A", price)) for price in (1, 2, 2, 3)]))
    run.go(1, run.channel((0.1, json_of("A", 4))))
    assert [update.last for update in run.updates] == [1, 2, 2, 3, 4]
    assert all(first.seq < second.seq < 2**53 for first, second in pairwise(run.updates))


def test_a_hash_written_again_at_the_same_time_is_newer_and_an_unchanged_one_is_not() -> None:
    run = Run()

    def written() -> FakeTicks:
        ticks = FakeTicks(run.time, [(0.1, b"A"), (0.3, b"A"), (0.5, b"A")])
        receive = ticks.receive

        def receiving(seconds: float) -> object:
            first = run.updates[0].seq if run.updates else 0
            run.prices.stored["A"] = Price(
                last=Decimal(2 if run.time.now > 1_000.4 else 1), last_ts_ms=TS, last_seq=first
            )
            return receive(seconds)

        ticks.receive = receiving  # type: ignore[method-assign, assignment]
        return ticks

    run.go(1, written)
    first, unchanged, newer = run.updates
    assert (first.last, unchanged, newer.last) == (1, first, 2)
    assert newer.order > first.order


def test_a_sequence_of_the_publisher_stays_as_it_is() -> None:
    run = Run()
    run.go(1, run.channel((0.1, json_of("A", 1, seq=',"seq":7')), (0.1, json_of("A", 2, seq=',"seq":3'))))
    assert [update.seq for update in run.updates] == [7, 3]


def test_a_hash_gives_an_update_for_each_time_it_holds() -> None:
    price = Price(Decimal(1), Decimal(2), TS, 3, Decimal("1.5"), TS - 5, 0, Decimal(9), Decimal(8))
    assert updates_of("A", price) == [
        PriceUpdate("A", TS - 5, last=Decimal("1.5")),
        PriceUpdate("A", TS, 3, bid=Decimal(1), ask=Decimal(2), open=Decimal(9), previous_close=Decimal(8)),
    ]
    whole = Price(Decimal(1), Decimal(2), TS, 0, Decimal("1.5"), TS, 0)
    assert updates_of("A", whole) == [PriceUpdate("A", TS, bid=Decimal(1), ask=Decimal(2), last=Decimal("1.5"))]
    assert updates_of("A", Price(last=Decimal(1))) == []
    assert updates_of("A", None) == []


def test_a_hash_without_a_price_or_a_time_is_told() -> None:
    run = Run()
    run.prices.stored["A"] = Price(last=Decimal(1))
    run.go(1, run.channel((0.1, b"A"), (0.1, b"GONE")))
    assert run.updates == []
    assert run.counts.unreadable == 2


def many(count: int, symbols: int) -> list[PriceUpdate]:
    return [PriceUpdate(f"S{number % symbols}", TS + number, last=Decimal(number)) for number in range(count)]


def test_a_full_backlog_keeps_the_newest_of_every_symbol_and_counts_the_rest() -> None:
    run = Run(limit=100)
    run.backlog.put(many(101, 7))
    assert len(run.backlog) == 7
    assert (run.counts.conflated, run.counts.dropped) == (94, 0)
    assert [update.ts_ms for update in run.backlog.take(0) or []] == [TS + number for number in range(94, 101)]
    assert not run.backlog.reread()


def test_more_symbols_than_the_backlog_holds_lose_their_oldest_and_are_fetched_when_there_is_room() -> None:
    run = Run(limit=100)
    run.backlog.put(many(150, 150))
    assert len(run.backlog) == 90
    assert run.counts.dropped == 60
    assert not run.backlog.reread()
    assert [update.last for update in run.backlog.take(0) or []] == list(range(60, 150))
    assert run.backlog.reread()
    assert not run.backlog.reread()


def test_what_was_dropped_is_read_again_from_the_hashes() -> None:
    run = Run(limit=2, batch_updates=1)
    run.prices.stored = {name: price_of(number) for number, name in enumerate("ABCDE", 1)}

    def emptied() -> FakeTicks:
        ticks = FakeTicks(run.time, [(0.1, name.encode()) for name in "ABCDE"])
        receive = ticks.receive

        def receiving(seconds: float) -> object:
            if 1_000.5 < run.time.now < 1_001:
                run.backlog.take(0)
            return receive(seconds)

        ticks.receive = receiving  # type: ignore[method-assign, assignment]
        return ticks

    run.go(2, emptied)
    assert run.counts.dropped
    assert [update.symbol for update in run.updates[:5]] == list("ABCDE")
    assert [update.symbol for update in run.updates[5:10]] == list("ABCDE")


def sender(run: Run, queue: FakePriceQueue) -> Sender:
    stopped: list[bool] = []
    return Sender(
        run.backlog,
        queue,
        run.counts,
        run.note,
        give_up=lambda: stopped.append(True),
        wait=run.wait,
        jitter=lambda: 1.0,
    )


def test_the_sender_tries_until_the_queue_answers_and_loses_nothing() -> None:
    run, queue = Run(limit=20_000), FakePriceQueue()
    queue.failing = 3
    updates = many(7_000, 9)
    run.backlog.put(updates)
    run.backlog.close()
    sender(run, queue).run()
    assert queue.sent == updates
    assert run.waited == [0.1, 0.2, 0.4]
    assert run.counts.sent == 7_000


def test_the_sender_gives_up_when_no_retry_can_help_and_says_what_it_holds() -> None:
    run, queue = Run(), FakePriceQueue()
    queue.refusing = True
    run.backlog.put(many(3, 3))
    sending = sender(run, queue)
    sending.run()
    assert sending.fault is not None
    assert len(sending.held) == 3
