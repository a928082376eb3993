"""Daily closes of instruments."""

from __future__ import annotations

from typing import Annotated

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Query

from foliostream.api import requests
from foliostream.api.answers import answer
from foliostream.api.models import ClosesRequest
from foliostream.api.openapi import answers, ref
from foliostream.api.parts import Parts
from foliostream.api.shapes import CloseOut, ClosesKept, ClosesOut
from foliostream.application import price_history

FromDate = Annotated[str | None, Query(alias="from", max_length=10, description="First date, such as 2026-02-26.")]
ToDate = Annotated[str | None, Query(alias="to", max_length=10, description="Last date, included.")]


def history_routes(api: APIGatewayRestResolver, parts: Parts) -> None:
    """Closes in and out."""

    @api.put(
        "/api/v1/instruments/<symbol>/history",
        summary="Give daily closes, merged by date (scope instruments:write)",
        responses=answers(status_200=("What is kept now", ref(ClosesKept))),
    )
    def put_history(symbol: str, body: Annotated[ClosesRequest, Body()]) -> Response[str]:
        kept = price_history.put_closes(
            requests.caller(api.current_event.raw_event),
            requests.name(symbol),
            [(item.date, item.close) for item in body.closes],
            adjusted=body.adjusted,
            instruments=parts.instruments,
            price_history=parts.price_history,
            clock=parts.clock,
            zone=parts.market_zone,
        )
        return answer(200, ClosesKept(*kept))

    @api.get(
        "/api/v1/instruments/<symbol>/history",
        summary="Daily closes, divided by the splits since",
        responses=answers(status_200=("The closes", ref(ClosesOut))),
    )
    def get_price_history(symbol: str, from_date: FromDate = None, to_date: ToDate = None) -> Response[str]:
        requests.caller(api.current_event.raw_event)
        name = requests.name(symbol)
        found = price_history.get_closes(
            name,
            from_date,
            to_date,
            instruments=parts.instruments,
            price_history=parts.price_history,
            zone=parts.market_zone,
        )
        return answer(200, ClosesOut(name, [CloseOut(day, close) for day, close in found.items()]))
