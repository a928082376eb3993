"""What is seen of a watch, in a terminal and in a pipe."""

from __future__ import annotations

import io
import json
import sys

import msgspec
import pytest
from rich.console import Console

from foliostream_client import board
from foliostream_client.models import PortfolioState
from foliostream_client.output import Output
from foliostream_client.watching import Connected, Disconnected, Event, Happening, Problem, Resync, Snapshot, Update
from tests.unit.client.states import state

CALL = Happening("margin_call", "m1", "growth", "2026-02-26T10:30:00Z", {"level_percent": 95})


def of(**more: object) -> PortfolioState:
    return msgspec.convert(state(**more), PortfolioState)


def seen(*events: Event, width: int = 160) -> str:
    shown = board.Board()
    for event in events:
        shown.take(event)
    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(shown)
    return console.export_text()


def test_a_terminal_shows_the_newest_state_what_is_wrong_with_it_and_what_happened() -> None:
    newest = Update("growth", of(total_value=1200, stale=["AAPL"], calc_status="degraded"), frozenset(), frozenset())
    text = seen(Connected(), Snapshot("growth", of(total_value=1100)), newest, CALL)
    assert "1200" in text
    assert "1100" not in text
    assert "AAPL stale" in text
    assert "connected" in text
    assert "growth margin_call level_percent=95" in text


def test_a_narrow_terminal_shows_fewer_columns_and_every_amount_to_its_end() -> None:
    rich = of(total_value=1234567.89, daily_change=-1234.5, unrealized_pnl=9876543.21, as_of="2026-02-26T10:30:00.000Z")
    wide, narrow = (seen(Connected(), Snapshot("growth", rich), width=width) for width in (160, 66))
    assert "as of" in wide
    assert "as of" not in narrow
    assert "Growth" not in narrow
    for amount in ("1234567.89", "-1234.5", "9876543.21"):
        assert amount in narrow
    assert "…" not in seen(Connected(), Snapshot("growth", rich), width=30)


def test_a_terminal_says_that_it_is_cut_off_and_when_it_tries_again() -> None:
    assert "disconnected (gone), again in 2.5 s" in seen(Connected(), Disconnected("gone", 2.5))


@pytest.mark.parametrize(
    ("event", "out", "err"),
    [
        (Snapshot("growth", of(total_value=5, unpriced=["X"])), "growth\tGrowth\t5\tUSD\t\t\t\t\tX unpriced\t\n", ""),
        (Connected(), "", ""),
        (Disconnected("gone", 0.5), "", "disconnected: gone; again in 0.5 s\n"),
        (Resync("growth", "GAP"), "", "growth: from the beginning (GAP)\n"),
        (Problem("X", "no", retryable=False), "", "X: no\n"),
    ],
)
def test_a_pipe_has_a_line_a_state_and_nothing_else(
    event: Event, out: str, err: str, capsys: pytest.CaptureFixture[str]
) -> None:
    board.lines(event, Output())
    assert capsys.readouterr() == (out, err)


def test_programs_get_every_event_as_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    board.lines(Update("growth", of(), frozenset({"b", "a"}), frozenset()), Output(as_json=True))
    board.lines(CALL, Output(as_json=True))
    update, happening = map(json.loads, capsys.readouterr().out.splitlines())
    assert (update["event"], update["changed"], update["state"]["portfolio_name"]) == ("update", ["a", "b"], "Growth")
    assert (happening["event"], happening["kind"]) == ("happening", "margin_call")


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_table_with_names_that_are_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Screen())
    monkeypatch.setenv("COLUMNS", "100")
    Output().table(("name", "value"), [("[red]odd[/red]", 1)], "title")
    shown = sys.stdout.getvalue()
    assert "[red]odd[/red]" in shown
    assert "title" in shown
