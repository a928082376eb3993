"""Changes of the ledger, as its stream delivers them: into the hot store, to whoever watches, onto the bus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from foliostream.application.announcing import Announcer
from foliostream.application.projecting import Projector
from foliostream.application.reading import UNREADABLE
from foliostream.application.receiving import Amended, Booked, Change
from foliostream.application.rendering import Rendered
from foliostream.application.valuing import Valuer
from foliostream.domain import changes as amendments
from foliostream.domain import events, valuation
from foliostream.domain import notices as noticing
from foliostream.domain import portfolio as portfolios
from foliostream.domain.coalescing import DirtyMessage
from foliostream.domain.portfolio import Portfolio
from foliostream.errors import PermanentError, RetryableError
from foliostream.ports import Clock, EventBus, Queues

# The name under which ``Queues`` knows where changes go that cannot be projected.
QUEUE = "ledger"
VALUATION_ROUNDS = 2


@dataclass
class LedgerReport:
    """``again``: sequence numbers to be delivered again; ``given_up``: why changes were, by sequence number."""

    portfolios: int = 0
    events: int = 0
    again: list[str] = field(default_factory=list)
    given_up: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LedgerProjection:
    """Every change, also an old or a repeated one, is worked through to its end: whoever was here before may have died
    on the way. Several changes of a portfolio are one: the newest state counts, and nothing older follows it."""

    projector: Projector
    valuer: Valuer
    bus: EventBus
    queues: Queues
    clock: Clock
    announce: Announcer

    def __call__(
        self, changes: Sequence[Change], amended: Sequence[Amended] = (), fills: Sequence[Booked] = ()
    ) -> LedgerReport:
        """A change that can never be projected goes to the dead letters with its reason, so that it stops nobody.

        ``RetryableError`` if nothing of all this could be done: the stores are down, and all of it comes again.
        """
        report = LedgerReport()
        self._announce_fills(fills, report)
        read = self._read(changes, report)
        projected = self.projector.project([portfolio for _, portfolio in read], "ledger")
        broken, again = dict(projected.broken), dict(projected.again)
        self._announce(projected.stored, broken, again, report)
        for change, portfolio in read:
            if portfolio.portfolio_id in again:
                report.again.append(change.sequence_number)
            elif portfolio.portfolio_id in broken:
                self._give_up(change, broken[portfolio.portfolio_id], report)
        report.portfolios = len(projected.stored)
        for item in amended:
            self._tell(item, report)
        given = len(changes) + len(amended) + len(fills)
        if given and len(report.again) == given:
            reason = next(iter(again.values()), "the bus, the sessions or the dead-letter queue fails")
            raise RetryableError(f"none of {given} changes could be projected: {reason}")
        return report

    def _tell(self, item: Amended, report: LedgerReport) -> None:
        """``portfolio_status_changed`` for whoever else wants to know; a change of settings only tells nobody."""
        if item.record is None:
            self._give_up(item, "the item holds no record", report)
            return
        try:
            event = amendments.status_event(amendments.decode(item.record))
            if event is not None:
                self.bus.publish(amendments.STATUS_CHANGED, [event])
                report.events += 1
        except RetryableError:
            report.again.append(item.sequence_number)
        except PermanentError as fault:
            self._give_up(item, f"the event cannot be published: {fault.message}", report)
        except UNREADABLE as fault:
            self._give_up(item, f"the record cannot be read: {fault}", report)

    def _announce_fills(self, fills: Sequence[Booked], report: LedgerReport) -> None:
        """To whoever watches the portfolio, now or on its return."""
        notices = []
        for item in fills:
            try:
                transaction = portfolios.decode_transaction(item.record or b"")
                notice = noticing.fill(item.key.partition(":")[2], transaction)
                len(notice.payload)  # one that is too large stops none of the others
            except UNREADABLE as fault:
                self._give_up(item, f"the transaction cannot be read: {fault}", report)
            except PermanentError as fault:
                self._give_up(item, fault.message, report)
            else:
                notices.append((item, notice))
        try:
            self.announce([notice for _, notice in notices])
        except RetryableError:
            report.again += [item.sequence_number for item, _ in notices]

    def _read(self, changes: Iterable[Change], report: LedgerReport) -> list[tuple[Change, Portfolio]]:
        read = []
        for change in changes:
            if change.book is None:
                self._give_up(change, "the item holds no book", report)
                continue
            try:
                read.append((change, portfolios.decode(change.book)))
            except UNREADABLE as fault:
                self._give_up(change, f"the book cannot be read: {fault}", report)
        return read

    def _announce(
        self,
        stored: Mapping[str, Portfolio],
        broken: dict[str, str],
        again: dict[str, str],
        report: LedgerReport,
    ) -> None:
        """An event for each; those without one are in ``broken`` or ``again`` afterwards."""
        try:
            snapshots = self._snapshots(stored, broken)
            details = {identifier: _event(snapshot) for identifier, snapshot in snapshots.items()}
            report.events = self._publish(details, broken)
        except RetryableError as fault:
            # Which of them failed is not known; a repeat has the same id.
            again |= dict.fromkeys(stored.keys() - broken.keys(), fault.message)

    def _snapshots(self, stored: Mapping[str, Portfolio], broken: dict[str, str]) -> dict[str, Rendered]:
        """Of the stored books or newer ones; who committed has often valued already."""
        found = self.valuer.current(stored)
        reasons: dict[str, str] = {}
        for _ in range(VALUATION_ROUNDS):
            behind = [identifier for identifier in stored if not _shows(found.get(identifier), stored[identifier])]
            if not behind:
                break
            reasons = self.valuer.value(behind).failed
            found |= self.valuer.current(behind)
        shown = {name: found[name] for name in stored if _shows(found.get(name), stored[name])}
        # Its book, dependents and mark are done: recalculate gives it up too, should it never be valued.
        broken |= {name: reasons.get(name, "not valued") for name in stored if name not in shown}
        return shown

    def _publish(self, details: Mapping[str, Mapping[str, object]], broken: dict[str, str]) -> int:
        try:
            self.bus.publish(events.PORTFOLIO_STATE_UPDATED, list(details.values()))
        except PermanentError:
            return sum(self._publish_one(identifier, detail, broken) for identifier, detail in details.items())
        return len(details)

    def _publish_one(self, identifier: str, detail: Mapping[str, object], broken: dict[str, str]) -> bool:
        try:
            self.bus.publish(events.PORTFOLIO_STATE_UPDATED, [detail])
        except PermanentError as fault:
            broken[identifier] = f"the event cannot be published: {fault.message}"
            return False
        return True

    def _give_up(self, change: Change | Amended | Booked, reason: str, report: LedgerReport) -> None:
        message = DirtyMessage(self.clock.now_ms(), 0, [change.key], "ledger")
        try:
            self.queues.dead_letter(QUEUE, message, f"{reason} (sequence number {change.sequence_number})")
        except RetryableError:
            report.again.append(change.sequence_number)
        else:
            report.given_up[change.sequence_number] = reason


def _shows(snapshot: Rendered | None, portfolio: Portfolio) -> bool:
    return snapshot is not None and snapshot.head.ledger_version >= portfolio.version


def _event(snapshot: Rendered) -> dict[str, object]:
    return events.portfolio_state_updated(valuation.decode_state(snapshot.body), snapshot.head.read_at_ms)
