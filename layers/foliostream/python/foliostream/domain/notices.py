"""Notices: what happened to a portfolio and its watchers must each hear of, once and never conflated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from foliostream.domain import messages
from foliostream.domain.entries import Transaction
from foliostream.domain.times import iso
from foliostream.errors import PermanentError

NoticeKind = Literal["margin_call", "margin_restored", "margin_unknown", "stop_out", "fill", "reconciliation"]
Channel = Literal["state", "positions", "margin", "fills"]
CHANNELS: Final[tuple[Channel, ...]] = get_args(Channel)
# Which channel of a subscription brings it.
CHANNEL_OF: Final[Mapping[NoticeKind, Channel]] = {
    "margin_call": "margin",
    "margin_restored": "margin",
    "margin_unknown": "margin",
    "stop_out": "margin",
    "fill": "fills",
    "reconciliation": "fills",
}
_FILL_PREFIX: Final = "fill:"


@dataclass(frozen=True)
class Notice:
    """``event_id`` is deterministic, so that a repeat is recognisable: the same happening always has the same one.

    ``at_ms``: when it happened. ``content``: what the message says beside ``type``, ``timestamp``, ``event_id`` and
    ``portfolio_id``; amounts as Decimal, ready for ``messages.encode``; what is not known is None and goes out as null.
    """

    portfolio_id: str
    event_id: str
    kind: NoticeKind
    at_ms: int
    content: Mapping[str, object]

    @property
    def payload(self) -> bytes:
        """The message as it goes out; ``PermanentError`` (``NOTICE_TOO_LARGE``) if it does not fit into a frame."""
        frame = {
            "type": self.kind,
            "timestamp": iso(self.at_ms),
            "event_id": self.event_id,
            "portfolio_id": self.portfolio_id,
        }
        encoded = messages.encode({**frame, **self.content})
        if len(encoded) > messages.MAX_FRAME_BYTES:
            raise PermanentError(
                f"{self.event_id} has {len(encoded)} bytes, at most {messages.MAX_FRAME_BYTES} fit into a frame",
                code="NOTICE_TOO_LARGE",
            )
        return encoded


def fill(portfolio_id: str, transaction: Transaction) -> Notice:
    """A fill as it was booked, reported or (``order:a``) simulated; ``price`` and ``fee`` in the currencies named,
    ``realized_pnl`` in base."""
    entry = transaction.entry
    fill_id = entry.transaction_id.removeprefix(_FILL_PREFIX)
    content = {
        "fill_id": fill_id,
        "instrument_id": entry.instrument_id,
        "side": "BUY" if entry.quantity > 0 else "SELL",
        "quantity": abs(entry.quantity),
        "price": entry.price,
        "currency": transaction.currency,
        "fee": entry.fee,
        "fee_currency": entry.fee_currency,
        "realized_pnl": transaction.realized_pnl,
        "quantity_after": transaction.quantity_after,
        "ledger_version": transaction.ledger_version,
        "executed_at": iso(entry.timestamp_ms),
        "order_id": entry.order.order_id if entry.order else None,
    }
    return Notice(portfolio_id, f"fill:{portfolio_id}:{fill_id}", "fill", transaction.booked_at_ms, content)
