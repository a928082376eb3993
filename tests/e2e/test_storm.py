"""A storm of prices over the deployed stack while a part of it is killed, paused or emptied: nothing is lost (G1, G6).

What is checked is the hot store itself: reading by REST would value anew what is missing.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any, Self
from uuid import uuid4

import pytest

from foliostream.ports import HotStore
from foliostream_client.errors import ApiError
from foliostream_client.transport import Rest
from local import rebuild, services
from local.processes import Records
from tests.e2e.conftest import ACCOUNT_TYPES, Cloud, eventually, lose_hot_store, now_ms, value_of
from tests.support.watching import Versions, workers

SYMBOLS = 4
PORTFOLIOS_PER_TYPE = 4
# A message whose function died is seen again after 35 seconds, and then waits for its window.
RECOVERY_S = 150.0
PAUSE_S = 0.05
CASH = Decimal(10_000)


class Storm:
    """Posts rising prices of every symbol as fast as they are accepted, from a thread of its own, until it is left."""

    def __init__(self, rest: Rest, symbols: list[str]) -> None:
        self._rest, self._symbols = rest, symbols
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._number = 0
        self.accepted = 0
        self.refused = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(PAUSE_S):
            self._post(self._symbols[self._number % SYMBOLS])

    def _post(self, symbol: str) -> bool:
        """Whether a new price of the symbol was accepted."""
        self._number += 1
        update = {"symbol": symbol, "last": self.price(), "ts": now_ms(), "seq": self._number}
        with suppress(ApiError):
            if self._rest.post("/api/v1/prices", {"updates": [update]})["accepted"] == 1:
                self.accepted += 1
                return True
        self.refused += 1
        return False

    def price(self) -> Decimal:
        """Of the newest update."""
        return 100 + Decimal(self._number) / 100

    def blow(self, prices: int) -> None:
        """Wait until so many more prices were accepted."""
        wanted = self.accepted + prices
        eventually(lambda: self.accepted, lambda accepted: accepted >= wanted, f"{prices} more prices", RECOVERY_S)

    def last_words(self) -> dict[str, Decimal]:
        """After the storm: one last price of each symbol, accepted."""
        last = {}
        for symbol in self._symbols:
            eventually(lambda name=symbol: self._post(name), bool, f"a last price of {symbol}", RECOVERY_S)
            last[symbol] = self.price()
        return last


@pytest.fixture
def symbols(admin: Rest) -> list[str]:
    names = [f"S{uuid4().hex[:10].upper()}" for _ in range(SYMBOLS)]
    for name in names:
        admin.put(f"/api/v1/instruments/{name}", {"kind": "stock", "currency": "USD"})
    return names


@pytest.fixture
def portfolios(stack: Cloud, symbols: list[str]) -> dict[str, list[str]]:
    """Portfolios of all account types with the symbols they hold, 10 of each, bought at 100."""
    rest = stack.rest(f"user-{uuid4().hex[:8]}")
    held = {}
    for account_type in ACCOUNT_TYPES:
        for number in range(PORTFOLIOS_PER_TYPE):
            own = symbols[: number % SYMBOLS + 1]
            created = rest.post(
                "/api/v1/portfolios",
                {
                    "portfolio_name": "In the storm",
                    "account_type": account_type,
                    "account_kind": "cash",
                    "base_currency": "USD",
                    "cost_basis": "average",
                    "initial_cash": CASH,
                },
            )
            name = created["portfolio_id"]
            buys = [
                {"instrument_id": symbol, "quantity_change": 10, "price": 100, "transaction_type": "BUY"}
                for symbol in own
            ]
            rest.post(
                f"/api/v1/portfolio/{name}/update", {"portfolio_id": name, "timestamp": now_ms(), "updates": buys}
            )
            held[name] = own
    return held


def kill_valkey(stack: Cloud) -> None:
    """Without a word; it comes back on its append-only file."""
    if stack.settings.portfolio["PORTFOLIO_HOT_STORE"] != "valkey":
        pytest.skip("this stack keeps nothing in Valkey")
    running = services.running(stack.settings)
    assert running
    services.restart_valkey(stack.settings, running)


def kill_workers(stack: Cloud) -> None:
    """Every process of a Lambda function on the way of a price, again and again, whatever it is doing."""
    emulator = Records(stack.settings.home).find(services.EMULATOR)
    assert emulator
    killed: set[int] = set()

    def kill_some() -> int:
        for pid in workers(emulator.pid, ("PriceUpdate", "Recalculate", "Push", "ProjectLedger")):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        return len(killed)

    eventually(kill_some, lambda number: number >= 6, "six functions killed", RECOVERY_S)


def pause_consumers(stack: Cloud) -> None:
    """Nobody receives from the dirty queues for a while; then the backlog is worked off."""
    client = stack.aws("lambda")
    function = stack.outputs.resources["RecalculateFunctionName"]
    found = client.list_event_source_mappings()["EventSourceMappings"]
    own = [mapping["UUID"] for mapping in found if function in mapping["FunctionArn"]]
    assert own
    for mapping in own:
        client.update_event_source_mapping(UUID=mapping, Enabled=False)
    time_of_silence = time.monotonic()
    eventually(lambda: time.monotonic() - time_of_silence, lambda seconds: seconds > 3, "the pause")
    for mapping in own:
        client.update_event_source_mapping(UUID=mapping, Enabled=True)


def empty_the_hot_store(stack: Cloud) -> None:
    """All of it; the rebuild makes it again while prices go on."""
    lose_hot_store(stack)
    assert rebuild.rebuild_hot(stack.outputs, lambda _: None).is_finished


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", [kill_valkey, kill_workers, pause_consumers, empty_the_hot_store])
def test_nothing_is_lost_in_a_storm_when(
    stack: Cloud,
    admin: Rest,
    symbols: list[str],
    portfolios: dict[str, list[str]],
    hot: HotStore,
    fault: Callable[[Cloud], None],
) -> None:
    storm = Storm(admin, symbols)
    with Versions(hot, list(portfolios)) as versions:
        with storm:
            storm.blow(20)
            fault(stack)
            storm.blow(20)
        last = storm.last_words()
        expected = {name: CASH + sum(10 * (last[symbol] - 100) for symbol in own) for name, own in portfolios.items()}
        eventually(
            lambda: differences(hot, expected),
            lambda different: not different,
            "every portfolio at the last accepted prices (shown, expected)",
            RECOVERY_S,
        )
    assert versions.fallen == []
    assert versions.looks > 10


def differences(hot: HotStore, expected: dict[str, Decimal]) -> dict[str, Any]:
    """Portfolios whose stored snapshot shows another total."""
    found = hot.read(list(expected))
    shown = {name: value_of(found[name]) if name in found else None for name in expected}
    return {name: (shown[name], value) for name, value in expected.items() if shown[name] != value}
