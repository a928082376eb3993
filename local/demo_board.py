"""What the demo knows: the state of every account as its messages say, what was counted, and whether it is right.

Pure: messages and times come in, nothing is fetched or shown here. Times are epoch milliseconds.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from math import ceil
from typing import NamedTuple

from foliostream.domain.times import epoch_ms
from foliostream_client.transport import Json
from local.demo_accounts import Account, AccountType

State = dict[str, Json]

RATE_OVER_MS = 10_000
MARGIN_EVENTS = frozenset({"margin_call", "margin_restored", "margin_unknown", "stop_out"})
_CENT = Decimal("0.01")
_VERSIONS_KEPT = 50
_TOTALS_KEPT = 40
# Derived again from the clock whenever a state is read, so two readings of one version may differ in them.
_OF_THE_MOMENT = frozenset({"stale", "calc_status"})


class Delay(NamedTuple):
    """Percentiles (nearest rank) of tick-to-screen times, in milliseconds."""

    p50_ms: int
    p95_ms: int
    samples: int


@dataclass
class Row:
    """One account on the screen."""

    account: Account
    state: State = field(default_factory=dict)
    version: int = 0
    snapshots: int = 0
    updates: int = 0
    updated_at_ms: int | None = None
    totals: deque[Decimal] = field(default_factory=lambda: deque(maxlen=_TOTALS_KEPT))
    delays_ms: list[int] = field(default_factory=list)
    shown: dict[int, State] = field(default_factory=dict)
    arrivals_ms: deque[int] = field(default_factory=deque)

    def rate(self, now_ms: int) -> float:
        """Updates a second over the last ten seconds."""
        while self.arrivals_ms and self.arrivals_ms[0] <= now_ms - RATE_OVER_MS:
            self.arrivals_ms.popleft()
        return len(self.arrivals_ms) * 1000 / RATE_OVER_MS

    def _show(self, version: int, state: State, now_ms: int) -> None:
        self.version, self.state, self.updated_at_ms = version, state, now_ms
        self.shown[version] = state
        while len(self.shown) > _VERSIONS_KEPT:
            del self.shown[next(iter(self.shown))]
        if state["total_value"] is not None:
            self.totals.append(state["total_value"])

    def snapshot(self, version: int, state: State, now_ms: int) -> None:
        """The whole state, whatever was known before."""
        self.snapshots += 1
        self._show(version, state, now_ms)

    def update(self, version: int, changes: State, now_ms: int) -> None:
        """What changed since the version on the screen."""
        before = self.state["as_of"]
        self.updates += 1
        self.arrivals_ms.append(now_ms)
        self._show(version, merged(self.state, version, changes), now_ms)
        if self.state["as_of"] != before and self.state["as_of"] is not None:
            self.delays_ms.append(now_ms - epoch_ms(self.state["as_of"]))


@dataclass
class Board:
    """All accounts, the connection, and what went wrong (``faults``: each is a reason not to say ok). ``told``: kinds
    of the margin events that came, each once; ``margin``: the last of them in words."""

    rows: dict[str, Row]
    started_ms: int
    ticks: set[str] = field(default_factory=set)
    last_tick_ms: int | None = None
    valuations: int = 0
    pushes: int = 0
    gaps: int = 0
    connections: int = 0
    connected: bool = False
    trouble: str = ""
    told: list[str] = field(default_factory=list)
    margin: str = ""
    faults: list[str] = field(default_factory=list)

    _event_ids: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, accounts: Iterable[Account], started_ms: int) -> "Board":
        """An empty board."""
        return cls({account.portfolio_id: Row(account) for account in accounts}, started_ms)

    def opened(self) -> None:
        """A connection stands; snapshots of everything will follow."""
        self.connections += 1
        self.connected, self.trouble = True, ""

    def lost(self, reason: str) -> None:
        """The connection is gone; what is on the screen grows old."""
        self.connected, self.trouble = False, reason

    def arrived(self, message: Mapping[str, Json], now_ms: int) -> list[str]:
        """Take a message in; the portfolios that must be asked for a fresh snapshot because a version is missing."""
        kind = message.get("type")
        if kind == "snapshot":
            self.pushes += 1
            return self._snapshot(message, now_ms)
        if kind == "portfolio_update":
            self.pushes += 1
            return [lost for update in message["updates"] for lost in self._update(update, now_ms)]
        if kind == "resync_required":
            return [message["portfolio_id"]]
        if kind in MARGIN_EVENTS and message["event_id"] not in self._event_ids:
            self._event_ids.add(message["event_id"])
            self.told.append(kind)
            level = message.get("level_percent")
            self.margin = f"{message['portfolio_id']}: {kind.replace('_', ' ')}" + (f" at {level} %" if level else "")
        if kind == "error":
            self.faults.append(f"the server sent an error: {message.get('code')}: {message.get('message')}")
        return []

    def _snapshot(self, message: Mapping[str, Json], now_ms: int) -> list[str]:
        row = self.rows.get(message["portfolio_id"])
        if row is not None:
            self.valuations += message["version"] not in row.shown
            row.snapshot(message["version"], message["data"], now_ms)
        return []

    def _update(self, update: Mapping[str, Json], now_ms: int) -> list[str]:
        row = self.rows.get(update["portfolio_id"])
        if row is None or update["version"] <= row.version:
            return []  # a repeat: the sender may have crashed between sending and remembering
        if update["previous_version"] != row.version:
            self.gaps += 1
            self.faults.append(
                f"{update['portfolio_id']}: an update from version {update['previous_version']} to {update['version']} "
                f"came while version {row.version} was on the screen"
            )
            return [update["portfolio_id"]]
        row.update(update["version"], update["data"], now_ms)
        self.valuations += 1
        self._ticked(row.state["as_of"], now_ms)
        return []

    def _ticked(self, as_of: str | None, now_ms: int) -> None:
        if as_of is not None and as_of not in self.ticks:
            self.ticks.add(as_of)
            self.last_tick_ms = now_ms

    def silent_ms(self, now_ms: int) -> int:
        """How long no new price has been seen."""
        return now_ms - (self.last_tick_ms or self.started_ms)

    def delay(self, account_type: AccountType | None = None) -> Delay | None:
        """Tick-to-screen over all accounts, or over those of a type; None before the first."""
        rows = [row for row in self.rows.values() if account_type in {None, row.account.account_type}]
        delays = sorted(delay for row in rows for delay in row.delays_ms)
        return Delay(percentile(delays, 50), percentile(delays, 95), len(delays)) if delays else None

    def missing(self) -> list[str]:
        """What should have come by now and did not."""
        found = [f"no snapshot of {name} arrived" for name, row in self.rows.items() if not row.snapshots]
        found += [
            f"no update of {name} arrived" for name, row in self.rows.items() if row.snapshots and not row.updates
        ]
        if not self.ticks:
            found.insert(0, "no tick arrived: the market feed sent nothing that reached a portfolio")
        if not self.connected:
            found.append(f"the WebSocket is not connected: {self.trouble or 'it never was'}")
        return found


def merged(state: State, version: int, changes: State) -> State:
    """The state after an update: changed fields replaced, positions by ``instrument_id``; the given one stays."""
    after = state | {name: value for name, value in changes.items() if name not in {"positions", "positions_removed"}}
    positions = {position["instrument_id"]: position for position in state["positions"]}
    positions |= {position["instrument_id"]: position for position in changes.get("positions", ())}
    for removed in changes.get("positions_removed", ()):
        positions.pop(removed, None)
    return after | {"positions": list(positions.values()), "version": version}


def percentile(ordered: Sequence[int], percent: int) -> int:
    """The nearest-rank percentile of sorted values, of which there is at least one."""
    return ordered[max(ceil(len(ordered) * percent / 100), 1) - 1]


def differences(shown: State, fetched: State) -> list[str]:
    """Where what was put together from updates is not what REST answers for the same version."""
    one, other = _comparable(shown), _comparable(fetched)
    return [
        f"{name} on the screen {one.get(name)}, by REST {other.get(name)}"
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    ]


def _comparable(state: State) -> State:
    positions = {f"position {position['instrument_id']}": position for position in state["positions"]}
    return {name: value for name, value in state.items() if name not in _OF_THE_MOMENT | {"positions"}} | positions


def mistakes(state: State) -> list[str]:
    """Where a state contradicts itself: total, parts and weights computed again from quantities and prices."""
    if state["total_value"] is None:
        return [f"it has no total: {state['calc_status']}, without a price: {', '.join(state['unpriced'])}"]
    with localcontext(prec=60):
        positions = state["positions"]
        total = sum((_worth(position) for position in positions), Decimal(0)).quantize(_CENT, ROUND_HALF_EVEN)
        parts = sum((position["market_value"] for position in positions), Decimal(0))
        weights = sum((state["weights"] or {}).values(), Decimal(0))
        half_units = Decimal(len(positions) + 1) / 2
        found = []
        if total != state["total_value"]:
            found.append(f"total_value is {state['total_value']}, cash and quantity x price make {total}")
        if abs(parts - state["total_value"]) > half_units * _CENT:
            found.append(f"total_value is {state['total_value']}, the positions sum to {parts}")
        if state["weights"] and abs(weights - 1) > half_units * Decimal("0.000001"):
            found.append(f"the weights sum to {weights}")
    return found


def _worth(position: Mapping[str, Json]) -> Decimal:
    if position["position_type"] == "CASH":
        return Decimal(position["quantity"])
    return Decimal(position["quantity"]) * Decimal(position["mark"]) * Decimal(position["multiplier"])


def summary(board: Board) -> Iterator[str]:
    """The figures of a run, a line an account and a line an account type."""
    for row in board.rows.values():
        total = "no total" if row.state.get("total_value") is None else f"{row.state['total_value']:,.2f} USD"
        yield f"{row.account.name:<22} {row.account.account_type:<5} {total:>18}  {row.updates:>5} updates"
    for account_type in ("live", "demo", "paper"):
        yield f"tick-to-screen {account_type:<5} {_delay_text(board.delay(account_type))}"
    if board.connections > 1:
        yield f"the WebSocket was connected {board.connections} times"


def totals_line(board: Board) -> str:
    """The one line a script reads."""
    return (
        f"{len(board.ticks)} ticks, {board.valuations} valuations, {board.pushes} pushes, "
        f"tick-to-screen {_delay_text(board.delay())}"
    )


def _delay_text(delay: Delay | None) -> str:
    return f"p50 {delay.p50_ms} ms p95 {delay.p95_ms} ms" if delay else "not seen"
