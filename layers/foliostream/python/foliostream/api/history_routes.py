"""Daily closes of instruments."""

from __future__ import annotations

from typing import Annotated

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.openapi.params import Body

from foliostream.api import requests
from foliostream.api.answers import answer
from foliostream.api.models import ClosesRequest
from foliostream.api.openapi import answers, ref
from foliostream.api.parts import Parts
from foliostream.api.routes import FromDay, ToDay
from foliostream.api.shapes import CloseOut, ClosesKept, ClosesOut
from foliostream.application import price_history


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
    def get_price_history(symbol: str, from_day: FromDay = None, to_day: ToDay = None) -> Response[str]:
        requests.caller(api.current_event.raw_event)
        name = requests.name(symbol)
        found = price_history.get_closes(
            name,
            from_day,
            to_day,
            instruments=parts.instruments,
            price_history=parts.price_history,
            zone=parts.market_zone,
        )
        return answer(200, ClosesOut(name, [CloseOut(day, close) for day, close in found.items()]))
