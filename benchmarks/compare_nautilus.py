"""Fills with flips, booked here and by NautilusTrader's positions: a comparison for developers, never a dependency.

    python3 -m venv /tmp/nautilus && /tmp/nautilus/bin/pip install nautilus_trader
    PYTHONPATH=layers/foliostream/python:. /tmp/nautilus/bin/python -m benchmarks.compare_nautilus

Two of its habits are evened out: its money is rounded to cents a fill, so prices have two decimals, quantities are
whole and profits are compared within a cent a closing fill; and a position of it does not flip by itself (its
execution engine splits such a fill), so the fill is split here as that engine does.
"""

from __future__ import annotations

import importlib.util
import sys
from decimal import Decimal
from random import Random
from typing import Any

from foliostream.domain import portfolio as books
from foliostream.domain.instrument import Instrument
from foliostream.domain.portfolio import Entry, Portfolio

NOW = 1_772_101_800_000
INSTRUMENT = {"AAPL": Instrument(symbol="AAPL", kind="stock", currency="USD")}
CENT = Decimal("0.01")


class Theirs:
    """The position of NautilusTrader, and what its closed ones realized."""

    def __init__(self) -> None:
        from nautilus_trader.test_kit.providers import TestInstrumentProvider

        self.instrument = TestInstrumentProvider.equity("AAPL", "XNAS")
        self.position: Any = None
        self.realized = Decimal(0)
        self.number = 0

    @property
    def quantity(self) -> Decimal:
        """Signed."""
        return Decimal(str(self.position.signed_decimal_qty())) if self.position is not None else Decimal(0)

    @property
    def total_realized(self) -> Decimal:
        """Of the open position and the closed ones."""
        open_profit = self.position.realized_pnl.as_decimal() if self.position is not None else Decimal(0)
        return self.realized + open_profit

    def fill(self, quantity: Decimal, price: Decimal) -> None:
        """Book it; one that flips as a closing and an opening part."""
        closing = Decimal(0)
        if self.quantity and (self.quantity > 0) != (quantity > 0):
            closing = min(abs(quantity), abs(self.quantity)).copy_sign(quantity)
        for part in (closing, quantity - closing):
            if part:
                self._apply(part, price)

    def _apply(self, quantity: Decimal, price: Decimal) -> None:
        from nautilus_trader.model.position import Position

        event = self._event(quantity, price)
        if self.position is None:
            self.position = Position(self.instrument, event)
        else:
            self.position.apply(event)
        if self.position.is_closed:
            self.realized += self.position.realized_pnl.as_decimal()
            self.position = None

    def _event(self, quantity: Decimal, price: Decimal) -> Any:  # noqa: ANN401
        from nautilus_trader.core.uuid import UUID4
        from nautilus_trader.model import enums, identifiers, objects
        from nautilus_trader.model.events import OrderFilled

        self.number += 1
        return OrderFilled(
            trader_id=identifiers.TraderId("T-1"),
            strategy_id=identifiers.StrategyId("S-1"),
            instrument_id=self.instrument.id,
            client_order_id=identifiers.ClientOrderId(f"O-{self.number}"),
            venue_order_id=identifiers.VenueOrderId(f"V-{self.number}"),
            account_id=identifiers.AccountId("XNAS-1"),
            trade_id=identifiers.TradeId(f"F-{self.number}"),
            position_id=identifiers.PositionId("P-1"),
            order_side=enums.OrderSide.BUY if quantity > 0 else enums.OrderSide.SELL,
            order_type=enums.OrderType.MARKET,
            last_qty=objects.Quantity(abs(quantity), 0),
            last_px=objects.Price(price, 2),
            currency=self.instrument.quote_currency,
            commission=objects.Money(0, self.instrument.quote_currency),
            liquidity_side=enums.LiquiditySide.TAKER,
            event_id=UUID4(),
            ts_event=self.number,
            ts_init=self.number,
        )


def _portfolio() -> Portfolio:
    return Portfolio(
        portfolio_id="comparison",
        portfolio_name="comparison",
        owner="comparison",
        account_type="paper",
        account_kind="cash",
        base_currency="USD",
        cost_basis="average",
        created_at_ms=NOW,
        updated_at_ms=NOW,
        allow_short=True,
        cash={"USD": Decimal(10**12)},
    )


def compare(fills: int, seed: int) -> dict[str, int | str]:
    """Both sides after every fill; ``ValueError`` names the first that differs."""
    random, ours, theirs = Random(seed), _portfolio(), Theirs()
    flips = closings = 0
    for number in range(fills):
        held = ours.positions["AAPL"].quantity if ours.positions else Decimal(0)
        quantity = Decimal(random.randint(1, 60)) * random.choice((1, -1))
        if held and random.random() < 0.1:
            quantity = -held
        price = Decimal(random.randint(5_000, 25_000)).scaleb(-2)
        kind = "BUY" if quantity > 0 else "SELL"
        entry = Entry(f"f{number}", kind, NOW, "AAPL", quantity, price)  # type: ignore[arg-type]
        ours, _ = books.apply(ours, [entry], INSTRUMENT, NOW)
        theirs.fill(quantity, price)
        flips += bool(held) and (held + quantity) * held < 0
        closings += bool(held) and (held > 0) != (quantity > 0)
        _check(number, ours, theirs, closings)
    difference = abs(ours.realized_pnl - theirs.total_realized)
    return {"fills": fills, "closing": closings, "flips": flips, "realized_differs_by": f"{difference:.4f}"}


def _check(number: int, ours: Portfolio, theirs: Theirs, closings: int) -> None:
    position = ours.positions.get("AAPL")
    if (position.quantity if position else 0) != theirs.quantity:
        raise ValueError(f"fill {number}: {position} is not {theirs.quantity}")
    if position and abs(float(position.average_price) - theirs.position.avg_px_open) > 1e-6:
        raise ValueError(f"fill {number}: average {position.average_price} is not {theirs.position.avg_px_open}")
    if abs(ours.realized_pnl - theirs.total_realized) > CENT * closings:
        raise ValueError(f"fill {number}: realized {ours.realized_pnl} is not {theirs.total_realized}")


if __name__ == "__main__":
    if importlib.util.find_spec("nautilus_trader") is None:
        sys.exit("nautilus_trader is not installed here; the module's first lines say how to")
    for chosen in range(5):
        print(compare(2_000, chosen))
