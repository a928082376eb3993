"""Answers beside PortfolioState, as they go out and as OpenAPI describes them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct

from foliostream.application.price_input import MAX_UPDATES
from foliostream.domain.instrument import Kind
from foliostream.domain.price import Refusal


class ErrorBody(Struct):
    """``code`` is stable, ``message`` is for people; ``details`` name fields, limits or entries."""

    code: str
    message: str
    request_id: str
    details: list[dict[str, Any]]


class Error(Struct):
    """The one shape of every refusal and failure."""

    error: ErrorBody


class PortfolioSummary(Struct):
    """A portfolio without its value."""

    portfolio_id: str
    portfolio_name: str
    account_type: str
    account_kind: str
    base_currency: str
    status: str
    ledger_version: int


class PortfolioList(Struct):
    """A page of the caller's portfolios; ``cursor`` null on the last one."""

    portfolios: list[PortfolioSummary]
    cursor: str | None


class Positions(Struct):
    """The part of an encoded state that holds the positions, as it is."""

    positions: Raw


class PriceUpdateIn(Struct):
    """A price; one of bid, ask and last at least. Newer means (ts, seq); quote and last are judged apart."""

    symbol: str
    ts: int | str
    seq: Annotated[int, Meta(ge=0)] | None = None
    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    open: Decimal | None = None
    previous_close: Decimal | None = None


class PricesIn(Struct):
    """Every update is judged on its own."""

    updates: Annotated[list[PriceUpdateIn], Meta(max_length=MAX_UPDATES)]


class RefusedPrice(Struct):
    """An update that was not taken, and why."""

    symbol: str
    code: Refusal
    message: str


class PricesTaken(Struct):
    """How many updates are stored, and which are not."""

    accepted: int
    rejected: list[RefusedPrice]


class InstrumentOut(Struct):
    """An instrument; null where the default of its kind or of the deployment holds."""

    symbol: str
    kind: Kind
    currency: str
    base_currency: str | None
    contract_size: Decimal | None
    price_decimals: int | None
    allow_zero: bool
    max_age_seconds: int | None
    isin: str | None


class RefreshAccepted(Struct):
    """The valuation is promised."""

    portfolio_id: str
    status: Literal["accepted"] = "accepted"


class Check(Struct):
    """One store, asked for something that is not there."""

    status: Literal["ok", "down"]
    latency_ms: float


class Health(Struct):
    """``hot_store``: which one is in use."""

    status: Literal["ok", "down"]
    hot_store: str
    checks: dict[str, Check]
