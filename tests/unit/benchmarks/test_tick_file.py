"""Files of real ticks: what is read, and what is said about lines that cannot be."""

import gzip
from decimal import Decimal
from pathlib import Path

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import tick_file
from benchmarks.tick_file import Tick, TickFileError


def _file(folder: Path, *lines: str, name: str = "ticks.csv") -> str:
    path = folder / name
    text = "\n".join(lines) + "\n"
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return str(path)


def test_ticks_are_read_exactly_and_put_in_order_of_time(tmp_path: Path) -> None:
    argument = _file(
        tmp_path,
        "ts,symbol,last,bid,ask,volume",
        "2019-01-01T23:00:00.180Z,EURUSD,,1.146080,1.14663,7",
        "1546383600071,USDJPY,109.68,109.676,109.687,9",
    )
    read = tick_file.read(argument)
    yen = ("109.676", "109.687", "109.68")
    assert read.ticks == [
        Tick("USDJPY", 1546383600071, dict(zip(("bid", "ask", "last"), map(Decimal, yen), strict=True))),
        Tick("EURUSD", 1546383600180, {"bid": Decimal("1.146080"), "ask": Decimal("1.14663")}),
    ]
    assert (read.symbols, read.decimals, read.crossed) == (["EURUSD", "USDJPY"], 6, 0)
    assert read.first() == {"USDJPY": Decimal("109.68"), "EURUSD": Decimal("1.14663")}


def test_gzipped_bars_are_read_by_their_close(tmp_path: Path) -> None:
    argument = _file(tmp_path, "symbol,ts_utc,open,close", "SPY,2013-10-04T08:06:00Z,167.6,167.65", name="bars.csv.gz")
    assert tick_file.read(argument).ticks[0].prices == {"last": Decimal("167.65")}


def test_a_file_of_one_symbol_is_named_with_it(tmp_path: Path) -> None:
    argument = _file(tmp_path, "ts_utc,bid,ask", "2014-05-08T00:00:08.715Z,1.39101,1.39114")
    assert tick_file.read(f"EURUSD={argument}").symbols == ["EURUSD"]
    with pytest.raises(TickFileError, match=r"ticks.csv:1: no column symbol"):
        tick_file.read(argument)


def test_crossed_quotes_are_left_out_and_counted(tmp_path: Path) -> None:
    argument = _file(tmp_path, "symbol,ts,bid,ask", "A,1,2,1", "A,2,1,2")
    read = tick_file.read(argument)
    assert (len(read.ticks), read.crossed) == (1, 1)


def test_every_bad_line_is_named_with_what_is_wrong(tmp_path: Path) -> None:
    argument = _file(
        tmp_path,
        "symbol,ts,bid,ask,last",
        "A,1,1,2,",
        "a b,1,1,2,",
        "A,yesterday,1,2,",
        "A,2019-01-01T23:00:00,1,2,",
        "A,1,one,2,",
        "A,1,,,",
        "A,1,NaN,2,",
        "A,1,-1,2,",
        "A,1,0,2,",
        "A,1,1,2",
    )
    with pytest.raises(TickFileError) as caught:
        tick_file.read(argument)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[1] for line in lines] == [str(number) for number in range(3, 12)]
    assert "bid is no number: 'one'" in lines[3]
    assert "no price" in lines[4]
    assert "not as many fields" in lines[8]


def test_of_many_bad_lines_the_first_ten_are_shown(tmp_path: Path) -> None:
    argument = _file(tmp_path, "symbol,ts,last", *["A,1,x"] * 25)
    with pytest.raises(TickFileError, match=r"and 15 more$"):
        tick_file.read(argument)


@pytest.mark.parametrize(
    ("header", "said"),
    [("symbol,last", "no column ts or ts_utc"), ("symbol,ts", "none of the columns"), ("", "no column symbol")],
)
def test_a_header_without_what_is_needed_is_refused(tmp_path: Path, header: str, said: str) -> None:
    with pytest.raises(TickFileError, match=said):
        tick_file.read(_file(tmp_path, header))


def test_a_file_without_ticks_or_with_too_many_symbols_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TickFileError, match="no tick in it"):
        tick_file.read(_file(tmp_path, "symbol,ts,last"))
    many = [f"S{number},1,1" for number in range(21)]
    with pytest.raises(TickFileError, match="21 symbols, at most 20"):
        tick_file.read(_file(tmp_path, "symbol,ts,last", *many))


def test_a_file_that_is_no_file_of_ticks_ends_the_command_with_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.csv.gz").write_bytes(b"\x1f\x8b no gzip")
    for name in ("missing.csv", "broken.csv.gz"):
        with pytest.raises(SystemExit):
            benchmarks.main(["ticks", "--ticks", str(tmp_path / name)])
        assert f"{name}: cannot be read" in capsys.readouterr().err
