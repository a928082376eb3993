"""The foliostream command and its client against the deployed application, as their users run them."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import islice
from pathlib import Path
from uuid import uuid4

import pytest
from msgspec.structs import replace

from foliostream_client import ApiError, Client
from foliostream_client.transport import Rest, Socket, loads
from foliostream_client.watching import Connected, Snapshot, Update
from local.issuer import ALL_SCOPES
from tests.e2e.conftest import Cloud, Holder, eventually, now_ms, of_type, post_price, receive, total

ROOT = Path(__file__).parents[2]


class Shell:
    """Somebody's terminal without a screen."""

    def __init__(self, stack: Cloud, home: Path, subject: str) -> None:
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "client" / "src"),
            "XDG_CONFIG_HOME": str(home),
        }
        token = stack.token(subject, ALL_SCOPES)
        addresses = ("--url", stack.outputs.rest_url, "--ws-url", stack.outputs.ws_url)
        assert self.run("login", *addresses, given=token).returncode == 0

    def run(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "foliostream_client.cli", *arguments],
            env=self._environment,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def ok(self, *arguments: str, given: str = "") -> str:
        run = self.run(*arguments, given=given)
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    def piped(self, command: str) -> subprocess.CompletedProcess[str]:
        """A line of bash, in which `foliostream` is the command."""
        named = f'foliostream() {{ "{sys.executable}" -m foliostream_client.cli "$@"; }}; '
        return subprocess.run(
            ["bash", "-c", named + command],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture
def owner(holder: Callable[[str], Holder]) -> Holder:
    return holder("live")


@pytest.fixture
def shell(stack: Cloud, owner: Holder, tmp_path: Path) -> Shell:
    return Shell(stack, tmp_path / "config", owner.name)


@pytest.fixture
def client(stack: Cloud, owner: Holder) -> Client:
    return Client(stack.outputs.rest_url, stack.token(owner.name, ALL_SCOPES), stack.outputs.ws_url)


def account(client: Client, cost_basis: str = "average") -> str:
    """An empty one."""
    created = client.create(
        {
            "portfolio_id": f"c-{uuid4().hex[:8]}",
            "portfolio_name": "Imported",
            "account_type": "live",
            "account_kind": "cash",
            "base_currency": "USD",
            "cost_basis": cost_basis,
        }
    )
    return created.portfolio_id


def without(state: Mapping[str, object], *names: str) -> dict[str, object]:
    return {name: value for name, value in state.items() if name not in names}


def test_prices_out_of_a_pipe_show_in_the_state_the_list_and_a_watch(shell: Shell, owner: Holder, symbol: str) -> None:
    prices = f"symbol,last,ts\n{symbol},123.450,{now_ms()}\n"
    assert shell.ok("prices", "push", "-", given=prices) == "1 accepted, 0 rejected\n"
    eventually(owner.state, lambda state: state["total_value"] == total("123.45"), "the price")
    assert owner.portfolio_id in shell.ok("portfolios")
    state = loads(shell.ok("state", owner.portfolio_id, "--json"))
    assert state["total_value"] == total("123.45")
    [snapshot] = [
        loads(line)
        for line in shell.ok("watch", owner.portfolio_id, "--count", "1", "--json").splitlines()
        if loads(line)["event"] == "snapshot"
    ]
    assert snapshot["state"]["total_value"] == total("123.45")
    stale = shell.run("prices", "push", "-", given=f"symbol,last,ts\n{symbol},1,1000\n")
    assert (stale.returncode, stale.stdout) == (1, "0 accepted, 1 rejected\n")
    assert f"rejected: {symbol}: STALE" in stale.stderr


def test_a_watch_goes_on_from_a_snapshot_with_every_change(client: Client, owner: Holder, symbol: str) -> None:
    events = client.watch([owner.portfolio_id])
    assert isinstance(next(events), Connected)
    assert isinstance(next(events), Snapshot)
    client.send_prices([{"symbol": symbol, "last": "201.5", "ts": now_ms()}])
    for event in islice(events, 20):
        assert isinstance(event, Update)
        if event.state.total_value == total("201.5"):
            assert symbol in event.instruments
            break
    else:
        pytest.fail("twenty updates without the price")
    shown = client.state(owner.portfolio_id)
    # It may be valued once more in between, of the same price: that is no update, and only these may differ.
    valued = {name: getattr(event.state, name) for name in ("version", "last_updated")}
    assert event.state == replace(shown, **valued)


def test_the_address_of_the_websocket_is_asked_for_where_none_is_given(
    stack: Cloud, owner: Holder, client: Client
) -> None:
    asking = Client(stack.outputs.rest_url, stack.token(owner.name))
    events = asking.watch([owner.portfolio_id])
    assert isinstance(next(events), Connected)
    assert isinstance(next(events), Snapshot)
    with Socket(client.ws_ticket().url) as socket:
        socket.send({"action": "ping", "request_id": "here"})
        assert receive(socket, of_type("pong"), "the answer")["request_id"] == "here"


def test_five_metrics_come_and_a_ticker_that_is_not_held_is_refused(
    shell: Shell, client: Client, owner: Holder, symbol: str
) -> None:
    client.send_prices([{"symbol": symbol, "last": 100, "ts": now_ms()}])
    eventually(owner.state, lambda state: state["calc_status"] == "ok", "a priced account")
    lines = shell.ok("analyze", symbol, owner.portfolio_id).splitlines()
    assert lines[0].split("\t") == ["metric", "value", "reason"]
    metrics = {"portfolio_risk", "concentration", "correlation", "momentum", "allocation_score"}
    assert {line.split("\t")[0] for line in lines[1:]} == metrics
    events = [loads(line) for line in shell.ok("analyze", symbol, owner.portfolio_id, "--json").splitlines()]
    assert [event["event"] for event in events] == ["started", *["result"] * 5, "completed"]
    # Without closes nothing can be said of the risk, and the reason is told.
    risk = next(event for event in events if event.get("metric") == "portfolio_risk")
    assert (risk["value"], bool(risk["reason"])) == (None, True)
    refused = shell.run("analyze", "NOTHELD", owner.portfolio_id)
    assert (refused.returncode, "UNKNOWN_TICKER" in refused.stderr) == (1, True)


def test_a_brokers_file_counts_once_and_a_longer_one_adds_what_is_new(
    shell: Shell, client: Client, symbol: str, tmp_path: Path
) -> None:
    portfolio = account(client)
    header = (
        "CurrencyPrimary,AssetClass,Symbol,TradeID,DateTime,Quantity,TradePrice,IBCommission,IBCommissionCurrency\n"
    )
    rows = [f"USD,STK,{symbol},{number},20240102;0930{number:02d},2,10.5,-0.25,USD\n" for number in range(45)]
    client.update(portfolio, [{"transaction_type": "DEPOSIT", "amount": 10_000}], "2024-01-01T00:00:00Z")
    file = tmp_path / "trades.csv"
    file.write_text(header + "".join(rows[:42]))
    arguments = ("import", str(file), "--portfolio", portfolio, "--json")
    dry = json.loads(shell.ok(*arguments, "--dry-run"))
    assert (dry["layout"], dry["booked"], len(dry["transactions"])) == ("ib-flex", 0, 42)
    assert json.loads(shell.ok(*arguments))["booked"] == 42
    assert json.loads(shell.ok(*arguments))["booked"] == 0
    file.write_text(header + "".join(rows))
    assert json.loads(shell.ok(*arguments))["booked"] == 3
    [position] = [item for item in client.positions(portfolio) if item.instrument_id == symbol]
    assert position.quantity == 90
    assert client.state(portfolio).cash["USD"] == 10_000 - 45 * Decimal("21.25")
    assert len(list(client.transactions(portfolio))) == 46


def test_a_batch_that_is_refused_books_nothing_of_it_and_names_the_line(
    shell: Shell, client: Client, symbol: str
) -> None:
    portfolio = account(client)
    rows = f"2026-01-01,DEPOSIT,,,,100\n2026-01-02,BUY,{symbol},1,99,\n2026-01-03,BUY,{symbol},5,99,\n"
    text = "timestamp,type,symbol,quantity,price,amount\n" + rows
    run = shell.run("import", "-", "--portfolio", portfolio, given=text)
    assert run.returncode == 5
    assert "-, line 4: " in run.stderr
    assert "0 of 3 transactions are booked" in run.stderr
    assert list(client.transactions(portfolio)) == []
    unknown = shell.run("import", "-", "--portfolio", portfolio, given=text.replace(symbol, "NOBODYS"))
    assert (unknown.returncode, "line 3: NOBODYS is not registered" in unknown.stderr) == (5, True)


def test_what_is_exported_can_be_imported_and_gives_the_same_account(
    shell: Shell, client: Client, admin: Rest, symbol: str, tmp_path: Path
) -> None:
    first, second = account(client, "fifo"), account(client, "fifo")
    buy = {"transaction_type": "BUY", "instrument_id": symbol}
    lines = [
        {"transaction_type": "DEPOSIT", "amount": "5000.10"},
        buy | {"quantity_change": 7, "price": "10.25", "fee": "1.5"},
        buy | {"quantity_change": 3, "price": "12.75"},
        buy | {"transaction_type": "SELL", "quantity_change": 4, "price": 15},
        {"transaction_type": "SPLIT", "instrument_id": symbol, "ratio": "2:1"},
        {"transaction_type": "DIVIDEND", "instrument_id": symbol, "amount": "3.33"},
        {"transaction_type": "FEE", "amount": "0.99"},
        {"transaction_type": "WITHDRAWAL", "amount": 100},
        {"transaction_type": "ADJUSTMENT", "amount": "-1", "reason": "rounding"},
    ]
    stamped = [line | {"timestamp": f"2026-01-0{number}T10:00:00Z"} for number, line in enumerate(lines, 1)]
    client.update(first, stamped, 0)
    file = tmp_path / "all.csv"
    shell.ok("export", first, "transactions", "--out", str(file))
    assert len(list(csv.DictReader(io.StringIO(file.read_text())))) == len(lines)
    shell.ok("import", str(file), "--portfolio", second)
    post_price(admin, symbol, "20.5")

    def state(portfolio: str) -> dict[str, object]:
        return loads(shell.ok("export", portfolio, "state", "--json"))

    eventually(lambda: state(first)["calc_status"], lambda status: status == "ok", "a valued account")
    differing = ("portfolio_id", "version", "ledger_version", "last_updated", "as_of", "positions")
    eventually(
        lambda: [without(state(name), *differing) for name in (first, second)],
        lambda both: both[0] == both[1],
        "the same account",
    )


def test_fills_out_of_a_file_are_booked_once(shell: Shell, client: Client, owner: Holder, symbol: str) -> None:
    fill_id = uuid4().hex
    cells = f"{fill_id},{owner.portfolio_id},{symbol},BUY,3,101.5,{now_ms()}"
    text = f"fill_id,portfolio_id,instrument_id,side,quantity,fill_price,timestamp\n{cells}\n"
    for _ in range(2):
        assert shell.ok("fills", "push", "-", given=text) == "1 accepted, 0 rejected\n"
    # Another one, behind both in the queue, shows that they are through.
    behind = text.replace(fill_id, f"{fill_id}-behind").replace(",BUY,3,", ",BUY,1,")
    assert shell.ok("fills", "push", "-", given=behind) == "1 accepted, 0 rejected\n"

    def held() -> Decimal:
        return next(item.quantity for item in client.positions(owner.portfolio_id) if item.instrument_id == symbol)

    assert eventually(held, lambda quantity: quantity not in {10, 13}, "both fills") == 14


def test_nobody_sees_what_is_not_theirs_and_a_bad_token_is_told(
    stack: Cloud, shell: Shell, owner: Holder, tmp_path: Path
) -> None:
    stranger = Shell(stack, tmp_path / "stranger", f"user-{uuid4().hex[:8]}")
    run = stranger.run("state", owner.portfolio_id)
    assert (run.returncode, "PORTFOLIO_NOT_FOUND" in run.stderr) == (1, True)
    watching = stranger.run("watch", owner.portfolio_id)
    assert (watching.returncode, "PORTFOLIO_NOT_FOUND" in watching.stderr) == (1, True)
    refused = shell.run("login", "--url", stack.outputs.rest_url, given="nonsense")
    assert refused.returncode == 3
    with pytest.raises(ApiError):
        Client(stack.outputs.rest_url).state(owner.portfolio_id)
    assert "\nhealth\tok\n" in shell.run("status").stdout


def test_a_reader_that_has_enough_ends_the_command_quietly(shell: Shell, owner: Holder) -> None:
    run = shell.piped(f"set -o pipefail; foliostream watch {owner.portfolio_id} | head -n 1; echo ${{PIPESTATUS[0]}}")
    assert run.stdout.splitlines()[0].startswith("portfolio\t")
    assert "Traceback" not in run.stderr
    assert "\x1b" not in run.stdout
