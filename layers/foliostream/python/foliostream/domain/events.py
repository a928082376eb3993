"""Events for the bus (contract section 4), made of snapshots. Their ids are deterministic: a repeat is recognisable."""

from __future__ import annotations

from foliostream.domain.times import iso
from foliostream.domain.valuation import PortfolioState

PORTFOLIO_STATE_UPDATED = "portfolio_state_updated"


def portfolio_state_updated(state: PortfolioState, valued_at_ms: int) -> dict[str, object]:
    """The detail of a ``portfolio_state_updated`` event: the state after a change of the ledger, in base currency.

    The id names the ledger version, so whatever makes the event again (a retry, a replay) makes it under the same
    id, perhaps valued at newer prices. What has no price is null.
    """
    return {
        "event_id": f"{PORTFOLIO_STATE_UPDATED}:{state.portfolio_id}:{state.ledger_version}",
        "timestamp": iso(valued_at_ms),
        PORTFOLIO_STATE_UPDATED: {
            "portfolio_id": state.portfolio_id,
            "total_value": state.total_value,
            "cash_balance": state.cash_balance,
            "positions": [
                {
                    "instrument_id": position.instrument_id,
                    "quantity": position.quantity,
                    "market_value": position.market_value,
                    "weight": position.weight,
                    "unrealized_pnl": position.unrealized_pnl,
                }
                for position in state.positions
            ],
            "last_updated": state.last_updated,
        },
    }
