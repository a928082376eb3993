"""The five metrics of a run, computed side by side; each is stored as it is ready, while the run is the current one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import tzinfo

from foliostream.application.runs import Runs
from foliostream.domain import closes
from foliostream.domain.analysis_task import Task
from foliostream.domain.closes import Closes
from foliostream.domain.portfolio_metrics import METRICS, WITHOUT_CLOSES, Holdings, Result, compute
from foliostream.errors import FoliostreamError
from foliostream.ports import Clock, Instruments, PriceHistory, Sessions

# Read while the metrics that need no closes are stored.
_CLOSES, _SESSION = "closes", "session"


@dataclass(frozen=True)
class Report:
    """``stored``: the metrics that this invocation stored; ``is_completed``: whether it ended the run, which it does
    not where the run gave way or another delivery was first; ``fault``: why the run has failed."""

    stored: list[str]
    is_completed: bool
    fault: str | None = None


@dataclass(frozen=True)
class Computing:
    """``zone``: the market's; ``each`` works over several names at a time."""

    sessions: Sessions
    runs: Runs
    instruments: Instruments
    price_history: PriceHistory
    clock: Clock
    zone: tzinfo
    each: Callable[[Callable[[str], str | None], Iterable[str]], Iterable[str | None]]

    def __call__(self, task: Task) -> Report:
        """Store every metric that is not there yet, and the end. Delivered twice it stores nothing twice; of a run
        that gave way it stores nothing at all. A store that fails ends the run with ``analysis_failed``; where not
        even that can be stored it raises, for another try."""
        try:
            return self._run(task)
        except FoliostreamError as fault:
            code = "UNAVAILABLE" if fault.retryable else "INTERNAL"
            message = "a store fails" if fault.retryable else "something is broken on our side"
            failed = self.runs.fail(task.session_id, task.run, code=code, message=message, retryable=fault.retryable)
            return Report([], is_completed=False, fault=str(fault) if failed else None)

    def _run(self, task: Task) -> Report:
        """What needs nothing but the task is stored at once, under the condition that the run still waits for it,
        while the session and the closes are read."""
        histories: dict[str, Closes] = {}
        looked: dict[str, list[str] | None] = {}
        values_alone = Holdings(task.values, {}, task.targets or None)

        def first(name: str) -> str | None:
            if name == _CLOSES:
                histories.update(self._closes(task))
            elif name == _SESSION:
                looked[name] = self._missing(task)
            else:
                return self._store(task, compute(name, values_alone, task.run.ticker))
            return None

        at_once = [name for name in METRICS if name in WITHOUT_CLOSES and name in task.run.metrics]
        stored = list(self.each(first, [*at_once, _SESSION, _CLOSES]))
        missing = looked[_SESSION]
        if missing is not None:
            held = Holdings(task.values, histories, task.targets or None)
            rest = [name for name in missing if name not in WITHOUT_CLOSES]
            stored += self.each(lambda name: self._store(task, compute(name, held, task.run.ticker)), rest)
        completed = missing is not None and self.runs.complete(task.session_id, task.run)
        return Report([name for name in stored if name is not None], is_completed=completed)

    def _missing(self, task: Task) -> list[str] | None:
        """The metrics that the session has not; None if the run is not the one that is running."""
        session = self.sessions.view(task.session_id, self.clock.now_ms())
        if session is None or session.running is None or session.running.run_id != task.run.run_id:
            return None
        there = {result.metric for result in session.results}
        return [name for name in METRICS if name in task.run.metrics and name not in there]

    def _closes(self, task: Task) -> dict[str, Closes]:
        """Of everything that is held, in units of now: two round trips whatever their number."""
        symbols = list(task.values)
        instruments = self.instruments.get(symbols)
        return {
            symbol: closes.in_units_of_now(kept, instruments[symbol].splits, self.zone)
            for symbol, kept in self.price_history.recent(symbols).items()
            if symbol in instruments
        }

    def _store(self, task: Task, result: Result) -> str | None:
        content: dict[str, object] = {"value": result.value}
        if result.reason is not None:
            content["reason"] = result.reason
        if result.detail is not None:
            content["detail"] = result.detail
        return result.metric if self.runs.result(task.session_id, task.run, result.metric, content) else None
