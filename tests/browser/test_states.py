"""What the board says when something is not as usual, told by a hub that the test plays."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect
from tests.browser.conftest import Open
from tests.browser.playing import DAY, NOW, Played, health, symbol
from tests.browser.reading import UNKNOWN, column, names, wait_until

from klinehub.scan.likeness import Bucket, Calibration, Outcome
from klinehub.serve.board import messages as told

pytestmark = pytest.mark.timeout(120)

MARKUP = "<img src=x onerror=alert(1)>"


def market(count: int = 12) -> Played:
    return Played([symbol(f"S{row:03}USDT") for row in range(count)])


def test_stale_cells_are_grey_and_say_why(look: Open) -> None:
    hub = market()
    hub.first = [told.StaleRows(12, {"3": told.StaleTold("closed bars are missing", NOW - 60_000)})]
    page = look(before=hub.take_over)

    stale = page.locator(".row.stale")
    expect(stale).to_have_count(1)
    said = "Stale: closed bars are missing, since 2026-09-21 14:14:00"
    expect(stale).to_have_attribute("title", said)
    expect(stale.get_by_role("rowheader")).to_contain_text(said)
    colours = page.locator(".row .cell.number").evaluate_all(
        "(all) => all.map((one) => getComputedStyle(one).color)"
    )
    assert len(set(colours)) > 1

    hub.say(told.StaleRows(12, {}))
    expect(stale).to_have_count(0)


def test_new_ending_and_halted_symbols_wear_a_badge(look: Open) -> None:
    hub = Played(
        [
            symbol("NEWUSDT", onboard_time=NOW - 6 * DAY),
            symbol("WEEKUSDT", onboard_time=NOW - 7 * DAY),
            symbol("ENDUSDT", delivery_time=NOW + 2 * DAY),
            symbol("HALTUSDT", status="SETTLING"),
            symbol("YOUNGUSDT"),
            symbol("HOLEUSDT"),
        ]
    )
    hub.warming, hub.missing = [4], [5]
    page = look(before=hub.take_over)

    badges = {
        name: page.locator(".rows .row", has_text=name).locator(".badge").all_inner_texts()
        for name in ("NEW", "WEEK")
    }
    assert [len(found) for found in badges.values()] == [1, 0]
    expect(page.locator(".row", has_text="ENDUSDT")).to_contain_text(
        "To be delisted at 2026-09-23 14:15, in 2d"
    )
    expect(page.locator(".row", has_text="HALTUSDT")).to_contain_text("Does not trade: SETTLING")
    expect(page.locator(".row", has_text="YOUNGUSDT")).to_contain_text("WARMING")
    expect(page.locator(".row", has_text="HOLEUSDT")).to_contain_text("NO BAR")
    assert page.locator(".row", has_text="HOLEUSDT").locator(".score").inner_text().strip() == UNKNOWN


def test_a_table_of_before_a_listing_is_shown_with_the_new_symbol_empty(look: Open) -> None:
    hub = market(5)
    hub.newcomers = 1
    page = look(before=hub.take_over)

    expect(page.locator(".count")).to_have_text("5 of 5")
    assert names(page) == [f"S{row:03}USDT" for row in range(5)]
    assert column(page, "score") == ["+90.0", "+89.0", "+88.0", "+87.0", UNKNOWN]


def test_names_of_listings_are_only_ever_text(look: Open) -> None:
    hub = Played([symbol(f"{MARKUP}USDT"), symbol("币安人生USDT"), symbol("=1+1USDT")])
    hub.first = [told.StaleRows(3, {"0": told.StaleTold(MARKUP, NOW)})]
    page = look(before=hub.take_over)

    expect(page.locator(".rows")).to_contain_text(MARKUP)
    expect(page.locator(".rows")).to_contain_text("币安人生")
    page.locator(".row", has_text=MARKUP).locator(".score").click()
    expect(page.locator(".why-panel")).to_contain_text(MARKUP)
    assert page.locator("img").count() == 0
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name="CSV").click()
    # A spreadsheet would take it for a formula.
    assert "'=1+1USDT" in download.value.path().read_text("utf-8")


def test_a_market_of_thousands_has_no_more_elements_than_are_seen(look: Open) -> None:
    columns = ["rsi", *(f"rsi({n})" for n in range(2, 14))]
    hub = market(2_000)
    page = look(
        f"?cols=price,change,day,turnover24h,spark,score,why,{','.join(columns)}", before=hub.take_over
    )
    elements = "() => document.querySelectorAll('*').length"
    page.wait_for_function("() => document.querySelector('.grid').ariaColCount === '21'")
    before = page.evaluate(elements)

    for tick in range(40):
        hub.prices({row: 100.0 + row + tick / 10 for row in range(2_000)})
        if tick % 4 == 0:
            hub.table()
            hub.spark(bytes(range(48)), bytes(48))
    expect(page.locator('[aria-rowindex="2"]')).to_contain_text("103.90")
    page.get_by_role("grid").evaluate("(grid) => grid.scrollTo(0, 30000)")
    expect(page.get_by_role("row", name="S1080USDT")).to_be_visible()

    assert abs(page.evaluate(elements) - before) < 40
    assert page.locator(".rows .row").count() < 60


def test_nothing_moves_while_paused_but_the_newest_is_shown_afterwards(look: Open) -> None:
    hub = market()
    page = look(before=hub.take_over)
    first = page.locator('[aria-rowindex="2"]')
    page.keyboard.press("p")

    for price in (101.0, 102.0, 103.0):
        hub.prices({0: price})
    hub.table()
    expect(page.locator(".pause")).to_contain_text("Go on (4)")
    expect(first).to_contain_text("100.00")
    page.keyboard.press("p")
    expect(first).to_contain_text("103.00")
    expect(first).to_contain_text("0.50")


def test_what_waits_while_paused_outlives_a_listing(look: Open) -> None:
    hub = market()
    page = look("?cols=price,score", before=hub.take_over)
    first = page.locator('[aria-rowindex="2"]')
    page.keyboard.press("p")
    hub.table(score=[45.5] * 12)
    hub.prices({0: 103.0})
    expect(page.locator(".pause")).to_contain_text("Go on (2)")

    hub.symbols.append(symbol("NEWUSDT"))
    hub.say(told.Symbols(len(hub.symbols), hub.symbols))
    expect(page.locator(".count")).to_have_text("13 of 13")
    page.keyboard.press("p")

    expect(first).to_contain_text("+45.5")
    expect(first).to_contain_text("103.00")


def test_open_bars_move_values_and_only_a_close_moves_rows(look: Open) -> None:
    hub = market(3)
    page = look("?cols=score", before=hub.take_over)
    page.get_by_role("button", name="Open bars").click()
    expect(page).to_have_url(re.compile("forming=1"))
    page.wait_for_function("() => document.querySelector('.progress:not(.busy)')")
    assert hub.views[-1]["forming"]

    hub.table(forming=True, score=[10.0, 20.0, 30.0])
    expect(page.locator('[aria-rowindex="2"]')).to_contain_text("+10.0")
    assert names(page) == ["S000USDT", "S001USDT", "S002USDT"]
    hub.table(score=[10.0, 20.0, 30.0])
    expect(page.locator('[aria-rowindex="2"]')).to_contain_text("+30.0")
    assert names(page) == ["S002USDT", "S001USDT", "S000USDT"]


def test_pictures_are_sent_only_where_they_are_seen(look: Open) -> None:
    hub = market(3)
    page = look("?cols=score", before=hub.take_over)
    wait_until(page, lambda: hub.sparks == [0])

    page.evaluate(
        "() => import('/board/js/state.js').then((it) => it.state.set({ cols: ['score', 'spark'] }))"
    )
    expect(page.locator(".head")).to_contain_text("Last 48 bars")
    wait_until(page, lambda: hub.sparks == [0, 48])
    hub.spark(bytes(range(48)), bytes(48))
    expect(page.locator(".rows .picture").first).to_contain_text("rising")


def test_a_hub_that_went_away_is_told_of_and_found_again(look: Open) -> None:
    hub = market()
    hub.first = [health(12)]
    page = look(before=hub.take_over)
    views = len(hub.views)

    hub.hang_up()
    expect(page.locator(".banner")).to_contain_text("No connection for")
    expect(page.locator("#health")).to_contain_text("Disconnected")
    expect(page.locator(".grid")).to_have_class(re.compile("off"))
    expect(page.get_by_role("button", name="Try now")).to_be_visible()
    hub.away = False
    expect(page.locator(".banner")).to_have_count(0)
    expect(page.locator("#health")).to_contain_text("Live")
    wait_until(page, lambda: hub.views[views:] == hub.views[:1])


def refuse(page: Page, status: int, text: str) -> None:
    """Refuse the page's connection and its question why."""

    def no(route: Route) -> None:
        route.fulfill(status=status, body=text)

    page.route_web_socket("**/board/live", lambda line: line.close(code=1006))
    page.route("**/readyz", no)


def test_a_hub_that_warms_up_says_so(look: Open) -> None:
    page = look(rows=False, before=lambda page: refuse(page, 503, '{"reasons":["the hub is warming up"]}'))

    expect(page.get_by_role("heading", name="The hub is warming up")).to_be_visible()
    expect(page.locator("#health")).to_contain_text("Warming up")


def test_a_token_is_asked_for_and_then_shown(look: Open) -> None:
    asked = list[str | None]()

    def guard(route: Route) -> None:
        asked.append(route.request.headers.get("authorization"))
        route.fulfill(status=401 if asked[-1] is None else 200, body="[]")

    def locked(page: Page) -> None:
        refuse(page, 401, "Unauthorized")
        page.route("**/api/v1/factors", guard)

    page = look(rows=False, before=locked)
    dialog = page.get_by_role("dialog", name="This hub wants its token")
    dialog.get_by_label("Token").fill("a-token-of-many-letters")
    with page.expect_response("**/api/v1/factors"):
        dialog.get_by_role("button", name="Open the board").click()
    expect(page.get_by_role("dialog")).to_contain_text("does not know this token")

    assert asked == [None, "Bearer a-token-of-many-letters"]
    assert page.evaluate("() => sessionStorage.getItem('klinehub.token')") == "a-token-of-many-letters"
    assert "a-token" not in page.evaluate("() => JSON.stringify(localStorage)") + page.url


def test_an_empty_table_says_what_empties_it(look: Open) -> None:
    hub = market()
    hub.passes = [0] * 12
    page = look("?where=rsi < 1", rows=False, before=hub.take_over)

    expect(page.get_by_role("heading", name="No symbol meets the filter")).to_be_visible()
    hub.passes = None
    page.locator(".blank").get_by_role("button", name="Clear the filter").click()
    expect(page.locator(".rows .row:not([hidden])")).to_have_count(12)
    page.get_by_role("searchbox", name="Symbol").fill("nobody")
    expect(page.get_by_role("heading", name="No symbol is in these lists")).to_be_visible()
    page.get_by_role("button", name="Show all symbols").click()
    page.get_by_role("button", name="Watchlist", exact=True).click()
    expect(page.get_by_role("heading", name="The watchlist is empty here")).to_be_visible()


def test_a_filter_of_the_address_that_is_wrong_is_told_and_not_used(look: Open) -> None:
    hub = market()
    page = look("?where=rsii < 30", before=hub.take_over)

    hub.say(told.Viewed(hub.views[-1]["id"], {"where": told.Wrong("Unknown name 'rsii'.", 0)}))
    expect(page.locator(".banner")).to_contain_text("The filter is not used: Unknown name 'rsii'.")
    expect(page.locator("#filter")).to_have_attribute("aria-invalid", "true")
    assert len(names(page)) == 12
    page.locator(".banner").get_by_role("button", name="Clear the filter").click()
    expect(page.locator(".banner")).to_have_count(0)
    expect(page.locator("#filter")).to_have_value("")


def test_a_view_that_is_given_up_says_why(look: Open) -> None:
    hub = market()
    page = look(before=hub.take_over)

    hub.say(told.Failed(hub.views[-1]["id"], "Its factor raised ValueError."))

    expect(page.locator(".banner")).to_contain_text(
        "This view is no longer computed: Its factor raised ValueError."
    )


def test_a_column_that_is_wrong_says_so_in_its_head(look: Open) -> None:
    hub = market()
    page = look("?cols=price,rsii", before=hub.take_over)

    hub.say(told.Viewed(hub.views[-1]["id"], {"columns": {"rsii": told.Wrong("Unknown name 'rsii'.", 0)}}))

    expect(page.locator(".head .wrong .sort")).to_have_attribute("title", "Unknown name 'rsii'.")


def test_a_ban_is_counted_down_and_troubles_are_told(look: Open) -> None:
    hub = market()
    hub.first = [
        health(
            12,
            fresh=10,
            stale=2,
            reasons={"its stream is silent": 2},
            gaps=3,
            weight=told.Weight(2_300, 2_400),
            rest=told.RestTold(open=False, why="Way too many requests", until=NOW + 125_000),
            sockets=told.Sockets(1, 3, "no pong", 4, NOW - 10_000),
            store_fault="the disk is full",
        )
    ]
    page = look(before=hub.take_over)
    strip = page.locator("#health")

    for text in (
        "Requests stopped for 2m 5s",
        "2 stale",
        "3 bars missing",
        "Sockets 1/3",
        "Disk fault",
        "Reconnected 10s ago",
    ):
        expect(strip).to_contain_text(text)
    expect(strip.get_by_text("Requests stopped")).to_have_attribute("title", "Way too many requests")
    expect(strip.get_by_text("Weight 2300/2400")).to_have_class("bad")
    hub.say(health(12, time=NOW + 60_000, rest=told.RestTold(open=False, why="", until=NOW + 125_000)))
    expect(strip).to_contain_text("Requests stopped for 1m 5s")


def evidence(**more: Any) -> told.EvidenceTold:
    """Make a calibration of the score on 15m: scores from 85 up did well, others are hardly known."""
    usual: dict[str, Any] = {"start": NOW - 400 * DAY, "end": NOW, "bars": 1, "symbols": 1, "made": NOW}
    texts = dict.fromkeys(("hash", "data", "code", "universe"), "")
    well = tuple(Outcome(bars, 1_204, 0.0021 * bars, (-0.001, 0.005), 0.534) for bars in (1, 24))
    buckets = (
        Bucket(None, 85.0, 7, 2, (Outcome(1, 7, None, None, None),)),
        Bucket(85.0, None, 1_204, 180, well),
    )
    one = Calibration(screen="score", timeframe="15m", buckets=buckets, **{**usual, **texts, **more})
    return told.EvidenceTold({"15m": one})


def test_the_reasons_say_what_came_after_scores_like_this_or_that_nobody_knows(look: Open) -> None:
    hub = market()
    page = look("?cols=score,like", before=hub.take_over)
    page.keyboard.press("j")
    page.keyboard.press("i")
    panel = page.locator(".why-panel")

    expect(panel).to_contain_text("No evidence: scores on 15m were never calibrated on history.")
    hub.say(evidence())
    hub.table()
    expect(panel).to_contain_text("After scores like this (85.0 and more)")
    expect(panel.locator(".like li")).to_have_text(
        ["1: +0.21% [-0.10%, +0.50%], 53% went its way", "24: +5.04% [-0.10%, +0.50%], 53% went its way"]
    )
    expect(panel).to_contain_text("1,204 hits on 180 days, 2025-08-17..2026-09-21")
    expect(panel).not_to_contain_text("Too few to go by.")
    page.keyboard.press("Escape")
    cells = page.locator(".rows .row .cell.number")
    wait_until(page, lambda: cells.all_inner_texts()[:7] == ["+5.04%"] * 6 + [UNKNOWN])
    for _ in range(6):
        page.keyboard.press("j")
    page.keyboard.press("i")
    expect(panel).to_contain_text("Too few to go by.")


def test_a_past_moment_is_marked_and_left(look: Open) -> None:
    hub = market()
    page = look(f"?at={NOW - DAY}", before=hub.take_over)

    expect(page.locator(".banner.past")).to_contain_text("As it was at 2026-09-20 14:15:00")
    assert hub.views[-1]["at"] == NOW - DAY
    hub.symbols.append(symbol("NEWUSDT"))
    hub.say(told.Symbols(len(hub.symbols), hub.symbols))
    expect(page.locator(".count")).to_have_text("13 of 13")
    assert column(page, "score")[0] == "+90.0"
    hub.prices({0: 999.0})
    page.get_by_role("button", name="Back to now").click()
    expect(page.locator('[aria-rowindex="2"]')).to_contain_text("999.00")
    wait_until(page, lambda: hub.views[-1]["at"] == 0)


def test_the_exchange_has_its_page_behind_a_plain_link(look: Open) -> None:
    hub = market()
    page = look(before=hub.take_over)
    page.keyboard.press("j")
    page.keyboard.press("c")

    link = page.get_by_role("menuitem", name="Open at binance-usdm")
    expect(link).to_have_attribute("href", "https://www.binance.com/en/futures/S000USDT")
    expect(link).to_have_attribute("rel", "noopener noreferrer")
