"""Fills in: each judged on its own, its portfolio and instrument resolved, then queued for the books.

Nothing is booked here, and nobody is asked here whether a fill is known: only the ledger decides that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec.structs import replace as changed

from foliostream.application import fill_input
from foliostream.application.fill_input import Parsed, ReadFill, RefusedFill
from foliostream.application.receiving import Received
from foliostream.domain import fills
from foliostream.domain.fills import Fill
from foliostream.errors import CallerError
from foliostream.ports import FillQueue, Instruments, Ledger

OWNERS_MAX = 10_000


class FillReport(NamedTuple):
    """``accepted`` fills are queued; every other one is in ``rejected`` with its code, in the order given."""

    accepted: int
    rejected: list[RefusedFill]


@dataclass(frozen=True)
class FillAccepter:
    """``default_owner`` owns the paper portfolios that fills create ("": they must name an owner).

    ``owners`` remembers whose the portfolios seen are, and whether they are live: none of it ever changes.
    """

    ledger: Ledger
    instruments: Instruments
    queue: FillQueue
    default_owner: str
    owners: dict[str, tuple[str, bool]] = field(default_factory=dict)

    def accept(self, parsed: Parsed, reported_by: str = "") -> FillReport:
        """Queue what can be booked. ``reported_by`` owns new paper portfolios where nobody else is named.

        ``RetryableError``: some may be queued, all may be sent again.
        """
        readable, rejected = self._with_instruments(parsed)
        self._learn_owners({item.fill.portfolio_id for item in readable})
        accepted = []
        for item in readable:
            try:
                accepted.append(self._resolved(item.fill, reported_by))
            except CallerError as fault:
                rejected.append(_refused(item, fault))
        if accepted:
            self.queue.send(accepted)
        return FillReport(len(accepted), sorted(rejected))

    def _with_instruments(self, parsed: Parsed) -> tuple[list[ReadFill], list[RefusedFill]]:
        tokens = {item.instrument_token for item in parsed.fills if item.instrument_token is not None}
        by_token = self.instruments.by_token(tokens) if tokens else {}
        named = [_with_symbol(item, by_token) for item in parsed.fills]
        known = self.instruments.get({item.fill.instrument_id for item in named if item.fill.instrument_id})
        readable, rejected = [], list(parsed.refused)
        for item in named:
            try:
                if item.fill.instrument_id not in known:
                    raise _unknown(item)
                fills.checked(item.fill, known[item.fill.instrument_id], item.currency)
            except CallerError as fault:
                rejected.append(_refused(item, fault))
            else:
                readable.append(item)
        return readable, rejected

    def _learn_owners(self, portfolio_ids: Collection[str]) -> None:
        unseen = [identifier for identifier in portfolio_ids if identifier not in self.owners]
        if not unseen:
            return
        if len(self.owners) + len(unseen) > OWNERS_MAX:
            self.owners.clear()
            unseen = list(portfolio_ids)
        found = self.ledger.load(unseen)
        self.owners.update({name: (book.owner, book.account_type == "live") for name, book in found.items()})

    def _resolved(self, fill: Fill, reported_by: str) -> Fill:
        known = self.owners.get(fill.portfolio_id)
        if known is not None:
            owner, live = known
            if fill.owner not in (None, owner):
                raise CallerError(f"{fill.portfolio_id} has another owner", code="OWNER_MISMATCH")
            return changed(fill, live=live)
        new_owner = fill.owner or self.default_owner or reported_by
        if not fills.may_create(fill.portfolio_id):
            raise CallerError(
                f"no portfolio {fill.portfolio_id}: only paper portfolios are created by their first fill",
                code="PORTFOLIO_NOT_FOUND",
            )
        if not new_owner:
            raise CallerError(
                f"no portfolio {fill.portfolio_id}, and nobody to own a new one: name an owner in the fill, "
                "or one for all in PORTFOLIO_FILLS_OWNER",
                code="OWNER_MISSING",
            )
        return changed(fill, new_owner=new_owner)


def accept_events(received: Sequence[Received], accepter: FillAccepter, queue: FillQueue) -> FillReport:
    """Queued ``order_filled`` events, a fill each. Nobody waits for an answer, so what is refused goes to the
    dead-letter queue as it came, with the reason; sent from there again it is judged again."""
    raws, sources, broken = [], [], []
    for message in received:
        try:
            raws.append(fill_input.from_event(message.body))
            sources.append(message)
        except CallerError as fault:
            broken.append((message, RefusedFill(-1, "", fault.code, fault.message)))
    report = accepter.accept(fill_input.parse(raws))
    given_up = broken + [(sources[refused.number], refused) for refused in report.rejected]
    for message, refused in given_up:
        queue.give_up("order_filled", message.body, message.message_id, refused.code, refused.message)
    return report._replace(rejected=[refused for _, refused in given_up])


def _with_symbol(item: ReadFill, by_token: dict[str, str]) -> ReadFill:
    if item.instrument_token is None:
        return item
    return item._replace(fill=changed(item.fill, instrument_id=by_token.get(item.instrument_token, "")))


def _unknown(item: ReadFill) -> CallerError:
    if item.fill.instrument_id:
        return CallerError(f"no instrument {item.fill.instrument_id} is registered", code="UNKNOWN_SYMBOL")
    return CallerError(
        f"no instrument with the token {item.instrument_token} is registered: "
        "say it in PUT /api/v1/instruments/{symbol}, or give the fill an instrument_id",
        code="UNKNOWN_INSTRUMENT_TOKEN",
    )


def _refused(item: ReadFill, fault: CallerError) -> RefusedFill:
    return RefusedFill(item.number, item.fill.fill_id, fault.code, fault.message)
