"""Accounts from 1:30 to 1:500 over a path of quotes with all that real ones have: crossed ones, late ones, silences."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from random import Random

import pytest

from tests.property.margin_replay import MAX_AGE_MS, Moment, Tick, accounts, expected, moments, system

START_MS = 1_399_507_200_000
POINT = Decimal("0.00001")


def path(seed: int, length: int = 900) -> list[Tick]:
    """A sliding day that comes back twice; of a hundred quotes three are crossed, three late, one after a silence."""
    random, ts_ms, points, ticks = Random(seed), START_MS, 139_000, list[Tick]()
    for number in range(length):
        # down half a percent, back up, and down further than before
        drift = -4 if number % 450 < 200 else 3
        points += drift + random.randint(-9, 9)
        kind = random.random()
        ts_ms += MAX_AGE_MS + random.randint(1, 300_000) if kind < 0.01 else random.randint(0, 9_000)
        spread = -random.randint(1, 400) if 0.01 < kind < 0.04 else random.randint(0, 20)
        late_ms = random.randint(1, 20_000) if 0.04 < kind < 0.07 else 0
        # late and crossed ones are far off: whoever took them would call at once
        shift = random.choice((-2_000, 2_000)) if late_ms or spread < 0 else 0
        bid = (points + shift) * POINT
        ticks.append(Tick(ts_ms - late_ms, bid, bid + spread * POINT))
    return ticks


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_calls_and_stop_outs_come_at_the_right_ticks_once_and_never_on_bad_quotes(seed: int) -> None:
    ticks = path(seed)
    seen = list(moments(ticks))
    kinds: set[str] = set()
    for portfolio in accounts(next(tick for tick in ticks if tick.bid <= tick.ask)):
        raised = system(portfolio, seen)
        assert raised.events == expected(portfolio, seen), portfolio.key
        assert len(set(raised.ids)) == len(raised.ids)
        assert raised.on_bad_data == []
        kinds |= {kind for _, kind in raised.events}
    assert kinds == {"margin_call", "stop_out", "margin_restored"}


def test_the_path_has_what_it_should_have() -> None:
    ticks = path(1)
    seen = list(moments(ticks))
    assert sum(tick.bid > tick.ask for tick in ticks) > 10
    assert sum(one.ts_ms > other.ts_ms for one, other in pairwise(ticks)) > 10
    assert sum(moment.tick is None for moment in seen) > 3


def test_a_path_of_bad_quotes_alone_raises_nothing() -> None:
    """After one good quote: crossed and late ones that would be calls, and a silence."""
    first = Tick(START_MS, Decimal("1.39"), Decimal("1.3901"))
    bad = [Tick(START_MS + 1, Decimal("1.2"), Decimal("1.1")), Tick(START_MS - 1, Decimal("1.1"), Decimal("1.2"))]
    seen = [*moments([first, *bad]), Moment(9, START_MS + 10 * MAX_AGE_MS, None)]
    for portfolio in accounts(first):
        assert system(portfolio, seen).events == expected(portfolio, seen[:1])
