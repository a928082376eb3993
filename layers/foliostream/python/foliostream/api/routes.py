"""The calls of contract section 2: parse, one use case, answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from uuid import uuid4

import msgspec
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Header, Query

from foliostream.api import conversion, health, requests, statements
from foliostream.api.answers import answer, ready
from foliostream.api.models import InstrumentRequest, PortfolioChange, PortfolioRequest, UpdateRequest
from foliostream.api.openapi import answers, json_body, ref
from foliostream.api.parts import Parts
from foliostream.api.shapes import (
    Health,
    HistoryOut,
    InstrumentOut,
    PortfolioAnalytics,
    PortfolioList,
    PortfolioSummary,
    Positions,
    PricesIn,
    PricesTaken,
    RefreshAccepted,
    RefusedPrice,
    SettingsOut,
    SplitOut,
    TransactionList,
)
from foliostream.application import price_input
from foliostream.application import statements as booked
from foliostream.application.access import Caller
from foliostream.application.instruments import get_instrument, put_instrument
from foliostream.domain.instrument import Instrument
from foliostream.domain.portfolio import Portfolio
from foliostream.domain.times import iso
from foliostream.domain.valuation import PortfolioState, PositionState

MAX_CURSOR_LENGTH = 2_048
DATE = {"format": "date"}
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[A-Za-z0-9_.:|-]{1,100}$",
        description="Makes the call repeatable: the same key with the same body changes nothing the second time.",
    ),
]
Cursor = Annotated[str | None, Query(max_length=MAX_CURSOR_LENGTH, description="From the page before.")]
FromDay = Annotated[
    str | None, Query(alias="from", max_length=10, json_schema_extra=DATE, description="First day, such as 2026-02-26.")
]
ToDay = Annotated[
    str | None, Query(alias="to", max_length=10, json_schema_extra=DATE, description="Last day, included.")
]
_positions = msgspec.json.Decoder(Positions)


def portfolio_routes(api: APIGatewayRestResolver, parts: Parts) -> None:
    """Create, list, read, update and refresh portfolios."""

    @api.post(
        "/api/v1/portfolios",
        summary="Create a portfolio",
        responses=answers(
            status_201=("Created", ref(PortfolioState)),
            status_200=("The same request came before", ref(PortfolioState)),
        ),
    )
    def create_portfolio(
        body: Annotated[PortfolioRequest, Body()], idempotency_key: IdempotencyKey = None
    ) -> Response[str]:
        caller = _caller(api)
        new = conversion.new_portfolio(body, caller.subject, idempotency_key, uuid4().hex)
        created = parts.portfolios.create(caller, new)
        return ready(201 if created.created else 200, created.snapshot.body)

    @api.get(
        "/api/v1/portfolios",
        summary="Your portfolios, in the order of their ids",
        responses=answers(status_200=("A page", ref(PortfolioList))),
    )
    def list_portfolios(cursor: Cursor = None) -> Response[str]:
        listed = parts.portfolios.list(_caller(api), cursor)
        return answer(200, PortfolioList([_summary(item) for item in listed.portfolios], listed.cursor))

    @api.get(
        "/api/v1/portfolio/<portfolio_id>/state",
        summary="The newest state of a portfolio",
        responses=answers(status_200=("The state", ref(PortfolioState))),
    )
    def get_state(portfolio_id: str) -> Response[str]:
        return ready(200, parts.portfolios.state(_caller(api), requests.name(portfolio_id)).body)

    @api.post(
        "/api/v1/portfolio/<portfolio_id>/update",
        summary="Book transactions, all or none",
        responses=answers(status_200=("The state after", ref(PortfolioState))),
    )
    def update_portfolio(
        portfolio_id: str, body: Annotated[UpdateRequest, Body()], idempotency_key: IdempotencyKey = None
    ) -> Response[str]:
        identifier = requests.name(portfolio_id)
        entries = conversion.entries(body, identifier, idempotency_key, (uuid4().hex for _ in body.updates))
        next_id = f"{idempotency_key}:{len(entries)}" if idempotency_key else None
        return ready(200, parts.portfolios.update(_caller(api), identifier, entries, next_id).body)

    @api.get(
        "/api/v1/portfolio/<portfolio_id>/positions",
        summary="The positions of the newest state",
        responses=answers(status_200=("The positions", {"type": "array", "items": ref(PositionState)})),
    )
    def get_positions(portfolio_id: str) -> Response[str]:
        state = parts.portfolios.state(_caller(api), requests.name(portfolio_id))
        return ready(200, bytes(_positions.decode(state.body).positions))

    @api.post(
        "/api/v1/portfolio/<portfolio_id>/refresh",
        summary="Value a portfolio ahead of everything else",
        responses=answers(status_202=("Promised", ref(RefreshAccepted))),
    )
    def refresh_portfolio(portfolio_id: str) -> Response[str]:
        identifier = requests.name(portfolio_id)
        parts.portfolios.refresh(_caller(api), identifier)
        return answer(202, RefreshAccepted(identifier))


def statement_routes(api: APIGatewayRestResolver, parts: Parts) -> None:
    """Change a portfolio; what was booked, and what its days were worth."""

    @api.patch(
        "/api/v1/portfolio/<portfolio_id>",
        summary="Change status or settings",
        responses=answers(status_200=("The state after", ref(PortfolioState))),
    )
    def change_portfolio(portfolio_id: str, body: Annotated[PortfolioChange, Body()]) -> Response[str]:
        changed = parts.amending(_caller(api), requests.name(portfolio_id), conversion.wanted(body))
        return ready(200, changed.body)

    @api.get(
        "/api/v1/portfolio/<portfolio_id>/transactions",
        summary="What was booked, newest first",
        responses=answers(status_200=("A page", ref(TransactionList))),
    )
    def get_transactions(portfolio_id: str, cursor: Cursor = None) -> Response[str]:
        page = booked.transactions(_caller(api), requests.name(portfolio_id), cursor, ledger=parts.ledger)
        return answer(200, statements.transaction_list(page))

    @api.get(
        "/api/v1/portfolio/<portfolio_id>/history",
        summary="What each closed day was worth",
        responses=answers(status_200=("The days", ref(HistoryOut))),
    )
    def get_history(portfolio_id: str, from_day: FromDay = None, to_day: ToDay = None) -> Response[str]:
        identifier = requests.name(portfolio_id)
        found = booked.days(_caller(api), identifier, from_day, to_day, ledger=parts.ledger, clock=parts.clock)
        return answer(200, statements.history_out(identifier, found))

    @api.get(
        "/api/v1/portfolio/<portfolio_id>/analytics",
        summary="Risk and return over the closed days, and how it is invested",
        responses=answers(status_200=("The figures", ref(PortfolioAnalytics))),
    )
    def get_analytics(portfolio_id: str) -> Response[str]:
        found = parts.analytics(_caller(api), requests.name(portfolio_id))
        return answer(200, statements.portfolio_analytics(found))


def market_routes(api: APIGatewayRestResolver, parts: Parts) -> None:
    """Prices in, instruments in and out."""

    @api.post(
        "/api/v1/prices",
        summary="Give prices (scope prices:write)",
        responses=answers(status_202=("What became of them", ref(PricesTaken))),
        openapi_extensions=json_body(PricesIn),
    )
    def post_prices() -> Response[str]:
        _caller(api).require("prices:write")
        parsed = price_input.from_body(requests.checked_size(api.current_event.body or ""))
        report = parts.price_taking(parsed)
        rejected = [RefusedPrice(*refused) for refused in report.rejected]
        return answer(202, PricesTaken(report.accepted, rejected))

    @api.put(
        "/api/v1/instruments/<symbol>",
        summary="Register or change an instrument (scope instruments:write)",
        responses=answers(status_200=("The instrument", ref(InstrumentOut))),
    )
    def put_one(symbol: str, body: Annotated[InstrumentRequest, Body()]) -> Response[str]:
        instrument = conversion.instrument(requests.name(symbol), body)
        stored = put_instrument(
            _caller(api),
            instrument,
            instruments=parts.instruments,
            holders=parts.holders,
            marker=parts.marker,
            clock=parts.clock,
        )
        return answer(200, _shown(stored))

    @api.get(
        "/api/v1/instruments/<symbol>",
        summary="An instrument",
        responses=answers(status_200=("The instrument", ref(InstrumentOut))),
    )
    def get_one(symbol: str) -> Response[str]:
        _caller(api)
        return answer(200, _shown(get_instrument(requests.name(symbol), parts.instruments)))


def open_routes(api: APIGatewayRestResolver, parts: Parts, document: Callable[[], dict[str, Any]]) -> None:
    """What needs no token."""

    @api.get(
        "/health",
        summary="Whether the stores answer",
        responses=answers(status_200=("All of them", ref(Health)), status_503=("Not all of them", ref(Health))),
    )
    def get_health() -> Response[str]:
        found = health.check(parts)
        return answer(200 if found.status == "ok" else 503, found, {"Cache-Control": "no-store"})

    @api.get(
        "/openapi.json", summary="This document", responses=answers(status_200=("OpenAPI 3.1", {"type": "object"}))
    )
    def get_openapi() -> Response[str]:
        context = api.current_event.raw_event["requestContext"]
        base = str(context.get("path") or "").removesuffix("/openapi.json")
        return answer(200, {**document(), "servers": [{"url": base or "/"}]})


def _caller(api: APIGatewayRestResolver) -> Caller:
    return requests.caller(api.current_event.raw_event)


def _summary(portfolio: Portfolio) -> PortfolioSummary:
    return PortfolioSummary(
        portfolio_id=portfolio.portfolio_id,
        portfolio_name=portfolio.portfolio_name,
        account_type=portfolio.account_type,
        account_kind=portfolio.account_kind,
        base_currency=portfolio.base_currency,
        status=portfolio.status,
        ledger_version=portfolio.version,
        settings=SettingsOut(
            allow_short=portfolio.allow_short,
            update_interval_ms=portfolio.update_interval_ms,
            margin_call_percent=portfolio.margin_call_percent,
            stop_out_percent=portfolio.stop_out_percent,
            auto_liquidate=portfolio.auto_liquidate,
            target_weights=portfolio.target_weights,
            benchmark=portfolio.benchmark,
            broker_share=portfolio.broker_share,
        ),
    )


def _shown(instrument: Instrument) -> InstrumentOut:
    splits = [SplitOut(iso(split.effective_ms), statements.ratio(split.new, split.old)) for split in instrument.splits]
    return InstrumentOut(**msgspec.structs.asdict(instrument) | {"splits": splits})
