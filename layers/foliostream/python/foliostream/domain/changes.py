"""Status and settings of a portfolio: what an owner may change, and the record of who did and when."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from foliostream.domain import attributing, keys, money
from foliostream.domain.margin_states import DEFAULT_THRESHOLDS, Thresholds, thresholds
from foliostream.domain.portfolio import Portfolio, Status
from foliostream.domain.standing import check_change
from foliostream.domain.times import iso
from foliostream.errors import CallerError

# They fit into the book beside a thousand positions.
MAX_TARGETS = 200
TARGET_TOLERANCE = Decimal("0.001")
STATUS_CHANGED = "portfolio_status_changed"
# Who changes the status of an account that is liquidated.
STOP_OUT = "stop_out"


class Standing(Struct, frozen=True):
    """What can be changed."""

    status: Status
    allow_short: bool
    update_interval_ms: int | None = None
    target_weights: dict[str, Decimal] = {}
    benchmark: str | None = None
    margin_call_percent: Decimal | None = None
    stop_out_percent: Decimal | None = None
    auto_liquidate: bool = False
    broker_share: Decimal | None = None


class Change(Struct, frozen=True):
    """One change as it is kept for ever beside the transactions; ``ledger_version`` is the version that it made.
    ``note``: of a change of neither, what it is."""

    portfolio_id: str
    ledger_version: int
    changed_at_ms: int
    changed_by: str
    before: Standing
    after: Standing
    note: str = ""


def checked_targets(weights: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Weights of what is invested by symbol, shorts negative: none at all, or their sizes sum to 1 (0.999 to 1.001, for
    who writes thirds); ``CallerError``."""
    if not weights:
        return {}
    if len(weights) > MAX_TARGETS:
        raise CallerError(f"at most {MAX_TARGETS} target weights, not {len(weights)}", code="TOO_MANY_TARGETS")
    found = {
        keys.symbol(name): money.checked("target_weights", weight, money.WEIGHT_DECIMALS, signed=True)
        for name, weight in weights.items()
    }
    total = sum(map(abs, found.values()), money.ZERO)
    if abs(total - 1) > TARGET_TOLERANCE:
        raise CallerError(f"the sizes of target_weights sum to {total}, not to 1")
    return found


def standing(portfolio: Portfolio) -> Standing:
    """That of a portfolio now."""
    return Standing(
        portfolio.status,
        portfolio.allow_short,
        portfolio.update_interval_ms,
        portfolio.target_weights,
        portfolio.benchmark,
        portfolio.margin_call_percent,
        portfolio.stop_out_percent,
        portfolio.auto_liquidate,
        portfolio.broker_share,
    )


def check_levels(portfolio: Portfolio, defaults: Thresholds) -> None:
    """``CallerError`` unless its levels fit each other, where one is left out with the deployment's (``defaults``): 0 <
    stop-out < call; and for anything of margin on a cash account."""
    call, stop_out = portfolio.margin_call_percent, portfolio.stop_out_percent
    if portfolio.account_kind != "margin" and (call is not None or stop_out is not None or portfolio.auto_liquidate):
        raise CallerError("only a margin account has margin_call_percent, stop_out_percent and auto_liquidate")
    if call is not None or stop_out is not None:
        thresholds(defaults.call if call is None else call, defaults.stop_out if stop_out is None else stop_out)


def check_interval(portfolio: Portfolio) -> None:
    """``CallerError`` for an interval of a margin account: its calls and stop-outs are found by valuations."""
    if portfolio.account_kind == "margin" and portfolio.update_interval_ms is not None:
        raise CallerError("a margin account is valued in every window: its calls and stop-outs wait for no interval")


def check_share(portfolio: Portfolio) -> None:
    """``CallerError`` for a share that is none, or of no account."""
    if attributing.checked_share(portfolio.broker_share) is not None and portfolio.broker is None:
        raise CallerError("only a portfolio on a broker's account has a broker_share")


def amend(
    portfolio: Portfolio, wanted: Standing, by: str, now_ms: int, defaults: Thresholds = DEFAULT_THRESHOLDS
) -> tuple[Portfolio, Change] | None:
    """The portfolio one version on and the record of the change; None where nothing would change.

    ``RefusedError`` as ``standing.check_change``, ``CallerError`` as ``check_levels``, ``check_interval`` and
    ``check_share``. Short positions stay where ``allow_short`` ends.
    """
    before = standing(portfolio)
    if wanted == before:
        return None
    check_change(portfolio, wanted.status)
    after = replace(
        portfolio,
        version=portfolio.version + 1,
        updated_at_ms=now_ms,
        status=wanted.status,
        allow_short=wanted.allow_short,
        update_interval_ms=wanted.update_interval_ms,
        target_weights=wanted.target_weights,
        benchmark=wanted.benchmark,
        margin_call_percent=wanted.margin_call_percent,
        stop_out_percent=wanted.stop_out_percent,
        auto_liquidate=wanted.auto_liquidate,
        broker_share=wanted.broker_share,
    )
    check_share(after)
    if wanted.update_interval_ms != before.update_interval_ms:
        check_interval(after)
    if _levels(wanted) != _levels(before):  # what was taken once stays, also where the deployment's levels moved
        check_levels(after, defaults)
    return after, Change(portfolio.portfolio_id, after.version, now_ms, by, before, wanted)


def confirm(
    portfolio: Portfolio, unreconciled_since_ms: int | None, by: str, now_ms: int
) -> tuple[Portfolio, Change] | None:
    """The portfolio one version on, with its broker's word (None: the books are right) or doubt about it, and the
    record; None where nothing would change."""
    if portfolio.unreconciled_since_ms == unreconciled_since_ms:
        return None
    after = replace(
        portfolio,
        version=portfolio.version + 1,
        updated_at_ms=now_ms,
        unreconciled_since_ms=unreconciled_since_ms,
    )
    same = standing(portfolio)
    note = "reconciled" if unreconciled_since_ms is None else f"unreconciled since {iso(unreconciled_since_ms)}"
    return after, Change(portfolio.portfolio_id, after.version, now_ms, by, same, same, note)


def liquidating(portfolio: Portfolio, now_ms: int) -> tuple[Portfolio, Change]:
    """The portfolio made LIQUIDATING by its stop-out, one version on, and the record of it."""
    return _by_stop_out(portfolio, "LIQUIDATING", portfolio.status, now_ms)


def liquidated(portfolio: Portfolio, now_ms: int) -> tuple[Portfolio, Change] | None:
    """The portfolio with the status it had before its stop-out; None where no stop-out made it what it is."""
    if portfolio.status != "LIQUIDATING" or portfolio.liquidating_from is None:
        return None
    return _by_stop_out(portfolio, portfolio.liquidating_from, None, now_ms)


def _by_stop_out(portfolio: Portfolio, status: Status, since: Status | None, now_ms: int) -> tuple[Portfolio, Change]:
    before, version = standing(portfolio), portfolio.version + 1
    after = replace(portfolio, version=version, updated_at_ms=now_ms, status=status, liquidating_from=since)
    return after, Change(portfolio.portfolio_id, version, now_ms, STOP_OUT, before, standing(after))


def _levels(wanted: Standing) -> tuple[object, ...]:
    return wanted.margin_call_percent, wanted.stop_out_percent, wanted.auto_liquidate


def status_event(change: Change) -> dict[str, object] | None:
    """The event ``portfolio_status_changed``, the same (``event_id``) whenever it is made of one change; None for a
    change of settings only."""
    if change.before.status == change.after.status:
        return None
    changed_at = iso(change.changed_at_ms)
    return {
        "event_id": f"{STATUS_CHANGED}:{change.portfolio_id}:{change.ledger_version}",
        "timestamp": changed_at,
        STATUS_CHANGED: {
            "portfolio_id": change.portfolio_id,
            "status": change.after.status,
            "previous_status": change.before.status,
            "ledger_version": change.ledger_version,
            "changed_by": change.changed_by,
            "changed_at": changed_at,
        },
    }


_decoder = msgspec.json.Decoder(Change)


def encode(change: Change) -> bytes:
    """JSON, readable in a table browser."""
    return msgspec.json.encode(change)


def decode(raw: bytes | str) -> Change:
    """The inverse of ``encode``."""
    return _decoder.decode(raw)
