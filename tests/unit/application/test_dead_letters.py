"""Dead letters: listed, shown, and worked with again, whoever dies in between. Whether SQS and Lambda hand over what
stands here the contract and end-to-end tests say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from itertools import count
from typing import Any

import msgspec
import pytest

from foliostream.application.dead_letters import HOLD_SECONDS, LIMIT_MAX, DeadLetters
from foliostream.application.project_ledger import LedgerProjection
from foliostream.application.projecting import Projector
from foliostream.domain import changes
from foliostream.domain import portfolio as rules
from foliostream.domain.changes import Standing, amend
from foliostream.domain.coalescing import DirtyMessage
from foliostream.domain.letters import Part
from foliostream.domain.portfolio import Entry, encode
from foliostream.domain.times import iso
from foliostream.errors import CallerError, PermanentError
from foliostream.queues import all_dead_letter_urls, source_urls
from tests.fakes.letters import FakeFunctions, FakeLetters
from tests.unit.application.system import System
from tests.unit.domain.examples import NOW

CLOSE_DAY = "arn:aws:lambda:eu-west-1:123456789012:function:stack-CloseDay:$LATEST"


class Office:
    """The use case over the system's fakes."""

    def __init__(self) -> None:
        self.system = system = System()
        self.clock = system.clock
        self.letters = FakeLetters(self.clock, all_dead_letter_urls("https://q/s-"), source_urls("https://q/s-"))
        self.functions = FakeFunctions()
        projector = Projector(system.hot, system.hot, system.marker)
        projection = LedgerProjection(
            projector, system.valuer, system.bus, system.queues, system.clock, system.announce
        )
        nonces = count(1)
        self.parts: dict[Part, list[dict[str, Any]]] = {}
        self.pages = 1
        self.use = DeadLetters(
            letters=self.letters,
            depths=self.letters,
            functions=self.functions,
            ledger=system.ledger,
            stream=self,
            projection=lambda: projection,
            marker=lambda: system.marker,
            clock=self.clock,
            new_nonce=lambda: f"fresh-{next(nonces)}",
        )

    def records(self, part: Part) -> Iterator[list[dict[str, Any]]]:
        """Implements ``ports.LedgerStream``."""
        if part not in self.parts:
            raise PermanentError("a day is over", code="STREAM_TRIMMED")
        records = self.parts[part]
        for start in range(0, len(records), self.pages):
            yield records[start : start + self.pages]

    def replay(self, name: str, *ids: str, limit: int = LIMIT_MAX) -> Any:  # noqa: ANN401 (its fields are compared)
        return self.use.replay(name, ids, limit, None)


@pytest.fixture
def office() -> Office:
    return Office()


def dirty(*keys: str, reason: Any = "price", attempt: int = 5) -> str:  # noqa: ANN401 (a literal)
    return msgspec.json.encode(DirtyMessage(1, NOW - 600_000, list(keys), reason, attempt=attempt)).decode()


def failed_invocation(payload: str) -> str:
    record = {
        "version": "1.0",
        "timestamp": "2026-02-26T10:30:00.000Z",
        "requestContext": {
            "functionArn": CLOSE_DAY,
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "responsePayload": {"errorType": "RetryableError", "errorMessage": "the store is down"},
    }
    return json.dumps(record)[:-1] + f',"requestPayload":{payload}}}'


# Listing


def test_the_list_has_every_queue_with_its_count_and_the_age_of_the_oldest(office: Office) -> None:
    office.letters.put("fills", "{}", group="a")
    office.clock.advance(90_000)
    office.letters.put("fills", "{}", group="b")
    rows = {row.queue: row for row in office.use.rows()}
    assert rows.keys() == all_dead_letter_urls("x").keys()
    assert (rows["fills"].letters, rows["fills"].oldest_age_seconds) == (2, 90)
    assert (rows["price"].letters, rows["price"].oldest_age_seconds) == (0, None)


def test_looking_hides_and_takes_nothing(office: Office) -> None:
    office.letters.put("fills", "{}", group="a")
    for _ in range(2):
        office.use.rows()
        assert len(office.use.show("fills", [], 10)) == 1
    assert office.letters.depths()["fills"].waiting == 1


# Showing


def test_a_message_given_up_by_its_consumer_shows_code_sentence_and_attempts(office: Office) -> None:
    office.letters.put("live", dirty("live:p1"), group="live:p1", reason="no price")
    office.letters.put("fills", '{"fill_id":"f1","price":1.10}', group="a", reason="CONFLICT", detail="booked already")
    (marked,) = office.use.show("live", [], 10)
    assert (marked.reason, marked.attempts) == ("no price", 5)
    (shown,) = office.use.show("fills", [], 10)
    assert (shown.reason, shown.detail, shown.receives) == ("CONFLICT", "booked already", 1)
    assert msgspec.json.encode(shown.body) == b'{"fill_id":"f1","price":1.10}'
    assert shown.sent_at == iso(NOW)


def test_a_message_given_up_by_its_queue_says_that_its_consumer_failed_each_time(office: Office) -> None:
    office.letters.put("price", "{not json")
    (shown,) = office.use.show("price", [], 10)
    assert shown.reason == "RECEIVED_TOO_OFTEN"
    assert shown.body == "{not json"


def test_a_failed_invocation_shows_the_error_and_a_lost_start_what_the_scheduler_said(office: Office) -> None:
    office.letters.put("close_day", failed_invocation("{}"))
    (shown,) = office.use.show("close_day", [], 10)
    assert (shown.reason, shown.detail, shown.attempts) == ("RetryableError", "the store is down", 3)
    office.letters.put("sweep", "{}", ERROR_CODE="NO_PERMISSIONS", ERROR_MESSAGE="denied", RETRY_ATTEMPTS="2")
    (start,) = office.use.show("sweep", [], 10)
    assert (start.reason, start.detail, start.attempts) == ("NO_PERMISSIONS", "denied", 3)


def test_a_long_body_is_shortened_and_a_few_letters_are_enough(office: Office) -> None:
    for _ in range(30):
        office.letters.put("price", '"' + "x" * 10_000 + '"')
    found = office.use.show("price", [], 12)
    assert len(found) == 12
    assert all(len(str(letter.body)) < 2_100 for letter in found)


def test_letters_are_shown_by_id_wherever_they_stand(office: Office) -> None:
    ids = [office.letters.put("price", str(number)) for number in range(30)]
    assert [letter.id for letter in office.use.show("price", ids[25:27], 10)] == ids[25:27]


def test_an_unknown_queue_and_a_limit_beyond_the_most_are_refused(office: Office) -> None:
    with pytest.raises(CallerError, match="no dead letters of 'nothing'"):
        office.use.show("nothing", [], 1)
    for limit in (0, LIMIT_MAX + 1):
        with pytest.raises(CallerError, match="limit"):
            office.replay("price", limit=limit)


# Replaying


def test_a_fill_goes_back_to_its_queue_in_its_group_under_a_fresh_id_and_is_gone(office: Office) -> None:
    identifier = office.letters.put("fills", '{"fill_id":"f1"}', group="paper_a", reason="UNKNOWN_SYMBOL")
    done = office.replay("fills", identifier)
    assert (done.replayed, done.failed, done.missing, done.is_complete) == ([identifier], {}, [], True)
    assert office.letters.sent_back == [("fills", '{"fill_id":"f1"}', "paper_a", "fresh-1")]
    assert office.letters.there("fills") == []


def test_who_dies_between_the_two_steps_leaves_the_letter_for_another_time_under_another_id(office: Office) -> None:
    identifier = office.letters.put("fills", "{}", group="a")
    office.letters.dying = 1
    assert list(office.replay("fills").failed) == [identifier]
    assert office.replay("fills").replayed == [identifier]
    assert [message.nonce for message in office.letters.sent_back] == ["fresh-1", "fresh-2"]


def test_by_id_only_those_are_taken_and_a_missing_one_is_named(office: Office) -> None:
    ids = [office.letters.put("price", str(number)) for number in range(30)]
    done = office.replay("price", ids[25], "nobody")
    assert (done.replayed, done.missing) == ([ids[25]], ["nobody"])
    assert office.letters.there("price") == [name for name in ids if name != ids[25]]
    assert office.letters.depths()["price"].in_flight == 0
    assert office.replay("price", ids[25]).missing == [ids[25]]


def test_all_are_taken_in_bounded_calls_that_go_on(office: Office) -> None:
    for number in range(30):
        office.letters.put("price", str(number))
    first = office.replay("price", limit=25)
    assert (len(first.replayed), first.is_complete) == (25, False)
    second = office.use.replay("price", [], 25, first.before_ms)
    assert (len(second.replayed), second.is_complete) == (5, True)
    assert sorted(int(message.body) for message in office.letters.sent_back) == list(range(30))


def test_what_comes_back_meanwhile_is_not_taken_again_by_the_same_run(office: Office) -> None:
    office.letters.put("fills", "old", group="a")
    before_ms = office.clock.now_ms()
    office.clock.advance(1)
    office.letters.put("fills", "new", group="b")
    done = office.use.replay("fills", [], 10, before_ms)
    assert (len(done.replayed), done.is_complete) == (1, True)
    assert [message.body for message in office.letters.sent_back] == ["old"]


def test_a_failing_queue_ends_the_call_and_those_after_it_keep_their_order(office: Office) -> None:
    ids = [office.letters.put("fills", str(number), group="a") for number in range(3)]
    office.letters.failing = 1
    done = office.replay("fills")
    assert (list(done.failed), done.replayed, done.is_complete) == (ids[:1], [], False)
    office.replay("fills")
    assert [message.body for message in office.letters.sent_back] == ["0", "1", "2"]


PART = Part("arn:aws:dynamodb:eu-west-1:123456789012:table/l/stream/s", "shardId-1", "100", "102")


def given_up_part(part: Part = PART) -> str:
    batch = {"streamArn": part.stream, "shardId": part.shard, "batchSize": 3}
    batch |= {"startSequenceNumber": part.first, "endSequenceNumber": part.last}
    return json.dumps({"requestContext": {"condition": "RetryAttemptsExhausted"}, "DDBStreamBatchInfo": batch})


def record(number: int, sk: str, **image: str) -> dict[str, Any]:
    keys = {"pk": {"S": "PORTFOLIO#p1"}, "sk": {"S": sk}}
    new = {name: {"S": value} for name, value in image.items()}
    return {"eventName": "MODIFY", "dynamodb": {"SequenceNumber": str(number), "Keys": keys, "NewImage": new}}


def test_a_part_of_the_ledgers_stream_is_read_again_and_projected(office: Office) -> None:
    office.system.open("p1", account_type="live")
    before = office.system.ledger.load(["p1"])["p1"]
    after, transactions = rules.apply(before, [Entry("t", "DEPOSIT", NOW, amount=Decimal(5), currency="USD")], {}, NOW)
    office.system.ledger.commit(after, transactions, (), ())
    status = amend(before, Standing("SUSPENDED", allow_short=False), "alice", NOW)
    assert status is not None
    office.parts[PART] = [
        record(100, "PORTFOLIO", account_type="live", book=encode(after).decode()),
        record(101, "TRANSACTION#t", record="{}"),
        record(102, "CHANGE#1", record=changes.encode(status[1]).decode()),
    ]
    letter = office.letters.put("ledger", given_up_part())

    assert office.replay("ledger").replayed == [letter]
    assert office.letters.there("ledger") == []
    version, _ = office.system.hot.books["p1"]
    assert version == after.version
    assert {kind for kind, _ in office.system.bus.published} >= {"portfolio_state_updated", "portfolio_status_changed"}


def test_a_part_of_which_some_cannot_be_projected_now_stays_whole(office: Office) -> None:
    office.system.open("p1", account_type="live")
    book = office.system.ledger.load(["p1"])["p1"]
    office.parts[PART] = [
        record(100, "PORTFOLIO", account_type="live", book=encode(book).decode()),
        record(101, "TRANSACTION#fill:1", record="{}"),
    ]
    office.pages = 2
    letter = office.letters.put("ledger", given_up_part())
    office.system.bus.failing = 1

    assert "cannot be projected now" in office.replay("ledger").failed[letter]
    assert office.letters.there("ledger") == [letter]
    office.clock.advance(HOLD_SECONDS * 1000)
    assert office.replay("ledger").replayed == [letter]


def test_a_part_that_the_stream_has_no_more_stays_and_says_what_to_do(office: Office) -> None:
    letter = office.letters.put("ledger", given_up_part())
    assert office.replay("ledger").failed[letter].startswith("STREAM_TRIMMED")
    assert office.letters.there("ledger") == [letter]


def test_one_that_can_never_be_replayed_stays_with_its_reason_and_stops_none(office: Office) -> None:
    batch = {"requestContext": {"condition": "RetryAttemptsExhausted"}, "DDBStreamBatchInfo": {"batchSize": 2}}
    place = office.letters.put("ledger", json.dumps(batch))
    broken = office.letters.put("live", "{", group="a")
    good = office.letters.put("live", dirty("live:p1"), group="b")
    assert "NOTHING_TO_REPLAY" in office.replay("ledger").failed[place]
    done = office.replay("live")
    assert (done.replayed, list(done.failed)) == ([good], [broken])
    assert office.letters.there("live") == [broken]
    too_large = office.letters.put("price", '{"place":"prices-3@1729","bytes":300000}')
    assert "NOTHING_TO_REPLAY" in office.replay("price").failed[too_large]


def test_letters_of_a_call_that_died_are_there_again_after_a_while(office: Office) -> None:
    office.letters.put("price", "{}")
    office.letters.hold("price", HOLD_SECONDS)
    assert office.replay("price").replayed == []
    office.clock.advance(HOLD_SECONDS * 1000)
    assert len(office.replay("price").replayed) == 1


# What is worked in again otherwise than by its queue


def test_a_dirty_portfolio_is_promised_in_a_window_of_now_as_a_first_attempt(office: Office) -> None:
    office.letters.put("live", dirty("live:p1", reason="bulk"), group="live:p1", reason="no price")
    office.replay("live")
    (bundle,) = office.system.queues.receive("live")
    assert (bundle.message.keys, bundle.message.attempt, bundle.message.reason) == (["live:p1"], 0, "sweep")
    assert bundle.message.window_end_ms > office.clock.now_ms()
    promised = [promise for part in office.system.hot.promised("live") for promise in part]
    assert [promise.bundle_id for promise in promised] == [bundle.bundle_id]


def test_a_mark_that_a_price_made_in_the_same_window_does_not_swallow_it(office: Office) -> None:
    marker = office.system.marker
    marker.mark("live", ["live:p1"], marker.window("live"), "price")
    office.letters.put("live", dirty("live:p1"), group="a")
    office.replay("live")
    assert len(office.system.queues.receive("live")) == 2


def test_replayed_and_repaired_a_portfolio_shows_the_last_price_and_once_more_changes_nothing(office: Office) -> None:
    system = office.system
    system.open("p1", "AAPL")
    system.tick("AAPL", "150")
    system.queues.receive("live")  # given up by its queue
    for _ in range(2):
        office.letters.put("live", dirty("live:p1"), group="a")
        office.replay("live")
        system.settle()
    assert [position.mark for position in system.state("p1").positions if position.mark is not None] == [150]


@pytest.mark.parametrize("name", ["bulk", "delayed"])
def test_bulk_and_delayed_marks_of_all_account_types_go_to_the_bulk_queue(office: Office, name: str) -> None:
    office.letters.put(name, dirty("live:p1", "paper:p2"))
    office.replay(name)
    keys = [key for bundle in office.system.queues.receive("bulk") for key in bundle.message.keys]
    assert sorted(keys) == ["live:p1", "paper:p2"]


def test_a_refresh_is_asked_for_and_a_connection_flushed_again(office: Office) -> None:
    office.letters.put("refresh", dirty("demo:p1", reason="refresh"))
    office.letters.put("push", dirty("c1", reason="push"), group="c1")
    office.replay("refresh")
    office.replay("push")
    assert [bundle.message.keys for bundle in office.system.queues.receive("refresh")] == [["demo:p1"]]
    assert [bundle.message.keys for bundle in office.system.queues.receive("push")] == [["c1"]]


def test_a_change_that_was_not_projected_is_projected_as_the_book_is_now(office: Office) -> None:
    system = office.system
    system.open("p1")
    system.queues.receive("live")
    known = office.letters.put("ledger", dirty(":p1", reason="ledger"), reason="the book cannot be read")
    unknown = office.letters.put("ledger", dirty("live:nobody", reason="ledger"))
    done = office.replay("ledger")
    assert done.replayed == [known]
    assert "PORTFOLIO_NOT_FOUND" in done.failed[unknown]
    assert "p1" in str(system.bus.published)
    assert [bundle.message.keys for bundle in system.queues.receive("live")] == [["live:p1"]]


def test_an_invocation_is_made_again_with_the_very_event_and_without_its_qualifier(office: Office) -> None:
    office.letters.put("close_day", failed_invocation('{"day":"2026-02-26","amount":1.10000000000000000001}'))
    office.replay("close_day")
    assert office.functions.started == [("stack-CloseDay", b'{"day":"2026-02-26","amount":1.10000000000000000001}')]


def test_a_start_that_a_schedule_could_not_deliver_is_made_for_the_time_it_was_for(office: Office) -> None:
    office.letters.put(
        "close_day_schedule",
        '{"scheduled_time": "<aws.scheduler.scheduled-time>"}',
        TARGET_ARN=CLOSE_DAY.removesuffix(":$LATEST"),
        SCHEDULED_TIME="2026-02-26T22:00:00Z",
        ERROR_CODE="THROTTLED",
    )
    office.replay("close_day_schedule")
    assert office.functions.started == [("stack-CloseDay", b'{"scheduled_time": "2026-02-26T22:00:00Z"}')]


def test_an_event_that_a_rule_could_not_deliver_goes_to_the_queue_it_was_for(office: Office) -> None:
    office.letters.put(
        "price_rule",
        '{"detail-type":"market_price_update"}',
        TARGET_ARN="arn:aws:sqs:eu-west-1:123456789012:s-price",
        ERROR_CODE="THROTTLED",
    )
    office.replay("price_rule")
    assert [message.name for message in office.letters.sent_back] == ["price_rule"]
    assert source_urls("x-")["price_rule"] == "x-price"


def test_a_start_that_does_not_say_of_what_stays(office: Office) -> None:
    identifier = office.letters.put("sweep", "{}")
    assert "came from no queue" in office.replay("sweep").failed[identifier]
    assert office.letters.there("sweep") == [identifier]
