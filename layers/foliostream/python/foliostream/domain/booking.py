"""Booking: what each type of transaction does to a portfolio (definitions 1 to 10)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, localcontext

from msgspec.structs import replace

from foliostream.domain import daily, keys, money, rates, splitting, standing, trading
from foliostream.domain.account import Portfolio
from foliostream.domain.context import Context, figure
from foliostream.domain.entries import Entry, Transaction
from foliostream.domain.instrument import Instrument
from foliostream.domain.keys import CASH_PREFIX
from foliostream.domain.money import ZERO
from foliostream.domain.posting import Kind, Line, in_base, post
from foliostream.domain.price import Price
from foliostream.errors import CallerError, RefusedError

FUTURE_ALLOWANCE_MS = 5_000
_REPORTED_DECIMALS = 12  # what a broker reports may be finer than what a caller may ask for
_CASH_KINDS: dict[str, Kind] = {
    "DEPOSIT": "flows",
    "WITHDRAWAL": "flows",
    "DIVIDEND": "dividends",
    "FEE": "fees",
    "SWAP": "swap",
    "ADJUSTMENT": "adjustments",
}
_NO_PRICES: Mapping[str, Price] = {}


def apply(
    portfolio: Portfolio,
    entries: Sequence[Entry],
    instruments: Mapping[str, Instrument],
    now_ms: int,
    prices: Mapping[str, Price] = _NO_PRICES,
) -> tuple[Portfolio, list[Transaction]]:
    """Book all entries or none: the portfolio after them (one version on) and a record each.

    ``prices``: those that ``price_symbols`` names. Raises ``CallerError`` for an entry that is wrong in itself,
    ``RefusedError`` where the books do not allow it; both name the entry. What is ``reported`` is booked against the
    rules too, and its record says so. The portfolio given stays as it was.
    """
    version = portfolio.version + 1
    transactions = []
    needs_review = portfolio.needs_review
    with localcontext(money.EXACT):
        for index, entry in enumerate(entries):
            lenient = entry.reported or entry.transaction_type == "ADJUSTMENT"
            context = Context(portfolio.base_currency, entry, instruments, prices, now_ms, lenient)
            before = portfolio
            try:
                portfolio = _book(before, entry, context)
            except CallerError as fault:
                fault.details.append({"index": index, "transaction_id": entry.transaction_id})
                raise
            transactions.append(_record(before, portfolio, context, version, portfolio.last_sequence + index + 1))
            needs_review = needs_review or bool(context.review)
    return replace(
        portfolio,
        version=version,
        updated_at_ms=now_ms,
        last_sequence=portfolio.last_sequence + len(transactions),
        needs_review=needs_review,
    ), transactions


def price_symbols(
    portfolio: Portfolio, entries: Iterable[Entry], instruments: Mapping[str, Instrument]
) -> frozenset[str]:
    """What booking the entries may need prices of: pairs where something is not in base, and what was carried into the
    day without a mark. Mostly nothing."""
    found: set[str] = set()
    for entry in entries:
        held = portfolio.positions.get(entry.instrument_id or "")
        if held is not None and daily.lacks_mark(held):
            found.add(str(entry.instrument_id))
        instrument = instruments.get(entry.instrument_id or "")
        used = {entry.currency, entry.fee_currency, instrument.currency if instrument else None, _cash_name(entry)}
        for currency in used - {None, portfolio.base_currency}:
            found.update(rates.pairs(str(currency), portfolio.base_currency))
    return frozenset(found)


def repeatable(transaction: Transaction) -> Entry:
    """The entry with the rates it was booked at: booked again it does the same, whatever rates are by then."""
    entry = transaction.entry
    return replace(
        entry,
        fx_rate=transaction.fx_rate if entry.fx_rate is None else entry.fx_rate,
        fee_rate=transaction.fee_rate if entry.fee_rate is None else entry.fee_rate,
    )


def _book(portfolio: Portfolio, entry: Entry, context: Context) -> Portfolio:
    _check_time(entry, context)
    _check_rates(portfolio, entry, context)
    _check_status(portfolio, entry, context)
    if entry.in_kind and entry.transaction_type != "ADJUSTMENT":
        raise CallerError(f"only an ADJUSTMENT is in kind, not a {entry.transaction_type}")
    return _BOOKS[entry.transaction_type](portfolio, entry, context)


def _check_time(entry: Entry, context: Context) -> None:
    if entry.timestamp_ms > context.now_ms + FUTURE_ALLOWANCE_MS:
        fault = CallerError(
            f"timestamp {entry.timestamp_ms} is more than {FUTURE_ALLOWANCE_MS} ms ahead of {context.now_ms}",
            code="TIMESTAMP_IN_FUTURE",
        )
        if not entry.reported:
            raise fault
        context.refuse(fault)


def _check_rates(portfolio: Portfolio, entry: Entry, context: Context) -> None:
    for name, rate in (("fx_rate", entry.fx_rate), ("fee_rate", entry.fee_rate)):
        if rate is not None:
            money.checked(name, rate, money.BOOKED_RATE_DECIMALS, zero=False)
    for currency in (entry.currency, entry.fee_currency, entry.to_currency):
        if currency is not None:
            keys.currency(currency)
    if (
        entry.fx_rate is not None
        and entry.fx_rate != 1
        and _currency(portfolio, entry, context) == portfolio.base_currency
    ):
        raise CallerError(f"fx_rate of {portfolio.base_currency} to itself is 1, not {entry.fx_rate}")


def _check_status(portfolio: Portfolio, entry: Entry, context: Context) -> None:
    fault = standing.refusal(portfolio, entry)
    if fault is None:
        return
    if not entry.reported:  # an ADJUSTMENT too: it repairs books that are open
        raise fault
    context.refuse(fault)


# --- trades ----------------------------------------------------------------------------------------------------------


def _trade(portfolio: Portfolio, entry: Entry, context: Context) -> Portfolio:
    instrument = context.instrument()
    _check_amounts(entry, instrument, context)
    if (entry.quantity > ZERO) != (entry.transaction_type == "BUY"):
        raise CallerError(f"quantity_change {entry.quantity} does not fit {entry.transaction_type}")
    _check_account(portfolio, instrument, context)
    _check_short(portfolio, entry, instrument, context)
    _check_splits(portfolio, entry, context)
    return _filled(portfolio, entry, instrument, context)


def _filled(portfolio: Portfolio, entry: Entry, instrument: Instrument, context: Context) -> Portfolio:
    fill = trading.Fill(entry.quantity, entry.price, entry.fee, entry.fee_currency or instrument.currency)
    return trading.book(portfolio, fill, instrument, context, in_kind=entry.in_kind)


def _check_amounts(entry: Entry, instrument: Instrument, context: Context) -> None:
    _checked("quantity_change", entry.quantity, money.QUANTITY_DECIMALS, context, signed=True, zero=False)
    _checked("price", entry.price, instrument.price_places, context, zero=instrument.allow_zero)
    _checked("fee", entry.fee, money.QUANTITY_DECIMALS, context)


def _checked(
    name: str, value: Decimal, decimals: int, context: Context, *, signed: bool = False, zero: bool = True
) -> None:
    """Refuse a wrong amount; what was reported may have more decimals or a price of zero."""
    try:
        money.checked(name, value, decimals, signed=signed, zero=zero)
    except CallerError as fault:
        if not context.entry.reported:
            raise
        money.checked(name, value, _REPORTED_DECIMALS, signed=signed, zero=name == "price")
        context.refuse(fault)


def _check_account(portfolio: Portfolio, instrument: Instrument, context: Context) -> None:
    if portfolio.account_kind == "cash":
        if instrument.kind != "stock":
            context.refuse(
                RefusedError(f"{instrument.kind} instruments need a margin account", code="MARGIN_ACCOUNT_NEEDED")
            )
    elif portfolio.leverage is None and not instrument.has_margin_rate:  # definitions 19
        context.refuse(
            RefusedError(
                f"neither {instrument.symbol} has a margin rate nor the portfolio a leverage",
                code="MARGIN_RATE_MISSING",
            )
        )


def _check_short(portfolio: Portfolio, entry: Entry, instrument: Instrument, context: Context) -> None:
    held = portfolio.positions.get(instrument.symbol)
    holding = held.quantity if held else ZERO
    if portfolio.account_kind == "margin" or portfolio.allow_short or entry.quantity > ZERO:
        return
    if holding + entry.quantity < ZERO:
        asked = figure(-entry.quantity)
        context.refuse(
            RefusedError(
                f"{asked} {instrument.symbol} to sell, {figure(max(holding, ZERO))} held, "
                "and the portfolio does not allow short sales",
                code="INSUFFICIENT_POSITION",
                details=[{"symbol": instrument.symbol, "held": figure(holding), "asked": asked}],
            )
        )


def _check_splits(portfolio: Portfolio, entry: Entry, context: Context) -> None:
    """A fill of before a split that is booked already counts in other units."""
    held = portfolio.positions.get(entry.instrument_id or "")
    if held is not None and held.splits and any(split.effective_ms > entry.timestamp_ms for split in held.splits):
        context.refuse(
            RefusedError(f"{entry.instrument_id} was split after {entry.timestamp_ms}", code="OLDER_THAN_SPLIT")
        )


# --- cash ------------------------------------------------------------------------------------------------------------


def _movement(portfolio: Portfolio, entry: Entry, context: Context) -> Portfolio:
    """DEPOSIT, WITHDRAWAL, DIVIDEND, FEE, SWAP and an ADJUSTMENT of cash."""
    _refuse_fee(entry)
    kind = entry.transaction_type
    currency = _currency(portfolio, entry, context)
    flows = kind in {"DEPOSIT", "WITHDRAWAL"}
    # A reset books out the very balance, however fine products of quantities, prices and rates have made it.
    exact = kind == "ADJUSTMENT" and entry.reported
    decimals = money.BOOKED_RATE_DECIMALS if exact else money.QUANTITY_DECIMALS
    _checked("amount", entry.amount, decimals, context, signed=not flows, zero=False)
    amount = -entry.amount if kind in {"WITHDRAWAL", "FEE"} else entry.amount  # what cash gains
    if kind == "WITHDRAWAL":
        margin = portfolio.account_kind == "margin"
        needed = in_base(entry.amount, context.rate(currency, amount)) if margin else entry.amount
        trading.check_available(portfolio, portfolio.base_currency if margin else currency, needed, context)
    base = in_base(amount, context.rate(currency, amount))
    sign = -1 if kind == "FEE" else 1
    line = Line(_CASH_KINDS[kind], currency, sign * amount, sign * base)
    margin_account = portfolio.account_kind == "margin"
    return post(portfolio, [line], {portfolio.base_currency: base} if margin_account else {currency: amount})


def _refuse_fee(entry: Entry) -> None:
    if entry.fee:
        raise CallerError(f"a {entry.transaction_type} has no fee")


def _conversion(portfolio: Portfolio, entry: Entry, context: Context) -> Portfolio:
    """FX: ``amount`` of one currency for ``amount * rate`` of another."""
    if portfolio.account_kind == "margin":
        raise RefusedError("a margin account holds base currency only", code="CASH_ACCOUNT_NEEDED")
    source, target = _currency(portfolio, entry, context), entry.to_currency
    if target is None or entry.rate is None or target == source:
        raise CallerError("FX needs from and to, two different currencies, amount and rate")
    _checked("amount", entry.amount, money.QUANTITY_DECIMALS, context, zero=False)
    _checked("rate", entry.rate, money.RATE_DECIMALS, context, zero=False)
    _checked("fee", entry.fee, money.QUANTITY_DECIMALS, context)
    fee_currency = entry.fee_currency or source
    cash = {source: -entry.amount, target: entry.amount * entry.rate}
    cash[fee_currency] = cash.get(fee_currency, ZERO) - entry.fee
    for currency, change in cash.items():
        trading.check_available(portfolio, currency, -change, context)
    lines = [
        Line("conversions", source, -entry.amount, ZERO),
        Line("conversions", target, entry.amount * entry.rate, ZERO),
        Line("fees", fee_currency, entry.fee, in_base(entry.fee, context.rate(fee_currency, -entry.fee))),
    ]
    return post(portfolio, lines, cash)


# --- adjustments and splits ------------------------------------------------------------------------------------------


def _adjustment(portfolio: Portfolio, entry: Entry, context: Context) -> Portfolio:
    """Reconciliation (definitions 7): of cash by ``amount``; of a missed trade by quantity and price; in kind."""
    if not entry.reason:
        raise CallerError("an ADJUSTMENT needs a reason")
    if not entry.quantity:
        return _movement(portfolio, entry, context)
    if entry.amount:
        raise CallerError("an ADJUSTMENT is of an amount or of a quantity, not of both")
    instrument = context.instrument()
    _check_amounts(entry, instrument, context)
    if entry.in_kind and entry.fee:
        raise CallerError("a transfer in kind has no fee")
    after = _filled(portfolio, entry, instrument, context)
    context.review.clear()  # it repairs the books; the rules of trading are not its own
    return after


def _split(portfolio: Portfolio, entry: Entry, context: Context) -> Portfolio:
    _refuse_fee(entry)
    instrument = context.instrument()
    after, fraction = splitting.split(portfolio, entry, instrument)
    if not fraction:
        return after
    cash_price = entry.cash_price
    if cash_price is None:
        raise ValueError("a fraction is paid in cash at a price")
    context.lenient = True  # what is left of a short position is covered, whatever the cash
    fill = trading.Fill(-fraction, cash_price, ZERO, instrument.currency)
    return trading.book(after, fill, instrument, context, in_kind=False)


_BOOKS: dict[str, Callable[[Portfolio, Entry, Context], Portfolio]] = {
    "BUY": _trade,
    "SELL": _trade,
    "DEPOSIT": _movement,
    "WITHDRAWAL": _movement,
    "DIVIDEND": _movement,
    "FEE": _movement,
    "SWAP": _movement,
    "FX": _conversion,
    "ADJUSTMENT": _adjustment,
    "SPLIT": _split,
}


# --- the record ------------------------------------------------------------------------------------------------------


def _record(before: Portfolio, after: Portfolio, context: Context, version: int, sequence: int) -> Transaction:
    entry = context.entry
    currency = _currency(before, entry, context)
    settled_in = before.base_currency if before.account_kind == "margin" else currency
    position = after.positions.get(entry.instrument_id or "")
    changes = {
        name: amount - before.cash.get(name, ZERO)
        for name, amount in after.cash.items()
        if amount != before.cash.get(name, ZERO)
    }
    return Transaction(
        entry=entry,
        currency=currency,
        cash_change=changes.get(settled_in, ZERO),
        realized_pnl=after.realized_pnl - before.realized_pnl,
        quantity_after=position.quantity if position else ZERO,
        ledger_version=version,
        booked_at_ms=context.now_ms,
        sequence=sequence,
        realized_native=context.realized,
        cash_changes=changes,
        fx_rate=None
        if currency == before.base_currency
        else context.kept_rate(currency, -entry.quantity or entry.amount),
        fee_rate=context.used_rates.get(entry.fee_currency or ""),
        lots=context.lots,
        needs_review=tuple(context.review),
    )


def _currency(portfolio: Portfolio, entry: Entry, context: Context) -> str:
    """Of the entry's amounts: the instrument's where a quantity moves, else the one named, else that of the instrument
    it is about, else base."""
    if entry.transaction_type in {"BUY", "SELL", "SPLIT"} or entry.quantity:
        return context.instrument().currency
    named = entry.currency or _cash_name(entry)
    if named is None and entry.instrument_id:
        return context.instrument().currency
    return named or portfolio.base_currency


def _cash_name(entry: Entry) -> str | None:
    """``EUR`` of an entry on ``CASH:EUR``."""
    name = entry.instrument_id or ""
    return keys.currency(name.removeprefix(CASH_PREFIX)) if name.startswith(CASH_PREFIX) else None
