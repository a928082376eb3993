"""Margin figures: the worked examples of the definitions, conversions, tiers, what is missing."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest

from foliostream.domain import margin, money
from foliostream.domain.instrument import Split
from foliostream.domain.margin import Line, Margin
from foliostream.domain.rates import Rate
from tests.unit.domain.accounts import account, cfd, figures, forex, held, line, market, quote, tiers
from tests.unit.domain.examples import NOW, booked, buy, cash, last, state, stock

D = Decimal


def shown(found: Margin) -> tuple[str | None, ...]:
    """equity, used, free, level as they go out."""
    out = margin.wire(found, "GBP", "ok")
    return tuple(None if item is None else str(item) for item in (out.equity, out.used, out.free, out.level_percent))


# --- the worked example: GBP 50,000, margin rate 3.33333 %, 1,000,000 EURGBP bought at 0.8568, market 0.8566/0.8568 ---

EURGBP = forex("EURGBP", contract_size=None, margin_rate=D("0.0333333"))


def british(instrument: object = EURGBP, quantity: str = "1000000") -> Line:
    return line(quantity, "0.8568", "0.8566", "0.8568", instrument)  # type: ignore[arg-type]


def test_margin_at_sided_prices_is_that_of_metatrader() -> None:
    expected = ("49800.00", "28559.97", "21240.03", "174.37")
    assert shown(figures("50000", british(), leverage=None)) == expected
    assert shown(figures("50000", british(), leverage=None, basis="open")) == expected


def test_margin_at_mid_prices_is_that_of_oanda_v20_with_its_closeout_percent() -> None:
    found = figures("50000", british(), leverage=None, basis="mid")
    assert shown(found)[:3] == ("49900.00", "28556.64", "21343.36")
    assert found.positions["EURGBP"].unrealized == -100
    assert found.used is not None
    assert found.equity is not None
    closeout = money.rounded(50 * found.used / found.equity, 2)
    assert closeout == D("28.61")


def test_a_leverage_of_thirty_is_exactly_a_thirtieth() -> None:
    plain = forex("EURGBP", contract_size=None)
    assert shown(figures("50000", british(plain)))[1] == "28560.00"


def test_lots_times_the_contract_size_are_the_same_as_units() -> None:
    lots = forex("EURGBP", margin_rate=D("0.0333333"))
    by_lots, by_units = figures("50000", british(lots, "10")), figures("50000", british())
    assert (by_lots.equity, by_lots.used, by_lots.exposure) == (by_units.equity, by_units.used, by_units.exposure)


def test_the_figures_agree_with_the_valuation_of_the_same_book() -> None:
    gold, prices = cfd(contract_size=D(100)), {"XAUUSD": quote("1999.5", "2000.5"), "AAPL": last("160")}
    book = account("10000", positions={"XAUUSD": held("-0.5", "1990", gold), "AAPL": held("3", "150", stock())})
    found = margin.assess(book, market(prices, gold, stock()))
    valued = state(book, prices, instruments={"XAUUSD": gold, "AAPL": stock()})
    out = margin.wire(found, "USD", "ok")
    assert valued.margin is not None
    assert (out.balance, out.equity, out.exposure) == (
        valued.margin.balance,
        valued.total_value,
        valued.margin.exposure,
    )
    assert out.leverage_used == valued.margin.leverage_used
    assert out.equity == 10_000 - 525 + 30


# --- which price, which rate, which side ------------------------------------------------------------------------------


def test_margin_is_needed_at_the_ask_in_both_directions() -> None:
    for quantity in ("1", "-1"):
        assert figures("500", line(quantity, "100", "90", "110"), leverage="10").used == 11


def test_margin_at_the_open_price_does_not_move_with_the_market() -> None:
    found = figures("500", line("-2", "100", "90", "110"), leverage="10", basis="open")
    assert (found.used, found.equity) == (20, 480)


def test_a_stock_in_a_margin_account_is_taken_at_its_last_price() -> None:
    book = account("1000", positions={"AAPL": held("5", "100", stock())}, leverage=D(2))
    found = margin.assess(book, market({"AAPL": last("120")}, stock()))
    assert (found.equity, found.used, found.free) == (1100, 300, 800)


@pytest.mark.parametrize(
    ("rate", "leverage", "expected"),
    [("0.05", "10", 100), ("0.2", "10", 200), ("0.1", "10", 100), (None, "10", 100), ("0.05", None, 50),
     ("1", "500", 1000)],
)  # fmt: skip
def test_the_larger_of_instrument_and_account_decides_once(
    rate: str | None, leverage: str | None, expected: int
) -> None:
    instrument = cfd(margin_rate=rate and D(rate))
    assert figures("5000", line("10", "100", "100", "100", instrument), leverage=leverage).used == expected


@pytest.mark.parametrize(
    ("price", "expected"),
    [("100", 1_000), ("1000", 10_000), ("1500", 10_000 + 10_000), ("5000", 10_000 + 80_000),
     ("6000", 10_000 + 80_000 + 50_000)],
)  # fmt: skip
def test_tiers_are_marginal(price: str, expected: int) -> None:
    """1 % of the first 1,000,000, 2 % up to 5,000,000, 5 % beyond, of 1,000 units."""
    instrument = cfd(margin_tiers=tiers(from_0="0.01", from_1000000="0.02", from_5000000="0.05"))
    assert figures("0", line("1000", price, price, price, instrument), leverage="500").used == expected


def test_the_leverage_of_the_account_holds_for_each_tier() -> None:
    """At 1:50 the first tier needs 2 %, the second its own 10 %."""
    instrument = cfd(margin_tiers=tiers(from_0="0.005", from_1000="0.1"))
    assert figures("0", line("30", "100", "100", "100", instrument), leverage="50").used == 20 + 200


def test_tiers_count_in_base_currency() -> None:
    instrument = cfd(currency="EUR", margin_tiers=tiers(from_0="0.01", from_1000="0.1"))
    rate = Rate(D("1.9"), D("2"), (("EURUSD", 1),))
    # 800 EUR are 1,600 USD at the side that gives more
    assert figures("0", line("8", "100", "100", "100", instrument, rate), leverage="500").used == 10 + 60


@pytest.mark.parametrize("quantity", ["1", "-1"])
@pytest.mark.parametrize(
    ("pairs", "bid", "ask"),
    [
        ({"EURUSD": quote("1.08", "1.10")}, D("1.08"), D("1.10")),
        ({"USDEUR": quote("0.8", "1.0")}, D("1"), D("1.25")),
        ({"EURINR": quote("90", "100"), "USDINR": quote("80", "90")}, D("1"), D("1.25")),
    ],
    ids=["direct", "inverse", "cross"],
)
def test_margin_is_converted_at_the_larger_side_and_profit_and_loss_at_the_worse(
    quantity: str, pairs: dict[str, object], bid: Decimal, ask: Decimal
) -> None:
    index = cfd("DAX", "EUR")
    book = account("1000", positions={"DAX": held(quantity, "100", index)}, leverage=D(10))
    found = margin.assess(book, market({"DAX": quote("120", "120"), **pairs}, index))  # type: ignore[dict-item]
    gained = 20 * bid if quantity == "1" else -20 * ask
    assert found.used == money.EXACT.divide(120 * ask, D(10))
    assert found.equity == 1000 + gained
    assert found.exposure == 120 * (bid if quantity == "1" else ask)


def test_a_split_divides_older_prices() -> None:
    book = booked(account("1000", leverage=D(2)), buy("2", "100"))
    split = cash("SPLIT", "0", instrument_id="AAPL", ratio=(D(4), D(1)), timestamp_ms=NOW + 1)
    after = booked(book, split, now_ms=NOW + 1)
    old, new = last("100", ts_ms=NOW), last("25", ts_ms=NOW + 2)
    figures_of = [margin.assess(after, market({"AAPL": price}, stock())) for price in (old, new)]
    assert [(found.equity, found.used) for found in figures_of] == [(1000, 100), (1000, 100)]


def test_a_split_of_the_instrument_divides_older_prices_whether_it_is_booked_or_not() -> None:
    book = booked(account("1000", leverage=D(2)), buy("2", "100"))
    apple = stock(splits=(Split(NOW + 1, D(4), D(1)),))
    found = margin.assess(book, market({"AAPL": last("100", ts_ms=NOW)}, apple))
    assert (found.equity, found.used) == (850, 25)
    split = cash("SPLIT", "0", instrument_id="AAPL", ratio=(D(4), D(1)), timestamp_ms=NOW + 5)
    after = booked(book, split, now_ms=NOW + 5)
    found = margin.assess(after, market({"AAPL": last("100", ts_ms=NOW)}, apple))
    assert (found.equity, found.used) == (1000, 100)


# --- what is missing, and what is nothing -----------------------------------------------------------------------------


def test_without_positions_there_is_no_level() -> None:
    found = figures("-5")
    assert (found.equity, found.used, found.free, found.level_percent, found.exposure) == (-5, 0, -5, None, 0)
    assert (found.leverage_used, found.missing) == (None, ())
    assert not found.at_or_below(D(50))
    assert found.above(D(500))


@pytest.mark.parametrize(
    ("given", "equity"),
    [
        (line("1", "100", None, "101"), None),  # a long position is closed at the bid
        (line("1", "100", "99", None), 999),  # valued, but its margin is at the ask
        (line("1", "100", "99", "101", rate=None), None),
        (line("-1", "100", "99", None), None),
    ],
)
def test_what_cannot_be_known_is_null_and_named(given: Line, equity: int | None) -> None:
    found = figures("1000", given)
    assert found.missing == ("XAUUSD",)
    assert (found.equity, found.used, found.free, found.level_percent, found.exposure) == (equity, *[None] * 4)
    assert not found.at_or_below(D(50))
    assert not found.above(D(50))


def test_a_position_without_any_margin_rate_is_valued_but_its_margin_is_unknown() -> None:
    found = figures("1000", line("1", "100", "99", "101"), leverage=None)
    assert (found.equity, found.used, found.missing) == (999, None, ("XAUUSD",))


def test_one_missing_position_leaves_the_others_figures() -> None:
    book = account("1000", positions={"AAPL": held("1", "100", stock()), "MSFT": held("1", "100", stock("MSFT"))})
    found = margin.assess(book, market({"AAPL": last("130")}, stock(), stock("MSFT")))
    assert (found.missing, list(found.positions), found.equity) == (("MSFT",), ["AAPL"], None)


def test_equity_below_zero_has_a_level_and_no_leverage() -> None:
    found = figures("0", line("1", "100", "50", "51"), leverage="1")
    assert (found.equity, found.leverage_used) == (-50, None)
    assert found.at_or_below(D(50))
    assert margin.wire(found, "USD", "stop_out").level_percent == D("-98.04")


@pytest.mark.parametrize(("equity", "reached"), [("4", True), ("4.0000000001", False), ("3.9999999999", True)])
def test_a_level_is_compared_as_what_it_is_though_its_margin_has_no_end(equity: str, reached: bool) -> None:
    """A thirtieth of 100 is 3.333..., and 120 percent of that is 4."""
    found = figures(equity, line("1", "100", "100", "100"))
    assert found.at_or_below(D(120)) is reached
    assert found.above(D(120)) is not reached


def test_sums_of_thirds_are_whole() -> None:
    parts = [line("1", "10", "10", "10", cfd(f"S{number}")) for number in range(3)]
    found = figures("9", *parts, leverage="3")
    assert found.used == 10
    assert found.at_or_below(D(90))


def test_the_context_of_the_caller_does_not_matter() -> None:
    with localcontext() as context:
        context.prec = 5
        assert shown(figures("50000", british(), leverage=None)) == ("49800.00", "28559.97", "21240.03", "174.37")


@pytest.mark.parametrize(
    ("hours", "used"), [("Sun 17:00-Fri 17:00 America/New_York", 800), (None, 1000)], ids=["hours", "none"]
)
def test_a_cross_counts_as_fresh_within_the_trading_hours_of_its_legs(hours: str | None, used: int) -> None:
    """On Sunday the cross over the dollar is as fresh as on Friday; without hours the one over the rupee is taken."""
    friday, sunday = 1_772_229_599_000, 1_772_366_400_000  # 2026-02-27T21:59:59Z, 2026-03-01T12:00:00Z
    quotes = {
        "EURUSD": quote("1", "1", friday),
        "USDGBP": quote("0.8", "0.8", friday),
        "EURINR": quote("100", "100", sunday),
        "GBPINR": quote("100", "100", sunday),
        "DAX": quote("100", "100", sunday),
    }
    index = cfd("DAX", "EUR")
    book = account("0", base_currency="GBP", positions={"DAX": held("10", "100", index)}, leverage=D(1))
    legs = [forex(symbol, hours=hours) for symbol in ("EURUSD", "USDGBP")]
    assert margin.assess(book, market(quotes, index, *legs, now_ms=sunday)).used == used
