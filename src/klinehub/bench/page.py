"""`page`: the board in a real browser, on a hub of 550 symbols: how soon it shows, what updates cost.

1. Exchange, served hub and browser are processes of their own; market time runs ten times as fast as real
   time, so that a 1m bar of the whole market closes every six seconds; prices come as often as they ever do.
2. The page is opened once to warm the server, then anew in an empty browser: the time from the navigation to
   the first row with values in it is the first meaningful paint.
3. What the page does with each message is timed in it, its own work and the frame that it asks for; what the
   browser spends on style, layout and paint besides comes from its own counters.
4. The heap is read after a garbage collection now and then, over as many closes as are asked for.
"""

import time
from shutil import which
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from klinehub.bench.catalogue import Measurement, rounded
from klinehub.bench.host import Hosted, Task
from klinehub.bench.neighbour import Neighbour
from klinehub.bench.process import Process
from klinehub.errors import DefinitionError, FeedError

if TYPE_CHECKING:
    from playwright.sync_api import CDPSession, Page

GOALS: Final = {"first_paint_s": 1.5, "update_ms": 50, "heap_growth": 0, "page_kb": 400}
RATE: Final = 10.0
# Closes to look at, unless said otherwise: two minutes. 300 are half an hour.
CLOSES: Final = 20
SECONDS_PER_CLOSE: Final = 60 / RATE
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
COLUMNS: Final = (
    *("price", "change", "day", "turnover24h", "spark", "score", "why"),
    *(
        "rsi",
        "rsi_1h",
        "adx",
        "trend",
        "trend_1h",
        "momentum",
        "macd",
        "donchian",
        "volume_surge",
        "volume_z",
    ),
    *("atr_percent", "bollinger_b", "bollinger_width", "stochastic_k", "roc", "relative_strength"),
    *("taker_ratio", "trade_size", "zscore(volume_surge)", "rank(rsi)"),
)
LONGEST: Final = 60.0
VIEWPORT: Final[Any] = {"width": 1440, "height": 900}
# Times what the page does with each message by its type, until the frame after it is drawn.
_TIMING: Final = """
window.taken = {};
const add = (kind, ms) => (window.taken[kind] ??= []).push(ms);
let spent = 0, kinds = new Set();
const timed = (work) => function (...given) {
  const begun = performance.now();
  try { return work.apply(this, given); } finally { spent += performance.now() - begun; }
};
const frames = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = (work) => frames(timed(work));
const settle = () => setTimeout(() => {
  for (const kind of kinds) add(kind, spent);
  spent = 0; kinds = new Set();
}, 0);
const heard = (work) => {
  const run = timed(work);
  return function (event) {
    const kind = typeof event.data === "string" ? event.data.slice(9, event.data.indexOf('"', 9)) : "";
    if (!kinds.size) { spent = 0; frames(settle); }
    kinds.add(kind);
    return run.call(this, event);
  };
};
const told = Object.getOwnPropertyDescriptor(WebSocket.prototype, "onmessage");
Object.defineProperty(WebSocket.prototype, "onmessage", {
  get: told.get,
  set(work) { told.set.call(this, work && heard(work)); },
});
"""
_SHOWN: Final = """
new MutationObserver((_, watcher) => {
  const cells = document.querySelectorAll('[role="row"] .score');
  if ([...cells].some((cell) => /[0-9]/.test(cell.textContent))) {
    watcher.disconnect();
    requestAnimationFrame(() => setTimeout(() => { window.shown = performance.now(); }, 0));
  }
}).observe(document, { childList: true, subtree: true, characterData: true });
"""


def measure(
    seed: int, *, n: int = CLOSES, symbols: int = 550, columns: tuple[str, ...] = COLUMNS
) -> Measurement:
    """Give the milliseconds of main-thread work of an update of all rows, over *n* closes."""
    with Process("klinehub.bench.neighbour", str(symbols), str(seed), str(RATE)) as exchange:
        where = msgspec.json.decode(exchange.line(), type=Neighbour)
        task = Task(where, RATE, tickers=True)
        with Process("klinehub.bench.host") as process:
            process.tell(msgspec.json.encode(task).decode())
            hosted = msgspec.json.decode(process.line(), type=Hosted)
            detail = _watched(f"{hosted.rest_url}/?tf=1m&cols={','.join(columns)}", n)
    detail = {"goals": GOALS, "symbols": symbols, "columns": len(columns), "closes": n, **detail}
    return Measurement(detail["update_ms"], "ms", detail)


def browser_here() -> str | None:
    """Give the path of the system's browser, if there is one."""
    return next((path for path in map(which, BROWSERS) if path), None)


def _watched(url: str, closes: int) -> dict[str, Any]:
    """Open the board and watch it over some closes."""
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only who measures pages has it
    except ImportError as exc:
        raise DefinitionError("Pages are measured by Playwright: `pip install playwright`.") from exc
    found = browser_here()
    if found is None:
        raise DefinitionError(f"No browser is here: install one of {', '.join(BROWSERS)}.")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        try:
            shown = [_first(browser, url) for _ in range(4)][1:]
            page = browser.new_context(viewport=VIEWPORT).new_page()
            page.add_init_script(_TIMING + _SHOWN)
            page.goto(url)
            _wait(page)
            told = _updates(page, page.context.new_cdp_session(page), closes)
        finally:
            browser.close()
    weight = shown[0][1]
    return {"first_paint_s": rounded(min(one[0] for one in shown) / 1000), "page_kb": weight, **told}


def _first(browser: Any, url: str) -> tuple[float, float]:  # noqa: ANN401 - Playwright's, which may be absent
    """Give the ms until a new browser shows rows, and the kB that it was sent until then."""
    context = browser.new_context(viewport=VIEWPORT)
    page = context.new_page()
    page.add_init_script(_SHOWN)
    page.goto(url)
    _wait(page)
    shown: float = page.evaluate("window.shown")
    sent = page.evaluate(
        "[...performance.getEntriesByType('resource'), ...performance.getEntriesByType('navigation')]"
        ".reduce((sum, one) => sum + one.transferSize, 0)"
    )
    context.close()
    return shown, round(sent / 1000, 1)


def _wait(page: "Page") -> None:
    """Wait until rows are shown; the page's policy lets Playwright wait for no function."""
    end = time.monotonic() + LONGEST
    while not page.evaluate("window.shown ?? 0"):
        if time.monotonic() > end:
            raise FeedError(f"The board showed no rows within {LONGEST:.0f} s.")
        time.sleep(0.05)


def _updates(page: "Page", session: "CDPSession", closes: int) -> dict[str, Any]:
    """Watch updates, and the heap between them."""
    session.send("Performance.enable")
    heap = []
    before = _counters(session)
    for _ in range(closes):
        time.sleep(SECONDS_PER_CLOSE)
        session.send("HeapProfiler.collectGarbage")
        heap.append(_counters(session)["JSHeapUsedSize"] / 1e6)
    after, taken = _counters(session), page.evaluate("window.taken")
    tables = np.array(taken.get("table", [np.nan]))
    prices = np.array(taken.get("prices", [np.nan]))
    drawn = sum(after[name] - before[name] for name in ("LayoutDuration", "RecalcStyleDuration"))
    busy = (after["TaskDuration"] - before["TaskDuration"]) / (closes * SECONDS_PER_CLOSE)
    count = sum(len(some) for some in taken.values())
    return {
        "update_ms": rounded(float(np.percentile(tables, 99)), 3),
        "update_ms_p50": rounded(float(np.percentile(tables, 50)), 3),
        "tables": int(tables.size),
        "prices_ms": {f"p{q}": rounded(float(np.percentile(prices, q)), 3) for q in (50, 99)},
        "prices": int(prices.size),
        "style_and_layout_ms_per_message": rounded(drawn * 1000 / max(1, count), 3),
        "main_thread_share": rounded(busy, 3),
        "heap_mb": [rounded(heap[0], 4), rounded(heap[len(heap) // 2], 4), rounded(heap[-1], 4)],
        "heap_growth": rounded(_slope(heap), 3),
        "dom_nodes": [int(before["Nodes"]), int(after["Nodes"])],
        "listeners": [int(before["JSEventListeners"]), int(after["JSEventListeners"])],
        "how": f"market time x{RATE:g}; heap growth in MB an hour over the second half",
    }


def _counters(session: "CDPSession") -> dict[str, float]:
    found = session.send("Performance.getMetrics")["metrics"]
    return {one["name"]: one["value"] for one in found}


def _slope(heap: list[float]) -> float:
    """Give how many MB an hour the heap grew in the second half."""
    late = np.array(heap[len(heap) // 2 :])
    if late.size < 2:
        return 0.0
    per_close = float(np.polyfit(np.arange(late.size), late, 1)[0])
    return per_close * 3_600 / SECONDS_PER_CLOSE
