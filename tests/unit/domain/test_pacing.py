"""When a portfolio is valued later than at its window's end."""

from __future__ import annotations

import pytest

from foliostream.domain import pacing
from foliostream.domain.pacing import (
    CLOCK_AHEAD_MS_MAX,
    NO_PACE,
    RETRIES_BEFORE_DEAD_LETTER,
    RETRIES_MAX,
    RETRY_LOST_AFTER_MS,
    Pace,
    Retry,
    Turn,
    after_failure,
    after_success,
    price_turn,
)

NOW = 1_772_101_800_000
MINUTE = 60_000


def turn(pace: Pace, at_ms: int, window_end_ms: int = 0, *, interval_ms: int = MINUTE, again: bool = False) -> Turn:
    return price_turn(pace, interval_ms, window_end_ms or at_ms, at_ms, again=again)


def test_the_first_price_is_valued_at_once() -> None:
    first = turn(NO_PACE, NOW)
    assert first == Turn(Pace(granted_ms=NOW, granted_for_ms=NOW))


def test_prices_within_the_interval_are_promised_once_for_its_end() -> None:
    granted = turn(NO_PACE, NOW).pace
    second = turn(granted, NOW + 200)
    assert (second.due_ms, second.promise) == (NOW + MINUTE, True)
    third = turn(second.pace, NOW + 400)
    assert third == Turn(second.pace, NOW + MINUTE, promise=False)
    assert turn(third.pace, NOW + MINUTE - 1).promise is False
    assert turn(third.pace, NOW + MINUTE).due_ms == 0


@pytest.mark.parametrize(("interval_ms", "grid_ms"), [(1_000, 100), (5_000, 500), (10_000, 1_000), (900_000, 1_000)])
def test_a_due_time_is_never_early_and_at_most_a_tenth_or_a_second_late(interval_ms: int, grid_ms: int) -> None:
    for start in (NOW, NOW + 1, NOW + 99, NOW + 999):
        due_ms = turn(turn(NO_PACE, start, interval_ms=interval_ms).pace, start + 1, interval_ms=interval_ms).due_ms
        assert start + interval_ms <= due_ms < start + interval_ms + grid_ms
        assert due_ms % grid_ms == 0


def test_a_grant_stands_for_its_window_so_that_a_redelivery_may_value() -> None:
    granted = turn(NO_PACE, NOW, NOW - 50).pace
    assert turn(granted, NOW + 35_000, NOW - 50, again=True).due_ms == 0
    assert turn(granted, NOW + 35_000, NOW + 150).due_ms > NOW


def test_a_promise_is_made_again_by_the_mark_that_comes_again() -> None:
    promised = turn(turn(NO_PACE, NOW).pace, NOW + 200)
    assert turn(promised.pace, NOW + 35_200, NOW + 200, again=True) == Turn(promised.pace, NOW + MINUTE, promise=True)


def test_a_shorter_interval_is_promised_anew_and_a_longer_one_lets_the_old_promise_stand() -> None:
    promised = turn(turn(NO_PACE, NOW).pace, NOW + 200).pace
    shorter = turn(promised, NOW + 400, interval_ms=10_000)
    assert (shorter.due_ms, shorter.promise) == (NOW + 10_000, True)
    longer = turn(promised, NOW + 400, interval_ms=900_000)
    assert longer == Turn(promised, NOW + MINUTE, promise=False)
    # The old promise is kept too early for the longer interval, and is passed on.
    passed_on = turn(promised, NOW + MINUTE + 50, NOW + MINUTE, interval_ms=900_000)
    assert (passed_on.due_ms, passed_on.promise) == (NOW + 900_000, True)


def test_a_promise_that_nobody_kept_delays_nothing() -> None:
    promised = turn(turn(NO_PACE, NOW).pace, NOW + 200).pace
    assert turn(promised, NOW + MINUTE + 1).due_ms == 0


def test_a_grant_by_a_clock_that_was_wrong_does_not_starve() -> None:
    ahead = Pace(granted_ms=NOW + CLOCK_AHEAD_MS_MAX + 1, granted_for_ms=0)
    assert turn(ahead, NOW).due_ms == 0
    differing = Pace(granted_ms=NOW + CLOCK_AHEAD_MS_MAX, granted_for_ms=0)
    assert turn(differing, NOW).due_ms == NOW + CLOCK_AHEAD_MS_MAX + MINUTE


def test_an_hour_of_ticks_is_valued_sixty_times_at_most() -> None:
    pace, granted = NO_PACE, 0
    for at_ms in range(NOW, NOW + 60 * MINUTE, 370):
        one = turn(pace, at_ms)
        pace, granted = one.pace, granted + (one.due_ms == 0)
    assert 59 <= granted <= 60


def test_retries_come_later_and_later_and_a_dead_letter_comes_once() -> None:
    pace, now_ms, waits, given_up = NO_PACE, NOW, [], 0
    for attempt in range(RETRIES_MAX):
        retry = after_failure(pace, attempt, now_ms, again=False)
        assert retry.attempt == attempt + 1
        waits.append(retry.retry_ms - now_ms)
        given_up += retry.give_up
        pace, now_ms = retry.pace, retry.retry_ms
    assert waits[:6] == [1_000, 3_000, 9_000, 27_000, 81_000, 900_000]
    assert set(waits[6:]) == {900_000}
    assert (given_up, len(waits)) == (1, 101)
    assert 24 * 3_600_000 <= sum(waits) < 25 * 3_600_000
    assert after_failure(pace, RETRIES_MAX, now_ms, again=False) == Retry(NO_PACE), "after a day the chain ends"


def test_marks_begin_no_second_chain_while_one_is_under_way() -> None:
    first = after_failure(NO_PACE, 0, NOW, again=False)
    for later_ms in (0, 1, 1_000, 1_000 + RETRY_LOST_AFTER_MS - 1):
        assert after_failure(first.pace, 0, NOW + later_ms, again=False) == Retry(first.pace)


def test_a_chain_whose_retry_was_lost_begins_anew() -> None:
    first = after_failure(NO_PACE, 0, NOW, again=False)
    later_ms = NOW + 1_000 + RETRY_LOST_AFTER_MS
    assert after_failure(first.pace, 0, later_ms, again=False).retry_ms == later_ms + 1_000


def test_a_retry_delivered_twice_is_one_link_and_one_delivered_again_is_sent_again() -> None:
    first = after_failure(NO_PACE, 0, NOW, again=False)
    second = after_failure(first.pace, 1, NOW + 1_000, again=False)
    assert after_failure(second.pace, 1, NOW + 1_001, again=False) == Retry(second.pace)
    assert after_failure(second.pace, 1, NOW + 36_000, again=True) == second


def test_a_dead_letter_that_was_put_back_and_fails_again_is_one_again() -> None:
    pace = Pace(attempt=RETRIES_BEFORE_DEAD_LETTER + 3, retry_ms=NOW + 900_000)
    retry = after_failure(pace, RETRIES_BEFORE_DEAD_LETTER, NOW, again=False)
    assert retry == Retry(pace, give_up=True)


def test_after_a_success_the_next_failure_begins_anew_and_the_interval_is_kept() -> None:
    failing = after_failure(Pace(NOW, NOW, NOW + MINUTE), 5, NOW, again=False).pace
    assert after_success(failing) == Pace(NOW, NOW, NOW + MINUTE)
    assert after_failure(after_success(failing), 0, NOW, again=False).attempt == 1


def test_the_slower_of_two_that_value_for_the_same_window_does_not_bring_the_next_turn_forward() -> None:
    granted = price_turn(NO_PACE, MINUTE, NOW, NOW + 300, again=False).pace
    slower = price_turn(granted, MINUTE, NOW, NOW + 100, again=False)
    assert slower == Turn(granted)


def test_a_pace_is_stored_without_a_loss() -> None:
    for pace in (NO_PACE, Pace(NOW, NOW - 50, NOW + MINUTE, 7, NOW + 900_000)):
        assert pacing.decode(pacing.encode(pace)) == pace
