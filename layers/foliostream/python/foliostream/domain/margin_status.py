"""Where a margin account stands, as it is carried from one snapshot to the next. What changes it: ``margin_states``."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec
from msgspec import Struct

State = Literal["ok", "warning", "call", "stop_out", "unknown"]
EventKind = Literal["margin_call", "margin_restored", "stop_out", "margin_unknown"]


class MarginEvent(Struct, frozen=True, array_like=True):
    """A change to be published. ``begun``: the snapshot version at which the breach began (of ``margin_unknown``: at
    which the figures were first not to be trusted), which makes the id. Figures unrounded, in base, as they were."""

    kind: EventKind
    begun: int
    at_ms: int
    equity: Decimal | None = None
    used: Decimal | None = None
    level_percent: Decimal | None = None

    def event_id(self, portfolio_key: str) -> str:
        """The same for the same breach, however often it is told: ``margin_call:live:12345:1772101800000``."""
        return f"{self.kind}:{portfolio_key}:{self.begun}"


class MarginStatus(Struct, frozen=True, array_like=True):
    """Where a margin account stands; ``unknown`` until its first snapshot that is ok.

    ``call_version``: of the snapshot at which it came to call or worse, 0 while it is not; ``stop_out_version`` the
    same of the stop-out. ``blind_version`` and ``blind_since_ms``: of the first of the snapshots in a row that are not
    ok; ``alarmed``: ``margin_unknown`` was raised about them.
    """

    state: State = "unknown"
    call_version: int = 0
    stop_out_version: int = 0
    blind_version: int = 0
    blind_since_ms: int = 0
    alarmed: bool = False
    unsent: tuple[MarginEvent, ...] = ()

    @property
    def shown(self) -> State:
        """As clients see it: a state that has been out of sight for so long that it was raised is not known."""
        return "unknown" if self.alarmed else self.state

    @property
    def is_out_of_sight(self) -> bool:
        """Whether it is called and has no figures that are to be trusted, which nobody was told yet."""
        return bool(self.call_version and self.blind_version) and not self.alarmed

    @property
    def is_pending(self) -> bool:
        """Whether something has to follow from it: events to be published, a stop-out that goes on, another look."""
        return bool(self.unsent) or self.state == "stop_out" or self.is_out_of_sight


UNSEEN = MarginStatus()
_NOTE = "margin:"


def note_name(portfolio_id: str) -> str:
    """Under which what was told of an account is kept for when the hot store has lost its snapshots."""
    return _NOTE + portfolio_id


_encoder = msgspec.json.Encoder(decimal_format="string")
_decoder = msgspec.json.Decoder(MarginStatus)


def encode(status: MarginStatus | None) -> str:
    """A JSON array; empty for an account that has no margin."""
    return "" if status is None else _encoder.encode(status).decode()


def decode(raw: str) -> MarginStatus:
    """The inverse of ``encode``; of nothing, one that was never seen."""
    return _decoder.decode(raw) if raw else UNSEEN
