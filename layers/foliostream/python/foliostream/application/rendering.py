"""Snapshots as they go out: rendered from the book and the prices they were valued from, staleness as of now."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import NamedTuple

import msgspec

from foliostream.domain import portfolio as books
from foliostream.domain import snapshot, valuation
from foliostream.domain.margin import Basis
from foliostream.domain.state import symbols_priced
from foliostream.ports import Clock, Head, Instruments, StoredSnapshot
from foliostream.recent import Recent

# Enough for the connections of a push batch that watch the same portfolios.
RENDERED_MAX = 500
RENDERED_BYTES_MAX = 16_000_000


class Rendered(NamedTuple):
    """A snapshot as it goes out: ``body`` is the encoded PortfolioState."""

    head: Head
    body: bytes


class _Kept(NamedTuple):
    """What was rendered of what; both are compared with what is stored now."""

    stored: StoredSnapshot
    rendered: Rendered


@dataclass(frozen=True)
class Renderer:
    """Renders each snapshot once for all who watch it. ``stale_after_ms`` as in the ``Valuer``; ``basis``: the
    prices at which margin is needed."""

    instruments: Instruments
    clock: Clock
    stale_after_ms: int
    basis: Basis
    _recent: Recent[_Kept] = field(default_factory=lambda: Recent(RENDERED_MAX, RENDERED_BYTES_MAX))
    # Rendering is computing only, so side by side it would not be faster; in turn, the second finds what the first did.
    _turn: Lock = field(default_factory=Lock)

    def __call__(self, portfolio_id: str, stored: StoredSnapshot) -> Rendered | None:
        """None if the book is lost, cannot be read or is of another version than the snapshot."""
        with self._turn:
            kept = self._recent.get(portfolio_id)
            if kept is None or kept.stored != stored:
                rendered = self._rendered(stored)
                if rendered is None:
                    return None
                kept = _Kept(stored, rendered)
                self._recent.put(portfolio_id, kept, len(rendered.body) + len(stored.body) + len(stored.book or b""))
        return self._as_of_now(kept.rendered)

    def _rendered(self, stored: StoredSnapshot) -> Rendered | None:
        if stored.book is None:
            return None
        try:
            portfolio = books.decode(stored.book)
        except msgspec.MsgspecError:
            return None
        if portfolio.version != stored.head.ledger_version:
            return None
        decoded = snapshot.decode(stored.body)
        # Only a registered symbol has a price: of the pairs on the ways between currencies most have neither.
        instruments = self.instruments.get(portfolio.positions.keys() | decoded.prices.keys())
        state = valuation.render(decoded, portfolio, instruments, stale_after_ms=self.stale_after_ms, basis=self.basis)
        return Rendered(stored.head, valuation.encode_state(state))

    def _as_of_now(self, rendered: Rendered) -> Rendered:
        """Staleness derived again (G7)."""
        now_ms = self.clock.now_ms()
        if now_ms < rendered.head.fresh_until_ms:
            return rendered
        state = valuation.decode_state(rendered.body)
        priced = [item for item in state.positions if item.price_ts is not None]
        symbols: set[str] = set().union(*[symbols_priced(item, state.base_currency) for item in priced])
        instruments = self.instruments.get(symbols) if symbols else {}
        state = valuation.with_staleness(state, instruments, self.stale_after_ms, now_ms)
        return Rendered(rendered.head, valuation.encode_state(state))
