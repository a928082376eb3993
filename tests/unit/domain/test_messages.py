"""What a client is sent, and that it can rebuild the newest state from it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from foliostream.domain import messages
from foliostream.domain.portfolio import Portfolio
from foliostream.domain.price import Price
from foliostream.domain.valuation import encode_state
from tests.unit.domain.examples import NOW, booked, buy, funded, last, position, sell, state, stock
from tests.unit.domain.watcher import Watcher, decoded

# What API Gateway carries in one frame.
FRAME = 32_768
BOTH = booked(funded("100000"), buy("100", "150"), buy("10", "900", instrument_id="MSFT"))


def body(portfolio: Portfolio, prices: dict[str, Price], at_ms: int = NOW, **others: Any) -> bytes:  # noqa: ANN401
    return encode_state(state(portfolio, prices, read_at_ms=at_ms, **others))


def wide(count: int) -> tuple[Portfolio, dict[str, Price]]:
    """A portfolio of ``count`` symbols as long as symbols get, all priced."""
    names = [f"{number:032d}" for number in range(count)]
    one = position(booked(funded("1"), buy("1", "1")))
    portfolio = msgspec.structs.replace(funded("1000000"), positions=dict.fromkeys(names, one))
    return portfolio, {name: last("1.5", open="1") for name in names}


def test_a_message_says_what_it_is_and_when() -> None:
    assert messages.message("pong", NOW, server_time="x", request_id=None) == (
        b'{"type":"pong","timestamp":"2026-02-26T10:30:00.000Z","server_time":"x"}'
    )


def test_amounts_in_messages_are_exact_literals() -> None:
    assert messages.encode({"a": Decimal("75125.00"), "b": Decimal(500)}) == b'{"a":75125.00,"b":500}'


def test_a_snapshot_carries_the_state_as_it_is() -> None:
    whole = body(BOTH, {"AAPL": last("160"), "MSFT": last("910")})
    first = messages.snapshot("12345", 17, whole, NOW)
    assert first.encoded == (
        b'{"type":"snapshot","timestamp":"2026-02-26T10:30:00.000Z","portfolio_id":"12345","version":17,"data":'
        + whole
        + b"}"
    )


def test_an_update_has_only_what_changed() -> None:
    before = body(BOTH, {"AAPL": last("160"), "MSFT": last("910")})
    after = body(BOTH, {"AAPL": last("160"), "MSFT": last("0")})
    first = messages.snapshot("12345", 17, before, NOW)
    change = decoded(messages.update("12345", 18, 17, after, first.parts).encoded)
    assert {name: change[name] for name in change if name != "data"} == {
        "portfolio_id": "12345",
        "version": 18,
        "previous_version": 17,
    }
    assert set(change["data"]) == {"total_value", "weights", "unrealized_pnl", "daily_pnl", "positions"}
    assert [item["instrument_id"] for item in change["data"]["positions"]] == ["AAPL", "MSFT", "CASH:USD"]


def test_a_position_that_did_not_change_is_not_sent() -> None:
    before = state(BOTH, {"AAPL": last("160"), "MSFT": last("910")})
    after = msgspec.structs.replace(before, positions=[*before.positions[:1], *before.positions[2:]])
    first = messages.snapshot("12345", 17, encode_state(before), NOW)
    change = decoded(messages.update("12345", 18, 17, encode_state(after), first.parts).encoded)
    assert change["data"] == {"positions_removed": ["MSFT"]}


def test_updates_in_order_lead_from_the_snapshot_to_the_newest_state() -> None:
    quotes = {"AAPL": last("160", open="155"), "MSFT": last("910")}
    history = [
        body(BOTH, quotes),
        body(BOTH, quotes | {"AAPL": last("161", open="155")}, NOW + 1000),
        body(booked(BOTH, sell("10", "900", instrument_id="MSFT")), quotes, NOW + 2000),
        body(booked(BOTH, buy("5", "10", instrument_id="TSLA")), quotes, NOW + 3000),
        body(booked(BOTH, buy("5", "10", instrument_id="TSLA")), quotes | {"TSLA": last("11")}, NOW + 4000),
    ]
    watcher = Watcher()
    for whole in history:
        watcher.sees(whole)
        assert watcher.state == decoded(whole)


def test_a_watcher_who_missed_versions_still_arrives_at_the_newest_state() -> None:
    quotes = {"AAPL": last("160"), "MSFT": last("910")}
    watcher = Watcher()
    watcher.sees(body(BOTH, quotes))
    newest = body(booked(BOTH, sell("10", "900", instrument_id="MSFT"), buy("1", "1", instrument_id="GOOGL")), quotes)
    watcher.sees(newest)
    assert watcher.state == decoded(newest)


@pytest.mark.parametrize("count", [60, 200, 1000])
@pytest.mark.parametrize("priced", [True, False])
def test_a_snapshot_too_large_for_a_frame_is_a_summary_that_fits(count: int, priced: bool) -> None:
    portfolio, quotes = wide(count)
    whole = body(portfolio, quotes if priced else {}, instruments={})
    assert len(whole) > FRAME
    sent = messages.snapshot("p" * 64, 2**53, whole, NOW).encoded
    assert len(sent) < FRAME
    data = decoded(sent)["data"]
    assert data["truncated"] is True
    assert data["positions_url"] == f"/api/v1/portfolio/{'p' * 64}/positions"
    assert "positions" not in data
    assert data["total_value"] == decoded(whole)["total_value"]
    assert data["calc_status"] == ("ok" if priced else "unpriced")


@pytest.mark.parametrize("held", [100, 1000])
def test_an_update_too_large_for_a_frame_is_a_summary_that_fits(held: int) -> None:
    portfolio, quotes = wide(held)
    first = messages.snapshot("12345", 1, body(portfolio, {}), NOW)
    after = body(portfolio, quotes, NOW + 1000)
    update = messages.update("12345", 2, 1, after, first.parts)
    ((sent, count),) = messages.batched([update.encoded], NOW)
    assert (len(sent) < FRAME, count) == (True, 1)
    data = decoded(sent)["updates"][0]["data"]
    assert data["truncated"] is True
    assert data["calc_status"] == "ok"


def test_few_changed_positions_with_very_many_weights_fit_into_a_frame_as_well() -> None:
    portfolio, quotes = wide(999)
    first = messages.snapshot("12345", 1, body(portfolio, quotes), NOW)
    moved = booked(portfolio, buy("1", "1", instrument_id="AAPL"))
    after = body(moved, quotes | {"AAPL": last("1")}, NOW + 1000)
    ((sent, _),) = messages.batched([messages.update("12345", 2, 1, after, first.parts).encoded], NOW)
    assert len(sent) < FRAME


def test_very_many_removed_positions_fit_into_a_frame_as_well() -> None:
    portfolio, quotes = wide(1000)
    first = messages.snapshot("12345", 1, body(portfolio, quotes), NOW)
    after = body(funded("5"), {}, NOW + 1000)
    ((sent, _),) = messages.batched([messages.update("12345", 2, 1, after, first.parts).encoded], NOW)
    assert len(sent) < FRAME
    assert decoded(sent)["updates"][0]["data"]["truncated"] is True


def test_after_a_summary_the_next_update_has_only_what_changed_since() -> None:
    portfolio, quotes = wide(200)
    whole = body(portfolio, quotes, instruments={"AAPL": stock()})
    first = messages.snapshot("12345", 1, whole, NOW)
    assert messages.update("12345", 2, 1, whole, first.parts).encoded == b"", "nothing is no message"


def test_a_subscription_gets_of_a_state_what_its_channels_name() -> None:
    portfolio, quotes = wide(3)
    whole = body(portfolio, quotes, instruments={"AAPL": stock()})
    assert messages.of_channels(whole, ("state", "positions", "fills")) is whole
    state = decoded(messages.of_channels(whole, ("state",)))
    assert state == {name: value for name, value in decoded(whole).items() if name != "positions"}
    positions = decoded(messages.of_channels(whole, ("positions", "margin")))
    assert positions["positions"] == decoded(whole)["positions"]
    assert not positions.keys() & {"total_value", "cash_balance", "weights"}
    assert {"calc_status", "stale", "unpriced"} <= positions.keys()


def test_an_update_without_positions_says_nothing_about_them() -> None:
    portfolio, quotes = wide(3)
    whole = body(portfolio, quotes, instruments={"AAPL": stock()})
    known = messages.digests(whole)
    state = messages.of_channels(whole, ("state",))
    assert messages.update("12345", 2, 1, state, known).encoded == b""


def test_updates_share_a_message_until_a_frame_is_full() -> None:
    small = [messages.encode({"portfolio_id": str(number), "data": "x" * 900}) for number in range(100)]
    batches = messages.batched(small, NOW)
    sent = [batch.encoded for batch in batches]
    assert 3 <= len(sent) <= 4
    assert max(map(len, sent)) < FRAME
    received = [update for one in sent for update in decoded(one)["updates"]]
    assert [update["portfolio_id"] for update in received] == [str(number) for number in range(100)]
    assert {decoded(one)["type"] for one in sent} == {"portfolio_update"}
    assert [batch.updates for batch in batches] == [len(decoded(one)["updates"]) for one in sent]


def test_no_updates_are_no_message() -> None:
    assert messages.batched([], NOW) == []
