"""The page in a real browser on the deployed stack. Does not find: how it looks; what other browsers make of it."""

from __future__ import annotations

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

from foliostream_client.transport import Rest
from local import browser, page
from local.environments import ROOT
from tests.e2e.conftest import Cloud, Holder, eventually, post_price

PATIENCE_MS = 30_000
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
class Window:
    """A window of the page, with everything it complained about."""

    page: Page
    address: str
    faults: list[str] = field(default_factory=list)

    def sign_in(self, token: str) -> None:
        self.page.goto(f"{self.address}#token={token}")
        expect(self.page.get_by_role("navigation", name="Portfolios")).to_be_visible(timeout=PATIENCE_MS)

    def is_live(self) -> None:
        expect(self.page.get_by_role("status").get_by_text("live", exact=True)).to_be_visible(timeout=PATIENCE_MS)

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
    for context in contexts:
        context.close()
    assert [fault for window in windows for fault in window.faults] == []


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


def test_a_lost_connection_is_shown_and_comes_back_with_what_was_missed(
    open_window: Callable[..., Window], stack: Cloud, owner: Holder, admin: Rest, symbol: str
) -> None:
    opened: list[WebSocketRoute] = []
    window = open_window()

    def through(route: WebSocketRoute) -> None:
        opened.append(route)
        route.connect_to_server()

    window.page.route_web_socket(re.compile("ticket="), through)
    window.sign_in(stack.token(owner.name))
    expect(window.total).to_contain_text("9,998.50", timeout=PATIENCE_MS)
    window.page.route("**/api/v1/ws-ticket", lambda route: route.abort())
    opened[0].close(code=1001, reason="the line is cut")
    expect(window.page.get_by_text("not connected")).to_be_visible(timeout=PATIENCE_MS)
    post_price(admin, symbol, "102.50")
    window.page.unroute("**/api/v1/ws-ticket")
    window.page.get_by_role("button", name="now", exact=True).click()
    window.is_live()
    expect(window.total).to_contain_text("10,023.50", timeout=PATIENCE_MS)
    # The browser tells of each try that was cut off above; that is what was asked for.
    window.faults[:] = [fault for fault in window.faults if "ERR_FAILED" not in fault]


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
    window.faults[:] = [fault for fault in window.faults if "401" not in fault and "403" not in fault]


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


def test_operators_figures_need_the_scope(window: Window) -> None:
    window.page.get_by_role("button", name="Operations").click()
    expect(window.page.get_by_role("alert")).to_contain_text("scope admin", timeout=PATIENCE_MS)
    window.faults[:] = [fault for fault in window.faults if "403" not in fault]


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
    import gzip

    return len(gzip.compress(body))


def _violations(opened: Page) -> list[str]:
    # Evaluated by the debugger, which the page's own policy does not bind.
    opened.evaluate(Path(AXE).read_text())
    found = opened.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']})")
    return [f"{rule['id']}: {[node['html'][:120] for node in rule['nodes']]}" for rule in found["violations"]]
