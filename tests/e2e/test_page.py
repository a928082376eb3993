"""The page in a real browser on the deployed stack. Does not find: how it looks; what other browsers make of it."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    WebSocketRoute,
    expect,
    sync_playwright,
)

from foliostream.domain.analysis_task import METRIC_NAMES
from foliostream.queues import SHOWN
from foliostream_client.transport import Rest
from local import browser, page, page_upload
from local.environments import ROOT
from tests.e2e.conftest import Cloud, Holder, eventually, now_ms, post_price
from tests.e2e.test_margin_events import Slide

PATIENCE_MS = 30_000
# Also of what comes with another thing that was waited for, or right behind it.
expect.set_options(timeout=PATIENCE_MS)
AXE = ROOT / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
# What the page may weigh, compressed: its files as they are sent.
MAX_GZIPPED_BYTES = 200_000


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=browser.ensure(), args=list(browser.QUIET))
        yield launched
        launched.close()


@dataclass
class Line:
    """The page's WebSocket with the test in the middle: what came, and a way to keep something back or slip it in.

    ``kept_back`` takes the messages of this type that are to be lost, so many as it says."""

    came: list[dict[str, Any]] = field(default_factory=list)
    kept_back: dict[str, int] = field(default_factory=dict)
    routes: list[WebSocketRoute] = field(default_factory=list)

    def open(self, route: WebSocketRoute) -> None:
        self.routes.append(route)
        server = route.connect_to_server()
        server.on_message(lambda message: self._pass_on(route, str(message)))

    def slip_in(self, message: dict[str, Any]) -> None:
        self.routes[-1].send(json.dumps(message))

    def cut(self) -> None:
        self.routes[-1].close(code=1001, reason="the line is cut")

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.came if message["type"] == kind]

    def _pass_on(self, route: WebSocketRoute, text: str) -> None:
        message = json.loads(text)
        self.came.append(message)
        if self.kept_back.get(message["type"], 0) > 0:
            self.kept_back[message["type"]] -= 1
        else:
            route.send(text)


@dataclass
class Window:
    """A window of the page, with everything it complained about."""

    page: Page
    address: str
    faults: list[str] = field(default_factory=list)

    def sign_in(self, token: str) -> None:
        self.page.goto(f"{self.address}#token={token}")
        expect(self.page.get_by_role("navigation", name="Portfolios")).to_be_visible(timeout=PATIENCE_MS)

    def is_live(self) -> None:
        # Also after a gap that was filled, which is told beside it.
        live = self.page.get_by_role("status").filter(has_text=re.compile(r"^live\b"))
        expect(live).to_be_visible(timeout=PATIENCE_MS)

    def intercept(self) -> Line:
        line = Line()
        self.page.route_web_socket(re.compile("ticket="), line.open)
        return line

    def forget(self, *words: str) -> None:
        """Complaints of the browser about what the test did on purpose."""
        self.faults[:] = [fault for fault in self.faults if not any(word in fault for word in words)]

    @property
    def total(self) -> Any:  # noqa: ANN401 (a locator, whatever the version names it)
        return self.page.locator(".total dd")


@pytest.fixture
def address(stack: Cloud) -> str:
    if stack.settings.portfolio["PORTFOLIO_HOT_STORE"] != "valkey":
        pytest.skip("the page is the same above either store")
    return page.up(stack.settings, stack.outputs).partition("in/")[0]


@pytest.fixture
def open_window(chromium: Browser, address: str) -> Iterator[Callable[..., Window]]:
    contexts: list[BrowserContext] = []
    windows: list[Window] = []

    def make(**options: Any) -> Window:  # noqa: ANN401 (the browser's own options)
        context = chromium.new_context(**options)
        contexts.append(context)
        window = Window(context.new_page(), address)
        windows.append(window)
        window.page.on("console", lambda message: _note(window, message))
        window.page.on("pageerror", lambda error: window.faults.append(str(error)))
        return window

    yield make
    tails = [tail for window in windows for tail in _float_tails(window.page)]
    for context in contexts:
        context.close()
    assert [fault for window in windows for fault in window.faults] == []
    assert tails == []


def _float_tails(opened: Page) -> list[str]:
    """Numbers as only binary floats have them; a portfolio's id may look like one."""
    return re.findall(r"(?<![\w-])\d+\.\d{7,}(?![\w-])", opened.inner_text("body"))


def _note(window: Window, message: ConsoleMessage) -> None:
    if message.type in {"error", "warning"}:
        window.faults.append(message.text)


@pytest.fixture
def owner(holder: Callable[[str], Holder], admin: Rest, symbol: str) -> Holder:
    post_price(admin, symbol, 100)
    return holder("live")


@pytest.fixture
def window(open_window: Callable[..., Window], stack: Cloud, owner: Holder) -> Window:
    opened = open_window()
    opened.sign_in(stack.token(owner.name))
    opened.is_live()
    return opened


def test_a_price_moves_the_total_without_a_reload(window: Window, admin: Rest, symbol: str) -> None:
    expect(window.total).to_contain_text("9,998.50", timeout=PATIENCE_MS)
    post_price(admin, symbol, "101.25")
    expect(window.total).to_contain_text("10,011.00", timeout=PATIENCE_MS)
    expect(window.page.get_by_role("row", name=re.compile(symbol))).to_contain_text("1,012.50")
    expect(window.page.get_by_role("button", name="End to end")).to_contain_text("10,011.00 USD")


def test_an_old_price_is_marked(
    open_window: Callable[..., Window], stack: Cloud, admin: Rest, symbol: str, holder: Callable[[str], Holder]
) -> None:
    admin.put(f"/api/v1/instruments/{symbol}", {"kind": "stock", "currency": "USD", "max_age_seconds": 1})
    post_price(admin, symbol, 100)
    somebody = holder("live")
    eventually(somebody.state, lambda state: state["stale"] == [symbol], "the price is old")
    window = open_window()
    window.sign_in(stack.token(somebody.name))
    expect(window.page.get_by_role("row", name=re.compile(symbol))).to_contain_text("stale", timeout=PATIENCE_MS)
    expect(window.page.get_by_text(f"Old prices: {symbol}")).to_be_visible()


def test_what_never_had_a_price_is_marked_and_there_is_no_total(
    open_window: Callable[..., Window], stack: Cloud, symbol: str, holder: Callable[[str], Holder]
) -> None:
    somebody = holder("live")
    window = open_window()
    window.sign_in(stack.token(somebody.name))
    expect(window.page.get_by_role("row", name=re.compile(symbol))).to_contain_text("no price", timeout=PATIENCE_MS)
    expect(window.page.get_by_text(f"Without a price: {symbol}")).to_be_visible()
    expect(window.total).to_have_text("\N{EN DASH} USD")
    expect(window.page.get_by_role("button", name="End to end")).to_contain_text("unpriced")


def test_a_margin_call_moves_the_gauge_and_is_told(
    open_window: Callable[..., Window], stack: Cloud, admin: Rest
) -> None:
    slide = Slide(stack, admin)
    window = open_window()
    window.sign_in(stack.token(slide.name))
    gauge = window.page.get_by_role("meter", name="Margin level in percent")
    expect(gauge).to_have_attribute("aria-valuetext", "200.00 %", timeout=PATIENCE_MS)
    expect(window.page.get_by_text("Stop out at 50 %, margin call at 100 %")).to_be_visible()
    slide.moves("94.5", "call")
    expect(gauge).to_have_attribute("aria-valuetext", "95.24 %", timeout=PATIENCE_MS)
    expect(window.page.get_by_role("heading", name="Margin margin call")).to_be_visible()
    events = window.page.get_by_role("region", name="Fills and events")
    expect(events.get_by_role("listitem").first).to_contain_text("Margin call", timeout=PATIENCE_MS)
    expect(events.get_by_role("listitem").first).to_contain_text("level 95.24 %, equity 450.00, used 472.50")
    expect(window.page.get_by_role("button", name="Leveraged")).to_contain_text("margin call")
    assert _violations(window.page) == []
    slide.moves("100", "ok")
    expect(events.get_by_role("listitem").first).to_contain_text("Margin restored", timeout=PATIENCE_MS)


def test_a_fill_is_told(window: Window, owner: Holder, admin: Rest, symbol: str) -> None:
    expect(window.total).to_contain_text("9,998.50", timeout=PATIENCE_MS)
    sale = {"fill_id": f"{symbol}-1", "portfolio_id": owner.portfolio_id, "instrument_id": symbol, "side": "SELL"}
    admin.post("/api/v1/fills", sale | {"quantity": 4, "fill_price": "101.5", "timestamp": now_ms()})
    events = window.page.get_by_role("region", name="Fills and events")
    told = f"sold 4 {symbol} at 101.50 USD, realized"
    expect(events.get_by_role("listitem")).to_contain_text(told, timeout=PATIENCE_MS)
    expect(window.page.get_by_role("row", name=re.compile(symbol)).get_by_role("cell").first).to_have_text("6")


def test_a_switch_of_tickers_leaves_nothing_of_the_old_one(
    open_window: Callable[..., Window], stack: Cloud, invested: Holder, symbol: str, other_symbol: str
) -> None:
    window = open_window()
    line = window.intercept()
    window.sign_in(stack.token(invested.name))
    panel = window.page.get_by_role("region", name="Analysis")
    _analyze(window, symbol)
    # A quick run is complete before anybody has looked.
    expect(panel.get_by_text(re.compile(f"{symbol}: (running|complete)"))).to_be_visible(timeout=PATIENCE_MS)
    old = line.of("analysis_started")[0]["run_id"]
    _watch_panel(window.page)
    _analyze(window, other_symbol)
    expect(panel.get_by_text(re.compile(f"{other_symbol}: (running|complete)"))).to_be_visible(timeout=PATIENCE_MS)
    # Late ones, as a line that was slow would bring them.
    for metric in METRIC_NAMES:
        line.slip_in({"type": "analysis_result", "run_id": old, "metric": metric, "value": 98765.4321})
    line.slip_in({"type": "analysis_completed", "run_id": old, "ticker": symbol})
    expect(panel.get_by_text(f"{other_symbol}: complete")).to_be_visible(timeout=PATIENCE_MS)
    shown = window.page.evaluate("window.shownTexts")
    assert not any("98,765" in text for text in shown)
    begun = re.compile(f"{other_symbol}: (running|complete)")
    first = next(place for place, text in enumerate(shown) if begun.search(text))
    assert not any(f"{symbol}:" in text for text in shown[first:])
    mine = line.of("analysis_started")[-1]["run_id"]
    results = {one["metric"] for one in line.of("analysis_result") if one["run_id"] == mine}
    assert results == set(METRIC_NAMES)


def _analyze(window: Window, ticker: str) -> None:
    window.page.get_by_label("Instrument").select_option(ticker)
    window.page.get_by_role("button", name="Analyze").click()


def _watch_panel(opened: Page) -> None:
    """Keep every text that the panel shows from now on, however short."""
    opened.evaluate(
        """() => {
          const panel = document.querySelector('[aria-labelledby=analysis]')
          window.shownTexts = []
          new MutationObserver(() => window.shownTexts.push(panel.innerText)).observe(
            panel, {subtree: true, childList: true, characterData: true})
        }"""
    )


def test_an_update_that_got_lost_is_noticed_and_made_up_for(
    open_window: Callable[..., Window], stack: Cloud, owner: Holder, admin: Rest, symbol: str
) -> None:
    window = open_window()
    line = window.intercept()
    window.sign_in(stack.token(owner.name))
    expect(window.total).to_contain_text("9,998.50", timeout=PATIENCE_MS)
    before = len(line.of("portfolio_update"))
    line.kept_back["portfolio_update"] = 1
    post_price(admin, symbol, "101")
    _pump(window.page, lambda: len(line.of("portfolio_update")) > before, "an update that is kept back")
    post_price(admin, symbol, "102")
    expect(window.total).to_contain_text("10,018.50", timeout=PATIENCE_MS)
    expect(window.page.get_by_text(re.compile(r"[1-9]\d* resynced"))).to_be_visible()


def _pump(opened: Page, holds: Callable[[], bool], what: str) -> None:
    """Let the browser's messages come to the test until it holds: they do so only while it waits in the browser."""

    def holds_here() -> bool:
        opened.wait_for_timeout(20)
        return holds()

    eventually(holds_here, bool, what)


def test_a_lost_connection_is_shown_and_comes_back_with_what_was_missed(
    open_window: Callable[..., Window], stack: Cloud, owner: Holder, admin: Rest, symbol: str
) -> None:
    window = open_window()
    window.page.add_init_script(CUT_OFF)
    line = window.intercept()
    window.sign_in(stack.token(owner.name))
    expect(window.total).to_contain_text("9,998.50", timeout=PATIENCE_MS)
    window.page.evaluate("window.isCutOff = true")
    line.cut()
    expect(window.page.get_by_text("not connected")).to_be_visible(timeout=PATIENCE_MS)
    post_price(admin, symbol, "102.50")
    # In one step: otherwise a try of the page's own may come first, and the button is gone.
    _pump(window.page, lambda: bool(window.page.evaluate(RECONNECT)), "the button for another try")
    window.is_live()
    expect(window.total).to_contain_text("10,023.50", timeout=PATIENCE_MS)


CUT_OFF = """
  const real = window.fetch
  window.fetch = (asked, ...more) =>
    window.isCutOff && String(asked.url ?? asked).includes('ws-ticket')
      ? Promise.reject(new TypeError('cut off'))
      : real(asked, ...more)
"""
RECONNECT = """() => {
  const button = [...document.querySelectorAll('button')].find((one) => one.textContent.trim() === 'now')
  if (!button) return false
  window.isCutOff = false
  button.click()
  return true
}"""


def test_nobody_sees_a_foreign_portfolio(open_window: Callable[..., Window], stack: Cloud, owner: Holder) -> None:
    window = open_window()
    window.page.goto(f"{window.address}#portfolio={owner.portfolio_id}&token={stack.token('somebody-else')}")
    expect(window.page.get_by_text("No portfolios yet")).to_be_visible(timeout=PATIENCE_MS)
    assert owner.portfolio_id not in window.page.content()


def test_a_refused_token_says_so_and_keeps_nothing(open_window: Callable[..., Window]) -> None:
    window = open_window()
    window.page.goto(window.address)
    window.page.get_by_label("Access token").fill("not-a-token")
    window.page.get_by_role("button", name="Sign in").click()
    expect(window.page.get_by_role("alert")).not_to_be_empty(timeout=PATIENCE_MS)
    assert window.page.evaluate("sessionStorage.length") == 0
    window.forget("401", "403")


def test_a_ticket_shows_the_portfolios_that_are_named_over_one_connection(
    open_window: Callable[..., Window], owner: Holder, admin: Rest, symbol: str
) -> None:
    window = open_window()
    ticket = owner.rest.post("/api/v1/ws-ticket", {})["ticket"]
    window.page.goto(f"{window.address}#ticket={ticket}&portfolio={owner.portfolio_id}")
    expect(window.total).to_contain_text("9,998.50", timeout=PATIENCE_MS)
    assert "ticket" not in window.page.url
    post_price(admin, symbol, "101.25")
    expect(window.total).to_contain_text("10,011.00", timeout=PATIENCE_MS)
    expect(window.page.get_by_role("button", name="End to end")).to_be_visible()
    expect(window.page.get_by_role("button", name="Operations")).to_have_count(0)


def test_a_ticket_is_good_once(open_window: Callable[..., Window], owner: Holder) -> None:
    first, second = open_window(), open_window()
    for window in (first, second):
        window.page.goto(window.address)
        window.page.get_by_label("Ticket", exact=True).check()
        window.page.get_by_label("Portfolio ids").fill(owner.portfolio_id)
    # As late as possible: it is good for 30 seconds.
    ticket = owner.rest.post("/api/v1/ws-ticket", {})["ticket"]
    for window in (first, second):
        window.page.get_by_label("Ticket for one connection").fill(ticket)
        window.page.get_by_role("button", name="Sign in").click()
        if window is first:
            expect(window.total).to_contain_text("9,998.50", timeout=PATIENCE_MS)
    expect(second.page.get_by_role("alert")).to_contain_text("Another one is needed", timeout=PATIENCE_MS)
    second.forget("WebSocket")


def test_the_token_leaves_the_address_and_signing_out_forgets_it(window: Window) -> None:
    assert "token" not in window.page.url
    window.page.get_by_role("button", name="Sign out").click()
    expect(window.page.get_by_label("Access token")).to_be_visible()
    assert window.page.evaluate("sessionStorage.length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_has_no_fault_that_axe_finds(
    open_window: Callable[..., Window], stack: Cloud, owner: Holder, scheme: str
) -> None:
    window = open_window(color_scheme=scheme)
    window.sign_in(stack.token(owner.name, ("admin",)))
    expect(window.total).to_contain_text("9,998.50", timeout=PATIENCE_MS)
    assert _violations(window.page) == []
    window.page.get_by_role("button", name="Operations").click()
    expect(window.page.get_by_role("heading", name="System")).to_be_visible(timeout=PATIENCE_MS)
    assert _violations(window.page) == []


def test_the_page_fits_a_phone(open_window: Callable[..., Window], stack: Cloud, owner: Holder) -> None:
    window = open_window(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    window.sign_in(stack.token(owner.name))
    expect(window.total).to_contain_text("9,998.50", timeout=PATIENCE_MS)
    assert window.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_page_is_used_by_keyboard_alone(window: Window) -> None:
    expect(window.total).to_contain_text("9,998.50", timeout=PATIENCE_MS)
    reached = set()
    for _ in range(30):
        window.page.keyboard.press("Tab")
        reached.add(window.page.evaluate("document.activeElement.textContent.slice(0, 20)"))
    assert {"Operations", "Sign out", "Analyze", "Refresh"} <= reached
    window.page.get_by_role("button", name="To the figures").focus()
    window.page.keyboard.press("Enter")
    assert window.page.evaluate("document.activeElement.tagName") == "MAIN"
    window.page.keyboard.press("Tab")
    expect(window.page.get_by_role("button", name="Refresh")).to_be_focused()


def test_operators_figures_need_the_scope(window: Window) -> None:
    window.page.get_by_role("button", name="Operations").click()
    expect(window.page.get_by_role("alert")).to_contain_text("scope admin", timeout=PATIENCE_MS)
    window.forget("403")


@pytest.mark.usefixtures("owner")
def test_operators_see_freshness_dead_letters_and_which_alarms_are_raised(
    open_window: Callable[..., Window], stack: Cloud, admin: Rest, symbol: str
) -> None:
    cloudwatch = stack.aws("cloudwatch")
    [alarm] = cloudwatch.describe_alarms(AlarmNamePrefix=f"{stack.outputs.stack_name}-SweepMissingAlarm")[
        "MetricAlarms"
    ]
    cloudwatch.set_alarm_state(AlarmName=alarm["AlarmName"], StateValue="ALARM", StateReason="a test raised it")
    try:
        window = open_window()
        window.sign_in(stack.token("operator", ("admin",)))
        window.page.get_by_role("button", name="Operations").click()
        alarms = window.page.get_by_role("region", name="Alarms")
        expect(alarms.get_by_role("listitem")).to_contain_text("Sweep Missing", timeout=PATIENCE_MS)
        expect(alarms.get_by_role("listitem")).to_contain_text("Runbook: docs/operations.md")
        post_price(admin, symbol, 101)
        live = window.page.get_by_role("region", name="Freshness").get_by_role("row", name=re.compile("^live"))
        expect(live).to_contain_text(re.compile(r"\d+ ms"), timeout=PATIENCE_MS)
        expect(window.page.get_by_role("heading", name="Dead letters")).to_be_visible()
        expect(window.page.get_by_role("region", name="Queues").get_by_role("row")).to_have_count(1 + len(SHOWN))
        assert _violations(window.page) == []
    finally:
        cloudwatch.set_alarm_state(AlarmName=alarm["AlarmName"], StateValue="OK", StateReason="the test is over")


def test_the_page_runs_its_own_scripts_only(window: Window) -> None:
    ran = window.page.evaluate(
        """() => {
          const script = document.createElement('script')
          script.textContent = 'window.ranInline = true'
          document.head.append(script)
          document.body.insertAdjacentHTML('beforeend', '<b style="color: red" onclick="window.ranInline = true">x</b>')
          document.body.lastElementChild.click()
          return [window.ranInline ?? false, getComputedStyle(document.body.lastElementChild).color]
        }"""
    )
    assert ran[0] is False
    assert ran[1] != "rgb(255, 0, 0)"
    assert len([fault for fault in window.faults if "Content Security Policy" in fault]) == 3
    window.forget("Content Security Policy")


def test_the_build_goes_where_the_stacks_distribution_serves_it(
    stack: Cloud, address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert address
    monkeypatch.setenv("AWS_ENDPOINT_URL", stack.outputs.aws_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", stack.outputs.aws_access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", stack.outputs.aws_secret_access_key)
    assert page_upload.main("local") == 0
    resources = stack.outputs.resources
    assert resources["PageUrl"] in capsys.readouterr().out
    listed = stack.aws("s3").list_objects_v2(Bucket=resources["PageBucketName"])["Contents"]
    assert {"index.html", "config.json", "icon.svg"} < {item["Key"] for item in listed}
    [distribution] = stack.aws("cloudfront").list_distributions()["DistributionList"]["Items"]
    origins = {origin["Id"]: origin for origin in distribution["Origins"]["Items"]}
    assert origins["page"]["DomainName"].startswith(resources["PageBucketName"])
    assert origins["api"]["DomainName"].partition(".")[0] in stack.outputs.rest_url


def test_the_page_is_light(chromium: Browser, address: str) -> None:
    context = chromium.new_context()
    sizes: list[int] = []
    opened = context.new_page()
    opened.on("response", lambda answer: sizes.append(_gzipped(answer.body())))
    opened.goto(address)
    opened.wait_for_load_state("networkidle")
    context.close()
    assert 0 < sum(sizes) < MAX_GZIPPED_BYTES


def _gzipped(body: bytes) -> int:
    return len(gzip.compress(body))


def _violations(opened: Page) -> list[str]:
    # Evaluated by the debugger, which the page's own policy does not bind.
    opened.evaluate(Path(AXE).read_text())
    found = opened.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']})")
    return [f"{rule['id']}: {[node['html'][:120] for node in rule['nodes']]}" for rule in found["violations"]]
