"""A portfolio's analytics over REST: its daily history, its benchmark, and its newest snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta, tzinfo
from decimal import Decimal
from typing import NamedTuple

from foliostream.application.access import Caller, own_portfolio
from foliostream.application.portfolios import Portfolios
from foliostream.domain import analytics, closes, invested, state
from foliostream.domain.analytics import Figure, Track
from foliostream.domain.portfolio import Portfolio
from foliostream.domain.state import PortfolioState
from foliostream.domain.times import iso
from foliostream.ports import Clock, Instruments, Ledger, PriceHistory
from foliostream.recent import Recent

# Five years: what is older says little about the portfolio of now.
MAX_HISTORY_DAYS = 1_827
REMEMBERED_MAX = 500
REMEMBERED_BYTES_MAX = 4_000_000
ENTRY_BYTES = 8_000


class Parts(NamedTuple):
    """Shares by name, or why there are none."""

    parts: dict[str, Decimal] | None
    reason: str | None = None


@dataclass(frozen=True)
class PortfolioAnalytics:
    """``first`` and ``last``: of the days whose ``observations`` returns the figures are computed from. ``figures``: by
    the contract's names; ``benchmark_observations``: of these returns, those that beta has."""

    portfolio_id: str
    version: int
    as_of: str | None
    first: str | None
    last: str | None
    observations: int
    figures: Mapping[str, Figure]
    benchmark: str | None
    benchmark_observations: int
    exposure_by_currency: Parts
    exposure_by_kind: Parts


class _Beta(NamedTuple):
    figure: Figure
    observations: int


@dataclass(frozen=True)
class Analytics:
    """Computed once a snapshot's version and container. ``zone``: the market's."""

    portfolios: Portfolios
    ledger: Ledger
    instruments: Instruments
    price_history: PriceHistory
    clock: Clock
    zone: tzinfo
    _recent: Recent[PortfolioAnalytics] = field(default_factory=lambda: Recent(REMEMBERED_MAX, REMEMBERED_BYTES_MAX))

    def __call__(self, caller: Caller, portfolio_id: str) -> PortfolioAnalytics:
        """``NotFoundError`` for a portfolio that is not the caller's."""
        shown = self.portfolios.state(caller, portfolio_id)
        known = self._recent.get(portfolio_id)
        if known is None or known.version != shown.head.version:
            portfolio = own_portfolio(caller, portfolio_id, self.ledger)
            known = self._computed(portfolio, state.decode_state(shown.body))
            self._recent.put(portfolio_id, known, ENTRY_BYTES)
        return known

    def _computed(self, portfolio: Portfolio, now: PortfolioState) -> PortfolioAnalytics:
        today = date.fromisoformat(iso(self.clock.now_ms())[:10])
        first, last = today - timedelta(MAX_HISTORY_DAYS), today + timedelta(1)
        track = analytics.track(self.ledger.days(portfolio.portfolio_id, first.isoformat(), last.isoformat()))
        beta = self._beta(portfolio.benchmark, track)
        by_currency, by_kind = self._exposures(now)
        return PortfolioAnalytics(
            portfolio_id=now.portfolio_id,
            version=now.version,
            as_of=now.as_of,
            first=track.rows[0].day if track.rows else None,
            last=track.rows[-1].day if track.rows else None,
            observations=len(track.returns),
            figures=_over_time(track) | {"beta": beta.figure} | _as_invested(now, portfolio.target_weights),
            benchmark=portfolio.benchmark,
            benchmark_observations=beta.observations,
            exposure_by_currency=by_currency,
            exposure_by_kind=by_kind,
        )

    def _beta(self, benchmark: str | None, track: Track) -> _Beta:
        if benchmark is None:
            return _Beta(Figure(None, "no benchmark is set"), 0)
        instrument = self.instruments.get([benchmark]).get(benchmark)
        kept = self.price_history.all(benchmark)
        if not kept:
            return _Beta(Figure(None, f"no daily closes of {benchmark}"), 0)
        splits = instrument.splits if instrument else ()
        mine, its = analytics.against(track, closes.in_units_of_now(kept, splits, self.zone))
        return _Beta(analytics.figure(lambda: analytics.beta(mine, its)), len(mine))

    def _exposures(self, now: PortfolioState) -> tuple[Parts, Parts]:
        symbols = [item.instrument_id for item in now.positions if item.position_type != "CASH"]
        try:
            by_currency, by_kind = invested.exposures(now, self.instruments.get(symbols))
        except ValueError as fault:
            return Parts(None, str(fault)), Parts(None, str(fault))
        return Parts(by_currency), Parts(by_kind)


def _over_time(track: Track) -> dict[str, Figure]:
    returns = track.returns

    def of(compute: Callable[[Sequence[float]], float]) -> Figure:
        return analytics.figure(lambda: compute(returns))

    def tail(compute: Callable[[Sequence[float], float], float], part: float) -> Figure:
        return analytics.figure(lambda: compute(returns, part))

    return {
        "time_weighted_return": of(analytics.time_weighted_return),
        "money_weighted_return": analytics.figure(lambda: analytics.xirr(analytics.flows(track.rows))),
        "volatility": of(analytics.volatility),
        "sharpe": of(analytics.sharpe),
        "sortino": of(analytics.sortino),
        "max_drawdown": of(analytics.max_drawdown),
        "var_95": tail(analytics.value_at_risk, 0.05),
        "var_99": tail(analytics.value_at_risk, 0.01),
        "cvar_95": tail(analytics.conditional_value_at_risk, 0.05),
        "var_95_normal": tail(analytics.normal_value_at_risk, 0.05),
        "var_99_normal": tail(analytics.normal_value_at_risk, 0.01),
        "cvar_95_normal": tail(analytics.normal_conditional_value_at_risk, 0.05),
    }


def _as_invested(now: PortfolioState, targets: Mapping[str, Decimal]) -> dict[str, Figure]:
    values = invested.market_values(now)
    known = {symbol: value for symbol, value in values.items() if value is not None}
    if len(known) < len(values):
        unpriced = Figure(None, f"no price of {', '.join(sorted(values.keys() - known.keys())[:5])}")
        return {"concentration": unpriced, "target_drift": unpriced}
    return {
        "concentration": analytics.figure(lambda: analytics.concentration(known)),
        "target_drift": analytics.figure(lambda: analytics.target_drift(known, targets)),
    }
