"""Margin states: levels and their hysteresis, one event a breach, and figures that are not to be trusted."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from foliostream.domain import margin_states
from foliostream.domain.margin import Margin, State
from foliostream.domain.margin_states import (
    MAX_UNSENT,
    MarginEvent,
    MarginStatus,
    Thresholds,
    judge,
    limits_of,
    thresholds,
)
from foliostream.domain.state import CalcStatus
from foliostream.errors import CallerError
from tests.unit.domain.accounts import account, at_level, figures, line

D = Decimal
UNKNOWN_AFTER_MS = 60_000
MISSING = figures("1000", line("1", "100", None, "101"))
FLAT_AND_BROKE = figures("-5")
FLAT = figures("5")


class Account:
    """A margin account seen again and again, a second and a thousand versions apart."""

    def __init__(self, limits: Thresholds | None = None) -> None:
        self.limits = limits or Thresholds()
        self.status = MarginStatus()
        self.version = 1000
        self.now_ms = 0
        self.raised: list[str] = []

    def sees(self, found: Margin | str, calc_status: CalcStatus = "ok", after_ms: int = 1000) -> list[str]:
        """The ids of the events it raises then."""
        self.now_ms += after_ms
        self.version += 1000
        shown = at_level(found) if isinstance(found, str) else found
        self.status, events = judge(
            self.status, shown, calc_status, self.version, self.now_ms, self.limits, UNKNOWN_AFTER_MS
        )
        ids = [event.event_id("demo:1") for event in events]
        self.raised += ids
        return ids

    def states(self, *levels: str) -> list[State]:
        found = []
        for level in levels:
            self.sees(level)
            found.append(self.status.state)
        return found


def test_a_level_is_entered_at_its_threshold() -> None:
    levels = ("120.01", "120", "100.01", "100", "50.01", "50", "-10")
    assert Account().states(*levels) == ["ok", "warning", "warning", "call", "call", "stop_out", "stop_out"]


def test_a_level_is_left_above_its_threshold_and_five() -> None:
    levels = ("50", "55", "55.01", "105", "105.01", "125", "125.01")
    assert Account().states(*levels) == ["stop_out", "stop_out", "call", "call", "warning", "warning", "ok"]


def test_a_level_that_trembles_within_the_hysteresis_makes_one_breach() -> None:
    account = Account()
    account.states("130", "100", "101", "99", "104.99", "100", "50", "54", "49", "55")
    assert account.raised == ["margin_call:demo:1:3000", "stop_out:demo:1:8000"]


def test_a_fall_through_all_levels_at_once_is_a_call_and_a_stop_out() -> None:
    account = Account()
    account.sees("200")
    assert account.sees("10") == ["margin_call:demo:1:3000", "stop_out:demo:1:3000"]
    assert account.sees("200") == ["margin_restored:demo:1:3000"]


def test_a_second_stop_out_of_the_same_call_is_a_breach_of_its_own() -> None:
    account = Account()
    account.states("100", "50", "60", "50", "106")
    assert account.raised == [
        "margin_call:demo:1:2000",
        "stop_out:demo:1:3000",
        "stop_out:demo:1:5000",
        "margin_restored:demo:1:2000",
    ]


def test_an_account_is_unknown_until_a_snapshot_is_ok() -> None:
    account = Account()
    assert account.status.state == "unknown"
    account.sees("10", "degraded")
    assert account.status.state == "unknown"
    assert account.sees("10") != []
    assert account.status.state == "stop_out"


def test_a_flat_account_is_ok_and_restored_only_with_equity() -> None:
    account = Account()
    account.sees("40")
    assert account.sees(FLAT) == ["margin_restored:demo:1:2000"]
    account.sees("40")
    assert account.sees(FLAT_AND_BROKE) == []
    assert account.status == MarginStatus(state="ok", unsent=account.status.unsent)


# --- figures that are not to be trusted -------------------------------------------------------------------------------


@pytest.mark.parametrize("calc_status", ["degraded", "unpriced"])
@pytest.mark.parametrize("level", ["10", "99", "500"])
def test_a_snapshot_that_is_not_ok_changes_no_state(calc_status: CalcStatus, level: str) -> None:
    account = Account()
    account.sees("110")
    assert account.sees(level, calc_status) == []
    assert account.status.state == "warning"


def test_margin_that_is_unknown_changes_no_state() -> None:
    account = Account()
    account.sees("99")
    assert account.sees(MISSING) == []
    assert account.status.state == "call"


def test_a_call_that_is_blind_for_long_is_alarmed_once() -> None:
    account = Account()
    account.sees("99")
    assert account.sees("99", "degraded") == []
    assert account.sees("99", "degraded", UNKNOWN_AFTER_MS - 1) == []
    assert account.sees(MISSING, "unpriced", 1) == ["margin_unknown:demo:1:3000"]
    assert account.sees("99", "degraded", UNKNOWN_AFTER_MS) == []
    assert account.sees("99") == []  # the call goes on: it was raised
    assert account.sees("99", "degraded") == []
    assert account.sees("99", "degraded", UNKNOWN_AFTER_MS) == ["margin_unknown:demo:1:8000"]


@pytest.mark.parametrize("level", ["110", "500"])
def test_an_account_that_was_well_is_not_alarmed(level: str) -> None:
    account = Account()
    account.sees(level)
    account.sees(level, "degraded")
    assert account.sees(level, "degraded", 10 * UNKNOWN_AFTER_MS) == []


def test_a_snapshot_that_is_ok_in_between_begins_the_time_anew() -> None:
    account = Account()
    account.sees("99")
    account.sees("99", "degraded")
    account.sees("99", after_ms=UNKNOWN_AFTER_MS // 2)
    account.sees("99", "degraded")
    assert account.sees("99", "degraded", UNKNOWN_AFTER_MS - 1) == []


# --- events are never lost and never doubled --------------------------------------------------------------------------


def test_the_same_snapshot_judged_again_raises_the_same_ids() -> None:
    before = MarginStatus(state="ok")
    first, second = (judge(before, at_level("40"), "ok", 77, 9, Thresholds(), 1) for _ in range(2))
    assert first == second
    assert [event.event_id("demo:1") for event in first[1]] == ["margin_call:demo:1:77", "stop_out:demo:1:77"]


def test_events_stay_in_the_status_until_they_are_confirmed() -> None:
    """Whoever dies after writing a snapshot leaves its events to the next."""
    account = Account()
    account.sees("99")
    account.sees("98")
    account.sees("40")
    waiting = account.status.unsent
    assert [event.kind for event in waiting] == ["margin_call", "stop_out"]
    account.status = margin_states.confirmed(account.status, waiting[:1])
    assert account.status.unsent == waiting[1:]
    account.sees("500", "degraded")
    assert account.status.unsent == waiting[1:]


def test_nothing_changes_while_too_many_events_wait() -> None:
    account = Account()
    for _ in range(MAX_UNSENT):
        account.states("40", "500")
    assert MAX_UNSENT - 2 < len(account.status.unsent) <= MAX_UNSENT
    full = account.status
    assert account.sees("40" if full.state == "ok" else "500") == []
    assert account.status == full
    account.status = margin_states.confirmed(full, full.unsent)
    assert account.sees("40" if full.state == "ok" else "500") != []


def test_a_status_survives_its_storage() -> None:
    account = Account()
    account.states("130", "45")
    account.sees("45", "degraded")
    for raw, decode in (
        (msgspec.json.encode(account.status), msgspec.json.Decoder(MarginStatus).decode),
        (msgspec.msgpack.encode(account.status), msgspec.msgpack.Decoder(MarginStatus).decode),
    ):
        assert decode(raw) == account.status


def test_an_event_goes_out_with_its_figures_rounded() -> None:
    event = MarginEvent("margin_call", 1000, 0, D("49.999"), D("100") / 3, D("149.997"))
    assert margin_states.detail(event, "demo:1", "1", "USD", Thresholds()) == {
        "event_id": "margin_call:demo:1:1000",
        "timestamp": "1970-01-01T00:00:00.000Z",
        "portfolio_id": "1",
        "base_currency": "USD",
        "equity": D("50.00"),
        "used": D("33.33"),
        "level_percent": D("150.00"),
        "margin_call_percent": 100,
        "stop_out_percent": 50,
    }
    blind = margin_states.detail(MarginEvent("margin_unknown", 1, 0), "demo:1", "1", "USD", Thresholds())
    assert (blind["equity"], blind["used"], blind["level_percent"]) == (None, None, None)


# --- thresholds -------------------------------------------------------------------------------------------------------


def test_a_portfolio_has_its_own_thresholds() -> None:
    limits = thresholds(D(140), D(80))
    assert limits == Thresholds(D(160), D(140), D(80))
    levels = ("161", "160", "140", "80", "85", "86", "146", "166")
    expected = ["ok", "warning", "call", "stop_out", "stop_out", "call", "warning", "ok"]
    assert Account(limits).states(*levels) == expected


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, ("100", "50")),
        ({"margin_call_percent": D(140)}, ("140", "50")),
        ({"stop_out_percent": D(70)}, ("100", "70")),
        ({"margin_call_percent": D(60), "stop_out_percent": D(30)}, ("60", "30")),
        ({"margin_call_percent": D(40)}, ("40", "40")),
        ({"stop_out_percent": D(110)}, ("100", "100")),
    ],
)
def test_what_a_portfolio_does_not_set_comes_from_its_account_type(
    own: dict[str, Decimal], expected: tuple[str, str]
) -> None:
    call, stop_out = map(D, expected)
    assert limits_of(account("0", **own), Thresholds()) == Thresholds(call + 20, call, stop_out)


@pytest.mark.parametrize(
    ("call", "stop_out"),
    [("100", "100"), ("50", "100"), ("100", "0"), ("1001", "50"), ("100", "-1"), ("NaN", "50"), ("100.001", "50")],
)
def test_thresholds_that_make_no_sense_are_refused(call: str, stop_out: str) -> None:
    with pytest.raises(CallerError):
        thresholds(D(call), D(stop_out))
