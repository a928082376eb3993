"""What a cold start computes: importing a function and making its parts, beside `import boto3` + the clients it uses.

Each measurement is a fresh interpreter; its own start is left out. Bytecode is cached for everything, as the local
cloud deploys it; ``init_uncompiled_ms`` is without it for our package and the layers' packages, as `make build` ships
them: no Python 3.13 is needed to build, so nothing is compiled for it ahead.

redis-py is a client that the hot functions use as well, where the hot store is a Valkey: what stands beside them is
shown without and with it. With `dynamodb` they load none of it.
"""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.container import environment
from benchmarks.measuring import Figure, Reference, Row, median
from local.environments import ROOT
from local.services import base_environment

REPEATS = 5
PACKAGE = ROOT / "layers" / "foliostream" / "python"
_THIRD_PARTIES = ("msgspec", "redis", "aws_lambda_powertools", "pydantic", "jwt", "cryptography")
# Only these answer on the way of a tick: the rest starts where somebody waits for a request anyway.
_HOT = ("price_update", "recalculate", "push")


class Function(NamedTuple):
    """What it takes from the wiring on its first event, and the clients of AWS that stand behind that."""

    first_access: str
    clients: tuple[str, ...]


_PARTS = "parts = app.wiring(); "
# Every function: a test holds it.
FUNCTIONS = {
    "price_update": Function(
        _PARTS + "parts.hot; parts.holders; parts.instruments; parts.marker; parts.order_watch", ("dynamodb", "sqs")
    ),
    "recalculate": Function(_PARTS + "parts.valuer; parts.pacer; parts.marker", ("dynamodb", "sqs")),
    "push": Function(_PARTS + "parts.sender; parts.marker", ("dynamodb", "sqs", "apigatewaymanagementapi")),
    "rest_api": Function(_PARTS + "app.api(); parts.portfolios; parts.holders", ("dynamodb", "sqs")),
    "websocket": Function(_PARTS + "parts.watching", ("dynamodb", "sqs", "apigatewaymanagementapi")),
    "market_feed": Function(_PARTS + "parts.quotes; parts.bus; parts.feed_timer", ("events", "sqs")),
    "accept_fills": Function(_PARTS + "parts.fill_accepter; parts.fill_queue", ("dynamodb", "sqs")),
    "record_fill": Function(_PARTS + "parts.fill_recorder", ("dynamodb", "sqs")),
    "fill_orders": Function(_PARTS + "parts.order_filler", ("dynamodb", "sqs")),
    "liquidate": Function(_PARTS + "parts.liquidator", ("dynamodb", "sqs", "events")),
    "book_swaps": Function(_PARTS + "parts.swap_booking", ("dynamodb", "sqs")),
    "close_day": Function(_PARTS + "parts.day_closing", ("dynamodb", "sqs")),
    "analyze": Function(_PARTS + "parts.computing", ("dynamodb", "sqs")),
    "project_ledger": Function(_PARTS + "parts.ledger_projection", ("dynamodb", "sqs", "events")),
    "dead_letters": Function(_PARTS + "parts.dead_letter_office", ("dynamodb", "sqs")),
    "rebuild_hot": Function(_PARTS + "parts.hot_rebuild", ("dynamodb", "sqs")),
    "sweep": Function(_PARTS + "parts.sweep", ("dynamodb", "sqs")),
    "reconcile": Function(_PARTS + "parts.reconcile_schedule", ("dynamodb", "sqs", "events", "secretsmanager")),
    "broker_api": Function(_PARTS + "app.api(); parts.reconciling", ("dynamodb", "sqs", "events", "secretsmanager")),
    # Uses no client: beside the library that it exists for.
    "authorizer": Function(_PARTS + "parts.token_verifier", ()),
}
_TIMED = "import time; started = time.perf_counter(); {}; print((time.perf_counter() - started) * 1000)"
# botocore loads pyOpenSSL where it finds it. Here the tests brought it along; of the layers only the broker's has it.
_LAYERS = "import sys; sys.modules['OpenSSL'] = None; "
_BROKER_CLIENT = "secretsmanager"


def measure(home: Path) -> list[Row]:
    """Milliseconds per function; programs take turns, so that noise meets all of them alike."""
    env = base_environment() | environment("redis://127.0.0.1:9")
    cached = env | {"PYTHONPATH": str(PACKAGE), "PYTHONPYCACHEPREFIX": str(home / "bytecode")}
    with_sources = env | {"PYTHONPATH": str(_uncompiled(home / "uncompiled")), "PYTHONDONTWRITEBYTECODE": "1"}
    runs: dict[tuple[str, object], tuple[str, dict[str, str]]] = {}
    runs |= {("init_ms", name): (_import(name), cached) for name in FUNCTIONS}
    runs |= {("init_dynamodb_ms", name): (_import(name), cached | {"PORTFOLIO_HOT_STORE": "dynamodb"}) for name in _HOT}
    runs |= {("init_uncompiled_ms", name): (_import(name), with_sources) for name in _HOT}
    # One a set of clients: several functions share it.
    runs |= {
        ("init_baseline_ms", function.clients): (_baseline(function.clients), cached) for function in FUNCTIONS.values()
    }
    runs |= {
        ("init_redis_baseline_ms", FUNCTIONS[name].clients): (
            _baseline(FUNCTIONS[name].clients, "import redis"),
            cached,
        )
        for name in _HOT
    }
    for program, variables in runs.values():  # fills the cache
        _run(program, variables)
    samples: dict[tuple[str, object], list[float]] = {which: [] for which in runs}
    for _ in range(REPEATS):
        for which, (program, variables) in runs.items():
            samples[which].append(_run(program, variables))
    clean(home)
    figures = {which: median(found) for which, found in samples.items()}
    rows = [_row("init_ms", "init", name, figures) for name in FUNCTIONS]
    rows += [_row("init_dynamodb_ms", "init with dynamodb", name, figures) for name in _HOT]
    return rows + [_row("init_uncompiled_ms", "init without bytecode", name, figures) for name in _HOT]


def _row(key: str, what: str, name: str, figures: Mapping[tuple[str, object], Figure]) -> Row:
    clients = FUNCTIONS[name].clients
    beside = f"import boto3 + {len(clients)} clients" if clients else "import jwt"
    references = [Reference("init_baseline_ms", beside, figures["init_baseline_ms", clients])]
    if name in _HOT and key != "init_dynamodb_ms":
        with_redis = figures["init_redis_baseline_ms", clients]
        references.append(Reference("init_redis_baseline_ms", "that and import redis", with_redis))
    return Row(key, f"{what}, {name}", "ms", figures[key, name], tuple(references), member=name)


def _import(name: str) -> str:
    folder = str(ROOT / "functions" / name)
    first = f"import sys; sys.path.insert(0, {folder!r}); import app; {FUNCTIONS[name].first_access}"
    return _program(first, FUNCTIONS[name].clients)


def _baseline(clients: tuple[str, ...], *more: str) -> str:
    if not clients:
        return _program("import jwt", clients)
    made = (f"boto3.client({client!r})" for client in clients)
    return _program("; ".join(("import boto3", *made, *more)), clients)


def _program(work: str, clients: tuple[str, ...]) -> str:
    return ("" if _BROKER_CLIENT in clients else _LAYERS) + _TIMED.format(work)


def _run(program: str, variables: Mapping[str, str]) -> float:
    run = subprocess.run(
        [sys.executable, "-c", program], env=dict(variables), capture_output=True, text=True, check=False, timeout=60
    )
    if run.returncode:
        raise RuntimeError(f"{program}\n{run.stderr}")
    return float(run.stdout)


def _uncompiled(folder: Path) -> Path:
    """The layers as they are deployed to AWS: sources only."""
    shutil.rmtree(folder, ignore_errors=True)
    sources = [PACKAGE / "foliostream"]
    for name in _THIRD_PARTIES:
        spec = importlib.util.find_spec(name)
        sources += map(Path, (spec.submodule_search_locations or ()) if spec else ())
    for source in sources:
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def clean(home: Path) -> None:
    """Remove what ``measure`` made."""
    for name in ("bytecode", "uncompiled"):
        shutil.rmtree(home / name, ignore_errors=True)
