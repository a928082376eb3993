"""Kafka topics in: fills, record by record. Apart from prices, whose function starts without anything about books."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from foliostream.application import fill_input
from foliostream.application.accept_fills import FillAccepter, FillReport
from foliostream.application.receiving import TopicRecord
from foliostream.application.topic_input import give_up
from foliostream.ports import DeadLetters


def accept_fills(records: Sequence[TopicRecord], accepter: FillAccepter, dead_letters: DeadLetters) -> FillReport:
    """Values are a fill each. Nobody waits for an answer: what is refused is a dead letter, in the form in which the
    order-filled queue takes it again, where it is JSON."""
    report = accepter.accept(fill_input.parse([msgspec.Raw(record.value) for record in records]))
    for refused in report.rejected:
        give_up(dead_letters, "order_filled", "order_filled", records[refused.number], refused.code, refused.message)
    return report
