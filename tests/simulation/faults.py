"""The classic faults, one by one: small changes of our code or of the model that the simulation must find.

Each is a context manager; inside it a storm runs as if somebody had made that mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

from msgspec.structs import replace

from foliostream.application import marking, recalculate, update_prices, valuing
from foliostream.application.margin_events import MarginFollowUp
from foliostream.application.marking import Later, Marker
from foliostream.application.receiving import Opened, Received, wait_until_due
from foliostream.application.valuing import Pending
from foliostream.domain import coalescing, pacing, price
from foliostream.domain.coalescing import Bundle, DirtyMessage, Reason, Window
from foliostream.domain.keys import ACCOUNT_TYPES
from foliostream.domain.pacing import Turn
from foliostream.domain.price import Price, PriceUpdate
from foliostream.ports import Candidate, Clock, Head, Saved
from tests.fakes.hot_store import FakeHotStore
from tests.simulation.machines import Machine
from tests.simulation.stores import RemoteHot
from tests.simulation.system import Settings
from tests.simulation.world import MS

Change = Callable[[Settings], None]


@contextmanager
def _instead(place: object, name: str, other: object) -> Iterator[None]:
    before = getattr(place, name)
    setattr(place, name, other)
    try:
        yield
    finally:
        setattr(place, name, before)


def _unchanged(settings: Settings) -> None:
    """The deployment as the seed made it."""


def _aimed(*calls: str, interval_ms: int | None = None, margin: float | None = None) -> Change:
    """Where anything fails in a run, many die at one of these calls; a slow call is one of them: other storms show the
    mistake too, but fewer. ``interval_ms``: that of every portfolio; ``margin``: the share of accounts with margin."""

    def change(settings: Settings) -> None:
        settings.calls = calls
        settings.margin = settings.margin if margin is None else margin
        if interval_ms is not None:
            settings.paced, settings.intervals_ms = 1, (interval_ms,)
        if not settings.faults.is_none:
            settings.faults.fragile = calls[0]

    return change


@contextmanager
def bare_key_as_deduplication_id() -> Iterator[Change]:
    """The id says which portfolios, not in which window."""

    def bundle(shard: int, message: DirtyMessage) -> Bundle:
        digest = blake2b("\n".join(message.keys).encode(), digest_size=12).hexdigest()
        return Bundle(f"{shard}-{digest}", shard, message)

    with _instead(coalescing, "_bundle", bundle):
        yield _unchanged


@contextmanager
def processing_before_the_windows_end() -> Iterator[Change]:
    """A message is worked off as soon as it is there."""

    def wait_until(_machine: Machine, _at_ms: int) -> None:
        return

    with _instead(Machine, "wait_until", wait_until):
        yield _unchanged


@contextmanager
def refusing_equal_timestamps() -> Iterator[Change]:
    """A price that is not newer than the stored one is refused, also when it comes again after a crash."""
    merge = price.merge

    def stricter(stored: Price | None, update: PriceUpdate) -> Price | None:
        if stored and update.order in {(stored.quote_ts_ms, stored.quote_seq), (stored.last_ts_ms, stored.last_seq)}:
            return None
        return merge(stored, update)

    with _instead(price, "merge", stricter):
        yield _aimed("holders", "record")


@contextmanager
def clearing_before_reading() -> Iterator[Change]:
    """The promise is forgotten, then what it is about is read."""
    work = recalculate.recalculate

    def forgetful(received: Sequence[Received], *, marker: Marker, clock: Clock, skew_ms: int, **others: Any) -> object:  # noqa: ANN401
        marker.forget([item.message for item in wait_until_due(received, clock, skew_ms).due])
        return work(received, marker=marker, clock=clock, skew_ms=skew_ms, **others)

    with _instead(recalculate, "recalculate", forgetful):
        yield _unchanged


@contextmanager
def eventually_consistent_reads() -> Iterator[Change]:
    """A read may answer with what was there half a second ago."""

    def change(settings: Settings) -> None:
        settings.eventual_us = 500 * MS

    yield change


@contextmanager
def skew_beyond_the_allowance() -> Iterator[Change]:
    """Clocks that differ by up to 600 ms where 50 are allowed for."""

    def change(settings: Settings) -> None:
        settings.skew_us = 600 * MS

    yield change


@contextmanager
def now_read_before_the_price_was_stored() -> Iterator[Change]:
    """The window is that of the invocation's start."""
    update = update_prices.update_prices

    class Hasty(Marker):
        windows: Mapping[str, Window]

        def window(self, account_type: str) -> Window:
            return self.windows[account_type]

    def hasty(updates: Sequence[PriceUpdate], *, marker: Marker, **others: Any) -> object:  # noqa: ANN401
        mine = Hasty(**{name: getattr(marker, name) for name in marking.Marker.__dataclass_fields__})
        object.__setattr__(mine, "windows", {name: marker.window(name) for name in ACCOUNT_TYPES})
        return update(updates, marker=mine, **others)

    with _instead(update_prices, "update_prices", hasty):
        yield _aimed("prices.put")


@contextmanager
def skipping_by_the_time_of_writing() -> Iterator[Change]:
    """A snapshot says when it was computed, not when what it shows was read."""
    save, start = RemoteHot.save, RemoteHot.__init__

    def with_clock(self: RemoteHot, stores: Any, network: Any) -> None:  # noqa: ANN401
        start(self, stores, network)
        self.now_ms = lambda: stores.world.epoch_ms + stores.world.now_us // MS  # type: ignore[attr-defined]

    def dated_late(self: RemoteHot, candidates: Sequence[Candidate]) -> list[Saved]:
        now_ms = self.now_ms()  # type: ignore[attr-defined]
        return save(self, [item._replace(snapshot=replace(item.snapshot, read_at_ms=now_ms)) for item in candidates])

    with _instead(RemoteHot, "__init__", with_clock), _instead(RemoteHot, "save", dated_late):
        yield _unchanged


@contextmanager
def skipping_a_redelivery() -> Iterator[Change]:
    """A message that comes again is skipped like any other: whoever died after its snapshot told nobody."""
    fresh_after = recalculate._fresh_after

    def careless(opened: Sequence[Opened], skew_ms: int) -> dict[str, int]:
        first = [item._replace(received=item.received._replace(receive_count=1)) for item in opened]
        return fresh_after(first, skew_ms)

    with _instead(recalculate, "_fresh_after", careless):
        yield _aimed("save", "send to push")


@contextmanager
def forgetting_margin_events() -> Iterator[Change]:
    """A snapshot counts as fresh though its margin events were not told, also for a message that comes again: whoever
    died between the snapshot and the event told nobody."""

    def is_fresh(head: Head | None, after_ms: int) -> bool:
        return head is not None and head.read_at_ms >= after_ms

    with skipping_a_redelivery(), _instead(valuing, "_is_fresh", is_fresh):
        yield _aimed("publish", "save", margin=1)


@contextmanager
def confirming_margin_events_before_they_are_told() -> Iterator[Change]:
    """They are struck out first."""
    publish = MarginFollowUp._publish

    def confirmed_first(self: MarginFollowUp, told: Sequence[Any]) -> dict[str, str]:
        self._confirm(self.pending)  # type: ignore[attr-defined]
        return publish(self, told)

    call = MarginFollowUp.__call__

    def follow_up(self: MarginFollowUp, pending: Sequence[Pending]) -> dict[str, str]:
        object.__setattr__(self, "pending", [item.snapshot for item in pending])
        return call(self, pending)

    with _instead(MarginFollowUp, "_publish", confirmed_first), _instead(MarginFollowUp, "__call__", follow_up):
        yield _aimed("publish", margin=1)


@contextmanager
def a_refresh_racing_a_window() -> Iterator[Change]:
    """Snapshots are written without comparing: whoever writes last wins."""
    save = FakeHotStore._save

    def regardless(self: FakeHotStore, candidate: Candidate) -> Saved:
        stored = self.snapshots.get(candidate.snapshot.portfolio_id)
        return save(self, candidate._replace(expected=stored.head if stored else None))

    with _instead(FakeHotStore, "_save", regardless):
        yield _unchanged


@contextmanager
def skipping_what_is_refreshed_meanwhile() -> Iterator[Change]:
    """A refused snapshot is dropped whatever refused it."""

    def supersedes(current: Head | None, _candidate: Candidate) -> bool:
        return current is not None

    with _instead(valuing, "_supersedes", supersedes):
        yield _unchanged


@contextmanager
def dropping_what_is_not_due_yet() -> Iterator[Change]:
    """A price that has to wait for its portfolio's interval is left to the next price."""

    def later(_marker: Marker, _items: Iterable[Later], _reason: Reason) -> None:
        return

    with _instead(Marker, "later", later):
        yield _unchanged


@contextmanager
def a_note_taken_for_a_promise() -> Iterator[Change]:
    """What is noted is taken for sent, also by the one who comes again because the first died in between."""
    turn = pacing.price_turn

    def trusting(*arguments: Any, again: bool) -> Turn:  # noqa: ANN401, ARG001
        return turn(*arguments, again=False)

    with _instead(pacing, "price_turn", trusting):
        yield _aimed("send to delayed", "pace", interval_ms=60_000)


FAULTS = (
    bare_key_as_deduplication_id,
    processing_before_the_windows_end,
    refusing_equal_timestamps,
    clearing_before_reading,
    eventually_consistent_reads,
    skew_beyond_the_allowance,
    now_read_before_the_price_was_stored,
    skipping_by_the_time_of_writing,
    skipping_a_redelivery,
    forgetting_margin_events,
    confirming_margin_events_before_they_are_told,
    a_refresh_racing_a_window,
    skipping_what_is_refreshed_meanwhile,
    dropping_what_is_not_due_yet,
    a_note_taken_for_a_promise,
)
