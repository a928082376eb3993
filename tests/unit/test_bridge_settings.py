"""The bridge's settings: arguments before variables, every fault in one message, no password shown."""

from __future__ import annotations

import logging

import pytest

from foliostream import bridge
from foliostream.bridge_settings import BridgeSettings
from foliostream.errors import SettingsError

URL = "rediss://feed:geheim@cache.example.com:6380/0"
QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/foliostream-price"
GOOD = {"PORTFOLIO_REDIS_URL": URL, "PORTFOLIO_PRICE_QUEUE_URL": QUEUE}


def fault(*arguments: str, **variables: str) -> str:
    with pytest.raises(SettingsError) as refused:
        BridgeSettings.read(arguments, GOOD | {f"PORTFOLIO_{name}": value for name, value in variables.items()})
    return refused.value.message


def test_two_addresses_are_enough() -> None:
    settings = BridgeSettings.read([], GOOD | {"PORTFOLIO_SHARDS": "64"})
    assert (settings.channel, settings.batch_ms, settings.batch_updates) == ("market_price_updates", 50, 500)
    assert (settings.redis_url, settings.price_queue_url, settings.redis_iam) == (URL, QUEUE, "")


def test_an_argument_comes_before_a_variable() -> None:
    environment = GOOD | {"PORTFOLIO_BRIDGE_BATCH_MS": "20", "PORTFOLIO_BRIDGE_CHANNEL": "ticks"}
    settings = BridgeSettings.read(["--batch-ms", "30", "--redis-iam", "feed@cache"], environment)
    assert (settings.batch_ms, settings.channel, settings.redis_iam) == (30, "ticks", "feed@cache")


def test_what_is_missing_or_wrong_is_in_one_message() -> None:
    with pytest.raises(SettingsError) as refused:
        BridgeSettings.read(["--batch-ms", "0"], {"PORTFOLIO_BRIDGE_TYPO": "1"})
    message = refused.value.message
    for part in (
        "PORTFOLIO_BRIDGE_TYPO: unknown setting",
        "--redis-url or PORTFOLIO_REDIS_URL: missing",
        "--price-queue-url or PORTFOLIO_PRICE_QUEUE_URL: missing",
        "--batch-ms or PORTFOLIO_BRIDGE_BATCH_MS: must be a whole number from 1 to 5000, is '0'",
    ):
        assert part in message


@pytest.mark.parametrize(
    "url",
    ["http://:geheim@h", "redis://", "redis://:geheim@h:99999", "redis://:geheim@h:x", "redis://[geheim", "geheim"],
)
def test_a_wrong_address_is_refused_and_not_shown(url: str) -> None:
    message = fault(REDIS_URL=url)
    assert "PORTFOLIO_REDIS_URL: must be an address" in message
    assert "geheim" not in message


@pytest.mark.parametrize(
    ("argument", "value"),
    [("--channel", ""), ("--batch-updates", "5001"), ("--silence-seconds", "x"), ("--stop-seconds", "²"),
     ("--price-queue-url", "foliostream-price"), ("--redis-iam", "feed")],
)  # fmt: skip
def test_a_wrong_value_names_its_setting(argument: str, value: str) -> None:
    assert f"settings: {argument} or PORTFOLIO_" in fault(argument, value)


def test_the_source_is_shown_without_user_and_password() -> None:
    assert BridgeSettings.read([], GOOD).source == "rediss://cache.example.com:6380/0"
    assert BridgeSettings.read(["--redis-url", "redis://u:p@[::1]"], GOOD).source == "redis://[::1]:6379"


def test_wrong_settings_end_it_with_two(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in GOOD:
        monkeypatch.delenv(name, raising=False)
    try:
        assert bridge.main([]) == bridge.WRONG_SETTINGS
    finally:
        logging.getLogger("foliostream.bridge").handlers.clear()


def test_help_names_every_variable_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        BridgeSettings.read(["--help"], {})
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "PORTFOLIO_BRIDGE_BACKLOG_UPDATES, default 100000" in text
    assert "4 when stopped with updates that could not be delivered" in text


class Lines(logging.Handler):
    """Keeps the facts of what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.facts: list[object] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.facts.append(vars(record)["facts"])


def test_lines_of_one_kind_are_limited_and_the_rest_is_counted() -> None:
    now, lines = [10.0], Lines()
    note = bridge.Notes(lambda: now[0])
    logger = logging.getLogger("foliostream.bridge")
    logger.setLevel(logging.INFO)
    logger.addHandler(lines)
    try:
        for _ in range(30):
            note("warning", "unreadable", what="x")
        now[0] = 11.0
        note("warning", "unreadable", what="y")
    finally:
        logger.removeHandler(lines)
    assert lines.facts == [{"what": "x"}] * bridge.LINES_PER_SECOND + [{"what": "y", "not_shown_before": 25}]
