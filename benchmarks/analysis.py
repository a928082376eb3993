"""From a client's `analyze` to its first result, through the deployed local cloud."""

import random
import time
from collections.abc import Sequence
from datetime import date, timedelta

from benchmarks.hop import Hops
from benchmarks.measuring import Reference, Row, now_ms, spread
from foliostream.domain.times import iso
from foliostream_client.transport import Rest, Socket
from local import cloud
from local.cloud import Outputs
from local.settings import Settings

ANALYSES = 50
WARM_UP = 4
HOLDINGS = 10
CLOSES = 300
ARRIVAL_SECONDS_MAX = 15.0
_DRAWS = 20_000
_OWNER = "demo"
_PORTFOLIO = "analysed"


def measure(settings: Settings, outputs: Outputs, bare: Hops) -> list[Row]:
    """The first result, and all five, of one analysis after the other; beside what the emulator alone costs on the
    way: the client's message to a function, an asynchronous invocation, a queue's message to a function. Nothing on
    that way waits by design."""
    tickers = _account(Rest(outputs.rest_url, outputs.token))
    firsts, ends = [], []
    with Socket(outputs.ws_url, cloud.local_issuer(settings).token(_OWNER)) as socket:
        for number in range(WARM_UP + ANALYSES):
            first_ms, end_ms = _analyse(socket, tickers[number % len(tickers)])
            if number >= WARM_UP:
                firsts.append(first_ms)
                ends.append(end_ms)
    least = _least(bare)
    return [
        *(
            Row(
                f"analysis_first_result_p{percent}_ms",
                f"analyze to first result, p{percent}",
                "ms",
                spread(firsts, percent),
                (Reference(f"analysis_limit_p{percent}_ms", f"bare hops, p{percent}", spread(least, percent)),),
            )
            for percent in (50, 95)
        ),
        Row("analysis_completed_p95_ms", "analyze to all five results, p95", "ms", spread(ends)),
    ]


def _account(rest: Rest) -> list[str]:
    """Ten stocks, each with more than a year of closes; what it holds."""
    draw, symbols = random.Random(5), [f"ANALYSED{number}" for number in range(HOLDINGS)]
    days = [(date(2024, 1, 1) + timedelta(number)).isoformat() for number in range(CLOSES)]
    for symbol in symbols:
        rest.put(f"/api/v1/instruments/{symbol}", {"kind": "stock", "currency": "USD"})
        closes = [{"date": day, "close": draw.randint(90, 110)} for day in days]
        rest.put(f"/api/v1/instruments/{symbol}/history", {"closes": closes})
    ts_ms = now_ms()
    rest.post("/api/v1/prices", {"updates": [{"symbol": symbol, "last": 100, "ts": ts_ms} for symbol in symbols]})
    account = {"account_type": "live", "account_kind": "cash", "base_currency": "USD", "cost_basis": "average"}
    rest.post(
        "/api/v1/portfolios",
        {"portfolio_id": _PORTFOLIO, "portfolio_name": "Analysed", "initial_cash": 100_000, **account},
    )
    buys = [
        {"instrument_id": symbol, "transaction_type": "BUY", "quantity_change": 10, "price": 100} for symbol in symbols
    ]
    body = {"portfolio_id": _PORTFOLIO, "timestamp": iso(ts_ms), "updates": buys}
    rest.post(f"/api/v1/portfolio/{_PORTFOLIO}/update", body)
    return symbols


def _analyse(socket: Socket, ticker: str) -> tuple[float, float]:
    """Milliseconds until its first result and its end were here."""
    started, first_ms = time.monotonic(), 0.0
    socket.send({"action": "analyze", "ticker": ticker, "portfolio_id": _PORTFOLIO})
    while (left := started + ARRIVAL_SECONDS_MAX - time.monotonic()) > 0:
        message = socket.receive(left)
        passed_ms = (time.monotonic() - started) * 1_000
        if message is not None and message["type"] == "analysis_result":
            first_ms = first_ms or passed_ms
        if message is not None and message["type"] == "analysis_completed":
            return first_ms, passed_ms
    raise RuntimeError(f"no analysis of {ticker} within {ARRIVAL_SECONDS_MAX} s")


def _least(bare: Hops) -> Sequence[float]:
    """What is left if our code took no time: to the WebSocket's function, to the one that computes, to the sender."""
    draw = random.Random(4)
    return [draw.choice(bare.socket) + draw.choice(bare.call) + draw.choice(bare.queue) for _ in range(_DRAWS)]
