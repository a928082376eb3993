"""A day of quotes replayed on leveraged accounts: what the system raises, and what the reference does.

Every tick, taken or refused, and every silence is followed by a valuation, as in the running system.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from msgspec.structs import replace

from foliostream.domain import margin, price
from foliostream.domain.instrument import expires_at_ms
from foliostream.domain.margin_states import MarginStatus, Thresholds, judge
from foliostream.domain.portfolio import Portfolio
from foliostream.domain.price import Price, PriceUpdate
from foliostream.domain.state import calc_status
from tests.property import margin_reference as reference
from tests.unit.domain.accounts import account, forex, held

MAX_AGE_MS = 30_000
UNKNOWN_AFTER_MS = 120_000
EURUSD = forex(max_age_seconds=MAX_AGE_MS // 1000)
LEVERAGES = (30, 50, 100, 200, 400, 500)


class Tick(NamedTuple):
    ts_ms: int
    bid: Decimal
    ask: Decimal


class Moment(NamedTuple):
    """A valuation at ``now_ms``; ``tick`` None: nobody quoted, the sweep looked."""

    number: int
    now_ms: int
    tick: Tick | None


class Raised(NamedTuple):
    """What happened to an account: (number of the moment, event), the ids, and whether the moment's data was bad."""

    events: list[tuple[int, str]]
    ids: list[str]
    on_bad_data: list[str]


def moments(ticks: Iterable[Tick]) -> Iterator[Moment]:
    """Each tick when it comes, which for one that is older than the last is now; a look into each silence."""
    number, now_ms = 0, 0
    for tick in ticks:
        silent_ms = now_ms + MAX_AGE_MS + 1
        if now_ms and tick.ts_ms > silent_ms:
            yield Moment(number, silent_ms, None)
            number += 1
        now_ms = max(now_ms, tick.ts_ms)
        yield Moment(number, now_ms, tick)
        number += 1


def accounts(first: Tick, lots: str = "1") -> list[Portfolio]:
    """Long and short accounts of one position opened at the first tick, each so close to its call as its leverage
    makes a fifth of a percent of the price worth."""
    found = []
    for leverage in LEVERAGES:
        for direction in (1, -1):
            used = first.ask * EURUSD.multiplier * Decimal(lots) / leverage
            balance = (used * (100 + leverage * Decimal("0.2")) / 100).quantize(Decimal("0.01"))
            name = f"{'long' if direction > 0 else 'short'}-{leverage}"
            entry = first.ask if direction > 0 else first.bid
            position = held(str(direction * Decimal(lots)), str(entry), EURUSD)
            found.append(
                account(str(balance), portfolio_id=name, leverage=Decimal(leverage), positions={"EURUSD": position})
            )
    return found


def system(portfolio: Portfolio, seen: Iterable[Moment]) -> Raised:
    """The domain as the functions use it: judge the update, merge it, value, judge the margin."""
    stored, status, version = None, MarginStatus(), 0
    raised = Raised([], [], [])
    for number, now_ms, tick in seen:
        if tick is not None:
            update = PriceUpdate("EURUSD", tick.ts_ms, bid=tick.bid, ask=tick.ask)
            if price.refusal(update, EURUSD, now_ms) is None:
                stored = price.merge(stored, update) or stored
        version = max(version + 1, now_ms)
        there = margin.Market({} if stored is None else {"EURUSD": stored}, {"EURUSD": EURUSD}, now_ms, MAX_AGE_MS)
        found = margin.assess(portfolio, there)
        trusted = calc_status(found.missing, _stale(stored, now_ms))
        status, events = judge(status, found, trusted, version, now_ms, Thresholds(), UNKNOWN_AFTER_MS)
        status = replace(status, unsent=())
        for event in events:
            raised.ids.append(event.event_id(portfolio.key))
            if event.kind == "margin_unknown":
                continue
            raised.events.append((number, event.kind))
            if trusted != "ok" or tick is None or tick.bid > tick.ask:
                raised.on_bad_data.append(event.kind)
    return raised


def _stale(stored: Price | None, now_ms: int) -> list[str]:
    if stored is None:
        return []
    return ["EURUSD"] if expires_at_ms(EURUSD, stored.quote_ts_ms, MAX_AGE_MS) <= now_ms else []


def expected(portfolio: Portfolio, seen: Iterable[Moment]) -> list[tuple[int, str]]:
    """What the reference raises: fractions, its own memory of the last good quote, its own ladder."""
    watch = reference.Watch({"warning": Fraction(120), "call": Fraction(100), "stop_out": Fraction(50)})
    position = portfolio.positions["EURUSD"]
    balance, leverage = Fraction(portfolio.cash["USD"]), Fraction(portfolio.leverage or 1)
    units = Fraction(position.quantity) * 100_000
    good: Tick | None = None
    for number, now_ms, tick in seen:
        if tick is not None and tick.bid <= tick.ask and (good is None or tick.ts_ms >= good.ts_ms):
            good = tick
        if good is None or now_ms - good.ts_ms > MAX_AGE_MS:
            continue
        item = reference.Held(
            "EURUSD",
            units,
            Fraction(position.cost),
            Fraction(good.bid),
            Fraction(good.ask),
            Fraction(1),
            Fraction(1),
            (),
        )
        watch.see(number, reference.figures(balance, [item], leverage))
    return watch.raised
