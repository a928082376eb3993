"""From checked request bodies to what the use cases take. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from hashlib import blake2b

import msgspec

from foliostream.api.models import InstrumentRequest, PortfolioRequest, UpdateLine, UpdateRequest
from foliostream.application.portfolios import NewPortfolio
from foliostream.domain import keys, money
from foliostream.domain.instrument import Instrument
from foliostream.domain.keys import CASH_PREFIX
from foliostream.domain.portfolio import Entry
from foliostream.errors import CallerError, RefusedError


def new_portfolio(body: PortfolioRequest, owner: str, idempotency_key: str | None, unused_id: str) -> NewPortfolio:
    """What to create. ``unused_id`` names it where neither the body nor an idempotency key does."""
    if body.account_kind != "cash":
        raise RefusedError(
            f"account_kind {body.account_kind} is not supported yet, only cash", code="ACCOUNT_KIND_NOT_SUPPORTED"
        )
    if body.cost_basis != "average":
        raise RefusedError(
            f"cost_basis {body.cost_basis} is not supported yet, only average", code="COST_BASIS_NOT_SUPPORTED"
        )
    portfolio_id = body.portfolio_id
    if portfolio_id is None:
        portfolio_id = derived_id(owner, idempotency_key) if idempotency_key else unused_id
    return NewPortfolio(
        portfolio_id=portfolio_id,
        portfolio_name=body.portfolio_name,
        account_type=body.account_type,
        base_currency=body.base_currency,
        initial_cash=money.checked("initial_cash", body.initial_cash, money.QUANTITY_DECIMALS),
        allow_short=body.settings.allow_short,
        request_digest=request_digest(body, portfolio_id),
    )


def derived_id(owner: str, idempotency_key: str) -> str:
    """The same for the same owner and key, another one for everybody else."""
    return blake2b(f"{len(owner)}:{owner}{idempotency_key}".encode(), digest_size=16).hexdigest()


def request_digest(body: PortfolioRequest, portfolio_id: str) -> str:
    """Tells a repeat from another request for the same id, however fields are ordered and amounts written."""
    canonical = body.model_dump() | {
        "portfolio_id": portfolio_id,
        "initial_cash": format(body.initial_cash.normalize(money.EXACT), "f"),
    }
    return blake2b(msgspec.json.encode(canonical, order="sorted"), digest_size=16).hexdigest()


def entries(
    body: UpdateRequest, portfolio_id: str, idempotency_key: str | None, unused_ids: Iterable[str]
) -> list[Entry]:
    """The lines as entries of the books. A line's transaction id is its own, else ``{idempotency_key}:{index}``, else
    the next of ``unused_ids``. ``CallerError`` names the line."""
    if body.portfolio_id != portfolio_id:
        raise CallerError(
            f"portfolio_id is {body.portfolio_id[:80]} in the body and {portfolio_id[:80]} in the path",
            details=[{"field": "portfolio_id"}],
        )
    unused = iter(unused_ids)
    result = []
    for index, line in enumerate(body.updates):
        identifier = line.transaction_id
        if identifier is None:
            identifier = f"{idempotency_key}:{index}" if idempotency_key else next(unused)
        try:
            keys.transaction_id(identifier)
            timestamp_ms = body.timestamp if line.timestamp is None else line.timestamp
            result.append(_entry(line, identifier, timestamp_ms))
        except CallerError as fault:
            fault.details.append({"index": index, "transaction_id": identifier[:160]})
            raise
    return result


def _entry(line: UpdateLine, transaction_id: str, timestamp_ms: int) -> Entry:
    if line.transaction_type in ("BUY", "SELL"):
        return _trade(line, transaction_id, timestamp_ms)
    return _cash_movement(line, transaction_id, timestamp_ms)


def _trade(line: UpdateLine, transaction_id: str, timestamp_ms: int) -> Entry:
    _refuse(line, {"amount": line.amount, "currency": line.currency})
    quantity = _needed(line, "quantity_change", line.quantity_change)
    return Entry(
        transaction_id=transaction_id,
        transaction_type=line.transaction_type,
        timestamp_ms=timestamp_ms,
        instrument_id=keys.symbol(line.instrument_id or ""),
        quantity=quantity if line.transaction_type == "BUY" else -abs(quantity),
        price=_needed(line, "price", line.price),
        fee=line.fee,
    )


def _cash_movement(line: UpdateLine, transaction_id: str, timestamp_ms: int) -> Entry:
    _refuse(line, {"fee": line.fee or None})
    return Entry(
        transaction_id=transaction_id,
        transaction_type=line.transaction_type,
        timestamp_ms=timestamp_ms,
        amount=_cash_amount(line),
        currency=_cash_currency(line),
    )


def _cash_amount(line: UpdateLine) -> Decimal:
    if line.quantity_change is None:
        return _needed(line, "amount", line.amount)
    price = money.ONE if line.price is None else line.price
    product = money.EXACT.multiply(line.quantity_change, price)
    if line.transaction_type == "WITHDRAWAL" and line.quantity_change < 0:
        product = -product
    if line.amount is not None and line.amount != product:
        raise CallerError(f"amount {line.amount} is not quantity_change times price, {product}: give one of them")
    return product


def _cash_currency(line: UpdateLine) -> str | None:
    named = {line.currency} - {None}
    if line.instrument_id is not None:
        if not line.instrument_id.startswith(CASH_PREFIX):
            raise CallerError(f"instrument_id of a {line.transaction_type} is CASH: and a currency, or left out")
        named.add(line.instrument_id.removeprefix(CASH_PREFIX))
    if len(named) > 1:
        raise CallerError(f"instrument_id {line.instrument_id} and currency {line.currency} differ")
    return keys.currency(named.pop() or "") if named else None


def _needed(line: UpdateLine, field: str, value: Decimal | None) -> Decimal:
    if value is None:
        raise CallerError(f"a {line.transaction_type} needs {field}")
    return value


def _refuse(line: UpdateLine, fields: dict[str, object]) -> None:
    """Fields that say nothing here: taken silently, the caller would believe they did."""
    given = [field for field, value in fields.items() if value is not None]
    if given:
        raise CallerError(f"a {line.transaction_type} has no {' and no '.join(given)}")


def instrument(symbol: str, body: InstrumentRequest) -> Instrument:
    """The instrument to register."""
    if body.base_currency is not None:
        keys.currency(body.base_currency)
    if body.contract_size is not None:
        money.checked("contract_size", body.contract_size, money.QUANTITY_DECIMALS, zero=False)
    return Instrument(symbol=symbol, **body.model_dump())
