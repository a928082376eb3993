"""What a snapshot shows: the one place that knows what a stored snapshot looks like."""

from __future__ import annotations

from decimal import Decimal

from foliostream.domain.valuation import PortfolioState, Snapshot, decode_state
from foliostream.ports import StoredSnapshot


def portfolio_id(snapshot: Snapshot) -> str:
    return snapshot.state.portfolio_id


def versions(snapshot: Snapshot) -> tuple[int, int]:
    """Its own, and that of its book."""
    return snapshot.state.version, snapshot.state.ledger_version


def marks(snapshot: Snapshot) -> dict[str, Decimal]:
    """The price of each position that has one, by symbol."""
    return _marks(snapshot.state)


def stored_marks(stored: StoredSnapshot) -> dict[str, Decimal]:
    """The same of a snapshot at rest."""
    return _marks(decode_state(stored.body))


def stored_total(stored: StoredSnapshot) -> Decimal | None:
    return decode_state(stored.body).total_value


def total(snapshot: Snapshot) -> Decimal | None:
    return snapshot.state.total_value


def _marks(state: PortfolioState) -> dict[str, Decimal]:
    return {
        item.instrument_id: item.mark
        for item in state.positions
        if item.position_type != "CASH" and item.mark is not None
    }
