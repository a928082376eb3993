"""What a margin account is judged by is what is shown of it, and what its stop-out books is what was planned."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from foliostream.domain import liquidation, margin, portfolio, valuation
from foliostream.domain.margin import Line
from foliostream.domain.margin_states import DEFAULT_THRESHOLDS
from foliostream.domain.portfolio import AccountType, Portfolio
from foliostream.domain.price import Price
from foliostream.settings import Costs
from tests.property.strategies import decimals
from tests.property.test_margin import accounts
from tests.unit.domain.accounts import account, market, quote
from tests.unit.domain.examples import NOW, STALE_AFTER_MS

EURUSD = {"EURUSD": quote("1.05", "1.07")}


def made(
    given_account: tuple[Decimal | None, list[Line]], balance: Decimal, euros: set[int]
) -> tuple[Portfolio, list[Line], dict[str, Price]]:
    """A book of the positions, some of them quoted in euros, and the prices of all."""
    leverage, lines = given_account
    found = []
    for number, line in enumerate(lines):
        currency = "EUR" if number in euros else "USD"
        assert line.instrument is not None
        instrument = replace(line.instrument, currency=currency)
        found.append(line._replace(position=replace(line.position, currency=currency), instrument=instrument))
    held = {line.symbol: line.position for line in found}
    book = account(str(balance), leverage=leverage, positions=held)
    quotes = {line.symbol: Price(line.sides.bid, line.sides.ask, quote_ts_ms=NOW) for line in found}
    return book, found, quotes | EURUSD


@given(accounts(same=True), decimals("-1000", "100000", 2), st.sets(st.integers(0, 5)))
def test_the_total_is_the_equity_that_is_judged(
    given_account: tuple[Decimal | None, list[Line]], balance: Decimal, euros: set[int]
) -> None:
    book, lines, quotes = made(given_account, balance, euros)
    registry = {line.symbol: line.instrument for line in lines if line.instrument}
    found = valuation.value(book, quotes, registry, read_at_ms=NOW, previous_version=0, stale_after_ms=STALE_AFTER_MS)
    judged = margin.assess(book, market(quotes, *registry.values()))
    assert found.snapshot.total_value == judged.equity
    assert found.state.margin is not None
    assert found.state.margin.equity == found.state.total_value
    used = [item.margin_used for item in found.state.positions if item.margin_used is not None]
    assert found.state.margin.used is not None
    assert abs(sum(used) - found.state.margin.used) <= Decimal("0.005") * (len(used) + 1)


@given(
    accounts(same=True),
    decimals("-1000", "2000", 2),
    st.sets(st.integers(0, 5)),
    st.sampled_from(["demo", "paper"]),
)
def test_the_books_have_what_the_plan_foresaw_fees_and_slippage_of_paper_included(
    given_account: tuple[Decimal | None, list[Line]], balance: Decimal, euros: set[int], account_type: AccountType
) -> None:
    book, lines, quotes = made(given_account, balance, euros)
    book = replace(book, account_type=account_type)
    registry = {line.symbol: line.instrument for line in lines if line.instrument}
    now = market(quotes, *registry.values())
    costs = Costs(fee=Decimal("0.1"), slippage=Decimal("0.5"))
    stopped = liquidation.account_of(book, now, "current", partial=True, costs=costs)
    planned = liquidation.plan(stopped, "ok", 5, DEFAULT_THRESHOLDS)
    if planned is None:
        return
    assert account_type == "paper" or not any(close.fee for close in planned.closes)
    order = liquidation.order_of(book, planned, 5, NOW)
    after, _ = portfolio.apply(book, liquidation.entries(order, NOW), registry, NOW, {"EURUSD": quote("9", "9.5")})
    assert after.cash["USD"] == planned.after.balance
    assert margin.assess(after, now).equity == planned.after.equity
