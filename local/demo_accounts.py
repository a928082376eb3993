"""The demo's sample accounts: what they hold, and how they come into the application over REST."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from foliostream.adapters.replay_quotes import ReplayQuotes
from foliostream_client.transport import Json, Rest
from local import price_files

AccountType = Literal["live", "demo", "paper"]


@dataclass(frozen=True)
class Account:
    """A sample account: opened with ``cash`` US dollars, then everything in ``holdings`` is bought (or sold short)."""

    portfolio_id: str
    name: str
    account_type: AccountType
    cash: int
    holdings: Mapping[str, int]

    @property
    def allow_short(self) -> bool:
        """Whether it needs short sales."""
        return any(quantity < 0 for quantity in self.holdings.values())


ACCOUNTS = (
    Account(
        "sample-retirement",
        "Retirement core",
        "live",
        250_000,
        {"JNJ": 200, "PG": 250, "KO": 500, "PEP": 200, "MSFT": 250, "WMT": 200},
    ),
    Account(
        "sample-growth", "Growth", "live", 120_000, {"AAPL": 400, "MSFT": 180, "AMD": 500, "LLY": 100, "UNH": 60}
    ),
    Account(
        "sample-income", "Dividend income", "live", 80_000, {"KO": 300, "PG": 120, "JNJ": 100, "XOM": 200, "CVX": 110}
    ),
    Account(
        "sample-health", "Health care", "live", 150_000, {"JNJ": 250, "LLY": 220, "MRK": 350, "PFE": 700, "UNH": 110}
    ),
    Account(
        "sample-all",
        "All twenty stocks",
        "live",
        1_000_000,
        {
            "AAPL": 620, "AMD": 920, "BAC": 1400, "BBY": 580, "CVX": 430, "GE": 610, "HD": 220, "JNJ": 340, "JPM": 360,
            "KO": 910, "LLY": 360, "MRK": 570, "MSFT": 290, "PEP": 360, "PFE": 1400, "PG": 400, "RRC": 10_000,
            "UNH": 160, "WMT": 400, "XOM": 770,
        },
    ),
    Account("sample-energy", "Oil and gas", "demo", 50_000, {"CVX": 150, "XOM": 250, "RRC": 2000}),
    Account("sample-banks", "Two banks", "demo", 60_000, {"BAC": 800, "JPM": 220}),
    Account("sample-shops", "Shops", "demo", 40_000, {"BBY": 120, "HD": 60, "WMT": 120}),
    Account("sample-first", "First steps", "demo", 5_000, {"AAPL": 20, "KO": 30}),
    Account("sample-chips", "Chips and phones", "paper", 75_000, {"AMD": 700, "AAPL": 500}),
    Account("sample-pair", "Long MSFT, short GE", "paper", 100_000, {"MSFT": 300, "GE": -400}),
    Account("sample-each", "One share of each", "paper", 2_500, dict.fromkeys(ReplayQuotes().symbols, 1)),
)  # fmt: skip


def register_instruments(rest: Rest, symbols: Iterable[str]) -> None:
    """Make the sample's stocks known; needs the scope ``instruments:write``. Repeating it changes nothing."""
    for symbol in symbols:
        rest.put(f"/api/v1/instruments/{symbol}", {"kind": "stock", "currency": "USD"})


def import_closes(rest: Rest, sample: ReplayQuotes) -> None:
    """Give the sample's closes under their own dates, which metrics are computed from; they are adjusted already."""
    closes = price_files.parse(sample.lines, "the sample")
    refused: list[str] = []
    if price_files.give(rest, closes, adjusted=True, show=refused.append):
        raise price_files.PriceFileError("; ".join(refused))


def open_accounts(rest: Rest, accounts: Iterable[Account], sample: ReplayQuotes) -> None:
    """Open the accounts and buy their holdings at the first replayed day's closes.

    Ids, prices and times are always the same, so a second call finds the accounts and changes nothing. Raises
    ``ApiError`` where an account of that id is another one.
    """
    for account in accounts:
        rest.post("/api/v1/portfolios", opening(account))
        rest.post(f"/api/v1/portfolio/{account.portfolio_id}/update", purchases(account, sample))


def opening(account: Account) -> Json:
    """The request that opens the account."""
    return {
        "portfolio_id": account.portfolio_id,
        "portfolio_name": account.name,
        "account_type": account.account_type,
        "account_kind": "cash",
        "base_currency": "USD",
        "cost_basis": "average",
        "initial_cash": account.cash,
        "settings": {"allow_short": account.allow_short},
    }


def purchases(account: Account, sample: ReplayQuotes) -> Json:
    """The request that books all holdings, at the closes and the closing hour of the first replayed day."""
    closes = {str(quote["symbol"]): quote["last"] for quote in sample.quotes(0, 0)}
    bought_at = f"{sample.day(0)}T21:00:00Z"
    updates = [
        {
            "transaction_id": f"{account.portfolio_id}-{symbol}",
            "instrument_id": symbol,
            "transaction_type": "BUY" if quantity > 0 else "SELL",
            "quantity_change": quantity,
            "price": closes[symbol],
        }
        for symbol, quantity in account.holdings.items()
    ]
    return {"portfolio_id": account.portfolio_id, "timestamp": bought_at, "updates": updates}


class Calendar:
    """Which day of the sample a portfolio is being valued at, told by its prices alone."""

    def __init__(self, sample: ReplayQuotes) -> None:
        self._days: dict[tuple[str, Decimal, Decimal], str] = {}
        for slot in range(sample.days):
            for quote in sample.quotes(slot, 0):
                key = (str(quote["symbol"]), _decimal(quote["last"]), _decimal(quote["previous_close"]))
                self._days[key] = sample.day(slot)

    def day_of(self, positions: Iterable[Mapping[str, Json]]) -> str | None:
        """``YYYY-MM-DD`` of the first position whose mark and previous close are a day's; None if none is."""
        for position in positions:
            if position["mark"] is None or position["previous_close"] is None:
                continue
            key = (position["instrument_id"], _decimal(position["mark"]), _decimal(position["previous_close"]))
            if key in self._days:
                return self._days[key]
        return None


def _decimal(number: object) -> Decimal:
    return Decimal(str(number))
