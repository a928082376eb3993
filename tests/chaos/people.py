"""Whose portfolios are in the storm."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import NamedTuple
from uuid import uuid4

from foliostream_client.transport import Rest
from tests.chaos.checks import MARGIN_CASH, MARGIN_PRICE, MARGIN_QUANTITY
from tests.chaos.traffic import CASH, Accounts, Market
from tests.e2e.conftest import ACCOUNT_TYPES, Cloud, now_ms

SYMBOLS, PAPER_SYMBOLS = 6, 2
CASH_ACCOUNTS_PER_TYPE, MARGIN_ACCOUNTS = 3, 2
SCOPES = ("fills:write",)


class People(NamedTuple):
    """One owner with all portfolios, and the market they are in; ``name`` is in everything that is theirs. The
    stranger has none."""

    name: str
    stranger: str
    owner: Rest
    token: str
    market: Market
    accounts: Accounts


def settle(cloud: Cloud, admin: Rest, draw: Random) -> People:
    """Instruments, first prices and portfolios, while nothing is broken yet."""
    name = f"c{uuid4().hex[:8]}"
    symbols = [f"S{number}{name.upper()}" for number in range(SYMBOLS + PAPER_SYMBOLS)]
    cfds = [f"M{number}{name.upper()}" for number in range(MARGIN_ACCOUNTS)]
    unpriced = f"U{name.upper()}"
    for symbol in [*symbols, unpriced]:
        admin.put(f"/api/v1/instruments/{symbol}", {"kind": "stock", "currency": "USD"})
    for symbol in cfds:
        admin.put(f"/api/v1/instruments/{symbol}", {"kind": "cfd", "currency": "USD", "margin_rate": "0.05"})
    market = Market(cloud, admin, symbols, Random(draw.random()))
    market.insist([market.quote(symbol, Decimal(100)) for symbol in [*symbols, *cfds]])
    opening = _Opening(cloud.rest(name, SCOPES), draw)
    accounts = Accounts(
        cash=opening.cash(symbols[:SYMBOLS]),
        types=opening.types,
        paper={opening.open("paper"): symbol for symbol in symbols[SYMBOLS:]},
        margin={opening.margin(symbol): symbol for symbol in cfds},
        blind={opening.blind(unpriced): unpriced},
    )
    market.prices |= dict.fromkeys(cfds, MARGIN_PRICE)
    return People(name, f"stranger-{name}", opening.owner, cloud.token(name, SCOPES), market, accounts)


class _Opening:
    def __init__(self, owner: Rest, draw: Random) -> None:
        self.owner = owner
        self.types: dict[str, str] = {}
        self._draw = draw

    def open(self, account_type: str, **changes: object) -> str:
        body = {
            "portfolio_name": "In the storm",
            "account_type": account_type,
            "account_kind": "cash",
            "base_currency": "USD",
            "cost_basis": "average",
            "initial_cash": CASH,
        }
        name: str = self.owner.post("/api/v1/portfolios", body | changes)["portfolio_id"]
        self.types[name] = account_type
        return name

    def cash(self, symbols: list[str]) -> dict[str, tuple[str, ...]]:
        """Some of each account type, with the symbols they are going to hold."""
        types = [name for name in ACCOUNT_TYPES for _ in range(CASH_ACCOUNTS_PER_TYPE)]
        return {self.open(name): tuple(self._draw.sample(symbols, self._draw.randint(2, SYMBOLS))) for name in types}

    def margin(self, symbol: str) -> str:
        name = self.open("demo", account_kind="margin", initial_cash=MARGIN_CASH)
        self._buy(name, symbol)
        return name

    def blind(self, symbol: str) -> str:
        name = self.open("live")
        self._buy(name, symbol)
        return name

    def _buy(self, name: str, symbol: str) -> None:
        line = {"instrument_id": symbol, "quantity_change": MARGIN_QUANTITY, "price": MARGIN_PRICE}
        update = {"portfolio_id": name, "timestamp": now_ms(), "updates": [line | {"transaction_type": "BUY"}]}
        self.owner.post(f"/api/v1/portfolio/{name}/update", update)
