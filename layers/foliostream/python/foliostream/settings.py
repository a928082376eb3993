"""The environment of every function, typed and read once.

One model serves all functions: names of tables and queues are no secrets, what a function may touch is decided by
its IAM role. ``Settings.read`` reports every missing, unknown or invalid name in one message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from foliostream.errors import SettingsError

PREFIX = "PORTFOLIO_"
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,31}(/[A-Za-z0-9_+-]{1,32}){0,2}")
_PERCENT = re.compile(r"[0-9](\.[0-9]{1,4})?")
_HOURS = re.compile(r"[1-7]-[1-7]/[0-2]\d:[0-5]\d-[0-2]\d:[0-5]\d")
_USAGE_KEY = re.compile(r"[A-Za-z0-9]{20,128}")
ACCOUNT_TYPES = ("live", "demo", "paper")
# The two kinds of callers that the REST API has a usage plan for.
CALLERS = ("people", "systems")
MAX_AMOUNT_DIGITS = 15
MAX_OWNER_LENGTH = 128
MAX_PERCENT = 1_000
# Two years or three of a market; the environment of a function has 4 KB for everything.
MAX_HOLIDAYS = 30
AMOUNT_DECIMALS = 6


def _text(raw: str) -> str:
    if not raw:
        raise ValueError("must not be empty")
    return raw


def _optional(raw: str) -> str:
    return raw


def _owner(raw: str) -> str:
    if len(raw) > MAX_OWNER_LENGTH or raw != raw.strip() or not raw.isprintable():
        raise ValueError(f"must be empty or at most {MAX_OWNER_LENGTH} printable characters, is {raw[:200]!r}")
    return raw


def _zone(raw: str) -> str:
    # Whether there is such a zone is asked of the system's own data, by the one function that needs it.
    if not _ZONE.fullmatch(raw):
        raise ValueError(f"must be the name of a time zone such as America/New_York, is {raw[:80]!r}")
    return raw


def _dates(raw: str) -> frozenset[str]:
    days = raw.split(",") if raw else []
    wrong = [day for day in days if not _is_date(day)]
    if wrong or len(days) > MAX_HOLIDAYS or len(set(days)) < len(days):
        raise ValueError(
            f"must be empty or at most {MAX_HOLIDAYS} different dates such as 2026-12-25,2027-01-01, is {raw[:80]!r}"
        )
    return frozenset(days)


def _is_date(raw: str) -> bool:
    try:
        return date.fromisoformat(raw).isoformat() == raw
    except ValueError:
        return False


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if raw not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}, is {raw!r}")
        return raw

    return parse


def _some_of(*allowed: str) -> Callable[[str], frozenset[str]]:
    def parse(raw: str) -> frozenset[str]:
        given = raw.split(",") if raw else []
        if not set(given) <= set(allowed) or len(set(given)) < len(given):
            raise ValueError(f"must be empty or some of {','.join(allowed)}, each once, is {raw!r}")
        return frozenset(given)

    return parse


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        if not raw.isdigit() or not low <= int(raw) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}, is {raw!r}")
        return int(raw)

    return parse


def _amount(raw: str) -> Decimal:
    try:
        value = Decimal(raw)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or not 0 <= value < 10**MAX_AMOUNT_DIGITS or value != round(value, AMOUNT_DECIMALS):
        limits = f"at most {MAX_AMOUNT_DIGITS} digits and {AMOUNT_DECIMALS} decimals"
        raise ValueError(f"must be an amount of {limits}, is {raw!r}")
    return value


def _usage_key(raw: str) -> str:
    # What API Gateway takes as the value of an API key.
    if not _USAGE_KEY.fullmatch(raw):
        raise ValueError(f"must be keys of 20 to 128 letters and digits, is {raw[:40]!r}")
    return raw


def _url(raw: str) -> str:
    if urlsplit(raw).scheme not in {"http", "https"}:
        raise ValueError(f"must be an http(s) address, is {raw!r}")
    return raw


def _queues(raw: str) -> str:
    if urlsplit(raw).scheme not in {"http", "https"} or not raw.endswith("-"):
        raise ValueError(f"must be what the addresses of all queues begin with, the dash included, is {raw!r}")
    return raw


def _optional_url(raw: str) -> str:
    return _url(raw) if raw else raw


def _hours(raw: str) -> str:
    # Whether they begin before they end is asked by the functions that need them.
    if not _HOURS.fullmatch(raw):
        raise ValueError(f"must be weekdays and times such as 1-5/09:15-15:30, is {raw[:40]!r}")
    return raw


def _root(raw: str) -> str:
    if raw and (urlsplit(raw).scheme not in {"http", "https"} or urlsplit(raw).path):
        raise ValueError(f"must be empty or an http(s) address without a path, is {raw!r}")
    return raw


def _redis_url(raw: str) -> str:
    if raw and urlsplit(raw).scheme not in {"redis", "rediss"}:
        raise ValueError(f"must be a redis:// or rediss:// address, is {raw!r}")
    return raw


def _pairs(names: tuple[str, ...], parse_value: Callable[[str], Any]) -> Callable[[str], dict[str, Any]]:
    """Parse ``live=1,demo=2``: every name exactly once."""

    def parse(raw: str) -> dict[str, Any]:
        parts = [part.partition("=") for part in raw.split(",")]
        values = {name: parse_value(value) for name, sign, value in parts if sign}
        if len(parts) != len(values) or set(values) != set(names):
            raise ValueError(f"must name {', '.join(names)} once each as name=value, is {raw!r}")
        return values

    return parse


def _level(raw: str) -> Decimal:
    value = _amount(raw)
    if not 0 < value <= MAX_PERCENT or value != round(value, 2):
        raise ValueError(f"must be a percentage above 0 and at most {MAX_PERCENT} with two decimals, is {raw!r}")
    return value


def _levels(raw: str) -> dict[str, Decimal]:
    """One for all account types, or one each."""
    return _pairs(ACCOUNT_TYPES, _level)(raw) if "=" in raw else dict.fromkeys(ACCOUNT_TYPES, _level(raw))


class Costs(NamedTuple):
    """What a simulated trade costs beside its price, in percent: ``fee`` of its value, ``slippage`` of the price of a
    market order."""

    fee: Decimal
    slippage: Decimal


def _percent(raw: str) -> Decimal:
    if not _PERCENT.fullmatch(raw):
        raise ValueError(f"must be a percentage from 0 to 9.9999, is {raw[:40]!r}")
    return Decimal(raw)


def _costs(raw: str) -> Costs:
    return Costs(**_pairs(Costs._fields, _percent)(raw))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Field ``x_y`` is the variable ``PORTFOLIO_X_Y``; times in the unit of the name. ``queues``: what the addresses of
    all queues begin with (``foliostream.queues`` has how they end); ``usage_keys``: the value of an API key a kind of
    caller."""

    hot_store: str
    redis_url: str
    redis_iam: str
    ledger_table: str
    hot_table: str
    sessions_table: str
    stack: str
    queues: str
    event_bus: str
    window_ms: dict[str, int]
    skew_ms: int
    flush_ms: int
    shards: int
    keys_per_message: int
    session_ttl_seconds: int
    stale_price_seconds: int
    close_time_zone: str
    market_holidays: frozenset[str]
    fills_owner: str
    starting_cash: Decimal
    margin_call_percent: dict[str, Decimal]
    stop_out_percent: dict[str, Decimal]
    paper_costs: Costs
    margin_basis: Literal["current", "open", "mid"]
    margin_check: frozenset[Literal["demo", "paper"]]
    liquidation: frozenset[Literal["partial", "protected"]]
    market_update_interval_seconds: int
    market_provider: str
    market_http_url: str
    reconcile_interval_seconds: int
    kite_root: str
    kite_secret_arn: str
    kite_hours: str
    jwt_issuer: str
    jwt_audience: str
    jwks_url: str
    jwt_leeway_seconds: int
    usage_keys: dict[str, str]

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Raises ``SettingsError`` naming every variable that is missing, unknown or invalid, and why."""
        faults = [
            f"{name}: unknown setting"
            for name in sorted(environment)
            if name.startswith(PREFIX) and name not in ENVIRONMENT_NAMES
        ]
        values: dict[str, Any] = {}
        for field, parse in _PARSERS.items():
            name = PREFIX + field.upper()
            if name not in environment:
                faults.append(f"{name}: missing")
                continue
            try:
                values[field] = parse(environment[name])
            except ValueError as fault:
                faults.append(f"{name}: {fault}")
        faults += _contradictions(values)
        if faults:
            raise SettingsError("settings: " + "; ".join(faults))
        return cls(**values)


_PARSERS: dict[str, Callable[[str], Any]] = {
    "hot_store": _one_of("dynamodb", "valkey"),
    "redis_url": _redis_url,
    "redis_iam": _optional,
    "ledger_table": _text,
    "hot_table": _text,
    "sessions_table": _text,
    "stack": _text,
    "queues": _queues,
    "close_time_zone": _zone,
    "market_holidays": _dates,
    "event_bus": _text,
    "window_ms": _pairs(ACCOUNT_TYPES, _integer(50, 10_000)),
    "skew_ms": _integer(0, 5_000),
    "flush_ms": _integer(20, 5_000),
    "shards": _integer(1, 16_384),
    "keys_per_message": _integer(1, 2_000),
    "session_ttl_seconds": _integer(60, 30 * 86_400),
    "stale_price_seconds": _integer(1, 30 * 86_400),
    "fills_owner": _owner,
    "starting_cash": _amount,
    "margin_call_percent": _levels,
    "stop_out_percent": _levels,
    "paper_costs": _costs,
    "margin_basis": _one_of("current", "open", "mid"),
    "margin_check": _some_of("demo", "paper"),
    "liquidation": _some_of("partial", "protected"),
    "market_update_interval_seconds": _integer(1, 86_400),
    "market_provider": _one_of("none", "replay", "http"),
    "market_http_url": _optional_url,
    "reconcile_interval_seconds": _integer(60, 86_400),
    "kite_root": _root,
    "kite_secret_arn": _optional,
    "kite_hours": _hours,
    "jwt_issuer": _text,
    "jwt_audience": _text,
    "jwks_url": _url,
    "jwt_leeway_seconds": _integer(0, 300),
    "usage_keys": _pairs(CALLERS, _usage_key),
}
ENVIRONMENT_NAMES = frozenset(PREFIX + field.name.upper() for field in fields(Settings))


def _contradictions(values: Mapping[str, Any]) -> list[str]:
    faults = []
    if values.get("hot_store") == "valkey" and values.get("redis_url") == "":
        faults.append("PORTFOLIO_REDIS_URL: needed when PORTFOLIO_HOT_STORE is valkey")
    if values.get("market_provider") == "http" and values.get("market_http_url") == "":
        faults.append("PORTFOLIO_MARKET_HTTP_URL: needed when PORTFOLIO_MARKET_PROVIDER is http")
    calls, stops = values.get("margin_call_percent", {}), values.get("stop_out_percent", {})
    faults += [
        f"PORTFOLIO_STOP_OUT_PERCENT: {stops[name]} of {name} is not below the margin call at {calls[name]}"
        for name in calls.keys() & stops.keys()
        if stops[name] >= calls[name]
    ]
    return faults
