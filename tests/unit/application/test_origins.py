"""A tick is followed by one id: through dirty messages and push messages, within limits."""

from __future__ import annotations

from foliostream.application.marking import Later
from foliostream.application.origins import ORIGIN_CHARACTERS_MAX, ORIGINS_MAX, Origins
from foliostream.domain import coalescing
from foliostream.domain.coalescing import Window
from tests.unit.application.system import System, received


def begun(*found: list[str]) -> list[str]:
    origins = Origins(["of the event before"])
    origins.begin(*found)
    return origins.ids


def test_each_event_begins_with_its_own_ids_and_one_without_any_has_none() -> None:
    assert begun(["a"], ["b"]) == ["a", "b"]
    assert begun() == begun([""]) == begun([]) == []


def test_the_first_id_of_every_message_goes_on_before_the_second_of_any() -> None:
    lists = [[f"{message}-{number}" for number in range(3)] for message in range(8)]
    assert begun(*lists) == [*(f"{message}-0" for message in range(8)), "0-1", "1-1"]


def test_an_id_that_comes_often_goes_on_once_and_there_are_never_too_many_or_too_long_ones() -> None:
    assert begun(["a"], ["a"], ["a", "b"]) == ["a", "b"]
    assert len(begun([str(number) for number in range(100)])) == ORIGINS_MAX
    assert [len(name) for name in begun(["x" * 1_000])] == [ORIGIN_CHARACTERS_MAX]


def test_bundles_of_the_same_portfolios_are_the_same_promise_whatever_set_them_off() -> None:
    def sent(*origins: str) -> list[str]:
        cut = coalescing.bundles(
            ["live:a"], Window(1, 2), shards=64, keys_per_message=500, reason="price", origins=origins
        )
        return [bundle.deduplication_id for bundle in cut]

    assert sent("one") == sent("another") == sent()


def test_an_id_goes_from_a_mark_over_the_valuation_to_the_connection_that_watches() -> None:
    system = System()
    system.open("one", "AAPL")
    system.connect()
    system.subscribe("one")
    system.settle()
    system.flush()
    system.queues.receive("push")
    system.marker.origins.begin(["tick-1"])
    system.tick("AAPL", "150")
    dirty = system.queues.receive("live")
    assert [bundle.message.origins for bundle in dirty] == [["tick-1"]]
    system.marker.origins.begin(["another event in another container"])
    system.recalculate(received(dirty))
    pushed = system.queues.receive("push")
    assert [bundle.message.origins for bundle in pushed] == [["tick-1"]]
    system.push(received(pushed))
    assert system.marker.origins.ids == ["tick-1"]


def test_what_is_valued_later_still_knows_what_set_it_off() -> None:
    system = System()
    system.marker.origins.begin(["tick-1"])
    system.marker.later([Later("live:one", system.clock.now_ms() + 5_000)], "price")
    system.marker.refresh("live:one")
    assert [bundle.message.origins for bundle in system.queues.receive("delayed")] == [["tick-1"]]
    assert [bundle.message.origins for bundle in system.queues.receive("refresh")] == [["tick-1"]]
