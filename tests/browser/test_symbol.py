"""The page of a symbol as people use it, on the demo."""

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import Locator, Page, expect
from tests.browser.conftest import Open
from tests.browser.reading import names, wait_until

pytestmark = pytest.mark.timeout(120)

LIBRARY = "vendor/lightweight-charts.js"
MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d")


def chart(page: Page) -> Locator:
    """Give the chart, once it has candles."""
    found = page.locator('.chart-canvas[aria-label^="Candles of"]')
    found.wait_for()
    return found


def span(page: Page) -> tuple[str, str]:
    """Give when the first and the last bar of the chart opened."""
    first, last = MOMENT.findall(chart(page).get_attribute("aria-label") or "")
    return first, last


def factor(page: Page, name: str) -> Locator:
    """Give what stands above a factor's pane."""
    return page.locator(".pane-head", has_text=name)


def test_a_symbol_is_opened_with_candles_factors_and_reasons(look: Open) -> None:
    asked: list[str] = []
    page = look(before=lambda page: page.on("request", lambda request: asked.append(request.url)))
    assert not [url for url in asked if url.endswith(LIBRARY)]
    symbol = names(page)[0]

    page.locator(f'.name[title="{symbol}"]').click()

    assert chart(page).get_attribute("aria-label") is not None
    assert symbol in (chart(page).get_attribute("aria-label") or "")
    assert len([url for url in asked if url.endswith(LIBRARY)]) == 1
    expect(page.locator(".pane-value")).to_have_text([re.compile(r"\d")] * 2)
    expect(page.locator(".symbol-side .why tfoot")).to_contain_text(re.compile(r"[+-]?\d"))
    expect(page.get_by_role("link", name="TradingView")).to_have_attribute(
        "href", "https://www.tradingview.com/"
    )
    assert f"symbol={quote(symbol)}" in page.url


def test_arrow_keys_lead_through_the_order_of_the_table(look: Open) -> None:
    page = look("?sort=symbol")
    page.locator(".cell.score:not(.unknown)").first.wait_for()
    first = names(page)
    page.locator(f'.name[title="{first[0]}"]').click()
    chart(page)

    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(f"symbol={first[1]}"))
    page.keyboard.press("ArrowDown")
    expect(page).to_have_url(re.compile(f"symbol={first[2]}"))
    page.keyboard.press("ArrowLeft")
    expect(page.locator(f'.chart-canvas[aria-label*="{first[1]}"]')).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("grid")).to_be_visible()


def test_the_open_bar_moves_and_a_close_is_appended(look: Open) -> None:
    page = look("?view=symbol&symbol=BTCUSDT&tf=1m", rows=False)
    chart(page)
    legend = page.locator(".chart-legend")
    expect(legend).to_contain_text("open")
    before = legend.inner_text()

    # The demo's minutes take six seconds.
    expect(legend).not_to_have_text(before)
    minute = MOMENT.findall(before)[0]
    expect(legend).not_to_contain_text(minute, timeout=15_000)
    expect(legend).to_contain_text("open")


def test_older_bars_come_when_the_chart_is_moved_back(look: Open) -> None:
    page = look("?view=symbol&symbol=BTCUSDT&panes=", rows=False)
    first, last = span(page)
    box = chart(page).bounding_box()
    assert box is not None

    for _ in range(6):
        page.mouse.move(box["x"] + 20, box["y"] + 200)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] - 120, box["y"] + 200, steps=4)
        page.mouse.up()
    page.wait_for_function(
        "(first) => !document.querySelector('.chart-canvas').ariaLabel.includes(first)", arg=first
    )

    assert span(page)[0] < first
    assert span(page)[1] >= last


def test_a_factor_that_is_wrong_is_told_in_its_pane_and_the_others_are_there(look: Open) -> None:
    page = look("?view=symbol&symbol=ETHUSDT&panes=rsi,rsii", rows=False)

    expect(factor(page, "rsii")).to_contain_text("Did you mean 'rsi'?")
    expect(page.locator(".pane-value").first).to_have_text(re.compile(r"^[\d.]+$"))


def test_factors_are_put_below_the_candles_and_taken_off(look: Open) -> None:
    page = look("?view=symbol&symbol=ETHUSDT&panes=rsi", rows=False)
    chart(page)
    field = page.get_by_label("Add a factor").first

    field.fill("adx_1hh")
    field.press("Enter")
    expect(page.locator(".symbol-side [role=alert]")).to_contain_text("1hh")
    field.fill("adx_1h")
    field.press("Enter")
    expect(factor(page, "adx_1h").locator(".pane-value")).to_have_text(re.compile(r"\d"))
    expect(page).to_have_url(re.compile(r"panes=rsi,adx_1h"))
    page.get_by_role("button", name="Take rsi off the chart").first.click()
    expect(page.locator(".pane-head")).to_have_count(1)


def test_a_past_moment_shows_only_what_had_closed_by_then(look: Open) -> None:
    page = look("?view=symbol&symbol=ETHUSDT", rows=False)
    chart(page)
    page.get_by_role("button", name="Time machine").click()

    page.get_by_role("button", name="4h ago").click()

    expect(page.locator(".banner.past")).to_be_visible()
    moment = MOMENT.findall(page.locator(".banner.past").inner_text())[0]
    # A bar of 15 minutes has closed when the moment is 15 minutes later at least.
    wait_until(page, lambda: span(page)[1] < moment)
    expect(page.locator(".chart-legend")).not_to_contain_text("open")
    expect(page.locator(".pane-value")).to_have_text([re.compile(r"\d")] * 2)
    page.get_by_role("button", name="Back to now").click()
    expect(page.locator(".chart-legend")).to_contain_text("open")
    assert "at=" not in page.url


def test_the_bars_are_marked_at_which_the_filter_came_to_hold(look: Open) -> None:
    page = look("?view=symbol&symbol=ETHUSDT&where=rsi<50&panes=", rows=False)
    box = chart(page).bounding_box()
    assert box is not None

    def marked() -> bool:
        for x in range(100, int(box["width"]) - 120, 5):
            page.mouse.move(box["x"] + x, box["y"] + 200)
            if page.locator(".chart-legend .tag.held").count():
                return True
        return False

    expect(page.locator(".chart-legend")).to_contain_text("open")
    # The marks come by an answer of their own.
    wait_until(page, marked)


def test_a_symbol_that_nobody_follows_is_told_with_the_way_out(look: Open) -> None:
    page = look("?view=symbol&symbol=ETHUSD", rows=False)

    expect(page.locator(".chart-said")).to_contain_text("Did you mean 'ETHUSDT'?")
    page.get_by_role("button", name="Back to the table").click()
    expect(page.get_by_role("grid")).to_be_visible()
