"""One cloud on this machine: `up` makes it answer, `down` leaves nothing of it running."""

import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import boto3
from botocore.config import Config

from local import environments, parameters, sam, services
from local.issuer import ALL_SCOPES, Issuer, load_key
from local.processes import Records, poll, write_atomically
from local.services import CloudError, Services
from local.settings import (
    ACCESS_KEY_ID,
    AUDIENCE,
    ISSUER,
    REGION,
    SECRET_ACCESS_KEY,
    STACK_NAME,
    Settings,
    SettingsError,
)

HEALTH_TIMEOUT_S = 120.0
_LAUNCHER = "launcher"
T = TypeVar("T")


@dataclass(frozen=True)
class Outputs:
    """Where everything of a running cloud answers, and a token to use it."""

    rest_url: str
    ws_url: str
    aws_endpoint: str
    aws_access_key_id: str
    aws_secret_access_key: str
    region: str
    stack_name: str
    token: str
    redis_url: str
    ports: dict[str, int]
    resources: dict[str, str]

    def aws(self, service: str, config: Config | None = None) -> Any:  # noqa: ANN401 (boto3's clients have no common type)
        """A client of this cloud, as who deploys it."""
        client: Any = boto3.client
        return client(
            service,
            endpoint_url=self.aws_endpoint,
            region_name=self.region,
            aws_access_key_id=self.aws_access_key_id,
            aws_secret_access_key=self.aws_secret_access_key,
            config=config,
        )


def up(settings: Settings) -> Outputs:
    """Make the cloud answer with the code, template and parameters as they are now.

    Returns at once when it already does; deploys anew when only those changed; else starts everything. A start that
    fails stops what it started; a failed new deployment leaves the cloud running, with what the log says.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    with environments.locked(settings.home / "up.lock"):
        records = _launcher_records(settings)
        records.add(_LAUNCHER, os.getpid())
        try:
            return _up(settings)
        finally:
            records.remove(_LAUNCHER)


def down(settings: Settings) -> list[str]:
    """Stop everything of this cloud, also what a killed `up` left behind; the names of what was stopped.

    The issuer's key stays, so tokens keep working over a restart.
    """
    if not settings.home.exists():
        return []
    _stop_launcher(settings)
    with environments.locked(settings.home / "up.lock"):
        _launcher_records(settings).remove(_LAUNCHER)
        _deployed_file(settings).unlink(missing_ok=True)
        settings.outputs.unlink(missing_ok=True)
        return services.stop(settings)


def read_outputs(settings: Settings) -> Outputs | None:
    """What the last successful `up` wrote, or None after `down`."""
    try:
        return Outputs(**json.loads(settings.outputs.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def is_healthy(outputs: Outputs) -> bool:
    """Whether the deployed application answers."""
    return services.fetch_status(f"{outputs.rest_url}/health", timeout_s=30.0) == 200


def local_issuer(settings: Settings) -> Issuer:
    """The issuer whose tokens the deployed functions accept."""
    portfolio = settings.portfolio
    return Issuer(
        key=load_key(settings.home),
        issuer=portfolio.get("PORTFOLIO_JWT_ISSUER", ISSUER),
        audience=portfolio.get("PORTFOLIO_JWT_AUDIENCE", AUDIENCE),
    )


def _up(settings: Settings) -> Outputs:
    defaults = parameters.template_defaults(settings.template)
    own = parameters.translate(settings.portfolio, defaults)
    found = services.running(settings)
    deployed = read_outputs(settings)
    if found and deployed:
        _check_port(settings, found)
        wanted = merged_parameters(defaults, found, {"KiteSecretArn": sam.broker_secret(found), **own})
        mark = sam.fingerprint(settings, wanted)
        if _deployed_file(settings).exists() and _deployed_file(settings).read_text() == mark and is_healthy(deployed):
            return _write(settings, replace(deployed, token=_demo_token(settings)))
        return _deploy(settings, found, wanted, mark)
    return _start(settings, defaults, own)


def _start(settings: Settings, defaults: Mapping[str, str | None], own: Mapping[str, str]) -> Outputs:
    # Leftovers of a crash, or an emulator in which the first deployment failed: its state is worth nothing.
    services.stop(settings)
    settings.outputs.unlink(missing_ok=True)
    try:
        started = _step("starting the emulator, Valkey and the issuer", lambda: services.start(settings))
        wanted = merged_parameters(defaults, started, {"KiteSecretArn": sam.broker_secret(started), **own})
        return _deploy(settings, started, wanted, sam.fingerprint(settings, wanted))
    except BaseException:
        services.stop(settings)
        raise


def _deploy(settings: Settings, running: Services, wanted: Mapping[str, str], mark: str) -> Outputs:
    _deployed_file(settings).unlink(missing_ok=True)
    _step("sam build", lambda: sam.build(settings, wanted))
    _step("sam deploy", lambda: sam.deploy(settings, running, wanted))
    outputs = _outputs(settings, running, wanted)
    _step("waiting for the application", lambda: _await_health(settings, outputs))
    write_atomically(_deployed_file(settings), mark)
    return _write(settings, outputs)


def _write(settings: Settings, outputs: Outputs) -> Outputs:
    write_atomically(settings.outputs, json.dumps(asdict(outputs), indent=2) + "\n", mode=0o600)
    return outputs


def merged_parameters(defaults: Mapping[str, str | None], running: Services, own: Mapping[str, str]) -> dict[str, str]:
    """The value of every parameter: the template's, then the launcher's, then the user's own."""
    launcher = {
        "HotStore": "valkey",
        "RedisUrl": running.redis_url,
        "JwtIssuer": ISSUER,
        "JwtAudience": AUDIENCE,
        "JwksUrl": running.jwks_url,
        "ExecuteApiBase": running.execute_api,
        # Whose token `make token` makes: paper portfolios that fills create can be looked at.
        "FillsOwner": "demo",
        # The simulated broker trades around the clock.
        "KiteRoot": running.kite_root,
        "KiteHours": "1-7/00:00-24:00",
        # `make down` is the end of the ledger here.
        "ProtectLedger": "off",
    }
    missing = sorted(set(launcher) - set(defaults))
    if missing:
        raise SettingsError(f"the template lacks the parameters {', '.join(missing)}")
    return {name: value for name, value in defaults.items() if value is not None} | launcher | dict(own)


def _outputs(settings: Settings, running: Services, wanted: Mapping[str, str]) -> Outputs:
    resources = sam.stack_outputs(running)
    return Outputs(
        rest_url=resources["RestUrl"].rstrip("/"),
        ws_url=resources["WebSocketUrl"].rstrip("/"),
        aws_endpoint=running.endpoint,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SECRET_ACCESS_KEY,
        region=REGION,
        stack_name=STACK_NAME,
        token=_demo_token(settings),
        redis_url=wanted["RedisUrl"],
        ports=asdict(running),
        resources=resources,
    )


def _demo_token(settings: Settings) -> str:
    return local_issuer(settings).token("demo", ALL_SCOPES)


def _await_health(settings: Settings, outputs: Outputs) -> None:
    if not poll(lambda: is_healthy(outputs), HEALTH_TIMEOUT_S, interval_s=0.2):
        functions = settings.logs / "functions.log"
        write_atomically(functions, "\n".join(sam.function_logs(outputs.aws_endpoint)) + "\n")
        message = f"GET {outputs.rest_url}/health did not answer 200 within {HEALTH_TIMEOUT_S:.0f} s"
        raise CloudError(message, settings.logs / f"{services.EMULATOR}.log", functions)


def _step(title: str, work: Callable[[], T]) -> T:
    started = time.monotonic()
    print(f"{title} ...", end=" ", flush=True)
    result = work()
    print(f"{time.monotonic() - started:.1f} s", flush=True)
    return result


def _check_port(settings: Settings, found: Services) -> None:
    if settings.port_is_fixed and settings.port != found.emulator:
        raise SettingsError(
            f"this cloud already runs on port {found.emulator}, not on FOLIOSTREAM_PORT={settings.port}: "
            "`make down` first, or give the other one its own FOLIOSTREAM_HOME"
        )


def _stop_launcher(settings: Settings) -> None:
    """End an `up` that is still at work: what it would start next would survive us."""
    launcher = _launcher_records(settings).find(_LAUNCHER)
    if launcher and launcher.pid != os.getpid():
        with suppress(ProcessLookupError):
            os.kill(launcher.pid, signal.SIGTERM)
        poll(lambda: not launcher.is_alive(), 10.0)


def _launcher_records(settings: Settings) -> Records:
    """Apart from the servers' records: nothing that stops those may stop who starts them."""
    return Records(settings.home / "launcher")


def _deployed_file(settings: Settings) -> Path:
    return settings.home / "deployed"
