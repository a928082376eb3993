"""Margin over REST: previews."""

from __future__ import annotations

from typing import Annotated

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.openapi.params import Body

from foliostream.api import conversion, requests
from foliostream.api.answers import answer
from foliostream.api.models import PreviewRequest
from foliostream.api.openapi import answers, ref
from foliostream.api.parts import Parts
from foliostream.api.shapes import MarginFigures, MarginPreview, PreviewRefusal
from foliostream.application.margin_check import Previewed
from foliostream.domain import margin
from foliostream.domain.margin import Margin


def margin_routes(api: APIGatewayRestResolver, parts: Parts) -> None:
    """What orders would do to a margin account."""

    @api.post(
        "/api/v1/portfolio/<portfolio_id>/margin/preview",
        summary="Margin before and after orders that are not placed",
        responses=answers(status_200=("The figures; nothing is changed", ref(MarginPreview))),
    )
    def preview_margin(portfolio_id: str, body: Annotated[PreviewRequest, Body()]) -> Response[str]:
        caller = requests.caller(api.current_event.raw_event)
        found = parts.previewing(caller, requests.name(portfolio_id), conversion.preview_orders(body))
        return answer(200, _shown(found))


def _shown(found: Previewed) -> MarginPreview:
    preview, base = found.preview, found.portfolio.base_currency
    refusal = preview.refusal
    return MarginPreview(
        portfolio_id=found.portfolio.portfolio_id,
        base_currency=base,
        ledger_version=found.portfolio.version,
        before=_figures(preview.before, base),
        after=None if preview.after is None else _figures(preview.after, base),
        accepted=refusal is None,
        refusal=None
        if refusal is None
        else PreviewRefusal(refusal.code, refusal.message, [*map(dict, refusal.details)]),
        stale=found.stale,
        assumed=list(preview.assumed),
    )


def _figures(found: Margin, base: str) -> MarginFigures:
    wired = margin.wire(found, base, "unknown")
    return MarginFigures(
        balance=wired.balance,
        equity=wired.equity,
        used=wired.used,
        free=wired.free,
        level_percent=wired.level_percent,
        exposure=wired.exposure,
        leverage_used=wired.leverage_used,
    )
