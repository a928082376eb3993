"""What operators see, over REST."""

from __future__ import annotations

import pytest

from foliostream.application import status
from foliostream.application.figures import AGE_BOUNDS_MS, count_valued
from foliostream.application.marking import Later
from foliostream.application.sweep import ENDED
from foliostream.application.valuing import Valued
from foliostream.domain.keys import ACCOUNT_TYPES
from foliostream.ports import Alarm
from tests.unit.api.client import NOW_MS, Client, buy

STATUS = "/api/market/portfolio/status"
DIRTY = "/api/market/portfolio/dirty-users"
ADMIN = "admin"


def test_before_anything_happened_nothing_runs_and_nothing_waits(client: Client) -> None:
    body = client.send("GET", STATUS, scope=ADMIN).body
    assert body == {
        "is_running": False,
        "uptime_seconds": 0,
        "symbols_processed": 0,
        "users_affected_total": 0,
        "portfolios_valued": 0,
        "dirty_users_live": 0,
        "dirty_users_demo": 0,
        "dirty_users_paper": 0,
        "errors": 0,
        "last_sweep_at": None,
        "freshness": {kind: {"bounds_ms": list(AGE_BOUNDS_MS), "counts": [0] * 13} for kind in ACCOUNT_TYPES},
        "queues": {
            "live": {"waiting": 3, "in_flight": 1, "oldest_age_ms": None},
            "push": {"waiting": 0, "in_flight": 0, "oldest_age_ms": None},
            "live_dead": {"waiting": 2, "in_flight": 0, "oldest_age_ms": None},
        },
        "alarms": {"ok": 0, "insufficient_data": 0, "raised": []},
    }


def test_alarms_that_are_raised_are_told_newest_first_with_their_runbook(client: Client) -> None:
    client.parts.alarms.known = [
        Alarm("SweepMissingAlarm", "ALARM", NOW_MS - 60_000, "No sweep. Runbook: docs/operations.md#sweep"),
        Alarm("PriceAgeAlarm", "OK", NOW_MS, ""),
        Alarm("PushAgeAlarm", "INSUFFICIENT_DATA", NOW_MS, ""),
        Alarm("LiveUpdateDelayAlarm", "ALARM", NOW_MS, "Late. Runbook: docs/operations.md#late"),
    ]
    alarms = client.send("GET", STATUS, scope=ADMIN).body["alarms"]
    assert (alarms["ok"], alarms["insufficient_data"]) == (1, 1)
    assert [alarm["name"] for alarm in alarms["raised"]] == ["LiveUpdateDelayAlarm", "SweepMissingAlarm"]
    assert alarms["raised"][1] == {
        "name": "SweepMissingAlarm",
        "since": "2026-02-26T10:29:00.000Z",
        "description": "No sweep. Runbook: docs/operations.md#sweep",
    }


def test_alarms_that_cannot_be_read_are_not_known_and_hold_nothing_else_back(client: Client) -> None:
    client.parts.alarms.known = None
    body = client.send("GET", STATUS, scope=ADMIN).body
    assert body["alarms"] is None
    assert body["queues"]["live_dead"]["waiting"] == 2


def test_valuations_are_counted_by_their_age_and_account_type(client: Client) -> None:
    ages = {"live": [0, 200, 201, 299], "paper": [30_001]}
    count_valued(client.parts.hot, Valued(), 0, ages)
    count_valued(client.parts.hot, Valued(), 0, {"live": [30_000]})
    freshness = client.send("GET", STATUS, scope=ADMIN).body["freshness"]
    assert freshness["live"]["counts"] == [2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]
    assert freshness["paper"]["counts"] == [0] * 12 + [1]
    assert sum(freshness["demo"]["counts"]) == 0


def test_prices_promises_and_the_last_sweep_show(client: Client) -> None:
    client.create()
    client.update(buy(1, 150))
    client.parts.hot.records.clear()
    client.parts.notes.keep(ENDED, str(NOW_MS).encode())
    client.prices({"symbol": "AAPL", "ts": NOW_MS, "last": 151})
    client.parts.clock.advance(90_000)
    body = client.send("GET", STATUS, scope=ADMIN).body
    assert (body["is_running"], body["last_sweep_at"]) == (True, "2026-02-26T10:30:00.000Z")
    assert (body["symbols_processed"], body["users_affected_total"], body["uptime_seconds"]) == (1, 1, 90)
    assert (body["dirty_users_live"], body["dirty_users_demo"]) == (1, 0)
    assert body["queues"]["live"]["oldest_age_ms"] == 89_800  # since the end of its window
    client.parts.clock.advance(90_000)
    assert client.send("GET", STATUS, scope=ADMIN).body["is_running"] is False


def test_dirty_users_are_named_and_each_is_counted_once(client: Client) -> None:
    marker = client.parts.marker
    for _ in range(2):
        client.parts.clock.advance(1_000)
        marker.mark("demo", ["demo:a", "demo:b"], marker.window("demo"), "price")
    client.parts.clock.advance(500)
    found = client.send("GET", f"{DIRTY}/demo", scope=ADMIN).body
    assert found == {"user_type": "demo", "count": 2, "users": ["demo:a", "demo:b"], "oldest_age_ms": 500}
    nobody = {"user_type": "live", "count": 0, "users": [], "oldest_age_ms": None}
    assert client.send("GET", f"{DIRTY}/live", scope=ADMIN).body == nobody


def test_what_is_promised_for_later_is_counted_but_waits_from_then_on_only(client: Client) -> None:
    clock, marker = client.parts.clock, client.parts.marker
    marker.later([Later("live:a", clock.now_ms() + 60_000)], "price")
    clock.advance(30_000)
    found = client.send("GET", f"{DIRTY}/live", scope=ADMIN).body
    assert found == {"user_type": "live", "count": 1, "users": ["live:a"], "oldest_age_ms": 0}
    clock.advance(31_000)
    assert client.send("GET", f"{DIRTY}/live", scope=ADMIN).body["oldest_age_ms"] == 1_000


def test_of_very_many_a_thousand_are_named_and_all_are_counted(client: Client) -> None:
    marker = client.parts.marker
    marker.mark("live", [f"live:p{number:05d}" for number in range(3_000)], marker.window("live"), "bulk")
    found = client.send("GET", f"{DIRTY}/live", scope=ADMIN).body
    assert (found["count"], len(found["users"]), found["users"][0]) == (3_000, status.USERS_MAX, "live:p00000")


@pytest.mark.parametrize("path", [STATUS, f"{DIRTY}/live"])
def test_without_the_scope_nobody_is_named(client: Client, path: str) -> None:
    answer = client.send("GET", path)
    assert (answer.status, answer.code) == (403, "MISSING_SCOPE")


def test_a_user_type_that_is_none_is_not_found(client: Client) -> None:
    answer = client.send("GET", f"{DIRTY}/vip", scope=ADMIN)
    assert (answer.status, answer.code) == (404, "UNKNOWN_USER_TYPE")
