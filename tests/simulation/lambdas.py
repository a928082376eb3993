"""Lambda: containers that are kept and reused, invocations that time out, and the event sources that start them."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from greenlet import getcurrent, greenlet

from foliostream.application.receiving import Change, Received
from foliostream.errors import FoliostreamError
from tests.simulation.machines import Faults
from tests.simulation.queues import Message, Queue
from tests.simulation.world import MS, SECOND, Crash, World

BATCH_MAX = 10
STREAM_BATCH_MAX = 100
STREAM_PAUSE_US = SECOND
POLL_MOST_US = 10 * MS
_T = TypeVar("_T")


@dataclass(eq=False)
class Invocation:
    """``outcome``: done (with ``answer``), failed (the handler raised ``fault``) or crashed; ``notes`` is for whoever
    watches: what was valued, for whom."""

    function: str
    source: str
    received: Sequence[Received] = ()
    outcome: Literal["running", "done", "failed", "crashed"] = "running"
    answer: Any = None
    fault: FoliostreamError | None = None
    notes: dict[str, int] = field(default_factory=dict)

    @property
    def message_ids(self) -> set[str]:
        return {item.message_id for item in self.received}


class Task(greenlet):
    """A greenlet that serves an invocation."""

    invocation: Invocation | None = None


def current_invocation() -> Invocation | None:
    """Of the greenlet that runs now."""
    return getattr(getcurrent(), "invocation", None)


class Function(Generic[_T]):
    """A Lambda function. ``new_container`` makes what a cold start makes; a container serves one invocation at a time
    and is gone after a crash or a timeout. ``mishaps`` gets the traceback of every error that is none of ours."""

    def __init__(
        self,
        world: World,
        name: str,
        new_container: Callable[[str], _T],
        watch: Callable[[Invocation], object],
        mishaps: list[str],
        *,
        timeout_us: int,
    ) -> None:
        self.name = name
        self._world = world
        self._watch = watch
        self._new_container = new_container
        self._mishaps = mishaps
        self._timeout_us = timeout_us
        self._idle: list[tuple[str, _T]] = []
        self._containers = 0

    def invoke(
        self, invocation: Invocation, handle: Callable[[_T], Any], ended: Callable[[Invocation], object]
    ) -> None:
        """Run ``handle`` in a container; ``ended`` is called with the invocation when it is over."""
        container = self._container()

        def run() -> None:
            try:
                invocation.answer = handle(container[1])
                invocation.outcome = "done"
            except Crash:
                invocation.outcome = "crashed"
            except FoliostreamError as fault:
                invocation.outcome, invocation.fault = "failed", fault
            except Exception:  # noqa: BLE001 (Lambda does not choose either)
                invocation.outcome = "failed"
                self._mishaps.append(traceback.format_exc())
            if invocation.outcome != "crashed":
                self._idle.append(container)
            self._world.trace(container[0], invocation.outcome, invocation.answer or invocation.fault or "")
            self._watch(invocation)
            ended(invocation)

        task = Task(run, self._world.hub)
        task.invocation = invocation
        names = [item.message_id for item in invocation.received]
        self._world.trace(container[0], "starts for", invocation.source, *names)
        self._world.after(0, task.switch)
        self._world.after(self._timeout_us, self._time_out, task)

    def _container(self) -> tuple[str, _T]:
        if self._idle:
            return self._idle.pop(self._world.between(0, len(self._idle) - 1))
        self._containers += 1
        name = f"{self.name}#{self._containers}"
        return name, self._new_container(name)

    def _time_out(self, task: Task) -> None:
        if not task.dead:
            self._world.trace(self.name, "times out")
            task.throw(Crash)


class QueueSource(Generic[_T]):
    """The event source mapping of a queue: batches of at most 10, mixing groups, a bounded number at once."""

    def __init__(
        self,
        world: World,
        queue: Queue,
        function: Function[_T],
        handle: Callable[[_T, Sequence[Received]], Sequence[str]],
        faults: Faults,
        *,
        concurrency: int,
    ) -> None:
        self._world = world
        self._queue = queue
        self._function = function
        self._handle = handle
        self._faults = faults
        self._free = concurrency
        self._is_polling = False
        queue.on_ready = self.poll_soon

    def poll_soon(self) -> None:
        if not self._is_polling and self._queue.messages:
            self._is_polling = True
            self._world.after(self._world.between(0, POLL_MOST_US), self._poll)

    def _poll(self) -> None:
        self._is_polling = False
        while self._free:
            batch = self._queue.receive(BATCH_MAX if self._world.chance(0.8) else self._world.between(1, BATCH_MAX))
            if not batch:
                return
            if self._is_faulty and self._world.chance(self._faults.lost_receive):
                self._world.trace(self._queue.name, "the answer to a receive is lost")
                continue
            self._free -= 1
            self._start(batch)

    @property
    def _is_faulty(self) -> bool:
        return self._world.now_us < self._faults.until_us

    def _start(self, batch: list[tuple[Message, int]]) -> None:
        received = [Received(message.message_id, message.body, message.receives) for message, _ in batch]
        invocation = Invocation(self._function.name, self._queue.name, received)
        self._function.invoke(
            invocation,
            lambda container: self._handle(container, received),
            lambda ended: self._ended(ended, batch),
        )

    def _ended(self, invocation: Invocation, batch: list[tuple[Message, int]]) -> None:
        self._free += 1
        if invocation.outcome == "done":
            if self._is_faulty and self._world.chance(self._faults.lost_delete):
                self._world.trace(self._queue.name, "is not told what was done")
            else:
                self._world.after(self._world.between(1, POLL_MOST_US), self._settle, set(invocation.answer), batch)
        self.poll_soon()

    def _settle(self, again: set[str], batch: list[tuple[Message, int]]) -> None:
        for message, receipt in batch:
            if message.message_id in again:
                self._queue.give_back(message, receipt, 0)
            else:
                self._queue.delete(message, receipt)


class StreamSource(Generic[_T]):
    """The event source mapping of one lane of a DynamoDB stream: changes in their order, one batch at a time; the
    next begins where the last could not go on."""

    def __init__(
        self,
        world: World,
        name: str,
        function: Function[_T],
        handle: Callable[[_T, Sequence[Change]], Sequence[str]],
        faults: Faults,
    ) -> None:
        self._world = world
        self._name = name
        self._function = function
        self._handle = handle
        self._faults = faults
        self._changes: list[Change] = []
        self._is_busy = False

    def append(self, change: Change) -> None:
        self._changes.append(change)
        self._next(self._world.between(0, 5 * POLL_MOST_US))

    def _next(self, delay_us: int) -> None:
        if not self._is_busy and self._changes:
            self._is_busy = True
            self._world.after(delay_us, self._start)

    def _start(self) -> None:
        batch = self._changes[: self._world.between(1, STREAM_BATCH_MAX)]
        invocation = Invocation("project_ledger", self._name)
        self._function.invoke(
            invocation, lambda container: self._handle(container, batch), lambda ended: self._ended(ended, batch)
        )

    def _ended(self, invocation: Invocation, batch: list[Change]) -> None:
        self._is_busy = False
        if invocation.outcome != "done":
            return self._next(STREAM_PAUSE_US)
        is_told = self._world.now_us >= self._faults.until_us or not self._world.chance(self._faults.lost_delete)
        if is_told:
            again = set(invocation.answer)
            done = next((n for n, item in enumerate(batch) if item.sequence_number in again), len(batch))
            self._changes = self._changes[done:]
        return self._next(STREAM_PAUSE_US if not is_told or invocation.answer else 0)
