"""What is kept about the reconciliation of an account, and the report that is given of it."""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from foliostream.domain.notices import Notice
from foliostream.domain.reconciling import Discrepancy
from foliostream.domain.times import iso

Outcome = Literal["ok", "discrepancies", "failed", "skipped"]
RECONCILIATION_DISCREPANCY = "reconciliation_discrepancy"
NOTICED_MAX = 50


class Report(Struct, frozen=True, kw_only=True):
    """``reason``: a code and its sentence where it failed or was skipped. ``protected``: symbols that differ but were
    traded too recently to say so. ``applied``: ids of the ADJUSTMENT transactions that were booked."""

    broker: str
    account: str
    status: Outcome
    checked_at_ms: int
    code: str | None = None
    reason: str | None = None
    discrepancies: tuple[Discrepancy, ...] = ()
    protected: tuple[str, ...] = ()
    applied: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Tells one finding from another, whenever it was made."""
        parts = (self.broker, self.account, self.status, self.code, self.discrepancies)
        return blake2b(_encoder.encode(parts), digest_size=8).hexdigest()


def figures(report: Report) -> dict[str, int]:
    """What is counted of a look at an account, whoever asked for it."""
    return {
        "AccountsReconciled": int(report.status == "ok"),
        "AccountsDiffering": int(report.status == "discrepancies"),
        "AccountsFailed": int(report.status == "failed"),
        "BrokerTokensExpired": int(report.code == "TOKEN_EXPIRED"),
    }


class AccountState(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """``since_ms``: since when the account is not reconciled, None where it is. ``changes`` counts findings that were
    another than the one before. ``expired_token``: digest of a token that the broker refused. ``empty_since_ms``:
    since when the broker shows nothing at all."""

    status: Outcome = "skipped"
    checked_at_ms: int = 0
    since_ms: int | None = None
    digest: str = ""
    changes: int = 0
    expired_token: str = ""
    empty_since_ms: int | None = None


class Turn(Struct, frozen=True):
    """A message: an account, and the slot of time that it was queued for."""

    broker: str
    account: str
    slot: int


_encoder = msgspec.json.Encoder(decimal_format="string")


def notice(report: Report, portfolio_id: str, number: int) -> Notice:
    """The same for who watches the portfolio; of many discrepancies the first ones, since it goes into one frame."""
    content = shown(replace(report, discrepancies=report.discrepancies[:NOTICED_MAX]), portfolio_id)
    del content["portfolio_id"]
    content["discrepancy_count"] = len(report.discrepancies)
    return Notice(
        portfolio_id, _event_id(report, portfolio_id, number), "reconciliation", report.checked_at_ms, content
    )


def _event_id(report: Report, portfolio_id: str, number: int) -> str:
    return f"{RECONCILIATION_DISCREPANCY}:{portfolio_id}:{number}:{report.digest}"


def event(report: Report, portfolio_id: str, number: int) -> dict[str, object]:
    """The detail of ``reconciliation_discrepancy``; the same finding has the same ``event_id`` until another one was
    made (``number``: of changes)."""
    return {
        "event_id": _event_id(report, portfolio_id, number),
        "timestamp": iso(report.checked_at_ms),
        RECONCILIATION_DISCREPANCY: shown(report, portfolio_id),
    }


def shown(report: Report, portfolio_id: str) -> dict[str, object]:
    """The report as the contract writes it."""
    return {
        "portfolio_id": portfolio_id,
        "broker": report.broker,
        "account": report.account,
        "status": report.status,
        "reason": report.reason,
        "checked_at": iso(report.checked_at_ms),
        "discrepancies": [_shown(item) for item in report.discrepancies],
        "protected": list(report.protected),
        "applied": list(report.applied),
    }


def _shown(item: Discrepancy) -> dict[str, object]:
    return {
        "kind": item.kind,
        "symbol": item.symbol,
        "exchange": item.exchange,
        "product": item.product,
        "expected": item.expected,
        "actual": item.actual,
        "note": item.note or None,
        "attributed": [{"portfolio_id": part.portfolio_id, "quantity": part.quantity} for part in item.parts],
    }
