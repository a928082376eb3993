"""The real SAM CLI against the emulator: build, deploy, and what the stack answers."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3

from local import environments, kite
from local.environments import ROOT, SAM
from local.processes import Records, wait, write_atomically
from local.services import CloudError, Services, aws_environment, base_environment
from local.settings import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, STACK_NAME, Settings

BUILD_TIMEOUT_S = 600.0
DEPLOY_TIMEOUT_S = 300.0
# What one call gives.
LOG_EVENTS_MAX = 10_000
BROKER_SECRET = "foliostream-kite"  # noqa: S105 (the name of a secret)
_BUILD, _DEPLOY = "sam-build", "sam-deploy"
# Everything that what is deployed is made of; requirements/cloud.txt because the layers are built for its interpreter.
_SOURCES = ("functions", "layers", "requirements/cloud.txt", "samconfig.toml")


def build(settings: Settings, parameters: Mapping[str, str]) -> None:
    """`sam build` with the layers made for the emulator's interpreter, another one for other parameters."""
    environments.ensure(SAM)
    command = ["build", "--template", str(settings.template), "--build-dir", str(_build_folder(settings))]
    extra = {"AWS_DEFAULT_REGION": REGION, "FOLIOSTREAM_PARAMETERS": json.dumps(dict(parameters), sort_keys=True)}
    _run(settings, _BUILD, command, extra, BUILD_TIMEOUT_S)


def deploy(settings: Settings, services: Services, parameters: Mapping[str, str]) -> None:
    """`sam deploy` of what was built, into the emulator."""
    # A file, because the command line would need quoting rules of its own; with every parameter in it, because one
    # that is left out keeps the value of the last deployment.
    overrides = settings.home / "parameters.yaml"  # JSON is YAML; the SAM CLI reads only the latter
    write_atomically(overrides, json.dumps(dict(parameters), indent=2))
    command = ["deploy", "--template", str(_build_folder(settings) / "template.yaml"), "--stack-name", STACK_NAME]
    command += ["--region", REGION, "--parameter-overrides", f"file://{overrides}"]
    _run(settings, _DEPLOY, command, aws_environment(services.endpoint), DEPLOY_TIMEOUT_S)


def stack_outputs(services: Services) -> dict[str, str]:
    """The outputs of the deployed stack by name."""
    client = _session().client("cloudformation", endpoint_url=services.endpoint)
    stack = client.describe_stacks(StackName=STACK_NAME)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def broker_secret(services: Services) -> str:
    """ARN of the secret with the credentials of the simulated broker's accounts, made where it is not there."""
    client = _session().client("secretsmanager", endpoint_url=services.endpoint)
    try:
        return client.describe_secret(SecretId=BROKER_SECRET)["ARN"]
    except client.exceptions.ResourceNotFoundException:
        return client.create_secret(Name=BROKER_SECRET, SecretString=json.dumps(kite.credentials()))["ARN"]


def function_logs(endpoint: str, word: str = "", since_s: int | None = None) -> list[str]:
    """What the functions wrote, oldest first, as `group  message`; only of groups whose name holds `word`, and only of
    the last `since_s` seconds."""
    start_ms = 0 if since_s is None else int((time.time() - since_s) * 1000)
    client = _session().client("logs", endpoint_url=endpoint)
    lines: list[tuple[int, str]] = []
    for page in client.get_paginator("describe_log_groups").paginate():
        for group in (group["logGroupName"] for group in page["logGroups"]):
            if word in group:
                lines += [(at_ms, f"{group}  {message}") for at_ms, message in _events(client, group, start_ms)]
    return [line for _, line in sorted(lines, key=lambda line: line[0])]


def _events(client: Any, group: str, start_ms: int) -> Iterator[tuple[int, str]]:  # noqa: ANN401 (no stubs of logs)
    """Time and message of every event. The emulator gives the first of them and no token for the others: these are
    asked for by their time."""
    while True:
        answer = client.filter_log_events(logGroupName=group, startTime=start_ms, limit=LOG_EVENTS_MAX)
        found = [(event["timestamp"], event["message"]) for event in answer["events"]]
        if len(found) < LOG_EVENTS_MAX:
            yield from found
            return
        last_ms = found[-1][0]
        whole = [event for event in found if event[0] < last_ms]
        if not whole:
            raise CloudError(f"{group} has more than {LOG_EVENTS_MAX} events in one millisecond")
        yield from whole
        start_ms = last_ms


def fingerprint(settings: Settings, parameters: Mapping[str, str]) -> str:
    """Changes when what would be deployed changes: code, layers, template or parameters."""
    total = hashlib.sha256(json.dumps(dict(parameters), sort_keys=True).encode())
    total.update(settings.template.read_bytes())
    for path in _source_files():
        total.update(f"\0{path.relative_to(ROOT)}\0".encode())
        total.update(path.read_bytes())
    return total.hexdigest()


def _session() -> boto3.Session:
    return boto3.Session(aws_access_key_id=ACCESS_KEY_ID, aws_secret_access_key=SECRET_ACCESS_KEY, region_name=REGION)


def _source_files() -> Iterator[Path]:
    locks = sorted(path.relative_to(ROOT) for path in (ROOT / "requirements").glob("layer-*.txt"))
    for source in (*_SOURCES, *map(str, locks)):
        path = ROOT / source
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                yield file


def _run(settings: Settings, name: str, arguments: list[str], extra: Mapping[str, str], timeout_s: float) -> None:
    records, log, temporary = Records(settings.home), settings.logs / f"{name}.log", settings.home / "tmp" / name
    log.unlink(missing_ok=True)
    temporary.mkdir(parents=True, exist_ok=True)
    env = base_environment() | {
        "FOLIOSTREAM_BUILD": "local",
        "SAM_CLI_TELEMETRY": "0",
        "__SAM_CLI_APP_DIR": str(settings.home / "sam"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(temporary),
        "PYTHONWARNINGS": "ignore",
        # Packages come from wherever the user's own pip takes them.
        **{key: value for key, value in os.environ.items() if key.startswith("PIP_") or key.lower().endswith("_proxy")},
        **extra,
    }
    command = [str(SAM.tool("sam")), *arguments, "--config-env", "local", "--config-file", str(ROOT / "samconfig.toml")]
    record = records.start(name, command, env=env, log=log, cwd=ROOT)
    try:
        code = wait(record, timeout_s)
    finally:
        records.stop(record)
        shutil.rmtree(temporary, ignore_errors=True)
    if code is None:
        raise CloudError(f"{name} took longer than {timeout_s:.0f} s", log)
    if code != 0:
        raise CloudError(f"{name} failed with exit code {code}", log)


def _build_folder(settings: Settings) -> Path:
    return settings.home / "build"
