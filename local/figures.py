"""The figures of the dashboard, as far as one machine has them: from the status, and from the metrics in the logs."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from foliostream_client.transport import Rest

STATUS = "/api/market/portfolio/status"
# Like a dashboard's, of the last minutes.
SINCE_S = 300

_RATES = {
    "SymbolsProcessed": "prices",
    "PortfoliosValued": "valuations",
    "MessagesPushed": "pushes",
    "FillsBooked": "fills",
}
_decoder = json.JSONDecoder()


class Figures(NamedTuple):
    """What the functions emitted: the sums of each metric, the ages of valuations by account type (ordered), and over
    how many seconds."""

    sums: dict[str, int]
    ages_ms: dict[str, list[int]]
    seconds: float


def read(rest: Rest, log_lines: Iterable[str], now_ms: int) -> str:
    """What `make status` prints; ``log_lines``: those of the last ``SINCE_S`` of all functions. The token needs the
    scope admin."""
    return shown(rest.get(STATUS), emitted(log_lines, now_ms))


def emitted(log_lines: Iterable[str], now_ms: int) -> Figures:
    """Out of lines of CloudWatch's embedded metric format, since the first of them; all other lines are passed over."""
    found, first_ms = Figures({}, {}, 0), now_ms
    for line in log_lines:
        start = line.find('{"_aws"')
        if start < 0:
            continue
        metrics, _ = _decoder.raw_decode(line, start)
        first_ms = min(first_ms, metrics["_aws"]["Timestamp"])
        found.ages_ms.setdefault(metrics.get("AccountType", ""), []).extend(metrics.get("DirtyAge", []))
        for name, value in metrics.items():
            if isinstance(value, int):
                found.sums[name] = found.sums.get(name, 0) + value
    ages = {name: sorted(values) for name, values in found.ages_ms.items() if name and values}
    return Figures(found.sums, ages, max((now_ms - first_ms) / 1000, 1.0))


def shown(status: Mapping[str, Any], figures: Figures) -> str:
    """A line a figure, then one for each queue in which something waits, dead letters named as such."""
    late = "" if status["is_running"] else " (should run each minute)"
    sums = f"{status['symbols_processed']} prices, {status['portfolios_valued']} valuations, {status['errors']} errors"
    lines = [
        f"sweep      {status['last_sweep_at'] or 'not yet'}{late}",
        f"so far     {sums}",
        f"lately     {_row(figures)}",
    ]
    ages = figures.ages_ms
    for name in ("live", "demo", "paper"):
        fresh = f", p50 {at(ages[name], 50)} ms, p99 {at(ages[name], 99)} ms" if name in ages else ""
        lines.append(f"{name:<10} {status[f'dirty_users_{name}']} wait{fresh}")
    for name, queue in sorted(status["queues"].items()):
        count = queue["waiting"] + queue["in_flight"]
        if count:
            age = "" if queue["oldest_age_ms"] is None else f", the oldest since {queue['oldest_age_ms']} ms"
            what = "dead letters" if name.endswith("_dead") else "messages"
            lines.append(f"queue      {name.removesuffix('_dead')}: {count} {what}{age}")
    return "\n".join(lines)


def _row(figures: Figures) -> str:
    """The first row of the dashboard."""
    rates = [f"{figures.sums.get(name, 0) / figures.seconds:.1f} {word}/s" for name, word in _RATES.items()]
    valued = figures.sums.get("PortfoliosValued", 0)
    degraded = 100 * figures.sums.get("PortfoliosDegraded", 0) / valued if valued else 0.0
    return f"{', '.join(rates)}, {figures.sums.get('SweepFinds', 0)} found by the sweep, {degraded:.1f} % degraded"


def at(ordered: list[int], percent: int) -> int:
    """The smallest of the values that so many percent do not exceed."""
    return ordered[max(-(-len(ordered) * percent // 100) - 1, 0)]
