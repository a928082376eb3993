"""A process that books fills into a ledger until it is through or killed: ``python -m tests.support.fill_writer FILE``.

FILE is JSON: endpoint, table, deliveries (lists of queue messages as text) and progress, the file that gets the number
of every delivery that was acknowledged, as a queue deletes what was handled. What was not is delivered again.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

from foliostream.adapters.dynamodb_instruments import DynamoDbInstruments
from foliostream.adapters.dynamodb_ledger import DynamoDbLedger
from foliostream.adapters.system_clock import SystemClock
from foliostream.application.margin_check import MarginCheck
from foliostream.application.receiving import Received
from foliostream.application.record_fill import FillRecorder
from tests.fakes.fills import FakeFillQueue
from tests.fakes.hot_store import FakeHotStore
from tests.support.managers import managers
from tests.support.ministack import Emulator

STALE_AFTER_MS = 900_000


class Container:
    """What one Lambda container holds: the real ledger, the rest in memory; ``requests`` counts what DynamoDB gets."""

    def __init__(self, emulator: Emulator, table: str) -> None:
        client: Any = emulator.dynamodb()
        self.requests: Counter[str] = Counter()
        client.meta.events.register("before-call.dynamodb", self._count)
        clock = SystemClock()
        self.queue = FakeFillQueue()
        self.ledger = DynamoDbLedger(client, table)
        self.instruments = DynamoDbInstruments(client, table, clock)
        prices = FakeHotStore(clock)
        self.recorder = FillRecorder(
            ledger=self.ledger,
            instruments=self.instruments,
            prices=prices,
            queue=self.queue,
            clock=clock,
            margin_check=MarginCheck(prices, self.instruments, STALE_AFTER_MS, frozenset({"demo", "paper"}), "current"),
            managers=managers(clock, self.instruments, starting_cash=Decimal(1_000_000)),
        )

    def _count(self, model: Any, **_: object) -> None:  # noqa: ANN401 (botocore's)
        self.requests[model.name] += 1


def main(path: Path) -> None:
    """Work the deliveries off."""
    asked = json.loads(path.read_text())
    container = Container(Emulator(asked["endpoint"]), asked["table"])
    with Path(asked["progress"]).open("a") as progress:
        for number, bodies in asked["deliveries"]:
            batch = [Received(f"{number}-{place}", body, 1) for place, body in enumerate(bodies)]
            while batch:
                again = set(container.recorder.record(batch).again)
                batch = [message for message in batch if message.message_id in again]
            progress.write(f"{number}\n")
            progress.flush()
    Path(asked["progress"]).with_suffix(".requests").write_text(json.dumps(container.requests))
    if container.queue.given_up:
        sys.exit(f"given up: {container.queue.given_up[:3]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
