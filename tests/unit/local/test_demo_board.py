"""The demo's bookkeeping, fed with the messages that the domain itself builds."""

from dataclasses import replace
from decimal import Decimal

import pytest

from foliostream.adapters.replay_quotes import ReplayQuotes
from foliostream.domain import messages, portfolio, valuation
from foliostream.domain.instrument import Instrument
from foliostream.domain.portfolio import Entry, Portfolio, TransactionType
from foliostream.domain.price import Price
from foliostream_client.transport import Json, loads
from local.demo_accounts import ACCOUNTS, Account, Calendar
from local.demo_board import Board, Delay, differences, merged, mistakes, percentile, summary, totals_line

NOW_MS = 1_800_000_000_000
SAMPLE = ReplayQuotes()
INSTRUMENTS = {symbol: Instrument(symbol, "stock", "USD") for symbol in SAMPLE.symbols}
PAIR = next(account for account in ACCOUNTS if account.portfolio_id == "sample-pair")
FIRST = next(account for account in ACCOUNTS if account.portfolio_id == "sample-first")


class Server:
    """What price_update, recalculate and push would do for one account and one connection."""

    def __init__(self, account: Account) -> None:
        self._book = booked(account)
        self._sent: dict[str, str] = {}
        self.version = 0
        self.body = b""

    def tick(self, slot: int, now_ms: int) -> Json:
        """The message of one trading day: the snapshot first, then updates."""
        previous = self.version
        self.value(slot, now_ms)
        name = self._book.portfolio_id
        if not previous:
            first = messages.snapshot(name, self.version, self.body, now_ms)
            self._sent = first.parts
            return loads(first.encoded)
        update = messages.update(name, self.version, previous, self.body, self._sent)
        self._sent = update.parts
        return loads(messages.batched([update.encoded], now_ms)[0].encoded)

    def sell_all(self, symbol: str) -> None:
        """Close one position."""
        held = self._book.positions[symbol]
        entry = Entry("close", "SELL", NOW_MS, instrument_id=symbol, quantity=-held.quantity, price=Decimal(1))
        self._book, _ = portfolio.apply(self._book, [entry], INSTRUMENTS, NOW_MS)

    def value(self, slot: int, now_ms: int) -> None:
        """A new version of the state, told to nobody."""
        valued = valuation.value(
            self._book,
            prices(slot, now_ms),
            INSTRUMENTS,
            read_at_ms=now_ms,
            previous_version=self.version,
            stale_after_ms=900_000,
        )
        self.version, self.body = valued.state.version, valuation.encode_state(valued.state)


def quotes(slot: int, now_ms: int) -> list[dict[str, Json]]:
    """The day's quotes of the sample."""
    return [dict(quote) for quote in SAMPLE.quotes(slot, now_ms)]


def prices(slot: int, now_ms: int) -> dict[str, Price]:
    """The day's prices as they would be stored."""
    return {
        quote["symbol"]: Price(
            last=quote["last"], last_ts_ms=now_ms, open=quote["open"], previous_close=quote["previous_close"]
        )
        for quote in quotes(slot, now_ms)
    }


def booked(account: Account) -> Portfolio:
    """The account's book after its purchases."""
    empty = Portfolio(
        portfolio_id=account.portfolio_id,
        portfolio_name=account.name,
        owner="demo",
        account_type=account.account_type,
        account_kind="cash",
        base_currency="USD",
        cost_basis="average",
        created_at_ms=NOW_MS,
        updated_at_ms=NOW_MS,
        version=0,
        allow_short=account.allow_short,
        cash={"USD": Decimal(0)},
    )
    entries = [Entry("cash", "DEPOSIT", NOW_MS, amount=Decimal(account.cash))]
    for quote in quotes(0, NOW_MS):
        quantity = Decimal(account.holdings.get(quote["symbol"], 0))
        if quantity:
            kind: TransactionType = "BUY" if quantity > 0 else "SELL"
            entries.append(Entry(quote["symbol"], kind, NOW_MS, quote["symbol"], quantity, price=quote["last"]))
    return portfolio.apply(empty, entries, INSTRUMENTS, NOW_MS)[0]


@pytest.mark.parametrize("account", ACCOUNTS, ids=lambda account: account.portfolio_id)
def test_every_sample_account_can_afford_what_it_holds(account: Account) -> None:
    assert booked(account).cash["USD"] > 0


def test_updates_merged_one_after_the_other_make_the_state_the_server_has() -> None:
    server, board = Server(PAIR), Board.of([PAIR], NOW_MS)
    for slot in range(30):
        assert board.arrived(server.tick(slot, NOW_MS + slot * 1000), NOW_MS + slot * 1000 + 40) == []
        assert differences(board.rows["sample-pair"].state, loads(server.body)) == []
        assert mistakes(board.rows["sample-pair"].state) == []
    assert (board.valuations, board.pushes, len(board.ticks), board.faults) == (30, 30, 29, [])


def test_a_closed_position_leaves_the_screen() -> None:
    server, board = Server(FIRST), Board.of([FIRST], NOW_MS)
    board.arrived(server.tick(0, NOW_MS), NOW_MS)
    server.sell_all("KO")
    board.arrived(server.tick(1, NOW_MS + 1000), NOW_MS + 1040)
    state = board.rows["sample-first"].state
    assert [position["instrument_id"] for position in state["positions"]] == ["AAPL", "CASH:USD"]
    assert differences(state, loads(server.body)) == []


def test_the_delay_of_an_update_is_its_arrival_minus_the_time_of_its_newest_price() -> None:
    server, board = Server(FIRST), Board.of([FIRST], NOW_MS)
    board.arrived(server.tick(0, NOW_MS), NOW_MS + 9000)  # a snapshot says nothing about the way of a tick
    for slot, delay_ms in ((1, 40), (2, 300), (3, 90)):
        board.arrived(server.tick(slot, NOW_MS + slot * 1000), NOW_MS + slot * 1000 + delay_ms)
    assert board.delay() == board.delay("demo") == Delay(90, 300, 3)
    assert board.delay("live") is None


def test_an_update_without_a_newer_price_is_no_sample() -> None:
    server, board = Server(FIRST), Board.of([FIRST], NOW_MS)
    board.arrived(server.tick(0, NOW_MS), NOW_MS)
    update = server.tick(1, NOW_MS)
    board.arrived(update, NOW_MS + 70)
    assert board.rows["sample-first"].updates == 1
    assert board.delay() is None


def test_a_skipped_version_is_counted_and_asked_for_again() -> None:
    server, board = Server(FIRST), Board.of([FIRST], NOW_MS)
    board.arrived(server.tick(0, NOW_MS), NOW_MS)
    server.tick(1, NOW_MS + 1000)
    assert board.arrived(server.tick(2, NOW_MS + 2000), NOW_MS + 2040) == ["sample-first"]
    assert board.gaps == 1
    assert "while version" in board.faults[0]
    assert board.rows["sample-first"].updates == 0


def test_a_repeated_update_changes_nothing() -> None:
    server, board = Server(FIRST), Board.of([FIRST], NOW_MS)
    board.arrived(server.tick(0, NOW_MS), NOW_MS)
    update = server.tick(1, NOW_MS + 1000)
    board.arrived(update, NOW_MS + 1040)
    assert board.arrived(update, NOW_MS + 1090) == []
    assert (board.valuations, board.gaps, board.rows["sample-first"].updates) == (2, 0, 1)


def test_a_snapshot_after_a_reconnection_goes_on_without_a_gap() -> None:
    server, board = Server(FIRST), Board.of([FIRST], NOW_MS)
    board.arrived(server.tick(0, NOW_MS), NOW_MS)
    server.tick(1, NOW_MS + 1000)
    again = messages.snapshot("sample-first", server.version, server.body, NOW_MS + 1500)
    board.arrived(loads(again.encoded), NOW_MS + 1500)
    board.arrived(server.tick(2, NOW_MS + 2000), NOW_MS + 2040)
    assert (board.gaps, board.rows["sample-first"].version) == (0, server.version)


def test_what_did_not_arrive_is_named() -> None:
    server, board = Server(FIRST), Board.of([FIRST, PAIR], NOW_MS)
    assert board.missing()[-1] == "the WebSocket is not connected: it never was"
    board.opened()
    board.arrived(server.tick(0, NOW_MS), NOW_MS)
    board.lost("the WebSocket was closed: 1006")
    assert board.missing() == [
        "no tick arrived: the market feed sent nothing that reached a portfolio",
        "no snapshot of sample-pair arrived",
        "no update of sample-first arrived",
        "the WebSocket is not connected: the WebSocket was closed: 1006",
    ]


def test_an_error_message_is_a_fault() -> None:
    board = Board.of([FIRST], NOW_MS)
    board.arrived(
        loads(messages.message("error", NOW_MS, code="PORTFOLIO_NOT_FOUND", message="no portfolio x")), NOW_MS
    )
    assert board.faults == ["the server sent an error: PORTFOLIO_NOT_FOUND: no portfolio x"]


@pytest.mark.parametrize(
    ("field", "said"),
    [("total_value", "quantity x price make"), ("market_value", "the positions sum to"), ("weights", "weights sum to")],
)
def test_a_state_that_contradicts_itself_is_seen(field: str, said: str) -> None:
    server = Server(PAIR)
    state = loads(server.tick(0, NOW_MS) and server.body)
    if field == "total_value":
        state["total_value"] += Decimal("0.01")
    elif field == "market_value":
        state["positions"][0]["market_value"] += 1
    else:
        state["weights"]["GE"] += Decimal("0.001")
    assert [said in mistake for mistake in mistakes(state)] == [True]


def test_a_state_without_a_total_is_a_mistake() -> None:
    state = {"total_value": None, "calc_status": "unpriced", "unpriced": ["KO"]}
    assert mistakes(state) == ["it has no total: unpriced, without a price: KO"]


def test_a_difference_names_the_part_but_not_what_the_clock_derives() -> None:
    server = Server(PAIR)
    shown = loads(server.tick(0, NOW_MS) and server.body)
    fetched = loads(server.body) | {"calc_status": "degraded", "stale": ["GE"], "cash_balance": Decimal(1)}
    fetched["positions"][0] |= {"mark": Decimal(2)}
    assert [text.split(" on the screen")[0] for text in differences(shown, fetched)] == ["cash_balance", "position GE"]


def test_merging_leaves_the_earlier_state_as_it_was() -> None:
    server = Server(PAIR)
    before = server.tick(0, NOW_MS)["data"]
    copy = loads(server.body)
    merged(before, server.version + 1, {"total_value": Decimal(1), "positions_removed": ["GE"]})
    assert before == copy


def test_percentiles_are_of_the_nearest_rank() -> None:
    assert [percentile([1, 2, 3, 4], p) for p in (1, 50, 75, 95)] == [1, 2, 3, 4]
    assert percentile(list(range(1, 101)), 95) == 95


def test_the_rate_counts_the_last_ten_seconds() -> None:
    server, board = Server(FIRST), Board.of([FIRST], NOW_MS)
    for slot in range(31):
        board.arrived(server.tick(slot, NOW_MS + slot * 1000), NOW_MS + slot * 1000)
    assert board.rows["sample-first"].rate(NOW_MS + 30_000) == 1.0
    assert board.rows["sample-first"].rate(NOW_MS + 45_000) == 0.0


def test_the_calendar_tells_the_day_from_the_prices_alone() -> None:
    server = Server(PAIR)
    state = loads(server.tick(51, NOW_MS) and server.body)
    assert Calendar(SAMPLE).day_of(state["positions"]) == SAMPLE.day(51)
    for position in state["positions"]:
        position["mark"] = Decimal("0.5")
    assert Calendar(SAMPLE).day_of(state["positions"]) is None


def test_the_summary_has_every_account_every_type_and_one_line_of_totals() -> None:
    server, board = Server(FIRST), Board.of([FIRST, replace(PAIR)], NOW_MS)
    board.arrived(server.tick(0, NOW_MS), NOW_MS)
    board.arrived(server.tick(1, NOW_MS + 1000), NOW_MS + 1234)
    lines = list(summary(board))
    assert "First steps" in lines[0]
    assert "no total" in lines[1]
    assert lines[3].split() == ["tick-to-screen", "demo", "p50", "234", "ms", "p95", "234", "ms"]
    assert totals_line(board) == "1 ticks, 2 valuations, 2 pushes, tick-to-screen p50 234 ms p95 234 ms"


def test_a_margin_event_is_told_once_however_often_it_comes() -> None:
    board = Board.of([FIRST], NOW_MS)
    called = {"type": "margin_call", "event_id": "e1", "portfolio_id": "sample-leveraged", "level_percent": 99}
    restored = called | {"type": "margin_restored", "event_id": "e2", "level_percent": None}
    for message in (called, called, restored):
        assert board.arrived(message, NOW_MS) == []
    assert board.told == ["margin_call", "margin_restored"]
    assert board.margin == "sample-leveraged: margin restored"
