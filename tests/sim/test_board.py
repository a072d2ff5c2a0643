"""The board's live connection on virtual time: what a page is told of a hub that is live."""

import asyncio
from itertools import pairwise
from typing import Any, Final

import msgspec
import numpy as np
import pytest
from tests.sim.served import Lent, lend
from tests.sim.test_hub_live import silence_all
from tests.sim.viewing import Looker, looking
from tests.sim.worlds import HOUR, Place

from klinehub.domain.timeframe import MINUTE
from klinehub.factors.language import condition, parse
from klinehub.factors.stock import BY_NAME
from klinehub.scan.presets import names
from klinehub.scan.scanner import compute
from klinehub.scan.screen import Screen
from klinehub.scan.watch import watch
from klinehub.serve.board.cells import rounded
from klinehub.serve.board.live import MOST_CLIENTS
from klinehub.serve.board.messages import MOST_COLUMNS
from klinehub.serve.board.views import MOST_VIEWS

pytestmark = pytest.mark.timeout(180)
WHOLE: Final[dict[str, Any]] = {"timeframes": ("1m", "5m", "15m", "1h"), "bars": 499, "tickers": True}
COLUMNS: Final = ("rsi", "rsi_1h", "rank(rsi)", "zscore(volume_surge)", "score", "close > lag(close, 1)")
WHERE: Final = "rank(rsi) > 0.5 or score < -90"


def near(values: list[float | None], expected: Any) -> None:
    """Hold values that were told to those that they were rounded from."""
    told = np.array([np.nan if one is None else one for one in values])
    np.testing.assert_array_equal(told, rounded(np.asarray(expected, np.float64)))


def test_a_page_is_told_first_which_hub_this_is_and_its_rows() -> None:
    async def test(lent: Lent) -> None:
        hub = lent.world.hub
        async with looking(lent) as page:
            await page.next("prices")

            hello, symbols, stale, health, prices = page.got[:5]
            assert [one["type"] for one in page.got[:5]] == ["hello", "symbols", "stale", "health", "prices"]
            assert (hello["exchange"], hello["base"], hello["default"]) == ("binance-usdm", "1m", "15m")
            assert hello["timeframes"] == ["1m", "5m", "15m", "1h"]
            assert [one["kind"] for one in hello["presets"]][:3] == ["score", "own", "preset"]
            assert [one["symbol"] for one in symbols["symbols"]] == list(hub.symbols)
            assert symbols["symbols"][0]["pair"] == "BTC/USDT:USDT"
            assert {one["delivery_time"] for one in symbols["symbols"]} == {0}
            assert (stale["rows"], health["stale"], health["fresh"]) == ({}, 0, 4)
            assert prices["rows"] == [0, 1, 2, 3]
            assert {len(prices[name]) for name in ("price", "change", "day", "turnover")} == {4}

    lend(test, screens=[watch("held", ["BTCUSDT"], parse("rsi", BY_NAME) > 0, "1m")], **WHOLE)


def test_every_preset_can_be_looked_at() -> None:
    async def test(lent: Lent) -> None:
        async with looking(lent) as page:
            hello = await page.next("hello")
            for one in hello["presets"]:
                columns = [*one["columns"], *([one["order_by"]] if one["order_by"] else [])]
                table = await page.table(*columns, where=one["where"])
                assert set(table["values"]) == set(columns)

    lend(test, screens=[watch("held", ["BTCUSDT"], parse("rsi", BY_NAME) > 0, "1m")], marks=True, **WHOLE)


def test_a_table_has_the_values_of_a_scan_and_of_the_closed_bars_alone() -> None:
    async def test(lent: Lent) -> None:
        hub = lent.world.hub
        async with looking(lent) as page:
            await page.table(*COLUMNS, where=WHERE)
            await lent.until(15 * 60 + 5)
            table = page.last("table")
            scan = (await lent.ask("/api/v1/scan", timeframe="15m", where=WHERE)).json["result"]

        known = names(hub.scanning.base("15m").score)
        screen = Screen(
            name="anew",
            timeframe="15m",
            where=condition(WHERE, known),
            columns={text: parse(text, known) for text in COLUMNS},
            score=hub.scanning.base("15m").score,
        )
        panels = {frame.name: hub.panel(frame.name) for frame in hub.timeframes}
        anew = compute(screen, panels, table["bar"], benchmark="BTCUSDT", listed=hub._listed)
        assert (table["bar"], table["timeframe"]) == (scan["bar"], "15m")
        assert table["close_time"] + 1 == HOUR + 15 * MINUTE
        assert table["warming"] == table["missing"] == []
        passing = [name for name, passes in zip(hub.symbols, table["passes"], strict=True) if passes]
        assert sorted(passing) == sorted(hit.symbol for hit in anew.results)
        assert sorted(passing) == sorted(hit["symbol"] for hit in scan["results"])
        assert 0 < len(passing) < len(hub.symbols)
        for hit in anew.results:
            row = hub.symbols.index(hit.symbol)
            assert (table["score"][row], table["close"][row]) == (hit.score, hit.price)
            assert {name: points[row] for name, points in table["parts"].items()} == hit.contributions
            near([table["values"][text][row] for text in COLUMNS], list(hit.columns.values()))
        closes = panels["15m"].cube(table["bar"], 1)
        near(table["change"], (closes[3, :, 0] / closes[0, :, 0] - 1) * 100)

    lend(test, **WHOLE)


def test_a_table_comes_at_each_close_and_again_when_a_bar_came_late() -> None:
    async def test(lent: Lent) -> None:
        async with looking(lent) as page:
            first = await page.table("close", timeframe="1m")
            await lent.until(125)

            tables = page.of("table")
            assert [one["bar"] - first["bar"] for one in tables] == [0, 1, 2]
            assert {(one["forming"], one["revision"]) for one in tables} == {(False, 0)}
            sparks = page.of("spark")
            assert len(sparks) == 3
            assert sparks[-1]["bars"] == 48
            assert {len(line) for line in sparks[-1]["closes"] + sparks[-1]["volumes"]} == {64}

    lend(test, **WHOLE)


def test_an_open_bar_is_told_as_it_stands_and_marked() -> None:
    async def test(lent: Lent) -> None:
        hub = lent.world.hub
        async with looking(lent) as page:
            await page.table("close", "on(close, 1m)", "score", timeframe="5m", forming=True)
            await lent.until(100)
            asked, now = len(page.got), hub.panel("5m").timeframe.index(hub.now())
            await lent.until(103.5)

            tables = [one for one in page.got[asked:] if one["type"] == "table"]
            assert len(tables) in {3, 4}
            assert {(one["forming"], one["bar"], tuple(one["warming"])) for one in tables} == {
                (True, now, ())
            }
            for one in tables:
                assert one["values"]["close"] == one["values"]["on(close, 1m)"]
            assert tables[0]["close"] != tables[-1]["close"]
            await lent.until(302)
            closed = [one for one in page.of("table") if one["bar"] == now and not one["forming"]]
            assert len(closed) == 1
            assert closed[0]["close"] == hub.panel("5m").cube(now, 1)[3, :, 0].tolist()

    lend(test, **WHOLE)


def test_what_is_wrong_with_a_text_is_said_with_its_place_and_the_rest_is_served() -> None:
    async def test(lent: Lent) -> None:
        async with looking(lent) as page:
            errors = await page.view(
                "rsi", "rsii", "rsi_4h", "ema_distance(400)", "funding", where="rsi < 30 and volum > 2"
            )
            table = await page.next("table", view=page.asked)

            assert errors["where"]["place"] == 13
            assert "Did you mean 'volume'" in errors["where"]["message"]
            assert list(errors["columns"]) == ["rsii", "rsi_4h", "ema_distance(400)", "funding"]
            assert errors["columns"]["rsii"]["place"] == 0
            assert "not kept" in errors["columns"]["rsi_4h"]["message"]
            assert "raise `market.bars`" in errors["columns"]["ema_distance(400)"]["message"]
            assert "switch `market.marks` on" in errors["columns"]["funding"]["message"]
            assert (table["passes"], set(table["values"])) == (None, {"rsi"})
            assert "Did you mean" in (await page.view("rsi", timeframe="16m"))["timeframe"]["message"]
            assert "at most 500" in (await page.view(where=f"rsi < {'1' * 600}"))["where"]["message"]
            many = await page.view(*(f"lag(close, {n})" for n in range(1, MOST_COLUMNS + 3)))
            assert [one["message"][:28] for one in many["columns"].values()] == [
                "A view has at most 40 column"
            ] * 2

    lend(test, **WHOLE)


def test_pages_that_look_at_the_same_share_one_computation() -> None:
    async def test(lent: Lent) -> None:
        async with looking(lent) as one, looking(lent) as two, looking(lent) as three:
            await one.table("rsi", "adx", timeframe="1m")
            await two.view("atr_percent", timeframe="1m")
            await two.table("adx", "rsi", timeframe="1m")
            await three.table("adx", "rsi", timeframe="1m", where="rsi < 50")

            assert len(lent.live.views) == 2
            await lent.until(62)
            first, second = one.last("table"), two.last("table")
            assert (first.pop("view"), second.pop("view")) == (1, 2)
            assert first == second
            assert first["bar"] == three.last("table")["bar"]
        await asyncio.sleep(1)
        assert (len(lent.live.views), lent.live.clients) == (0, 0)

    lend(test, **WHOLE)


def test_too_many_views_and_too_many_pages_are_refused_in_words() -> None:
    async def test(lent: Lent) -> None:
        pages: list[Looker] = []

        async def look() -> None:
            async with looking(lent) as page:
                pages.append(page)
                await page.view(f"lag(close, {len(pages)})", timeframe="1m")
                await asyncio.Event().wait()

        tasks = []
        for _ in range(MOST_CLIENTS):
            tasks.append(asyncio.create_task(look()))
            await asyncio.sleep(0.5)

        assert len(lent.live.views) == MOST_VIEWS
        assert [bool(page.of("table")) for page in pages] == [n < MOST_VIEWS for n in range(MOST_CLIENTS)]
        assert "different tables are looked at already" in pages[-1].last("failed")["message"]
        refused = await lent.ask("/board/live", Connection="Upgrade")
        assert refused.status == 426
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    lend(test, **WHOLE)


def test_prices_are_told_as_they_change_and_against_the_open_of_the_views_bar() -> None:
    async def test(lent: Lent) -> None:
        hub = lent.world.hub
        async with looking(lent) as page:
            await page.table("close", timeframe="1h")
            await lent.until(20)
            count = len(page.of("prices"))
            await page.until("prices", lambda _: len(page.of("prices")) > count)
            held: dict[int, tuple[float, ...]] = {}
            for one in page.of("prices"):
                held |= dict(
                    zip(one["rows"], zip(one["price"], one["change"], one["day"], strict=True), strict=True)
                )
            panel, minutes = hub.panel("1h"), hub.panel("1m")
            for row, symbol in enumerate(hub.symbols):
                opened = panel.klines(symbol, 1, forming=True)[-1]
                assert held[row][0] == minutes.klines(symbol, 1, forming=True)["close"][-1]
                assert held[row][1] == rounded(np.array([(held[row][0] / opened["open"] - 1) * 100]))[0]
                told = hub.live.tickers.table.day(symbol) if hub.live.tickers else None
                assert told is not None
                assert held[row][2] == float(told.percent)

            times = [one["time"] for one in page.of("prices")]
            assert all(after - before >= 250 for before, after in pairwise(times[3:]))

    lend(test, **WHOLE)


def test_without_tickers_a_day_is_not_known_and_its_turnover_is_that_of_the_start() -> None:
    async def test(lent: Lent) -> None:
        async with looking(lent) as page:
            told = await page.next("prices")

            assert told["day"] == [None] * 4
            near(told["turnover"], [lent.world.hub.turnover[name] for name in lent.world.hub.symbols])

    lend(test)


def test_a_slow_page_is_told_the_newest_and_one_that_takes_nothing_is_cut() -> None:
    async def test(lent: Lent) -> None:
        columns = [f"lag(close, {n})" for n in range(1, MOST_COLUMNS)]
        async with looking(lent) as quick, looking(lent) as slow, looking(lent) as dead:
            for page in (quick, slow, dead):
                await page.table(*columns, timeframe="1m", forming=True)
            for page in (slow, dead):
                page.link.down.stall()
            begun = len(quick.of("table"))
            await lent.until(28)
            slow.link.down.resume()
            await lent.until(30.5)

            assert begun + 15 < len(quick.of("table"))
            assert begun + 5 < len(slow.of("table")) < len(quick.of("table")) - 5
            assert slow.last("table") == quick.last("table")
            assert _prices(slow) == _prices(quick)
            await lent.until(50)
            assert (lent.live.cut, lent.live.clients) == (1, 2)
            assert not quick.ended
            assert not slow.ended

    lend(test, **WHOLE, place=Place(symbols=40))


def _prices(page: Looker) -> dict[int, tuple[float, float, float]]:
    held: dict[int, tuple[float, float, float]] = {}
    for one in page.of("prices"):
        held |= dict(
            zip(one["rows"], zip(one["price"], one["day"], one["turnover"], strict=True), strict=True)
        )
    return held


def test_the_past_is_shown_as_it_was_known() -> None:
    async def test(lent: Lent) -> None:
        async with looking(lent) as page:
            await page.table("rsi", "rsi_15m", timeframe="5m", where="rsi < 50")
            await lent.until(11 * 60)
            told = page.of("table")
            then = await page.table("rsi", "rsi_15m", timeframe="5m", where="rsi < 50", at=HOUR + 7 * MINUTE)

            (same,) = [one for one in told if one["bar"] == then["bar"]]
            changed = {"view": 0, "seconds": 0.0}
            assert same | changed == then | changed
            assert then["close_time"] + 1 == HOUR + 5 * MINUTE
            far = await page.view("rsi", timeframe="5m", at=HOUR - 9 * 24 * 60 * MINUTE)
            assert "too far back" in far["at"]["message"]
            later = await page.view("rsi", timeframe="5m", at=HOUR + 60 * MINUTE)
            assert "Nothing is known of that moment yet" in later["at"]["message"]

    lend(test, **WHOLE)


def test_a_symbol_that_comes_is_a_row_at_the_end_and_is_computed_with_the_others() -> None:
    async def test(lent: Lent) -> None:
        hub = lent.world.hub
        async with looking(lent) as page:
            before = await page.table("rsi", timeframe="1m")
            # What the hub does when the exchange lists something new.
            hub._follow(("SOLUSDT",))
            symbols = await page.until("symbols", lambda one: one["layout"] == 3)
            table = await page.until("table", lambda one: one["layout"] == 3 and not one["missing"])

            assert [one["symbol"] for one in symbols["symbols"]] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
            assert before["layout"] == 2
            assert len(table["values"]["rsi"]) == len(table["close"]) == 3
            assert table["close"][2] == hub.klines("SOLUSDT", "1m", 1)["close"][0]
            await page.until("prices", lambda one: one["layout"] == 3 and 2 in one["rows"])
            listed = 0
            for one in page.got:
                listed = one["layout"] if one["type"] == "symbols" else listed
                assert one.get("layout", 0) <= listed, one["type"]

    lend(test, symbols=("BTCUSDT", "ETHUSDT"), **WHOLE)


def test_rows_are_told_again_when_the_exchange_has_listed_something_and_not_when_it_was_asked() -> None:
    async def test(lent: Lent) -> None:
        hub = lent.world.hub
        async with looking(lent) as page:
            await page.table("rsi", timeframe="1m")
            before = hub.listings
            async with asyncio.timeout(1_000.0):
                while hub.listings is before:  # noqa: ASYNC110 - nobody is told that it was read
                    await asyncio.sleep(1.0)
            await asyncio.sleep(5.0)

            assert len(page.of("symbols")) == 1

    lend(test, symbols=("BTCUSDT", "ETHUSDT"), **WHOLE)


def test_alerts_are_told_as_they_come() -> None:
    async def test(lent: Lent) -> None:
        async with looking(lent) as page:
            await lent.until(62)
            told = (await page.next("alert"))["alert"]
            kept = (await lent.ask("/api/v1/alerts")).json[-1]

            assert {name: told[name] for name in kept} == kept

    rising = watch("held", ["BTCUSDT"], parse("close > 0", BY_NAME), "1m")
    lend(test, screens=[rising], **WHOLE)


def test_staleness_is_told_when_it_changes_and_health_each_second() -> None:
    async def test(lent: Lent) -> None:
        async with looking(lent) as page:
            await lent.until(70)
            assert len(page.of("stale")) == 1
            assert 66 <= len(page.of("health")) <= 70
            health = page.last("health")
            assert (health["symbols"], health["fresh"], health["gaps"]) == (4, 4, 0)
            assert (health["lag"]["count"], health["rest"]["open"]) == (1, True)
            assert health["sockets"]["up"] == health["sockets"]["all"] == 1
            silence_all(lent.world)
            stale = await page.until("stale", lambda one: bool(one["rows"]))
            told = await page.until("health", lambda one: one["stale"] == 4)

            assert set(stale["rows"]) <= {"0", "1", "2", "3"}
            assert sum(told["reasons"].values()) == 4
            for row, one in page.last("stale")["rows"].items():
                known = lent.world.hub.stale(lent.world.hub.symbols[int(row)])
                assert known is not None
                assert (one["reason"], one["since"]) == known

    lend(test, **WHOLE)


def test_who_looks_is_told_when_the_hub_ends() -> None:
    async def test(lent: Lent) -> None:
        async with looking(lent) as page:
            await page.table("rsi")
            await lent.live.close()
            await asyncio.sleep(1)

            assert (page.ended, page.code) == (True, 1001)

    lend(test, **WHOLE)


def test_names_and_texts_pass_as_plain_json() -> None:
    async def test(lent: Lent) -> None:
        name = "<img src=x onerror=alert(1)>"
        hub = lent.world.hub
        async with looking(lent) as page:
            await page.next("health")
            listing = hub.listings["BTCUSDT"]
            hub.listings = {**hub.listings, "BTCUSDT": msgspec.structs.replace(listing, base_asset=name)}
            told = await page.until("symbols", lambda one: one["symbols"][0]["base"] == name)

            assert told["symbols"][0]["pair"] == f"{name}/USDT:USDT"
            errors = await page.view(name, where=name)
            assert list(errors["columns"]) == [name]
            assert errors["where"]["place"] is not None

    lend(test, **WHOLE)


@pytest.mark.parametrize(
    "message", ["{", '{"type":"x"}', '{"type":"view"}', '{"type":"spark","bars":999}', "[]"]
)
def test_what_is_no_message_ends_the_connection_and_nothing_else(message: str) -> None:
    async def test(lent: Lent) -> None:
        async with looking(lent) as page, looking(lent) as other:
            await page.socket.send_str(message)
            await asyncio.sleep(2)

            assert (page.ended, page.code) == (True, 1008)
            assert not other.ended
            assert await other.table("close")

    lend(test, **WHOLE)
