"""Scans of the unmodified hub on virtual time: one for each close, and again when a bar came late."""

import asyncio
from contextlib import aclosing

import msgspec
import pytest
from tests.sim.test_hub_live import silence_all
from tests.sim.worlds import HOUR, World, play

from klinehub.domain.timeframe import MINUTE
from klinehub.errors import DefinitionError
from klinehub.factors.expr import field
from klinehub.factors.stock import stock_factor
from klinehub.panel.ahead import Ahead
from klinehub.panel.history import History
from klinehub.panel.panel import Panel
from klinehub.scan.running import Scan
from klinehub.scan.scanner import Scanner
from klinehub.scan.screen import Screen

pytestmark = pytest.mark.timeout(120)

RISING = Screen(
    name="rising", timeframe="1m", where=field("close") >= field("open"), order_by=field("volume")
)
TURNOVER = Screen(name="turnover", timeframe="5m", columns={"turnover": field("quote_volume").rank()})


async def told(made: World, seconds: float, *screens: Screen) -> list[Scan]:
    """Follow screens for some time, and check that no scan of a closed bar changes but by a revision."""
    got: list[Scan] = []

    async def follow() -> None:
        async for scan in made.hub.scans(*screens):
            got.append(scan)  # noqa: PERF401 - a comprehension would be lost when it is cut short

    following = asyncio.create_task(follow())
    await asyncio.sleep(seconds)
    following.cancel()
    return got


def test_every_close_is_scanned_once_complete_and_a_later_scan_of_it_is_the_same() -> None:
    async def act(made: World) -> None:
        got = await told(made, 11 * 60, RISING, TURNOVER)
        expected = [one for _, one in made.closes if one.timeframe in {"1m", "5m"}]
        assert [(one.result.timeframe, one.result.bar) for one in got] == [
            (one.timeframe, one.bar) for one in expected
        ]
        assert len(got) == 13
        assert {(one.late, one.result.missing, one.revision, one.skipped) for one in got} == {((), (), 0, 0)}
        assert all(one.after < 0.2 and one.api_calls == 0 for one in got)
        panels = {tf.name: made.hub.panel(tf.name) for tf in made.hub.timeframes}
        for one in got:
            screen = RISING if one.result.timeframe == "1m" else TURNOVER
            assert Scanner(panels, [screen]).scan(one.result.bar)[0] == one.result

    play(act, start=HOUR + 5_000)


def test_a_bar_that_came_late_gives_a_revision_of_its_scan() -> None:
    async def act(made: World) -> None:
        following = asyncio.ensure_future(told(made, 4 * 60, RISING))
        await asyncio.sleep(30)
        silence_all(made)
        got = await following
        late = [one for one in got if one.late]
        assert late
        assert all(set(one.late) == set(one.result.missing) for one in late)
        last = {one.result.bar: one for one in got}
        again = [last[one.result.bar] for one in late if last[one.result.bar].revision]
        assert again
        assert {(one.late, one.result.missing) for one in again} == {((), ())}
        panels = {"1m": made.hub.panel("1m")}
        for one in again:
            assert Scanner(panels, [RISING]).scan(one.result.bar)[0] == one.result

    play(act, start=HOUR - 2 * MINUTE)


def test_since_when_a_symbol_trades_is_read_again_with_the_listing() -> None:
    async def act(made: World) -> None:
        made.hub._listed.clear()
        young = Screen(name="young", timeframe="1m", where=field("age") > 0)
        assert len((await told(made, 60, young))[-1].result.results) == len(made.hub.symbols)

    play(act, start=HOUR + 5_000)


SWINGS = Screen(
    name="swings",
    timeframe="5m",
    columns={
        "rsi": stock_factor("rsi")(),
        "hourly": stock_factor("roc")(3).on("1h"),
        "before": field("close").lag(1),
        "rank": field("volume").rank(),
    },
)


def test_open_bars_are_scanned_as_they_stand_and_leave_no_trace() -> None:
    async def act(made: World) -> None:
        hub, got = made.hub, []
        panels = {tf.name: hub.panel(tf.name) for tf in hub.timeframes}
        closing = asyncio.ensure_future(told(made, 11 * 60, SWINGS))
        async with aclosing(hub.scans(SWINGS, every=7.0)) as forming:
            async for scan in forming:
                bar = scan.result.bar
                views = {name: whole(panel, hub.now()) for name, panel in panels.items()}
                anew = Scanner(views, [SWINGS], listed=hub._listed).scan(bar)[0]
                assert msgspec.structs.replace(anew, forming=True) == scan.result
                got.append(scan)
                if len(got) == 80:
                    break
        assert {one.result.bar for one in got} == set(range(got[0].result.bar, got[-1].result.bar + 1))
        assert all(one.result.forming and one.api_calls == 0 and one.skipped == 0 for one in got)
        prices = {one.result.results[0].price for one in got}
        assert len(prices) > 20
        closed = await closing
        assert len(closed) == 2
        for one in closed:
            assert Scanner(panels, [SWINGS], listed=hub._listed).scan(one.result.bar)[0] == one.result

    play(act, start=HOUR + 5_000, bars=250)


def whole(panel: Panel, now: int) -> History:
    """Give all that is held, the open bars as they stand, as if they were recorded."""
    bar = panel.timeframe.index(now)
    first = bar - panel.bars + 2
    cube = Ahead(panel, bar).cube(bar, panel.bars - 1)
    known = int(panel.complete_from.max())
    return History(panel.timeframe, panel.symbols, max(first, known), cube[:, :, max(0, known - first) :])


def test_who_is_slow_misses_scans_of_open_bars_and_is_told_how_many() -> None:
    async def act(made: World) -> None:
        forming = made.hub.scans(RISING, every=5.0)
        first = await anext(forming)
        await asyncio.sleep(31)
        second = await anext(forming)
        assert (first.skipped, second.skipped) == (0, 6)
        with pytest.raises(DefinitionError, match="above 0"):
            await anext(made.hub.scans(RISING, every=0))
        await forming.aclose()

    play(act, start=HOUR + 5_000)
