"""The table of the market as people use it, on the demo: everything that a screener is asked for."""

import json
import re
from pathlib import Path
from urllib.parse import quote

import duckdb
import pytest
from playwright.sync_api import expect
from tests.browser.conftest import SYMBOLS, Open
from tests.browser.reading import (
    column,
    heads,
    listed,
    names,
    numbers,
    rows,
    saved,
    wait_for_columns,
    wait_for_numbers,
    wait_for_order,
    wait_for_rows,
    wait_until,
    wait_until_counted,
    wait_until_lit,
)

pytestmark = pytest.mark.timeout(120)


def test_the_first_look_is_the_whole_market_by_its_score(look: Open) -> None:
    page = look()

    wait_for_rows(page, listed(page))
    assert rows(page) >= SYMBOLS
    assert page.locator(".rows .row").count() < SYMBOLS
    assert heads(page)[:8] == ["symbol", "price", "change", "day", "turnover24h", "spark", "score", "why"]
    wait_for_order(page, "score")
    assert page.url.endswith("/")


def test_rows_are_made_for_what_is_seen_however_far_one_goes(look: Open) -> None:
    page = look()

    page.get_by_role("grid").evaluate("(grid) => grid.scrollTo(0, 1e6)")

    expect(page.locator(f'.row[aria-rowindex="{rows(page) + 1}"]')).to_be_visible()
    assert page.locator(".rows .row").count() < listed(page)
    page.keyboard.press("Home")
    expect(page.locator('.row[aria-rowindex="2"]')).to_be_visible()


def test_prices_move_are_lit_and_stand_still_when_paused(look: Open) -> None:
    page = look()
    for way in ("up", "down"):
        wait_until_lit(page, f"lit-{way}")

    page.get_by_role("button", name="Pause").click()
    before = column(page, "price")
    expect(page.locator(".pause")).to_contain_text(re.compile(r"Go on \([1-9]"))
    assert column(page, "price") == before
    expect(page.locator("#health")).to_contain_text("Paused")
    page.locator(".pause").click()
    wait_until_lit(page, "lit-")
    assert column(page, "price") != before


def test_a_screen_of_the_hub_brings_its_filter_columns_and_order(look: Open) -> None:
    page = look()

    page.locator("button.screens").click()
    page.get_by_role("button", name="Volume surge").click()

    expect(page.locator("#filter")).to_have_value("volume_surge > 4 and trade_size > 0.5")
    assert "preset=volume_surge" in page.url
    assert "where" not in page.url
    own = ("price", "change", "day", "turnover24h", "spark", "score", "why")
    wait_for_columns(page, "symbol", *own, "volume_surge", "trade_size", "taker_ratio", "roc")
    expect(page.locator('.head [data-key="volume_surge"]')).to_have_attribute("aria-sort", "descending")
    page.go_back()
    expect(page.locator("#filter")).to_have_value("")


def test_columns_are_picked_from_the_catalogue_or_written(look: Open) -> None:
    page = look("?cols=price,score")

    page.get_by_role("button", name="Columns").click()
    search = page.get_by_role("searchbox", name=re.compile("Search the factors"))
    search.fill("supertrend")
    page.get_by_label(re.compile("^supertrend")).check()
    search.fill("rank(rsi_1h)")
    page.get_by_role("button", name="Add rank(rsi_1h)").click()
    search.fill("rank(rsy)")
    expect(page.locator(".picker .said")).to_contain_text("Unknown name 'rsy'")
    page.get_by_role("button", name="Remove Price").click()
    page.get_by_role("button", name="Close", exact=True).click()

    wait_for_columns(page, "symbol", "score", "supertrend", "rank(rsi_1h)")
    assert "cols=score,supertrend,rank(rsi_1h)" in page.url
    wait_for_numbers(page, "rank(rsi_1h)", "x >= 0 && x <= 1")


def test_columns_are_moved_pinned_and_widened_by_hand_and_by_keys(look: Open) -> None:
    page = look("?cols=price,day,rsi,adx")
    rsi = page.locator('.head [data-key="rsi"]')

    rsi.locator(".sort").focus()
    page.keyboard.press("Alt+ArrowLeft")
    expect(page).to_have_url(re.compile("cols=price,rsi,day,adx"))
    expect(rsi.locator(".sort")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.get_by_role("menuitem", name="Pin beside the symbol").click()
    expect(page).to_have_url(re.compile("pin=rsi"))
    wait_for_columns(page, "symbol", "rsi", "price", "day", "adx")

    page.locator('.head [data-key="adx"] .sort').drag_to(page.locator('.head [data-key="price"] .sort'))
    expect(page).to_have_url(re.compile("cols=adx,price,rsi,day"))
    page.locator('.head [data-key="day"] .edge').hover()
    page.mouse.down()
    page.mouse.move(1_200, 10)
    page.mouse.up()
    page.wait_for_function("() => document.querySelector('.head [data-key=day]').offsetWidth > 200")
    page.reload()
    page.wait_for_function("() => document.querySelector('.head [data-key=day]')?.offsetWidth > 200")


def test_the_filter_is_checked_completed_and_counted_while_it_is_typed(look: Open) -> None:
    page = look("?cols=rsi,adx")
    box, said = page.locator("#filter"), page.locator("#filter-said")

    page.keyboard.press("/")
    expect(box).to_be_focused()
    page.keyboard.type("rsi < 60 and rsii > 2")
    expect(said).to_contain_text("Did you mean 'rsi'?")
    expect(said.locator("mark")).to_have_text("rsii")
    expect(box).to_have_attribute("aria-invalid", "true")
    assert "where" not in page.url

    box.fill("rsi < 60 and stoch")
    words = page.get_by_role("listbox")
    expect(words.get_by_role("option").first).to_contain_text("stochastic")
    expect(words).to_contain_text("Stochastic %K")
    page.keyboard.press("Tab")
    expect(box).to_have_value(re.compile(r"rsi < 60 and stoch\w+$"))

    box.fill("rsi < 60")
    expect(page.locator(".hits")).to_have_text(re.compile(r"\d+ hits · Enter"))
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"where=rsi\+%3C\+60"))
    wait_for_numbers(page, "rsi", "x < 60")
    # A close may come between two looks.
    page.wait_for_function(
        """() => {
            const rows = document.querySelector('[role=grid]').ariaRowCount - 1;
            const [shown, all] = document.querySelector('.count').textContent.split(' of ').map(Number);
            const hits = document.querySelector('.hits').textContent;
            return 0 < rows && rows < all && rows === shown && rows === parseInt(hits);
        }"""
    )

    page.get_by_role("button", name="Clear the filter").click()
    wait_for_rows(page, listed(page))


def test_rows_keep_their_places_under_the_pointer_until_told_otherwise(look: Open) -> None:
    page = look("?tf=1m&sort=-score&cols=price,score")
    page.get_by_role("grid").hover()
    before = names(page)

    # At ten times market speed a minute closes every six seconds.
    pill = page.locator(".pill")
    expect(pill).to_be_visible(timeout=20_000)
    expect(page.locator('.head [data-key="score"]')).to_have_class(re.compile(r"\bold\b"))
    assert names(page) == before
    scores = numbers(page, "score")
    assert scores != sorted(scores, reverse=True)

    pill.click()
    expect(pill).to_be_hidden()
    scores = numbers(page, "score")
    assert scores == sorted(scores, reverse=True)


def test_any_column_sorts_both_ways(look: Open) -> None:
    page = look("?cols=score,rsi,day")

    page.locator('.head [data-key="rsi"] .sort').click()
    expect(page).to_have_url(re.compile("sort=-rsi"))
    expect(page.locator('.head [data-key="rsi"]')).to_have_attribute("aria-sort", "descending")
    wait_for_order(page, "rsi")
    page.locator('.head [data-key="rsi"] .sort').click()
    expect(page.locator('.head [data-key="rsi"]')).to_have_attribute("aria-sort", "ascending")
    wait_for_order(page, "rsi", rising=True)
    page.locator('.head [data-key="symbol"] .sort').click()
    expect(page.locator('.head [data-key="symbol"]')).to_have_attribute("aria-sort", "ascending")

    shown = names(page)
    assert shown == sorted(shown)


def test_the_reasons_of_a_score_add_up_to_it(look: Open) -> None:
    page = look()
    page.get_by_role("button", name="Pause").click()

    page.locator(".rows .row:not([hidden]) .score").first.hover()
    panel = page.locator(".why-panel")
    expect(panel).to_be_visible()
    page.mouse.move(5, 5)
    expect(panel).to_be_hidden()
    page.keyboard.press("j")
    page.keyboard.press("i")
    expect(panel).to_contain_text("Trend, larger timeframe")
    points = [float(text) for text in panel.locator("tbody td.number:nth-child(3)").all_inner_texts()]
    total = float(panel.locator("tfoot td.number").inner_text())
    score = float(panel.locator("header b").nth(1).inner_text())

    assert len(points) == 12
    assert [abs(point) for point in points] == sorted((abs(point) for point in points), reverse=True)
    assert sum(points) == pytest.approx(total, abs=0.05 * len(points))
    assert total == score


def test_the_last_bars_are_drawn_with_their_volume(look: Open) -> None:
    page = look("?cols=spark,why")
    picture = """(one) => {
        const { data } = one.getContext('2d').getImageData(0, 0, one.width, one.height);
        return data.filter((value, i) => i % 4 === 3 && value > 0).length > 40;
    }"""
    pictures = "[...document.querySelectorAll('.rows .row:not([hidden]) canvas')]"

    page.wait_for_function(f"() => {pictures}.slice(0, 8).every({picture})")
    expect(page.locator(".rows .picture").first).to_contain_text(re.compile("rising|falling"))


def test_the_timeframe_of_the_whole_board_is_switched(look: Open) -> None:
    page = look("?cols=change,rsi,spark")
    before = column(page, "rsi")

    page.get_by_role("group", name="Timeframe").get_by_role("button", name="1h").click()
    expect(page).to_have_url(re.compile("tf=1h"))
    expect(page.locator('.head [data-key="change"]')).to_contain_text("1h %")
    expect(page.locator("#market")).to_contain_text("This 1h bar")
    wait_until(page, lambda: column(page, "rsi") != before)
    page.keyboard.press("t")
    expect(page).to_have_url(re.compile("tf=1m"))
    page.keyboard.press("T")
    expect(page).to_have_url(re.compile("tf=1h"))


def test_a_link_shows_others_the_same(look: Open) -> None:
    table = "tf=5m&where=rsi+%3C+70&sort=adx&cols=adx,price,lag(rsi, 2)&pin=price"
    query = f"?{table}&cat=side:long,side:flat&find=A&theme=light&lang=zh"
    first = look(query)
    first.get_by_role("grid").hover()
    other = look(first.url[first.url.index("?") :])
    other.get_by_role("grid").hover()

    for page in (first, other):
        assert heads(page) == ["symbol", "price", "adx", "lag(rsi, 2)"]
        assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
        assert all("A" in name for name in names(page))
    assert first.url == other.url


def test_what_is_shown_is_saved_in_three_formats(look: Open, tmp_path: Path) -> None:
    page = look("?where=score < 60&sort=symbol&cols=rsi,price,score,why,spark")
    page.get_by_role("button", name="Pause").click()
    shown = names(page)

    lines = saved(page, "CSV", tmp_path).read_text("utf-8").splitlines()
    told = json.loads(saved(page, "JSON", tmp_path).read_text("utf-8"))
    table = duckdb.read_parquet(str(saved(page, "Parquet", tmp_path)))

    head = lines[0].split(",")
    assert head[:4] == ["symbol", "rsi", "price", "score"]
    assert [name for name in head if name.startswith("why.")] == head[4:]
    assert len(head) == 16
    found = [line.split(",") for line in lines[1:]]
    assert len(found) == rows(page)
    assert [row[0] for row in found[: len(shown)]] == shown
    assert (told["where"], told["timeframe"]) == ("score < 60", "15m")
    assert [list(row.values()) for row in told["rows"]] == [[row[0], *map(float, row[1:])] for row in found]
    assert table.columns == head
    assert [list(row) for row in table.fetchall()] == [list(row.values()) for row in told["rows"]]
    assert all(sum(list(row.values())[4:]) == row["score"] for row in told["rows"])


def test_the_health_of_the_data_is_told(look: Open) -> None:
    strip = look().locator("#health")

    expect(strip).to_contain_text("Live")
    expect(strip).to_contain_text(re.compile(r"Fresh \d+ of 6\d"))
    expect(strip).to_contain_text(re.compile(r"Close lag \d+\.\d\d s / \d+\.\d\d s"))
    expect(strip).to_contain_text("0 bars missing")
    expect(strip).to_contain_text(re.compile(r"Weight \d+"))
    expect(strip).to_contain_text("Sockets 1/1")
    expect(strip).to_contain_text(re.compile("10. speed"))


def test_the_market_is_told_in_a_line(look: Open) -> None:
    page = look()

    for name in ("24 h", "This 15m bar"):
        line = page.locator(".breadth", has_text=name)
        expect(line).to_contain_text("median")
        expect(line).to_contain_text(re.compile(r"dispersion\d+\.\d\d%"))
        most = listed(page)
        wait_until_counted(page, name, most - 2, most)


def test_symbols_are_watched_hidden_and_chosen_by_kind(look: Open) -> None:
    page = look()
    first = names(page)[0]

    page.locator(".rows .row:not([hidden])", has=page.locator(f'[title="{first}"]')).locator(".star").click()
    page.get_by_role("button", name="Watchlist", exact=True).click()
    wait_for_rows(page, 1)
    assert names(page) == [first]
    page.reload()
    page.wait_for_selector(".rows .row:not([hidden])")
    assert names(page) == [first]
    page.get_by_role("button", name="Watchlist", exact=True).click()

    page.keyboard.press("j")
    second = page.locator(".row.chosen .name").get_attribute("title")
    page.keyboard.press("x")
    wait_for_rows(page, listed(page) - 1)
    assert second not in names(page)
    page.get_by_role("button", name="Categories").click()
    page.get_by_role("button", name="Hidden symbols (1)").click()
    wait_for_rows(page, 1)
    page.get_by_role("button", name="Hidden symbols (1)").click()
    page.get_by_role("button", name=re.compile("^Short")).click()
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile("cat=side:short"))
    wait_for_numbers(page, "score", "x <= -19.9")


def test_keys_lead_through_the_table(look: Open) -> None:
    page = look()
    # Under the pointer rows stay.
    page.get_by_role("grid").hover()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("ArrowDown")
    chosen = page.locator(".row.chosen")
    symbol = names(page)[1]
    expect(chosen.locator(".name")).to_have_attribute("title", symbol)
    expect(page.get_by_role("grid")).to_have_attribute(
        "aria-activedescendant", chosen.get_attribute("id") or ""
    )
    page.keyboard.press("w")
    expect(page.get_by_role("status").filter(has_text=f"{symbol} on the watchlist")).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("Open the symbol")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(chosen).to_have_count(0)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"view=symbol&symbol=[\w%]+"))
    page.go_back()
    expect(page.locator(".rows .row:not([hidden])").first).to_be_visible()
    expect(chosen).to_have_count(1)


def test_names_are_copied_and_lead_on(look: Open) -> None:
    page = look(permissions=["clipboard-read", "clipboard-write"])
    row = page.locator('.row[aria-rowindex="2"]')
    row.hover()
    # Under the pointer it stays.
    symbol = names(page)[0]
    row.locator(".more").click()

    page.get_by_role("menuitem", name=f"Copy {symbol}").click()
    assert page.evaluate("() => navigator.clipboard.readText()") == symbol
    expect(row.locator("a.name")).to_have_attribute("href", f"?view=symbol&symbol={quote(symbol)}")
