"""The figures of the dashboard, as far as one machine has them: from the status, and from the metrics in the logs."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from foliostream_client.transport import Rest

STATUS = "/api/market/portfolio/status"
# Freshness is of the last minutes, like a dashboard's.
SINCE_S = 300

_decoder = json.JSONDecoder()


def read(rest: Rest, log_lines: Iterable[str]) -> str:
    """What `make status` prints; ``log_lines``: recalculate's. The token needs the scope admin."""
    return shown(rest.get(STATUS), ages_ms(log_lines))


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


def shown(status: Mapping[str, Any], ages: Mapping[str, list[int]]) -> str:
    """A line a figure, then one for each queue in which something waits, dead letters named as such."""
    late = "" if status["is_running"] else " (should run each minute)"
    sums = f"{status['symbols_processed']} prices, {status['portfolios_valued']} valuations, {status['errors']} errors"
    lines = [f"sweep      {status['last_sweep_at'] or 'not yet'}{late}", f"so far     {sums}"]
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


def at(ordered: list[int], percent: int) -> int:
    """The smallest of the values that so many percent do not exceed."""
    return ordered[max(-(-len(ordered) * percent // 100) - 1, 0)]
