"""The figures of the dashboard, as far as one machine has them: from the status, and from the metrics in the logs."""

import json
from collections.abc import Iterable, Iterator, Mapping
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
    """What the functions emitted since the first of the lines."""
    lines = list(log_lines)
    sums: dict[str, int] = {}
    first_ms = now_ms
    for line in metrics(lines):
        first_ms = min(first_ms, line["_aws"]["Timestamp"])
        for name, value in line.items():
            if isinstance(value, int):
                sums[name] = sums.get(name, 0) + value
    return Figures(sums, ages_ms(lines), max((now_ms - first_ms) / 1000, 1.0))


def ages_ms(log_lines: Iterable[str]) -> dict[str, list[int]]:
    """From a price's window to the valuation, by account type."""
    found: dict[str, list[int]] = {}
    for line in metrics(log_lines):
        found.setdefault(line.get("AccountType", ""), []).extend(line.get("DirtyAge", []))
    return {name: sorted(ages) for name, ages in found.items() if name and ages}


def metrics(log_lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Lines of CloudWatch's embedded metric format, decoded; all other lines are passed over."""
    for line in log_lines:
        start = line.find('{"_aws"')
        if start >= 0:
            found, _ = _decoder.raw_decode(line, start)
            yield found


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
