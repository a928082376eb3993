"""What records of the ledger's DynamoDB stream say, wherever they come from: delivered by Lambda, or read again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from foliostream.application.receiving import Amended, Booked, Change

Record = Mapping[str, Any]

_FILLS = ("TRANSACTION#fill:", "TRANSACTION#order:")


def changes(records: Iterable[Record]) -> list[Change]:
    """The portfolio items, in order; others (transactions, holders) are left out."""
    return [_change(record) for record in _written(records) if _sort_key(record) == "PORTFOLIO"]


def amended(records: Iterable[Record]) -> list[Amended]:
    """The records of changes of status or settings among the same, in order."""
    found = [record for record in _written(records) if _sort_key(record).startswith("CHANGE#")]
    return [Amended(record["SequenceNumber"], _key(record), _text(record, "record")) for record in found]


def booked_fills(records: Iterable[Record]) -> list[Booked]:
    """The transactions of fills, reported and simulated ones, among the same, in order."""
    found = [record for record in _written(records) if _sort_key(record).startswith(_FILLS)]
    return [Booked(record["SequenceNumber"], _key(record), _text(record, "record")) for record in found]


def _written(records: Iterable[Record]) -> list[Record]:
    return [record["dynamodb"] for record in records if record["eventName"] != "REMOVE"]


def _sort_key(record: Record) -> str:
    return str(record["Keys"]["sk"]["S"])


def _change(record: Record) -> Change:
    return Change(record["SequenceNumber"], _key(record), _text(record, "book"))


def _key(record: Record) -> str:
    account_type = record.get("NewImage", {}).get("account_type", {}).get("S", "")
    return f"{account_type}:{record['Keys']['pk']['S'].partition('#')[2]}"


def _text(record: Record, name: str) -> bytes | None:
    text = record.get("NewImage", {}).get(name, {}).get("S")
    return None if text is None else text.encode(errors="surrogatepass")  # for the decoder to refuse
