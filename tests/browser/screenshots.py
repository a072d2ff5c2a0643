"""The pictures of docs/images, taken of a demo's board: `python -m tests.browser.screenshots docs/images`.

It is the whole simulated market at ten times market speed, looked at when something has happened.
"""

import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from playwright.sync_api import Browser, Page, sync_playwright
from tests.browser.conftest import started

from klinehub.bench.page import browser_here

DEMO: Final = ("demo", "--speed", "10", "--seed", "7", "--at", "2026-03-05T12:07:00Z", "--json")
RULE: Final = '[rules.surge]\nwhere = "volume_surge > 1.2"\ntimeframe = "1m"\n'
# Real seconds until rules have fired, and until a page is calm.
HAPPENING: Final = 45.0
CALM: Final = 4.0


class Shot(NamedTuple):
    """A picture: its name, the address, the size, the colours, and what is clicked before."""

    name: str
    query: str
    width: int = 1440
    height: int = 900
    scheme: str = "dark"
    click: str = ""


SHOTS: Final = (
    Shot("board-dark", "/"),
    Shot("board-light", "/?where=rsi < 40 and adx > 20", scheme="light"),
    Shot("board-chinese", "/?lang=zh"),
    Shot("phone", "/", width=360, height=780),
    Shot("symbol", "/?view=symbol&symbol=BTCUSDT&cols=rsi,adx,volume_surge"),
    Shot("map", "/?view=map"),
    Shot("alerts", "/", click=".bell button"),
)


def taken(browser: Browser, address: str, shot: Shot, folder: Path) -> None:
    """Take one picture."""
    size = {"width": shot.width, "height": shot.height}
    context = browser.new_context(viewport=size, color_scheme=shot.scheme)  # type: ignore[arg-type] # plain texts
    page: Page = context.new_page()
    page.goto(address + shot.query)
    page.wait_for_timeout(CALM * 1000)
    if shot.click:
        page.locator(shot.click).first.click()
        page.wait_for_timeout(CALM * 250)
    page.screenshot(path=folder / f"{shot.name}.png")
    context.close()


def main() -> None:
    """Start a demo and take all of them."""
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, sync_playwright() as play:
        (Path(home) / "klinehub.toml").write_text(RULE, "utf-8")
        with started(DEMO, Path(home)) as address:
            browser = play.chromium.launch(executable_path=browser_here(), args=["--no-sandbox"])
            browser.new_page().wait_for_timeout(HAPPENING * 1000)
            for shot in SHOTS:
                taken(browser, address, shot, folder)
            browser.close()


if __name__ == "__main__":
    main()
