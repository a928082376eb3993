"""What the deployed sweep finds and tells, and what operators see."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from foliostream.domain import coalescing
from foliostream.domain.coalescing import Window
from foliostream.domain.price import PriceUpdate
from foliostream.ports import HotStore
from foliostream_client.transport import Rest
from local import figures, rebuild, sam
from tests.e2e.conftest import (
    ACCOUNT_TYPES,
    SHARDS,
    Cloud,
    Holder,
    eventually,
    has_total,
    lose_hot_store,
    now_ms,
    of_type,
    post_price,
    receive,
    total,
)
from tests.infra.cloudformation import resources

STATUS = "/api/market/portfolio/status"
DIRTY = "/api/market/portfolio/dirty-users"


def swept(stack: Cloud, late_seconds: int = 300) -> dict[str, Any]:
    answer = stack.aws("lambda").invoke(
        FunctionName=stack.outputs.resources["SweepFunctionName"],
        Payload=json.dumps({"late_seconds": late_seconds}).encode(),
    )
    report: dict[str, Any] = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, report
    return report


def lose_a_message(hot: HotStore, owner: Holder, account_type: str, symbol: str, last: str) -> None:
    """A price whose bundle was recorded, and whose message never came to be."""
    hot.put([PriceUpdate(symbol, now_ms(), last=Decimal(last))])
    bundles = coalescing.bundles(
        [f"{account_type}:{owner.portfolio_id}"],
        Window.at(now_ms(), 1_000),
        shards=SHARDS,
        keys_per_message=500,
        reason="price",
        symbols=[symbol],
    )
    hot.record(account_type, bundles)


@pytest.mark.parametrize("account_type", ACCOUNT_TYPES)
def test_a_bundle_whose_message_was_lost_is_valued_after_the_sweep(
    stack: Cloud,
    admin: Rest,
    symbol: str,
    holder: Callable[[str], Holder],
    hot: HotStore,
    account_type: str,
    at_rest: Callable[[Holder], None],
) -> None:
    owner = holder(account_type)
    key = f"{account_type}:{owner.portfolio_id}"
    post_price(admin, symbol, "100")
    eventually(owner.state, lambda state: state["total_value"] == total("100"), "the first price")
    at_rest(owner)
    lose_a_message(hot, owner, account_type, symbol, "130")
    waiting = dirty(admin, account_type)
    assert key in waiting["users"]
    assert waiting["count"] == len(waiting["users"])
    assert waiting["oldest_age_ms"] >= 0
    assert owner.state()["total_value"] == total("100")
    late: list[int] = []

    def after_a_sweep() -> dict[str, Any]:
        """Again and again: what the first one finds late may be somebody else's."""
        late.append(swept(stack, 2)["late"])
        return owner.state()

    eventually(after_a_sweep, lambda state: state["total_value"] == total("130"), "the lost price")
    assert sum(late) > 0
    eventually(lambda: dirty(admin, account_type), lambda found: key not in found["users"], "the kept promise")


def dirty(admin: Rest, account_type: str) -> dict[str, Any]:
    found: dict[str, Any] = admin.get(f"{DIRTY}/{account_type}")
    assert found["user_type"] == account_type
    return found


def test_a_silent_symbol_shows_as_degraded_on_the_socket_of_who_watches(
    stack: Cloud, admin: Rest, symbol: str, holder: Callable[[str], Holder]
) -> None:
    admin.put(f"/api/v1/instruments/{symbol}", {"kind": "stock", "currency": "USD", "max_age_seconds": 12})
    owner = holder("live")
    with stack.socket(owner.name) as socket:
        socket.send({"action": "subscribe", "portfolio_ids": [owner.portfolio_id]})
        receive(socket, of_type("snapshot"), "the snapshot")
        post_price(admin, symbol, "12.5")
        receive(socket, lambda message: becomes(message, "ok"), "the price")
        eventually(owner.state, lambda state: state["stale"] == [symbol], "its age")
        swept(stack)
        update = receive(socket, lambda message: becomes(message, "degraded"), "the silence")["updates"][0]
    assert update["data"]["stale"] == [symbol]


def becomes(message: dict[str, Any], calc_status: str) -> bool:
    """Whether it is an update to this status."""
    return message["type"] == "portfolio_update" and message["updates"][0]["data"].get("calc_status") == calc_status


def test_a_lost_hot_store_is_rebuilt_with_its_prices_and_watchers(
    stack: Cloud, admin: Rest, symbol: str, holder: Callable[[str], Holder], hot: HotStore
) -> None:  # G6
    def lost() -> object:
        lose_hot_store(stack)
        return hot.get([symbol])

    owners = [holder(account_type) for account_type in ACCOUNT_TYPES]
    post_price(admin, symbol, "100.10", open="99", previous_close="98")
    before = [eventually(owner.state, lambda state: state["calc_status"] == "ok", "the price") for owner in owners]
    with stack.socket(owners[0].name) as socket:
        socket.send({"action": "subscribe", "portfolio_ids": [owners[0].portfolio_id]})
        receive(socket, of_type("snapshot"), "the snapshot")
        swept(stack)
        kept = hot.get([symbol])
        # The sweep of the minute may bring back what it finds lost at once.
        eventually(lost, lambda prices: prices == {}, "the loss")
        assert rebuild.rebuild_hot(stack.outputs, lambda _: None).is_finished
        assert hot.get([symbol]) == kept
        ids = [owner.portfolio_id for owner in owners]
        eventually(lambda: hot.read(ids), lambda found: set(found) == set(ids), "all snapshots")
        for owner, state in zip(owners, before, strict=True):
            # The sweep of the minute may have valued it while its price was not back yet.
            after = eventually(owner.state, lambda seen: seen["calc_status"] == "ok", "its value")
            assert after["total_value"] == total("100.10")
            assert after["version"] > state["version"]
        post_price(admin, symbol, "120")
        receive(
            socket,
            lambda message: has_total(message, total("120")),
            "the next price on the socket that was open all the time",
        )


def test_the_status_tells_what_was_processed_and_what_waits(
    stack: Cloud, admin: Rest, symbol: str, holder: Callable[[str], Holder]
) -> None:
    owner = holder("demo")
    before = admin.get(STATUS)
    post_price(admin, symbol, "55")
    eventually(owner.state, lambda state: state["total_value"] == total("55"), "the price")
    swept(stack)
    after = eventually(
        lambda: admin.get(STATUS),
        lambda status: status["portfolios_valued"] > before["portfolios_valued"],
        "the valuation",
    )
    assert after["is_running"] is True
    assert after["symbols_processed"] > before["symbols_processed"]
    assert after["users_affected_total"] > before["users_affected_total"]
    assert after["uptime_seconds"] >= 0
    assert {f"dirty_users_{account_type}" for account_type in ACCOUNT_TYPES} <= set(after)
    assert {"price", *ACCOUNT_TYPES, "bulk", "refresh", "delayed", "push", "fills"} <= set(after["queues"])
    assert {"live_dead", "bulk_dead", "delayed_dead", "push_dead"} <= set(after["queues"])
    for queue in after["queues"].values():
        assert set(queue) == {"waiting", "in_flight", "oldest_age_ms"}


def test_what_make_status_prints_tells_how_fresh_valuations_are(
    stack: Cloud, admin: Rest, symbol: str, holder: Callable[[str], Holder]
) -> None:
    owner = holder("live")
    post_price(admin, symbol, "56")
    eventually(owner.state, lambda state: state["total_value"] == total("56"), "the price")
    text = eventually(
        lambda: figures.read(admin, sam.function_logs(stack.outputs.aws_endpoint, since_s=figures.SINCE_S), now_ms()),
        lambda printed: re.search(r"^live +\d+ wait, p50 \d+ ms, p99 \d+ ms$", printed, re.MULTILINE) is not None,
        "freshness of live accounts",
    )
    [lately] = [line for line in text.splitlines() if line.startswith("lately")]
    rates = dict(re.findall(r"([\d.]+) (prices|valuations)/s", lately))
    assert len(rates) == 2
    assert all(float(rate) > 0 for rate in rates)
    assert text.startswith("sweep ")


def test_the_alarms_and_the_dashboard_are_deployed(stack: Cloud) -> None:
    watching = stack.aws("cloudwatch")
    pages = watching.get_paginator("describe_alarms").paginate()
    alarms = [alarm for page in pages for alarm in page["MetricAlarms"]]
    assert len(alarms) == len(resources("AWS::CloudWatch::Alarm"))
    assert all("docs/operations.md#" in alarm["AlarmDescription"] for alarm in alarms)
    [dashboard] = watching.list_dashboards()["DashboardEntries"]
    body = watching.get_dashboard(DashboardName=dashboard["DashboardName"])["DashboardBody"]
    assert "${" not in body
    assert len(json.loads(body)["widgets"]) > 5


def test_what_names_other_peoples_keys_needs_the_scope_admin(stack: Cloud) -> None:
    somebody = stack.rest("somebody")
    for path in (STATUS, f"{DIRTY}/live"):
        answer = somebody.call("GET", path)
        assert (answer.status, answer.body["error"]["code"]) == (403, "MISSING_SCOPE")


def test_the_schedule_starts_the_sweep_every_minute(admin: Rest) -> None:
    last = admin.get(STATUS)["last_sweep_at"]
    status = eventually(
        lambda: admin.get(STATUS), lambda found: found["last_sweep_at"] != last, "a sweep nobody invoked", 150
    )
    assert status["is_running"] is True
