"""Identities of the books under any trades, flips and fees: definitions 1, 2, 8 and 10. Margin accounts and several
currencies are not drawn."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal, localcontext

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from foliostream.domain import money
from foliostream.domain import portfolio as books
from foliostream.domain.portfolio import Entry, Portfolio
from foliostream.errors import RefusedError
from tests.property.strategies import (
    INSTRUMENTS,
    SYMBOLS,
    History,
    entries,
    histories,
    large,
    moderate,
    prices,
    replayed,
    run,
    trades,
)
from tests.unit.domain.examples import NOW, booked, deposit, empty

marks = st.fixed_dictionaries(dict.fromkeys(SYMBOLS, prices))


def unrealized(portfolio: Portfolio, at: dict[str, Decimal]) -> Decimal:
    """From quantity and cost alone, as the definition has it."""
    return sum(
        (
            held.quantity * at[symbol] * held.multiplier - (held.cost if held.quantity > 0 else -held.cost)
            for symbol, held in portfolio.positions.items()
        ),
        Decimal(0),
    )


def market_value(portfolio: Portfolio, at: dict[str, Decimal]) -> Decimal:
    return sum(
        (held.quantity * at[symbol] * held.multiplier for symbol, held in portfolio.positions.items()), Decimal(0)
    )


@moderate
@given(entries, marks, st.booleans())
def test_cash_and_market_value_equal_deposits_and_profit_less_fees_exactly_at_every_step(
    given_entries: list[Entry], at: dict[str, Decimal], allow_short: bool
) -> None:
    portfolio = booked(empty(allow_short=allow_short), deposit("20000"))
    for entry in given_entries:
        portfolio = run(portfolio, [entry]).after  # outside the exact context, which the books must enter themselves
        with localcontext(money.EXACT):
            left = portfolio.cash["USD"] + market_value(portfolio, at) - portfolio.net_deposits
            assert left == portfolio.realized_pnl + unrealized(portfolio, at) - portfolio.fees_total


@moderate
@given(
    st.lists(trades(quantities=large, prices=large), max_size=8), st.fixed_dictionaries(dict.fromkeys(SYMBOLS, large))
)
def test_the_identity_holds_for_the_largest_amounts_too(
    given_entries: list[Entry], at: dict[str, Decimal]
) -> None:  # G12
    history = run(empty(allow_short=True), given_entries)
    after = history.after
    with localcontext(money.EXACT):
        paid = sum(
            (
                -entry.quantity * entry.price * INSTRUMENTS[str(entry.instrument_id)].multiplier - entry.fee
                for entry in history.accepted
            ),
            Decimal(0),
        )
        assert after.cash["USD"] == paid
        left = paid + market_value(after, at)
        assert left == after.realized_pnl + unrealized(after, at) - after.fees_total


@moderate
@given(histories())
def test_what_is_held_is_what_was_bought_less_what_was_sold(history: History) -> None:
    for symbol in SYMBOLS:
        traded = sum((entry.quantity for entry in history.accepted if entry.instrument_id == symbol), Decimal(0))
        held = history.after.positions.get(symbol)
        assert traded == (held.quantity if held else 0)


@moderate
@given(histories())
def test_a_position_has_a_quantity_and_a_cost_that_is_never_negative(history: History) -> None:
    for held in history.after.positions.values():
        assert held.quantity
        assert held.cost >= 0
        assert held.fees >= 0
    assert history.after.fees_total == sum((entry.fee for entry in history.accepted), Decimal(0))


@moderate
@given(histories())
def test_the_fees_of_open_positions_are_part_of_all_fees(history: History) -> None:
    assert sum((held.fees for held in history.after.positions.values()), Decimal(0)) <= history.after.fees_total


@moderate
@given(histories())
def test_without_short_sales_nothing_is_ever_short_and_no_buy_makes_a_debt(history: History) -> None:
    if not history.start.allow_short:
        assert all(held.quantity > 0 for held in history.after.positions.values())
    if history.accepted and history.accepted[-1].transaction_type == "BUY":
        assert history.after.cash["USD"] >= 0


@moderate
@given(histories())
def test_booking_the_accepted_entries_in_one_update_gives_the_same_books(history: History) -> None:
    assert replace(replayed(history), version=0) == replace(history.after, version=0)


@moderate
@given(histories())
def test_the_stored_transactions_booked_again_give_the_stored_portfolio(history: History) -> None:
    _, records = books.apply(history.start, history.accepted, INSTRUMENTS, NOW)
    stored = [books.decode_transaction(books.encode_transaction(record)) for record in records]
    portfolio = books.decode(books.encode(history.start))
    again, _ = books.apply(portfolio, [record.entry for record in stored], INSTRUMENTS, NOW)
    assert books.encode(again) == books.encode(replayed(history))


@moderate
@given(histories())
def test_the_records_of_an_update_add_up_to_what_it_did(history: History) -> None:
    after, records = books.apply(history.start, history.accepted, INSTRUMENTS, NOW)
    with localcontext(money.EXACT):
        changed = sum((record.cash_change for record in records), Decimal(0))
        assert changed == after.cash["USD"] - history.start.cash["USD"]
        assert sum((record.realized_pnl for record in records), Decimal(0)) == after.realized_pnl


@moderate
@given(histories())
def test_a_book_comes_back_from_storage_as_it_was(history: History) -> None:
    assert books.decode(books.encode(history.after)) == history.after
    assert books.encode(books.decode(books.encode(history.after))) == books.encode(history.after)


@moderate
@given(histories(), trades(("AAPL",)), trades(("TSLA",)))
def test_trades_of_two_symbols_commute_where_both_orders_are_accepted(
    history: History, one: Entry, other: Entry
) -> None:
    try:
        first = booked(history.after, one, other, instruments=INSTRUMENTS)
        second = booked(history.after, other, one, instruments=INSTRUMENTS)
    except RefusedError:
        return
    assert first == second


@moderate
@given(histories(), st.lists(trades(), min_size=1, max_size=4))
def test_a_refusal_leaves_the_book_as_it_was(history: History, more: list[Entry]) -> None:
    before = books.encode(history.after)
    with suppress(RefusedError):
        books.apply(history.after, more, INSTRUMENTS, NOW)
    assert books.encode(history.after) == before
