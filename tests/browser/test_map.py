"""The map and the wall as people use them, on the demo."""

import re

import pytest
from playwright.sync_api import Page, expect
from tests.browser.conftest import Open
from tests.browser.reading import names, wait_for_numbers, wait_until
from tests.browser.test_looks import serious

pytestmark = pytest.mark.timeout(120)


def drawn(page: Page) -> None:
    """Wait until the map has colours, and nothing lies over it any more."""
    page.locator(".map-empty:empty").wait_for(state="attached")
    page.wait_for_function("""() => {
        const canvas = document.querySelector('.map-stage canvas');
        if (!canvas?.width) return false;
        const seen = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        const found = new Set();
        for (let i = 0; i < seen.length; i += 4000) found.add(seen.slice(i, i + 3).join());
        return found.size > 10;
    }""")


def held(page: Page) -> None:
    """Let nothing come: a close would lay the tiles anew."""
    page.evaluate("async () => (await import('/board/js/market.js')).market.hold(true)")


def test_a_tile_says_what_it_is_and_opens_its_symbol(look: Open) -> None:
    page = look("?view=map", rows=False)
    drawn(page)
    held(page)

    page.mouse.move(200, 400)
    symbol = page.locator(".map-tip b").inner_text()
    expect(page.locator(".map-tip")).to_contain_text("24h %")
    page.mouse.click(200, 400)

    expect(page).to_have_url(re.compile(f"view=symbol&.*symbol={symbol}|symbol={symbol}.*view=symbol"))


def test_keys_lead_from_tile_to_tile_and_open_one(look: Open) -> None:
    page = look("?view=map", rows=False)
    drawn(page)
    said = page.locator("#map-said")

    page.keyboard.press("ArrowRight")
    first = said.inner_text()
    page.keyboard.press("ArrowRight")
    expect(said).not_to_have_text(first)
    symbol = said.inner_text().split(",")[0]
    page.keyboard.press("Enter")

    expect(page).to_have_url(re.compile(f"symbol={symbol}"))


def test_a_close_leaves_whoever_leads_by_keys_on_the_symbol(look: Open) -> None:
    page = look("?view=map&tf=1m", rows=False)
    drawn(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    symbol = page.locator("#map-said").inner_text().split(",")[0]

    bar = "async () => (await import('/board/js/market.js')).market.bar.bar"
    before = page.evaluate(bar)
    wait_until(page, lambda: page.evaluate(bar) > before)
    page.keyboard.press("Enter")

    expect(page).to_have_url(re.compile(f"symbol={symbol}"))


def test_the_same_market_is_there_as_a_list(look: Open) -> None:
    page = look("?view=map", rows=False)
    drawn(page)

    page.get_by_role("button", name="As a list").click()

    values = page.locator(".map-list li span")
    expect(values.first).to_have_text(re.compile(r"^[+-]?[\d.]+%$"))
    followed = page.evaluate("async () => (await import('/board/js/order.js')).order.rows.length")
    assert page.locator(".map-list a").count() == values.count() == followed > 0


def test_the_map_shows_whom_the_table_would_show(look: Open) -> None:
    page = look("?view=map&list=1&find=ETH", rows=False)

    expect(page.locator(".map-list a").first).to_have_text("ETHUSDT")
    assert all("ETH" in name for name in page.locator(".map-list a").all_inner_texts())


def test_size_colour_and_groups_are_chosen_and_stand_in_the_address(look: Open) -> None:
    page = look("?view=map", rows=False)
    drawn(page)

    page.get_by_role("combobox", name="Colour").select_option("score")
    page.get_by_role("combobox", name="Size").select_option("equal")
    page.get_by_role("combobox", name="Groups").select_option("side")

    expect(page.locator(".map-scale")).to_have_attribute(
        "aria-label", re.compile(r"Score, from -60\.0 to \+60\.0")
    )
    for part in ("colour=score", "size=equal", "group=side"):
        assert part in page.url


def test_the_wall_shows_the_first_symbols_of_the_table(look: Open) -> None:
    page = look("?sort=symbol")
    wait_for_numbers(page, "score", "x > -101")
    first = names(page)[:12]

    page.get_by_role("link", name="Charts").click()

    expect(page.locator(".wall-head b")).to_have_text(first)
    page.locator(".wall-tile").first.click()
    expect(page.locator(f'.chart-canvas[aria-label^="Candles of {first[0]}"]')).to_be_visible()


@pytest.mark.parametrize("width", [1440, 360])
@pytest.mark.parametrize(
    "query", ["?view=map", "?view=map&list=1", "?view=wall", "?view=symbol&symbol=ETHUSDT"]
)
def test_an_audit_finds_nothing_serious_in_other_views(look: Open, query: str, width: int) -> None:
    page = look(query, rows=False, width=width, color_scheme="dark" if width == 360 else "light")
    page.locator(".map-empty:empty, .chart-said[hidden]").wait_for(state="attached")

    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
