"""Who may do what: one entry for every call of openapi.json and every action of the WebSocket.

A call without an entry fails ``tests/unit/api/test_who_may.py``; ``tests/e2e/test_who_may.py`` asks every entry of the
deployed system as nobody, as somebody else, with every scope but the needed one and as who may.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

Who = Literal["anybody", "known", "owner", "scope", "proof"]
"""anybody: no token. known: any token; it concerns the caller only. owner: whose portfolio the path names. scope: a
token with ``Call.scope``, whoever it is of. proof: no token, but a proof in the body."""


@dataclass(frozen=True)
class Ground:
    """What calls are made on: an account with a position of ``symbol`` and an open order."""

    portfolio_id: str
    symbol: str
    order_id: str
    # Unlike anything before, for what is created.
    unique: str

    def path(self, template: str) -> str:
        """With this ground's names for its parameters."""
        return template.format(
            portfolio_id=self.portfolio_id, symbol=self.symbol, order_id=self.order_id, user_type="paper"
        )


Body = Callable[[Ground], Any]


@dataclass(frozen=True)
class Call:
    """``status``: the answer to whom it is allowed, with ``body``."""

    method: str
    path: str
    who: Who
    status: int = 200
    body: Body | None = None
    scope: str = ""

    @property
    def name(self) -> str:
        """``GET /health``."""
        return f"{self.method} {self.path}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _yesterday() -> str:
    return str((datetime.now(UTC) - timedelta(days=2)).date())


def _portfolio(ground: Ground) -> Any:  # noqa: ANN401 (JSON)
    return {
        "portfolio_id": ground.unique,
        "portfolio_name": "One more",
        "account_type": "demo",
        "account_kind": "cash",
        "base_currency": "USD",
        "cost_basis": "average",
    }


def _update(ground: Ground) -> Any:  # noqa: ANN401 (JSON)
    deposit = {"transaction_type": "DEPOSIT", "amount": 1, "currency": "USD", "transaction_id": ground.unique}
    return {"portfolio_id": ground.portfolio_id, "timestamp": _now_ms(), "updates": [deposit]}


def _order(ground: Ground) -> Any:  # noqa: ANN401 (JSON)
    return {
        "instrument_id": ground.symbol,
        "side": "BUY",
        "quantity": 1,
        "order_type": "limit",
        "limit_price": 1,
        "client_order_id": ground.unique,
    }


def _fill(ground: Ground) -> Any:  # noqa: ANN401 (JSON)
    return {
        "fill_id": ground.unique,
        "portfolio_id": ground.portfolio_id,
        "instrument_id": ground.symbol,
        "side": "BUY",
        "quantity": 1,
        "fill_price": 100,
        "timestamp": _now_ms(),
    }


def _forged(_: Ground) -> Any:  # noqa: ANN401 (JSON)
    return {
        "user_id": "AB1001",
        "order_id": "220101000000001",
        "status": "COMPLETE",
        "order_timestamp": "2022-01-01 10:00:00",
        "exchange": "NSE",
        "tradingsymbol": "INFY",
        "instrument_token": 408065,
        "transaction_type": "BUY",
        "product": "CNC",
        "filled_quantity": 1,
        "average_price": 100,
        "checksum": "0" * 64,
    }


def _previewed(ground: Ground) -> Any:  # noqa: ANN401 (JSON)
    return {"orders": [{"instrument_id": ground.symbol, "quantity": 1}]}


def _analyzed(ground: Ground) -> Any:  # noqa: ANN401 (JSON)
    return {"portfolio_id": ground.portfolio_id, "ticker": ground.symbol}


_PORTFOLIO = "/api/v1/portfolio/{portfolio_id}"
_INSTRUMENT = "/api/v1/instruments/{symbol}"

CALLS = (
    Call("GET", "/health", "anybody"),
    Call("GET", "/openapi.json", "anybody"),
    Call("POST", "/webhooks/kite", "proof", body=_forged),
    Call("POST", "/api/v1/portfolios", "known", 201, _portfolio),
    Call("GET", "/api/v1/portfolios", "known"),
    Call("POST", "/api/v1/ws-ticket", "known"),
    Call("GET", _INSTRUMENT, "known"),
    Call("GET", _INSTRUMENT + "/history", "known"),
    Call(
        "POST",
        "/api/v1/prices",
        "scope",
        202,
        lambda ground: {"updates": [{"symbol": ground.symbol, "last": 101, "ts": _now_ms()}]},
        scope="prices:write",
    ),
    Call("POST", "/api/v1/fills", "scope", 202, _fill, scope="fills:write"),
    Call("PUT", _INSTRUMENT, "scope", 200, lambda _: {"kind": "stock", "currency": "USD"}, scope="instruments:write"),
    Call(
        "PUT",
        _INSTRUMENT + "/history",
        "scope",
        200,
        lambda _: {"closes": [{"date": _yesterday(), "close": 99}]},
        scope="instruments:write",
    ),
    Call("GET", "/api/market/portfolio/status", "scope", scope="admin"),
    Call("GET", "/api/market/portfolio/dirty-users/{user_type}", "scope", scope="admin"),
    Call("GET", _PORTFOLIO + "/state", "owner"),
    Call("GET", _PORTFOLIO + "/positions", "owner"),
    Call("GET", _PORTFOLIO + "/transactions", "owner"),
    Call("GET", _PORTFOLIO + "/history", "owner"),
    Call("GET", _PORTFOLIO + "/analytics", "owner"),
    Call("GET", _PORTFOLIO + "/orders", "owner"),
    Call("POST", _PORTFOLIO + "/update", "owner", 200, _update),
    Call("POST", _PORTFOLIO + "/refresh", "owner", 202),
    Call("POST", _PORTFOLIO + "/margin/preview", "owner", 200, _previewed),
    Call("POST", _PORTFOLIO + "/reconcile", "owner", 200, lambda _: {}),
    Call("PATCH", _PORTFOLIO, "owner", 200, lambda _: {"settings": {"margin_call_percent": 120}}),
    Call("POST", _PORTFOLIO + "/orders", "owner", 201, _order),
    Call("DELETE", _PORTFOLIO + "/orders/{order_id}", "owner"),
    Call("POST", _PORTFOLIO + "/reset", "owner"),
)


@dataclass(frozen=True)
class Action:
    """``fields``: beside ``action`` and ``request_id``. ``answer``: the type of what the owner is told.

    ``names_portfolio``: whether somebody else must be refused; without it only the client's own session is concerned.
    """

    name: str
    answer: str
    fields: Body
    names_portfolio: bool = True


ACTIONS = (
    Action("ping", "pong", lambda _: {}, names_portfolio=False),
    Action("subscribe", "subscribed", lambda ground: {"portfolio_ids": [ground.portfolio_id]}),
    Action("resume", "resumed", lambda ground: {"portfolio_id": ground.portfolio_id, "last_version": _now_ms()}),
    Action("refresh", "refresh_accepted", lambda ground: {"portfolio_id": ground.portfolio_id}),
    Action(
        "analyze", "analysis_started", lambda ground: {"portfolio_id": ground.portfolio_id, "ticker": ground.symbol}
    ),
    # Of the session's own analysis: there is one for the owner, and never one for somebody else.
    Action("cancel", "analysis_cancelled", lambda _: {}, names_portfolio=False),
    # What is not watched is no secret that it is not: whoever asks gets the list of what the session watches.
    Action(
        "unsubscribe",
        "unsubscribed",
        lambda ground: {"portfolio_ids": [ground.portfolio_id]},
        names_portfolio=False,
    ),
)
