"""What a broker's orders have filled, on its way into the books: by postback or by polling, once in either case.

A part of an order is claimed first, with the fill that it becomes, and queued then; one that was claimed and not
queued is queued whenever its order is looked at again. The ledger knows a fill by its id, so queueing it twice counts
it once.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec.structs import replace

from foliostream.domain import kite, order_fills
from foliostream.domain.broker import Holding, Row
from foliostream.domain.instrument import Instrument
from foliostream.domain.order_fills import Booked, Member, OrderState
from foliostream.domain.reconciling import ExternalOrder
from foliostream.errors import ConflictError
from foliostream.ports import Accounts, Clock, FillQueue, Instruments, Ledger

log = logging.getLogger(__name__)

MAX_ROUNDS = 5


class Names(NamedTuple):
    """What is needed to find our symbols for a broker's names."""

    by_token: Mapping[str, str]
    instruments: Mapping[str, Instrument]


def names_of(registry: Instruments, items: Collection[Row | Holding | OrderState], held: Collection[str] = ()) -> Names:
    """Looked up in two requests; ``held``: symbols of our own that may be meant."""
    by_token = registry.by_token({item.token for item in items if item.token})
    wanted = {name for item in items for name in kite.names(item) if kite.is_symbol(name)}
    return Names(by_token, registry.get(wanted | set(by_token.values()) | set(held)))


@dataclass
class Taken:
    """``queued``: fills; ``known``: orders that told nothing new; ``strays``: the ``external`` ones with what is known
    of each; ``recent``: symbols traded so recently that the books may not show it; ``pending``: symbols with fills that
    the books do not show, however long ago."""

    queued: int = 0
    known: int = 0
    strays: list[tuple[OrderState, Booked]] = field(default_factory=list)
    recent: set[str] = field(default_factory=set)
    pending: set[str] = field(default_factory=set)

    @property
    def external(self) -> list[ExternalOrder]:
        """Orders that nobody of us placed, or of an instrument that nobody registered."""
        return [
            ExternalOrder(order.symbol, order.exchange, order.product, order_fills.unanswered(order, before))
            for order, before in self.strays
        ]


@dataclass(frozen=True)
class BrokerOrders:
    """``protect_ms``: how long after a fill the books may be behind."""

    accounts: Accounts
    instruments: Instruments
    ledger: Ledger
    queue: FillQueue
    clock: Clock
    protect_ms: int = 60_000

    def take(self, broker: str, account: str, orders: Sequence[OrderState], members: Sequence[Member]) -> Taken:
        """Queue what is new in the orders; ``RetryableError`` where a store or queue fails, all may be given again."""
        filled = [order for order in orders if order.filled > 0 and not self._is_outdated(order)]
        names = names_of(self.instruments, filled)
        days = {order.day for order in filled}
        booked = {
            (day, order_id): item
            for day in days
            for order_id, item in self.accounts.booked(broker, account, day).items()
        }
        taken = Taken()
        current: list[tuple[OrderState, Booked]] = []
        for order in filled:
            symbol = kite.symbol_of(order, names.by_token, names.instruments)
            before = booked.get((order.day, order.order_id), Booked())
            owner = before.portfolio_id or order_fills.placed_by(order, members)
            if symbol is None or owner is None or before.is_settled:
                if order_fills.unanswered(order, before):
                    taken.strays.append((replace(order, symbol=symbol), before))
                continue
            known = replace(order, symbol=symbol)
            current.append((known, self._one(broker, account, known, before, owner, taken)))
        self._note_behind(current, taken)
        return taken

    def settle(self, broker: str, account: str, taken: Taken, symbols: Collection[str]) -> None:
        """External orders of symbols whose difference was just adjusted are answered for: nobody is told of them again,
        and they become no fills, whoever takes untagged orders later."""
        for order, before in taken.strays:
            if order.symbol in symbols:
                after = order_fills.settled(order, self.clock.now_ms())
                with suppress(ConflictError):  # it has moved on: the next run tells what is new
                    self.accounts.book(broker, account, (order.day, order.order_id), before, after)
        taken.strays = [item for item in taken.strays if item[0].symbol not in symbols]

    def _is_outdated(self, order: OrderState) -> bool:
        found = order_fills.is_outdated(order, self.clock.now_ms())
        if found:
            log.warning("order %s of %s is too old to be booked: a reconciliation shows it", order.order_id, order.day)
        return found

    def _one(self, broker: str, account: str, order: OrderState, before: Booked, owner: str, taken: Taken) -> Booked:
        """Claim and queue what is new of one order; what is booked of it then."""
        name = (order.day, order.order_id)
        for _ in range(MAX_ROUNDS):
            after = order_fills.advanced(order, before, owner, kite.FILL_PREFIX, self.clock.now_ms()) or before
            if not after.unsent:
                taken.known += 1
                return after
            try:
                if after != before:
                    self.accounts.book(broker, account, name, before, after)
                self.queue.send(after.unsent)
                sent = replace(after, unsent=())
                self.accounts.book(broker, account, name, after, sent)
            except ConflictError:  # somebody else was told of the same order; what they claimed stays claimed
                before = self.accounts.booked_order(broker, account, *name)
                continue
            taken.queued += len(after.unsent)
            return sent
        return before

    def _note_behind(self, current: Sequence[tuple[OrderState, Booked]], taken: Taken) -> None:
        """Which symbols the books may not be up to date in."""
        now_ms = self.clock.now_ms()
        by_portfolio: dict[str, dict[str, str]] = {}
        for order, booked in current:
            if now_ms - booked.changed_at_ms < self.protect_ms:
                taken.recent.add(str(order.symbol))
            identifier = f"fill:{order_fills.fill_id(order.day, order.order_id, booked.filled, kite.FILL_PREFIX)}"
            by_portfolio.setdefault(booked.portfolio_id, {})[identifier] = str(order.symbol)
        for portfolio_id, wanted in by_portfolio.items():
            known = self.ledger.transactions(portfolio_id, list(wanted))
            taken.pending |= {symbol for identifier, symbol in wanted.items() if identifier not in known}
