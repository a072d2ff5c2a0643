"""A demo as users start it, and a real browser that looks at its board.

The browser is the Chromium of the system; without one these tests are skipped, or with
KLINEHUB_REQUIRE_CHROMIUM set they fail.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from klinehub.bench.page import BROWSERS, browser_here

SYMBOLS: Final = 60
# An afternoon on which some of this market rises and some falls, whenever one looks at it.
AT: Final = "2026-03-05T12:01"
DEMO: Final = ("demo", "--symbols", str(SYMBOLS), "--speed", "10", "--seed", "7", "--at", AT, "--json")
# A first start compiles the kernels.
STARTS_WITHIN: Final = 120.0

Open = Callable[..., Page]


# A module at a time: while Playwright is open its loop runs in this thread, and no other test can have one.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Give the system's Chromium."""
    found = browser_here()
    if found is None:
        said = f"no browser: none of {', '.join(BROWSERS)} is installed"
        if os.environ.get("KLINEHUB_REQUIRE_CHROMIUM"):
            pytest.fail(f"KLINEHUB_REQUIRE_CHROMIUM is set, and there is {said}")
        pytest.skip(f"there is {said}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a demo's board: a process of its own, ready, at ten times market speed."""
    with started(DEMO, tmp_path_factory.mktemp("demo")) as address:
        yield address


@contextmanager
def started(command: Sequence[str], folder: Path) -> Iterator[str]:
    """Start a demo whose homes are in *folder*; gives the address of its board once it is ready."""
    homes = dict.fromkeys(("XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CACHE_HOME"), str(folder))
    ports = dict.fromkeys(("KLINEHUB_SERVE_PORT", "KLINEHUB_SERVE_WS_PORT"), "0")
    with (
        (folder / "said").open("wb") as said,
        subprocess.Popen(
            [sys.executable, "-m", "klinehub.app.cli", *command],
            stdout=subprocess.DEVNULL,
            stderr=said,
            env={**os.environ, **ports, **homes},
            cwd=folder,
        ) as process,
    ):
        try:
            yield ready(folder / "said", process)
        finally:
            process.terminate()
            process.communicate()


def ready(said: Path, process: "subprocess.Popen[bytes]") -> str:
    """Wait until a demo has warmed up; gives the address that it printed."""
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until and process.poll() is None:
        lines = [line for line in said.read_text("utf-8").splitlines() if line.startswith("board: ")]
        if lines and answers(lines[0].removeprefix("board: ")):
            return lines[0].removeprefix("board: ")
        time.sleep(0.1)
    pytest.fail(f"the demo did not start: {said.read_text('utf-8')}")


def answers(address: str) -> bool:
    try:
        with urlopen(f"{address}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    # One that is compiling may answer late, or not at all.
    except OSError:
        return False


@pytest.fixture
def look(chromium: Browser, demo: str) -> Iterator[Open]:
    """Open the board: `look("?tf=1h", width=360)` gives the page once it has rows, and its bar.

    Afterwards no page may have raised anything, logged an error, or asked another host.
    """
    contexts, wrong = [], list[str]()

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            wrong.append(message.text)

    def asked(request: Request) -> None:
        if not request.url.startswith((demo, "blob:")):
            wrong.append(request.url)

    def opened(
        query: str = "",
        *,
        width: int = 1440,
        height: int = 900,
        rows: bool = True,
        before: Callable[[Page], Any] | None = None,
        **more: Any,
    ) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": height}, locale="en-US", **more)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", heard)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", asked)
        if before:
            before(page)
        page.goto(f"{demo}/{query}")
        if rows:
            page.wait_for_selector(".rows .row:not([hidden])")
            page.wait_for_function("() => document.querySelector('.count').textContent")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []
