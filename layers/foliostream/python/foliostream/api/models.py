"""Request bodies as pydantic checks and OpenAPI describes them: shapes and types; the books' rules are the domain's."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, WithJsonSchema, model_validator

from foliostream.domain import times
from foliostream.domain.instrument import Kind
from foliostream.domain.portfolio import MAX_NAME_LENGTH, AccountKind, AccountType, CostBasis, TransactionType
from foliostream.errors import CallerError, RefusedError

# Far beyond what the domain takes; it only keeps absurd numbers out of arithmetic and messages.
_MAX_DIGITS = 40
_DECIMAL = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?")
_NAME_PATTERN = r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"
# In the contract, not in this step: refused by name, not as a misspelling.
_LATER_TYPES = frozenset({"DIVIDEND", "FEE", "SPLIT", "SWAP", "FX", "ADJUSTMENT"})


def _exact(raw: object) -> Decimal:
    if isinstance(raw, bool) or not isinstance(raw, int | str | Decimal):
        raise ValueError("must be a number or a decimal string")
    if isinstance(raw, str) and not _DECIMAL.fullmatch(raw):
        raise ValueError("must be a number or a decimal string such as 12.50")
    value = Decimal(raw)
    if len(value.as_tuple().digits) > _MAX_DIGITS or abs(value.adjusted()) > _MAX_DIGITS:
        raise ValueError(f"has more than {_MAX_DIGITS} digits")
    return value


def _epoch_ms(raw: object) -> int:
    if not isinstance(raw, int | str):
        raise ValueError("must be ISO 8601 with an offset or epoch milliseconds")
    try:
        return times.epoch_ms(raw)
    except CallerError as fault:
        raise ValueError(fault.message) from None


Amount = Annotated[
    Decimal,
    BeforeValidator(_exact),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": f"^{_DECIMAL.pattern}$"}]}),
]
Timestamp = Annotated[
    int,
    BeforeValidator(_epoch_ms),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "format": "date-time"}, {"type": "integer"}],
            "description": "ISO 8601 with Z or an offset, or epoch milliseconds",
        }
    ),
]


class _Body(BaseModel):
    """Unknown fields are refused; ``later`` ones, which the contract has and this release has not, by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    later: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _refuse_later(cls, raw: object) -> object:
        if not isinstance(raw, dict):
            return raw
        given = sorted(field for field in cls.later if raw.get(field) is not None)
        if given:
            raise RefusedError(
                f"not supported yet: {', '.join(given)}",
                code="FIELD_NOT_SUPPORTED",
                details=[{"field": field} for field in given],
            )
        return {field: value for field, value in raw.items() if field not in cls.later}


class PortfolioSettings(_Body):
    """Settings of a portfolio."""

    later: ClassVar = frozenset({"update_interval_ms", "margin_call_percent", "stop_out_percent", "auto_liquidate",
                                 "target_weights", "benchmark"})  # fmt: skip
    allow_short: StrictBool = False


class PortfolioRequest(_Body):
    """A new portfolio. Without ``portfolio_id`` one is made, the same again for the same Idempotency-Key."""

    later: ClassVar = frozenset({"leverage", "broker"})
    portfolio_id: str | None = None
    portfolio_name: Annotated[str, Field(max_length=MAX_NAME_LENGTH, pattern=_NAME_PATTERN)]
    account_type: AccountType
    account_kind: AccountKind
    base_currency: str
    cost_basis: CostBasis
    initial_cash: Amount = Decimal(0)
    settings: PortfolioSettings = PortfolioSettings()


class UpdateLine(_Body):
    """One transaction. BUY and SELL need ``instrument_id``, ``quantity_change`` and ``price``; DEPOSIT and WITHDRAWAL
    ``amount``, or ``quantity_change`` times ``price`` (1 if left out). The type gives the direction: a SELL or
    WITHDRAWAL may be written with either sign."""

    later: ClassVar = frozenset({"ratio", "cash_price", "from", "to", "rate"})
    transaction_type: TransactionType
    instrument_id: str | None = None
    quantity_change: Amount | None = None
    price: Amount | None = None
    fee: Amount = Decimal(0)
    amount: Amount | None = None
    currency: str | None = None
    transaction_id: str | None = None
    timestamp: Timestamp | None = None


class UpdateRequest(_Body):
    """Transactions to be booked, all or none. ``timestamp`` is that of every line that names no other."""

    portfolio_id: str
    timestamp: Timestamp
    updates: list[UpdateLine]

    @model_validator(mode="before")
    @classmethod
    def _refuse_later_types(cls, raw: object) -> object:
        lines = raw.get("updates") if isinstance(raw, dict) else None
        for index, line in enumerate(lines if isinstance(lines, list) else []):
            kind = line.get("transaction_type") if isinstance(line, dict) else None
            if isinstance(kind, str) and kind in _LATER_TYPES:
                raise RefusedError(
                    f"{kind} is not supported yet",
                    code="TRANSACTION_TYPE_NOT_SUPPORTED",
                    details=[{"index": index, "transaction_type": kind}],
                )
        return raw


class InstrumentRequest(_Body):
    """What is known about an instrument. Prices of forex and cfd are taken, trades in them are not, yet."""

    later: ClassVar = frozenset({"margin_rate", "margin_tiers", "lot_step", "hours", "swap"})
    kind: Kind
    currency: str
    base_currency: str | None = None
    contract_size: Amount | None = None
    price_decimals: Annotated[int, Field(strict=True, ge=0, le=10)] | None = None
    allow_zero: StrictBool = False
    max_age_seconds: Annotated[int, Field(strict=True, ge=1, le=366 * 86_400)] | None = None
    isin: Annotated[str, Field(pattern=r"^[A-Z]{2}[A-Z0-9]{9}[0-9]$")] | None = None
