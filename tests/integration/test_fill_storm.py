"""Two processes book the same fills into one portfolio, are killed and started again: against the emulator's DynamoDB.

Finds: a fill counted twice or never, a lost update, a gap in versions, more requests a fill than promised. Cannot find:
what only AWS does (throttling, a lost answer after ten minutes).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from foliostream.adapters.sqs_fills import encode
from foliostream.application.receiving import Received
from foliostream.domain import portfolio as books
from foliostream.domain.fills import Fill
from foliostream.domain.instrument import Instrument
from foliostream.domain.portfolio import Portfolio, Transaction
from tests.support.fill_writer import Container
from tests.support.ministack import Emulator
from tests.support.servers import wait_until

ROOT = Path(__file__).parents[2]
NAME = "paper_storm"
SYMBOLS = ("AAPL", "MSFT", "GOOGL")
FILLS, DELIVERIES, KILLS = 500, 3, 3
# Far beyond what it takes: nothing may wait for ever.
SECONDS_MAX = 200
INSTRUMENTS = {symbol: Instrument(symbol, "stock", "USD") for symbol in SYMBOLS}


def fills(chance: random.Random, count: int = FILLS) -> list[Fill]:
    now_ms = time.time_ns() // 1_000_000
    return [
        Fill(
            fill_id=f"f{number}",
            portfolio_id=NAME,
            instrument_id=chance.choice(SYMBOLS),
            side=chance.choice(("BUY", "SELL")),
            quantity=Decimal(chance.randint(1, 500)) / 10,
            price=Decimal(chance.randint(1, 100_000)) / 100,
            fee=Decimal(chance.randint(0, 500)) / 100,
            timestamp_ms=now_ms,
            new_owner="alice",
        )
        for number in range(count)
    ]


@dataclass
class Writer:
    """A process that is started as often as it is killed; deliveries it has not acknowledged come again."""

    folder: Path
    emulator: Emulator
    table: str
    deliveries: list[tuple[int, list[str]]]
    starts: int = 0
    process: subprocess.Popen[bytes] | None = None
    logs: list[Path] = field(default_factory=list)

    @property
    def progress(self) -> Path:
        return self.folder / "progress"

    def done(self) -> set[int]:
        return {int(line) for line in self.progress.read_text().split()} if self.progress.exists() else set()

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        acknowledged = self.done()
        asked = {
            "endpoint": self.emulator.endpoint,
            "table": self.table,
            "progress": str(self.progress),
            "deliveries": [item for item in self.deliveries if item[0] not in acknowledged],
        }
        path, log = self.folder / f"{self.starts}.json", self.folder / f"{self.starts}.log"
        path.write_text(json.dumps(asked))
        self.logs.append(log)
        self.starts += 1
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join((str(ROOT / "layers/foliostream/python"), str(ROOT))),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.fill_writer", str(path)],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def ended(self) -> bool:
        assert self.process is not None
        code = self.process.poll()
        if code not in (None, 0):
            pytest.fail(f"writer ended with {code}:\n{self.logs[-1].read_text()[-3000:]}")
        return code == 0


def deliveries(chance: random.Random, wanted: list[Fill]) -> list[list[tuple[int, list[str]]]]:
    """Every fill three times, at random places of two writers' lists, in batches of one to ten."""
    bodies = [encode(fill) for fill in wanted] * DELIVERIES
    chance.shuffle(bodies)
    shares: list[list[tuple[int, list[str]]]] = []
    for share in (bodies[::2], bodies[1::2]):
        batches, rest = [], share
        while rest:
            size = chance.randint(1, 10)
            batches.append((len(batches), rest[:size]))
            rest = rest[size:]
        shares.append(batches)
    return shares


def items(emulator: Emulator, table: str) -> list[Transaction]:
    """Every transaction in the ledger, in the order of booking."""
    pages = (
        emulator.dynamodb()
        .get_paginator("query")
        .paginate(
            TableName=table,
            ConsistentRead=True,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={":pk": {"S": f"PORTFOLIO#{NAME}"}, ":sk": {"S": "TRANSACTION#"}},
        )
    )
    found: list[Any] = [item for page in pages for item in page["Items"]]
    return sorted((books.decode_transaction(item["record"]["S"]) for item in found), key=lambda item: item.sequence)


def replayed(stored: Portfolio, booked: list[Transaction]) -> Portfolio:
    """The portfolio that the transactions make, one after the other, from nothing."""
    portfolio = replace(
        Portfolio(
            portfolio_id=stored.portfolio_id,
            portfolio_name=stored.portfolio_name,
            owner=stored.owner,
            account_type=stored.account_type,
            account_kind=stored.account_kind,
            base_currency=stored.base_currency,
            cost_basis=stored.cost_basis,
            created_at_ms=stored.created_at_ms,
            updated_at_ms=stored.updated_at_ms,
            version=0,
            allow_short=stored.allow_short,
        ),
        cash={stored.base_currency: Decimal(0)},
    )
    for transaction in booked:
        portfolio, _ = books.apply(portfolio, [transaction.entry], INSTRUMENTS, transaction.booked_at_ms)
    return replace(portfolio, version=stored.version, updated_at_ms=stored.updated_at_ms)


@pytest.mark.timeout(600)
def test_two_writers_killed_in_the_middle_count_every_fill_once_without_a_gap_or_a_lost_update(
    ministack: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(20260226)
    table = ministack.table()
    reader = Container(ministack, table)
    for instrument in INSTRUMENTS.values():
        reader.instruments.put(instrument)
    wanted = fills(chance)
    writers = [
        Writer(tmp_path / str(number), ministack, table, share)
        for number, share in enumerate(deliveries(chance, wanted))
    ]
    began = time.monotonic()
    for writer in writers:
        writer.start()
    for kill in range(1, KILLS + 1):
        for writer in writers:
            _kill_after(writer, len(writer.deliveries) * kill // (KILLS + 1))
    for writer in writers:
        wait_until(writer.ended, "the writer", SECONDS_MAX)
    seconds = time.monotonic() - began

    booked = items(ministack, table)
    stored = reader.ledger.load([NAME])[NAME]
    assert sorted(item.entry.transaction_id for item in booked) == sorted(
        ["initial_cash", *(fill.transaction_id for fill in wanted)]
    )
    assert [item.sequence for item in booked] == list(range(1, FILLS + 2))
    versions = [item.ledger_version for item in booked]
    assert versions == sorted(versions)
    assert set(versions) == set(range(1, stored.version + 1))
    assert {item.entry.transaction_id: item.entry.digest for item in booked} | {
        fill.transaction_id: fill.entry.digest for fill in wanted
    } == {item.entry.transaction_id: item.entry.digest for item in booked}
    assert replayed(stored, booked) == stored
    assert {symbol: position.quantity for symbol, position in stored.positions.items()} == {
        symbol: total
        for symbol in SYMBOLS
        if (total := sum((fill.entry.quantity for fill in wanted if fill.instrument_id == symbol), Decimal(0)))
    }
    moved = sum((fill.entry.quantity * fill.price + fill.fee for fill in wanted), Decimal(0))
    assert stored.cash == {"USD": 1_000_000 - moved}
    with capsys.disabled():
        print(  # noqa: T201 - the figures are asked for
            f"\n{FILLS} fills x {DELIVERIES} deliveries, 2 writers, {sum(writer.starts for writer in writers)} starts: "
            f"{seconds:.1f} s, {stored.version} versions, {FILLS * DELIVERIES / seconds:.0f} deliveries/s"
        )


def _kill_after(writer: Writer, acknowledged: int) -> None:
    """SIGKILL in the middle of whatever it does, once it has got so far; then start it again."""
    wait_until(lambda: len(writer.done()) >= acknowledged, f"{acknowledged} deliveries", SECONDS_MAX)
    time.sleep(random.uniform(0, 0.01))  # not always just after an acknowledgement
    if writer.ended():
        pytest.fail("it was through before it could be killed: nothing was tested")
    writer.kill()
    writer.start()


def test_a_warm_fill_is_one_request_to_the_ledger_and_a_batch_of_ten_is_one_too(ministack: Emulator) -> None:
    table = ministack.table()
    container = Container(ministack, table)
    for instrument in INSTRUMENTS.values():
        container.instruments.put(instrument)
    wanted = [encode(fill) for fill in fills(random.Random(7), 61)]
    messages = [Received(f"m{number}", body, 1) for number, body in enumerate(wanted)]
    assert container.recorder.record(messages[:1]).booked == 1
    container.requests.clear()
    for message in messages[1:51]:
        assert container.recorder.record([message]).booked == 1
    assert container.requests == {"TransactWriteItems": 50}
    assert container.recorder.record(messages[51:]).booked == 10
    assert container.requests == {"TransactWriteItems": 51}
