"""Twenty thousand random transactions, compared with the slow reference after every one.

``REFERENCE_SEED=7 pytest tests/property/test_against_the_reference.py`` replays the sequence that a failure names;
``REFERENCE_STEPS`` makes sequences longer.
"""

from __future__ import annotations

import os
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any

import pytest

from foliostream.domain import portfolio as books
from foliostream.domain import valuation
from foliostream.domain.instrument import Instrument
from foliostream.domain.portfolio import Entry, Portfolio, Transaction
from foliostream.domain.price import Price
from foliostream.errors import CallerError
from tests.property.reference import SIGNS, Books, Event, Paper, Quote, ReferenceRefusedError, conversion, sign
from tests.unit.domain.examples import NOW, STALE_AFTER_MS, empty

SEEDS = [int(os.environ["REFERENCE_SEED"])] if "REFERENCE_SEED" in os.environ else range(40)
STEPS = int(os.environ.get("REFERENCE_STEPS", "500"))
PAIRS = {"EURUSD": "1.1", "USDINR": "83", "USDJPY": "150", "GBPUSD": "1.27"}
STOCKS = [
    Instrument(symbol="AAPL", kind="stock", currency="USD"),
    Instrument(symbol="LOTS", kind="stock", currency="USD", contract_size=Decimal("12.5")),
    Instrument(symbol="SAP", kind="stock", currency="EUR"),
    Instrument(symbol="INFY", kind="stock", currency="INR"),
    Instrument(symbol="SONY", kind="stock", currency="JPY"),
]
OTHERS = [
    Instrument(symbol="EURUSD", kind="forex", currency="USD", base_currency="EUR", contract_size=Decimal(100_000)),
    Instrument(symbol="USDJPY", kind="forex", currency="JPY", base_currency="USD", contract_size=Decimal(100_000)),
    Instrument(symbol="GER40", kind="cfd", currency="EUR", contract_size=Decimal(1)),
]
INSTRUMENTS = {item.symbol: item for item in STOCKS + OTHERS}
STARTS = {"AAPL": "180", "LOTS": "20", "SAP": "170", "INFY": "1500", "SONY": "2400", "GER40": "18000", **PAIRS}
CURRENCIES = ("USD", "EUR", "INR", "JPY")
RATIOS = [(2, 1), (3, 1), (4, 1), (3, 2), (1, 2), (1, 3), (1, 4), (10, 1), (1, 10)]
# The reference's quotients are exact, the state's have sixty digits.
LAST_PLACE = Fraction(1, 10**9)


class World:
    """One random sequence: prices that walk, entries that fit or do not, the books twice."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.margin, self.fifo = bool(seed & 1), bool(seed & 2)
        self.base = "EUR" if seed & 4 else "USD"
        allow_short = bool(seed & 8)
        self.symbols = [item.symbol for item in (STOCKS + OTHERS if self.margin else STOCKS)]
        papers = {
            item.symbol: Paper(item.symbol, item.kind, item.currency, Fraction(item.multiplier))
            for item in INSTRUMENTS.values()
        }
        self.reference = Books(papers, self.base, margin=self.margin, fifo=self.fifo, allow_short=allow_short)
        self.portfolio = empty(
            account_kind="margin" if self.margin else "cash",
            cost_basis="fifo" if self.fifo else "average",
            base_currency=self.base,
            allow_short=allow_short,
            leverage=Decimal(30) if self.margin else None,
            cash={self.base: Decimal(0)},
        )
        self.values = {symbol: Decimal(start) for symbol, start in STARTS.items()}
        self.prices: dict[str, Price] = {}
        self.count = self.accepted = 0
        self.move()

    def move(self) -> None:
        for symbol, before in self.values.items():
            step = Decimal(self.random.randint(-200, 200)) / 10_000
            places = 4 if symbol in PAIRS else 2
            middle = max(round(before * (1 + step), places), Decimal(STARTS[symbol]) / 20)
            self.values[symbol] = middle
            spread = Decimal(self.random.choice([0, 1, 5])).scaleb(-places)
            if symbol in PAIRS or symbol == "GER40":
                self.prices[symbol] = Price(bid=middle - spread, ask=middle + spread, quote_ts_ms=NOW)
            else:
                self.prices[symbol] = Price(last=middle, last_ts_ms=NOW)

    @property
    def pairs(self) -> dict[str, Quote]:
        quotes = {symbol: self.prices[symbol] for symbol in PAIRS}
        return {symbol: Quote(Fraction(price.bid or 0), Fraction(price.ask or 0)) for symbol, price in quotes.items()}

    def marks(self) -> dict[str, Fraction]:
        found = {}
        for symbol, holding in self.reference.held.items():
            price = self.prices[symbol]
            side = price.bid if holding.quantity > 0 else price.ask
            found[symbol] = Fraction(price.last if price.last is not None else side or 0)
        return found

    # Random entries

    def entry(self) -> Entry:
        self.count += 1
        kinds = ["trade"] * 14 + [
            "DEPOSIT",
            "WITHDRAWAL",
            "FX",
            "FX",
            "DIVIDEND",
            "FEE",
            "SWAP",
            "SPLIT",
            "CASH",
            "KIND",
        ]
        kind = "DEPOSIT" if self.count <= len(CURRENCIES) else self.random.choice(kinds)
        fields: dict[str, Any] = {"trade": self._trade, "FX": self._fx, "SPLIT": self._split, "KIND": self._kind}.get(
            kind, lambda: self._cash(kind)
        )()
        return Entry(**{"transaction_id": f"t{self.count}", "timestamp_ms": NOW} | fields)

    def _amount(self, low: int, high: int, places: int = 2) -> Decimal:
        return Decimal(self.random.randint(low * 10**places, high * 10**places)).scaleb(-places)

    def _quantity(self, symbol: str) -> Decimal:
        held = self.portfolio.positions.get(symbol)
        if held is not None and self.random.random() < 0.55:
            part = self.random.choice(["0.1", "0.25", "0.5", "1", "1", "1.5", "2"])
            quantity = -round(held.quantity * Decimal(part), 6)
            if quantity:
                return quantity
        size = (
            self._amount(0, 3)
            if INSTRUMENTS[symbol].kind == "forex"
            else self._amount(0, 40, self.random.choice([0, 2, 6]))
        )
        return (size or Decimal(1)) * self.random.choice([1, 1, -1])

    def _trade(self) -> dict[str, Any]:
        symbol = self.random.choice(self.symbols)
        quantity = self._quantity(symbol)
        fields: dict[str, Any] = {
            "transaction_type": "BUY" if quantity > 0 else "SELL",
            "instrument_id": symbol,
            "quantity": quantity,
            "price": self.values[symbol],
            "fee": self.random.choice([Decimal(0), self._amount(0, 9), self._amount(0, 1, 6)]),
            "reported": self.random.random() < 0.1,
        }
        if fields["fee"] and self.random.random() < 0.2:
            fields["fee_currency"] = self.random.choice(CURRENCIES)
        if INSTRUMENTS[symbol].currency != self.base and self.random.random() < 0.3:
            fields["fx_rate"] = round(self._rough(INSTRUMENTS[symbol].currency), 10)
        return fields

    def _rough(self, currency: str) -> Decimal:
        rate = conversion(self.pairs, currency, self.base, Fraction(1))
        assert rate is not None
        return Decimal(rate.numerator) / Decimal(rate.denominator)

    def _cash(self, kind: str) -> dict[str, Any]:
        currency = CURRENCIES[self.count - 1] if self.count <= len(CURRENCIES) else self.random.choice(CURRENCIES)
        scale = {"INR": 80, "JPY": 150}.get(currency, 1)
        if kind in {"DEPOSIT", "WITHDRAWAL"}:
            amount = self._amount(1, 20_000 if kind == "DEPOSIT" else 6_000) * scale
        else:
            amount = (self._amount(-20, 60) or Decimal(1)) * scale
        fields = {"amount": amount, "currency": currency}
        if kind == "CASH":
            return {"transaction_type": "ADJUSTMENT", "reason": "broker's balance"} | fields
        return {"transaction_type": kind} | fields

    def _fx(self) -> dict[str, Any]:
        source, target = self.random.sample(CURRENCIES, 2)
        rate = conversion(self.pairs, source, target, Fraction(1))
        assert rate is not None
        return {
            "transaction_type": "FX",
            "amount": self._amount(1, 3_000),
            "currency": source,
            "to_currency": target,
            "rate": round(Decimal(rate.numerator) / Decimal(rate.denominator), 10),
        }

    def _split(self) -> dict[str, Any]:
        symbol = self.random.choice([item.symbol for item in STOCKS])
        new, old = self.random.choice(RATIOS)
        ratio = (Decimal(new), Decimal(old))
        paid = self.values[symbol] if self.random.random() < 0.5 else None
        return {"transaction_type": "SPLIT", "instrument_id": symbol, "ratio": ratio, "cash_price": paid}

    def _kind(self) -> dict[str, Any]:
        symbol = self.random.choice(self.symbols)
        quantity = self._quantity(symbol)
        return {
            "transaction_type": "ADJUSTMENT",
            "instrument_id": symbol,
            "quantity": quantity,
            "price": self.values[symbol],
            "in_kind": self.random.random() < 0.5,
            "reason": "broker's positions",
        }

    # One step

    def step(self) -> None:
        if self.random.random() < 0.3:
            self.move()
        if self.random.random() < 0.02:
            self.close_day()
        entry = self.entry()
        event = _event(entry, self.base, self.pairs)
        expected = self.reference.refusal(event)
        try:
            after, (transaction,) = books.apply(self.portfolio, [entry], INSTRUMENTS, NOW, self.prices)
        except CallerError as fault:
            if expected or fault.code == "SPLIT_LEAVES_NOTHING":
                return
            raise AssertionError(f"{entry} was refused: {fault}") from fault
        if entry.transaction_type == "SPLIT" and not transaction.quantity_after and entry.cash_price is None:
            raise AssertionError("a split closed a position without paying for it")
        realized = self._realized(transaction.currency)
        try:
            self.reference.book(event, self._rates(entry, transaction))
        except ReferenceRefusedError as reason:
            raise AssertionError(f"{entry} should be refused: {reason}") from None
        self.portfolio = after
        self.accepted += 1
        assert transaction.realized_native == self._realized(transaction.currency) - realized
        self.compare()
        self.compare_state()

    def _realized(self, currency: str) -> Fraction:
        return self.reference.sums.native[currency]["realized"]

    def _rates(self, entry: Entry, transaction: Transaction) -> dict[tuple[str, str], Fraction]:
        """The rates that were booked, each of them first held against the prices."""
        rates = {}
        fee_currency = entry.fee_currency or transaction.currency
        for name in SIGNS:
            currency = fee_currency if name == "fees" and entry.quantity else transaction.currency
            rate = transaction.fee_rate if currency != transaction.currency else transaction.fx_rate
            if rate is None:
                continue
            rates[name, currency] = Fraction(rate)
            low, high = (conversion(self.pairs, currency, self.base, Fraction(side)) for side in (1, -1))
            assert low is not None
            assert high is not None
            if entry.fx_rate is not None and currency == transaction.currency:
                assert rate == entry.fx_rate
            else:
                assert any(abs(Fraction(rate) - side) <= Fraction(1, 10**20) for side in (low, high)), (name, rate)
            self._check_side(entry, transaction, rate, low if transaction.realized_native > 0 else high)
        return rates

    def _check_side(self, entry: Entry, transaction: Transaction, rate: Decimal, worse: Fraction) -> None:
        """A margin account books a profit at what it brings, a loss at what it costs."""
        if self.margin and transaction.realized_native and rate is transaction.fx_rate and entry.fx_rate is None:
            assert abs(Fraction(rate) - worse) <= Fraction(1, 10**20)

    def close_day(self) -> None:
        marks = self.marks()
        given = {symbol: Decimal(mark.numerator) / Decimal(mark.denominator) for symbol, mark in marks.items()}
        self.portfolio = books.close_day(self.portfolio, "2026-02-26", given, NOW)
        self.reference.close_day(marks)

    # Comparisons

    def compare(self) -> None:
        ours, theirs = self.portfolio, self.reference
        assert set(ours.positions) == set(theirs.held)
        for symbol, holding in theirs.held.items():
            position = ours.positions[symbol]
            assert position.quantity == holding.quantity, symbol
            assert position.cost == holding.cost, symbol
            lots = [(lot.quantity * sign(holding.quantity), lot.cost) for lot in position.lots]
            assert lots == ([(lot.quantity, lot.cost) for lot in holding.lots] if self.fifo else []), symbol
            if position.currency == self.base:
                assert position.realized_pnl == holding.realized, symbol
        cash = {currency: amount for currency, amount in ours.cash.items() if amount}
        assert cash == {currency: amount for currency, amount in theirs.cash.items() if amount}
        sums = theirs.sums.booked
        assert ours.realized_pnl == sums["realized"]
        assert ours.fees_total == sums["fees"]
        assert ours.net_deposits == sums["flows"]
        assert ours.dividends_total == sums["dividends"]
        assert ours.swap_total == sums["swap"]
        assert ours.adjustments_total == sums["adjustments"]
        for currency, native in theirs.sums.native.items():
            totals = ours.totals_of(currency)
            for name in SIGNS:
                assert getattr(totals, name) == native[name], (currency, name)

    def compare_state(self) -> None:
        marks, pairs = self.marks(), self.pairs
        self.reference.check(marks, pairs)
        state = valuation.value(
            self.portfolio,
            self.prices,
            INSTRUMENTS,
            read_at_ms=NOW,
            previous_version=0,
            stale_after_ms=STALE_AFTER_MS,
        ).state
        assert state.calc_status == "ok"
        self._same(state.total_value, self.reference.total(marks, pairs))
        self._same(state.unrealized_pnl, self.reference.unrealized_base(marks, pairs))
        self._same(state.fx_effect, self.reference.fx_effect(marks, pairs))
        if not self.margin:
            self._compare_day(state.daily_pnl, marks)

    def _compare_day(self, shown: Decimal | None, marks: dict[str, Fraction]) -> None:
        """Also of what was closed today; a split's rounding of quantities (6 decimals) may show in it."""
        rates = self.reference.rates_now(marks, self.pairs)
        exact = Fraction(0)
        for symbol in self.symbols:
            mark = marks.get(symbol, Fraction(self.prices[symbol].last or 0))
            result = self.reference.daily_pnl(symbol, mark)
            assert result is not None
            currency = INSTRUMENTS[symbol].currency
            exact += result * rates[currency] if result else 0
        assert shown is not None
        assert abs(Fraction(shown) - exact) <= Fraction(3, 100), (shown, float(exact))

    def _same(self, shown: Decimal | None, exact: Fraction) -> None:
        """On the wire: within half a minor unit."""
        assert shown is not None
        assert abs(Fraction(shown) - exact) <= Fraction(1, 200) + LAST_PLACE, (shown, float(exact))


def _event(entry: Entry, base: str, pairs: dict[str, Quote]) -> Event:
    instrument = INSTRUMENTS.get(entry.instrument_id or "")
    ratio = Fraction(entry.ratio[0]) / Fraction(entry.ratio[1]) if entry.ratio else Fraction(1)
    currency = entry.currency or base
    cost = conversion(pairs, currency, base, Fraction(-1))  # what one unit of it costs
    assert cost is not None
    return Event(
        kind=entry.transaction_type,
        symbol=instrument.symbol if instrument else "",
        quantity=Fraction(entry.quantity),
        price=Fraction(entry.price),
        fee=Fraction(entry.fee),
        fee_currency=entry.fee_currency or "",
        amount=Fraction(entry.amount),
        currency=currency,
        to_currency=entry.to_currency or "",
        rate=Fraction(entry.rate or 0),
        ratio=ratio,
        cash_price=None if entry.cash_price is None else Fraction(entry.cash_price),
        in_kind=entry.in_kind,
        reported=entry.reported,
        worth=Fraction(entry.amount) * cost,
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_the_books_agree_with_the_slow_reference_after_every_transaction(seed: int) -> None:
    world = World(seed)
    for step in range(STEPS):
        try:
            world.step()
        except Exception as fault:
            raise AssertionError(f"REFERENCE_SEED={seed} REFERENCE_STEPS={step + 1} replays this: {fault}") from fault
    assert world.accepted > STEPS // 3, "most of a sequence should be booked"
    assert replayed(world.portfolio) == world.portfolio


def replayed(portfolio: Portfolio) -> Portfolio:
    """Through the stored form."""
    return books.decode(books.encode(portfolio))
