"""Modules of the board that only work something out, run in the browser that they are written for."""

import math
import random
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route

from klinehub.serve.board.page import FILES, INDEX, STATIC, manifest

HERE = "http://board.test"


@pytest.fixture(scope="module")
def page(chromium: Browser) -> Iterator[Page]:
    files = manifest(STATIC)

    def give(route: Route) -> None:
        path = route.request.url.removeprefix(HERE)
        if path == INDEX:
            # A page without the board's own program: modules are taken one by one.
            return route.fulfill(content_type="text/html", body="")
        return route.fulfill(content_type=files[path].media, body=files[path].plain)

    found = chromium.new_page()
    found.route("**/*", give)
    found.goto(HERE + INDEX)
    yield found
    found.close()


def call(page: Page, module: str, text: str, *args: Any) -> Any:
    """Run *text* with all that a module exports as `it`, and *args* as `args`."""
    script = (
        "async ([path, text, args]) => new Function('it', 'args', `return ${text}`)(await import(path), args)"
    )
    return page.evaluate(script, [f"{FILES}js/{module}.js", text, list(args)])


def values_of(seed: int, count: int) -> list[float]:
    draw = random.Random(seed)
    return [draw.paretovariate(0.8) for _ in range(count)]


@pytest.mark.parametrize("seed", range(5))
def test_tiles_have_their_share_of_the_map_and_none_lies_over_another(page: Page, seed: int) -> None:
    values = values_of(seed, 150)
    room = {"x": 0.0, "y": 0.0, "w": 900.0, "h": 500.0}

    rects = call(page, "treemap", "it.squarified(args[0], args[1])", values, room)

    scale = 900 * 500 / sum(values)
    for value, one in zip(values, rects, strict=True):
        assert one["w"] * one["h"] == pytest.approx(value * scale, rel=1e-6)
        assert within(one, room)
    assert not any(overlap(a, b) for i, a in enumerate(rects) for b in rects[:i])


def within(one: dict[str, float], room: dict[str, float]) -> bool:
    """Whether a tile lies in a room, but for what rounding adds."""
    low = min(one[at] - room[at] for at in "xy")
    high = max(one[at] + one[size] - room[at] - room[size] for at, size in ("xw", "yh"))
    return low >= -1e-6 and high <= 1e-6


def overlap(a: dict[str, float], b: dict[str, float]) -> bool:
    wide = min(a["x"] + a["w"], b["x"] + b["w"]) - max(a["x"], b["x"])
    high = min(a["y"] + a["h"], b["y"] + b["h"]) - max(a["y"], b["y"])
    return wide > 1e-6 and high > 1e-6


def test_what_is_not_above_zero_has_no_tile(page: Page) -> None:
    text = "it.squarified([3, 0, NaN, -1, 1], {x: 0, y: 0, w: 40, h: 10}).map((one) => one.w * one.h)"

    assert call(page, "treemap", text) == pytest.approx([300, 0, 0, 0, 100])


def test_tiles_of_a_group_lie_in_its_room_below_its_headline(page: Page) -> None:
    names = [f"group {i % 4}" for i in range(60)]
    room = {"x": 0, "y": 0, "w": 800, "h": 600}

    laid = call(page, "treemap", "it.grouped(args[0], args[1], args[2], 16)", values_of(1, 60), names, room)

    for group in laid["groups"]:
        rect, head = group["rect"], group["head"]
        below = {**rect, "y": rect["y"] + head, "h": rect["h"] - head}
        assert all(within(laid["rects"][i], below) for i in group["members"])
    assert {group["name"] for group in laid["groups"]} == set(names)


@pytest.mark.parametrize("seed", range(5))
def test_arrow_keys_lead_to_every_tile(page: Page, seed: int) -> None:
    text = """(() => {
        const rects = it.squarified(args[0], {x: 0, y: 0, w: 900, h: 500});
        const seen = new Set([0]);
        const ways = ["left", "right", "up", "down"];
        for (const tile of seen) for (const way of ways) seen.add(it.neighbour(rects, tile, way));
        return seen.size;
    })()"""

    assert call(page, "treemap", text, values_of(seed, 60)) == 60


def test_a_filter_is_marked_where_it_comes_to_hold_and_not_while_it_does(page: Page) -> None:
    text = "it.heldMarks([1, 2, 3, 4, 5, 6, 7], [1, 1, 0, 1, 1, null, 1]).map((mark) => mark.time)"

    assert call(page, "markers", text) == [4, 7]


def test_alerts_stand_at_the_bar_that_closed_when_they_fired(page: Page) -> None:
    minute = 60_000
    alerts = [
        {"rule": "a", "side": "long", "bar_open_time": 14 * minute, "timeframe": "1m"},
        {"rule": "b", "side": "short", "bar_open_time": 0, "timeframe": "15m"},
        {"rule": "a", "side": "long", "bar_open_time": 15 * minute, "timeframe": "15m"},
        {"rule": "a", "side": "long", "bar_open_time": -60 * minute, "timeframe": "15m"},
    ]
    text = "it.alertMarks(args[0], args[1], (name) => parseInt(name) * 60000)"

    marks = call(page, "markers", text, alerts, [0, 15 * minute, 30 * minute])

    assert [(mark["time"], mark["count"], mark["names"], mark["side"]) for mark in marks] == [
        (0, 2, ["a", "b"], ""),
        (15 * minute, 1, ["a"], "long"),
    ]


@pytest.mark.parametrize(
    ("values", "range_", "span"),
    [
        ([30.0, 55.0], "0 to 100; 50 where the price never moved", [0, 50, 100]),
        ([-1.4, 0.2, 2.1], "unbounded, mostly -4 to 4", [-3, 0, 3]),
        ([1.0, 2.0, 4.0], "0 and above", [1, 1, 4]),
        ([None, math.nan], "", [-1, 0, 1]),
    ],
)
def test_colours_span_what_a_factor_can_be_or_what_the_market_is(
    page: Page, values: list[float | None], range_: str, span: list[float]
) -> None:
    text = "(({ low, middle, high }) => [low, middle, high])(it.spanOf(args[0], args[1]))"

    assert call(page, "shades", text, values, range_) == pytest.approx(span)


def test_letters_can_be_read_on_every_colour_of_a_map(page: Page) -> None:
    text = """(() => {
        const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        const light = (colour) => {
            const [r, g, b] = colour.match(/[\\d.]+/g).map((one) => linear(one / 255));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const palette = { neutral: "rgb(40, 46, 55)", up: "rgb(63, 207, 142)", down: "rgb(255, 111, 107)" };
        const span = { low: -1, middle: 0, high: 1 };
        return Array.from({ length: 201 }, (_, i) => it.shade(span, (i - 100) / 100, palette)).map((back) => {
            const [a, b] = [light(back), light(it.inkOn(back))].sort((x, y) => y - x);
            return (a + 0.05) / (b + 0.05);
        });
    })()"""

    assert min(call(page, "shades", text)) >= 4.5


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "America/New_York", "Australia/Lord_Howe"])
def test_what_a_wall_clock_showed_is_read_back_as_the_first_moment_at_which_it_did(
    page: Page, zone: str
) -> None:
    # Every half hour of a year, so that both changes of the clocks are among them.
    text = """Array.from({ length: 17520 }, (_, i) => 1767225600000 + i * 1800000).filter((ms) => {
        const found = it.fromField(it.toField(ms, args[0]), args[0]);
        return found > ms || ms - found > 3600000 || it.wall(found, args[0]) !== it.wall(ms, args[0]);
    }).length"""

    assert call(page, "zones", text, zone) == 0


def test_days_begin_where_the_reader_is(page: Page) -> None:
    # 16:00 UTC is midnight in Shanghai.
    text = """((wall) => [15, 16, 22].map((hour) => it.weight(wall(hour), wall(hour - 1))))(
        (hour) => Date.UTC(2026, 4, 10, hour) + 8 * 3600000)"""

    assert call(page, "time_scale", text) == [30, 50, 32]


def test_a_price_behind_the_end_of_a_bar_begins_the_next_one(page: Page) -> None:
    bar = {
        "open_time": 0,
        "close_time": 899_999,
        "open": 1,
        "high": 3,
        "low": 1,
        "close": 2,
        "volume": 9,
        "forming": True,
    }
    text = "it.carried(args[0], args[1], args[2], 900000)"

    same = call(page, "bars", text, bar, 4, 899_999)
    later = call(page, "bars", text, bar, 4, 1_900_000)

    assert (same["open_time"], same["open"], same["high"], same["low"], same["close"]) == (0, 1, 4, 1, 4)
    assert (later["open_time"], later["open"], later["volume"]) == (1_800_000, 4, 0)
    assert call(page, "bars", text, {**bar, "forming": False}, 4, 500) is None


def test_a_storm_of_alerts_is_one_notification_that_counts(page: Page) -> None:
    text = "it.digest({ count: 200, rules: new Map([['a', 20], ['b', 180]]), symbols: ['X', 'Y'] }).body"

    assert call(page, "notify", text) == "b 180 · a 20\nX, Y … +198"
