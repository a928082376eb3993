"""Kafka topics in: prices, record by record, and what becomes of records that can never be used.

Lambda knows no partial failure of a topic's batch here (template.yaml), so a record that can never be used must not
raise: it is given up with its reason. Only what may work later raises, and then the whole batch comes again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from foliostream.application import price_input
from foliostream.application.receiving import TopicRecord
from foliostream.domain.price import Refused
from foliostream.errors import CallerError
from foliostream.ports import DeadLetters

# A record may be larger than a queue's message; then its place is kept, and the topic has the rest.
LETTER_BYTES_MAX = 250_000


class TopicPrices(NamedTuple):
    """``parsed`` of all readable records in their order; ``unreadable`` were given up."""

    parsed: price_input.Parsed
    unreadable: list[Refused]


def prices(records: Sequence[TopicRecord], dead_letters: DeadLetters) -> TopicPrices:
    """Values in the shape of ``POST /api/v1/prices``, a list of updates or a single one. An update that is refused
    within a readable record is no dead letter, as over REST."""
    found = TopicPrices(price_input.Parsed([], []), [])
    for record in records:
        try:
            one = price_input.from_message(record.value)
        except CallerError as fault:
            give_up(dead_letters, "price", "market_price_update", record, fault.code, fault.message)
            found.unreadable.append(Refused(record.place, "INVALID", fault.message))
        else:
            found.parsed.updates.extend(one.updates)
            found.parsed.refused.extend(one.refused)
    return found


def give_up(
    dead_letters: DeadLetters, source: str, detail_type: str, record: TopicRecord, code: str, reason: str
) -> None:
    """To the dead letters of ``source``, in the form in which its queue takes it again."""
    body = _letter(detail_type, record)
    dead_letters.give_up(source, body, record.place, code, f"{record.place}: {reason}")


def _letter(detail_type: str, record: TopicRecord) -> str:
    """The event that the queue takes; the record as it came where it is not JSON; its place where it is too large."""
    try:
        text = record.value.decode()
        msgspec.json.decode(text, type=msgspec.Raw)
        letter = f'{{"detail-type":"{detail_type}","source":"foliostream.topic","detail":{text}}}'
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        letter = record.delivered
    if len(letter.encode()) <= LETTER_BYTES_MAX:
        return letter
    return msgspec.json.encode({"place": record.place, "bytes": len(record.value)}).decode()
