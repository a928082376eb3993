"""How the system is: the calls under /api/market."""

from __future__ import annotations

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response

from foliostream.api import requests
from foliostream.api.answers import answer
from foliostream.api.openapi import answers, ref
from foliostream.api.parts import Parts
from foliostream.api.shapes import AlarmStates, DirtyUsers, Freshness, MarketStatus, QueueState, RaisedAlarm
from foliostream.application import figures
from foliostream.application.access import Caller
from foliostream.application.status import Status
from foliostream.domain.keys import ACCOUNT_TYPES
from foliostream.domain.times import iso
from foliostream.ports import Alarm

_NOT_KEPT = {"Cache-Control": "no-store"}


def status_routes(api: APIGatewayRestResolver, parts: Parts) -> None:
    """Scope ``admin``: they name other people's keys."""

    @api.get(
        "/api/market/portfolio/status",
        summary="How the system is (scope admin)",
        responses=answers(status_200=("The status", ref(MarketStatus))),
    )
    def get_status() -> Response[str]:
        return answer(200, _shown(parts.operations.status(_caller(api))), _NOT_KEPT)

    @api.get(
        "/api/market/portfolio/dirty-users/<user_type>",
        summary="Who waits for a valuation (scope admin)",
        responses=answers(status_200=("Portfolio keys", ref(DirtyUsers))),
    )
    def get_dirty_users(user_type: str) -> Response[str]:
        found = parts.operations.dirty(_caller(api), requests.name(user_type))
        return answer(200, DirtyUsers(found.account_type, found.count, found.keys, found.oldest_age_ms), _NOT_KEPT)


def _caller(api: APIGatewayRestResolver) -> Caller:
    return requests.caller(api.current_event.raw_event)


def _shown(status: Status) -> MarketStatus:
    started_ms = status.counted_since_ms or status.now_ms
    ages = {account_type: dirty.oldest_age_ms for account_type, dirty in status.dirty.items()}
    return MarketStatus(
        is_running=status.is_running,
        uptime_seconds=max(status.now_ms - started_ms, 0) // 1000,
        symbols_processed=status.figures.get(figures.SYMBOLS_PROCESSED, 0),
        users_affected_total=status.figures.get(figures.USERS_AFFECTED, 0),
        portfolios_valued=status.figures.get(figures.PORTFOLIOS_VALUED, 0),
        dirty_users_live=status.dirty["live"].count,
        dirty_users_demo=status.dirty["demo"].count,
        dirty_users_paper=status.dirty["paper"].count,
        errors=status.figures.get(figures.ERRORS, 0),
        last_sweep_at=None if status.swept_at_ms is None else iso(status.swept_at_ms),
        freshness={
            account_type: Freshness(list(figures.AGE_BOUNDS_MS), figures.ages(status.figures, account_type))
            for account_type in ACCOUNT_TYPES
        },
        queues={
            name: QueueState(depth.waiting, depth.in_flight, ages.get(name)) for name, depth in status.queues.items()
        },
        alarms=None if status.alarms is None else _alarm_states(status.alarms),
    )


def _alarm_states(alarms: list[Alarm]) -> AlarmStates:
    raised = sorted((alarm for alarm in alarms if alarm.state == "ALARM"), key=lambda alarm: -alarm.since_ms)
    return AlarmStates(
        ok=sum(alarm.state == "OK" for alarm in alarms),
        insufficient_data=sum(alarm.state == "INSUFFICIENT_DATA" for alarm in alarms),
        raised=[RaisedAlarm(alarm.name, iso(alarm.since_ms), alarm.description) for alarm in raised],
    )
