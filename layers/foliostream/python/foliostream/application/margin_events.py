"""What follows from the status of margin accounts: their events go out, and what stops out is ordered to be closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace

from foliostream.application.announcing import Announcer
from foliostream.application.marking import Later, Marker
from foliostream.application.valuing import Pending
from foliostream.domain import events, liquidation, margin, margin_states, margin_status
from foliostream.domain.liquidation import Liquidation, Plan
from foliostream.domain.margin_states import MarginRules
from foliostream.domain.margin_status import UNSEEN, EventKind, MarginEvent, MarginStatus
from foliostream.domain.notices import Notice
from foliostream.domain.orders import Costs
from foliostream.domain.portfolio import Portfolio
from foliostream.domain.snapshot import Snapshot
from foliostream.errors import PermanentError
from foliostream.ports import Candidate, EventBus, Head, Instruments, Liquidations, Notes, Snapshots

# A call is told before the stop-out that came with it.
_KINDS: tuple[EventKind, ...] = ("margin_call", "stop_out", "margin_restored", "margin_unknown")
# What a notice says beside what every notice says.
_FRAME = frozenset({"event_id", "timestamp", "portfolio_id"})


class _Told(NamedTuple):
    """An event and how it goes out."""

    portfolio_id: str
    event: MarginEvent
    detail: Mapping[str, object]

    @property
    def published(self) -> dict[str, object]:
        """As it goes onto the bus."""
        return events.framed(self.event.kind, self.detail)

    @property
    def notice(self) -> Notice:
        """As it goes to who watches."""
        content = {name: value for name, value in self.detail.items() if name not in _FRAME}
        return Notice(self.portfolio_id, str(self.detail["event_id"]), self.event.kind, self.event.at_ms, content)


@dataclass(frozen=True)
class MarginFollowUp:
    """All of it may be done again: events have ids, orders name the book they were made from. A status keeps its
    events until they are confirmed, and a stop-out is ordered anew by every valuation as long as it goes on: so it
    does not matter where whoever was here before died."""

    snapshots: Snapshots
    instruments: Instruments
    bus: EventBus
    announce: Announcer
    liquidations: Liquidations
    marker: Marker
    rules: MarginRules
    stale_after_ms: int
    partial: bool
    costs: Costs
    notes: Notes

    def __call__(self, pending: Sequence[Pending]) -> dict[str, str]:
        """Why some of them failed by themselves, by portfolio id. ``RetryableError`` if the bus, the queue or a store
        fails: value them again."""
        plans = {item.book.portfolio_id: plan for item in pending if (plan := self._plan(item)) is not None}
        told = [self._told(item, event, plans) for item in pending for event in _status(item.snapshot).unsent]
        failed = self._publish(told)
        self.announce([item.notice for item in told if item.portfolio_id not in failed])
        orders = [order for item in pending if (order := _order(item, plans.get(item.book.portfolio_id))) is not None]
        if orders:
            self.liquidations.send(orders)
        self._look_again(pending)
        self._note([item.snapshot for item in pending if item.book.portfolio_id not in failed])
        self._confirm([item.snapshot for item in pending if item.book.portfolio_id not in failed])
        return failed

    def _plan(self, item: Pending) -> Plan | None:
        """What its stop-out closes now; None without one."""
        status, snapshot, book = _status(item.snapshot), item.snapshot, item.book
        if status.state != "stop_out":
            return None
        prices = snapshot.prices
        registered = self.instruments.get(book.positions.keys() | prices.keys())
        market = margin.Market(prices, registered, snapshot.read_at_ms, self.stale_after_ms)
        account = liquidation.account_of(book, market, self.rules.basis, partial=self.partial, costs=self.costs)
        return liquidation.plan(account, snapshot.calc_status, status.stop_out_version, self._limits(book))

    def _limits(self, book: Portfolio) -> margin_states.Thresholds:
        return margin_states.limits_of(book, self.rules.limits[book.account_type])

    def _told(self, item: Pending, event: MarginEvent, plans: Mapping[str, Plan]) -> _Told:
        book = item.book
        detail = margin_states.detail(event, book.key, book.portfolio_id, book.base_currency, self._limits(book))
        if event.kind == "stop_out":
            plan = plans.get(book.portfolio_id)
            detail["plan"] = None if plan is None else liquidation.detail(plan, liquidation.refusal(book))
        return _Told(book.portfolio_id, event, detail)

    def _publish(self, told: Sequence[_Told]) -> dict[str, str]:
        failed: dict[str, str] = {}
        for kind in _KINDS:
            of_kind = [item for item in told if item.event.kind == kind]
            if not of_kind:
                continue
            try:
                self.bus.publish(kind, [item.published for item in of_kind])
            except PermanentError:
                for item in of_kind:
                    failed |= self._publish_alone(item)
        return failed

    def _publish_alone(self, item: _Told) -> dict[str, str]:
        try:
            self.bus.publish(item.event.kind, [item.published])
        except PermanentError as fault:
            return {item.portfolio_id: f"its {item.event.kind} cannot be published: {fault.message}"}
        return {}

    def _look_again(self, pending: Sequence[Pending]) -> None:
        """A called account is out of sight: when that has lasted, nothing else may value it any more."""
        items = [
            Later(item.book.key, due_ms)
            for item in pending
            if (status := _status(item.snapshot)).is_out_of_sight
            and (due_ms := status.blind_since_ms + self.rules.unknown_after_ms) > item.snapshot.read_at_ms
        ]
        if items:
            self.marker.later(items, "sweep")

    def _note(self, snapshots: Sequence[Snapshot]) -> None:
        """What was told is kept where the loss of the hot store does not reach: a breach that lasts keeps its id."""
        for snapshot in snapshots:
            status = _status(snapshot)
            if status.unsent:
                told = margin_status.encode(margin_states.confirmed(status, status.unsent))
                self.notes.keep(margin_status.note_name(snapshot.portfolio_id), told.encode())

    def _confirm(self, snapshots: Sequence[Snapshot]) -> None:
        """As long as they still stand: who replaced one has its events too, and tells them again."""
        done = [
            Candidate(replace(snapshot, margin=margin_states.confirmed(status, status.unsent)), _head(snapshot))
            for snapshot in snapshots
            if (status := _status(snapshot)).unsent
        ]
        if done:
            self.snapshots.save(done)


def _status(snapshot: Snapshot) -> MarginStatus:
    return snapshot.margin or UNSEEN


def _head(snapshot: Snapshot) -> Head:
    return Head(snapshot.version, snapshot.ledger_version, snapshot.read_at_ms, snapshot.fresh_until_ms, snapshot.owner)


def _order(item: Pending, plan: Plan | None) -> Liquidation | None:
    """What is to be done; None where nothing is, or nobody here does it."""
    status, book = _status(item.snapshot), item.book
    if liquidation.refusal(book) is not None:
        return None
    if plan is not None and plan.closes:
        return liquidation.order_of(book, plan, status.stop_out_version, item.snapshot.fresh_until_ms)
    is_over = item.snapshot.calc_status == "ok" and status.state != "stop_out"
    return liquidation.release_of(book) if is_over and book.liquidating_from is not None else None
