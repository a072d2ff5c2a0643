"""How the board looks: colours, languages, zones, a phone's width, and what an audit of its access finds."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Response, expect
from tests.browser.conftest import Open
from tests.browser.reading import sides

pytestmark = pytest.mark.timeout(120)


def colour(page: Page, name: str) -> str:
    """Give a colour of the page as it is painted."""
    script = """(name) => { const probe = document.body.appendChild(document.createElement("i"));
        probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; }"""
    found: str = page.evaluate(script, name)
    return found


def serious(page: Page, part: str | None = None) -> list[str]:
    """Give what an audit of the page or a part of it calls serious or worse."""
    found = Axe().run(page, part).response["violations"]
    return [
        f"{one['id']}: {node['html']} {node['failureSummary']}"
        for one in found
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"]
    ]


@pytest.mark.parametrize(
    ("width", "scheme"), [(1440, "dark"), (1440, "light"), (360, "dark"), (360, "light")]
)
def test_an_audit_finds_nothing_serious(look: Open, width: int, scheme: str) -> None:
    # An audit of many equal rows takes long and finds nothing more.
    page = look(width=width, height=420, color_scheme=scheme)

    assert serious(page) == []


def test_an_audit_finds_nothing_serious_in_what_opens(look: Open) -> None:
    page = look()
    page.keyboard.press("j")

    page.keyboard.press("i")
    expect(page.locator(".why-panel")).to_be_visible()
    assert serious(page, ".why-panel") == []
    page.keyboard.press("Escape")
    page.locator("#filter").fill("rsi < 30 and vol")
    expect(page.locator("#filter-words")).to_be_visible()
    assert serious(page, ".toolbar") == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Columns").click()
    expect(page.get_by_role("dialog")).to_contain_text("Supertrend")
    assert serious(page, "dialog") == []


def test_colours_follow_the_system_and_the_reader(look: Open) -> None:
    page = look(color_scheme="dark")
    dark = colour(page, "bg")

    page.emulate_media(color_scheme="light")
    expect(page.get_by_role("button", name="Dark colours")).to_be_visible()
    assert colour(page, "bg") == "rgb(255, 255, 255)"
    page.get_by_role("button", name="Dark colours").click()
    assert colour(page, "bg") == dark
    page.reload()
    page.wait_for_selector(".rows .row:not([hidden])")
    assert colour(page, "bg") == dark


def test_up_and_down_have_three_pairs_of_colours(look: Open) -> None:
    page = look()
    usual = (colour(page, "up"), colour(page, "down"))

    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Up and down").select_option("swapped")
    assert (colour(page, "down"), colour(page, "up")) == usual
    page.get_by_label("Up and down").select_option("safe")
    assert not {colour(page, "up"), colour(page, "down")} & set(usual)
    painted = page.locator(".cell.up").first.evaluate("(cell) => getComputedStyle(cell).color")
    assert painted in {colour(page, "up"), colour(page, "faint")}


def test_all_is_there_in_chinese(look: Open) -> None:
    page = look()

    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Language").select_option("zh")
    expect(page.get_by_role("dialog", name="设置")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".head")).to_contain_text("评分")
    expect(page.locator("#health")).to_contain_text("实时")
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    page.reload()
    expect(page.get_by_role("button", name="导出")).to_be_visible()


def test_times_are_shown_in_the_zone_of_choice(look: Open) -> None:
    page = look("?zone=Asia/Shanghai")
    expect(page.locator(".clock")).to_contain_text("Asia/Shanghai")
    there = page.locator(".clock").inner_text()

    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Time zone").select_option("America/New_York")
    page.keyboard.press("Escape")

    expect(page.locator(".clock")).to_contain_text("America/New_York")
    assert page.locator(".clock").inner_text()[:2] != there[:2]
    assert "zone" not in page.url


def test_a_phone_shows_what_says_most(look: Open) -> None:
    page = look(width=360, height=780, has_touch=True)

    assert page.evaluate("() => document.documentElement.scrollWidth") == 360
    for key in ("symbol", "price", "change", "score"):
        left, right = sides(page, f'.head [data-key="{key}"]')
        assert 0 <= left < right <= 360, key
    expect(page.get_by_role("button", name="Export")).to_be_hidden()
    page.get_by_role("button", name="More tools").click()
    expect(page.get_by_role("button", name="Export")).to_be_visible()
    page.get_by_role("button", name=re.compile("^Timeframe")).click()
    page.get_by_role("button", name="1h", exact=True).click()
    expect(page).to_have_url(re.compile("tf=1h"))
    page.locator("#health").get_by_role("button").click()
    expect(page.locator(".facts")).to_contain_text("Close lag")


def test_the_symbol_stays_in_sight_when_the_table_is_moved_sideways(look: Open) -> None:
    page = look(width=360, height=780)

    page.get_by_role("grid").evaluate("(grid) => grid.scrollTo(60, 0)")

    assert sides(page, ".head .symbol")[0] == sides(page, ".rows .symbol")[0] == 0
    assert sides(page, ".head .number")[0] < 118


def test_the_page_is_small(look: Open) -> None:
    sizes = dict[str, int]()

    def came(answer: Response) -> None:
        sizes[answer.url] = int(answer.headers.get("content-length", 0))

    look(before=lambda page: page.on("response", came))

    files = {url: size for url, size in sizes.items() if "/board/" in url or url.endswith("/")}
    assert len(files) > 20
    assert 0 < sum(files.values()) < 150_000
    assert not any("lightweight" in url or "parquet" in url for url in files)


def test_no_source_is_unsafe(look: Open) -> None:
    policies = dict[str, str]()

    def came(answer: Response) -> None:
        policies[answer.url] = answer.headers.get("content-security-policy", "")

    look(before=lambda page: page.on("response", came))

    for url, policy in policies.items():
        assert policy.startswith("default-src 'self'"), url
        assert "unsafe" not in policy
