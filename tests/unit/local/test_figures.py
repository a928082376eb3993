"""What `make status` prints."""

from __future__ import annotations

from typing import Any

from foliostream import metrics
from local import figures
from tests.unit.domain.examples import NOW

NOTHING = figures.Figures({}, {}, 1.0)


def line(account_type: str, ages: list[int]) -> str:
    emitted = metrics.line(NOW, {"Stack": "s", "AccountType": account_type}, {"DirtyAge": ages, "PortfoliosValued": 1})
    return f"/aws/lambda/recalculate  {emitted}"


def status(**others: Any) -> dict[str, Any]:  # noqa: ANN401 (as the call answers it)
    return {
        "is_running": True,
        "symbols_processed": 7,
        "portfolios_valued": 5,
        "errors": 1,
        "last_sweep_at": "2026-11-21T10:00:00.000Z",
        "dirty_users_live": 2,
        "dirty_users_demo": 0,
        "dirty_users_paper": 0,
        "queues": {},
    } | others


def test_figures_are_what_the_functions_emit_and_other_lines_are_passed_over() -> None:
    pushed = metrics.line(NOW, {"Stack": "s"}, {"MessagesPushed": 3})
    lines = ["/aws/lambda/recalculate  START", line("live", [300, 100]), line("demo", [900]), line("live", [200])]
    found = figures.emitted([*lines, f"/aws/lambda/push  {pushed}"], NOW + 20_000)
    assert found.ages_ms == {"live": [100, 200, 300], "demo": [900]}
    assert found.sums == {"PortfoliosValued": 3, "MessagesPushed": 3}
    assert found.seconds == 20
    assert figures.emitted([line("live", [])], NOW).ages_ms == {}


def test_rates_are_of_the_time_since_the_first_line_and_the_degraded_of_the_valued() -> None:
    sums = {"SymbolsProcessed": 40, "PortfoliosValued": 200, "MessagesPushed": 30, "FillsBooked": 4, "SweepFinds": 2}
    row = figures.shown(status(), figures.Figures(sums | {"PortfoliosDegraded": 1}, {}, 20.0)).splitlines()[2]
    said = "2.0 prices/s, 10.0 valuations/s, 1.5 pushes/s, 0.2 fills/s, 2 found by the sweep, 0.5 % degraded"
    assert row == f"lately     {said}"


def test_a_percentile_is_a_value_that_was_seen() -> None:
    ages = list(range(1, 101))
    assert (figures.at(ages, 50), figures.at(ages, 99)) == (50, 99)
    assert (figures.at([7], 50), figures.at([7], 99)) == (7, 7)
    assert figures.at([1, 2], 99) == 2


def test_freshness_and_everything_that_waits_is_shown_with_dead_letters_told_apart() -> None:
    queues = {
        "live": {"waiting": 2, "in_flight": 1, "oldest_age_ms": 40},
        "fills_dead": {"waiting": 4, "in_flight": 0, "oldest_age_ms": None},
        "push": {"waiting": 0, "in_flight": 0, "oldest_age_ms": None},
    }
    shown = figures.shown(status(queues=queues), figures.Figures({}, {"live": [100, 300]}, 1.0))
    assert [row for row in shown.splitlines() if not row.startswith("lately")] == [
        "sweep      2026-11-21T10:00:00.000Z",
        "so far     7 prices, 5 valuations, 1 errors",
        "live       2 wait, p50 100 ms, p99 300 ms",
        "demo       0 wait",
        "paper      0 wait",
        "queue      fills: 4 dead letters",
        "queue      live: 3 messages, the oldest since 40 ms",
    ]


def test_a_sweep_that_does_not_run_is_said() -> None:
    text = figures.shown(status(is_running=False, last_sweep_at=None), NOTHING)
    assert text.startswith("sweep      not yet (should run each minute)\n")
