"""Portfolios of ten positions and the prices they depend on, stored through the application's own adapters."""

import random
from collections.abc import Iterable, Sequence
from decimal import Decimal

from msgspec.structs import replace

from benchmarks.container import Container
from benchmarks.measuring import now_ms
from foliostream.domain import portfolio as books
from foliostream.domain.instrument import Instrument
from foliostream.domain.portfolio import Entry, Portfolio
from foliostream.domain.price import PriceUpdate

OWNER = "benchmark"
POSITIONS = 10
_BASKETS = 200


class Market:
    """Symbols whose prices walk at random, always the same way; every move is newer than the one before."""

    def __init__(self, symbols: Sequence[str], seed: int = 1) -> None:
        self.symbols = symbols
        self._random = random.Random(seed)
        self._cents = {symbol: self._random.randrange(500, 50_000) for symbol in symbols}
        self._ts_ms = now_ms() - 60_000

    def instruments(self) -> list[Instrument]:
        """What has to be registered."""
        return [Instrument(symbol, "stock", "USD") for symbol in self.symbols]

    def price(self, symbol: str) -> Decimal:
        """The last price."""
        return Decimal(self._cents[symbol]).scaleb(-2)

    def move(self) -> list[PriceUpdate]:
        """A new quote, last, open and previous close of every symbol."""
        self._ts_ms += 1
        return [self._update(symbol) for symbol in self.symbols]

    def _update(self, symbol: str) -> PriceUpdate:
        before = self.price(symbol)
        self._cents[symbol] = max(self._cents[symbol] + self._random.randrange(-50, 51), 100)
        last, cent = self.price(symbol), Decimal("0.01")
        return PriceUpdate(symbol, self._ts_ms, 0, last - cent, last + cent, last, before, before)


def portfolios(count: int, market: Market, prefix: str) -> Iterable[Portfolio]:
    """Live ones, each with ten positions bought at prices of the market; the baskets repeat, ids do not."""
    chooser = random.Random(2)
    baskets = [_basket(market, chooser) for _ in range(min(count, _BASKETS))]
    for number in range(count):
        yield replace(baskets[number % len(baskets)], portfolio_id=f"{prefix}{number:06d}")


def settle(container: Container, market: Market) -> None:
    """Register the market's instruments and store its first prices."""
    for instrument in market.instruments():
        container.parts.instruments.put(instrument)
    container.parts.hot.put(market.move())


def _basket(market: Market, chooser: random.Random) -> Portfolio:
    at_ms = now_ms()
    empty = Portfolio(
        portfolio_id="basket",
        portfolio_name="Benchmark portfolio",
        owner=OWNER,
        account_type="live",
        account_kind="cash",
        base_currency="USD",
        cost_basis="average",
        created_at_ms=at_ms,
        updated_at_ms=at_ms,
        version=0,
        cash={"USD": Decimal(0)},
    )
    deposit = Entry("cash", "DEPOSIT", at_ms, amount=Decimal(10_000_000), currency="USD")
    buys = [
        Entry(
            transaction_id=f"buy-{symbol}",
            transaction_type="BUY",
            timestamp_ms=at_ms,
            instrument_id=symbol,
            quantity=Decimal(chooser.randrange(1, 1_000)),
            price=market.price(symbol),
            fee=Decimal("1.25"),
        )
        for symbol in chooser.sample(market.symbols, POSITIONS)
    ]
    instruments = {instrument.symbol: instrument for instrument in market.instruments()}
    booked, _ = books.apply(empty, [deposit, *buys], instruments, at_ms)
    return booked
