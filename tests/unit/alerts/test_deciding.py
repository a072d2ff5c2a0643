"""Deciding: no edge is lost or told twice, whatever stops, comes late, fails or changes meanwhile."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from tests.unit.alerts.bourse import LATER, Bourse, deciding, rule

from klinehub.alerts.deciding import FORMING, MOST_LATE, RETRY
from klinehub.alerts.group import Group
from klinehub.alerts.rule import Rule
from klinehub.sim.loop import SimLoop, run

pytestmark = pytest.mark.timeout(180)
RULES: Final = (
    rule("rising", "close > lag(close, 1)", symbols=("S003USDT", "S004USDT", "S000USDT")),
    rule("surge", "volume_surge > 1.5", cooldown=3),
    rule("turn", "rsi < 45", clear="rsi > 50"),
    # What clears it holds at the bar at which it fires, too: deciding that bar twice must not arm it.
    rule("restless", "close > lag(close, 1)", clear="close > 0"),
    rule("hours", "close_1h > lag(close_1h, 1) and volume > 100"),
)
SPAN: Final = range(151, 190)


def straight(rules: Sequence[Rule] = RULES, span: range = SPAN) -> list[tuple[str, str, int]]:
    """Give what is told when every bar is decided as it closes."""

    async def main(_: SimLoop) -> list[tuple[str, str, int]]:
        bourse = Bourse()
        bourse.go(bourse.at, LATER)
        async with deciding(bourse, rules) as desk:
            for bar in span:
                await bourse.close(first(bourse) + bar)
            return desk.entries()

    return run(main)


def first(bourse: Bourse) -> int:
    return bourse.whole["15m"].first


def test_alerts_come_when_a_condition_comes_to_hold_and_carry_what_there_is_to_say() -> None:
    async def main(_: SimLoop) -> None:
        bourse = Bourse()
        bourse.go(bourse.at, LATER)
        async with deciding(bourse, [rule("up", "close > lag(close, 1)", to=("desk",))]) as desk:
            assert desk.entries() == []
            for bar in range(151, 155):
                await bourse.close(first(bourse) + bar)
            assert desk.told
            assert [one.kept.alert.symbol for one in desk.told] == [name for _, name, _ in desk.entries()]
            alert, history = desk.told[0].kept.alert, bourse.whole["15m"]
            row, bar = history.symbols.index(alert.symbol), 151
            opened, closed = history.planes[0, row, bar], history.planes[3, row, bar]
            day = history.planes[3, row, bar - 96]
            assert (alert.rule, alert.timeframe, alert.price) == ("up", "15m", closed)
            assert alert.change == pytest.approx((closed / opened - 1) * 100)
            assert alert.change_24h == pytest.approx((closed / day - 1) * 100)
            assert alert.turnover == pytest.approx(history.planes[5, row, bar - 95 : bar + 1].sum())
            assert (alert.pair, alert.forming, alert.revision) == (f"pair of {alert.symbol}", False, 0)
            assert [one.target for one in desk.told[0].deliveries] == ["desk"]

    run(main)


def test_there_is_something_to_tell_of_every_rule() -> None:
    found = straight()

    assert {name for name, _, _ in found} == {one.name for one in RULES}
    assert len(found) == len(set(found))
    assert len(found) > 50


@pytest.mark.parametrize("stops", [(160,), (152, 153, 154, 170), (151, 165, 166, 180, 188)])
@pytest.mark.parametrize("away", [0, 1, 7])
def test_restarts_and_bars_that_close_meanwhile_change_nothing_of_what_is_told(
    tmp_path: Path, stops: tuple[int, ...], away: int
) -> None:
    async def main(_: SimLoop) -> list[tuple[str, str, int]]:
        bourse, path = Bourse(), tmp_path / "alerts.db"
        bourse.go(bourse.at, LATER)
        bar = SPAN.start
        while True:
            async with deciding(bourse, RULES, path) as desk:
                while bar < SPAN.stop:
                    await bourse.close(first(bourse) + bar)
                    bar += 1
                    if bar - 1 in stops:
                        break
                if bar >= SPAN.stop:
                    return desk.entries()
            # What closes while nothing runs is found at the next start.
            bar = min(bar + away, SPAN.stop)
            bourse.go(first(bourse) + bar - 1, LATER)

    assert sorted(run(main)) == sorted(straight())


def test_a_stop_between_deciding_and_writing_decides_again() -> None:
    async def main(_: SimLoop) -> list[tuple[str, str, int]]:
        bourse = Bourse()
        bourse.go(bourse.at, LATER)
        async with deciding(bourse, RULES) as desk:
            for bar in SPAN:
                desk.outbox.refuses = bar % 5 == 0
                closing = asyncio.create_task(bourse.close(first(bourse) + bar))
                await asyncio.sleep(2 * RETRY)
                assert ("full" in desk.deciding.fault) == desk.outbox.refuses
                desk.outbox.refuses = False
                await closing
                assert desk.deciding.fault == ""
            return desk.entries()

    assert run(main) == straight()


def test_bars_that_were_left_out_are_decided_before_the_one_that_was_not() -> None:
    async def main(_: SimLoop) -> list[tuple[str, str, int]]:
        bourse = Bourse()
        bourse.go(bourse.at, LATER)
        async with deciding(bourse, RULES) as desk:
            for bar in (155, 156, 170, SPAN.stop - 1):
                await bourse.close(first(bourse) + bar)
            return desk.entries()

    assert sorted(run(main)) == sorted(straight())


def test_a_symbol_that_comes_late_is_told_when_it_comes_and_the_others_not_again() -> None:
    name, bar = next((name, bar - first(Bourse())) for rule, name, bar in straight() if rule == "rising")

    async def main(_: SimLoop) -> list[tuple[str, str, int]]:
        bourse = Bourse()
        bourse.go(bourse.at, LATER)
        async with deciding(bourse, RULES) as desk:
            for one in SPAN:
                bring = bourse.hide(name, first(bourse) + one) if one == bar else None
                await bourse.close(first(bourse) + one)
                if bring is not None:
                    before = desk.entries()
                    assert ("rising", name, first(bourse) + bar) not in before
                    bring()
                    await bourse.tell(first(bourse) + one, revision=1)
                    (late,) = [
                        x
                        for x in desk.told
                        if (x.kept.alert.rule, x.kept.alert.symbol) == ("rising", name)
                        and x.kept.alert.revision == 1
                    ]
                    assert late.kept.alert.key
                    await bourse.tell(first(bourse) + one, revision=2)
            return desk.entries()

    assert sorted(run(main)) == sorted(straight())


def test_what_is_too_old_is_written_down_and_not_sent(tmp_path: Path) -> None:
    async def main(_: SimLoop) -> None:
        bourse, path = Bourse(), tmp_path / "alerts.db"
        bourse.go(bourse.at, LATER)
        async with deciding(bourse, RULES, path):
            pass
        bourse.go(first(bourse) + 170, LATER)
        async with deciding(bourse, RULES, path, oldest=3_600_000) as desk:
            states: dict[bool, set[tuple[str, str]]] = {}
            for one in desk.told:
                age = bourse.now - one.kept.alert.bar_open_time - 900_000
                states.setdefault(age > 3_600_000, set()).add(
                    (one.deliveries[0].state, one.deliveries[0].detail)
                )
        assert states == {True: {("given_up", "too old")}, False: {("waiting", "")}}

    run(main)


def test_of_a_long_absence_the_newest_bars_are_decided(tmp_path: Path) -> None:
    async def main(_: SimLoop) -> None:
        bourse, path = Bourse(), tmp_path / "alerts.db"
        bourse.go(bourse.at, LATER)
        async with deciding(bourse, RULES, path):
            pass
        last = first(bourse) + 390
        bourse.go(last, LATER)
        async with deciding(bourse, RULES, path) as desk:
            bars = {bar for _, _, bar in desk.entries()}
        assert min(bars) > last - MOST_LATE
        assert max(bars) >= last - 3

    run(main)


def test_a_market_of_another_time_begins_anew(tmp_path: Path) -> None:
    async def main(_: SimLoop) -> list[tuple[str, str, int]]:
        path = tmp_path / "alerts.db"
        bourse = Bourse()
        bourse.go(first(bourse) + 300, LATER)
        async with deciding(bourse, RULES, path):
            pass
        bourse = Bourse()
        bourse.go(first(bourse) + 150, LATER)
        async with deciding(bourse, RULES, path) as desk:
            assert desk.entries() == []
            for bar in SPAN:
                await bourse.close(first(bourse) + bar)
            return desk.entries()

    assert sorted(run(main)) == sorted(straight())


def test_a_rule_that_is_edited_begins_anew_and_the_others_go_on() -> None:
    whole = straight()

    async def main(_: SimLoop) -> None:
        bourse = Bourse()
        bourse.go(bourse.at, LATER)
        async with deciding(bourse, RULES) as desk:
            for bar in SPAN:
                if bar == 165:
                    # It holds for most at once: nobody is told of what held already.
                    edited = rule("surge", "volume > 0")
                    await desk.deciding.change([edited, *RULES[2:]])
                await bourse.close(first(bourse) + bar)
            found = desk.entries()
        begun = first(bourse) + 165
        same = [one for one in whole if one[0] in {"turn", "restless", "hours"} or one[2] < begun]
        assert sorted(one for one in found if one[0] != "surge" or one[2] < begun) == sorted(same)
        held = bourse.whole["15m"].planes[4, :, 164] > 0
        anew = {name for rule_, name, bar in found if rule_ == "surge" and bar >= begun}
        known = {name for name, one in zip(bourse.whole["15m"].symbols, held, strict=True) if one}
        quiet = bourse.whole["15m"].planes[4, :, 165:190]
        let_go = {
            name for name, one in zip(bourse.whole["15m"].symbols, quiet, strict=True) if (one == 0).any()
        }
        assert anew & known <= let_go

    run(main)


def test_rules_that_did_not_change_are_left_alone() -> None:
    async def main(_: SimLoop) -> None:
        bourse = Bourse()
        bourse.go(bourse.at, LATER)
        async with deciding(bourse, RULES) as desk:
            made: list[Group] = list(desk.deciding._groups.values())
            await desk.deciding.change(RULES)
            assert list(desk.deciding._groups.values()) == made
            await desk.deciding.change([])
            assert desk.deciding.armed() == {}
            assert desk.outbox.standing().edges == ()

    run(main)


def test_a_rule_that_asks_for_it_fires_while_the_bar_is_open_and_once() -> None:
    rules = [rule("open", "close > lag(close, 1)", forming=True), rule("shut", "close > lag(close, 1)")]

    async def main(_: SimLoop) -> None:
        bourse = Bourse()
        bourse.go(bourse.at, LATER)
        async with deciding(bourse, rules) as desk:
            await asyncio.sleep(3 * FORMING)
            early = list(desk.told)
            assert early
            assert {(one.kept.alert.rule, one.kept.alert.forming) for one in early} == {("open", True)}
            await bourse.close(first(bourse) + 151)
            late = desk.told[len(early) :]
            both = {
                name: {x.kept.alert.symbol for x in some} for name, some in (("open", early), ("shut", late))
            }
            assert {one.kept.alert.rule for one in late} == {"shut"}
            assert both["open"] == both["shut"]

    run(main)
