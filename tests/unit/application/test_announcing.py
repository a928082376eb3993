"""Notices: kept, and sent to whoever watches, in order, each once."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from foliostream.application.push import OUTBOX_MAX, POSTED_AT_ONCE, POSTED_MS, SENT_EVENTS_MAX
from foliostream.domain.notices import Notice
from foliostream.errors import PermanentError, RetryableError
from foliostream.ports import Outgoing
from tests.fakes.connections import FakeConnections
from tests.fakes.gateway import FakeGateway
from tests.unit.application.system import BOB, KEPT_MS, LEVELS, System, connected_to_two, received
from tests.unit.domain.examples import NOW


@pytest.fixture
def system() -> System:
    system = connected_to_two()
    system.subscribe("one")
    system.flush()
    system.messages()
    return system


def call(number: int = 1, portfolio_id: str = "one") -> Notice:
    content = LEVELS | {"level_percent": Decimal("99.50"), "equity": Decimal("75125.00")}
    return Notice(portfolio_id, f"margin_call:{portfolio_id}:{number}", "margin_call", NOW + number, content)


def events(system: System, connection_id: str = "c1") -> list[str]:
    return [message["event_id"] for message in system.messages(connection_id) if "event_id" in message]


def test_a_notice_is_sent_with_its_id_its_portfolio_and_exact_amounts(system: System) -> None:
    system.announce([call()])
    system.flush()
    assert system.clock.waited_until[-1] == 0, "it waits for no window"
    assert b'"equity":75125.00' in system.gateway.to("c1")[0]
    assert system.messages() == [
        {
            "type": "margin_call",
            "timestamp": "2026-02-26T10:30:00.001Z",
            "event_id": "margin_call:one:1",
            "portfolio_id": "one",
            **LEVELS,
            "level_percent": Decimal("99.50"),
            "equity": Decimal("75125.00"),
        }
    ], "what is not known is null"


def test_notices_are_never_conflated_and_come_in_their_order(system: System) -> None:
    for number in range(1, 6):
        system.announce([call(number)])
        system.clock.advance(1)
    system.flush()
    assert events(system) == [f"margin_call:one:{number}" for number in range(1, 6)]


def test_what_is_announced_again_is_sent_once(system: System) -> None:
    system.announce([call(1)])
    system.announce([call(1)])
    system.flush()
    assert events(system) == ["margin_call:one:1"]
    system.clock.advance(5_000)
    system.announce([call(1), call(2)])
    system.flush()
    assert events(system) == ["margin_call:one:2"]


def test_every_watcher_and_nobody_else_hears_of_it(system: System) -> None:  # G11
    system.connect("c2")
    system.connect("c3")
    system.connect("bobs", owner=BOB.subject)
    system.subscribe("one", connection_id="c2")
    system.subscribe("two", connection_id="c3")
    system.subscribe("one", connection_id="bobs")
    system.flush()
    for connection_id in ("c1", "c2", "c3", "bobs"):
        system.messages(connection_id)
    system.announce([call()])
    system.flush()
    assert [events(system, name) for name in ("c1", "c2", "c3", "bobs")] == [
        ["margin_call:one:1"],
        ["margin_call:one:1"],
        [],
        [],
    ]


def test_whoever_left_a_portfolio_is_not_sent_what_was_waiting(system: System) -> None:
    system.announce([call()])
    system.watching.receive("c1", '{"action": "unsubscribe", "portfolio_ids": ["one"]}')
    system.flush()
    assert events(system) == []


def test_what_nobody_watches_is_kept_for_as_long_as_a_session(system: System) -> None:
    system.announce([call(1, "two")])
    assert system.queues.receive("push") == []
    [kept] = system.notices.since("two", 0, 10, system.clock.now_ms())
    assert (kept.event_id, kept.kept_at_ms) == ("margin_call:two:1", system.clock.now_ms())
    assert system.notices.since("two", 0, 10, system.clock.now_ms() + KEPT_MS + 1_000) == []


def test_a_crash_between_keeping_and_sending_is_mended_by_announcing_again(system: System) -> None:
    enqueue = system.connections.enqueue

    def crash(*_: object) -> None:
        raise RetryableError("the store fails")

    system.connections.enqueue = crash  # type: ignore[method-assign]
    with pytest.raises(RetryableError):
        system.announce([call()])
    system.connections.enqueue = enqueue  # type: ignore[method-assign]
    system.announce([call()])
    system.flush()
    assert events(system) == ["margin_call:one:1"]


def test_a_post_that_fails_loses_nothing_and_repeats_nothing(system: System) -> None:
    system.announce([call(1), call(2), call(3)])
    post = system.gateway.post

    def second_fails(connection_id: str, payload: bytes) -> bool:
        if b"margin_call:one:2" in payload:
            raise RetryableError("throttled")
        return post(connection_id, payload)

    system.gateway.post = second_fails  # type: ignore[method-assign]
    system.flush()
    system.gateway.post = post  # type: ignore[method-assign]
    system.flush()
    assert events(system) == [f"margin_call:one:{number}" for number in (1, 2, 3)]


def test_the_ids_that_are_remembered_are_bounded(system: System) -> None:
    system.announce([call(number) for number in range(SENT_EVENTS_MAX + 20)])
    system.flush()
    view = system.connections.view("c1", system.clock.now_ms())
    assert view is not None
    assert (len(view.connection.sent_events), view.outbox) == (SENT_EVENTS_MAX, [])


class Attentive(FakeGateway):
    """Notices what still waits for the connection at each post."""

    def __init__(self, connections: FakeConnections) -> None:
        super().__init__()
        self.waiting: list[int] = []
        self._connections = connections

    def post(self, connection_id: str, payload: bytes) -> bool:
        view = self._connections.view(connection_id, 0)
        assert view
        self.waiting.append(len(view.outbox))
        return super().post(connection_id, payload)


def test_a_function_that_is_ended_in_a_long_outbox_has_posted_the_most_of_it_for_good(system: System) -> None:
    connections = system.sender.connections
    assert isinstance(connections, FakeConnections)
    gateway = Attentive(connections)
    letters = [("c1", Outgoing(f"{number:06d}", b"{}")) for number in range(OUTBOX_MAX)]
    connections.enqueue(letters, system.clock.now_ms() + 60_000)
    assert replace(system.sender, gateway=gateway).flush("c1", system.clock.now_ms())
    assert gateway.waiting[:OUTBOX_MAX:POSTED_AT_ONCE] == list(range(OUTBOX_MAX, 0, -POSTED_AT_ONCE))


def test_a_slow_client_s_long_outbox_is_posted_in_several_flushes_and_others_come_in_between(system: System) -> None:
    post = system.gateway.post

    def slow(connection_id: str, payload: bytes) -> bool:
        system.clock.advance(40)
        return post(connection_id, payload)

    system.gateway.post = slow  # type: ignore[method-assign]
    letters = [("c1", Outgoing(f"{number:06d}", b'{"type":"pong"}')) for number in range(OUTBOX_MAX)]
    system.connections.enqueue(letters, system.clock.now_ms() + 60_000)
    system.marker.connections_now(["c1"])
    posted = []
    while found := system.queues.receive("push"):
        assert system.push(received(found)) == []
        posted.append(len(system.gateway.to("c1")) - sum(posted))
    at_once = POSTED_MS // 40 + POSTED_AT_ONCE // 2
    assert posted == [at_once] * 3 + [OUTBOX_MAX - 3 * at_once]


def test_a_client_that_lets_too_much_wait_is_closed(system: System) -> None:
    letters = [("c1", Outgoing(f"{number:06d}", b"{}")) for number in range(OUTBOX_MAX + 1)]
    system.connections.enqueue(letters, system.clock.now_ms() + 60_000)
    system.marker.connections_now(["c1"])
    system.flush()
    assert system.gateway.gone == {"c1"}
    assert system.connections.view("c1", system.clock.now_ms()) is None
    assert system.watchers() == {}


def test_a_notice_that_fits_into_no_frame_is_refused_by_name() -> None:
    with pytest.raises(PermanentError) as refused:
        Notice("one", "e", "reconciliation", NOW, {"reason": "x" * 33_000}).payload  # noqa: B018 - it is the call
    assert refused.value.code == "NOTICE_TOO_LARGE"
