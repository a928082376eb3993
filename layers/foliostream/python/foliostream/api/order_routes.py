"""Simulated orders of paper accounts."""

from __future__ import annotations

from typing import Annotated

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Query

from foliostream.api import requests
from foliostream.api.answers import answer, ready
from foliostream.api.models import OrderRequest
from foliostream.api.openapi import answers, ref
from foliostream.api.parts import Parts
from foliostream.api.routes import Cursor
from foliostream.api.shapes import OrderList, OrderOut
from foliostream.domain.orders import Order, Request, State
from foliostream.domain.times import iso
from foliostream.domain.valuation import PortfolioState

StateFilter = Annotated[State | None, Query(alias="state", description="Only orders of this state.")]


def order_routes(api: APIGatewayRestResolver, parts: Parts) -> None:
    """Place, list and cancel orders; back to the start."""

    @api.post(
        "/api/v1/portfolio/<portfolio_id>/orders",
        summary="Place an order in a paper account",
        responses=answers(
            status_201=("The order, FILLED or OPEN", ref(OrderOut)),
            status_200=("The same order came before", ref(OrderOut)),
        ),
    )
    def place_order(portfolio_id: str, body: Annotated[OrderRequest, Body()]) -> Response[str]:
        caller = requests.caller(api.current_event.raw_event)
        asked = Request(body.instrument_id, body.side, body.quantity, body.order_type, body.limit_price)
        placed = parts.ordering.place(caller, requests.name(portfolio_id), body.client_order_id, asked)
        return answer(201 if placed.created else 200, shown(placed.order))

    @api.get(
        "/api/v1/portfolio/<portfolio_id>/orders",
        summary="Orders of a paper account, those with the highest ids first",
        responses=answers(status_200=("A page, which may be empty before the last", ref(OrderList))),
    )
    def list_orders(portfolio_id: str, state: StateFilter = None, cursor: Cursor = None) -> Response[str]:
        caller = requests.caller(api.current_event.raw_event)
        page = parts.ordering.page(caller, requests.name(portfolio_id), state, cursor)
        return answer(200, OrderList([shown(order) for order in page.orders], page.cursor))

    @api.delete(
        "/api/v1/portfolio/<portfolio_id>/orders/<order_id>",
        summary="Cancel an open order",
        responses=answers(status_200=("The order, CANCELLED now or before", ref(OrderOut))),
    )
    def cancel_order(portfolio_id: str, order_id: str) -> Response[str]:
        caller = requests.caller(api.current_event.raw_event)
        order = parts.ordering.cancel(caller, requests.name(portfolio_id), requests.name(order_id))
        return answer(200, shown(order))

    @api.post(
        "/api/v1/portfolio/<portfolio_id>/reset",
        summary="Bring a paper account back to its start",
        responses=answers(status_200=("The state after", ref(PortfolioState))),
    )
    def reset_portfolio(portfolio_id: str) -> Response[str]:
        caller = requests.caller(api.current_event.raw_event)
        return ready(200, parts.resetting(caller, requests.name(portfolio_id)).body)


def shown(order: Order) -> OrderOut:
    """As it goes out."""
    request = order.request
    return OrderOut(
        order_id=order.order_id,
        portfolio_id=order.portfolio_id,
        instrument_id=request.instrument_id,
        side=request.side,
        quantity=request.quantity,
        order_type=request.order_type,
        limit_price=request.limit_price,
        state=order.state,
        fill_price=order.fill_price,
        fee=order.fee,
        fee_currency=order.fee_currency,
        transaction_id=order.transaction_id if order.state == "FILLED" else None,
        code=order.code,
        reason=order.reason,
        created_at=iso(order.created_at_ms),
        updated_at=iso(order.updated_at_ms),
    )
