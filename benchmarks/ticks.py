"""From a tick on EventBridge to the WebSocket, through the deployed local cloud.

Without a file: the five live accounts of the demo, and a new price of all its twenty stocks each tick. With one
(`--ticks`, see ``tick_file``): its ticks in their order, one at a time and as if they came now, to five accounts that
hold all its symbols.
"""

import json
import random
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from benchmarks import analysis, hop
from benchmarks.container import SKEW_MS
from benchmarks.measuring import Figure, Reference, Row, now_ms, spread
from benchmarks.tick_file import Tick, TickFile
from foliostream.adapters.replay_quotes import ReplayQuotes
from foliostream.domain.times import iso
from foliostream_client.transport import Rest, Socket
from local import cloud
from local.cloud import Outputs
from local.demo_accounts import ACCOUNTS, open_accounts, register_instruments
from local.services import CloudError
from local.settings import Settings

TICKS = 50
WARM_UP = 4
WINDOW_MS = 200
FLUSH_MS = 100
ARRIVAL_SECONDS_MAX = 15.0
ACCOUNTS_OF_A_FILE = 5
_DRAWS = 20_000


class Source(Protocol):
    """Where ticks come from."""

    ticks: int

    def open_accounts(self, rest: Rest) -> list[str]:
        """Make the live accounts that hold what ticks; their portfolio ids."""

    def updates(self, number: int, ts_ms: int) -> list[dict[str, Any]]:
        """Updates of the shape of ``POST /api/v1/prices`` that change the value of every account."""


class Sample:
    """The packaged closes."""

    ticks = WARM_UP + TICKS

    def __init__(self) -> None:
        self._quotes = ReplayQuotes()

    def open_accounts(self, rest: Rest) -> list[str]:
        """The demo's live ones."""
        accounts = [account for account in ACCOUNTS if account.account_type == "live"]
        register_instruments(rest, self._quotes.symbols)
        open_accounts(rest, accounts, self._quotes)
        return [account.portfolio_id for account in accounts]

    def updates(self, number: int, ts_ms: int) -> list[dict[str, Any]]:
        """The next day."""
        return [quote | {"last": str(quote["last"])} for quote in self._quotes.quotes(number, ts_ms)]


class FromFile:
    """A file's ticks, from its first on; every price counts as one of a stock in US dollars."""

    def __init__(self, file: TickFile) -> None:
        self._file = file
        self.ticks = min(WARM_UP + TICKS, len(file.ticks))
        if self.ticks <= WARM_UP:
            raise CloudError(f"{len(file.ticks)} ticks are too few: the first {WARM_UP} only warm up")

    def open_accounts(self, rest: Rest) -> list[str]:
        """Each buys one of every symbol."""
        decimals = self._file.decimals
        for symbol in self._file.symbols:
            rest.put(f"/api/v1/instruments/{symbol}", {"kind": "stock", "currency": "USD", "price_decimals": decimals})
        ids = [f"ticks-{number}" for number in range(ACCOUNTS_OF_A_FILE)]
        for identifier in ids:
            _open(rest, identifier, self._file.first())
        return ids

    def updates(self, number: int, ts_ms: int) -> list[dict[str, Any]]:
        """The tick of that number."""
        return [_update(self._file.ticks[number], ts_ms)]


def _open(rest: Rest, identifier: str, prices: Mapping[str, Decimal]) -> None:
    account = {"account_type": "live", "account_kind": "cash", "base_currency": "USD", "cost_basis": "average"}
    cash = str(sum(prices.values()) + 1)
    rest.post(
        "/api/v1/portfolios",
        {"portfolio_id": identifier, "portfolio_name": identifier, "initial_cash": cash, **account},
    )
    buys = [
        {
            "transaction_id": f"{identifier}-{symbol}",
            "instrument_id": symbol,
            "transaction_type": "BUY",
            "quantity_change": 1,
            "price": str(price),
        }
        for symbol, price in prices.items()
    ]
    body = {"portfolio_id": identifier, "timestamp": iso(now_ms()), "updates": buys}
    rest.post(f"/api/v1/portfolio/{identifier}/update", body)


def _update(tick: Tick, ts_ms: int) -> dict[str, Any]:
    return {"symbol": tick.symbol, "ts": ts_ms} | {name: str(price) for name, price in tick.prices.items()}


def measure(home: Path, file: TickFile | None = None) -> list[Row]:
    """The 95th percentile over ticks and accounts, beside what the waits by design and the emulator alone cost; then
    analyses on the same cloud."""
    source: Source = FromFile(file) if file else Sample()
    settings = Settings(home=home, port=0, portfolio={"PORTFOLIO_HOT_STORE": "valkey"})
    try:
        outputs = cloud.up(settings)
        bare = hop.measure(outputs)
        delays = _ticks(settings, outputs, source)
        analyses = analysis.measure(settings, outputs, bare)
    finally:
        cloud.down(settings)
    least = _least(bare.queue)
    references = (
        Reference("tick_to_ws_limit_p95_ms", "waits by design + bare hops, p95", spread(least)),
        Reference("tick_to_ws_window_ms", "the window", Figure(WINDOW_MS, WINDOW_MS, WINDOW_MS)),
    )
    return [
        Row("tick_to_ws_p95_ms", "tick to WebSocket, live accounts, p95", "ms", spread(delays), references),
        Row("tick_to_ws_p50_ms", "tick to WebSocket, live accounts, p50", "ms", spread(delays, 50)),
        Row("emulator_hop_p50_ms", "emulator: message to bare function, p50", "ms", spread(bare.queue, 50)),
        *analyses,
    ]


def _ticks(settings: Settings, outputs: Outputs, source: Source) -> list[float]:
    """Milliseconds from before each tick is published until each account's update with it is here."""
    ids = source.open_accounts(Rest(outputs.rest_url, outputs.token))
    bus, pause, delays = outputs.aws("events"), random.Random(3), []
    with Socket(outputs.ws_url, cloud.local_issuer(settings).token("demo")) as socket:
        socket.send({"action": "subscribe", "portfolio_ids": ids})
        _await_snapshots(socket, set(ids))
        for number in range(source.ticks):
            started_ms = now_ms()
            _publish(bus, outputs.resources["EventBusName"], source.updates(number, started_ms))
            arrived = _await(socket, set(ids), iso(started_ms), number)
            if number >= WARM_UP:
                delays += [at_ms - started_ms for at_ms in arrived]
            time.sleep(pause.uniform(0, WINDOW_MS) / 1_000)  # so that ticks fall anywhere in a window
    return delays


def _publish(bus: object, name: str, updates: Sequence[dict[str, object]]) -> None:
    entry = {
        "EventBusName": name,
        "Source": "benchmark",
        "DetailType": "market_price_update",
        "Detail": json.dumps({"updates": updates}, default=str),
    }
    answer = bus.put_events(Entries=[entry])  # type: ignore[attr-defined]
    if answer["FailedEntryCount"]:
        raise RuntimeError(f"EventBridge refused the tick: {answer}")


def _await_snapshots(socket: Socket, waiting: set[str]) -> None:
    """A tick that overtakes the subscription would show in its snapshot, and in no update."""
    deadline = time.monotonic() + ARRIVAL_SECONDS_MAX
    while waiting:
        message = socket.receive(max(deadline - time.monotonic(), 0.001))
        if message is None:
            raise RuntimeError(f"no snapshot of {sorted(waiting)} within {ARRIVAL_SECONDS_MAX} s")
        if message["type"] == "snapshot":
            waiting.discard(message["portfolio_id"])


def _await(socket: Socket, waiting: set[str], as_of: str, number: int) -> list[float]:
    """When each portfolio's update of that time was here, in epoch milliseconds."""
    deadline, arrived = time.monotonic() + ARRIVAL_SECONDS_MAX, []
    while waiting:
        message = socket.receive(max(deadline - time.monotonic(), 0.001))
        if message is None:
            raise RuntimeError(f"tick {number}: no update of {sorted(waiting)} within {ARRIVAL_SECONDS_MAX} s")
        for update in message.get("updates", ()):
            if update["portfolio_id"] in waiting and update["data"].get("as_of") == as_of:
                waiting.remove(update["portfolio_id"])
                arrived.append(float(now_ms()))
    return arrived


def _least(bare: Sequence[float]) -> list[float]:
    """What is left if our code took no time: a tick anywhere in a window, and everything that is waited for by design.

    A message is on its way while its window still runs, so a hop hides behind the wait; only the price queue's shows.
    """
    draw = random.Random(4)

    def after(at_ms: float, length_ms: int, skew_ms: int = 0) -> float:
        """When a message of the window of ``at_ms`` may be processed, and is there."""
        end_ms = (at_ms // length_ms + 1) * length_ms
        return max(end_ms + skew_ms, at_ms + draw.choice(bare))

    starts = [draw.uniform(0, WINDOW_MS) for _ in range(_DRAWS)]
    return [after(after(start + draw.choice(bare), WINDOW_MS, SKEW_MS), FLUSH_MS) - start for start in starts]
