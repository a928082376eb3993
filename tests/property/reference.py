"""The books once more, slow and obvious: exact fractions, every sum kept, nothing shared with the code under test.

Written from the definitions of the books alone. Rounding happens where they say so: what a close takes out of a cost
and the closing part of a flip's fee (10 decimals), the quantity after a split (6), all half even. One more is ours:
an amount booked in base at a rate keeps 10 decimals, or the books would hold endless digits.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

NOTHING = Fraction(0)
CROSSES = ("USD", "EUR", "INR")


class ReferenceRefusedError(Exception):
    """The definitions refuse this transaction."""


class Quote(NamedTuple):
    """Two sides of a pair or an instrument; equal where only a last price is known."""

    bid: Fraction
    ask: Fraction


@dataclass(frozen=True)
class Paper:
    """An instrument: kind is stock, forex or cfd."""

    symbol: str
    kind: str
    currency: str
    multiplier: Fraction = Fraction(1)


@dataclass(frozen=True)
class Event:
    """One transaction; ``quantity`` signed, ``worth`` what a withdrawal takes out of a margin account's balance."""

    kind: str
    symbol: str = ""
    quantity: Fraction = NOTHING
    price: Fraction = NOTHING
    fee: Fraction = NOTHING
    fee_currency: str = ""
    amount: Fraction = NOTHING
    currency: str = ""
    to_currency: str = ""
    rate: Fraction = NOTHING
    ratio: Fraction = Fraction(1)
    cash_price: Fraction | None = None
    in_kind: bool = False
    reported: bool = False
    worth: Fraction = NOTHING


@dataclass
class Lot:
    """``quantity`` signed, ``cost`` of all of it, never negative for prices that are not."""

    quantity: Fraction
    cost: Fraction


@dataclass
class Holding:
    """What is held of one symbol; with average cost there is one lot."""

    lots: list[Lot]
    realized: Fraction = NOTHING
    fees: Fraction = NOTHING

    @property
    def quantity(self) -> Fraction:
        return sum((lot.quantity for lot in self.lots), NOTHING)

    @property
    def cost(self) -> Fraction:
        return sum((lot.cost for lot in self.lots), NOTHING)


class Today(NamedTuple):
    """A fill since the last close of the day, for the day's profit."""

    quantity: Fraction
    price: Fraction


@dataclass
class Sums:
    """What identities add up: native amounts per currency, and the same at the rates of their booking."""

    native: dict[str, dict[str, Fraction]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(Fraction)))
    booked: dict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))

    def add(self, name: str, currency: str, amount: Fraction, rate: Fraction) -> None:
        self.native[currency][name] += amount
        self.booked[name] += booked(amount, rate)


# Sign of each sum in "value - net deposits = ..." with the deposits on the right-hand side too.
SIGNS = {"flows": 1, "realized": 1, "fees": -1, "dividends": 1, "swap": 1, "adjustments": 1, "conversions": 1}


def half_even(value: Fraction, decimals: int) -> Fraction:
    """Python rounds a fraction half even and exactly."""
    return Fraction(round(value * 10**decimals), 10**decimals)


def booked(amount: Fraction, rate: Fraction) -> Fraction:
    """An amount in base; base itself is never rounded."""
    return amount if rate == 1 else half_even(amount * rate, 10)


def sign(value: Fraction) -> int:
    return (value > 0) - (value < 0)


def conversion(pairs: dict[str, Quote], source: str, target: str, amount: Fraction) -> Fraction | None:
    """What one unit of ``source`` gives in ``target`` when ``amount`` of it is converted at the worse side."""
    if source == target:
        return Fraction(1)
    leg = _leg(pairs, source, target, amount)
    if leg is not None:
        return leg
    for middle in CROSSES:
        if middle in (source, target):
            continue
        first, second = _leg(pairs, source, middle, amount), _leg(pairs, middle, target, amount)
        if first is not None and second is not None:
            return first * second
    return None


def _leg(pairs: dict[str, Quote], source: str, target: str, amount: Fraction) -> Fraction | None:
    if source + target in pairs:
        quote = pairs[source + target]
        return quote.bid if amount >= 0 else quote.ask
    if target + source in pairs:
        quote = pairs[target + source]
        return 1 / quote.ask if amount >= 0 else 1 / quote.bid
    return None


class Books:
    """One portfolio. ``book`` changes it or raises ``ReferenceRefusedError`` and leaves it as it was."""

    def __init__(
        self, papers: dict[str, Paper], base: str, *, margin: bool, fifo: bool, allow_short: bool = False
    ) -> None:
        self.papers = papers
        self.base = base
        self.margin = margin
        self.fifo = fifo
        self.allow_short = allow_short
        self.cash: dict[str, Fraction] = defaultdict(Fraction)
        self.held: dict[str, Holding] = {}
        self.sums = Sums()
        self.carried: dict[str, tuple[Fraction, Fraction | None]] = {}
        self.today: dict[str, list[Today]] = defaultdict(list)

    # What may be booked

    def refusal(self, event: Event) -> str | None:
        """Why the definitions refuse it; only what they decide, and nothing for what a broker reports as done."""
        if event.reported:
            return None
        if event.kind in {"BUY", "SELL"}:
            return self._refused_trade(event)
        if event.kind == "WITHDRAWAL" and self.margin and event.worth > self.cash[self.base]:
            return "more than the balance"
        if event.kind == "WITHDRAWAL" and not self.margin and event.amount > self.cash[event.currency]:
            return "more than the cash"
        if event.kind == "FX" and self.margin:
            return "one balance only"
        if event.kind == "FX" and event.amount > self.cash[event.currency]:
            return "more than the cash"
        if event.kind == "SPLIT" and event.symbol not in self.held:
            return "nothing is held"
        return None

    def _refused_trade(self, event: Event) -> str | None:
        if self.margin:
            return None
        paper = self.papers[event.symbol]
        if paper.kind != "stock":
            return "margin accounts only"
        held = self.held[event.symbol].quantity if event.symbol in self.held else NOTHING
        if event.quantity < 0 and held + event.quantity < 0 and not self.allow_short:
            return "more than is held"
        if event.quantity > 0:
            needed: dict[str, Fraction] = defaultdict(Fraction)
            needed[paper.currency] += event.quantity * event.price * paper.multiplier
            needed[event.fee_currency or paper.currency] += event.fee
            if any(amount > self.cash[currency] for currency, amount in needed.items() if amount):
                return "more than the cash"
        return None

    # Booking: `rates` is what one unit of each currency was booked at, in base

    def book(self, event: Event, rates: dict[tuple[str, str], Fraction]) -> None:
        """``rates`` by (sum, currency); a sum is named as in SIGNS."""
        reason = self.refusal(event)
        if reason:
            raise ReferenceRefusedError(reason)
        getattr(self, "_" + event.kind.lower())(event, _Rates(rates, self.base))

    def _move(self, currency: str, amount: Fraction, rate: Fraction) -> None:
        """A cash account keeps every currency; a margin account has one balance, in base."""
        if self.margin:
            self.cash[self.base] += booked(amount, rate)
        else:
            self.cash[currency] += amount

    def _plain(self, name: str, event: Event, rates: _Rates, amount: Fraction) -> None:
        currency = event.currency or self.base
        rate = rates.of(name, currency)
        self.sums.add(name, currency, amount * SIGNS[name], rate)
        self._move(currency, amount, rate)

    def _deposit(self, event: Event, rates: _Rates) -> None:
        self._plain("flows", event, rates, event.amount)

    def _withdrawal(self, event: Event, rates: _Rates) -> None:
        self._plain("flows", event, rates, -event.amount)

    def _dividend(self, event: Event, rates: _Rates) -> None:
        self._plain("dividends", event, rates, event.amount)

    def _swap(self, event: Event, rates: _Rates) -> None:
        self._plain("swap", event, rates, event.amount)

    def _fee(self, event: Event, rates: _Rates) -> None:
        """A positive amount is a fee paid, a negative one a fee given back."""
        self._plain("fees", event, rates, -event.amount)

    def _fx(self, event: Event, rates: _Rates) -> None:
        """Both legs are booked at one value in base, else a conversion alone would make a profit."""
        received = event.amount * event.rate
        self.sums.native[event.currency]["conversions"] -= event.amount
        self.sums.native[event.to_currency]["conversions"] += received
        fee_currency = event.fee_currency or event.currency
        self.sums.add("fees", fee_currency, event.fee, rates.of("fees", fee_currency))
        self.cash[fee_currency] -= event.fee
        self.cash[event.currency] -= event.amount
        self.cash[event.to_currency] += received

    def _buy(self, event: Event, rates: _Rates) -> None:
        self._trade(event, rates)

    def _sell(self, event: Event, rates: _Rates) -> None:
        self._trade(event, rates)

    def _adjustment(self, event: Event, rates: _Rates) -> None:
        if not event.symbol:
            self._plain("adjustments", event, rates, event.amount)
        elif event.in_kind:
            self._transfer(event, rates)
        else:
            self._trade(event, rates)

    def _transfer(self, event: Event, rates: _Rates) -> None:
        """Shares come or go at the mark, no cash moves: the value that crossed the border is an external flow."""
        paper = self.papers[event.symbol]
        realized = self._fill(event.symbol, event.quantity, event.price, NOTHING)
        self.sums.add("realized", paper.currency, realized, rates.of("realized", paper.currency))
        if self.margin:
            # The balance does not move, so what the closed part had gained leaves with it.
            self.sums.add("flows", paper.currency, -realized, rates.of("realized", paper.currency))
        else:
            value = event.quantity * event.price * paper.multiplier
            self.sums.add("flows", paper.currency, value, rates.of("flows", paper.currency))

    def _trade(self, event: Event, rates: _Rates) -> None:
        paper = self.papers[event.symbol]
        fee_currency = event.fee_currency or paper.currency
        realized = self._fill(event.symbol, event.quantity, event.price, event.fee)
        self.sums.add("realized", paper.currency, realized, rates.of("realized", paper.currency))
        self.sums.add("fees", fee_currency, event.fee, rates.of("fees", fee_currency))
        if self.margin:
            self._move(paper.currency, realized, rates.of("realized", paper.currency))
        else:
            self.cash[paper.currency] -= event.quantity * event.price * paper.multiplier
        self._move(fee_currency, -event.fee, rates.of("fees", fee_currency))

    def _fill(self, symbol: str, quantity: Fraction, price: Fraction, fee: Fraction) -> Fraction:
        """Realized profit, gross, in the instrument's currency."""
        self.today[symbol].append(Today(quantity, price))
        paper = self.papers[symbol]
        holding = self.held.get(symbol)
        before = holding.quantity if holding else NOTHING
        closing = NOTHING
        if holding and sign(before) == -sign(quantity):
            closing = sign(quantity) * min(abs(quantity), abs(before))
        opening = quantity - closing
        closing_fee = half_even(fee * abs(closing) / abs(quantity), 10)
        realized = NOTHING
        if holding and closing:
            removed = self._consume(holding, abs(closing))
            realized = sign(before) * (abs(closing) * price * paper.multiplier - removed)
            holding.realized += realized
            holding.fees += closing_fee
            if not holding.quantity:
                del self.held[symbol]
                holding = None
        if opening:
            if holding is None:
                holding = self.held[symbol] = Holding([])
            holding.fees += fee - closing_fee
            self._open(holding, opening, abs(opening) * price * paper.multiplier)
        return realized

    def _open(self, holding: Holding, quantity: Fraction, cost: Fraction) -> None:
        if holding.lots and not self.fifo:
            holding.lots[0].quantity += quantity
            holding.lots[0].cost += cost
        else:
            holding.lots.append(Lot(quantity, cost))

    @staticmethod
    def _consume(holding: Holding, size: Fraction) -> Fraction:
        """Takes ``size`` out of the oldest lots; what that had cost."""
        removed = NOTHING
        while size:
            lot = holding.lots[0]
            part = min(size, abs(lot.quantity))
            whole = part == abs(lot.quantity)  # nothing of a cost may stay behind where nothing is held
            cost = lot.cost if whole else half_even(lot.cost * part / abs(lot.quantity), 10)
            lot.cost -= cost
            lot.quantity -= sign(lot.quantity) * part
            removed += cost
            size -= part
            if not lot.quantity:
                holding.lots.pop(0)
        return removed

    def _split(self, event: Event, rates: _Rates) -> None:
        holding = self.held[event.symbol]
        after = half_even(holding.quantity * event.ratio, 6)
        for lot in holding.lots[:-1]:
            lot.quantity = half_even(lot.quantity * event.ratio, 6)
        holding.lots[-1].quantity = after - sum((lot.quantity for lot in holding.lots[:-1]), NOTHING)
        self._split_today(event.symbol, event.ratio)
        fraction = abs(after) % 1
        if event.cash_price is not None and fraction:
            paid = Event("SPLIT", event.symbol, -sign(after) * fraction, event.cash_price)
            self._trade(paid, rates)

    def _split_today(self, symbol: str, ratio: Fraction) -> None:
        self.today[symbol] = [Today(fill.quantity * ratio, fill.price / ratio) for fill in self.today[symbol]]
        if symbol in self.carried:
            quantity, close = self.carried[symbol]
            self.carried[symbol] = (quantity * ratio, None if close is None else close / ratio)

    def close_day(self, marks: dict[str, Fraction]) -> None:
        """What is held now is carried into the next day at these marks."""
        self.carried = {symbol: (holding.quantity, marks.get(symbol)) for symbol, holding in self.held.items()}
        self.today = defaultdict(list)

    # What it is worth

    def native_value(self, marks: dict[str, Fraction]) -> dict[str, Fraction]:
        """Market value per currency, in that currency."""
        values: dict[str, Fraction] = defaultdict(Fraction)
        for symbol, holding in self.held.items():
            paper = self.papers[symbol]
            values[paper.currency] += holding.quantity * marks[symbol] * paper.multiplier
        return values

    def unrealized(self, symbol: str, mark: Fraction) -> Fraction:
        """In the instrument's currency: worth minus cost, a short's cost being what it brought in."""
        holding = self.held[symbol]
        worth = holding.quantity * mark * self.papers[symbol].multiplier
        return worth - sign(holding.quantity) * holding.cost

    def rates_now(self, marks: dict[str, Fraction], pairs: dict[str, Quote]) -> dict[str, Fraction]:
        """A cash account's one rate per currency: the worse side of the currency's net value."""
        values = self.native_value(marks)
        currencies = set(values) | set(self.cash) | set(self.sums.native)
        found = {}
        for currency in currencies:
            rate = conversion(pairs, currency, self.base, self.cash[currency] + values[currency])
            if rate is None:
                raise LookupError(currency)
            found[currency] = rate
        return found

    def total(self, marks: dict[str, Fraction], pairs: dict[str, Quote]) -> Fraction:
        """Value of a cash account, equity of a margin account."""
        if self.margin:
            return self.cash[self.base] + self.unrealized_base(marks, pairs)
        rates, values = self.rates_now(marks, pairs), self.native_value(marks)
        return sum(((self.cash[currency] + values[currency]) * rate for currency, rate in rates.items()), NOTHING)

    def unrealized_base(self, marks: dict[str, Fraction], pairs: dict[str, Quote]) -> Fraction:
        total = NOTHING
        rates = {} if self.margin else self.rates_now(marks, pairs)
        for symbol in self.held:
            amount, currency = self.unrealized(symbol, marks[symbol]), self.papers[symbol].currency
            rate = conversion(pairs, currency, self.base, amount) if self.margin else rates[currency]
            if rate is None:
                raise LookupError(currency)
            total += amount * rate
        return total

    def fx_effect(self, marks: dict[str, Fraction], pairs: dict[str, Quote]) -> Fraction:
        """What the booked amounts are worth at today's rates beyond what they were booked at."""
        if self.margin:
            return NOTHING
        rates = self.rates_now(marks, pairs)
        now = sum((rates[currency] * self._native(currency) for currency in self.sums.native), NOTHING)
        return now - sum((SIGNS[name] * amount for name, amount in self.sums.booked.items()), NOTHING)

    def _native(self, currency: str) -> Fraction:
        return sum((SIGNS[name] * amount for name, amount in self.sums.native[currency].items()), NOTHING)

    def profit(self) -> Fraction:
        """The right-hand side of the identities without what depends on prices."""
        names = ("realized", "fees", "dividends", "swap", "adjustments")
        return sum((SIGNS[name] * self.sums.booked[name] for name in names), NOTHING)

    def daily_pnl(self, symbol: str, mark: Fraction) -> Fraction | None:
        """Of one symbol in its currency, also when nothing of it is left; None: carried without a known close."""
        quantity, close = self.carried.get(symbol, (NOTHING, None))
        if quantity and close is None:
            return None
        carried = quantity * (mark - close) if quantity and close is not None else NOTHING
        traded = sum((fill.quantity * (mark - fill.price) for fill in self.today[symbol]), NOTHING)
        return (carried + traded) * self.papers[symbol].multiplier

    def check(self, marks: dict[str, Fraction], pairs: dict[str, Quote]) -> None:
        """The identities, of this very reference: per currency natively (cash accounts) and in base."""
        left = self.total(marks, pairs) - self.sums.booked["flows"]
        right = self.profit() + self.unrealized_base(marks, pairs) + self.fx_effect(marks, pairs)
        assert left == right, (left, right)
        if self.margin:
            return
        values = self.native_value(marks)
        for currency in set(values) | set(self.cash):
            open_profit = sum(
                (self.unrealized(s, marks[s]) for s in self.held if self.papers[s].currency == currency), NOTHING
            )
            worth = self.cash[currency] + values[currency]
            assert worth == self._native(currency) + open_profit, (currency, worth)


class _Rates:
    """Rates of one booking."""

    def __init__(self, rates: dict[tuple[str, str], Fraction], base: str) -> None:
        self._rates = rates
        self._base = base

    def of(self, name: str, currency: str) -> Fraction:
        return Fraction(1) if currency == self._base else self._rates[name, currency]
