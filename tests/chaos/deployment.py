"""A cloud of its own whose functions call AWS through the proxy, and a look into its stores past every function."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from local import cloud
from local.environments import CACHE
from local.settings import Settings
from tests.chaos.proxy import Proxy
from tests.e2e.conftest import Cloud

CLOCKS = Path(__file__).parent / "clocks"
# Far more than machines of AWS differ by, so that what does not wait for the others is found out.
CLOCKS_APART_MS = 250


@contextmanager
def deployed(store: str, proxy: Proxy) -> Iterator[Cloud]:
    """``template.yaml`` as it is. Its addresses are the emulator's: who calls from outside passes the proxy by."""
    settings = Settings(
        home=CACHE / f"test-chaos-{store}",
        port=proxy.emulator_port,
        port_is_fixed=True,
        portfolio={
            "PORTFOLIO_HOT_STORE": store,
            "PORTFOLIO_EXECUTE_API_BASE": f"{proxy.endpoint}/_aws/execute-api",
            "PORTFOLIO_SKEW_MS": str(CLOCKS_APART_MS),
        },
        functions_environment={
            "AWS_ENDPOINT_URL": proxy.endpoint,
            "PYTHONPATH": str(CLOCKS),
            "CHAOS_CLOCKS_APART_MS": str(CLOCKS_APART_MS),
        },
    )
    cloud.down(settings)  # what a run left that was killed knows another proxy
    try:
        outputs = cloud.up(settings)
        through, past = proxy.endpoint.rpartition(":")[2], str(proxy.emulator_port)
        yield Cloud(
            replace(
                outputs,
                rest_url=outputs.rest_url.replace(through, past),
                ws_url=outputs.ws_url.replace(through, past),
            ),
            settings,
        )
    finally:
        cloud.down(settings)
