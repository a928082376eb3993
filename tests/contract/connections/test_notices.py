"""What is kept for replay; run on the fake and on DynamoDB."""

from __future__ import annotations

import pytest

from foliostream.adapters.dynamodb_notices import DynamoDbNotices
from foliostream.ports import KeptNotice, Notices
from tests.fakes.notices import FakeNotices
from tests.support.ministack import Emulator

NOW_MS = 1_767_225_600_500
LATER_MS = NOW_MS + 86_400_000


@pytest.fixture(params=["fake", "dynamodb"])
def notices(request: pytest.FixtureRequest) -> Notices:
    if request.param == "fake":
        return FakeNotices()
    emulator: Emulator = request.getfixturevalue("ministack")
    return DynamoDbNotices(emulator.dynamodb(), emulator.table())


def notice(number: int, portfolio_id: str = "p1", at_ms: int | None = None) -> KeptNotice:
    kept_at_ms = NOW_MS + number if at_ms is None else at_ms
    return KeptNotice(portfolio_id, f"fill:{portfolio_id}:{number}", "fill", kept_at_ms, f'{{"n":{number}}}'.encode())


def test_what_is_kept_comes_back_as_it_was_oldest_first(notices: Notices) -> None:
    notices.keep([notice(2), notice(1), notice(3)], LATER_MS)
    assert notices.since("p1", 0, 100, NOW_MS) == [notice(1), notice(2), notice(3)]


def test_only_those_of_the_portfolio_from_the_time_on(notices: Notices) -> None:
    notices.keep([notice(1), notice(2), notice(2, "p2"), notice(3, "p10")], LATER_MS)
    assert notices.since("p1", NOW_MS + 2, 100, NOW_MS) == [notice(2)]
    assert notices.since("p1", NOW_MS + 3, 100, NOW_MS) == []
    assert notices.since("p3", -5, 100, NOW_MS) == []


def test_of_too_many_the_newest_are_given(notices: Notices) -> None:
    notices.keep([notice(number) for number in range(60)], LATER_MS)
    assert notices.since("p1", 0, 40, NOW_MS) == [notice(number) for number in range(20, 60)]


def test_what_has_expired_is_not_given_even_if_it_is_still_there(notices: Notices) -> None:
    notices.keep([notice(1)], NOW_MS + 10_000)
    notices.keep([notice(2)], LATER_MS)
    assert notices.since("p1", 0, 100, NOW_MS + 9_000) == [notice(1), notice(2)]
    assert notices.since("p1", 0, 1, NOW_MS + 20_000) == [notice(2)]
    assert notices.since("p1", 0, 100, NOW_MS + 20_000) == [notice(2)]


def test_the_same_kept_again_is_one_at_the_same_time_and_two_at_another(notices: Notices) -> None:
    notices.keep([notice(1)], LATER_MS)
    notices.keep([notice(1)], LATER_MS)
    assert len(notices.since("p1", 0, 100, NOW_MS)) == 1
    notices.keep([notice(1, at_ms=NOW_MS + 9)], LATER_MS)
    assert [item.event_id for item in notices.since("p1", 0, 100, NOW_MS)] == ["fill:p1:1"] * 2
