"""The calls that speak to a broker: a function of its own answers them."""

from __future__ import annotations

from typing import Annotated

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.openapi.params import Body

from foliostream.api import requests
from foliostream.api.answers import answer
from foliostream.api.models import ReconcileRequest
from foliostream.api.openapi import answers, ref
from foliostream.api.parts import Parts
from foliostream.api.shapes import PostbackTaken, ReconcileReport
from foliostream.domain import kite, reconciliation


def broker_routes(api: APIGatewayRestResolver, parts: Parts) -> None:
    """Reconciliation on demand, and the broker's postbacks."""

    @api.post(
        "/api/v1/portfolio/<portfolio_id>/reconcile",
        summary="Compare the books with the broker; report, or apply what is evident",
        responses=answers(
            status_200=(
                "The report; a broker that does not answer is `failed`. What is `applied` stands in the ledger; the "
                "state shows it within moments, as after a fill",
                ref(ReconcileReport),
            )
        ),
    )
    def reconcile_portfolio(portfolio_id: str, body: Annotated[ReconcileRequest, Body()]) -> Response[str]:
        identifier = requests.name(portfolio_id)
        caller = requests.caller(api.current_event.raw_event)
        report = parts.reconciling(caller, identifier, apply=body.apply, confirm_empty=body.confirm_empty)
        return answer(200, reconciliation.shown(report, identifier))

    @api.post(
        "/webhooks/kite",
        summary="An order's postback from Kite Connect, proved by its checksum",
        responses=answers(status_200=("Taken", ref(PostbackTaken))),
    )
    def kite_postback() -> Response[str]:
        body = requests.checked_size(api.current_event.body or "")
        return answer(200, PostbackTaken(parts.managers[kite.BROKER].reported(body)))
