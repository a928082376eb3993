"""Fills as they come in: JSON of the contract's Fill, each judged on its own."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import Raw, Struct

from foliostream.application.reading import decoded
from foliostream.domain import fills, keys, times
from foliostream.domain.fills import Fill
from foliostream.domain.money import ZERO
from foliostream.errors import CallerError

MAX_FILLS = 100
_MAX_SHOWN = 128
_T = TypeVar("_T")


class _Event(Struct):
    detail: Raw


class GivenFill(Struct):
    """As written by the sender. Null is the same as left out; fields not named here are none of our business."""

    fill_id: str | None = None
    portfolio_id: str | None = None
    execution_mode: str | None = None
    strategy_id: str | int | None = None
    instrument_id: str | None = None
    instrument_token: int | str | None = None
    side: str | None = None
    signal_type: str | None = None
    quantity: Decimal | None = None
    fill_price: Decimal | None = None
    fee: Decimal | None = None
    fee_currency: str | None = None
    currency: str | None = None
    order_id: str | int | None = None
    tag: str | None = None
    exchange: str | None = None
    product: str | None = None
    owner: str | None = None
    timestamp: int | str | None = None


class _Identified(Struct):
    fill_id: str = ""


_lists = msgspec.json.Decoder(list[Raw])
_events = msgspec.json.Decoder(_Event)
_fills = msgspec.json.Decoder(GivenFill)
_identified = msgspec.json.Decoder(_Identified)


class RefusedFill(NamedTuple):
    """A fill that is not taken, and why; ``number`` is its place among those given, from 0."""

    number: int
    fill_id: str
    code: str
    message: str


class ReadFill(NamedTuple):
    """A fill that could be read. ``instrument_token`` stands for an instrument still to be looked up: the fill's
    ``instrument_id`` is empty then. ``currency`` is the one it states."""

    number: int
    fill: Fill
    instrument_token: str | None
    currency: str | None


class Parsed(NamedTuple):
    """What could be read, and what not with the reason."""

    fills: list[ReadFill]
    refused: list[RefusedFill]


def from_body(body: str) -> Parsed:
    """A request body: a fill or a list of at most ``MAX_FILLS``; ``CallerError`` if it is neither."""
    if not body.lstrip().startswith("["):
        return parse([Raw(body.encode())]) if _is_object(body) else parse([])
    items = decoded(_lists, body)
    if not 0 < len(items) <= MAX_FILLS:
        raise CallerError(
            f"a list has 1 to {MAX_FILLS} fills, not {len(items)}",
            code="TOO_MANY_FILLS" if items else "INVALID",
            details=[{"limit": MAX_FILLS, "value": len(items)}],
        )
    return parse(items)


def from_event(event: str) -> Raw:
    """The fill of an EventBridge event, unread; ``CallerError`` if it is no event with a detail."""
    return decoded(_events, event).detail


def parse(items: Sequence[Raw]) -> Parsed:
    """Each on its own."""
    parsed = Parsed([], [])
    for index, raw in enumerate(items):
        try:
            parsed.fills.append(_one(index, _fills.decode(raw)))
        except CallerError as fault:
            parsed.refused.append(RefusedFill(index, _id_of(raw), fault.code, fault.message))
        except (msgspec.MsgspecError, RecursionError, ArithmeticError) as fault:
            parsed.refused.append(RefusedFill(index, _id_of(raw), "INVALID", str(fault)[:300]))
    return parsed


def _is_object(body: str) -> bool:
    decoded(msgspec.json.Decoder(dict[str, Raw]), body)
    return True


def _one(index: int, item: GivenFill) -> ReadFill:
    if not item.fill_id:
        raise CallerError(
            "fill_id is missing: without it a fill delivered twice could not be told from two fills",
            code="FILL_ID_MISSING",
        )
    fill = Fill(
        fill_id=fills.fill_id(item.fill_id),
        portfolio_id=_portfolio_id(item),
        instrument_id=_symbol(item),
        side=_side(item),
        quantity=_needed("quantity", item.quantity),
        price=_needed("fill_price", item.fill_price),
        timestamp_ms=times.epoch_ms(_given(item.timestamp)),
        fee=ZERO if item.fee is None else item.fee,
        fee_currency=item.fee_currency,
        owner=_text("owner", item.owner),
        order_id=_text("order_id", item.order_id),
        tag=_text("tag", item.tag),
        exchange=_text("exchange", item.exchange),
        product=_text("product", item.product),
    )
    token = None if item.instrument_id is not None else str(item.instrument_token)
    return ReadFill(index, fill, token, item.currency)


def _portfolio_id(item: GivenFill) -> str:
    named = None if item.portfolio_id is None else keys.portfolio_id(item.portfolio_id)
    if item.execution_mode is None or item.strategy_id is None:
        return _needed("portfolio_id, or execution_mode and strategy_id,", named)
    derived = fills.portfolio_of(item.execution_mode, str(item.strategy_id))
    if named not in (None, derived):
        raise CallerError(f"portfolio_id is {named}, execution_mode and strategy_id name {derived}")
    return derived


def _symbol(item: GivenFill) -> str:
    if item.instrument_id is not None:
        return keys.symbol(item.instrument_id)
    token = str(_needed("instrument_id or instrument_token", item.instrument_token))
    fills.text("instrument_token", token)
    return ""


def _side(item: GivenFill) -> fills.Side:
    named = {side for side in (item.side, item.signal_type) if side is not None}
    if named == {"BUY"}:
        return "BUY"
    if named == {"SELL"}:
        return "SELL"
    raise CallerError(f"side (or signal_type) is BUY or SELL, is {', '.join(sorted(named))[:40] or 'missing'}")


def _text(name: str, raw: str | int | None) -> str | None:
    """Senders write an empty text where they have nothing to say."""
    return fills.text(name, str(raw)) if raw not in (None, "") else None


def _given(timestamp: int | str | None) -> int | str:
    if timestamp is None:
        raise CallerError("timestamp is missing")
    return timestamp


def _needed(name: str, value: _T | None) -> _T:
    if value is None:
        raise CallerError(f"{name} is missing")
    return value


def _id_of(raw: Raw) -> str:
    try:
        return _identified.decode(raw).fill_id[:_MAX_SHOWN]
    except (msgspec.MsgspecError, RecursionError):
        return ""
