"""`python -m foliostream.bridge`: the process beside an existing Redis that takes its ticks to the price queue."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

from foliostream.application.bridging import Backlog, Bridge, Counts, Pace, Sender, Stop
from foliostream.bridge_settings import BridgeSettings
from foliostream.errors import SettingsError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from foliostream.ports import PriceQueue, PriceReader, Ticks

DONE: Final = 0
WRONG_SETTINGS: Final = 2
REFUSED: Final = 3
UNDELIVERED: Final = 4
REPORT_SECONDS: Final = 60.0
LAST_PAUSE_SECONDS: Final = 0.25
# Lines of one kind a second; how many more there were is in the next one. A broken publisher must not fill the disk.
LINES_PER_SECOND: Final = 5

_logger = logging.getLogger("foliostream.bridge")


class _JsonLines(logging.Formatter):
    """A JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"timestamp": when.replace("+00:00", "Z"), "level": record.levelname, "event": record.getMessage()}
        return json.dumps(line | getattr(record, "facts", {}), default=str)


class Notes:
    """Writes log lines, at most ``LINES_PER_SECOND`` of one event."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._second: dict[str, tuple[int, int]] = {}

    def __call__(self, level: str, event: str, **facts: object) -> None:
        """Implements ``bridging.Note``."""
        second = int(self._monotonic())
        seen_in, lines = self._second.get(event, (second, 0))
        if seen_in == second and lines >= LINES_PER_SECOND:
            self._second[event] = second, lines + 1
            return
        if seen_in != second:
            if lines > LINES_PER_SECOND:
                facts["not_shown_before"] = lines - LINES_PER_SECOND
            lines = 0
        self._second[event] = second, lines + 1
        _logger.log(logging.getLevelName(level.upper()), event, extra={"facts": facts})


def run(
    settings: BridgeSettings,
    connect: Callable[[], Ticks],
    prices: PriceReader,
    queue: PriceQueue,
    stopping: Event,
) -> int:
    """Read and send until ``stopping``; the exit code."""
    note, counts = Notes(), Counts()
    backlog = Backlog(settings.backlog_updates, counts, note)
    jitter = random.random
    ended = Event()

    def wait(seconds: float) -> None:
        if stopping.wait(seconds):  # little time is left: try often
            ended.wait(min(seconds, LAST_PAUSE_SECONDS))

    sender = Sender(backlog, queue, counts, note, give_up=stopping.set, wait=wait, jitter=jitter)
    pace = Pace(
        settings.batch_ms / 1000,
        settings.batch_updates,
        float(settings.silence_seconds),
        float(settings.answer_seconds),
    )
    bridge = Bridge(
        connect,
        prices,
        backlog,
        pace,
        counts=counts,
        note=note,
        stop=Stop(stopping.is_set, stopping.wait),
        monotonic=time.monotonic,
        now_us=lambda: time.time_ns() // 1_000,
        jitter=jitter,
    )
    sending = Thread(target=sender.run, name="sender", daemon=True)
    reporting = Thread(target=_report, args=(note, counts, backlog, ended), name="report", daemon=True)
    note("info", "started", source=settings.source, channel=settings.channel, queue=settings.price_queue_url)
    sending.start()
    reporting.start()
    bridge.run()
    backlog.close()
    sending.join(settings.stop_seconds)
    ended.set()
    undelivered = len(backlog) + len(sender.held)
    note("info", "stopped", undelivered=undelivered, **counts.facts())
    if sender.fault:
        return REFUSED
    return UNDELIVERED if undelivered else DONE


def _report(note: Notes, counts: Counts, backlog: Backlog, ended: Event) -> None:
    """A line a minute, so that silence in the log means that the process is gone."""
    while not ended.wait(REPORT_SECONDS):
        note("info", "counts", backlog=len(backlog), **counts.facts())


def main(arguments: Sequence[str] | None = None) -> int:
    """The process: settings, signals, clients."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonLines())
    _logger.addHandler(handler)
    _logger.setLevel(logging.INFO)
    _logger.propagate = False
    try:
        settings = BridgeSettings.read(sys.argv[1:] if arguments is None else arguments, os.environ)
        sqs = _sqs(settings)
    except SettingsError as fault:
        _logger.error(fault.message)
        return WRONG_SETTINGS
    from foliostream.adapters.redis_connection import RedisConnection
    from foliostream.adapters.redis_prices import RedisPrices
    from foliostream.adapters.redis_subscription import RedisSubscription
    from foliostream.adapters.sqs_prices import SqsPrices

    stopping = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    connection = RedisConnection(settings.redis_url, shards=0, iam=settings.redis_iam)

    def connect() -> Ticks:
        connection.close()  # the server may have moved; the next read finds it anew
        return RedisSubscription(
            settings.redis_url, settings.channel, iam=settings.redis_iam, answer_seconds=settings.answer_seconds
        )

    return run(settings, connect, RedisPrices(connection), SqsPrices(sqs, settings.price_queue_url), stopping)


def _sqs(settings: BridgeSettings) -> SQSClient:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    # Without a region in the environment, that of the queue's own address.
    named = re.match(r"https://sqs\.([a-z0-9-]+)\.", settings.price_queue_url)
    try:
        return boto3.client(
            "sqs",
            region_name=boto3.session.Session().region_name or (named and named[1]),
            config=Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "max_attempts": 3}),
        )
    except BotoCoreError as fault:
        raise SettingsError(f"settings: AWS: {fault}") from fault


if __name__ == "__main__":
    sys.exit(main())
