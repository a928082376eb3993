"""The settings of the bridge: arguments, or variables of the environment, each checked; all faults in one message."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from foliostream.errors import SettingsError

CHANNEL = "market_price_updates"
_PREFIX = "PORTFOLIO_BRIDGE_"
_CHANNEL_LENGTH_MAX = 512


def _redis_url(raw: str) -> str:
    # Whatever is wrong with it is not shown: it may hold a password.
    try:
        parts = urlsplit(raw)
        valid = parts.scheme in {"redis", "rediss"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError("must be an address such as redis://user:password@host:6379 or rediss://...")
    return raw


def _queue_url(raw: str) -> str:
    if urlsplit(raw).scheme not in {"http", "https"}:
        raise ValueError(f"must be the URL of an SQS queue, is {raw!r}")
    return raw


def _channel(raw: str) -> str:
    if not raw or len(raw) > _CHANNEL_LENGTH_MAX:
        raise ValueError(f"must have 1 to {_CHANNEL_LENGTH_MAX} characters")
    return raw


def _iam(raw: str) -> str:
    user, sign, cache = raw.partition("@")
    if raw and not (user and sign and cache):
        raise ValueError(f"must be empty or user@cache-name, is {raw!r}")
    return raw


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        if not raw.isascii() or not raw.isdigit() or not low <= int(raw) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}, is {raw!r}")
        return int(raw)

    return parse


class _Option(NamedTuple):
    variable: str
    parse: Callable[[str], Any]
    default: str | None
    text: str


_OPTIONS = {
    "redis_url": _Option(
        "PORTFOLIO_REDIS_URL", _redis_url, None, "the Redis or Valkey that publishes; better not as an argument if it "
        "holds a password: everybody on the machine sees arguments",
    ),
    "price_queue_url": _Option(
        "PORTFOLIO_PRICE_QUEUE_URL", _queue_url, None, "the stack's price queue (its output PriceQueueUrl)"
    ),
    "redis_iam": _Option("PORTFOLIO_REDIS_IAM", _iam, "", "user@cache-name for an ElastiCache that asks for IAM"),
    "channel": _Option(_PREFIX + "CHANNEL", _channel, CHANNEL, "the channel"),
    "batch_ms": _Option(_PREFIX + "BATCH_MS", _integer(1, 5_000), "50", "a batch goes after so many milliseconds"),
    "batch_updates": _Option(_PREFIX + "BATCH_UPDATES", _integer(1, 5_000), "500", "or with so many updates"),
    "backlog_updates": _Option(
        _PREFIX + "BACKLOG_UPDATES", _integer(1_000, 1_000_000), "100000",
        "updates held in memory while the queue does not answer (about 0.5 KB each); beyond, only the newest of each "
        "symbol are",
    ),
    "silence_seconds": _Option(
        _PREFIX + "SILENCE_SECONDS", _integer(1, 3_600), "10", "the server is asked after so long without a word"
    ),
    "answer_seconds": _Option(_PREFIX + "ANSWER_SECONDS", _integer(1, 60), "3", "and has so long to answer"),
    "stop_seconds": _Option(
        _PREFIX + "STOP_SECONDS", _integer(1, 300), "10", "after SIGTERM or SIGINT, the time to deliver what is held"
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class BridgeSettings:
    """Where ticks come from, where they go, and the limits on the way."""

    redis_url: str
    price_queue_url: str
    redis_iam: str
    channel: str
    batch_ms: int
    batch_updates: int
    backlog_updates: int
    silence_seconds: int
    answer_seconds: int
    stop_seconds: int

    @classmethod
    def read(cls, arguments: Sequence[str], environment: Mapping[str, str]) -> BridgeSettings:
        """Arguments come before variables; variables of other parts of Foliostream are none of its business.
        ``SettingsError`` names every fault; ``SystemExit`` as argparse has it (``--help``, an unknown argument)."""
        given = vars(_parser().parse_args(arguments))
        known = {option.variable for option in _OPTIONS.values()}
        faults = [f"{name}: unknown setting" for name in sorted(environment)
                  if name.startswith(_PREFIX) and name not in known]  # fmt: skip
        values = {}
        for name, option in _OPTIONS.items():
            raw = given[name] if given[name] is not None else environment.get(option.variable, option.default)
            called = f"--{name.replace('_', '-')} or {option.variable}"
            if raw is None:
                faults.append(f"{called}: missing")
                continue
            try:
                values[name] = option.parse(raw)
            except ValueError as fault:
                faults.append(f"{called}: {fault}")
        if faults:
            raise SettingsError("settings: " + "; ".join(faults))
        return cls(**values)

    @property
    def source(self) -> str:
        """The address without its user and password."""
        parts = urlsplit(self.redis_url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{parts.scheme}://{host}:{parts.port or 6379}{parts.path}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m foliostream.bridge",
        description="Takes the ticks of a Redis or Valkey channel to Foliostream's price queue, until it gets SIGTERM "
        "or SIGINT. A message is a symbol (its price is then in the hash market:{symbol}: bid, ask, last, ts, open, "
        "previous_close) or the JSON of POST /api/v1/prices. AWS credentials, region and endpoint are found as boto3 "
        "finds them; the stack's BridgePolicyArn allows what is needed.",
        epilog="Ends with 0 when stopped with everything delivered, 2 for wrong settings, 3 when the queue refuses for "
        "good, 4 when stopped with updates that could not be delivered in time.",
        allow_abbrev=False,
    )
    for name, option in _OPTIONS.items():
        default = "" if option.default is None else f", default {option.default or 'none'}"
        text = f"{option.text} ({option.variable}{default})".replace("%", "%%")
        parser.add_argument(f"--{name.replace('_', '-')}", help=text, metavar="VALUE")
    return parser
