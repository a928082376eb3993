"""What the demo's view shows, and that it fits."""

from dataclasses import replace
from decimal import Decimal
from io import StringIO

import pytest
from rich.console import Console

from local.demo_accounts import ACCOUNTS
from local.demo_board import Board
from local.demo_view import Place, line, sparkline, troubles, view
from tests.unit.local.test_demo_board import NOW_MS, Server

PLACE = Place(
    "http://127.0.0.1:34566/_aws/execute-api/abcdef01/live",
    "ws://127.0.0.1:34566/_aws/execute-api/0123abcd/live",
    ".local/auth-header",
    "http://127.0.0.1:41234/in/0123456789ab",
    stays_up=False,
)


def moving_board() -> Board:
    """Twelve accounts after five ticks, the last update 40 ms ago."""
    board = Board.of(ACCOUNTS, NOW_MS)
    board.opened()
    servers = [Server(account) for account in ACCOUNTS]
    for slot in range(6):
        for server in servers:
            board.arrived(server.tick(slot, NOW_MS + slot * 1000), NOW_MS + slot * 1000 + 250)
    return board


def screen(board: Board, width: int, now_ms: int = NOW_MS + 5290, place: Place = PLACE) -> list[str]:
    output = StringIO()
    console = Console(file=output, width=width, force_terminal=False, color_system=None)
    console.print(view(board, place, "2020-01-10", now_ms, width))
    return output.getvalue().splitlines()


@pytest.mark.parametrize("board", [moving_board(), Board.of(ACCOUNTS, NOW_MS)], ids=["moving", "empty"])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 28), (160, 40)])
def test_everything_fits_the_terminal(board: Board, width: int, height: int) -> None:
    lines = screen(board, width)
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    assert [account.name for account in ACCOUNTS if not any(account.name in text for text in lines)] == []
    assert any(f"{PLACE.rest_url}/api/v1/portfolios" in text for text in lines)


def test_the_footer_names_the_page_and_without_one_the_websocket() -> None:
    without = replace(PLACE, page_url=None)
    assert any(text == f" watch {PLACE.page_url}" for text in screen(moving_board(), 80))
    assert any(text == f" watch {PLACE.ws_url}" for text in screen(moving_board(), 80, place=without))


@pytest.mark.parametrize("width", [80, 120])
def test_a_row_has_total_change_percent_age_and_rate(width: int) -> None:
    board = moving_board()
    state = board.rows["sample-growth"].state
    (row,) = [text for text in screen(board, width) if text.startswith(" Growth")]
    for shown in (
        f"{state['total_value']:,.2f}",
        f"{state['daily_change']:+,.2f}",
        f"{state['daily_change_percent']:+.2f}",
        "0.0",
        "0.5",
    ):
        assert shown in row


def test_the_header_counts_what_came() -> None:
    lines = screen(moving_board(), 80)
    assert "5 live, 4 demo, 3 paper accounts" in lines[0]
    assert "2020-01-10" in lines[1]
    assert "5 ticks  72 valuations  72 pushes" in lines[2]
    assert "p50 250 p95 250 ms" in lines[2]


def test_a_lost_connection_and_a_silent_feed_are_said() -> None:
    board = moving_board()
    assert troubles(board, NOW_MS + 6000) == []
    assert troubles(board, NOW_MS + 20_000) == ["no tick for 15 s: the market feed is silent"]
    board.lost("the WebSocket was closed: 1006")
    assert "not connected: the WebSocket was closed: 1006" in screen(board, 80)[1]


def test_a_gap_stays_on_the_screen() -> None:
    board = moving_board()
    board.gaps, board.faults = 1, ["sample-growth: an update from version 3 to 4 came while ..."]
    assert "sample-growth: an update" in screen(board, 80)[1]
    assert "1 gaps" in screen(board, 80)[2]


def test_the_line_for_a_log_has_the_counts_and_the_first_trouble() -> None:
    text = line(moving_board(), "2020-01-10", NOW_MS + 20_000)
    assert "20 s  day 2020-01-10  5 ticks  72 valuations  72 pushes  tick-to-screen p50 250 ms p95 250 ms" in text
    assert text.endswith("! no tick for 15 s: the market feed is silent")


def test_a_sparkline_goes_from_the_lowest_to_the_highest() -> None:
    assert sparkline([Decimal(1), Decimal(8), Decimal("4.5")]) == "▁█▄"
    assert sparkline([Decimal(3), Decimal(3)]) == "▁▁"
    assert sparkline([]) == ""
