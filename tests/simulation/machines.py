"""Machines: clocks that differ, and calls that take time, fail, or are done without an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from greenlet import getcurrent, greenlet

from foliostream.errors import FoliostreamError, RetryableError
from tests.simulation.world import MS, SECOND, Crash, World

FRAGILE = 1 / 3
# An adapter that repeats a call without an answer may outlive the 30 s of its function.
HANGING_MOST_US = 40 * SECOND
LATE_MOST_US = 10 * SECOND
# Where it matters most that somebody may die or be slow.
CALLS = (
    "prices.put",
    "holders",
    "record",
    "send to live",
    "send to demo",
    "load",
    "prices.get",
    "save",
    "send to push",
    "pace",
    "send to delayed",
    "publish",
    "forget",
    "put_book",
    "holders.add",
    "ledger.commit",
    "post",
    "mark_sent",
)
# How long an adapter goes on trying where it is refused.
REFUSED_LEAST_US, REFUSED_MOST_US = 200 * MS, 3 * SECOND
# What comes through late would overtake what was sent since: to a client over one connection that cannot be.
IN_TURN = ("post",)


@dataclass
class Faults:
    """Probabilities per call of a port, except ``outages`` (from, to in microseconds: every call fails), ``fragile``
    (the name of a call at which a third of the callers die) and what is said of queues. All of them end some time
    after the storm (``until_us``)."""

    until_us: int = 0
    throttled: float = 0
    lost_answer: float = 0
    crash: float = 0
    fragile: str = ""
    twice: float = 0
    hanging: float = 0
    outages: list[tuple[int, int]] = field(default_factory=list)
    lost_receive: float = 0
    lost_delete: float = 0
    duplicate: float = 0

    @property
    def is_none(self) -> bool:
        """Whether nothing fails; calls take their time all the same, clocks differ, messages come twice."""
        rates = self.throttled, self.lost_answer, self.crash, self.twice, self.hanging
        return not any((*rates, self.lost_receive, self.lost_delete)) and not self.outages and not self.fragile


@dataclass
class Latency:
    """Of a call's way to a store, and back again: mostly up to ``usual_us``, rarely up to ``most_us``; on the way
    there of the call named ``slow`` up to ``slow_us``, every second time."""

    usual_us: int
    most_us: int
    slow: str = ""
    slow_us: int = 0

    def one(self, world: World) -> int:
        most = self.most_us if world.random.random() < 0.1 else self.usual_us
        return 1 + int(world.random.random() * most)

    def there(self, what: str, world: World) -> int:
        extra = world.between(0, self.slow_us) if what == self.slow and world.chance(0.5) else 0
        return extra + self.one(world)


class Machine:
    """``ports.Clock`` of one machine: off the true time by less than half of the allowance either way, and set
    anew now and then, also backwards, if ``is_unsteady``."""

    def __init__(self, world: World, name: str, *, skew_us: int, is_unsteady: bool) -> None:
        self.name = name
        self.is_early = False  # a fault of tests/simulation/faults.py: does not wait
        self._world = world
        self._skew_us = skew_us
        self._is_unsteady = is_unsteady
        self._offset_us = self._setting()

    def _setting(self) -> int:
        half = self._skew_us // 2
        draw = self._world.random.random()
        if draw < 0.2:
            return -half
        return half if draw > 0.8 else self._world.between(-half, half)

    def _clock_us(self) -> int:
        if self._is_unsteady and self._world.random.random() < 0.05:
            self._offset_us = self._setting()
        return self._world.now_us + self._offset_us

    def now_ms(self) -> int:
        return self._world.epoch_ms + self._clock_us() // MS

    def wait_until(self, at_ms: int) -> None:
        while not self.is_early and (left_us := (at_ms - self._world.epoch_ms) * MS - self._clock_us()) > 0:
            self._world.sleep(left_us)


class _Fate(NamedTuple):
    """What becomes of a call: its caller dies, its answer is lost, or comes so late that nobody waits; it is done
    twice."""

    crashes: bool = False
    loses: bool = False
    hangs: bool = False
    repeats: bool = False

    @property
    def is_cut(self) -> bool:
        return self.crashes or self.loses or self.hangs


class Network:
    """Carries a machine's calls to the stores and queues. A call has one step or several that are not one transaction;
    each is done at a moment of its own, also if the caller has died or given up meanwhile."""

    def __init__(self, world: World, faults: Faults, latency: Latency, name: str) -> None:
        self._world = world
        self._faults = faults
        self._latency = latency
        self._name = name

    def call(
        self, what: str, steps: Sequence[Callable[[], Any]], *, in_order: bool = False, repeatable: bool = False
    ) -> list[Any]:
        """Results of the steps; the first error of a step, or ``RetryableError``, or the caller dies here.

        ``repeatable``: the adapter may do it twice, since it repeats what had no answer in time.
        """
        if not steps:
            return []
        world = self._world
        fate = self._fate(what, repeatable=repeatable)
        chosen = self._chosen(len(steps), is_cut=fate.is_cut)
        answers = _Answers(len(steps), getcurrent(), world)
        there_us = self._latency.there(what, world)
        if fate.hangs and what not in IN_TURN:
            there_us += world.between(0, LATE_MOST_US)
        end_us = self._send(steps, chosen, answers, there_us, in_order=in_order, repeats=fate.repeats)
        if fate.is_cut:
            self._cut(what, fate, end_us, f"{len(chosen)} of {len(steps)}")
        world.sleep(end_us - world.now_us)
        if world.is_traced:
            world.trace(self._name, what, *answers.results)
        if answers.fault is not None:
            raise answers.fault
        return answers.results

    def _fate(self, what: str, *, repeatable: bool) -> _Fate:
        """What is to become of a call; it ends here if it does not even begin."""
        world, faults = self._world, self._faults
        if world.now_us >= faults.until_us or faults.is_none:
            return _Fate()
        if self._is_stopped(what):
            world.sleep(world.between(REFUSED_LEAST_US, REFUSED_MOST_US))
            raise RetryableError(f"{what} is throttled")
        crashes = world.chance(FRAGILE if what == faults.fragile else faults.crash)
        if crashes and world.chance(0.3):
            world.trace(self._name, what, "crash before it")
            raise Crash
        loses, hangs = world.chance(faults.lost_answer), world.chance(faults.hanging)
        return _Fate(crashes, loses, hangs, repeatable and world.chance(faults.twice))

    def _cut(self, what: str, fate: _Fate, end_us: int, done: str) -> None:
        """The end of a call that is not answered."""
        world = self._world
        if fate.crashes:
            world.trace(self._name, what, f"crash after sending {done}")
            raise Crash
        world.trace(self._name, what, f"{done} done, {'it hangs' if fate.hangs else 'the answer is lost'}")
        world.sleep(world.between(LATE_MOST_US, HANGING_MOST_US) if fate.hangs else end_us - world.now_us)
        raise RetryableError(f"{what}: no answer")

    def _chosen(self, steps: int, *, is_cut: bool) -> list[int]:
        """The steps that are done; not all of several where the call is cut short."""
        if not is_cut or steps == 1:
            return list(range(steps))
        return [number for number in range(steps) if self._world.chance(0.5)]

    def _is_stopped(self, what: str) -> bool:
        now_us = self._world.now_us
        if any(start <= now_us < end for start, end in self._faults.outages) or self._world.chance(
            self._faults.throttled
        ):
            self._world.trace(self._name, what, "fails")
            return True
        return False

    def _send(
        self,
        steps: Sequence[Callable[[], Any]],
        chosen: list[int],
        answers: _Answers,
        there_us: int,
        *,
        in_order: bool,
        repeats: bool,
    ) -> int:
        """When the answer is back."""
        world = self._world
        now_us = last_us = world.now_us + there_us
        at_once = len(chosen) == 1 or world.random.random() < 0.5
        order = chosen if in_order or at_once else world.random.sample(chosen, len(chosen))
        for number in order:
            if not at_once:
                last_us += self._latency.one(world) // len(steps)
            world.at(last_us, answers.do, number, steps[number])
        if repeats:
            last_us += self._latency.one(world)
            for number in order:
                world.at(last_us, answers.do, number, steps[number])
        return max(last_us, now_us) + self._latency.one(world)


class _Answers:
    def __init__(self, steps: int, caller: greenlet, world: World) -> None:
        self.results: list[Any] = [None] * steps
        self.fault: FoliostreamError | None = None
        self._caller = caller
        self._world = world

    def do(self, number: int, step: Callable[[], Any]) -> None:
        try:
            self.results[number] = step()
        except FoliostreamError as fault:
            self.fault = self.fault or fault
        if self._world.is_traced and self._caller.dead:
            self._world.trace("(late)", "done for a caller that is gone")
