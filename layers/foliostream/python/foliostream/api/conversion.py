"""From checked request bodies to what the use cases take. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from hashlib import blake2b
from typing import TypeVar

import msgspec
from msgspec import UNSET

from foliostream.api.lines import FIELDS_OF
from foliostream.api.models import (
    InstrumentRequest,
    PortfolioChange,
    PortfolioRequest,
    PreviewRequest,
    UpdateLine,
    UpdateRequest,
)
from foliostream.application.amending import Wanted
from foliostream.application.portfolios import NewPortfolio
from foliostream.domain import changes, fills, keys, money, orders, resetting
from foliostream.domain.instrument import Instrument, MarginTier, Split, Swap
from foliostream.domain.keys import CASH_PREFIX
from foliostream.domain.portfolio import BrokerAccount, Entry
from foliostream.domain.preview import Order
from foliostream.errors import CallerError

T = TypeVar("T")
MAX_LEVERAGE = 1_000


def new_portfolio(body: PortfolioRequest, owner: str, idempotency_key: str | None, unused_id: str) -> NewPortfolio:
    """What to create. ``unused_id`` names it where neither the body nor an idempotency key does."""
    portfolio_id = body.portfolio_id
    if portfolio_id is None:
        portfolio_id = derived_id(owner, idempotency_key) if idempotency_key else unused_id
    return NewPortfolio(
        portfolio_id=portfolio_id,
        portfolio_name=body.portfolio_name,
        account_type=body.account_type,
        account_kind=body.account_kind,
        base_currency=body.base_currency,
        cost_basis=body.cost_basis,
        leverage=_leverage(body),
        initial_cash=money.checked("initial_cash", body.initial_cash, money.QUANTITY_DECIMALS),
        allow_short=body.settings.allow_short,
        update_interval_ms=body.settings.update_interval_ms,
        target_weights=changes.checked_targets(body.settings.target_weights or {}),
        benchmark=_benchmark(body.settings.benchmark),
        broker=_broker(body),
        margin_call_percent=body.settings.margin_call_percent,
        stop_out_percent=body.settings.stop_out_percent,
        auto_liquidate=bool(body.settings.auto_liquidate),
        broker_share=body.settings.broker_share,
        request_digest=request_digest(body, portfolio_id),
    )


def _broker(body: PortfolioRequest) -> BrokerAccount | None:
    if body.broker is None:
        return None
    if body.account_type != "live":
        raise CallerError("only a live portfolio has a broker", details=[{"field": "broker"}])
    if body.base_currency != "INR":
        raise CallerError("an account at zerodha is kept in INR", details=[{"field": "base_currency"}])
    return BrokerAccount(body.broker.name, body.broker.account, body.broker.tag)


def _leverage(body: PortfolioRequest) -> Decimal | None:
    if body.leverage is None:
        return None
    if body.account_kind != "margin":
        raise CallerError("only a margin account has a leverage", details=[{"field": "leverage"}])
    money.checked("leverage", body.leverage, money.QUANTITY_DECIMALS, zero=False)
    if not 1 <= body.leverage <= MAX_LEVERAGE:
        raise CallerError(f"leverage is from 1 to {MAX_LEVERAGE}, not {body.leverage}", details=[{"field": "leverage"}])
    return body.leverage


def derived_id(owner: str, idempotency_key: str) -> str:
    """The same for the same owner and key, another one for everybody else."""
    return blake2b(f"{len(owner)}:{owner}{idempotency_key}".encode(), digest_size=16).hexdigest()


def request_digest(body: PortfolioRequest, portfolio_id: str) -> str:
    """Tells a repeat from another request for the same id, however fields are ordered and amounts written."""
    settings = body.settings.model_dump()
    if body.settings.target_weights is not None:
        settings["target_weights"] = {name: _plain(weight) for name, weight in body.settings.target_weights.items()}
    settings |= {name: _plain(value) for name, value in settings.items() if isinstance(value, Decimal)}
    canonical = body.model_dump() | {
        # Left out as before there was one, so that a repeat of an old request stays one.
        "settings": {name: value for name, value in settings.items() if value is not None},
        "portfolio_id": portfolio_id,
        "initial_cash": _plain(body.initial_cash),
        "leverage": None if body.leverage is None else _plain(body.leverage),
    }
    if body.broker is None:
        del canonical["broker"]  # as requests were written before there were any
    return blake2b(msgspec.json.encode(canonical, order="sorted"), digest_size=16).hexdigest()


def _plain(amount: Decimal) -> str:
    return format(amount.normalize(money.EXACT), "f")


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
            if line.transaction_type == "ADJUSTMENT" and not (line.transaction_id or idempotency_key):
                raise CallerError("an ADJUSTMENT needs a transaction_id or an Idempotency-Key: it must not count twice")
            _check_unreserved(keys.transaction_id(identifier))
            timestamp_ms = body.timestamp if line.timestamp is None else line.timestamp
            result.append(_entry(line, identifier, timestamp_ms))
        except CallerError as fault:
            fault.details.append({"index": index, "transaction_id": identifier[:160]})
            raise
    return result


def _check_unreserved(transaction_id: str) -> None:
    """Under such an id something else is booked, or going to be: its booking must not find it taken."""
    if fills.is_of_fill(transaction_id):
        raise CallerError("transaction ids that start with fill: are those of reported fills")
    if orders.is_of_order(transaction_id):
        raise CallerError("transaction ids that start with order: are those of simulated orders")
    if resetting.is_of_reset(transaction_id):
        raise CallerError("transaction ids that start with reset: are those of resets")


def _entry(line: UpdateLine, transaction_id: str, timestamp_ms: int) -> Entry:
    kind = line.transaction_type
    _refuse(line, FIELDS_OF[kind])
    if kind in ("BUY", "SELL"):
        return _trade(line, transaction_id, timestamp_ms)
    if kind == "SPLIT":
        return _split(line, transaction_id, timestamp_ms)
    if kind == "FX":
        return _conversion(line, transaction_id, timestamp_ms)
    if kind == "ADJUSTMENT":
        return _adjustment(line, transaction_id, timestamp_ms)
    return _cash_movement(line, transaction_id, timestamp_ms)


def _trade(line: UpdateLine, transaction_id: str, timestamp_ms: int) -> Entry:
    quantity = _needed(line, "quantity_change", line.quantity_change)
    return Entry(
        transaction_id=transaction_id,
        transaction_type=line.transaction_type,
        timestamp_ms=timestamp_ms,
        instrument_id=keys.symbol(line.instrument_id or ""),
        quantity=quantity if line.transaction_type == "BUY" else -abs(quantity),
        price=_needed(line, "price", line.price),
        fee=line.fee,
        fee_currency=_currency_or_none(line.fee_currency),
    )


def _split(line: UpdateLine, transaction_id: str, timestamp_ms: int) -> Entry:
    return Entry(
        transaction_id=transaction_id,
        transaction_type="SPLIT",
        timestamp_ms=timestamp_ms,
        instrument_id=keys.symbol(line.instrument_id or ""),
        ratio=_needed(line, "ratio", line.ratio),
        cash_price=line.cash_price,
    )


def _conversion(line: UpdateLine, transaction_id: str, timestamp_ms: int) -> Entry:
    return Entry(
        transaction_id=transaction_id,
        transaction_type="FX",
        timestamp_ms=timestamp_ms,
        amount=_needed(line, "amount", line.amount),
        currency=keys.currency(_needed(line, "from", line.from_currency)),
        to_currency=keys.currency(_needed(line, "to", line.to_currency)),
        rate=_needed(line, "rate", line.rate),
        fee=line.fee,
        fee_currency=_currency_or_none(line.fee_currency),
    )


def _adjustment(line: UpdateLine, transaction_id: str, timestamp_ms: int) -> Entry:
    reason = _needed(line, "reason", line.reason)
    if line.instrument_id is None or line.instrument_id.startswith(CASH_PREFIX):
        entry = _cash_movement(line, transaction_id, timestamp_ms)
        return msgspec.structs.replace(entry, reason=reason)
    if line.amount is not None or line.currency is not None:
        raise CallerError("an ADJUSTMENT in kind has no amount and no currency: it moves no cash")
    return Entry(
        transaction_id=transaction_id,
        transaction_type="ADJUSTMENT",
        timestamp_ms=timestamp_ms,
        instrument_id=keys.symbol(line.instrument_id),
        quantity=_needed(line, "quantity_change", line.quantity_change),
        price=_needed(line, "price", line.price),
        reason=reason,
        in_kind=True,
    )


def _cash_movement(line: UpdateLine, transaction_id: str, timestamp_ms: int) -> Entry:
    of_instrument = None
    if line.instrument_id is not None and not line.instrument_id.startswith(CASH_PREFIX):
        if line.transaction_type in ("DEPOSIT", "WITHDRAWAL"):
            raise CallerError(f"instrument_id of a {line.transaction_type} is CASH: and a currency, or left out")
        of_instrument = keys.symbol(line.instrument_id)
    return Entry(
        transaction_id=transaction_id,
        transaction_type=line.transaction_type,
        timestamp_ms=timestamp_ms,
        instrument_id=of_instrument,
        amount=_cash_amount(line),
        currency=_cash_currency(line),
    )


def _cash_amount(line: UpdateLine) -> Decimal:
    if line.quantity_change is None:
        amount = _needed(line, "amount", line.amount)
        if line.price is not None:
            raise CallerError(f"{_a(line)} with an amount has no price without quantity_change")
        return -amount if line.transaction_type == "WITHDRAWAL" and amount < 0 else amount
    price = money.ONE if line.price is None else line.price
    if line.transaction_type in ("DEPOSIT", "WITHDRAWAL") and price <= 0:
        raise CallerError(f"price of {_a(line)} is above zero, not {price}")
    product = money.EXACT.multiply(line.quantity_change, price)
    if line.transaction_type == "WITHDRAWAL" and line.quantity_change < 0:
        product = -product
    if line.amount is not None and line.amount != product:
        raise CallerError(f"amount {line.amount} is not quantity_change times price, {product}: give one of them")
    return product


def _cash_currency(line: UpdateLine) -> str | None:
    named = {line.currency} - {None}
    if line.instrument_id is not None and line.instrument_id.startswith(CASH_PREFIX):
        named.add(line.instrument_id.removeprefix(CASH_PREFIX))
    if len(named) > 1:
        raise CallerError(f"instrument_id {line.instrument_id} and currency {line.currency} differ")
    return _currency_or_none(named.pop() if named else None)


def _currency_or_none(raw: str | None) -> str | None:
    return None if raw is None else keys.currency(raw)


def _needed(line: UpdateLine, field: str, value: T | None) -> T:
    if value is None:
        raise CallerError(f"{_a(line)} needs {field}")
    return value


def _refuse(line: UpdateLine, known: frozenset[str]) -> None:
    """Fields that say nothing here: taken silently, the caller would believe they did."""
    given = {name.removesuffix("_currency") if name in ("from_currency", "to_currency") else name: value
             for name, value in line}  # fmt: skip
    said = [name for name, value in given.items() if value is not None and (name != "fee" or value)]
    wrong = [name for name in said if name not in known]
    if wrong:
        raise CallerError(f"{_a(line)} has no {' and no '.join(wrong)}")


def _a(line: UpdateLine) -> str:
    """ "a BUY", "an FX"."""
    return f"{'an' if line.transaction_type in ('FX', 'ADJUSTMENT') else 'a'} {line.transaction_type}"


def wanted(body: PortfolioChange) -> Wanted:
    """What a PATCH asks for."""
    settings, given = body.settings, body.settings.model_fields_set
    return Wanted(
        UNSET if body.status is None else body.status,
        UNSET if settings.allow_short is None else settings.allow_short,
        settings.update_interval_ms if "update_interval_ms" in given else UNSET,
        changes.checked_targets(settings.target_weights or {}) if "target_weights" in given else UNSET,
        _benchmark(settings.benchmark) if "benchmark" in given else UNSET,
        settings.margin_call_percent if "margin_call_percent" in given else UNSET,
        settings.stop_out_percent if "stop_out_percent" in given else UNSET,
        bool(settings.auto_liquidate) if "auto_liquidate" in given else UNSET,
        settings.broker_share if "broker_share" in given else UNSET,
    )


def _benchmark(symbol: str | None) -> str | None:
    return None if symbol is None else keys.symbol(symbol)


def preview_orders(body: PreviewRequest) -> list[Order]:
    """What is to be previewed."""
    return [Order(keys.symbol(item.instrument_id), item.quantity, item.price, item.fee) for item in body.orders]


def instrument(symbol: str, body: InstrumentRequest) -> Instrument:
    """The instrument to register."""
    if body.base_currency is not None:
        keys.currency(body.base_currency)
    if body.contract_size is not None:
        money.checked("contract_size", body.contract_size, money.QUANTITY_DECIMALS, zero=False)
    fields = body.model_dump(exclude={"margin_tiers", "splits", "swap"})
    splits = tuple(Split(item.effective_at, *item.ratio) for item in body.splits)
    tiers = tuple(MarginTier(tier.notional_from, tier.margin_rate) for tier in body.margin_tiers or ())
    swap = Swap(**body.swap.model_dump()) if body.swap else None
    return Instrument(symbol=symbol, splits=splits, margin_tiers=tiers, swap=swap, **fields)
