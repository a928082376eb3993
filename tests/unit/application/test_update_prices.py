"""Prices in: what is stored, who is marked, in which window. Queues and stores are fakes."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec
import pytest

from foliostream.application import price_input
from foliostream.application.receiving import Received
from foliostream.domain.price import PriceUpdate
from foliostream.errors import CallerError, RetryableError
from tests.fakes.hot_store import FakeHotStore
from tests.unit.application.system import System, price
from tests.unit.domain.examples import NOW


class SlowStore(FakeHotStore):
    """Takes a second to acknowledge a price."""

    def put(self, updates: Sequence[PriceUpdate]) -> list[bool]:
        taken = super().put(updates)
        self._clock.advance(1000)  # type: ignore[attr-defined]
        return taken


@pytest.fixture
def system() -> System:
    system = System()
    system.open("one", "AAPL")
    system.open("two", "MSFT")
    return system


def test_a_taken_price_is_stored_and_marks_its_holders_only(system: System) -> None:
    report = system.prices(price("AAPL", "150"))
    assert (report.accepted, report.rejected, report.portfolios_marked, report.bundles_sent) == (1, [], 1, 1)
    assert system.hot.prices["AAPL"].last == 150
    assert system.dirty() == ["live:one"]


def test_a_bad_update_refuses_itself_and_never_the_good_ones(system: System) -> None:
    report = system.prices(
        price("AAPL", "NaN"),
        price("NOPE", "1"),
        PriceUpdate("MSFT", NOW, bid=Decimal(2), ask=Decimal(1)),
        price("AAPL", "150"),
        price("AAPL", "149", ts_ms=NOW - 1),
    )
    assert report.accepted == 1
    assert [(item.symbol, item.code) for item in report.rejected] == [
        ("AAPL", "INVALID"),
        ("NOPE", "UNKNOWN_SYMBOL"),
        ("MSFT", "CROSSED"),
        ("AAPL", "STALE"),
    ]
    assert system.dirty() == ["live:one"]


def test_nothing_valid_is_nothing_done(system: System) -> None:
    report = system.prices(price("NOPE", "1"))
    assert (report.accepted, len(report.rejected), report.bundles_sent) == (0, 1, 0)
    assert system.prices().accepted == 0


def test_a_symbol_nobody_holds_is_stored_and_marks_nobody(system: System) -> None:
    report = system.prices(price("GOOGL", "150"))
    assert (report.accepted, report.portfolios_marked, report.bundles_sent) == (1, 0, 0)
    assert system.hot.prices["GOOGL"].last == 150


def test_an_older_price_changes_nothing_and_marks_nobody(system: System) -> None:
    system.prices(price("AAPL", "150"))
    system.dirty()
    system.clock.advance(1000)
    report = system.prices(price("AAPL", "149", ts_ms=NOW - 1))
    assert [item.code for item in report.rejected] == ["STALE"]
    assert system.hot.prices["AAPL"].last == 150
    assert system.dirty() == []


def test_the_same_price_again_marks_again(system: System) -> None:  # G1
    system.prices(price("AAPL", "150"))
    system.dirty()
    system.clock.advance(1000)  # another window, so that the queue does not take it for a duplicate
    assert system.prices(price("AAPL", "150")).accepted == 1
    assert system.dirty() == ["live:one"]


def test_a_failing_queue_fails_the_call_and_its_repetition_marks(system: System) -> None:  # G1
    system.queues.failing = 1
    with pytest.raises(RetryableError):
        system.prices(price("AAPL", "150"))
    assert system.dirty() == []
    assert [record.message.keys for record in system.hot.records.values()] == [["live:one"]], "recorded before sent"
    system.prices(price("AAPL", "150"))
    assert system.dirty() == ["live:one"]


def test_the_window_is_read_after_the_store_acknowledged_the_price() -> None:  # G1
    system = System(hot=SlowStore)
    system.open("one", "AAPL")
    system.queues.receive("live")
    before = system.clock.now_ms()
    system.tick("AAPL", "150")
    (bundle,) = system.queues.receive("live")
    # A window of before the acknowledgement may have been worked off, without this price, when the mark arrives.
    assert bundle.message.window_end_ms > before + 1000
    assert bundle.message.window == system.clock.now_ms() // 200


def test_every_account_type_is_marked_in_its_own_queue_and_window(system: System) -> None:
    system.open("three", "AAPL", account_type="demo")
    system.open("four", "AAPL", account_type="paper")
    system.clock.time_ms = NOW + 60_123
    report = system.tick("AAPL", "150")
    assert (report.portfolios_marked, report.bundles_sent) == (3, 3)
    sent = {queue: system.queues.receive(queue) for queue in ("live", "demo", "paper")}
    assert {queue: bundle.message.keys for queue, (bundle,) in sent.items()} == {
        "live": ["live:one"],
        "demo": ["demo:three"],
        "paper": ["paper:four"],
    }
    assert [bundle.message.window_end_ms - NOW for (bundle,) in sent.values()] == [60_200, 61_000, 63_000]


def test_a_storm_within_a_window_is_one_mark(system: System) -> None:  # G2
    system.clock.time_ms = NOW + 1000
    for number in range(100):
        system.tick("AAPL", f"{100 + number}")
        system.clock.advance(1)
    assert len(system.queues.receive("live")) == 1
    system.clock.advance(200)
    system.tick("AAPL", "99")
    assert len(system.queues.receive("live")) == 1


def test_a_portfolio_of_several_ticking_symbols_is_marked_once() -> None:
    system = System()
    system.open("one", "AAPL", "MSFT", "GOOGL")
    report = system.prices(price("AAPL", "1"), price("MSFT", "1"), price("GOOGL", "1"))
    assert report.portfolios_marked == 1
    (bundle,) = system.queues.receive("live")
    assert bundle.message.symbols == ["AAPL", "GOOGL", "MSFT"]


# --- parsing ---------------------------------------------------------------------------------------------------------


def test_updates_of_a_body_are_read_exactly_and_judged_one_by_one() -> None:
    parsed = price_input.from_body(
        b'{"updates": [{"symbol": "AAPL", "last": 150.10, "ts": 1772101800000, "seq": 3, "open": "149.5"},'
        b'{"symbol": "aapl", "last": 1, "ts": 1}, {"symbol": "MSFT", "last": "x", "ts": 1}, {"symbol": "MSFT"}, 7,'
        b'{"symbol": "GOOGL", "bid": 1, "ask": 2, "ts": "2026-02-26T10:30:00Z"},'
        b'{"symbol": "GOOGL", "last": 1, "ts": "2026-02-26T10:30:00"},'
        b'{"symbol": "GOOGL", "last": 1, "ts": 1, "seq": -1}]}'
    )
    assert parsed.updates == [
        PriceUpdate("AAPL", NOW, 3, last=Decimal("150.10"), open=Decimal("149.5")),
        PriceUpdate("GOOGL", NOW, bid=Decimal(1), ask=Decimal(2)),
    ]
    assert [(item.symbol, item.code) for item in parsed.refused] == [
        ("aapl", "INVALID"),
        ("MSFT", "INVALID"),
        ("MSFT", "INVALID"),
        ("?", "INVALID"),
        ("GOOGL", "INVALID"),
        ("GOOGL", "INVALID"),
    ]


def test_a_thousand_updates_are_read_and_one_more_is_refused_with_the_limit() -> None:
    item = {"symbol": "AAPL", "last": 1, "ts": 1}
    assert len(price_input.from_body(msgspec.json.encode({"updates": [item] * 1000})).updates) == 1000
    with pytest.raises(CallerError) as refused:
        price_input.from_body(msgspec.json.encode({"updates": [item] * 2000}))
    assert refused.value.code == "TOO_MANY_UPDATES"
    assert refused.value.details == [{"limit": 1000, "value": 2000}]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", "INVALID_JSON"),
        ("{", "INVALID_JSON"),
        (b"\xff", "INVALID_JSON"),
        ("\ud800", "INVALID_JSON"),
        ('{"updates": [' + "[" * 100_000 + "]" * 100_000 + "]}", "INVALID_JSON"),
        ("[]", "INVALID"),
        ("{}", "INVALID"),
        ('{"updates": 5}', "INVALID"),
    ],
)
def test_what_is_no_body_is_the_callers_fault(body: str | bytes, code: str) -> None:
    with pytest.raises(CallerError) as refused:
        price_input.from_body(body)
    assert refused.value.code == code


def test_a_broken_message_is_named_and_the_others_are_read() -> None:
    good = '{"detail": {"updates": [{"symbol": "AAPL", "last": 1, "ts": 1}, {"symbol": "AAPL"}]}}'
    nested = '{"detail": {"updates": ' + "[" * 100_000 + "]" * 100_000 + "}}"
    parsed, broken = price_input.from_messages(
        [Received("a", "{}", 1), Received("b", good, 1), Received("c", "no", 1), Received("d", nested, 1)]
    )
    assert broken == ["a", "c", "d"]
    assert [update.symbol for update in parsed.updates] == ["AAPL"]
    assert [item.code for item in parsed.refused] == ["INVALID"]
