"""Fills out of a broker's orders: booked is what an order has filled by now minus what it had filled before.

A postback and a poll both say how much of an order is filled so far, at least once and in any order, so the same
trades seen both ways count once: the fill is named by order, day and cumulative quantity.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, localcontext

from msgspec import Struct

from foliostream.domain import money
from foliostream.domain.fills import Fill, Side
from foliostream.domain.money import ZERO

_PRICE_DECIMALS = 10
# Who has the part of an order that a reconciliation adjusted: no portfolio has such an id.
_SETTLED = "~reconciled"
# Nobody is told of an older order any more: what was booked of it is kept for longer, and then not known.
ORDER_AGE_DAYS_MAX = 30
KEPT_DAYS = 45


class OrderState(Struct, frozen=True, kw_only=True):
    """How far an order of a day has come. ``filled``: cumulative; ``value``: filled times average price."""

    day: str
    order_id: str
    name: str
    exchange: str
    product: str
    side: Side
    filled: Decimal
    value: Decimal
    timestamp_ms: int
    tags: tuple[str, ...] = ()
    token: str = ""
    symbol: str | None = None
    is_open: bool = False

    @property
    def signed(self) -> Decimal:
        """Filled with its sign."""
        return self.filled if self.side == "BUY" else -self.filled


class Booked(Struct, frozen=True):
    """What of an order became fills. ``unsent``: fills that were claimed and are not known to be queued."""

    filled: Decimal = ZERO
    value: Decimal = ZERO
    portfolio_id: str = ""
    unsent: tuple[Fill, ...] = ()
    changed_at_ms: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether it was nobody's, and a reconciliation booked what the account had more or less for it."""
        return self.portfolio_id == _SETTLED


class Member(Struct, frozen=True):
    """A portfolio on an account; ``tag``: that of its orders, "" where it takes those that nobody else's tag names."""

    portfolio_id: str
    tag: str = ""


def placed_by(order: OrderState, members: Sequence[Member]) -> str | None:
    """The portfolio an order belongs to: by its tag, else the only one without a tag."""
    tagged = [member.portfolio_id for member in members if member.tag and member.tag in order.tags]
    untagged = [member.portfolio_id for member in members if not member.tag]
    if len(tagged) == 1:
        return tagged[0]
    return untagged[0] if not tagged and len(untagged) == 1 else None


def is_outdated(order: OrderState, now_ms: int) -> bool:
    """Whether what was booked of the order may be forgotten: it could count twice."""
    return now_ms >= _days_after(order.day, ORDER_AGE_DAYS_MAX)


def kept_until_ms(day: str) -> int:
    """For how long what was booked of a day's orders is kept."""
    return _days_after(day, KEPT_DAYS)


def _days_after(day: str, days: int) -> int:
    return int(datetime.combine(date.fromisoformat(day) + timedelta(days), time.min, UTC).timestamp()) * 1000


def unanswered(order: OrderState, before: Booked) -> Decimal:
    """What of an order nobody has booked, with its sign."""
    left = max(order.filled - before.filled, ZERO)
    return left if order.side == "BUY" else -left


def settled(order: OrderState, now_ms: int) -> Booked:
    """An order of nobody whose quantity is in the books by an adjustment."""
    return Booked(order.filled, order.value, _SETTLED, (), now_ms)


def fill_id(day: str, order_id: str, filled: Decimal, broker: str) -> str:
    """Of the part of an order that brought it to ``filled``."""
    return f"{broker}:{day}:{order_id}:{format(filled.normalize(), 'f')}"


def advanced(order: OrderState, before: Booked, portfolio_id: str, broker: str, now_ms: int) -> Booked | None:
    """What is booked after the report: with the new fill unsent; None where the report tells nothing new, or less
    than was known. ``order.symbol`` is set."""
    with localcontext(money.EXACT):
        quantity, value = order.filled - before.filled, order.value - before.value
        if quantity <= ZERO:
            return None
        # Averages are rounded by the broker, so a difference of two of them may be off, but never below nothing.
        price = money.plain(max(value, ZERO) / quantity, _PRICE_DECIMALS)
    owner = before.portfolio_id or portfolio_id
    fill = Fill(
        fill_id=fill_id(order.day, order.order_id, order.filled, broker),
        portfolio_id=owner,
        instrument_id=str(order.symbol),
        side=order.side,
        quantity=quantity,
        price=price,
        timestamp_ms=order.timestamp_ms,
        order_id=order.order_id,
        tag=order.tags[0] if order.tags else None,
        exchange=order.exchange,
        product=order.product,
        live=True,
    )
    return Booked(order.filled, order.value, owner, (*before.unsent, fill), now_ms)
