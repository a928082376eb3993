"""An analysis is asked for, or given up: its run is opened in the session and computed elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from foliostream.application.answering import Answers
from foliostream.application.protocol import Analyze, Cancel
from foliostream.application.runs import Runs
from foliostream.application.subscribing import Subscribing
from foliostream.application.valuing import Valuer
from foliostream.domain import invested, state
from foliostream.domain.analysis_task import METRIC_NAMES, Task
from foliostream.errors import RefusedError
from foliostream.ports import AnalysisStarter, Connection


@dataclass(frozen=True)
class Analyzing:
    """``starter`` has the task worked on, without waiting for it."""

    subscribing: Subscribing
    valuer: Valuer
    runs: Runs
    starter: AnalysisStarter
    answers: Answers

    def analyze(self, connection: Connection, action: Analyze) -> None:
        """Open a run over the newest snapshot: from then on the run before neither stores nor sends anything.
        ``RefusedError`` ``UNKNOWN_TICKER`` for what the portfolio does not hold, which changes nothing."""
        portfolio = self.subscribing.portfolio(connection, action.portfolio_id)
        shown = self.valuer.current_one(portfolio.portfolio_id)
        values = invested.market_values(state.decode_state(shown.body))
        if action.ticker not in values:
            raise RefusedError(f"{portfolio.portfolio_id} does not hold {action.ticker}", code="UNKNOWN_TICKER")
        self.runs.open(
            connection,
            ticker=action.ticker,
            portfolio_id=portfolio.portfolio_id,
            version=shown.head.version,
            metrics=METRIC_NAMES,
            start=lambda run: self.starter.start(Task(connection.session_id, run, values, portfolio.target_weights)),
            request_id=action.request_id,
        )

    def cancel(self, connection: Connection, action: Cancel) -> None:
        """End the session's run; its ``analysis_cancelled`` comes in order. ``RefusedError`` ``NOTHING_TO_CANCEL``."""
        if self.runs.cancel(connection.session_id, action.request_id) is None:
            raise RefusedError("no analysis is running", code="NOTHING_TO_CANCEL")
