"""Events for the bus (contract section 4), made of snapshots. Their ids are deterministic: a repeat is recognisable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from foliostream.domain import money
from foliostream.domain.entries import Transaction
from foliostream.domain.liquidation import Liquidation
from foliostream.domain.portfolio import Portfolio
from foliostream.domain.times import iso
from foliostream.domain.valuation import PortfolioState

PORTFOLIO_STATE_UPDATED = "portfolio_state_updated"
LIQUIDATION_EXECUTED = "liquidation_executed"
_OUTSIDE = ("event_id", "timestamp")


def framed(kind: str, detail: Mapping[str, object]) -> dict[str, object]:
    """An event as all of ours look on the bus: its id and its time outside, the rest under its name."""
    inside = {name: value for name, value in detail.items() if name not in _OUTSIDE}
    return {name: detail[name] for name in _OUTSIDE} | {kind: inside}


def liquidation_executed(order: Liquidation, book: Portfolio, closed: Sequence[Transaction]) -> dict[str, object]:
    """The detail of a ``liquidation_executed`` event: the closes of one plan as they are booked; amounts in base."""
    base = book.base_currency
    detail = {
        "event_id": f"{LIQUIDATION_EXECUTED}:{order.plan_id}",
        "timestamp": iso(max(item.booked_at_ms for item in closed)),
        "portfolio_id": order.portfolio_id,
        "base_currency": base,
        "plan_id": order.plan_id,
        "suffices": order.suffices,
        "ledger_version": max(item.ledger_version for item in closed),
        "closes": [
            {
                "fill_id": item.entry.transaction_id.removeprefix("fill:"),
                "instrument_id": item.entry.instrument_id,
                "quantity": money.plain(item.entry.quantity, money.QUANTITY_DECIMALS),
                "price": item.entry.price,
                "realized_pnl": money.money(item.realized_pnl, base),
                "quantity_after": money.plain(item.quantity_after, money.QUANTITY_DECIMALS),
            }
            for item in closed
        ],
    }
    return framed(LIQUIDATION_EXECUTED, detail)


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
