"""The reconciliation of a broker's account: missed fills first, then what is owned against the books.

By default it only reports. A broker that does not answer, answers in part, contradicts itself, is somebody else's or
asks for patience changes nothing: the report says ``failed`` and why, the portfolios say since when nobody confirms
them, and the next run that works takes all of it back by itself. What is applied was found twice, over books that
nobody changed in between, within market hours, and is one portfolio's, or several ones' by their configured shares.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import NamedTuple

from msgspec.structs import replace

from foliostream.application.announcing import Announcer
from foliostream.application.broker_orders import BrokerOrders, Taken, names_of
from foliostream.domain import changes, kite, market_hours, money, reconciliation, reconciling
from foliostream.domain import portfolio as books
from foliostream.domain.attributing import Holder
from foliostream.domain.broker import Answer
from foliostream.domain.instrument import Instrument
from foliostream.domain.money import ZERO
from foliostream.domain.order_fills import Member
from foliostream.domain.portfolio import Portfolio
from foliostream.domain.reconciliation import AccountState, Report
from foliostream.domain.reconciling import Adjustment, Comparison, Ours, Rules
from foliostream.errors import ConflictError, FoliostreamError, PermanentError, RetryableError
from foliostream.ports import Accounts, Booking, Broker, Clock, EventBus, Instruments, Ledger, Prices, Turns

log = logging.getLogger(__name__)

# The broker's own limits: one account at most once a second.
ACCOUNT_GAP_MS = 1_000
TURNS_MAX = 3
# How long an account has to show nothing at all before somebody may say that this is so.
EMPTY_MS = 60_000
# Of a report: an event has 256 KB.
DISCREPANCIES_MAX = 500
ADJUSTMENTS_MAX = 40
MAX_COMMIT_ROUNDS = 5


@dataclass(frozen=True)
class Reconciliation:
    """``brokers`` by name; ``hours``: when the market trades, as of ``market_hours``; ``count``: gets every report, be
    it of the schedule's look at an account or of somebody's who asked."""

    ledger: Ledger
    instruments: Instruments
    prices: Prices
    accounts: Accounts
    brokers: Mapping[str, Broker]
    orders: BrokerOrders
    bus: EventBus
    announce: Announcer
    turns: Turns
    clock: Clock
    hours: market_hours.Hours
    holidays: frozenset[str]
    count: Callable[[Report], None]

    def __call__(self, broker: str, account: str, *, apply: bool = False, confirm_empty: bool = False) -> Report:
        """``apply``: book what is proposed, where that is allowed. ``confirm_empty``: the account is known to own
        nothing any more."""
        report = self._looked_at(broker, account, apply=apply, confirm_empty=confirm_empty)
        self.count(report)
        return report

    def _looked_at(self, broker: str, account: str, *, apply: bool, confirm_empty: bool) -> Report:
        members = self.accounts.members(broker, account)
        if not members:
            return self._report(broker, account, "skipped", "NO_PORTFOLIO", "no portfolio is on the account")
        if not self._turn(broker, account):
            return self._report(
                broker, account, "skipped", "TOO_SOON", "the account was looked at less than a second ago"
            )
        state = self.accounts.state(broker, account)
        run = _Run(self, broker, account, members, state)
        try:
            report = run.reconcile(apply=apply, confirm_empty=confirm_empty)
        except FoliostreamError as fault:
            log.warning("%s %s is not reconciled: %s", broker, account, fault)
            report = self._report(broker, account, "failed", fault.code, fault.message[:300])
        self._conclude(report, members, replace(run.state, checked_at_ms=report.checked_at_ms))
        return report

    def _turn(self, broker: str, account: str) -> bool:
        for _ in range(TURNS_MAX):
            wait_ms = self.turns.take(f"{broker}:{account}", ACCOUNT_GAP_MS)
            if not wait_ms:
                return True
            self.clock.wait_until(self.clock.now_ms() + wait_ms)
        return False

    def _report(self, broker: str, account: str, status: reconciliation.Outcome, code: str, reason: str) -> Report:
        return Report(
            broker=broker,
            account=account,
            status=status,
            checked_at_ms=self.clock.now_ms(),
            code=code,
            reason=f"{code}: {reason}",
        )

    def _conclude(self, report: Report, members: Sequence[Member], state: AccountState) -> None:
        """Tell whoever listens of a finding that is another than the last one, then remember it; the portfolios say
        since when they are not confirmed."""
        since_ms = None if report.status == "ok" else state.since_ms or report.checked_at_ms
        is_news = report.digest != state.digest
        number = state.changes + is_news
        if is_news and (report.status != "ok" or state.digest):
            events = [reconciliation.event(report, member.portfolio_id, number) for member in members]
            self.bus.publish(reconciliation.RECONCILIATION_DISCREPANCY, events)
            self.announce([reconciliation.notice(report, member.portfolio_id, number) for member in members])
        self._confirm(members, since_ms, report.broker)
        self.accounts.keep_state(
            report.broker,
            report.account,
            replace(state, status=report.status, since_ms=since_ms, digest=report.digest, changes=number),
        )

    def _confirm(self, members: Sequence[Member], since_ms: int | None, by: str) -> None:
        for member in members:
            for _ in range(MAX_COMMIT_ROUNDS):
                before = self.ledger.load([member.portfolio_id])[member.portfolio_id]
                # A doubt that is there already keeps its time.
                wanted = since_ms if since_ms is None else before.unreconciled_since_ms or since_ms
                amended = changes.confirm(before, wanted, by, self.clock.now_ms())
                if amended is None:
                    break
                try:
                    self.ledger.amend(*amended)
                except ConflictError:
                    continue
                break
            else:
                raise RetryableError(f"{member.portfolio_id} changed {MAX_COMMIT_ROUNDS} times meanwhile")


class _Books(NamedTuple):
    """What was compared."""

    answer: Answer
    held: dict[str, Portfolio]
    taken: Taken


@dataclass
class _Run:
    """One look at an account."""

    parts: Reconciliation
    broker: str
    account: str
    members: Sequence[Member]
    state: AccountState

    def reconcile(self, *, apply: bool, confirm_empty: bool) -> Report:
        """The report; raises what the broker or a store raised."""
        taken = self._catch_up()
        found, _ = self._compare(taken)
        now_ms = self.parts.clock.now_ms()
        since = (self.state.empty_since_ms or now_ms) if found.is_all_gone else None
        self.state = replace(self.state, empty_since_ms=since)
        if not apply or not found.adjustments:
            return self._report(found, "")
        refusal = self._refusal(found, now_ms, confirm_empty=confirm_empty)
        if refusal:
            return self._report(found, refusal)
        return self._applied(found)

    def _catch_up(self) -> Taken:
        """Fills of the day that nobody told us of, ahead of everything else."""
        broker = self.parts.brokers.get(self.broker)
        if broker is None:
            raise PermanentError(f"no broker {self.broker} is set up", code="NO_BROKER")
        token = broker.token_digest(self.account)
        if token == self.state.expired_token:
            raise PermanentError("the access token has expired; a new one is waited for", code="TOKEN_EXPIRED")
        try:
            orders = broker.orders(self.account)
        except PermanentError as fault:
            if fault.code == "TOKEN_EXPIRED":
                self.state = replace(self.state, expired_token=token)
            raise
        self.state = replace(self.state, expired_token="")
        return self.parts.orders.take(self.broker, self.account, orders, self.members)

    def _compare(self, taken: Taken) -> tuple[Comparison, _Books]:
        """The broker's answer, then the books: what was booked in between is a difference that is protected."""
        parts = self.parts
        answer = parts.brokers[self.broker].owned(self.account)
        if answer.is_empty and taken.recent | taken.pending:
            raise RetryableError("the broker shows nothing although orders were filled today", code="BROKER_ANSWER")
        held = parts.ledger.load([member.portfolio_id for member in self.members])
        return self._judged(answer, held, taken), _Books(answer, held, taken)

    def _judged(self, raw: Answer, held: Mapping[str, Portfolio], taken: Taken) -> Comparison:
        parts = self.parts
        symbols = {name for item in held.values() for name in (*item.positions, *item.closed_today)}
        names = names_of(parts.instruments, [*raw.rows, *raw.holdings], symbols)
        answer = kite.resolved(raw, names.by_token, names.instruments)
        marks = {name: price.last for name, price in parts.prices.get(symbols).items() if price.last is not None}
        with localcontext(money.EXACT):
            mine = {
                name: [
                    holding(item, symbol, names.instruments, marks) for symbol in (*item.positions, *item.closed_today)
                ]
                for name, item in held.items()
            }
            cash = sum((amount for item in held.values() for amount in item.cash.values()), ZERO)
        steps = {name: item.lot_step for name, item in names.instruments.items() if item.lot_step is not None}
        rules = Rules(protected=frozenset(taken.recent), holders=_holders(held.values()), steps=steps)
        found = reconciling.compare(reconciling.sums(mine), answer, rules, cash=cash, external=taken.external)
        safe = tuple(item for item in found.adjustments if item.symbol not in taken.pending)
        return replace(found, adjustments=safe)

    def _refusal(self, found: Comparison, now_ms: int, *, confirm_empty: bool) -> str:
        """Why nothing may be booked now; "" where it may."""
        if not market_hours.is_open(self.parts.hours, self.parts.holidays, now_ms):
            return "MARKET_CLOSED: nothing is applied outside market hours"
        since = self.state.empty_since_ms
        if found.is_all_gone and not (confirm_empty and since is not None and now_ms - since >= EMPTY_MS):
            return f"ALL_GONE: confirm_empty is needed, {EMPTY_MS // 1000} s after the account first showed nothing"
        if len(found.adjustments) > ADJUSTMENTS_MAX:
            return f"TOO_MANY: {len(found.adjustments)} adjustments, at most {ADJUSTMENTS_MAX} are booked at once"
        return ""

    def _applied(self, found: Comparison) -> Report:
        """Ask again, and book what is found again over the very books it was compared with."""
        parts = self.parts
        if not parts._turn(self.broker, self.account):
            return self._report(found, "TOO_SOON: somebody else looks at the account")
        again, seen = self._compare(self._catch_up())
        if again.adjustments != found.adjustments:
            return self._report(again, "CHANGED: the second answer differs from the first, nothing was applied")
        instruments = parts.instruments.get({item.symbol for item in again.adjustments})
        booked = [self._booked(book, again.adjustments, instruments) for book in seen.held.values()]
        try:
            parts.ledger.commit_together([item for item in booked if item.transactions])
        except ConflictError:
            return self._report(again, "CHANGED: the books changed meanwhile, nothing was applied")
        parts.orders.settle(self.broker, self.account, seen.taken, {item.symbol for item in again.adjustments})
        left = self._judged(seen.answer, {item.portfolio.portfolio_id: item.portfolio for item in booked}, seen.taken)
        applied = tuple(one.entry.transaction_id for item in booked for one in item.transactions)
        return replace(self._report(left, ""), applied=applied)

    def _booked(
        self, before: Portfolio, adjustments: Sequence[Adjustment], instruments: Mapping[str, Instrument]
    ) -> Booking:
        """A portfolio with its parts of the adjustments; as it is, without any transaction, where it has none."""
        now_ms = self.parts.clock.now_ms()
        entries = [
            reconciling.entry(item, part, before.version, now_ms)
            for item in adjustments
            for part in item.parts
            if part.portfolio_id == before.portfolio_id
        ]
        if not entries:
            return Booking(before, (), (), ())
        needed = books.price_symbols(before, entries, instruments)
        prices = self.parts.prices.get(needed) if needed else {}
        after, transactions = books.apply(before, entries, instruments, now_ms, prices)
        return Booking(after, transactions, after.symbols - before.symbols, before.symbols - after.symbols)

    def _report(self, found: Comparison, reason: str) -> Report:
        shown = found.discrepancies[:DISCREPANCIES_MAX]
        if len(found.discrepancies) > len(shown):
            reason = reason or f"TOO_MANY: {len(found.discrepancies)} discrepancies, the first {len(shown)} are shown"
        return Report(
            broker=self.broker,
            account=self.account,
            status="discrepancies" if shown or found.protected else "ok",
            checked_at_ms=self.parts.clock.now_ms(),
            reason=reason or None,
            discrepancies=shown,
            protected=found.protected,
        )


def _holders(portfolios: Iterable[Portfolio]) -> tuple[Holder, ...]:
    return tuple(
        Holder(item.portfolio_id, item.broker_share, {name: held.quantity for name, held in item.positions.items()})
        for item in sorted(portfolios, key=lambda one: one.portfolio_id)
    )


def holding(
    portfolio: Portfolio, symbol: str, instruments: Mapping[str, Instrument], marks: Mapping[str, Decimal]
) -> Ours:
    """What a portfolio holds of a symbol, or held until today. ``value`` reaches back to where the broker's sums begin:
    the purchase of what was carried in, else the day; None where the position was closed and opened again since."""
    instrument = instruments.get(symbol)
    isin = instrument.isin if instrument else None
    held = portfolio.positions.get(symbol)
    if held is None:
        day = portfolio.closed_today[symbol].day
        multiplier = portfolio.closed_today[symbol].multiplier
        value = -day.spent * multiplier if not day.traded else None
        return Ours(symbol=symbol, multiplier=multiplier, value=value, mark=marks.get(symbol), isin=isin)
    traded = held.day.traded if held.day else ZERO
    opened_today = portfolio.closed_day is not None and not held.quantity - traded
    if opened_today and held.day is not None:
        value = -held.day.spent * held.multiplier
    else:
        value = held.realized_pnl - held.signed_cost if held.currency == portfolio.base_currency else None
    return Ours(
        symbol=symbol,
        quantity=held.quantity,
        multiplier=held.multiplier,
        cost=held.signed_cost,
        value=value,
        mark=marks.get(symbol),
        isin=isin,
    )
