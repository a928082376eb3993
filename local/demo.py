"""`make demo`: real closes go through the whole cloud, and twelve accounts move in a live view; a leveraged one beside
them slides into a margin call and recovers.

DEMO_SECONDS=N ends it after N seconds of view. However it ends, what the screen showed is checked before it says ok:
everything arrived, no version was skipped, every total is what REST and a recomputation say.
"""

import math
import os
import queue
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import TypeVar

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.live import Live

from foliostream.adapters.replay_quotes import ReplayQuotes
from foliostream.domain.times import epoch_ms
from foliostream_client.errors import ApiError
from foliostream_client.transport import Rest, Socket
from local import cloud, demo_broker, demo_slide, demo_view, page, services
from local.cloud import Outputs
from local.demo_accounts import ACCOUNTS, Calendar, import_closes, open_accounts, register_instruments
from local.demo_board import Board, State, differences, mistakes, summary, totals_line
from local.demo_broker import DriftError
from local.demo_feed import Arrived, Event, Feed, Opened
from local.demo_slide import Slider
from local.demo_trades import ACCOUNT, Trader
from local.issuer import ALL_SCOPES
from local.processes import write_atomically
from local.services import CloudError
from local.settings import Settings, SettingsError, from_environment

T = TypeVar("T")

OWNER = "demo"
DEFAULTS = {"PORTFOLIO_MARKET_PROVIDER": "replay", "PORTFOLIO_MARKET_UPDATE_INTERVAL_SECONDS": "1"}
# How long the end waits until every account was seen in a version that REST has answered too.
SETTLE_S = 20.0
# How late a tick of a running feed may be.
_FEED_LATE_S = 4.0
# Until the first figures of every account are there: each function starts for the first time, on a busy machine slowly.
_FIRST_S = 60.0
_FRAME_S = 0.2
_LINE_EVERY_S = 3.0
_SECONDS = "DEMO_SECONDS"


class DemoError(RuntimeError):
    """The demo cannot go on; says what failed."""


@dataclass
class Session:
    """One run: what it talks to and what it knows so far."""

    rest: Rest
    feed: Feed
    board: Board
    calendar: Calendar
    place: demo_view.Place
    trader: Trader
    slider: Slider
    fetched: dict[str, dict[int, State]] = field(default_factory=dict)

    def take(self, timeout_s: float) -> None:
        """Wait for an event, and take in everything that is there by then."""
        try:
            self._take(self.feed.events.get(timeout=timeout_s))
            while True:
                self._take(self.feed.events.get_nowait())
        except queue.Empty:
            return

    def _take(self, event: Event) -> None:
        if isinstance(event, Opened):
            self.board.opened()
        elif isinstance(event, Arrived):
            self.feed.resubscribe(self.board.arrived(event.message, event.at_ms))
        else:
            self.board.lost(event.reason)

    def trade(self) -> None:
        """Let somebody trade at what the screen shows, and a leveraged account slide."""
        self.trader.trade(self.board.rows[ACCOUNT].state, _now_ms())
        self.slider.slide(_now_ms())

    def day(self) -> str | None:
        """The day of the sample that the account updated last is valued at."""
        newest = max(self.board.rows.values(), key=lambda row: row.updated_at_ms or 0)
        return self.calendar.day_of(newest.state.get("positions", ()))


def main() -> int:
    """Run the demo as the environment asks; 0 if everything arrived and was right."""
    try:
        seconds = demo_seconds(os.environ)
        settings = from_environment()
        settings = replace(settings, portfolio=DEFAULTS | dict(settings.portfolio))
        with _terminated_like_interrupted():
            return _run(settings, seconds)
    except CloudError as error:
        return _failed(error.report())
    except (SettingsError, DemoError, ApiError, DriftError) as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        return _failed("interrupted")


def demo_seconds(environment: Mapping[str, str]) -> float | None:
    """DEMO_SECONDS, None if it is not set; ``SettingsError`` unless it is a positive number."""
    text = environment.get(_SECONDS, "")
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise SettingsError(f"{_SECONDS}={text}: a positive number of seconds is expected")
    return seconds


def _run(settings: Settings, seconds: float | None) -> int:
    stays_up = cloud.read_outputs(settings) is not None and services.running(settings) is not None
    try:
        outputs = cloud.up(settings)
        session = _prepare(settings, outputs, stays_up=stays_up)
        problems = _watch(session, seconds)
    finally:
        if not stays_up:
            _step("stopping the cloud", lambda: cloud.down(settings))
    if stays_up:
        print("the cloud and its market feed keep running: `make up` ends the feed, `make down` everything")
    if problems:
        return _failed("\n  ".join(["not everything arrived as it should:", *problems]))
    print(f"demo: ok {totals_line(session.board)}")
    return 0


def _prepare(settings: Settings, outputs: Outputs, *, stays_up: bool) -> Session:
    rest = Rest(outputs.rest_url, outputs.token)
    sample = ReplayQuotes()
    calendar = Calendar(sample)
    _step(f"registering {len(sample.symbols)} stocks", lambda: register_instruments(rest, sample.symbols))
    _step("importing their daily closes", lambda: import_closes(rest, sample))
    _step(f"opening {len(ACCOUNTS)} sample accounts", lambda: open_accounts(rest, ACCOUNTS, sample))
    slider = Slider(rest)
    _step("opening a leveraged account", lambda: slider.open(_now_ms()))
    for line in demo_broker.drift(rest, f"http://{services.HOST}:{outputs.ports['kite']}"):
        print(line, flush=True)
    if settings.portfolio["PORTFOLIO_MARKET_PROVIDER"] != "none" and not _is_moving(rest, settings):
        _step("starting the market feed", lambda: _start_market(outputs))

    def connect() -> Socket:
        return Socket(outputs.ws_url, cloud.local_issuer(settings).token(OWNER, ALL_SCOPES))

    address = page_address(settings, outputs)
    place = demo_view.Place(outputs.rest_url, outputs.ws_url, _header_file(settings, outputs), address, stays_up)
    feed = Feed(connect, [*(account.portfolio_id for account in ACCOUNTS), demo_slide.ACCOUNT])
    return Session(rest, feed, Board.of(ACCOUNTS, _now_ms()), calendar, place, Trader(rest), slider)


def page_address(settings: Settings, outputs: Outputs) -> str | None:
    """The page's address; None, having said why, where it cannot be built: all else works without it."""
    try:
        address = _step("building the page", lambda: page.up(settings, outputs))
    except page.PageError as error:
        print(error, flush=True)
        return None
    print(f"the same in a browser: {address}", flush=True)
    return address


def _header_file(settings: Settings, outputs: Outputs) -> str:
    """Write the file that gives curl the token, which then stands in no command line; the path to show."""
    path = settings.home / "auth-header"
    write_atomically(path, f"Authorization: Bearer {outputs.token}\n", mode=0o600)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _is_moving(rest: Rest, settings: Settings) -> bool:
    """Whether prices come in already: started twice, the feed would publish this minute's ticks twice."""
    as_of = rest.get(f"/api/v1/portfolio/{ACCOUNTS[0].portfolio_id}/state")["as_of"]
    interval_s = float(settings.portfolio["PORTFOLIO_MARKET_UPDATE_INTERVAL_SECONDS"])
    return as_of is not None and _now_ms() - epoch_ms(as_of) < (interval_s + _FEED_LATE_S) * 1000


def _start_market(outputs: Outputs) -> None:
    """Do not wait for the schedule, which goes on from the next minute."""
    client = outputs.aws("lambda", Config(proxies={}, retries={"total_max_attempts": 1}))
    try:
        answer = client.invoke(FunctionName=outputs.resources["MarketFeedFunctionName"], Payload=b'{"start": true}')
    except (BotoCoreError, ClientError) as fault:
        raise DemoError(f"the market feed could not be started: {fault}") from fault
    if answer.get("FunctionError"):
        raise DemoError(f"the market feed failed: {answer['Payload'].read().decode(errors='replace')}")


def _watch(session: Session, seconds: float | None) -> list[str]:
    """Show what happens until the time is over or Ctrl-C; what was wrong with it."""
    session.feed.start()
    try:
        _step("waiting for the first figures", lambda: _await_first(session))
        session.board.started_ms = _now_ms()
        _show(session, seconds)
        problems = (session.board.missing() or _checked(session)) + session.board.faults + session.trader.missing()
        problems += session.slider.missing(session.board.told, session.take, _now_ms)
    finally:
        session.feed.stop()
    print("\n".join(summary(session.board)))
    print(f"{demo_slide.NAME} was told: {', '.join(kind.replace('_', ' ') for kind in session.board.told)}")
    print(f"{len(session.trader.fill_ids)} trades of {ACCOUNT} were booked while prices moved")
    return problems


def _await_first(session: Session) -> None:
    """The view's seconds are for what moves. What has not come by the limit is named at the end."""
    deadline = time.monotonic() + _FIRST_S
    while session.board.missing() and time.monotonic() < deadline:
        session.take(0.1)


def _show(session: Session, seconds: float | None) -> None:
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    if sys.stdout.isatty():
        _show_live(session, deadline)
    else:
        _show_lines(session, deadline)


def _show_live(session: Session, deadline: float) -> None:
    console = Console()

    def frame() -> None:
        now_ms = _now_ms()
        live.update(demo_view.view(session.board, session.place, session.day(), now_ms, console.width), refresh=True)

    with suppress(KeyboardInterrupt), Live(console=console, screen=True, auto_refresh=False) as live:
        _each(session, deadline, _FRAME_S, frame)
    # The live screen is gone with its end: leave its last picture behind.
    console.print(demo_view.view(session.board, session.place, session.day(), _now_ms(), console.width))


def _show_lines(session: Session, deadline: float) -> None:
    def tell() -> None:
        print(demo_view.line(session.board, session.day(), _now_ms()), flush=True)

    with suppress(KeyboardInterrupt):
        _each(session, deadline, _LINE_EVERY_S, tell)
    tell()


def _each(session: Session, deadline: float, interval_s: float, show: Callable[[], None]) -> None:
    """Take events in as they come and show the result every ``interval_s``."""
    due = time.monotonic() + interval_s
    while (now := time.monotonic()) < deadline:
        if now >= due:
            show()
            due = now + interval_s
        session.trade()
        session.take(max(min(due, deadline) - time.monotonic(), 0.001))


def _checked(session: Session) -> list[str]:
    try:
        return _check(session)
    except ApiError as error:
        return [f"what the screen showed could not be checked: {error}"]


def _check(session: Session) -> list[str]:
    """Compare every account's screen with REST, at a version both have had, and each with itself."""
    pending = [name for name, row in session.board.rows.items() if row.snapshots]
    deadline = time.monotonic() + SETTLE_S
    found: list[str] = []
    while pending and time.monotonic() < deadline:
        for name in list(pending):
            state = session.rest.get(f"/api/v1/portfolio/{name}/state")
            session.fetched.setdefault(name, {})[state["version"]] = state
            session.take(0.01)
            shown = session.board.rows[name].shown
            both = shown.keys() & session.fetched[name].keys()
            if both:
                version = max(both)
                faults = differences(shown[version], session.fetched[name][version]) + mistakes(shown[version])
                found += [f"{name}, version {version}: {fault}" for fault in faults]
                pending.remove(name)
    return found + [f"{name}: no version that REST answered came on the screen" for name in pending]


def _step(title: str, work: Callable[[], T]) -> T:
    started = time.monotonic()
    print(f"{title} ...", end=" ", flush=True)
    try:
        result = work()
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"{time.monotonic() - started:.1f} s", flush=True)
    return result


def _failed(reason: str) -> int:
    print(f"demo: failed: {reason}", file=sys.stderr, flush=True)
    return 1


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM end the demo as Ctrl-C does: with the cloud stopped."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
