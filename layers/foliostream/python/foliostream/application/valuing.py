"""Valuing portfolios: bulk read, value, bulk compare-and-set write, again where somebody else was faster."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import localcontext
from typing import NamedTuple

import msgspec

from foliostream.application.marking import Marker
from foliostream.application.planning import Plans
from foliostream.application.projecting import Projector
from foliostream.application.rendering import Rendered, Renderer
from foliostream.domain import assessing, margin_status, money
from foliostream.domain import portfolio as portfolios
from foliostream.domain.assessing import DEFAULT_RULES, Market, Plan
from foliostream.domain.margin_states import MarginRules
from foliostream.domain.margin_status import UNSEEN
from foliostream.domain.portfolio import Portfolio
from foliostream.domain.snapshot import Snapshot
from foliostream.errors import FoliostreamError, NotFoundError, PermanentError, RetryableError
from foliostream.ports import (
    Books,
    Candidate,
    Clock,
    Head,
    Holders,
    Instruments,
    Ledger,
    Notes,
    Prices,
    Saved,
    Snapshots,
    Stored,
    StoredSnapshot,
)

MAX_ROUNDS = 3
_UNKNOWN = "there is no such portfolio in the ledger"
# Given portfolios with an interval of their own, by id in milliseconds: those that are not to be valued yet.
HoldBack = Callable[[Mapping[str, int]], Collection[str]]


def nothing(_: Mapping[str, int]) -> Collection[str]:
    """Holds nothing back."""
    return ()


class Pending(NamedTuple):
    """A margin account's snapshot that stands and from which something has to follow, and the book it is of."""

    snapshot: Snapshot
    book: Portfolio


@dataclass
class Valued:
    """What became of the portfolios: ids valued (``degraded``: those of them that are not ``ok``), ids skipped as
    fresh, why others failed; ``pending``: margin accounts for ``MarginFollowUp``. Only recalculate follows up: what
    makes anybody else value a portfolio marks it too, and it is not skipped as long as something is pending."""

    written: list[str] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    pending: list[Pending] = field(default_factory=list)


@dataclass(frozen=True)
class Valuer:
    """Whoever writes a snapshot tells its watchers: a later message may skip the portfolio as fresh.

    ``notes``: what was told of margin accounts. ``stale_after_ms``: the age at which a price is stale where its
    instrument names no other. ``rules``: of margin accounts.
    """

    books: Books
    snapshots: Snapshots
    prices: Prices
    instruments: Instruments
    ledger: Ledger
    holders: Holders
    marker: Marker
    clock: Clock
    notes: Notes
    stale_after_ms: int
    rules: MarginRules = DEFAULT_RULES
    plans: Plans = field(default_factory=Plans)
    renderer: Renderer = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "renderer", Renderer(self.instruments, self.clock, self.stale_after_ms, self.rules.basis)
        )

    def project(self, portfolio: Portfolio) -> None:
        """Bring the hot store up to the ledger: book first, then dependents; repeating it changes nothing."""
        done = Projector(self.books, self.holders, self.marker).store([portfolio])
        for reason in done.again.values():
            raise RetryableError(reason)
        for reason in done.broken.values():
            raise PermanentError(reason)

    def value(
        self,
        portfolio_ids: Collection[str],
        fresh_after_ms: Mapping[str, int] | None = None,
        hold_back: HoldBack = nothing,
    ) -> Valued:
        """Value each portfolio once from what is stored now.

        ``fresh_after_ms``: an id named there is skipped if its snapshot was read at or after that time.
        ``hold_back`` is asked about those of the others that have an interval, once their books are read, in every
        round anew. A portfolio that fails by itself (broken book, contention, unknown) is in ``failed``; a failing
        store raises ``RetryableError`` and leaves nothing half done that a repetition would not mend.
        """
        done = Valued()
        pending = list(dict.fromkeys(portfolio_ids))
        for _ in range(MAX_ROUNDS):
            if not pending:
                return done
            pending = self._round(pending, fresh_after_ms or {}, hold_back, done)
        done.failed |= dict.fromkeys(pending, f"overtaken {MAX_ROUNDS} times by other valuations")
        return done

    def _round(self, ids: list[str], fresh_after_ms: Mapping[str, int], hold_back: HoldBack, done: Valued) -> list[str]:
        """One pass; the ids to be valued again."""
        read_at_ms = self.clock.now_ms()  # before the first read: what is read is at least as new
        stored = self.books.load(ids)
        if fresh_after_ms:
            fresh = [i for i in ids if i in fresh_after_ms and _is_fresh(stored[i].head, fresh_after_ms[i])]
            for identifier in fresh:
                del stored[identifier]
            done.skipped += fresh
        with localcontext(money.EXACT):
            plans = _due(self._plans(stored, done), hold_back)
            market = self._market(plans)
            candidates = self._assessed(plans, stored, market, read_at_ms, done)
        answers = self.snapshots.save(candidates) if candidates else []
        done.pending += _pending(plans, candidates, answers)
        return self._settle(candidates, answers, done)

    def _assessed(
        self, plans: Iterable[Plan], stored: Mapping[str, Stored], market: Market, read_at_ms: int, done: Valued
    ) -> list[Candidate]:
        candidates = []
        plans = list(plans)
        told = self._told([plan.portfolio_id for plan in plans if plan.margin and not stored[plan.portfolio_id].head])
        for plan in plans:
            head = stored[plan.portfolio_id].head
            previous, before = (head.version, head.margin) if head else (0, told.get(plan.portfolio_id, ""))
            try:
                snapshot = assessing.assess(
                    plan,
                    market,
                    read_at_ms=read_at_ms,
                    previous_version=previous,
                    before=margin_status.decode(before) if before else UNSEEN,
                    rules=self.rules,
                )
            except (ArithmeticError, ValueError, FoliostreamError, msgspec.MsgspecError) as fault:
                done.failed[plan.portfolio_id] = f"valuation failed: {fault!r}"
            else:
                candidates.append(Candidate(snapshot, head))
        return candidates

    def _told(self, portfolio_ids: Sequence[str]) -> dict[str, str]:
        """The status as it was last told of margin accounts that have no snapshot: new ones, and those whose snapshot
        the hot store has lost."""
        names = {margin_status.note_name(identifier): identifier for identifier in portfolio_ids}
        found = self.notes.read_all(names) if names else {}
        return {names[name]: note.decode() for name, note in found.items()}

    def _market(self, plans: Sequence[Plan]) -> Market:
        """Prices and instruments of everything the plans depend on."""
        symbols: set[str] = set().union(*[plan.symbols for plan in plans])
        prices = self.prices.get(symbols) if symbols else {}
        # Only a registered symbol has a price: of the pairs on the ways between currencies most have neither.
        known = set(prices).union(*[plan.positions for plan in plans])
        return Market(prices, self.instruments.get(known) if known else {}, self.stale_after_ms)

    def _settle(self, candidates: list[Candidate], answers: list[Saved], done: Valued) -> list[str]:
        self.marker.connections({watcher for saved in answers for watcher in saved.watchers})
        again = []
        for candidate, saved in zip(candidates, answers, strict=True):
            identifier = candidate.snapshot.portfolio_id
            if saved.written:
                done.written.append(identifier)
                if candidate.snapshot.calc_status != "ok":
                    done.degraded.append(identifier)
            elif _supersedes(saved.current, candidate):
                done.skipped.append(identifier)
            else:
                again.append(identifier)
        return again

    def _plans(self, stored: Mapping[str, Stored], done: Valued) -> list[Plan]:
        plans = []
        books = {identifier: item.book for identifier, item in stored.items()}
        lost = [identifier for identifier, book in books.items() if book is None]
        if lost:
            books |= self._recovered(lost, done)
        for identifier, book in books.items():
            if book is None:
                continue
            try:
                plans.append(self.plans.of(identifier, book))
            except msgspec.MsgspecError as fault:
                done.failed[identifier] = f"the stored book cannot be read: {fault}"
            except ArithmeticError as fault:
                done.failed[identifier] = f"valuation failed: {fault!r}"
        return plans

    def _recovered(self, lost: Collection[str], done: Valued) -> dict[str, bytes]:
        """Books that the hot store lost; it has them again then."""
        found = self.ledger.load(lost)
        for portfolio in found.values():
            self.project(portfolio)
        done.failed |= dict.fromkeys((identifier for identifier in lost if identifier not in found), _UNKNOWN)
        return {identifier: portfolios.encode(portfolio) for identifier, portfolio in found.items()}

    def current(self, portfolio_ids: Collection[str]) -> dict[str, Rendered]:
        """The newest snapshots as they may go out now: staleness derived again, missing ones and those of an older
        book valued first. Left out: what does not exist, cannot be valued, or changes faster than it is valued (then
        another mark is on its way)."""
        rendered, _ = self._newest(portfolio_ids)
        return rendered

    def current_one(self, portfolio_id: str) -> Rendered:
        """As ``current`` for one portfolio; ``NotFoundError`` if it does not exist, ``RetryableError`` if it cannot be
        shown now."""
        rendered, left_out = self._newest([portfolio_id])
        if portfolio_id in rendered:
            return rendered[portfolio_id]
        reason = left_out[portfolio_id]
        if reason == _UNKNOWN:
            raise NotFoundError(f"no portfolio {portfolio_id}", code="PORTFOLIO_NOT_FOUND")
        raise RetryableError(f"portfolio {portfolio_id} cannot be shown now: {reason}", code="NOT_VALUED_YET")

    def _newest(self, portfolio_ids: Collection[str]) -> tuple[dict[str, Rendered], dict[str, str]]:
        """Those that can be shown, and why the others cannot."""
        ids = list(dict.fromkeys(portfolio_ids))
        rendered = self._rendered(self.snapshots.read(ids))
        left_out: dict[str, str] = {}
        for _ in range(MAX_ROUNDS):
            behind = [identifier for identifier in ids if identifier not in rendered and identifier not in left_out]
            if not behind:
                return rendered, left_out
            left_out |= self.value(behind).failed
            rendered |= self._rendered(self.snapshots.read(behind))
        changing = (identifier for identifier in ids if identifier not in rendered)
        return rendered, dict.fromkeys(changing, "its book changes faster than it is valued") | left_out

    def _rendered(self, found: Mapping[str, StoredSnapshot]) -> dict[str, Rendered]:
        return {name: shown for name, stored in found.items() if (shown := self.renderer(name, stored)) is not None}


def _due(plans: list[Plan], hold_back: HoldBack) -> list[Plan]:
    """Those that are to be valued now."""
    intervals = {plan.portfolio_id: plan.update_interval_ms for plan in plans if plan.update_interval_ms is not None}
    held = frozenset(hold_back(intervals)) if intervals else frozenset[str]()
    return [plan for plan in plans if plan.portfolio_id not in held]


def _pending(plans: Iterable[Plan], candidates: Sequence[Candidate], answers: Sequence[Saved]) -> list[Pending]:
    books = {plan.portfolio_id: plan.margin for plan in plans if plan.margin is not None}
    if not books:
        return []
    written = (candidate.snapshot for candidate, saved in zip(candidates, answers, strict=True) if saved.written)
    return [
        Pending(snapshot, book)
        for snapshot in written
        if (book := books.get(snapshot.portfolio_id)) is not None
        and snapshot.margin is not None
        and (snapshot.margin.is_pending or book.liquidating_from is not None)
    ]


def _is_fresh(head: Head | None, after_ms: int) -> bool:
    return head is not None and head.read_at_ms >= after_ms and not _is_pending(head)


def _is_pending(head: Head) -> bool:
    return bool(head.margin) and margin_status.decode(head.margin).is_pending


def _supersedes(current: Head | None, candidate: Candidate) -> bool:
    """Whether the head that refused a candidate is as new in its book and in its prices, and nothing has to follow from
    it: whoever wrote it may be somebody who follows nothing up."""
    return (
        current is not None
        and current.ledger_version >= candidate.snapshot.ledger_version
        and current.read_at_ms >= candidate.snapshot.read_at_ms
        and not _is_pending(current)
    )
