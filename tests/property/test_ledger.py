"""The identities of the books (definitions 8 to 10) under every type of transaction in several currencies, for cash
and margin accounts and both cost bases."""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from foliostream.domain import daily, money, rates
from foliostream.domain import portfolio as books
from foliostream.domain.account import Portfolio
from foliostream.domain.entries import Entry, Transaction
from foliostream.domain.price import Price
from foliostream.domain.valuation import encode_state
from foliostream.errors import RefusedError
from tests.property.strategies import decimals, fees, moderate, prices, quantities, trades
from tests.property.test_wire import HALF_CENT, HALF_WEIGHT, literals
from tests.unit.domain.examples import NOW, empty, state, stock, valued

INSTRUMENTS = {
    "AAPL": stock("AAPL"),
    "SAP": stock("SAP", currency="EUR", contract_size=Decimal("2.5")),
    "TCS": stock("TCS", currency="INR"),
}
SYMBOLS = tuple(INSTRUMENTS)
CURRENCIES = ("USD", "EUR", "INR")
kinds = st.sampled_from([("cash", "average"), ("cash", "fifo"), ("margin", "average"), ("margin", "fifo")])


@st.composite
def pairs(draw: st.DrawFn) -> dict[str, Price]:
    """EURUSD direct, INR by the inverse; bid and ask differ."""
    found = {}
    for name, low, high in (("EURUSD", "0.8", "1.4"), ("USDINR", "60", "110")):
        bid = draw(decimals(low, high, 4))
        ask = bid + draw(decimals("0", "0.05", 4))
        found[name] = Price(bid=bid, ask=ask, quote_ts_ms=NOW)
    return found


@st.composite
def one_entry(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from(["BUY", "SELL", "BUY", "SELL", "MOVE", "SPLIT", "FX", "KIND", "MISSED"]))
    base: dict[str, Any] = {"transaction_id": f"t{draw(st.integers(0, 10**12))}", "timestamp_ms": NOW}
    if kind in {"BUY", "SELL", "KIND", "MISSED"}:
        buys = kind == "BUY" or (kind not in {"BUY", "SELL"} and draw(st.booleans()))
        base |= {"instrument_id": draw(st.sampled_from(SYMBOLS)), "price": draw(prices)}
        base["quantity"] = draw(quantities) * (1 if buys else -1)
        if kind in {"KIND", "MISSED"}:
            return Entry(transaction_type="ADJUSTMENT", reason="drawn", in_kind=kind == "KIND", **base)
        base |= {"fee": draw(fees), "fee_currency": draw(st.sampled_from([None, *CURRENCIES]))}
        return Entry(transaction_type=kind, reported=draw(st.booleans()), **base)
    if kind == "SPLIT":
        ratio = draw(st.sampled_from([("2", "1"), ("1", "3"), ("7", "10"), ("4", "1")]))
        paid = draw(st.one_of(st.none(), prices))
        return Entry(
            transaction_type="SPLIT",
            instrument_id=draw(st.sampled_from(SYMBOLS)),
            ratio=(Decimal(ratio[0]), Decimal(ratio[1])),
            cash_price=paid,
            **base,
        )
    base |= {"amount": draw(decimals("0.000001", "9000", 6)), "currency": draw(st.sampled_from(CURRENCIES))}
    if kind == "FX":
        others = [name for name in CURRENCIES if name != base["currency"]]
        rate = draw(decimals("0.01", "90", 6))
        return Entry(transaction_type="FX", to_currency=draw(st.sampled_from(others)), rate=rate, **base)
    move = draw(st.sampled_from(["DEPOSIT", "DEPOSIT", "WITHDRAWAL", "DIVIDEND", "FEE", "SWAP", "ADJUSTMENT"]))
    if move in {"DIVIDEND", "FEE", "SWAP", "ADJUSTMENT"} and draw(st.booleans()):
        base["amount"] = -base["amount"]
    return Entry(transaction_type=move, reason="drawn" if move == "ADJUSTMENT" else None, **base)


sequences = st.lists(st.tuples(one_entry(), pairs()), max_size=25)
quotes = st.fixed_dictionaries(dict.fromkeys(SYMBOLS, prices))


def start(kind: tuple[str, str]) -> Portfolio:
    return empty(account_kind=kind[0], cost_basis=kind[1], leverage=Decimal(30), allow_short=True)


def run(
    portfolio: Portfolio, given_entries: list[tuple[Entry, dict[str, Price]]]
) -> tuple[Portfolio, list[Transaction]]:
    """Book what is accepted, each entry for itself at the rates of its time."""
    records: list[Transaction] = []
    for entry, at in given_entries:
        try:
            portfolio, [record] = books.apply(portfolio, [entry], INSTRUMENTS, NOW, at)
        except RefusedError:
            continue
        records.append(record)
    return portfolio, records


def lasts(at: dict[str, Decimal]) -> dict[str, Price]:
    return {symbol: Price(last=value, last_ts_ms=NOW) for symbol, value in at.items()}


def market_value(portfolio: Portfolio, at: dict[str, Decimal], currency: str) -> Decimal:
    return sum(
        (
            held.quantity * at[symbol] * held.multiplier
            for symbol, held in portfolio.positions.items()
            if held.currency == currency
        ),
        Decimal(0),
    )


def unrealized(portfolio: Portfolio, at: dict[str, Decimal], currency: str) -> Decimal:
    costs = sum((held.signed_cost for held in portfolio.positions.values() if held.currency == currency), Decimal(0))
    return market_value(portfolio, at, currency) - costs


@moderate
@given(sequences, quotes, st.sampled_from(["average", "fifo"]))
def test_in_every_currency_cash_and_market_value_are_what_moved_them_and_the_profit_still_open(  # definitions 8
    drawn: list[tuple[Entry, dict[str, Price]]], at: dict[str, Decimal], basis: str
) -> None:
    portfolio = start(("cash", basis))
    for item in drawn:
        portfolio, _ = run(portfolio, [item])
        with localcontext(money.EXACT):
            for currency in CURRENCIES:
                moved = portfolio.totals_of(currency)
                held = portfolio.cash.get(currency, Decimal(0)) + market_value(portfolio, at, currency)
                assert held - moved.flows == (
                    moved.realized
                    + unrealized(portfolio, at, currency)
                    - moved.fees
                    + moved.dividends
                    + moved.swap
                    + moved.conversions
                    + moved.adjustments
                )


@moderate
@given(sequences, st.sampled_from(["average", "fifo"]))
def test_a_margin_accounts_balance_is_what_was_booked_into_it_exactly(  # definitions 8 and 9
    drawn: list[tuple[Entry, dict[str, Price]]], basis: str
) -> None:
    portfolio = start(("margin", basis))
    for item in drawn:
        portfolio, _ = run(portfolio, [item])
        with localcontext(money.EXACT):
            assert set(portfolio.cash) == {"USD"}
            assert portfolio.cash["USD"] - portfolio.net_deposits == (
                portfolio.realized_pnl
                - portfolio.fees_total
                + portfolio.swap_total
                + portfolio.dividends_total
                + portfolio.adjustments_total
            )


@moderate
@given(sequences, quotes, pairs(), kinds)
def test_in_base_the_value_is_deposits_profit_and_fx_effect_at_one_rate_a_currency(  # definitions 8 and 9
    drawn: list[tuple[Entry, dict[str, Price]]], at: dict[str, Decimal], now: dict[str, Price], kind: tuple[str, str]
) -> None:
    portfolio, _ = run(start(kind), drawn)
    figures = state(portfolio, lasts(at) | now, instruments=INSTRUMENTS)
    explained = (
        figures.net_deposits
        + figures.realized_pnl
        + figures.unrealized_pnl
        - figures.fees_total
        + figures.dividends_total
        + figures.swap_total
        + figures.adjustments_total
        + figures.fx_effect
    )
    assert abs(figures.total_value - explained) <= HALF_CENT * 9
    if kind[0] == "margin":
        assert figures.fx_effect == 0
        return
    by_currency: dict[str, set[Decimal]] = {}
    for item in figures.positions:
        if item.fx_rate is not None:
            by_currency.setdefault(item.currency, set()).add(item.fx_rate)
    assert all(len(found) == 1 for found in by_currency.values())
    with localcontext(money.EXACT):
        expected = Decimal(0)
        for currency in CURRENCIES:
            rate = rates.find(currency, "USD", now, lambda _symbol, _ts: True)
            net = portfolio.cash.get(currency, Decimal(0)) + market_value(portfolio, at, currency)
            expected += net * rate.worse(net)
        assert figures.total_value == money.money(expected, "USD")


@moderate
@given(sequences, quotes)
def test_average_and_fifo_agree_on_realized_and_unrealized_in_every_currency(  # definitions 10
    drawn: list[tuple[Entry, dict[str, Price]]], at: dict[str, Decimal]
) -> None:
    average, _ = run(start(("cash", "average")), drawn)
    fifo, _ = run(start(("cash", "fifo")), drawn)
    assert average.cash == fifo.cash
    with localcontext(money.EXACT):
        for currency in CURRENCIES:
            sums = {book.totals_of(currency).realized + unrealized(book, at, currency) for book in (average, fifo)}
            assert len(sums) == 1


@moderate
@given(sequences, kinds)
def test_the_lots_of_a_position_are_its_quantity_and_its_cost(
    drawn: list[tuple[Entry, dict[str, Price]]], kind: tuple[str, str]
) -> None:
    portfolio, records = run(start(kind), drawn)
    with localcontext(money.EXACT):
        for held in portfolio.positions.values():
            if kind[1] == "fifo":
                assert sum(lot.quantity for lot in held.lots) == abs(held.quantity)
                assert sum(lot.cost for lot in held.lots) == held.cost
                assert all(lot.quantity > 0 and lot.cost >= 0 for lot in held.lots)
            else:
                assert held.lots == ()
    assert [record.sequence for record in records] == list(range(1, len(records) + 1))


@moderate
@given(sequences, kinds)
def test_the_stored_records_booked_again_without_any_rates_give_the_stored_book(
    drawn: list[tuple[Entry, dict[str, Price]]], kind: tuple[str, str]
) -> None:
    after, records = run(start(kind), drawn)
    again = books.decode(books.encode(start(kind)))
    for record in records:
        stored = books.decode_transaction(books.encode_transaction(record))
        assert stored == record
        again, _ = books.apply(again, [books.repeatable(stored)], INSTRUMENTS, NOW)
    assert books.encode(again) == books.encode(after)
    assert books.decode(books.encode(after)) == after


@moderate
@given(sequences, kinds, st.sampled_from([("2", "1"), ("4", "1"), ("8", "1")]), quotes, pairs())
def test_a_split_keeps_cost_value_and_the_day(
    drawn: list[tuple[Entry, dict[str, Price]]],
    kind: tuple[str, str],
    ratio: tuple[str, str],
    at: dict[str, Decimal],
    now: dict[str, Price],
) -> None:
    before, _ = run(start(kind), drawn)
    before = books.close_day(before, "2026-02-25", at, NOW) if len(drawn) % 2 else before
    assume("SAP" in before.positions)
    entry = Entry("s", "SPLIT", NOW + 1, instrument_id="SAP", ratio=(Decimal(ratio[0]), Decimal(ratio[1])))
    after, _ = books.apply(before, [entry], INSTRUMENTS, NOW)
    one, two = (state(book, lasts(at) | now, instruments=INSTRUMENTS) for book in (before, after))
    assert before.positions["SAP"].cost == after.positions["SAP"].cost
    assert (one.total_value, one.unrealized_pnl, one.daily_pnl) == (two.total_value, two.unrealized_pnl, two.daily_pnl)
    assert two.calc_status == "degraded"


@moderate
@given(sequences, trades(("AAPL",)), trades(("SAP",)), pairs(), kinds)
def test_two_fills_of_different_symbols_commute_where_both_orders_are_accepted(  # definitions 10
    drawn: list[tuple[Entry, dict[str, Price]]], one: Entry, other: Entry, at: dict[str, Price], kind: tuple[str, str]
) -> None:
    before, _ = run(start(kind), drawn)
    forth, first = run(before, [(one, at), (other, at)])
    back, second = run(before, [(other, at), (one, at)])
    if len(first) == len(second) == 2:
        assert forth == back


@moderate
@given(sequences, quotes, pairs(), kinds)
def test_parts_sum_to_the_total_and_weights_to_one_and_no_float_is_on_the_wire(  # G5, G12
    drawn: list[tuple[Entry, dict[str, Price]]], at: dict[str, Decimal], now: dict[str, Price], kind: tuple[str, str]
) -> None:
    portfolio, _ = run(start(kind), drawn)
    figures = state(portfolio, lasts(at) | now, instruments=INSTRUMENTS)
    name = "market_value" if kind[0] == "cash" else "unrealized_pnl"
    parts = [getattr(item, name) for item in figures.positions if item.position_type != "CASH"]
    worths = [item.market_value for item in figures.positions if item.position_type == "CASH"]
    assert abs(sum(parts + worths) - figures.total_value) <= HALF_CENT * (len(parts + worths) + 1)
    if figures.weights is not None:
        assert kind[0] == "cash"
        assert abs(sum(figures.weights.values()) - 1) <= HALF_WEIGHT * len(figures.weights)
    for text in literals(encode_state(figures)):
        assert text.removeprefix("-").replace(".", "", 1).isdigit(), text


@moderate
@given(sequences, quotes, quotes, pairs())
def test_the_days_profit_is_what_the_value_gained_but_for_what_was_spent(  # definitions 18
    drawn: list[tuple[Entry, dict[str, Price]]],
    closes: dict[str, Decimal],
    at: dict[str, Decimal],
    now: dict[str, Price],
) -> None:
    half = len(drawn) // 2
    before, _ = run(start(("cash", "average")), drawn[:half])
    before = books.close_day(before, "2026-02-25", closes, NOW)
    trades = [item for item in drawn[half:] if item[0].transaction_type in {"BUY", "SELL", "ADJUSTMENT"}]
    after, records = run(before, trades)
    with localcontext(money.EXACT):
        for currency in CURRENCIES:
            spent = sum(
                (
                    record.entry.quantity * record.entry.price * INSTRUMENTS[record.entry.instrument_id].multiplier
                    for record in records
                    if record.entry.quantity and INSTRUMENTS[record.entry.instrument_id].currency == currency
                ),
                Decimal(0),
            )
            gained = market_value(after, at, currency) - market_value(before, closes, currency) - spent
            results = [
                daily.result(held, at[symbol], None)
                for symbol, held in after.positions.items()
                if held.currency == currency
            ]
            results += [daily.closed_result(item) for item in after.closed_today.values() if item.currency == currency]
            assert sum(results) == gained
    assert valued(after, lasts(at) | now, instruments=INSTRUMENTS).state.daily_pnl is not None


@moderate
@given(sequences, kinds)
def test_changes_of_cash_in_the_records_add_up(
    drawn: list[tuple[Entry, dict[str, Price]]], kind: tuple[str, str]
) -> None:
    portfolio, records = run(start(kind), drawn)
    with localcontext(money.EXACT):
        for currency, amount in portfolio.cash.items():
            assert sum((item.cash_changes.get(currency, Decimal(0)) for item in records), Decimal(0)) == amount
        assert sum((item.realized_pnl for item in records), Decimal(0)) == portfolio.realized_pnl
    assert replace(portfolio, needs_review=True).needs_review
