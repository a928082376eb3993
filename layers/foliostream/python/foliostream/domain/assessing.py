"""Valuing very many portfolios from one set of prices: each price marked and encoded once, each book planned once.

A plan has what the total of a book needs as plain sums. Where a total needs more than sums (another currency, a price
older than a split) the portfolio's whole figures are computed, as for rendering.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from operator import mul
from typing import NamedTuple

from msgspec.structs import replace

from foliostream.domain import margin, margin_states, marking, snapshot, splitting
from foliostream.domain.account import Portfolio
from foliostream.domain.figures import figures_of
from foliostream.domain.instrument import Instrument, expires_at_ms
from foliostream.domain.margin_states import DEFAULT_THRESHOLDS, MarginRules
from foliostream.domain.margin_status import UNSEEN, MarginStatus
from foliostream.domain.marking import NEVER_MS
from foliostream.domain.money import ONE, ZERO
from foliostream.domain.price import Mark, Price
from foliostream.domain.snapshot import Snapshot
from foliostream.domain.state import CalcStatus, calc_status

DEFAULT_RULES = MarginRules(dict.fromkeys(("live", "demo", "paper"), DEFAULT_THRESHOLDS))


class Held(NamedTuple):
    """Positions of one direction: symbols, and the signed units of each in the same order."""

    symbols: tuple[str, ...]
    units: tuple[Decimal, ...]


class Plan(NamedTuple):
    """A book, ready to be valued again and again.

    ``settled``: the part of the total that no price moves: cash, in a margin account less what its positions cost.
    ``positions``: when each was opened. ``splits``: symbols with splits booked, whose older prices are divided, and
    until when. ``book``: only where the sums may not be enough; ``converts``: they never are. ``margin``: the book of
    a margin account.
    ``update_interval_ms``: what the portfolio asked for; none of a margin account, whatever is stored.
    """

    portfolio_id: str
    owner: str
    ledger_version: int
    symbols: frozenset[str]
    positions: dict[str, int]
    longs: Held
    shorts: Held
    settled: Decimal
    splits: tuple[tuple[str, int], ...]
    converts: bool
    book: Portfolio | None
    margin: Portfolio | None
    update_interval_ms: int | None


class _Line(NamedTuple):
    """A symbol in a market: its mark (None: no price for this side), when that is stale, its encoded price."""

    mark: Decimal | None
    expires_ms: int
    encoded: bytes
    ts_ms: int


def plan(portfolio: Portfolio) -> Plan:
    """Computed in the caller's decimal context, which is ``EXACT``."""
    held = portfolio.positions
    longs = {symbol: marking.units(item) for symbol, item in held.items() if item.quantity > 0}
    shorts = {symbol: marking.units(item) for symbol, item in held.items() if symbol not in longs}
    settled = portfolio.cash.get(portfolio.base_currency, ZERO)
    if portfolio.account_kind == "margin":
        settled -= sum((item.signed_cost for item in held.values()), ZERO)
    splits = tuple(
        (symbol, max(split.effective_ms for split in item.splits)) for symbol, item in held.items() if item.splits
    )
    converts = bool(portfolio.foreign_currencies)
    return Plan(
        portfolio.portfolio_id,
        portfolio.owner,
        portfolio.version,
        portfolio.symbols,
        {symbol: item.opened_at_ms for symbol, item in held.items()},
        Held(tuple(longs), tuple(longs.values())),
        Held(tuple(shorts), tuple(shorts.values())),
        settled,
        splits,
        converts,
        portfolio if converts or splits else None,
        portfolio if portfolio.account_kind == "margin" else None,
        None if portfolio.account_kind == "margin" else portfolio.update_interval_ms,
    )


class Market:
    """The prices of one moment. ``stale_after_ms``: the age limit of prices whose instrument names none."""

    def __init__(self, prices: Mapping[str, Price], instruments: Mapping[str, Instrument], stale_after_ms: int) -> None:
        self.prices = prices
        self.instruments = instruments
        self.stale_after_ms = stale_after_ms
        self.split = {symbol: item.splits for symbol, item in instruments.items() if item.splits}
        self.longs = _Lines(self, long=True)
        self.shorts = _Lines(self, long=False)

    def is_older(self, symbol: str, ts_ms: int) -> bool:
        """Whether one of the symbol's marks is older than a time, or than a split of the instrument."""
        instrument = self.instruments.get(symbol)
        splits = instrument.splits if instrument else ()
        newest_ms = max([ts_ms, *(split.effective_ms for split in splits)])
        return self.longs[symbol].ts_ms < newest_ms or self.shorts[symbol].ts_ms < newest_ms


class _Lines(dict[str, _Line]):
    """Lines by symbol for one direction, each made on first use."""

    def __init__(self, market: Market, *, long: bool) -> None:
        super().__init__()
        self._market = market
        self._long = long

    def __missing__(self, symbol: str) -> _Line:
        quote, instrument = self._market.prices.get(symbol), self._market.instruments.get(symbol)
        found = marking.mark(quote, instrument, long=self._long)
        encoded = b"" if quote is None else snapshot.encode_price(symbol, quote)
        line = _Line(None, NEVER_MS, encoded, NEVER_MS)
        if found is not None:
            line = self._marked(found, instrument, encoded)
        self[symbol] = line
        return line

    def _marked(self, found: Mark, instrument: Instrument | None, encoded: bytes) -> _Line:
        """A price from before a split of the instrument is divided, and out of date from the beginning."""
        factor = splitting.factor(instrument.splits, found.ts_ms) if instrument and instrument.splits else ONE
        if factor != 1:
            return _Line(found.value / factor, 0, encoded, found.ts_ms)
        expires_ms = expires_at_ms(instrument, found.ts_ms, self._market.stale_after_ms)
        return _Line(found.value, expires_ms, encoded, found.ts_ms)


def assess(
    planned: Plan,
    market: Market,
    *,
    read_at_ms: int,
    previous_version: int,
    before: MarginStatus = UNSEEN,
    rules: MarginRules = DEFAULT_RULES,
) -> Snapshot:
    """What the portfolio is worth now, exactly, in the caller's decimal context, which is ``EXACT``.

    ``version`` = max(previous + 1, ``read_at_ms``), so that versions rise also after the stores were lost. What has
    no price or no rate makes it unpriced. A margin account is judged by the ``rules``, going on from where it stood
    ``before``. ``ValueError`` for a book whose amounts are not finite.
    """
    version = max(previous_version + 1, read_at_ms)
    if planned.margin is None:
        return _assess(planned, market, read_at_ms, version)
    return _judged(planned.margin, _assess(planned, market, read_at_ms, version), market, before, rules)


def _judged(
    portfolio: Portfolio, snapshot: Snapshot, market: Market, before: MarginStatus, rules: MarginRules
) -> Snapshot:
    """With the account's status."""
    now = margin.Market(market.prices, market.instruments, snapshot.read_at_ms, market.stale_after_ms)
    limits = margin_states.limits_of(portfolio, rules.limits[portfolio.account_type])
    found = margin.assess(portfolio, now, rules.basis)
    standing, _ = margin_states.judge(
        before, found, snapshot.calc_status, snapshot.version, snapshot.read_at_ms, limits, rules.unknown_after_ms
    )
    return replace(snapshot, margin=standing)


def _assess(planned: Plan, market: Market, read_at_ms: int, version: int) -> Snapshot:
    if planned.book is not None and _needs_figures(planned, market):
        return _thorough(planned.book, market, read_at_ms, version)
    total: Decimal | None = planned.settled
    fresh_until_ms = NEVER_MS
    encoded: list[bytes] = []
    for lines, (symbols, units) in ((market.longs, planned.longs), (market.shorts, planned.shorts)):
        if not symbols:
            continue
        marks, expiries, prices, _ = zip(*[lines[symbol] for symbol in symbols], strict=True)
        encoded += prices
        fresh_until_ms = min(fresh_until_ms, *expiries)
        total = None if total is None or None in marks else sum(map(mul, units, marks), total)
    if total is not None and not total.is_finite():
        raise ValueError("an amount is not finite")
    doubtful = fresh_until_ms <= read_at_ms or (market.split and _awaits_split(planned, market, read_at_ms))
    status: CalcStatus = "unpriced" if total is None else "degraded" if doubtful else "ok"
    return Snapshot(
        planned.portfolio_id,
        planned.owner,
        version,
        planned.ledger_version,
        read_at_ms,
        fresh_until_ms,
        status,
        total,
        snapshot.joined(encoded),
    )


def _awaits_split(planned: Plan, market: Market, now_ms: int) -> bool:
    """Whether something held was split and nobody has booked it: old quantities, new prices."""
    for symbol in market.split.keys() & planned.positions.keys():
        booked = planned.book.positions[symbol].splits if planned.book is not None else ()
        if splitting.is_due(planned.positions[symbol], booked, market.split[symbol], now_ms):
            return True
    return False


def _needs_figures(planned: Plan, market: Market) -> bool:
    return planned.converts or any(market.is_older(symbol, ts_ms) for symbol, ts_ms in planned.splits)


def _thorough(portfolio: Portfolio, market: Market, read_at_ms: int, version: int) -> Snapshot:
    found = figures_of(portfolio, market.prices, market.instruments, read_at_ms, market.stale_after_ms)
    total = found.total
    if total is not None and not total.is_finite():
        raise ValueError("an amount is not finite")
    return Snapshot(
        portfolio.portfolio_id,
        portfolio.owner,
        version,
        portfolio.version,
        read_at_ms,
        found.fresh_until_ms,
        calc_status(found.unpriced, found.stale),
        total,
        snapshot.joined([market.longs[symbol].encoded for symbol in portfolio.symbols]),
    )
