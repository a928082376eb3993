"""What a broker says an account owns, and whether an answer can be believed at all (``reconciling`` compares it)."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct

from foliostream.domain.money import ONE, ZERO
from foliostream.errors import RetryableError

# Of one account; a broker that names more is not believed.
MAX_ROWS = 5_000
# Between figures that a broker computes from each other, in the currency's units: it rounds each to a hundredth.
_IDENTITY_TOLERANCE = Decimal("0.05")
DELIVERY = "CNC"
PLEDGED = "MTF"


class Row(Struct, frozen=True, kw_only=True):
    """A net position of one product. ``quantity`` signed; values in currency units with the multiplier in them, summed
    since the position was opened. ``symbol``: ours, None where no registered instrument fits."""

    name: str
    exchange: str
    product: str
    quantity: Decimal
    multiplier: Decimal = ONE
    buy_quantity: Decimal = ZERO
    sell_quantity: Decimal = ZERO
    buy_value: Decimal = ZERO
    sell_value: Decimal = ZERO
    average_price: Decimal = ZERO
    last_price: Decimal = ZERO
    symbol: str | None = None
    isin: str | None = None
    token: str = ""


class Holding(Struct, frozen=True, kw_only=True):
    """Shares in the demat account. ``settled``: in it; ``incoming``: bought and not delivered yet (T1); ``used``: sold
    out of it today, which a sold delivery position may say too; ``pledged``: collateral; ``financed``: bought on
    margin (MTF)."""

    name: str
    exchange: str
    isin: str
    settled: Decimal
    incoming: Decimal = ZERO
    used: Decimal = ZERO
    pledged: Decimal = ZERO
    financed: Decimal = ZERO
    average_price: Decimal = ZERO
    last_price: Decimal = ZERO
    symbol: str | None = None
    token: str = ""

    @property
    def owned(self) -> Decimal:
        """What belongs to the account before today's trades."""
        return self.settled + self.incoming + self.pledged + self.financed


class Answer(Struct, frozen=True, kw_only=True):
    """Everything the broker said about an account at one time. ``cash``: live balance without collateral, None where
    it was not asked for."""

    rows: tuple[Row, ...] = ()
    holdings: tuple[Holding, ...] = ()
    cash: Decimal | None = None

    @property
    def is_empty(self) -> bool:
        """Nothing is owned and nothing was traded."""
        return not any(row.quantity or row.buy_quantity or row.sell_quantity for row in self.rows) and not any(
            item.owned for item in self.holdings
        )


def checked(answer: Answer) -> Answer:
    """The answer, if it is whole and agrees with itself; ``RetryableError`` (``BROKER_ANSWER``) says what does not."""
    if len(answer.rows) + len(answer.holdings) > MAX_ROWS:
        raise _broken(f"more than {MAX_ROWS} rows")
    _unique((row.exchange, row.name, row.product) for row in answer.rows)
    _unique((item.exchange, item.name, item.isin) for item in answer.holdings)
    for row in answer.rows:
        _check_row(row)
    for item in answer.holdings:
        amounts = (item.settled, item.incoming, item.used, item.pledged, item.financed, item.last_price)
        if not all(amount.is_finite() and amount >= ZERO for amount in amounts):
            raise _broken(f"holding {item.exchange}:{item.name} has a quantity or a price below zero")
    if answer.cash is not None and not answer.cash.is_finite():
        raise _broken("the cash is no number")
    return answer


def _check_row(row: Row) -> None:
    amounts = (row.quantity, row.buy_quantity, row.sell_quantity, row.buy_value, row.sell_value, row.last_price)
    where = f"position {row.exchange}:{row.name} {row.product}"
    if not all(amount.is_finite() for amount in (*amounts, row.multiplier, row.average_price)):
        raise _broken(f"{where} has a figure that is no number")
    if row.multiplier <= ZERO or min(amounts[1:]) < ZERO:
        raise _broken(f"{where} has a figure below zero")
    if row.quantity != row.buy_quantity - row.sell_quantity:
        raise _broken(f"{where} has quantity {row.quantity}, its sides make {row.buy_quantity - row.sell_quantity}")


def check_figures(where: str, *identities: tuple[str, Decimal, Decimal]) -> None:
    """``RetryableError`` for figures of a row that do not follow from each other: (name, stated, computed) each."""
    for name, stated, computed in identities:
        if not stated.is_finite() or abs(stated - computed) > _IDENTITY_TOLERANCE + abs(computed) / 10**9:
            raise _broken(f"{where} has {name} {stated}, its other figures make {computed}")


def _unique(keys: Iterable[tuple[str, str, str]]) -> None:
    seen: set[tuple[str, str, str]] = set()
    for key in keys:
        if key in seen:
            raise _broken(f"{':'.join(key)} stands there twice")
        seen.add(key)


def _broken(why: str) -> RetryableError:
    return RetryableError(f"the broker's answer cannot be used: {why}", code="BROKER_ANSWER")
