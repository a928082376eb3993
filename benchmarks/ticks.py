"""From a tick on EventBridge to the WebSocket, through the deployed local cloud: the five live accounts of the demo."""

import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import hop
from benchmarks.container import SKEW_MS
from benchmarks.measuring import Figure, Reference, Row, now_ms, percentile
from foliostream.adapters.replay_quotes import ReplayQuotes
from foliostream.domain.times import iso
from local import cloud
from local.client import Rest, Socket
from local.cloud import Outputs
from local.demo_accounts import ACCOUNTS, open_accounts, register_instruments
from local.settings import Settings

TICKS = 50
WARM_UP = 4
WINDOW_MS = 200
FLUSH_MS = 100
ARRIVAL_SECONDS_MAX = 15.0
_DRAWS = 20_000


def measure(home: Path) -> list[Row]:
    """The 95th percentile over ticks and accounts, beside what the waits by design and the emulator alone cost."""
    settings = Settings(home=home, port=0, portfolio={"PORTFOLIO_HOT_STORE": "valkey"})
    try:
        outputs = cloud.up(settings)
        bare = hop.measure(outputs)
        delays = _ticks(settings, outputs)
    finally:
        cloud.down(settings)
    least = _least(bare)
    references = (
        Reference("tick_to_ws_limit_p95_ms", "waits by design + bare hops, p95", _spread(least)),
        Reference("tick_to_ws_window_ms", "the window", Figure(WINDOW_MS, WINDOW_MS, WINDOW_MS)),
    )
    return [
        Row("tick_to_ws_p95_ms", "tick to WebSocket, live accounts, p95", "ms", _spread(delays), references),
        Row("tick_to_ws_p50_ms", "tick to WebSocket, live accounts, p50", "ms", _spread(delays, 50)),
        Row("emulator_hop_p50_ms", "emulator: message to bare function, p50", "ms", _spread(bare, 50)),
    ]


def _ticks(settings: Settings, outputs: Outputs) -> list[float]:
    """Milliseconds from before each tick is published until each account's update with it is here."""
    accounts = [account for account in ACCOUNTS if account.account_type == "live"]
    rest, sample = Rest(outputs.rest_url, outputs.token), ReplayQuotes()
    register_instruments(rest, sample.symbols)
    open_accounts(rest, accounts, sample)
    ids = [account.portfolio_id for account in accounts]
    bus, pause, delays = hop.aws(outputs, "events"), random.Random(3), []
    with Socket(outputs.ws_url, cloud.local_issuer(settings).token("demo")) as socket:
        socket.send({"action": "subscribe", "portfolio_ids": ids})
        _await_snapshots(socket, set(ids))
        for number in range(WARM_UP + TICKS):
            started_ms = now_ms()
            updates = [quote | {"last": str(quote["last"])} for quote in sample.quotes(number, started_ms)]
            _publish(bus, outputs.resources["EventBusName"], updates)
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

    def after(at_ms: float, length_ms: int) -> float:
        """When a message of the window of ``at_ms`` may be processed, and is there."""
        end_ms = (at_ms // length_ms + 1) * length_ms
        return max(end_ms + SKEW_MS, at_ms + draw.choice(bare))

    starts = [draw.uniform(0, WINDOW_MS) for _ in range(_DRAWS)]
    return [after(after(start + draw.choice(bare), WINDOW_MS), FLUSH_MS) - start for start in starts]


def _spread(samples: Sequence[float], percent: float = 95) -> Figure:
    """The percentile with the lowest and highest single sample."""
    return Figure(percentile(samples, percent), min(samples), max(samples))
