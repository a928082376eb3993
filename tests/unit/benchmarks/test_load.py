"""What the load test is held to: its rates, its own arithmetic, and when a worker counts as one that grows."""

from __future__ import annotations

from decimal import Decimal

import pytest

from benchmarks.load.comparison import expected_totals, reference
from benchmarks.load.generator import STEPS_A_SECOND, Sent, SentFill, share
from benchmarks.load.machine import Sample, Watch, leaks
from benchmarks.load.plan import CASH, Plan

PLAN = Plan(seconds=10, portfolios=8, symbols=20, ticks=200, fills=20, sockets=4, shards=2)


@pytest.mark.parametrize("rate", [0, 1, 3, 10, 20, 33, 200, 1_999])
def test_the_steps_of_a_second_have_all_of_its_rate_evenly(rate: int) -> None:
    steps = [share(rate, number) for number in range(70, 70 + STEPS_A_SECOND)]
    assert sum(steps) == rate
    assert max(steps) - min(steps) <= 1


def test_accounts_are_the_same_for_the_process_that_sends_and_the_one_that_compares() -> None:
    first, *_ = accounts = PLAN.accounts()
    assert accounts == PLAN.accounts()
    assert (len(accounts), len(set(first.symbols))) == (8, 10)
    assert {account.account_type for account in accounts} == {"live", "demo", "paper"}


def test_a_total_is_cash_and_what_is_held_at_the_last_prices() -> None:
    account = PLAN.accounts()[0]
    symbol = account.symbols[0]
    sent = Sent(prices=dict.fromkeys(PLAN.all_symbols(), Decimal(100)) | {symbol: Decimal("101.25")})
    sent.fills.append(SentFill("f0", account.portfolio_id, symbol, 3, Decimal("99.50")))
    totals = expected_totals(reference(PLAN.accounts(), sent.fills), sent)
    assert totals[account.portfolio_id] == CASH + 13 * Decimal("101.25") - 10 * 100 - 3 * Decimal("99.50")
    other = next(item for item in PLAN.accounts() if symbol not in item.symbols)
    assert totals[other.portfolio_id] == CASH


def watched(*sizes: float) -> Watch:
    watch = Watch(1, 1)
    watch.samples = [
        Sample(float(number), {"Push": size, "emulator": 100 * size}, {"Push": number / 2}, number * 1.5)
        for number, size in enumerate(sizes)
    ]
    return watch


def test_a_worker_that_grows_to_the_end_leaks_and_one_that_grew_at_first_does_not() -> None:
    growing = watched(*(60 + 4 * number for number in range(20)))
    assert growing.memory()["Push"] == (68, 100, 136)
    assert leaks(growing.memory()) == ["a worker of Push grew from 100 to 136 MB"]
    warmed = watched(60, 90, *[100] * 18)
    assert leaks(warmed.memory()) == []


def test_the_cores_that_are_busy_are_counted_over_the_whole_time() -> None:
    cores = watched(1, 1, 1, 1, 1).cores()
    assert (cores["machine"], cores["Push"]) == (1.5, 0.5)
