"""The faults, each a context in which it lasts. Most are rules of the proxy, the others are done to processes, stores,
queues and clients."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple

import redis

from foliostream_client.errors import ApiError
from foliostream_client.transport import Rest
from local import rebuild, services
from local.processes import Records, poll
from tests.chaos import acts
from tests.chaos.alarms import failed_invocations, timed_out
from tests.chaos.crowd import Crowd
from tests.chaos.poison import Poison
from tests.chaos.proxy import Proxy, Rule
from tests.chaos.steps import Steps, function_of
from tests.chaos.traffic import Market, Slides, TrafficError
from tests.e2e.conftest import Cloud, lose_hot_store, now_ms
from tests.support.watching import workers

BOTH = frozenset({"valkey", "dynamodb"})
KILL_EVERY_S = 0.5
KILLING_S = 60.0
# A killed one starts anew in about a second of a core, and what it had comes again after 35 seconds.
STEP_PAUSE_S, STEPS_MAX = 0.2, 500
# All that stand still do so at once; a function has 30 seconds at most but for those that nobody waits for.
STILL_PAUSE_S, STILL_MAX, TIMING_OUT_S = 0.5, 5, 60.0
VALKEY_DOWN_S = 4.0
CONFIGURED_S = 30.0


@dataclass
class Field:
    """Where faults happen. ``happened``: what each did, in words. ``killing``: the steps functions were killed in, of
    all storms together."""

    cloud: Cloud
    proxy: Proxy
    admin: Rest
    market: Market
    slides: Slides
    crowd: Crowd
    poison: Poison
    draw: Random
    happened: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    stores_lost: int = 0
    killing: Steps | None = None

    def count(self, what: str, number: int = 1) -> None:
        self.happened[what] = self.happened.get(what, 0) + number


class Fault(NamedTuple):
    """``alarm``: how the name ends of an alarm of the template that has a datapoint beyond its threshold because of
    it; empty where what goes wrong is made good before anybody need be called."""

    name: str
    during: Callable[[Field], AbstractContextManager[None]]
    stores: frozenset[str] = BOTH
    alarm: str = ""


def _rules(*rules: Rule) -> Callable[[Field], AbstractContextManager[None]]:
    @contextmanager
    def during(scene: Field) -> Iterator[None]:
        scene.proxy.rules = (*scene.proxy.rules, *rules)
        try:
            yield
        finally:
            scene.proxy.rules = tuple(rule for rule in scene.proxy.rules if rule not in rules)

    return during


_SINGLE_ITEMS = ("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:Query")
_BATCHES = ("dynamodb:BatchGetItem", "dynamodb:BatchWriteItem")

throttled_dynamodb = _rules(Rule(_SINGLE_ITEMS, 0.3, acts.throttled), Rule(_BATCHES, 0.2, acts.throttled))
failing_dynamodb = _rules(
    Rule("dynamodb:", 0.06, acts.failed),
    Rule("dynamodb:", 0.04, acts.dropped),
    Rule("dynamodb:", 0.06, acts.unanswered),
    Rule("dynamodb:", 0.04, acts.truncated),
)
dynamodb_down = _rules(Rule("dynamodb:", 1.0, acts.failed))
unprocessed_keys = _rules(Rule(_BATCHES, 0.5, acts.unprocessed))
transaction_conflicts = _rules(
    Rule("dynamodb:TransactWriteItems", 0.4, acts.conflicted),
    Rule("dynamodb:TransactWriteItems", 0.3, acts.unanswered),
    Rule(("dynamodb:PutItem", "dynamodb:UpdateItem"), 0.1, acts.conflicted),
)
partly_failing_batches = _rules(
    Rule("sqs:SendMessageBatch", 0.4, acts.partly_sent),
    Rule("sqs:", 0.1, acts.failed),
    Rule("sqs:", 0.1, acts.unanswered),
    Rule("sqs:", 0.05, acts.throttled),
)
repeating_queues = _rules(
    Rule("sqs:SendMessageBatch", 0.3, acts.repeated), Rule("sqs:SendMessageBatch", 0.4, acts.reordered)
)
failing_bus = _rules(
    Rule("events:PutEvents", 0.4, acts.partly_put),
    Rule("events:PutEvents", 0.2, acts.failed),
    Rule("events:PutEvents", 0.2, acts.unanswered),
    Rule("events:PutEvents", 0.1, acts.repeated),
)
slow_calls = _rules(Rule(("dynamodb:", "sqs:", "events:"), 0.02, acts.hanging), Rule("", 0.1, acts.slow))
failing_posts = _rules(
    Rule("posts:", 0.2, acts.throttled),
    Rule("posts:", 0.2, acts.unanswered),
    Rule("posts:", 0.1, acts.failed),
    Rule("posts:", 0.1, acts.slow),
)


@contextmanager
def killed_workers(scene: Field) -> Iterator[None]:
    """One function after the other, drawn from all that run, whatever it is doing just then; it is not over before one
    died at work."""
    emulator = _emulator_pid(scene)
    before = len(failed_invocations(scene.cloud))

    def kill() -> None:
        if running := sorted(workers(emulator)):
            with suppress(ProcessLookupError):
                os.kill(scene.draw.choice(running), signal.SIGKILL)
                scene.count("functions killed")

    with _every(KILL_EVERY_S, kill):
        yield
        poll(lambda: len(failed_invocations(scene.cloud)) > before, KILLING_S, 1.0)
    scene.count("of them at work", len(failed_invocations(scene.cloud)) - before)


def _emulator_pid(scene: Field) -> int:
    found = Records(scene.cloud.settings.home).find(services.EMULATOR)
    assert found
    return found.pid


@contextmanager
def functions_killed_in_steps(scene: Field) -> Iterator[None]:
    """Whoever makes a call of AWS, before that is done and after it, each function in each of its calls; what nobody
    was killed in until now is waited for."""
    if scene.killing is None:
        scene.killing = Steps(_emulator_pid(scene), signal.SIGKILL, pause_s=STEP_PAUSE_S, limit=STEPS_MAX)
    steps = scene.killing
    with _rules(Rule("", 1.0, steps.ended_in_a_step))(scene):
        yield
        poll(lambda: not steps.left(), KILLING_S, 1.0)
    scene.happened["steps functions were killed in"] = len(steps.had)
    scene.happened["steps nobody was killed in"] = len(steps.left())


@contextmanager
def functions_standing_still(scene: Field) -> Iterator[None]:
    """In the middle of what they do, until the time they have is over and they are ended."""
    before = timed_out(scene.cloud)
    steps = Steps(_emulator_pid(scene), signal.SIGSTOP, pause_s=STILL_PAUSE_S, limit=STILL_MAX)
    with _rules(Rule("", 1.0, steps.ended_in_a_step))(scene):
        yield
        if not poll(lambda: len(steps.had) > 0, KILLING_S, 1.0):
            raise TrafficError("no function made a call that could be held up")
    if not poll(lambda: not any(map(function_of, steps.had.values())), TIMING_OUT_S, 1.0):
        raise TrafficError(f"not all of {len(steps.had)} that stand still were ended in {TIMING_OUT_S:.0f} s")
    scene.count("functions timed out", timed_out(scene.cloud) - before)


@contextmanager
def killed_valkey(scene: Field) -> Iterator[None]:
    """Without a word, and down for some seconds; it comes back on its append-only file."""
    running = services.running(scene.cloud.settings)
    if running is not None:
        services.kill_valkey(scene.cloud.settings)
        time.sleep(VALKEY_DOWN_S)
        services.restart_valkey(scene.cloud.settings, running)
        scene.count("Valkey killed")
    yield


@contextmanager
def _every(seconds: float, act: Callable[[], None]) -> Iterator[None]:
    """Again and again, from a thread of its own, until it is left."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(seconds):
            act()

    thread = threading.Thread(target=repeat, name=act.__name__)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def slow_valkey(scene: Field) -> Iterator[None]:
    """It answers nobody for a second, again and again."""

    def pause() -> None:
        with suppress(redis.RedisError), redis.Redis.from_url(scene.cloud.outputs.redis_url) as node:
            node.execute_command("CLIENT", "PAUSE", 1000, "ALL")
            scene.count("Valkey paused for a second")

    with _every(2.0, pause):
        yield


@contextmanager
def read_only_valkey(scene: Field) -> Iterator[None]:
    """It answers what it is asked and refuses every write, as one that lost its replicas does."""
    _needs_replicas(scene, 1)
    scene.count("Valkey read-only")
    try:
        yield
    finally:
        _needs_replicas(scene, 0)


def _needs_replicas(scene: Field, number: int) -> None:
    """It may be down or paused just now."""

    def configured() -> bool:
        with suppress(redis.RedisError), redis.Redis.from_url(scene.cloud.outputs.redis_url) as node:
            return bool(node.config_set("min-replicas-to-write", number))
        return False

    if not poll(configured, CONFIGURED_S):
        raise TrafficError(f"Valkey did not take its configuration for {CONFIGURED_S} s")


@contextmanager
def lost_hot_store(scene: Field) -> Iterator[None]:
    """All of it, while everything runs; the sweep notices, and an operator has it rebuilt."""
    function = scene.cloud.outputs.resources["SweepFunctionName"]
    client = scene.cloud.aws("lambda")
    with scene.slides.calm:
        client.invoke(FunctionName=function, Payload=b"{}")  # as each minute: keeps the prices
        lose_hot_store(scene.cloud)
        scene.stores_lost += 1
        scene.count("hot store emptied")
        client.invoke(FunctionName=function, Payload=b"{}")
        rebuild.rebuild_hot(scene.cloud.outputs, lambda _: None)
    yield


@contextmanager
def burdensome_clients(scene: Field) -> Iterator[None]:
    """One goes without a word and comes back, again and again; another one stops reading."""
    scene.crowd.stop_reading(scene.crowd.stuck)

    def leave() -> None:
        scene.crowd.cut(scene.crowd.leaving)
        scene.crowd.cut(scene.draw.choice(scene.crowd.healthy))
        scene.count("clients gone without a word", 2)

    with _every(3.0, leave):
        yield


@contextmanager
def poisoned_queues(scene: Field) -> Iterator[None]:
    """What nobody can work with, between what everybody waits for."""
    scene.count("poisonous messages", scene.poison.send())
    yield


@contextmanager
def lying_feed(scene: Field) -> Iterator[None]:
    """Repeats, jumps and lies, each of which must be refused by its name; then silence while the fault lasts."""
    market = scene.market
    for symbol in market.symbols:
        lie_about(scene, symbol)
        jump = market.prices[symbol] * 10
        market.publish([market.quote(symbol, jump)] * 3)
    market.is_stalled = True
    try:
        yield
    finally:
        market.is_stalled = False


def lie_about(scene: Field, symbol: str) -> None:
    """One of each kind; a lie that is taken is a violation."""
    market, wrong = scene.market, Decimal("7.77")
    lies = {
        "INVALID": [
            market.quote(symbol, wrong, now_ms() + 3_600_000),
            market.quote(symbol, -wrong),
            market.quote(symbol, wrong) | {"last": "NaN"},
            market.quote(symbol, wrong) | {"bid": "a lot"},
        ],
        "STALE": [market.quote(symbol, wrong, now_ms() - 600_000)],
        "CROSSED": [market.quote(symbol, wrong) | {"bid": "8.88"}],
        "UNKNOWN_SYMBOL": [market.quote("NOBODY", wrong)],
    }
    for code, updates in lies.items():
        for update in updates:
            told = _told(scene.admin, {"updates": [update]})
            # What was lost with the store knows no older price to hold a late one against.
            if told is not None and told != [code] and not (code == "STALE" and scene.stores_lost):
                scene.violations.append(f"the lie {update} was answered {told}, not {code}")
            scene.count("lies of the feed")
    for malformed in (b"{", b"[]", b'{"updates": 3}', b'{"updates": [{"symbol": 3}]}'):
        with suppress(ApiError):
            answer = scene.admin.call("POST", "/api/v1/prices", malformed)
            if answer.status == 202 and answer.body["accepted"]:
                scene.violations.append(f"{malformed!r} was taken for a price")
        scene.count("lies of the feed")


def _told(admin: Rest, body: object) -> list[Any] | None:
    """The codes of what was refused, "taken" for what was not; None where there was no such answer."""
    try:
        answer = admin.call("POST", "/api/v1/prices", body)
    except ApiError:
        return None
    if answer.status != 202:
        return None
    return [item["code"] for item in answer.body["rejected"]] + ["taken"] * answer.body["accepted"]


_VALKEY = frozenset({"valkey"})
ERRORS = "ErrorsAlarm"
THROTTLED_DYNAMODB = Fault("DynamoDB throttles", throttled_dynamodb)
FAILING_DYNAMODB = Fault("DynamoDB fails", failing_dynamodb)
DYNAMODB_DOWN = Fault("DynamoDB is down", dynamodb_down, alarm=ERRORS)
UNPROCESSED_KEYS = Fault("DynamoDB leaves keys unprocessed", unprocessed_keys)
CONFLICTS = Fault("transactions conflict", transaction_conflicts)
PARTLY_FAILING_BATCHES = Fault("SQS takes parts of batches", partly_failing_batches)
REPEATING_QUEUES = Fault("SQS repeats and reorders", repeating_queues)
FAILING_BUS = Fault("EventBridge fails", failing_bus)
SLOW_CALLS = Fault("AWS answers late", slow_calls)
FAILING_POSTS = Fault("posts to clients fail", failing_posts)
KILLED_WORKERS = Fault("functions are killed", killed_workers, alarm=ERRORS)
KILLED_IN_STEPS = Fault("functions are killed in every step", functions_killed_in_steps, alarm=ERRORS)
STANDING_STILL = Fault("functions stand still", functions_standing_still, alarm=ERRORS)
BURDENSOME_CLIENTS = Fault("clients leave and get stuck", burdensome_clients)
POISON = Fault("the queues hold poison", poisoned_queues)
LYING_FEED = Fault("the feed lies", lying_feed)
KILLED_VALKEY = Fault("Valkey is killed", killed_valkey, _VALKEY, ERRORS)
SLOW_VALKEY = Fault("Valkey is slow", slow_valkey, _VALKEY)
READ_ONLY_VALKEY = Fault("Valkey is read-only", read_only_valkey, _VALKEY, ERRORS)
LOST_HOT_STORE = Fault("the hot store is lost", lost_hot_store, alarm="SweepFindsAlarm")
FAULTS = (
    THROTTLED_DYNAMODB,
    FAILING_DYNAMODB,
    DYNAMODB_DOWN,
    UNPROCESSED_KEYS,
    CONFLICTS,
    PARTLY_FAILING_BATCHES,
    REPEATING_QUEUES,
    FAILING_BUS,
    SLOW_CALLS,
    FAILING_POSTS,
    KILLED_WORKERS,
    KILLED_IN_STEPS,
    STANDING_STILL,
    BURDENSOME_CLIENTS,
    POISON,
    LYING_FEED,
    KILLED_VALKEY,
    SLOW_VALKEY,
    READ_ONLY_VALKEY,
    LOST_HOT_STORE,
)
ALONE = (DYNAMODB_DOWN, LOST_HOT_STORE)
# While the last prices are posted, after which nothing comes that could make good what is lost.
LAST = (
    Fault(
        "a little of everything",
        _rules(
            Rule(_BATCHES, 0.25, acts.unprocessed),
            Rule("sqs:SendMessageBatch", 0.25, acts.partly_sent),
            Rule("dynamodb:TransactWriteItems", 0.1, acts.conflicted),
            Rule(("dynamodb:", "sqs:"), 0.02, acts.unanswered),
            Rule(("dynamodb:", "sqs:"), 0.02, acts.failed),
        ),
    ),
)


@contextmanager
def all_of(chosen: tuple[Fault, ...], scene: Field) -> Iterator[None]:
    """Several at once."""
    with ExitStack() as stack:
        for fault in chosen:
            stack.enter_context(fault.during(scene))
        yield


def storms(store: str, seconds: float, storm_s: float, draw: Random) -> list[tuple[Fault, ...]]:
    """Pairs of faults, as many as there is time for: all of them once in a drawn order, then all of them again. What
    lets nothing be done, or takes its own time, comes alone."""
    wanted = max(round(seconds / storm_s), 1)
    found: list[tuple[Fault, ...]] = []
    while len(found) < wanted:
        deck = [fault for fault in FAULTS if store in fault.stores]
        draw.shuffle(deck)
        alone = [fault for fault in deck if fault in ALONE]
        deck = [fault for fault in deck if fault not in ALONE]
        round_of = [tuple(deck[start : start + 2]) for start in range(0, len(deck), 2)] + [(fault,) for fault in alone]
        draw.shuffle(round_of)
        found += round_of
    return found[:wanted]
