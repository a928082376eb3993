"""The page in Chromium: how soon it shows something, what it weighs, and its frames while everything on it moves.

Beside each the same browser with the same page and nothing moving. Frames come from ``requestAnimationFrame``, which a
browser with nothing to wait for calls 60 times a second.
"""

import gzip
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from playwright.sync_api import Browser, Page, Response, expect, sync_playwright

from benchmarks.measuring import Figure, Reference, Row, median, percentile
from benchmarks.page_feed import Feed, served
from local import browser, page

UPDATES_PER_SECOND = 60
WARM_UP_MS = 3_000
MEASURED_MS = 15_000
FIRST_VIEWS = 7
_PATIENCE_MS = 30_000
# A frame that takes longer than three turns of the screen is seen as a stutter.
LONG_FRAME_MS = 50

_COUNT_FRAMES = """(ms) => new Promise((resolve) => {
  const times = [], tasks = []
  new PerformanceObserver((list) => tasks.push(...list.getEntries().map((task) => task.duration)))
    .observe({type: 'longtask'})
  const started = performance.now()
  const frame = (now) => {
    times.push(now)
    if (now - started < ms) requestAnimationFrame(frame)
    else resolve({frames: times.slice(1).map((time, place) => time - times[place]), tasks})
  }
  requestAnimationFrame(frame)
})"""
_FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def measure() -> list[Row]:
    """Needs Node 20 and Chromium; raises ``PageError`` or ``BrowserError``."""
    folder = page.build()
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=browser.ensure(), args=list(browser.QUIET))
        try:
            moving, still = Feed(UPDATES_PER_SECOND), Feed(0)
            with served(folder, still) as address:
                first, paint, weight = _first_views(launched, address)
                idle = _frames(launched, address, still)
            with served(folder, moving) as address:
                busy = _frames(launched, address, moving)
        finally:
            launched.close()
    return [
        Row("page_first_view_ms", "the page, until the total shows", "ms", first, (_paint(paint),)),
        Row("page_gzipped_kb", "the page, compressed", "KB", _exactly(weight / 1000)),
        *_of_frames(busy, idle),
    ]


def _paint(paint: Figure) -> Reference:
    return Reference("page_first_paint_ms", "the first thing on the screen", paint)


def _first_views(launched: Browser, address: str) -> tuple[Figure, Figure, int]:
    """In windows without a cache: until the total is there, until anything is, and the bytes that came, compressed."""
    totals, paints, weight = [], [], 0
    for _ in range(FIRST_VIEWS):
        context = launched.new_context()
        window = context.new_page()
        sizes: list[int] = []
        window.on("response", partial(_weigh, sizes))
        started = time.perf_counter()
        window.goto(address, wait_until="commit")
        window.locator(".total dd").wait_for(timeout=_PATIENCE_MS)
        totals.append((time.perf_counter() - started) * 1000)
        window.wait_for_load_state("networkidle")
        paints.append(window.evaluate(_FIRST_PAINT))
        weight = sum(sizes)
        context.close()
    return median(totals), median(paints), weight


def _weigh(sizes: list[int], answer: Response) -> None:
    if "/api/" not in answer.url:
        sizes.append(len(gzip.compress(answer.body())))


def _frames(launched: Browser, address: str, feed: Feed) -> dict[str, Any]:
    """Lengths of frames and of long tasks, and how busy the page was; in the end the last update is shown."""
    window = launched.new_page(viewport={"width": 1280, "height": 860})
    window.goto(address)
    window.locator(".total dd").wait_for(timeout=_PATIENCE_MS)
    window.wait_for_timeout(WARM_UP_MS)
    session = window.context.new_cdp_session(window)
    session.send("Performance.enable")
    before = _busy_seconds(session.send)
    counted: dict[str, Any] = window.evaluate(_COUNT_FRAMES, MEASURED_MS)
    counted["busy"] = (_busy_seconds(session.send) - before) / (MEASURED_MS / 1000)
    feed.per_second = 0
    _shows_last(window, feed)
    window.close()
    return counted


def _shows_last(window: Page, feed: Feed) -> None:
    """Nothing was measured if the page had given up on the way."""
    window.wait_for_timeout(1_000)
    expect(window.locator(".total dd")).to_contain_text(f"{feed.sent:,}.00", timeout=_PATIENCE_MS)


def _busy_seconds(send: Callable[[str], dict[str, Any]]) -> float:
    metrics = {metric["name"]: metric["value"] for metric in send("Performance.getMetrics")["metrics"]}
    seconds: float = metrics["TaskDuration"]
    return seconds


def _of_frames(busy: dict[str, Any], idle: dict[str, Any]) -> list[Row]:
    what = f"the page at {UPDATES_PER_SECOND} updates/s of 20 positions"

    def row(key: str, name: str, unit: str, figure: Callable[[dict[str, Any]], Figure]) -> Row:
        beside = Reference(f"{key}_still", "with nothing moving", figure(idle))
        return Row(key, f"{what}, {name}", unit, figure(busy), (beside,))

    return [
        row("page_frame_ms", "a frame", "ms", lambda of: median(of["frames"])),
        row("page_frame_p99_ms", "a frame, p99", "ms", lambda of: _p99(of["frames"])),
        Row("page_long_frames_percent", f"{what}, frames over {LONG_FRAME_MS} ms", "%", _exactly(_long_percent(busy))),
        row("page_busy_percent", "of a processor", "%", lambda of: _exactly(100 * of["busy"])),
    ]


def _long_percent(counted: dict[str, Any]) -> float:
    frames: list[float] = counted["frames"]
    return 100 * sum(frame > LONG_FRAME_MS for frame in frames) / len(frames)


def _p99(frames: list[float]) -> Figure:
    return Figure(percentile(frames, 99), min(frames), max(frames))


def _exactly(value: float) -> Figure:
    return Figure(value, value, value)
