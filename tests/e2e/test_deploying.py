"""A second deployment into a cloud that works: new versions, aliases that point to them, nothing lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from local import cloud
from local.testing import running_cloud, settings_of
from tests.e2e.conftest import Cloud, eventually, now_ms
from tests.infra.cloudformation import FUNCTION, resources


@pytest.fixture(scope="module")
def deployed() -> Iterator[Cloud]:
    settings = settings_of("test-deploying", PORTFOLIO_HOT_STORE="valkey")
    with running_cloud(settings) as outputs:
        yield Cloud(outputs, settings)


def aliases(stack: Cloud) -> dict[str, str]:
    """The version that each function's alias points to."""
    client = stack.aws("lambda")
    names = [stack.outputs.resources[f"{name}Name"].partition(":")[0] for name in resources(FUNCTION)]
    return {name: client.get_alias(FunctionName=name, Name="live")["FunctionVersion"] for name in names}


def environment(stack: Cloud, name: str) -> dict[str, Any]:
    """Of the version that is called."""
    function = stack.outputs.resources[f"{name}FunctionName"]
    found: dict[str, Any] = stack.aws("lambda").get_function_configuration(FunctionName=function)
    return found


def value_at(stack: Cloud, portfolio_id: str, symbol: str, last: int) -> None:
    """A price that is given shows in the state."""
    admin = stack.rest("admin", ("prices:write", "instruments:write", "admin"))
    admin.post("/api/v1/prices", {"updates": [{"symbol": symbol, "last": last, "ts": now_ms()}]})
    owner = stack.rest("owner")
    path = f"/api/v1/portfolio/{portfolio_id}/state"
    eventually(lambda: owner.get(path), lambda state: state["total_value"] == 9_000 + 10 * last, f"the price {last}")


def test_other_parameters_publish_versions_that_are_called_and_nothing_is_lost(deployed: Cloud) -> None:
    admin = deployed.rest("admin", ("prices:write", "instruments:write", "admin"))
    admin.put("/api/v1/instruments/KEPT", {"kind": "stock", "currency": "USD"})
    owner = deployed.rest("owner")
    new = {"portfolio_id": "kept", "portfolio_name": "Kept", "account_type": "live", "account_kind": "cash"}
    owner.post("/api/v1/portfolios", new | {"base_currency": "USD", "cost_basis": "average", "initial_cash": 10_000})
    buy = {"instrument_id": "KEPT", "quantity_change": 10, "price": 100, "transaction_type": "BUY"}
    body = {"portfolio_id": "kept", "timestamp": now_ms(), "updates": [buy | {"transaction_id": "t1"}]}
    owner.post("/api/v1/portfolio/kept/update", body)
    value_at(deployed, "kept", "KEPT", 110)
    before = aliases(deployed)

    asked = {"PORTFOLIO_FLUSH_MS": "150", "PORTFOLIO_SNAP_START": "PublishedVersions"}
    settings = replace(deployed.settings, portfolio={**deployed.settings.portfolio, **asked})
    again = Cloud(cloud.up(settings), settings)
    after = aliases(again)
    assert {name for name in before if before[name] == after[name]} == set()
    called = environment(again, "Push")
    assert called["Environment"]["Variables"]["PORTFOLIO_FLUSH_MS"] == "150"
    assert called["SnapStart"]["ApplyOn"] == "PublishedVersions"
    assert called["Version"] == after[called["FunctionName"]]
    value_at(again, "kept", "KEPT", 120)
