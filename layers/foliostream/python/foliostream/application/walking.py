"""A walk over all portfolios in bounded parts, as the daily close and the nightly swap go it.

A run is a message for each bucket of portfolios; a message does one page of them and sends the next one. One portfolio
that fails stops none of the others: it gets a message of its own, which ends in the dead-letter queue when it never
succeeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from foliostream.application.receiving import Received
from foliostream.domain import keys
from foliostream.errors import CallerError, FoliostreamError, RetryableError
from foliostream.ports import Each

PAGE_SIZE = 100
MAX_DIRECT = 100


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A message: a page of a bucket after an id, or these portfolios alone. Each walk adds what it is for."""

    bucket: int | None = None
    after: str | None = None
    portfolio_ids: list[str] = []


P = TypeVar("P", bound=Part)
R = TypeVar("R")


def outcomes(each: Each, do: Callable[[str], str], portfolio_ids: Sequence[str]) -> list[tuple[str, str]]:
    """What became of each portfolio, once: what ``do`` says of it, or the fault that stopped it. ``CallerError`` for
    more than ``MAX_DIRECT``; ``RetryableError`` from a failing store: what was done before stays done."""
    if len(portfolio_ids) > MAX_DIRECT:
        raise CallerError(f"at most {MAX_DIRECT} portfolios at once, not {len(portfolio_ids)}")

    def outcome(portfolio_id: str) -> str:
        try:
            return do(portfolio_id)
        except (ArithmeticError, ValueError, FoliostreamError) as fault:  # msgspec's errors are ValueErrors
            if isinstance(fault, RetryableError):
                raise
            return repr(fault)

    ids = [keys.portfolio_id(name) for name in dict.fromkeys(portfolio_ids)]
    return [(name, str(became)) for name, became in zip(ids, each(outcome, ids), strict=True)]


def work(received: Sequence[Received], do: Callable[[str], R]) -> tuple[list[R], dict[str, str]]:
    """Do what the messages' bodies ask for: a report of each that could be done, and why others, by their ids, have to
    come again."""
    reports: list[R] = []
    again: dict[str, str] = {}
    for item in received:
        try:
            reports.append(do(item.body))
        except (msgspec.MsgspecError, FoliostreamError) as fault:
            again[item.message_id] = str(fault)
    return reports, again


def further(part: P, failed: Iterable[str], cursor: str | None) -> list[dict[str, Any]]:
    """The messages after a page: those that failed, each alone, and the bucket's next page if there is one."""
    alone = [replace(part, bucket=None, after=None, portfolio_ids=[name]) for name in failed]
    return messages([*alone, *([] if cursor is None else [replace(part, after=cursor)])])


def messages(parts: Iterable[Part]) -> list[dict[str, Any]]:
    """As a queue takes them."""
    return [msgspec.to_builtins(part) for part in parts]
