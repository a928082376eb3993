"""`GET /api/v1/portfolio/{id}/state`: the real handler of `rest_api` in process, warm, over Valkey.

Every portfolio is valued anew before each block of requests, and every request is for another one: each renders.
"""

from collections.abc import Callable
from typing import Any

import redis

from benchmarks.container import CONTEXT, Container, sample_event
from benchmarks.measuring import Reference, Row, median, percentile, timed
from benchmarks.population import OWNER, Market, portfolios, settle
from foliostream.domain.keys import shard_of

WARM_UP = 200
BLOCKS = 5
REQUESTS_PER_BLOCK = 1_000
PORTFOLIOS = REQUESTS_PER_BLOCK


def measure(container: Container) -> list[Row]:
    """The 99th percentile of the handler's time; blocks of requests show its noise."""
    market = Market([f"R{number:03d}" for number in range(100)])
    settle(container, market)
    ids = []
    for portfolio in portfolios(PORTFOLIOS, market, "state-"):
        container.parts.valuer.project(portfolio)
        ids.append(portfolio.portfolio_id)
    container.parts.valuer.value(ids)
    handler = container.handler("rest_api")
    events = [_request(identifier) for identifier in ids]

    def request(number: int) -> None:
        answer = handler(events[number % len(events)], CONTEXT)
        if answer["statusCode"] != 200:
            raise RuntimeError(f"state: {answer}")

    shards = container.parts.settings.shards
    names = [f"snapshot:{{s{shard_of(identifier, shards)}}}:{identifier}" for identifier in ids]
    with redis.Redis.from_url(container.redis_url, protocol=2) as raw:

        def read(number: int) -> None:
            raw.execute_command("GET", names[number % len(names)])

        _block(request, WARM_UP)
        _block(read, WARM_UP)
        blocks = []
        for _ in range(BLOCKS):
            container.parts.hot.put(market.move())
            container.parts.valuer.value(ids)
            blocks.append((_block(request, REQUESTS_PER_BLOCK), _block(read, REQUESTS_PER_BLOCK)))
    handled, bare = zip(*blocks, strict=True)
    return [
        Row(
            "state_p99_ms",
            "rest_api, state of 10 positions, p99",
            "ms",
            median(handled),
            (Reference("state_limit_p99_ms", "GET of the same bytes, raw, p99", median(bare)),),
        )
    ]


def _block(work: Callable[[int], None], count: int) -> float:
    """The 99th percentile in milliseconds."""
    seconds = [timed(lambda number=number: work(number))[1] for number in range(count)]  # type: ignore[misc]
    return percentile(seconds, 99) * 1_000


def _request(portfolio_id: str) -> dict[str, Any]:
    event = sample_event("rest_api.state")
    event["path"] = f"/api/v1/portfolio/{portfolio_id}/state"
    event["requestContext"]["authorizer"] |= {"sub": OWNER, "principalId": OWNER}
    return event
