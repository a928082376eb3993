"""Ticks of a publisher's channel on their way to the price queue: read, batched, held while the queue does not answer.

A message is the name of a symbol, whose price then stands in the publisher's hash, or the JSON of POST /api/v1/prices.
Of a name that comes several times within a batch the hash is read once: it never held more than its newest price.
Nothing else is left out, unless the backlog is full: then a symbol's older updates that a newer one covers go first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from threading import Condition
from typing import Protocol

from msgspec.structs import replace as changed

from foliostream.application import price_input
from foliostream.domain import conflation, keys
from foliostream.domain.price import Price, PriceUpdate
from foliostream.errors import CallerError, PermanentError, RetryableError
from foliostream.ports import PriceQueue, PriceReader, Ticks

# Symbols whose hashes are read again after a gap; a publisher with more of them is told in the log.
SYMBOLS_MAX = 200_000
# Hashes read in one go: the channel waits meanwhile.
READ_SYMBOLS_MAX = 2_000
# Updates taken from the backlog at once: ten messages of 500.
SEND_UPDATES_MAX = 5_000
# When told to stop: how long at most, and for how long a silence, the channel is still read.
DRAIN_SECONDS = 1.0
LAST_WAIT_SECONDS = 0.02
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 15.0


class Note(Protocol):
    """Writes a log line."""

    def __call__(self, level: str, event: str, **facts: object) -> None:
        """``level`` is info, warning or error."""


@dataclass
class Counts:
    """What happened since the start. ``unreadable`` messages, hashes and updates could not be understood;
    ``conflated`` and ``dropped`` updates went because the backlog was full."""

    messages: int = 0
    updates: int = 0
    hashes_read: int = 0
    unreadable: int = 0
    sent: int = 0
    conflated: int = 0
    dropped: int = 0
    connections: int = 0

    def facts(self) -> dict[str, object]:
        """For a log line."""
        return asdict(self)


@dataclass(frozen=True)
class Pace:
    """A batch goes when it is ``batch_seconds`` old or has ``batch_updates``. After ``silence_seconds`` without a word
    the server is asked, and has ``answer_seconds`` to say something."""

    batch_seconds: float
    batch_updates: int
    silence_seconds: float
    answer_seconds: float


@dataclass(frozen=True)
class Stop:
    """Says whether to stop, and waits no longer than until then."""

    is_set: Callable[[], bool]
    wait: Callable[[float], object]


def pause_seconds(failures: int, jitter: Callable[[], float]) -> float:
    """Doubling from 0.1 to 15 s, of which a random half to the whole is waited; ``jitter`` gives 0 to 1."""
    longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures, 20))
    return longest * (0.5 + jitter() / 2)


class Backlog:
    """Updates between reader and sender, at most ``limit``; the reader never waits for the sender.

    When it is full, updates that another one covers go (``conflated``); when every symbol's newest alone are too many,
    the oldest go (``dropped``), and ``reread`` says once it is empty again that prices must be fetched where they are.
    """

    def __init__(self, limit: int, counts: Counts, note: Note) -> None:
        self._limit = limit
        self._counts = counts
        self._note = note
        self._updates: deque[PriceUpdate] = deque()
        self._changed = Condition()
        self._closed = False
        self._lossy = False

    def __len__(self) -> int:
        return len(self._updates)

    def put(self, updates: Sequence[PriceUpdate]) -> None:
        """Never waits."""
        with self._changed:
            self._updates.extend(updates)
            if len(self._updates) > self._limit:
                self._shrink()
            self._changed.notify()

    def take(self, seconds: float) -> list[PriceUpdate] | None:
        """The oldest, at most ``SEND_UPDATES_MAX``; empty if there were none for so long; None once it is closed and
        empty."""
        with self._changed:
            if not self._updates and not self._closed:
                self._changed.wait(seconds)
            if not self._updates:
                return None if self._closed else []
            return [self._updates.popleft() for _ in range(min(SEND_UPDATES_MAX, len(self._updates)))]

    def close(self) -> None:
        """Nothing more will be put."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def reread(self) -> bool:
        """True once after updates were dropped, as soon as there is room again."""
        with self._changed:
            ready = self._lossy and not self._updates
            self._lossy = self._lossy and not ready
            return ready

    def _shrink(self) -> None:
        before = len(self._updates)
        kept = conflation.newest(self._updates)
        conflated = before - len(kept)
        # Room for a while, so that not every batch has to go through all of it.
        room = self._limit - self._limit // 10
        dropped = len(kept) - room if len(kept) > self._limit else 0
        self._updates = deque(kept[dropped:])
        self._lossy = self._lossy or dropped > 0
        self._counts.conflated += conflated
        self._counts.dropped += dropped
        self._note("error" if dropped else "warning", "backlog full", conflated=conflated, dropped=dropped)


@dataclass
class _Ties:
    """Gives updates without a ``seq`` one: their arrival in microseconds, rising, also over a restart. The queue keeps
    no order, and of a full tie the later one shall win. A sequence of the publisher's stays, unless other values of a
    symbol's part and time already went under it (a hash written again within the resolution of its ``ts``)."""

    now_us: Callable[[], int]
    newest: dict[tuple[str, bool, bool], PriceUpdate] = field(default_factory=dict)
    last_us: int = 0

    def ordered(self, update: PriceUpdate) -> PriceUpdate:
        if update.seq:
            return update
        self.last_us = max(self.last_us + 1, self.now_us())
        return changed(update, seq=self.last_us)

    def ordered_again(self, update: PriceUpdate) -> PriceUpdate:
        """Of a hash, which may have been read before."""
        place = update.symbol, update.has_quote, update.last is not None
        before = self.newest.get(place)
        if before is not None and before.ts_ms == update.ts_ms and update.seq <= before.seq:
            same = changed(update, seq=before.seq) == before
            update = before if same else changed(update, seq=0)
        update = self.ordered(update)
        if before is not None or len(self.newest) < SYMBOLS_MAX:
            self.newest[place] = update
        return update


class Bridge:
    """Reads a channel into the backlog until it is told to stop. Everything it waits for has an end."""

    def __init__(
        self,
        connect: Callable[[], Ticks],
        prices: PriceReader,
        backlog: Backlog,
        pace: Pace,
        *,
        counts: Counts,
        note: Note,
        stop: Stop,
        monotonic: Callable[[], float],
        now_us: Callable[[], int],
        jitter: Callable[[], float],
    ) -> None:
        self._connect = connect
        self._prices = prices
        self._backlog = backlog
        self._pace = pace
        self._counts = counts
        self._note = note
        self._stop = stop
        self._monotonic = monotonic
        self._jitter = jitter
        self._ties = _Ties(now_us)
        self._seen: dict[str, Price | None] = {}
        self._names: dict[str, None] = {}
        self._updates: list[PriceUpdate] = []
        self._batch_ends = 0.0
        self._failures = 0

    def run(self) -> None:
        """Connects, reads, and connects again after growing pauses, until stopped."""
        while not self._stop.is_set():
            try:
                self._session()
            except RetryableError as fault:
                pause = pause_seconds(self._failures, self._jitter)
                self._failures += 1
                self._note("warning", "source lost", reason=fault.message, again_in_seconds=round(pause, 3))
                self._stop.wait(pause)

    def _session(self) -> None:
        ticks = self._connect()
        try:
            self._counts.connections += 1
            self._note("info", "subscribed", symbols_read_again=len(self._seen))
            self._read_all()
            self._listen(ticks)
        finally:
            ticks.close()
            self._hand_over()  # names that were not read yet are among those that the next session reads

    def _listen(self, ticks: Ticks) -> None:
        heard_at, asked = self._monotonic(), False
        while not self._stop.is_set():
            now = self._monotonic()
            patience = self._pace.silence_seconds + (self._pace.answer_seconds if asked else 0.0)
            heard = ticks.receive(max(0.0, min(self._next_end(now), heard_at + patience - now)))
            now = self._monotonic()
            if heard is not None:
                heard_at, self._failures = now, 0
                if heard.message is not None:
                    self._take(heard.message, now)
                elif asked:
                    self._read_all()  # whatever was silent may have been so for a reason
                asked = False
            elif now - heard_at >= patience:
                if asked:
                    raise RetryableError(f"silent, and no answer within {self._pace.answer_seconds} s")
                asked = True
                ticks.ask()
            self._flush_if_due(now)
        self._drain(ticks)
        self._flush()

    def _drain(self, ticks: Ticks) -> None:
        """What has come before the stop and was not read yet; a publisher that never pauses is left after a second."""
        end = self._monotonic() + DRAIN_SECONDS
        while (now := self._monotonic()) < end and (heard := ticks.receive(LAST_WAIT_SECONDS)) is not None:
            if heard.message is not None:
                self._take(heard.message, now)
            self._flush_if_due(now)

    def _next_end(self, now: float) -> float:
        """Seconds until something has to be done; 0.2 at most, so that a stop is seen."""
        waiting = bool(self._names or self._updates)
        return min(0.2, self._batch_ends - now) if waiting else 0.2

    def _take(self, message: bytes, now: float) -> None:
        if not self._names and not self._updates:
            self._batch_ends = now + self._pace.batch_seconds
        self._counts.messages += 1
        try:
            if message.lstrip()[:1] in (b"{", b"["):
                self._take_updates(message)
            else:
                name = keys.symbol(message.decode(errors="replace").strip().strip('"'))
                self._remember(name)
                self._names[name] = None
        except CallerError as fault:
            self._unreadable(message[:80].decode(errors="replace"), fault.message)

    def _take_updates(self, message: bytes) -> None:
        parsed = price_input.from_message(message)
        for refused in parsed.refused:
            self._unreadable(refused.symbol, refused.message)
        for update in parsed.updates:
            self._remember(update.symbol)
            self._updates.append(self._ties.ordered(update))

    def _remember(self, symbol: str) -> None:
        if symbol in self._seen:
            return
        if len(self._seen) < SYMBOLS_MAX:
            self._seen[symbol] = None
        elif len(self._seen) == SYMBOLS_MAX:
            self._note("warning", "too many symbols to remember", limit=SYMBOLS_MAX, first=symbol)

    def _unreadable(self, what: str, reason: str) -> None:
        self._counts.unreadable += 1
        self._note("warning", "unreadable", what=what, reason=reason[:300])

    def _flush_if_due(self, now: float) -> None:
        waiting = len(self._names) + len(self._updates)
        if waiting and (now >= self._batch_ends or waiting >= self._pace.batch_updates):
            self._flush()
        if self._backlog.reread():
            self._seen = dict.fromkeys(self._seen)
            self._read_all()

    def _flush(self) -> None:
        names = list(self._names)
        if names:
            self._read(names, again=False)
        self._names.clear()
        self._hand_over()

    def _hand_over(self) -> None:
        if self._updates:
            self._counts.updates += len(self._updates)
            self._backlog.put(self._updates)
            self._updates = []

    def _read_all(self) -> None:
        """What was published while nobody listened: the hashes of all symbols that were ever named, if they changed."""
        names = list(self._seen)
        for start in range(0, len(names), READ_SYMBOLS_MAX):
            self._read(names[start : start + READ_SYMBOLS_MAX], again=True)
            self._hand_over()

    def _read(self, names: Sequence[str], *, again: bool) -> None:
        found = self._prices.get(names)
        self._counts.hashes_read += len(found)
        for name in names:
            price = found.get(name)
            if again and (price is None or price == self._seen[name]):
                continue
            updates = updates_of(name, price)
            if not updates:
                self._unreadable(name, f"market:{name} holds no price with a time")
            if name in self._seen:
                self._seen[name] = price
            self._updates += map(self._ties.ordered_again, updates)


def updates_of(symbol: str, price: Price | None) -> list[PriceUpdate]:
    """A stored price as the updates that it came from: one, or two where quote and last have times of their own.
    Without a time it is no price."""
    if price is None:
        return []
    parts = []
    if price.last is not None and price.last_ts_ms:
        parts.append(PriceUpdate(symbol, price.last_ts_ms, price.last_seq, last=price.last))
    if (price.bid is not None or price.ask is not None) and price.quote_ts_ms:
        order = price.quote_ts_ms, price.quote_seq
        if parts and parts[0].order == order:
            parts = [changed(parts[0], bid=price.bid, ask=price.ask)]
        else:
            parts.append(PriceUpdate(symbol, *order, bid=price.bid, ask=price.ask))
    parts.sort(key=lambda update: update.order)
    if parts:  # the day's figures count with the newest part only (price.merge)
        parts[-1] = changed(parts[-1], open=price.open, previous_close=price.previous_close)
    return parts


@dataclass
class Sender:
    """Takes updates from the backlog to the queue, in one thread of its own. ``fault`` is why it gave up for good,
    ``held`` what it has taken and not yet sent."""

    backlog: Backlog
    queue: PriceQueue
    counts: Counts
    note: Note
    give_up: Callable[[], object]
    wait: Callable[[float], object]
    jitter: Callable[[], float]
    fault: PermanentError | None = None
    held: Sequence[PriceUpdate] = ()

    def run(self) -> None:
        """Until the backlog is closed and empty, or no retry can help."""
        try:
            for updates in self._taken():
                self.held = updates
                self._send(updates)
                self.held = ()
        except PermanentError as fault:
            self.fault = fault
            self.note("error", "the queue refuses", reason=fault.message)
            self.give_up()

    def _taken(self) -> Iterable[list[PriceUpdate]]:
        while (updates := self.backlog.take(1.0)) is not None:
            if updates:
                yield updates

    def _send(self, updates: Sequence[PriceUpdate]) -> None:
        failures = 0
        while True:
            try:
                self.queue.send(updates)
            except RetryableError as fault:
                pause = pause_seconds(failures, self.jitter)
                failures += 1
                self.note("warning", "queue does not answer", reason=fault.message, again_in_seconds=round(pause, 3),
                          backlog=len(self.backlog))  # fmt: skip
                self.wait(pause)
            else:
                self.counts.sent += len(updates)
                return
