"""What a portfolio's status allows: SUSPENDED no trades, LIQUIDATING only what reduces a position, CLOSED nothing that
would open anything again; and only what is flat can be closed."""

from __future__ import annotations

from foliostream.domain.account import Portfolio, Status
from foliostream.domain.entries import Entry
from foliostream.errors import RefusedError

_TRADES = frozenset({"BUY", "SELL", "FX"})


def refusal(portfolio: Portfolio, entry: Entry) -> RefusedError | None:
    """Why the portfolio's status does not allow the entry; None if it does."""
    status, kind = portfolio.status, entry.transaction_type
    if status == "ACTIVE":
        return None
    if status == "LIQUIDATING":
        if kind in {"BUY", "SELL"} and not _reduces(portfolio, entry):
            return RefusedError(
                "the portfolio is being liquidated: trades may only reduce", code="PORTFOLIO_LIQUIDATING"
            )
        return None
    opens = kind == "DEPOSIT" or (kind == "ADJUSTMENT" and bool(entry.quantity) and not _reduces(portfolio, entry))
    if kind in _TRADES or (status == "CLOSED" and opens):
        return RefusedError(f"the portfolio is {status}", code=f"PORTFOLIO_{status}")
    return None


def check_change(portfolio: Portfolio, status: Status) -> None:
    """``RefusedError`` (``NOT_FLAT``) for CLOSED while positions are open. Every other status may follow every
    other."""
    if status == "CLOSED" and portfolio.positions:
        raise RefusedError(
            f"only a flat portfolio can be closed, {portfolio.portfolio_id} holds {len(portfolio.positions)} positions",
            code="NOT_FLAT",
            details=[{"symbol": symbol} for symbol in sorted(portfolio.positions)],
        )


def _reduces(portfolio: Portfolio, entry: Entry) -> bool:
    held = portfolio.positions.get(entry.instrument_id or "")
    if held is None or (held.quantity > 0) == (entry.quantity > 0):
        return False
    return abs(entry.quantity) <= abs(held.quantity)
