"""Portfolios and snapshots in few words."""

from decimal import Decimal

from foliostream.domain.portfolio import Portfolio, Position
from foliostream.domain.price import Price
from foliostream.domain.valuation import Snapshot, value
from foliostream.ports import Candidate, Head
from tests.contract.hot.backends import NOW_MS


def portfolio(portfolio_id: str = "12345", *, version: int = 1, positions: int = 1) -> Portfolio:
    """So many positions in S0, S1, ... bought at 100."""
    held = Position(
        quantity=Decimal(10),
        cost=Decimal(1000),
        realized_pnl=Decimal(0),
        fees=Decimal(0),
        multiplier=Decimal(1),
        currency="USD",
        opened_at_ms=NOW_MS,
        updated_at_ms=NOW_MS,
    )
    return Portfolio(
        portfolio_id=portfolio_id,
        portfolio_name="Retirement",
        owner="alice",
        account_type="live",
        account_kind="cash",
        base_currency="USD",
        cost_basis="average",
        created_at_ms=NOW_MS,
        updated_at_ms=NOW_MS,
        version=version,
        cash={"USD": Decimal("500.25")},
        positions={f"S{number}": held for number in range(positions)},
    )


def snapshot(
    portfolio_id: str = "12345", *, read_at_ms: int = NOW_MS, previous: Head | None = None, positions: int = 1
) -> Snapshot:
    """A valuation of ``portfolio(portfolio_id)`` at 150 a share, following the previous head."""
    prices = {f"S{number}": Price(last=Decimal(150), last_ts_ms=read_at_ms) for number in range(positions)}
    valued = value(
        portfolio(portfolio_id, positions=positions),
        prices,
        {},
        read_at_ms=read_at_ms,
        previous_version=previous.version if previous else 0,
        stale_after_ms=60_000,
    )
    return valued.snapshot


def candidate(
    portfolio_id: str = "12345", *, expected: Head | None = None, read_at_ms: int = NOW_MS, positions: int = 1
) -> Candidate:
    """A snapshot that follows the expected head."""
    return Candidate(snapshot(portfolio_id, read_at_ms=read_at_ms, previous=expected, positions=positions), expected)
