"""Fills in."""

from __future__ import annotations

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response

from foliostream.api import requests
from foliostream.api.answers import answer
from foliostream.api.openapi import answers, one_or_list, ref
from foliostream.api.parts import Parts
from foliostream.api.shapes import FillIn, FillsTaken, RejectedFill
from foliostream.application import fill_input


def fill_routes(api: APIGatewayRestResolver, parts: Parts) -> None:
    """Fills of brokers and simulators."""

    @api.post(
        "/api/v1/fills",
        summary="Report fills, one or a list (scope fills:write)",
        responses=answers(status_202=("What became of them", ref(FillsTaken))),
        openapi_extensions=one_or_list(FillIn, fill_input.MAX_FILLS),
    )
    def post_fills() -> Response[str]:
        event = api.current_event
        caller = requests.caller(event.raw_event)
        caller.require("fills:write")
        parsed = fill_input.from_body(requests.checked_size(event.body or ""))
        report = parts.fill_accepter.accept(parsed, reported_by=caller.subject)
        return answer(202, FillsTaken(report.accepted, [RejectedFill(*refused) for refused in report.rejected]))
