"""What a broker says is owned against the books of the portfolios on that account.

Compared is the sum over the portfolios; ``attributing`` says whose a difference is. Quantities are exact; profit is
compared through the sums of what was bought and sold, never through an average price. Delivery (CNC) positions and
holdings of one ISIN count together, whatever exchange they were traded on; other products count by symbol. Nothing here
changes anything: what could be done about a difference is proposed as ``Adjustment`` (definitions 7) or named as a
split, and most kinds are only reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from hashlib import blake2b
from typing import Literal

from msgspec import Struct

from foliostream.domain import attributing, money
from foliostream.domain.attributing import Holder, Part
from foliostream.domain.broker import DELIVERY, PLEDGED, Answer, Holding, Row
from foliostream.domain.entries import Entry
from foliostream.domain.money import ONE, ZERO

Kind = Literal[
    "missing",
    "extra",
    "sign",
    "quantity",
    "product",
    "multiplier",
    "pnl",
    "corporate_action",
    "unknown_instrument",
    "external_order",
    "cash",
]
PRODUCTS = frozenset({DELIVERY, "MIS", "NRML", "CO", "BO", PLEDGED})
# A price that follows from value and quantity is evidence of a trade only near the market: half to twice the last one.
_PLAUSIBLE = (Decimal("0.5"), Decimal(2))
# A corporate action: quantity times average is unchanged within this share, and the ratio is one of small numbers.
_COST_SHARE = Decimal("0.001")
_RATIO_MAX = 100
_REASON = "reconciliation with the broker"


class Ours(Struct, frozen=True, kw_only=True):
    """What our portfolios on the account hold of a symbol together. ``quantity`` signed; ``cost`` with its sign, in
    the instrument's currency; ``value``: what was received minus what was paid since the broker's sums begin, None
    where the books cannot tell; ``mark``: our last price."""

    symbol: str
    quantity: Decimal = ZERO
    multiplier: Decimal = ONE
    cost: Decimal = ZERO
    value: Decimal | None = ZERO
    mark: Decimal | None = None
    isin: str | None = None


class ExternalOrder(Struct, frozen=True):
    """An order of today that no portfolio of the account is known to have placed; ``quantity``: signed, what of it
    nobody answered for yet."""

    symbol: str | None
    exchange: str
    product: str
    quantity: Decimal


class Discrepancy(Struct, frozen=True):
    """A difference. ``expected`` is ours, ``actual`` the broker's; of ``corporate_action`` both are quantities too.
    ``note``: why nothing is proposed, or what is. ``parts``: whose the difference is, where that is known."""

    kind: Kind
    symbol: str | None
    exchange: str | None
    product: str | None
    expected: Decimal
    actual: Decimal
    note: str = ""
    parts: tuple[Part, ...] = ()


class Adjustment(Struct, frozen=True):
    """A quantity to be booked at ``price``, in ``parts``; ``in_kind``: without cash."""

    symbol: str
    quantity: Decimal
    price: Decimal
    in_kind: bool
    parts: tuple[Part, ...] = ()


class Rules(Struct, frozen=True):
    """``value_tolerance``: of profit and cash, in currency units. ``protected``: symbols that were traded so recently
    that one side may not know it yet. ``holders``: the portfolios on the account. ``steps``: the smallest quantities
    that symbols are traded in."""

    value_tolerance: Decimal = ONE
    protected: frozenset[str] = frozenset()
    holders: tuple[Holder, ...] = (Holder(""),)
    steps: Mapping[str, Decimal] = {}


class Comparison(Struct, frozen=True):
    """``protected``: symbols that differ and were left alone. ``is_all_gone``: the broker shows nothing at all where
    we hold something; what is proposed then needs a second answer and somebody's word."""

    discrepancies: tuple[Discrepancy, ...]
    adjustments: tuple[Adjustment, ...]
    protected: tuple[str, ...]
    is_all_gone: bool


class _Unit(Struct):
    """What is compared together: mostly one symbol."""

    ours: list[Ours]
    rows: list[Row]
    holdings: list[Holding]

    @property
    def theirs(self) -> list[Row | Holding]:
        return [*self.rows, *self.holdings]

    @property
    def symbols(self) -> set[str | None]:
        return {item.symbol for item in self.ours} | {item.symbol for item in self.theirs}

    @property
    def expected(self) -> Decimal:
        return sum((item.quantity for item in self.ours), ZERO)

    @property
    def actual(self) -> Decimal:
        owned = sum((item.owned for item in self.holdings), ZERO)
        # A sale out of the holdings is a sold delivery position, or (before there is one) only in ``used``: never both.
        sold = sum((row.sell_quantity for row in self.rows if row.product == DELIVERY), ZERO)
        used = sum((item.used for item in self.holdings), ZERO)
        return owned + sum((row.quantity for row in self.rows), ZERO) - max(used - sold, ZERO)

    @property
    def symbol(self) -> str:
        return self.ours[0].symbol if self.ours else str(self.theirs[0].symbol)

    @property
    def exchange(self) -> str | None:
        names = {item.exchange for item in self.theirs}
        return names.pop() if len(names) == 1 else None

    @property
    def product(self) -> str | None:
        names = {row.product for row in self.rows} | ({DELIVERY} if self.holdings else set())
        return names.pop() if len(names) == 1 else None

    @property
    def value(self) -> Decimal:
        return sum((row.sell_value - row.buy_value for row in self.rows), ZERO)

    @property
    def our_value(self) -> Decimal | None:
        """None where the books cannot tell, or the broker's sums do not reach back to the purchase."""
        if self.holdings:
            return None
        total = ZERO
        for item in self.ours:
            if item.value is None:
                return None
            total += item.value
        return total

    @property
    def mark(self) -> Decimal | None:
        for item in self.theirs:
            if item.last_price > ZERO:
                return item.last_price
        return next((item.mark for item in self.ours if item.mark is not None and item.mark > ZERO), None)

    def difference(
        self, kind: Kind, expected: Decimal, actual: Decimal, note: str = "", parts: tuple[Part, ...] = ()
    ) -> Discrepancy:
        return Discrepancy(kind, self.symbol, self.exchange, self.product, expected, actual, note, parts)


def compare(
    ours: Sequence[Ours],
    answer: Answer,
    rules: Rules,
    *,
    cash: Decimal | None = None,
    external: Iterable[ExternalOrder] = (),
) -> Comparison:
    """Every difference in the order of symbols, and what could be booked about it. ``cash``: that of our portfolios,
    None where it is not to be compared."""
    found: list[Discrepancy] = []
    proposed: list[Adjustment] = []
    spared: list[str] = []
    is_all_gone = answer.is_empty and any(item.quantity for item in ours)
    with localcontext(money.EXACT):
        found += [_unknown(row.name, row.exchange, row.product, row.quantity) for row in answer.rows if _strays(row)]
        found += [
            _unknown(item.name, item.exchange, DELIVERY, item.owned)
            for item in answer.holdings
            if item.symbol is None and item.owned
        ]
        for unit in _units(ours, answer):
            differences, adjustment = _compared(unit, rules)
            if differences and not unit.symbols.isdisjoint(rules.protected):
                spared.append(unit.symbol)
                continue
            found += differences
            proposed += [adjustment] if adjustment else []
        found += [
            Discrepancy("external_order", order.symbol, order.exchange, order.product, ZERO, order.quantity)
            for order in external
        ]
        if cash is not None and answer.cash is not None and abs(cash - answer.cash) > rules.value_tolerance:
            found.append(Discrepancy("cash", None, None, None, cash, answer.cash, "cash is never adjusted"))
    return Comparison(tuple(found), tuple(proposed), tuple(spared), is_all_gone)


def _strays(row: Row) -> bool:
    return row.symbol is None and bool(row.quantity or row.buy_value != row.sell_value)


def _unknown(name: str, exchange: str, product: str, quantity: Decimal) -> Discrepancy:
    return Discrepancy(
        "unknown_instrument", None, exchange, product, ZERO, quantity, f"no instrument is registered for {name[:64]}"
    )


def _units(ours: Sequence[Ours], answer: Answer) -> list[_Unit]:
    """Those of one ISIN together where delivery has a part in it, else by symbol."""
    isins: dict[str | None, str | None] = {item.symbol: item.isin for item in ours}
    isins |= {row.symbol: row.isin for row in answer.rows if row.isin}
    isins |= {item.symbol: item.isin for item in answer.holdings if item.isin}
    delivered = {isins.get(row.symbol) for row in answer.rows if row.product == DELIVERY}
    delivered |= {isins.get(item.symbol) for item in answer.holdings}

    def name(symbol: str | None) -> str:
        isin = isins.get(symbol)
        return isin if isin is not None and isin in delivered else f"={symbol}"

    units: dict[str, _Unit] = {}
    for mine in ours:
        units.setdefault(name(mine.symbol), _Unit([], [], [])).ours.append(mine)
    for row in answer.rows:
        if row.symbol is not None:
            units.setdefault(name(row.symbol), _Unit([], [], [])).rows.append(row)
    for item in answer.holdings:
        if item.symbol is not None:
            units.setdefault(name(item.symbol), _Unit([], [], [])).holdings.append(item)
    return sorted(units.values(), key=lambda unit: unit.symbol)


def _compared(unit: _Unit, rules: Rules) -> tuple[list[Discrepancy], Adjustment | None]:
    expected, actual = unit.expected, unit.actual
    found = [*_product_differences(unit), *_multiplier_differences(unit)]
    blocked = "; ".join(item.kind for item in found)
    if expected == actual:
        return [*found, *_value_difference(unit, rules)], None
    ratio = _ratio(unit)
    if ratio is not None:
        note = f"propose SPLIT {ratio.numerator}:{ratio.denominator}"
        return [*found, unit.difference("corporate_action", expected, actual, note)], None
    whose = attributing.attributed(unit.symbol, actual - expected, rules.steps.get(unit.symbol), rules.holders)
    adjustment, note = (None, f"not while {blocked} differs") if blocked else _proposal(unit, whose)
    return [*found, unit.difference(_kind(expected, actual), expected, actual, note, whose.parts)], adjustment


def _kind(expected: Decimal, actual: Decimal) -> Kind:
    if not expected:
        return "missing"
    if not actual:
        return "extra"
    return "quantity" if (expected > ZERO) == (actual > ZERO) else "sign"


def _product_differences(unit: _Unit) -> list[Discrepancy]:
    """Products that are not known, and products that stand against each other: a position closed under another product
    than it was opened under is two open positions at the broker and none in our books."""
    by_product: dict[str, Decimal] = {}
    for row in unit.rows:
        by_product[row.product] = by_product.get(row.product, ZERO) + row.quantity
    if unit.holdings:
        by_product[DELIVERY] = by_product.get(DELIVERY, ZERO) + sum((item.owned for item in unit.holdings), ZERO)
    found = [
        Discrepancy("product", unit.symbol, unit.exchange, name, ZERO, quantity, "this product is not known")
        for name, quantity in sorted(by_product.items())
        if name not in PRODUCTS and quantity
    ]
    against = min(by_product.values(), default=ZERO) < ZERO < max(by_product.values(), default=ZERO)
    if against:
        found += [
            Discrepancy("product", unit.symbol, unit.exchange, name, ZERO, quantity, "products against each other")
            for name, quantity in sorted(by_product.items())
            if quantity < ZERO
        ]
    return found


def _multiplier_differences(unit: _Unit) -> list[Discrepancy]:
    mine = {item.multiplier for item in unit.ours} or {ONE}
    return [
        Discrepancy("multiplier", unit.symbol, row.exchange, row.product, min(mine), row.multiplier)
        for row in unit.rows
        if (row.quantity or unit.expected) and row.multiplier not in mine
    ]


def _value_difference(unit: _Unit, rules: Rules) -> list[Discrepancy]:
    ours = unit.our_value
    if ours is None or not unit.rows or abs(ours - unit.value) <= rules.value_tolerance:
        return []
    return [unit.difference("pnl", ours, unit.value, "quantities agree, what was paid or received does not")]


def _ratio(unit: _Unit) -> Fraction | None:
    """``new``/``old`` of a split or bonus: another quantity of the same sign at the same cost, and no trade today."""
    expected, actual = unit.expected, unit.actual
    cost = abs(sum((item.cost for item in unit.ours), ZERO))
    if not expected or not actual or (expected > ZERO) != (actual > ZERO) or not cost:
        return None
    theirs = sum((item.owned * item.average_price for item in unit.holdings), ZERO)
    theirs += sum((row.quantity * row.average_price * row.multiplier for row in unit.rows), ZERO)
    traded = any(row.buy_quantity and row.sell_quantity for row in unit.rows)
    ratio = Fraction(actual) / Fraction(expected)
    small = max(ratio.numerator, ratio.denominator) <= _RATIO_MAX
    return ratio if small and not traded and abs(abs(theirs) - cost) <= cost * _COST_SHARE else None


def _proposal(unit: _Unit, whose: attributing.Attributed) -> tuple[Adjustment | None, str]:
    """Definitions 7: at the price of the missed trade where the broker's sums show one, else in kind at the mark."""
    if not whose.parts:
        return None, whose.reason
    if len(unit.symbols) > 1:
        return None, "several symbols share the ISIN"
    if any(item.pledged or item.financed for item in unit.holdings) or any(row.product == PLEDGED for row in unit.rows):
        return None, "pledged or financed shares are only reported"
    quantity, mark = unit.actual - unit.expected, unit.mark
    if mark is None:
        return None, "no price is known"
    ours = unit.our_value
    if ours is None or not unit.rows:
        return Adjustment(unit.symbol, quantity, _price(mark), in_kind=True, parts=whose.parts), "in kind at the mark"
    multiplier = unit.rows[0].multiplier
    price = _price(money.divide(ours - unit.value, quantity * multiplier))
    if not _PLAUSIBLE[0] * mark <= price <= _PLAUSIBLE[1] * mark:
        return None, f"a missed trade would have had the price {price}: no evidence"
    return Adjustment(unit.symbol, quantity, price, in_kind=False, parts=whose.parts), "a missed trade"


def _price(raw: Decimal) -> Decimal:
    return money.plain(raw, money.PRICE_DECIMALS)


def entry(adjustment: Adjustment, part: Part, ledger_version: int, now_ms: int) -> Entry:
    """The ADJUSTMENT of one portfolio, to be booked over its books of that version; made again of the same it has the
    same id."""
    amounts = (format(part.quantity, "f"), format(adjustment.price, "f"))
    parts = (part.portfolio_id, ledger_version, adjustment.symbol, adjustment.in_kind, *amounts)
    digest = blake2b("|".join(map(str, parts)).encode(), digest_size=12).hexdigest()
    return Entry(
        transaction_id=f"reconcile:{digest}",
        transaction_type="ADJUSTMENT",
        timestamp_ms=now_ms,
        instrument_id=adjustment.symbol,
        quantity=part.quantity,
        price=adjustment.price,
        reason=_REASON,
        in_kind=adjustment.in_kind,
    )


def sums(portfolios: Mapping[str, Sequence[Ours]]) -> list[Ours]:
    """The holdings of several portfolios by symbol; a value that one of them cannot tell is not known."""
    totals: dict[str, Ours] = {}
    with localcontext(money.EXACT):
        for items in portfolios.values():
            for item in items:
                totals[item.symbol] = _sum(totals[item.symbol], item) if item.symbol in totals else item
    return list(totals.values())


def _sum(one: Ours, other: Ours) -> Ours:
    return Ours(
        symbol=one.symbol,
        quantity=one.quantity + other.quantity,
        multiplier=one.multiplier,
        cost=one.cost + other.cost,
        value=None if one.value is None or other.value is None else one.value + other.value,
        mark=one.mark if one.mark is not None else other.mark,
        isin=one.isin or other.isin,
    )
