"""The command in this process, against a server of its own."""

from __future__ import annotations

import io
import json
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from foliostream_client import SettingError, cli, completion, credentials, reading
from foliostream_client.errors import InputError
from tests.unit.client.servers import Http, Reply, Request, http
from tests.unit.client.states import position, state

SUMMARY = {
    "portfolio_id": "growth",
    "portfolio_name": "Growth",
    "account_type": "live",
    "account_kind": "cash",
    "base_currency": "USD",
    "status": "ACTIVE",
    "ledger_version": 1,
}


class Person:
    """Somebody with a home of their own, whose server answers as ``answers`` say."""

    def __init__(self, capsys: pytest.CaptureFixture[str], server: Http, answers: dict[str, Reply]) -> None:
        self._capsys = capsys
        self.server = server
        self.answers = answers

    def run(self, *arguments: str) -> tuple[int, str, str]:
        code = cli.main(arguments)
        written = self._capsys.readouterr()
        return code, written.out, written.err


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("FOLIOSTREAM_URL", raising=False)
    return tmp_path


@pytest.fixture
def person(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    assert not (home / "config").exists()
    answers: dict[str, Reply] = {
        "/api/v1/portfolios": Reply(200, {"portfolios": [SUMMARY], "cursor": None}),
        "/api/v1/portfolio/growth/state": Reply(200, state(position("AAPL", 10), total_value=100, new_field=[1.10])),
    }

    def reply(request: Request) -> Reply:
        return answers.get(request.path, Reply(404, {"error": {"code": "NOT_FOUND", "message": "no"}}))

    with http(reply) as server:
        monkeypatch.setenv("FOLIOSTREAM_URL", server.url)
        monkeypatch.setenv("FOLIOSTREAM_TOKEN", "secret")
        yield Person(capsys, server, answers)


def test_login_checks_the_token_and_keeps_it_where_only_the_owner_reads_it(
    person: Person, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = person.server.url
    monkeypatch.delenv("FOLIOSTREAM_URL")
    monkeypatch.setattr("sys.stdin", io.StringIO("another-secret\n"))
    code, out, _ = person.run("login", "--url", url + "/")
    file = home / "config" / "foliostream" / "credentials.json"
    assert (code, "1 portfolios" in out) == (0, True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [item.name for item in file.parent.iterdir()] == ["credentials.json"]
    assert person.run("portfolios")[0] == 0
    assert person.server.requests[-1].headers["Authorization"] == "Bearer another-secret"
    assert person.run("logout")[0] == 0
    assert person.run("portfolios")[0] == cli.NOT_ALLOWED


def test_a_cloud_on_this_machine_is_found_by_what_make_up_wrote(
    person: Person, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = {"rest_url": person.server.url, "ws_url": "ws://127.0.0.1:1", "token": "local"}
    (home / "outputs.json").write_text(json.dumps(outputs))
    monkeypatch.setenv("FOLIOSTREAM_HOME", str(home))
    assert person.run("login", "--local")[0] == 0
    assert credentials.load({"XDG_CONFIG_HOME": str(home / "config")}).token == "local"


@pytest.mark.parametrize(
    ("url", "token", "problem"),
    [
        ("http://example.com", "t", "readable on the way"),
        ("ftp://example.com", "t", "no https"),
        ("https://example.com", "", "token is empty"),
        ("https://example.com", "a b", "token is empty, or holds"),
    ],
)
def test_what_would_show_the_token_or_is_none_is_not_stored(url: str, token: str, problem: str) -> None:
    with pytest.raises(SettingError, match=problem):
        credentials.checked(url, token)


def test_tables_are_tab_separated_in_pipes_without_colours(person: Person) -> None:
    code, out, err = person.run("portfolios")
    assert (code, err) == (0, "")
    header, row = out.splitlines()
    assert header.split("\t")[:2] == ["portfolio_id", "portfolio_name"]
    assert row.split("\t") == ["growth", "Growth", "live", "cash", "USD", "ACTIVE"]
    assert "\x1b" not in out


def test_json_has_what_the_server_said_to_the_last_digit(person: Person) -> None:
    person.answers["/api/v1/portfolio/growth/state"] = Reply(200, '{"total_value": 75125.00, "new_field": 0.10}')
    code, out, _ = person.run("state", "growth", "--json")
    assert (code, " ".join(out.split())) == (0, '{ "total_value": 75125.00, "new_field": 0.10 }')


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(404, {"error": {"code": "PORTFOLIO_NOT_FOUND", "message": "no such"}}), 1),
        (Reply(401, {"message": "Unauthorized"}), cli.NOT_ALLOWED),
        (Reply(403, {"message": "Forbidden"}), cli.NOT_ALLOWED),
    ],
)
def test_a_refusal_is_told_on_the_standard_error_and_by_the_exit_code(person: Person, reply: Reply, code: int) -> None:
    person.answers["/api/v1/portfolio/growth/state"] = reply
    found, out, err = person.run("state", "growth")
    assert (found, out) == (code, "")
    assert err.startswith("foliostream: GET /api/v1/portfolio/growth/state: ")


def test_a_file_that_cannot_be_written_is_told_without_a_traceback(person: Person, tmp_path: Path) -> None:
    code, out, err = person.run("export", "growth", "state", "--out", str(tmp_path))
    assert (code, out) == (1, "")
    assert err == f"foliostream: {tmp_path}: Is a directory\n"


def test_a_place_for_the_token_that_is_none_is_told_without_a_traceback(
    person: Person, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "config").write_text("")
    monkeypatch.setattr("sys.stdin", io.StringIO("a-secret\n"))
    code, _, err = person.run("login", "--url", person.server.url)
    assert (code, err) == (1, f"foliostream: {home / 'config' / 'foliostream'}: Not a directory\n")


def test_prices_come_from_csv_in_batches_and_rejected_ones_are_told(person: Person, tmp_path: Path) -> None:
    rejected = [{"symbol": "MSFT", "code": "STALE", "message": "older"}]
    person.answers["/api/v1/prices"] = Reply(202, {"accepted": 1, "rejected": rejected})
    file = tmp_path / "prices.csv"
    file.write_text("symbol,last,ts\nAAPL,150.250,1767225600000\nMSFT,410,2026-01-01T00:00:00Z\nIBM,1.10,\n")
    code, out, err = person.run("prices", "push", str(file), "--batch", "2")
    assert (code, out) == (1, "2 accepted, 2 rejected\n")
    assert "rejected: MSFT: STALE: older" in err
    sent = [request.body["updates"] for request in person.server.requests]
    assert sent[0] == [
        {"symbol": "AAPL", "last": "150.250", "ts": 1767225600000},
        {"symbol": "MSFT", "last": "410", "ts": "2026-01-01T00:00:00Z"},
    ]
    assert isinstance(sent[1][0]["ts"], int)


def test_fills_come_from_json_lines_and_a_rejected_one_is_told_by_its_line(person: Person, tmp_path: Path) -> None:
    rejected = [{"index": 1, "fill_id": "f2", "code": "INVALID", "message": "no"}]
    person.answers["/api/v1/fills"] = Reply(202, {"accepted": 1, "rejected": rejected})
    file = tmp_path / "fills.jsonl"
    fill = '{"fill_id": "%s", "quantity": 1, "fill_price": 1.10, "timestamp": 1}\n'
    file.write_text(fill % "f1" + "\n" + fill % "f2")
    code, out, err = person.run("fills", "push", str(file), "--json")
    assert (code, json.loads(out)) == (1, {"accepted": 1, "rejected": 1})
    assert "rejected: line 3: f2: INVALID: no" in err


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["symbol,colour\n"], "line 1: unknown or repeated columns colour"),
        (["symbol,ts\n", "AAPL\n"], "line 2: 1 cells, the header has 2"),
        (["symbol,ts\n", ",5\n"], "line 2: symbol missing"),
        (['{"symbol": "A"}\n', "{\n"], "line 2: no JSON"),
        (['{"symbol": "A"}\n', "7\n"], "line 2: no JSON object"),
        (["\n", "x" * 100_001], "line 2: longer than"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(lines: list[str], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        list(reading.items(lines, "prices", reading.PRICES))


def test_a_body_of_the_api_is_taken_as_a_line() -> None:
    [line] = reading.items(['\ufeff{"updates": [{"symbol": "A", "last": 1.10}]}'], "prices", reading.PRICES)
    assert str(line.item["last"]) == "1.10"
    assert list(reading.items(["\n"], "prices", reading.PRICES)) == []


def test_a_dry_run_books_nothing_and_leaves_out_what_is_known(person: Person, tmp_path: Path) -> None:
    known = {"sequence": 1, "transaction_id": "d1", "transaction_type": "DEPOSIT", "currency": "USD"}
    times = {"timestamp": "2026-02-26T10:30:00Z", "booked_at": "2026-02-26T10:30:00Z", "ledger_version": 1}
    page = {"transactions": [known | times], "cursor": None}
    person.answers["/api/v1/portfolio/growth/transactions"] = Reply(200, page)
    file = tmp_path / "own.csv"
    file.write_text("timestamp,type,amount,transaction_id\n2026-02-26,DEPOSIT,5,d1\n2026-02-27,DEPOSIT,6,d2\n")
    code, out, err = person.run("import", str(file), "--portfolio", "growth", "--dry-run")
    assert code == 0
    assert [line.split("\t")[0] for line in out.splitlines()] == ["line", "3"]
    assert "would book 1 DEPOSIT; 1 known already, 0 skipped" in err
    assert {request.method for request in person.server.requests} == {"GET"}


def test_a_file_that_cannot_be_imported_ends_with_a_code_of_its_own(person: Person, tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_text("timestamp,type,amount\n2026-02-26,DEPOSIT,much\n")
    code, _, err = person.run("import", str(file), "--portfolio", "growth")
    assert code == cli.BAD_INPUT
    assert f"{file}, line 2: 'much' is no amount" in err
    assert person.server.requests == []


@pytest.mark.parametrize("arguments", [[], ["fly"], ["watch", "--count", "0"], ["import", "f", "--map", "x"]])
def test_wrong_usage_is_code_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == cli.USAGE
    assert "usage: foliostream" in capsys.readouterr().err


def completed(*words: str) -> list[str]:
    script = completion.script(cli.parser(), "bash")
    line = " ".join(f"'{word}'" for word in words)
    ask = f'COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _foliostream; printf "%s\\n" "${{COMPREPLY[@]}}"'
    run = subprocess.run(["bash", "-c", script + ask], capture_output=True, text=True, check=True)
    return run.stdout.split()


def test_a_shell_completes_commands_options_and_choices() -> None:
    assert {"login", "watch", "import"} <= set(completed("foliostream", ""))
    assert completed("foliostream", "pri") == ["prices"]
    assert completed("foliostream", "prices", "pu") == ["push"]
    assert completed("foliostream", "import", "--dry") == ["--dry-run"]
    assert completed("foliostream", "export", "growth", "tran") == ["transactions"]
    assert completed("foliostream", "completion", "f") == ["fish"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_is_in_the_script_of_every_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in ("portfolios", "analyze", "dry-run", "completion"))
