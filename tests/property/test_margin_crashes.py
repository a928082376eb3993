"""Functions that die and messages that come twice: no event is lost or doubled, no position is closed twice."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from foliostream.domain import liquidation, margin
from foliostream.domain.instrument import Instrument
from foliostream.domain.liquidation import Account, Plan
from foliostream.domain.margin_states import MarginStatus, Thresholds, confirmed, judge
from foliostream.domain.portfolio import Entry, Portfolio
from tests.property.strategies import decimals, moderate
from tests.unit.domain.accounts import account, at_level, cfd, held, market, quote
from tests.unit.domain.examples import NOW, booked, trade

D = Decimal
LIMITS = Thresholds()
levels = st.one_of(decimals("-20", "300", 2), st.sampled_from([D(x) for x in (50, 55, 100, 105)]))
# Where the function dies: after its write, after publishing, or not at all.
deaths = st.sampled_from(["write", "publish", None, None])


@moderate
@given(st.lists(st.tuples(levels, st.booleans(), deaths), max_size=40))
def test_what_was_decided_is_published_whatever_dies(steps: list[tuple[Decimal, bool, str | None]]) -> None:
    """Each step is one snapshot; a publisher that dies leaves its events to the next."""
    status, decided, published = MarginStatus(), list[str](), list[str]()
    for number, (level, trusted, death) in enumerate([*steps, (D(300), True, None), (D(300), True, None)]):
        calc_status = "ok" if trusted else "degraded"
        status, events = judge(status, at_level(str(level)), calc_status, number + 1, number, LIMITS, 3)  # type: ignore[arg-type]
        decided += [event.event_id("demo:1") for event in events]
        if death == "write":
            continue
        published += [event.event_id("demo:1") for event in status.unsent]
        if death != "publish":
            status = confirmed(status, status.unsent)
    assert status.unsent == ()
    assert len(set(decided)) == len(decided)
    assert set(published) == set(decided)


# --- stop-outs -------------------------------------------------------------------------------------------------------

SYMBOLS = ("A", "B", "C")
REGISTRY: dict[str, Instrument] = {symbol: cfd(symbol, lot_step=D("0.5")) for symbol in SYMBOLS}
bids = st.tuples(*[decimals("60", "110", 1)] * 3)


def opened() -> Portfolio:
    """Losing at every price that is drawn, each position bought at 120 with a margin of a tenth."""
    positions = {symbol: held("4", "120", REGISTRY[symbol]) for symbol in SYMBOLS}
    return account("200", leverage=D(10), positions=positions)


def planned(book: Portfolio, bid: tuple[Decimal, ...], *, partial: bool) -> Plan | None:
    quotes = {symbol: quote(str(price), str(price)) for symbol, price in zip(SYMBOLS, bid, strict=True)}
    lines = margin.lines_of(book, market(quotes, *REGISTRY.values()))
    given_account = Account(book.key, book.version, book.cash["USD"], book.leverage, lines, partial=partial)
    return liquidation.plan(given_account, "ok", 1000, LIMITS)


def fills(plan: Plan) -> list[Entry]:
    return [
        trade(
            "BUY" if close.quantity > 0 else "SELL", str(abs(close.quantity)), str(close.price),
            instrument_id=close.symbol, transaction_id=close.fill_id, timestamp_ms=NOW,
        )
        for close in plan.closes
    ]  # fmt: skip


def nothing_twice(book: Portfolio) -> bool:
    return all(0 < position.quantity <= 4 for position in book.positions.values())


@moderate
@given(st.lists(st.tuples(bids, st.booleans(), st.booleans()), min_size=1, max_size=8), st.booleans())
def test_plans_booked_as_a_whole_on_their_book_never_close_a_position_twice(
    messages: list[tuple[tuple[Decimal, ...], bool, bool]], partial: bool
) -> None:
    """Each message reads the newest book or one from before, plans at the prices then, and books on the condition
    that the book is still that one."""
    books = [opened()]
    for bid, late, dies in messages:
        read = books[max(0, len(books) - 2)] if late else books[-1]
        plan = planned(read, bid, partial=partial)
        if plan is None or dies or read.version != books[-1].version:
            continue
        after = booked(books[-1], *fills(plan), instruments=REGISTRY)
        books.append(replace(after, version=books[-1].version + 1))
        assert nothing_twice(books[-1])
        assert planned(books[-1], bid, partial=partial) is None  # it did what it was made for


@moderate
@given(st.lists(bids, min_size=1, max_size=5), st.randoms(use_true_random=False), st.booleans())
def test_fills_of_one_plan_made_again_at_other_prices_close_no_position_twice(
    made: list[tuple[Decimal, ...]], random: object, partial: bool
) -> None:
    """From the same book, and their fills delivered one by one, mixed and repeated: an id counts once."""
    start = opened()
    plans = [plan for bid in made if (plan := planned(start, bid, partial=partial))]
    entries = [entry for plan in plans for entry in fills(plan)] * 2
    random.shuffle(entries)  # type: ignore[attr-defined]
    book, seen = start, set[str]()
    for entry in entries:
        if entry.transaction_id not in seen:
            seen.add(entry.transaction_id)
            book = booked(book, entry, instruments=REGISTRY)
    assert nothing_twice(book)
