"""Running scans: who follows gets each close once, the newest if slow, and nobody disturbs anybody."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from typing import Any, Final

import pytest
from tests.unit.factors.markets import Live
from tests.unit.scan.conftest import SYMBOLS, Panels

from klinehub.domain.stale import Stale
from klinehub.domain.timeframe import TIMEFRAMES
from klinehub.errors import DefinitionError, UnknownName
from klinehub.factors.engine import usable
from klinehub.factors.expr import field
from klinehub.factors.points import Part
from klinehub.feed.decisions import BarClosed, Revision
from klinehub.scan import running
from klinehub.scan.running import Default, Scan, Scanning
from klinehub.scan.scanner import Scanner, default_screen
from klinehub.scan.screen import Screen

pytestmark = pytest.mark.timeout(120)

MAIN: Final = TIMEFRAMES["15m"]
CLOSE: Final = field("close")
CHEAP: Final = Screen(name="cheap", where=CLOSE < 100)
HOURLY: Final = Screen(name="hourly", timeframe="1h", columns={"volume": field("volume")})


class Market:
    """Panels that end where they are told to, clocks that stand still, and the scans of it."""

    def __init__(self, panels: Panels, **default: Any) -> None:
        self.live = {name: Live(history, 400) for name, history in panels.items()}
        self.bar = panels["15m"].closed_bar - 40
        self.seconds, self.calls, self.time = 0.0, 0, 0
        self.stale: dict[str, Stale] = {}
        self.close(self.bar)
        self.scanning = Scanning(
            self.live,
            Default(**default),
            benchmark="BTCUSDT",
            listed={},
            now=lambda: self.time,
            monotonic=self.tick,
            calls=lambda: self.calls,
            stale=self.stale_of,
        )

    def tick(self) -> float:
        self.seconds += 0.25
        return self.seconds

    def stale_of(self, names: Iterable[str]) -> dict[str, Stale]:
        return {name: self.stale[name] for name in names if name in self.stale}

    def close(self, bar: int) -> None:
        self.bar = bar
        for name, panel in self.live.items():
            panel.end = bar if name == "15m" else usable(TIMEFRAMES[name], MAIN, bar)
        self.time = MAIN.close_time(bar) + 1 + 120

    def told(self, *missing: str, timeframe: str = "15m", revised: Iterable[Revision] = ()) -> None:
        """Tell that the newest bar has closed."""
        bar = self.live[timeframe].end
        closed = BarClosed(timeframe, bar, TIMEFRAMES[timeframe].open_time(bar), not missing, missing)
        self.scanning.note([closed], revised)


@pytest.fixture
def market(panels: Panels) -> Market:
    return Market(panels)


def shown(scan: Scan) -> tuple[str, str, int]:
    return scan.result.screen, scan.result.timeframe, scan.result.bar


async def begun(scans: AsyncGenerator[Scan, None]) -> "asyncio.Task[Scan]":
    """Wait for the next scan, as a follower does."""
    waiting = asyncio.ensure_future(anext(scans))
    await asyncio.sleep(0)
    return waiting


async def left(scans: AsyncGenerator[Scan, None]) -> list[Scan]:
    """What comes until the end."""
    return [scan async for scan in scans]


async def test_a_scan_says_what_it_took(market: Market) -> None:
    market.stale = {"ETHUSDT": Stale("silent", 1), "NONEUSDT": Stale("silent", 1)}
    scan = market.scanning.scan()

    assert (scan.seconds, scan.api_calls, scan.after) == (0.25, 0, 0.12)
    assert scan.stale == {"ETHUSDT": Stale("silent", 1)}
    assert (scan.late, scan.revision, scan.skipped) == ((), 0, 0)
    assert scan.result == Scanner(market.live, [default_screen(market.live)], benchmark="BTCUSDT").scan()[0]
    assert market.scanning.scan(market.bar - 1).result.bar == market.bar - 1
    assert market.scanning.scan(min_score=101.0).result.results == ()


async def test_scanners_of_other_timeframes_are_made_when_asked_for_and_few_are_kept(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_MOST_KEPT", 1)
    scanning = market.scanning

    assert scanning.scan(timeframe="15m").result.timeframe == "15m"
    assert not scanning._kept
    assert [scanning.scan(timeframe=name).result.timeframe for name in ("5m", "1h")] == ["5m", "1h"]
    assert list(scanning._kept) == ["1h"]
    with pytest.raises(UnknownName, match="Unknown timeframe '4h'"):
        scanning.scan(timeframe="4h")


async def test_the_settings_make_the_default_score(panels: Panels) -> None:
    market = Market(
        panels, timeframe="5m", weights={"rsi": 1.0, "adx": -1.0}, unavailable=("adx",), min_score=1
    )
    result = market.scanning.scan().result

    assert (result.timeframe, result.weights, result.unavailable) == ("5m", {"rsi": 100.0}, ("adx",))
    assert result.min_score == 1


async def test_who_follows_gets_a_scan_of_each_close_and_nothing_else(market: Market) -> None:
    scans = market.scanning.scans(())
    waiting = await begun(scans)
    market.scanning.note([], [])
    market.told(timeframe="5m")
    await asyncio.sleep(0)
    assert not waiting.done()

    market.told()
    first = await waiting
    assert shown(first) == ("score", "15m", market.bar)
    assert first.result == market.scanning.scan().result
    assert (first.after, first.late, first.revision, first.skipped) == (0.12, (), 0, 0)
    for _ in range(3):
        market.close(market.bar + 1)
        market.told()
        assert shown(await anext(scans)) == ("score", "15m", market.bar)


async def test_a_late_bar_gives_the_scan_again(market: Market) -> None:
    scans = market.scanning.scans(())
    waiting = await begun(scans)
    market.told("ETHUSDT", "XRPUSDT")
    assert (await waiting).late == ("ETHUSDT", "XRPUSDT")

    market.scanning.note([], [Revision("15m", market.bar, "XRPUSDT")])
    again = await anext(scans)
    assert (shown(again)[2], again.late, again.revision) == (market.bar, ("ETHUSDT",), 1)


async def test_several_screens_on_several_timeframes_come_together(market: Market) -> None:
    scans = market.scanning.scans((HOURLY, CHEAP, default_screen(market.live)))
    waiting = await begun(scans)
    market.told(timeframe="1h")
    market.told()
    got = [await waiting, await anext(scans), await anext(scans)]

    assert [shown(scan) for scan in got] == [
        ("hourly", "1h", market.live["1h"].end),
        ("cheap", "15m", market.bar),
        ("score", "15m", market.bar),
    ]
    assert got[1].result.results == Scanner(market.live, [CHEAP]).scan()[0].results
    assert got[2].result == market.scanning.scan().result


async def test_who_is_slow_gets_the_newest_and_is_told_how_many_were_left_out(market: Market) -> None:
    slow, fast = market.scanning.scans(()), market.scanning.scans((CHEAP,))
    one, two = await begun(slow), await begun(fast)
    market.told()
    await one
    await two
    for _ in range(4):
        market.close(market.bar + 1)
        market.told()
        assert (await anext(fast)).skipped == 0

    late = await anext(slow)
    assert (late.result.bar, late.skipped) == (market.bar, 3)


async def test_when_the_hub_ends_what_is_due_still_comes_and_then_the_end(market: Market) -> None:
    idle, busy = market.scanning.scans((HOURLY,)), market.scanning.scans((CHEAP,))
    ending, waiting = asyncio.ensure_future(left(idle)), await begun(busy)
    await asyncio.sleep(0)
    market.told()
    await waiting
    market.close(market.bar + 1)
    market.told()
    market.scanning.end()

    assert [shown(scan) for scan in await left(busy)] == [("cheap", "15m", market.bar)]
    assert await ending == []
    assert market.scanning._followers == {}
    assert await left(market.scanning.scans((CHEAP,))) == []


async def test_who_leaves_is_forgotten(market: Market) -> None:
    scans = market.scanning.scans((CHEAP,))
    waiting = await begun(scans)
    market.told()
    await waiting
    assert len(market.scanning._followers) == 1

    await scans.aclose()
    assert market.scanning._followers == {}
    market.told()


async def test_a_screen_that_can_not_be_scanned_is_refused_and_leaves_no_trace(market: Market) -> None:
    wrong = [
        Screen(name="a", timeframe="4h"),
        Screen(name="a", columns={"x": CLOSE.on("4h")}),
        Screen(name="a", score=(Part("a", CLOSE.on("1d"), 1.0, 1.0),)),
    ]
    for screen in wrong:
        with pytest.raises(DefinitionError, match=r"not kept|Unknown timeframe"):
            await anext(market.scanning.scans((screen,)))
    assert market.scanning._followers == {}


async def test_a_screen_that_fails_ends_its_own_follower_alone(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = market.scanning.scans((HOURLY,)), market.scanning.scans((CHEAP,))
    failing, waiting = await begun(bad), await begun(good)
    plain = Scanner.scan

    def broken(self: Scanner, *given: Any, **named: Any) -> Any:
        if self.timeframe == "1h":
            raise DefinitionError("mine() raised ValueError: no.")
        return plain(self, *given, **named)

    monkeypatch.setattr(Scanner, "scan", broken)
    market.told(timeframe="1h")
    market.told()
    with pytest.raises(DefinitionError, match=r"mine\(\) raised"):
        await failing
    assert len((await waiting).result.results) == sum(
        price < 100 for price in market.live["15m"].cube(market.bar, 1)[3, :, 0]
    )
    assert len(market.scanning._followers) == 1
    assert {*SYMBOLS} >= {hit.symbol for hit in (await waiting).result.results}


async def test_a_screen_that_fails_is_given_up_and_the_others_go_on(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Scanner.scan

    def scan(scanner: Scanner, *given: Any, **named: Any) -> Any:
        if any(one.name == "broken" for one in scanner.screens):
            raise DefinitionError("broken() raised ValueError: no.")
        return plain(scanner, *given, **named)

    monkeypatch.setattr(Scanner, "scan", scan)
    broken = Screen(name="broken", where=CLOSE < 50)
    scans = market.scanning.scans((CHEAP, broken))
    for _ in range(2):
        waiting = await begun(scans)
        market.close(market.bar + 1)
        market.told()
        found = await waiting

        assert shown(found) == ("cheap", "15m", market.bar)
        assert found.failed == {"broken": "broken() raised ValueError: no."}
    await scans.aclose()


async def test_a_screen_that_looks_further_back_than_bars_are_kept_is_refused(market: Market) -> None:
    far = Screen(name="far", where=CLOSE.lag(900) < CLOSE)

    with pytest.raises(DefinitionError, match="far reads 901 bars of 15m, and 400 are kept"):
        market.scanning.screened(far)
    with pytest.raises(DefinitionError, match=r"raise `market\.bars`"):
        await anext(market.scanning.scans((far,)))


async def test_a_hit_is_told_again_only_after_its_rest(market: Market) -> None:
    every = Screen(name="every", where=CLOSE > 0, cooldown=2)
    scans = market.scanning.scans((every,))
    told = []
    for step in range(4):
        waiting = await begun(scans)
        if step:
            market.close(market.bar + 1)
        market.told()
        found = await waiting
        told.append(len(found.result.results))
        assert found.result.signals_found == len(SYMBOLS)
    waiting = await begun(scans)
    market.scanning.note([], [Revision("15m", market.bar, "ETHUSDT")])
    again = await waiting

    assert told == [len(SYMBOLS), 0, 0, len(SYMBOLS)]
    assert (again.revision, len(again.result.results)) == (1, len(SYMBOLS))
    await scans.aclose()


async def test_a_screen_of_what_is_not_kept_says_so_and_the_others_go_on(market: Market) -> None:
    paid = Screen(name="paid", timeframe="1h", where=field("funding_rate") > 0)
    dear = Screen(name="dear", where=field("open_interest") > 0)
    scans = market.scanning.scans([CHEAP, dear, paid])
    waiting = await begun(scans)
    market.told()
    scan = await waiting
    await scans.aclose()

    assert shown(scan) == ("cheap", "15m", market.bar)
    assert set(scan.failed) == {"dear", "paid"}
    assert "funding_rate is not kept: switch `market.marks` on" in scan.failed["paid"]


async def test_where_no_screen_can_be_had_it_is_an_error_at_once(market: Market) -> None:
    paid = Screen(name="paid", timeframe="1h", where=field("funding_rate") > 0)
    dear = Screen(name="dear", where=field("open_interest") > 0)

    with pytest.raises(DefinitionError, match=r"funding_rate is not kept.*open_interest is not kept"):
        await anext(market.scanning.scans([paid, dear]))
    with pytest.raises(UnknownName, match="4h"):
        await anext(market.scanning.scans([Screen(name="far", timeframe="4h")]))


@pytest.mark.parametrize("screen", [None, CHEAP, HOURLY, Screen(name="deep", where=CLOSE.lag(7) < CLOSE)])
async def test_a_scan_beside_the_loop_is_the_same_to_the_bit(market: Market, screen: Screen | None) -> None:
    wanted = market.scanning.base() if screen is None else screen
    beside = await market.scanning.beside(wanted)

    assert beside.result == market.scanning.screened(wanted).result
    assert market.scanning.count == 2


async def test_a_scan_beside_the_loop_refuses_what_the_others_refuse(market: Market) -> None:
    with pytest.raises(DefinitionError, match="are kept"):
        await market.scanning.beside(Screen(name="deep", where=CLOSE.lag(900) > 0))
    with pytest.raises(UnknownName, match="timeframe"):
        await market.scanning.beside(Screen(name="other", timeframe="3m", where=CLOSE > 0))
