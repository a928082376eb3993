"""States as a server writes them."""

from __future__ import annotations

from typing import Any


def position(instrument_id: str, quantity: int = 1, **more: object) -> dict[str, Any]:
    return {"instrument_id": instrument_id, "position_type": "LONG", "quantity": quantity, "currency": "USD"} | more


def state(*positions: dict[str, Any], **more: object) -> dict[str, Any]:
    fields = {
        "portfolio_id": "growth",
        "portfolio_name": "Growth",
        "account_type": "live",
        "account_kind": "cash",
        "base_currency": "USD",
        "status": "ACTIVE",
        "version": 1,
        "ledger_version": 1,
        "calc_status": "ok",
        "last_updated": "2026-02-26T10:30:00Z",
        "positions": list(positions),
        "weights": {},
    }
    return fields | more
