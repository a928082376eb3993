"""`make pictures`: the README's pictures of the page, taken of a running demo (`make demo` in another terminal)."""

import sys
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from local import browser, cloud, page
from local.browser import BrowserError
from local.environments import ROOT
from local.page import PageError
from local.settings import from_environment

FOLDER = ROOT / "docs" / "images"
GROWTH, LEVERAGED = "Growth", "Leveraged gold"
# Until the line of values has a shape.
WATCHED_MS = 45_000
_PATIENCE_MS = 60_000
SCALE = 2
DESKTOP, PHONE = (1200, 760), (390, 760)


@dataclass(frozen=True)
class Picture:
    """One of them: what is looked at, how wide the window is, in which colours."""

    name: str
    portfolio: str
    size: tuple[int, int]
    scheme: str


PICTURES = (
    Picture("page-light", GROWTH, DESKTOP, "light"),
    Picture("page-dark", LEVERAGED, DESKTOP, "dark"),
    Picture("page-phone", GROWTH, PHONE, "light"),
)


def main() -> int:
    """Take them all side by side; 0 if they are there."""
    settings = from_environment()
    outputs = cloud.read_outputs(settings)
    if not outputs:
        print("not running: `make demo` in another terminal first", file=sys.stderr)
        return 1
    try:
        take(page.up(settings, outputs))
    except (PageError, BrowserError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def take(address: str) -> None:
    """Open a window for each, wait once, and keep what they show."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=browser.ensure(), args=list(browser.QUIET))
        windows = [(picture, _open(launched.new_page, picture, address)) for picture in PICTURES]
        windows[0][1].wait_for_timeout(WATCHED_MS)
        for picture, window in windows:
            file = FOLDER / f"{picture.name}.png"
            window.screenshot(path=file, scale="css")
            print(f"{_shown(file)}  {file.stat().st_size:,} bytes")
        launched.close()


def _open(new_page: object, picture: Picture, address: str) -> Page:
    width, height = picture.size
    window: Page = new_page(viewport={"width": width, "height": height}, color_scheme=picture.scheme)  # type: ignore[operator]
    window.goto(address)
    window.get_by_role("button", name=picture.portfolio).click(timeout=_PATIENCE_MS)
    return window


def _shown(file: Path) -> str:
    return str(file.relative_to(ROOT))


if __name__ == "__main__":
    sys.exit(main())
