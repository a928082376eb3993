"""One run: a cloud behind the proxy, people who use it, storms of faults, silence, and the checks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

from foliostream_client.transport import Rest
from local.issuer import ALL_SCOPES
from local.sam import function_logs
from tests.chaos import faults, people
from tests.chaos.alarms import Alarms, Verdict
from tests.chaos.checks import Checks
from tests.chaos.crowd import Crowd
from tests.chaos.deployment import deployed
from tests.chaos.faults import Fault, Field
from tests.chaos.poison import Poison, queue_url
from tests.chaos.proxy import Proxy
from tests.chaos.readers import Analyst, Readers
from tests.chaos.traffic import Desk, Slides, Thread, Traders, TrafficError
from tests.e2e.conftest import Cloud, Events, looking_into
from tests.support.watching import Versions

CLIENTS = 3
# A message whose function died is seen again after 35 seconds; one that dies again, after as many more. Five minutes
# after it was recorded the sweep would make good what was lost: by then this has failed.
DRAIN_S = 240.0
# Twenty tries a second apart, and what was to come again in half a minute when they were hurried.
BACKLOG_S = 120.0
ARRIVAL_S = 180.0
CALM_S = 6.0
MOVED_EVERY_S = 0.1


@dataclass(frozen=True)
class Plan:
    """What a run does; the same seed draws the same storms, traffic and faults, but not the same interleaving.

    ``storms``: these instead of drawn ones.
    """

    store: str
    seed: int
    seconds: float
    storm_s: float = 12.0
    storms: tuple[tuple[Fault, ...], ...] = ()
    # Twenty receives of a message that cannot be read take half a minute, hurried.
    with_unreadable: bool = True


@dataclass
class Report:
    """``violations`` is empty where everything held."""

    plan: Plan
    storms: list[str] = field(default_factory=list)
    figures: dict[str, object] = field(default_factory=dict)
    alarms: dict[str, Verdict] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        plan = self.plan
        yield f"chaos: {plan.store}, seed {plan.seed}, {plan.seconds:.0f} s of faults"
        yield from (f"  storm {number:>2}  {names}" for number, names in enumerate(self.storms, start=1))
        yield from (f"  {name:<32} {value}" for name, value in self.figures.items())
        for name, verdict in sorted(self.alarms.items()):
            if verdict.breaching:
                fired = "raised" if verdict.is_raised else f"{verdict.breaching} of {verdict.needed} periods"
                yield f"  alarm {name:<32} {fired}, worst {verdict.worst:,.0f}"
        yield from (f"  VIOLATED: {violation}" for violation in self.violations)
        yield f"  {'violated' if self.violations else 'ok'}"


def run(plan: Plan, say: Callable[[str], None] = lambda _: None) -> Report:
    """Deploy, disturb, wait, check. Whatever was wrong is in the report's ``violations``."""
    report = Report(plan)
    with Proxy(plan.seed) as proxy, deployed(plan.store, proxy) as cloud:
        before = proxy.requests()
        one = _Run(plan, cloud, proxy, report, say)
        try:
            one.all()
        except TrafficError as error:
            report.violations.append(str(error))
        if report.violations:
            one.keep_logs()
        if proxy.requests() <= before:
            report.violations.append("no call of a function passed the proxy")
    return report


class _Run:
    def __init__(self, plan: Plan, cloud: Cloud, proxy: Proxy, report: Report, say: Callable[[str], None]) -> None:
        self.plan, self.cloud, self.proxy, self.report, self.say = plan, cloud, proxy, report, say
        self.draw = Random(plan.seed)
        self.begun_at = datetime.now(UTC)
        self.admin = cloud.rest("admin", ALL_SCOPES)
        self.people = people.settle(cloud, self.admin, self._draw())
        self.market = self.people.market
        self.desk = Desk(cloud, self.people.owner, self.people.accounts.cash, self._draw(), self.people.name)
        self.traders = Traders(self.people.owner, self.market, self.people.accounts.paper, self._draw())
        self.slides = Slides(self.people.owner, self.market, self.people.accounts.margin)
        others = {"a stranger": cloud.rest(self.people.stranger), "nobody": Rest(cloud.outputs.rest_url)}
        self.readers = Readers(self.people.owner, others, self.people.accounts, self._draw())
        self.happened: set[Fault] = set()

    def all(self) -> None:
        """Storms, silence, checks."""
        accounts = self.people.accounts
        with ExitStack() as stack:
            hot = stack.enter_context(looking_into(self.cloud))
            told = stack.enter_context(_listening(self.cloud))
            strangers = self.cloud.token(self.people.stranger)
            crowd = stack.enter_context(Crowd(self.cloud, self.people.token, strangers, accounts.all, healthy=CLIENTS))
            if not crowd.arrived(ARRIVAL_S):
                self.report.violations.append("clients did not get their first snapshots")
                return
            checks = Checks(
                self.cloud, self.people.owner, hot, accounts, self.market, self.desk, self.traders, self.slides, crowd
            )
            scene = self._scene(crowd)
            with Versions(hot, accounts.all) as versions:
                self._storms(scene)
                self._drain(checks, scene.poison)
                self._calm(checks, versions)
            self._check(scene, checks, told, versions)

    def _scene(self, crowd: Crowd) -> Field:
        poison = Poison(
            self.cloud,
            self.people.owner,
            self.desk,
            self.people.accounts.types,
            self.people.name,
            with_unreadable=self.plan.with_unreadable,
        )
        scene = Field(self.cloud, self.proxy, self.admin, self.market, self.slides, crowd, poison, self._draw())
        scene.violations = self.report.violations
        return scene

    def _storms(self, scene: Field) -> None:
        """Everything goes on meanwhile. The last words are spoken while faults last: nothing comes after them that
        could make good what they lost."""
        threads = [
            Thread("the market", self.market.run),
            Thread("the desk", self.desk.run),
            Thread("the traders", self.traders.run),
            Thread("the slides", self.slides.run),
            Thread("the readers", self.readers.run),
            Thread("the analyst", Analyst(scene.crowd, self.people.accounts).run),
        ]
        for thread in threads:
            thread.start()
        try:
            drawn = faults.storms(self.plan.store, self.plan.seconds, self.plan.storm_s, self._draw())
            for storm in self.plan.storms or drawn:
                self._storm(scene, storm)
        finally:
            self.say("last words, under faults")
            with faults.all_of(faults.LAST, scene):
                for thread in threads:
                    thread.end()
                self.market.last_words()
        self.report.violations += [thread.fault for thread in threads if thread.fault]

    def _storm(self, scene: Field, storm: tuple[Fault, ...]) -> None:
        names = " + ".join(fault.name for fault in storm)
        self.say(names)
        self.report.storms.append(names)
        self.happened |= set(storm)
        ends_at = time.monotonic() + self.plan.storm_s
        with faults.all_of(storm, scene):
            # Some faults take their time to begin; what they do to the others must last a while all the same.
            time.sleep(max(ends_at - time.monotonic(), self.plan.storm_s / 2))

    def _drain(self, checks: Checks, poison: Poison) -> None:
        """Until everything shows and nothing waits, or the time is over. What cannot be read is hurried through its
        tries once all else is done."""
        begun = time.monotonic()
        self.say("silence")
        wrong = _until_nothing(lambda: [*checks.wrong_totals(), *checks.late_clients()], DRAIN_S)
        wrong += _until_nothing(Analyst(checks.crowd, self.people.accounts).unanswered(), ARRIVAL_S)
        if self.plan.with_unreadable:
            poison.hurry()
        wrong += _until_nothing(lambda: list(checks.backlog()), BACKLOG_S)
        self.report.violations += wrong
        self.report.figures["drained within"] = f"{time.monotonic() - begun:.0f} s"

    def _calm(self, checks: Checks, versions: Versions) -> None:
        """G2 and G1 with nothing wrong any more: however fast prices come, one valuation a window, and all show. Of
        accounts that nothing is booked in meanwhile: orders that wait for a price may be filled."""
        self.say("calm")
        before, begun, moves = Counter(versions.changes), time.monotonic(), 0
        while time.monotonic() - begun < CALM_S:
            self.market.publish_all()
            moves += 1
            time.sleep(MOVED_EVERY_S)
        self.market.last_words()
        self.report.violations += _until_nothing(lambda: list(checks.wrong_totals()), CALM_S + ARRIVAL_S)
        lasted_ms = (time.monotonic() - begun) * 1000
        types, most = self.people.accounts.types, Counter[str]()
        for name in self.people.accounts.cash:
            valuations = versions.changes[name] - before[name]
            most[types[name]] = max(most[types[name]], valuations)
            if valuations > lasted_ms // window_ms(self.plan.store, types[name]) + 2:
                found = f"{types[name]} {name} was valued {valuations} times in {lasted_ms:.0f} ms of calm"
                self.report.violations.append(found)
        self.report.figures["in the calm"] = f"{moves} moves of all prices in {lasted_ms:.0f} ms, valued {dict(most)}"

    def _check(self, scene: Field, checks: Checks, told: dict[str, Events], versions: Versions) -> None:
        self.say("checks")
        report = self.report
        events = _until_nothing(lambda: list(checks.wrong_events(_ids(told), scene.stores_lost)), ARRIVAL_S)
        for check in (
            checks.client_faults(),
            checks.wrong_books(),
            checks.wrong_orders(),
            events,
            self._alarms(scene),
            checks.wrong_letters(scene.poison.letters),
            (f"{name} went from version {high} to {low}" for name, high, low in versions.fallen),
            self.readers.faults,
            (f"the stranger was told of {what}" for what in checks.crowd.overheard()),
            [] if scene.stores_lost else versions.older_prices,
            [] if scene.stores_lost else self._without_a_price(),
        ):
            report.violations += list(check)
        self._figures(scene, checks, versions)

    def _without_a_price(self) -> Iterator[str]:
        """What is lost with its store is unpriced until it is there again, and shown so; else only what never was."""
        for name in sorted(self.readers.unpriced - self.people.accounts.blind.keys()):
            yield f"{name} was read as unpriced, and nothing was lost"

    def _alarms(self, scene: Field) -> Iterator[str]:
        """Those that should have been raised were, as far as minutes can tell, and nobody was called for nothing."""
        alarms = Alarms(self.cloud, self.begun_at)
        verdicts = self.report.alarms = alarms.verdicts()
        beyond = {name for name, verdict in verdicts.items() if verdict.breaching}
        of_dead_letters = alarms.of_dead_letters()
        wanted = {of_dead_letters[queue_url(self.cloud, queue.dead)] for queue in scene.poison.letters}
        for name in sorted(wanted - beyond):
            yield f"{name} would not have been raised"
        for name in sorted(name for name in beyond - wanted if name.endswith("DeadLetterAlarm")):
            yield f"{name} would have been raised"
        for fault in sorted(self.happened):
            if fault.alarm and not any(name.endswith(fault.alarm) for name in beyond):
                yield f"{fault.name}: no datapoint of an alarm {fault.alarm}"
        if "SweepFindsAlarm" in beyond and not scene.stores_lost:
            yield f"the sweep found {verdicts['SweepFindsAlarm'].worst:.0f} things lost, and no store was"

    def _figures(self, scene: Field, checks: Checks, versions: Versions) -> None:
        accounts = self.people.accounts
        crowd = checks.crowd.healthy
        self.report.figures |= {
            "portfolios": f"{len(accounts.all)}, looked at {versions.looks:,} times",
            "prices sent": f"{self.market.posted:,}",
            "fills sent": f"{len(self.desk.sent):,}, {self.desk.repeats:,} of them again",
            "orders answered": sum(map(len, self.traders.placed.values())),
            "orders refused": len(self.traders.refused),
            "margin calls": sum(self.slides.calls.values()),
            "analyses": len(set().union(*(client.completed for client in crowd))),
            "states read": f"{self.readers.answers:,}, and {self.readers.refusals:,} times refused to others",
            "messages to clients": f"{sum(client.messages for client in crowd):,}",
            "connections of clients": sum(client.connections for client in crowd),
            "- because nothing was heard": sum(client.silences for client in crowd),
            "refusals of clients' messages": dict(sum((client.refusals for client in crowd), Counter())),
            "calls of AWS by functions": f"{self.proxy.requests():,}",
            **{f"- {kind}": f"{number:,}" for kind, number in self.proxy.injected().items()},
            **scene.happened,
        }

    def keep_logs(self) -> None:
        """What the functions wrote, which is gone with the emulator."""
        kept = self.cloud.settings.logs / "functions.log"
        kept.write_text("\n".join(function_logs(self.cloud.outputs.aws_endpoint)))
        self.say(f"the functions' logs are in {kept}")

    def _draw(self) -> Random:
        return Random(self.draw.random())


@contextmanager
def _listening(cloud: Cloud) -> Iterator[dict[str, Events]]:
    """What comes of margin events on the bus."""
    told = {kind: Events(cloud, kind) for kind in ("margin_call", "margin_restored")}
    try:
        yield told
    finally:
        for events in told.values():
            events.close()


def _ids(told: dict[str, Events]) -> dict[str, set[str]]:
    """Of every event that is there by now."""
    return {kind: events.all_ids() for kind, events in told.items()}


def window_ms(store: str, account_type: str) -> int:
    """The template's."""
    return {"live": 200 if store == "valkey" else 1000, "demo": 1000, "paper": 3000}[account_type]


def _until_nothing(wrong: Callable[[], list[str]], patience_s: float) -> list[str]:
    """What is still wrong when the time is over."""
    stop = time.monotonic() + patience_s
    while found := wrong():
        if time.monotonic() > stop:
            return found
        time.sleep(1.0)
    return []
