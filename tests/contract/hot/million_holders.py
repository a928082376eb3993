"""`python -m tests.contract.hot.million_holders URL SYMBOL`: what a price of a very popular symbol takes.

Prints how many portfolios were marked, in how many bundles, and the most memory it ever had, in MB.
"""

import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import msgspec

from foliostream.adapters.redis_connection import RedisConnection
from foliostream.adapters.redis_hot_store import RedisHotStore
from foliostream.adapters.system_clock import SystemClock
from foliostream.application.marking import Marker
from foliostream.application.update_prices import update_prices
from foliostream.domain.coalescing import Bundle
from foliostream.domain.instrument import Instrument
from foliostream.domain.price import PriceUpdate
from tests.fakes.instruments import FakeInstruments


class Encoding:
    """The port `Queues`: what a queue's adapter does to every bundle, without the queue."""

    def send(self, _queue: str, bundles: Sequence[Bundle]) -> None:
        for bundle in bundles:
            msgspec.json.encode(bundle.message)

    def dead_letter(self, _queue: str, _message: object, reason: str) -> None:
        raise RuntimeError(reason)


def main(url: str, symbol: str) -> None:
    clock = SystemClock()
    store = RedisHotStore(RedisConnection(url, shards=64), clock)
    windows = {"live": 200, "demo": 1000, "paper": 3000}
    marker = Marker(Encoding(), store, clock, windows, 100, 64, 500, lambda: "never used")
    report = update_prices(
        [PriceUpdate(symbol, clock.now_ms(), last=Decimal(1))],
        prices=store,
        holders=store,
        instruments=FakeInstruments(Instrument(symbol, "stock", "USD")),
        marker=marker,
        clock=clock,
    )
    sys.stdout.write(f"{report.portfolios_marked} {report.bundles_sent} {_highest_kb() // 1024}\n")


def _highest_kb() -> int:
    """Of this program alone: what `getrusage` tells is also that of the process it was started from."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
