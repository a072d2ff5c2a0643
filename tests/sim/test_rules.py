"""Rules over the API on virtual time: judged at once, told as they fire, refused in words, and kept."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from tests.sim.served import Lent, lend
from tests.sim.test_api import HELD
from tests.sim.worlds import World

from klinehub.alerts.delivering import TargetRow, Tried
from klinehub.alerts.outbox import Outbox
from klinehub.alerts.rule import RuleText
from klinehub.errors import UnknownName
from klinehub.scan.alerts import Alert
from klinehub.serve import changes
from klinehub.serve.api import ROUTES

pytestmark = pytest.mark.timeout(180)
RULES, DELETE, TEST = changes.RULES, changes.DELETE, changes.TEST
# At each bar that closes higher than the one before; a minute each.
RISING: Final = {"name": "rising", "where": "close > lag(close, 1)", "timeframe": "1m"}


class Pigeons:
    """Targets that keep what they are told."""

    names = ("phone", "desk")

    def __init__(self) -> None:
        self.woken = 0
        self.tried: list[tuple[Alert, tuple[str, ...]]] = []

    def reached(self, _: Alert, to: Sequence[str]) -> tuple[str, ...]:
        return tuple(to) or self.names

    def wake(self) -> None:
        self.woken += 1

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def test(self, alert: Alert, to: Sequence[str]) -> list[Tried]:
        self.tried.append((alert, tuple(to)))
        return [
            Tried(name, ok=name == "phone", detail="" if name == "phone" else "status 401") for name in to
        ]

    async def rows(self) -> list[TargetRow]:
        return list(self.now())

    def now(self) -> list[TargetRow]:
        return [TargetRow(name=name, kind="messenger", where="tgram") for name in self.names]


def with_pigeons(pigeons: Pigeons, **more: Any) -> Any:
    return lambda _: {"deliver": lambda _log: pigeons, **more}


def test_a_rule_of_the_board_is_judged_from_then_on_and_its_alerts_are_told_and_logged() -> None:
    pigeons = Pigeons()

    async def test(lent: Lent) -> None:
        await lent.until(70)
        made = await lent.change(RULES, {**RISING, "to": ["phone"]})
        assert (made.status, made.json["origin"], made.json["failure"]) == (200, "board", "")
        async with lent.signals.listening([], closes=False, alerts=True) as listener:
            await lent.until(400)
            events = [listener.queue.get_nowait() for _ in range(listener.queue.qsize())]
        told = [msgspec.json.decode(event.data) for event in events if event is not None]
        (row,) = (await lent.ask(RULES)).json
        alerts = (await lent.ask("/api/v1/alerts")).json

        assert alerts
        assert told == alerts
        assert row["fired"] == len(alerts)
        assert 0 < row["armed"] <= 4
        assert pigeons.woken > 0
        hub = lent.world.hub
        for one in alerts:
            opened = one["bar_open_time"]
            bars = await hub.range(one["symbol"], "1m", opened - 60_000, opened + 60_000)
            assert bars["close"][1] > bars["close"][0]
            assert one["price"] == bars["close"][1]
            assert one["change"] == pytest.approx((bars["close"][1] / bars["open"][1] - 1) * 100)
            assert one["time"] - one["bar_open_time"] < 70_000
            assert (one["rule"], one["timeframe"], len(one["key"])) == ("rising", "1m", 12)
            assert [(d["target"], d["state"]) for d in one["deliveries"]] == [("phone", "waiting")]
            assert f"symbol={one['symbol']}&tf=1m&at={one['bar_open_time'] + 60_000}" in one["link"]
        assert len({one["key"] for one in alerts}) == len(alerts)
        some = (await lent.ask("/api/v1/alerts", symbol=alerts[0]["symbol"])).json
        assert {one["symbol"] for one in some} == {alerts[0]["symbol"]}
        csv = (await lent.ask("/api/v1/alerts.csv")).text
        assert csv.count("\n") == len(alerts) + 1

    lend(test, alerting=with_pigeons(pigeons))


def test_what_a_rule_can_not_be_is_told_and_leaves_all_as_it_was() -> None:
    wrong: dict[str, tuple[int, str]] = {
        '{"name": "a", "where": "rsii < 30"}': (404, "rsi"),
        '{"name": "a", "where": "rsi <"}': (400, "At the end"),
        '{"name": "a", "where": "rsi < 30", "timeframe": "4h"}': (404, "timeframe"),
        '{"name": "a", "where": "rsi < 30", "to": ["fone"]}': (404, "phone"),
        '{"name": "a", "screen": "momentun"}': (404, "momentum"),
        '{"name": "a"}': (400, "looks for nothing"),
        '{"name": "file", "where": "rsi < 30"}': (400, "klinehub.toml"),
        '{"name": "", "where": "rsi < 30"}': (400, "length"),
        '{"name": "a", "where": "rsi < 30", "colour": "red"}': (400, "colour"),
        '{"name": "a", "where": "rsi < 30", "cooldown": -1}': (400, ">= 0"),
        '{"name": "a", "where": "rsi < 30"': (400, "truncated"),
        "[]": (400, "Expected `object`"),
        '{"name": "a", "where": "lag(close, 500) > 1"}': (400, "raise `market.bars`"),
        '{"name": "a", "where": "funding > 0"}': (400, "market.marks"),
    }

    async def test(lent: Lent) -> None:
        await lent.until(70)
        before = (await lent.ask(RULES)).json
        for body, (status, said) in wrong.items():
            headers = {"X-Klinehub": "1", "Content-Type": "application/json"}
            async with lent.session.post(lent.url + RULES, data=body, headers=headers) as answer:
                text = await answer.text()
                assert (answer.status, said in text) == (status, True), (body, text)
        assert (await lent.ask(RULES)).json == before
        assert (await lent.change(DELETE, {"name": "nobody"})).status == 404
        assert (await lent.change(DELETE, {"name": "file"})).status == 400
        assert (await lent.change(TEST, {"name": "nobody"})).status == 404

    rules = {"file": RuleText(where="close > 0", timeframe="1m")}
    lend(test, alerting=with_pigeons(Pigeons(), rules=rules))


def test_a_change_shows_that_no_page_from_elsewhere_makes_it() -> None:
    async def test(lent: Lent) -> None:
        await lent.until(70)
        for path in sorted(changes.PATHS):
            assert (await lent.change(path, RISING, X_Klinehub="0")).status == 403
            assert (await lent.change(path, RISING, Origin="http://evil.example")).status == 403
            assert (await lent.change(path, RISING, Content_Type="text/plain")).status == 415
            plain = await lent.ask(path, "POST")
            assert (plain.status, plain.json["error"]) == (403, "Forbidden")
            for method in ("PUT", "DELETE", "PATCH"):
                refused = await lent.ask(path, method)
                wanted = "GET, HEAD, POST" if path == RULES else "POST"
                assert (refused.status, refused.headers["Allow"]) == (405, wanted)
        assert (await lent.ask(DELETE)).status == 405
        assert (await lent.ask(RULES)).json == []

    lend(test)


def test_the_paths_that_change_something_are_those_that_are_asked_by_post() -> None:
    assert {path for route in ROUTES if route.body is not None for path in route.paths} == changes.PATHS


def test_a_rule_is_tested_at_its_targets_and_says_of_each_what_became_of_it() -> None:
    pigeons = Pigeons()

    async def test(lent: Lent) -> None:
        await lent.until(70)
        await lent.change(RULES, {**RISING, "symbols": ["ETHUSDT"]})
        answer = await lent.change(TEST, {"name": "rising"})

        assert answer.json == [
            {"target": "phone", "ok": True, "detail": ""},
            {"target": "desk", "ok": False, "detail": "status 401"},
        ]
        alert, to = pigeons.tried[0]
        assert (alert.rule, alert.symbol, to) == ("rising", "ETHUSDT", ("phone", "desk"))
        assert alert.price == lent.world.hub.klines("ETHUSDT", "1m", 1)["close"][0]
        assert (await lent.ask("/api/v1/alerts")).json == []
        by_name = await lent.signals.alerting.try_name("desk")
        assert [one.target for one in by_name] == ["desk"]

    lend(test, alerting=with_pigeons(pigeons))


def test_rules_of_the_board_and_the_log_are_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "alerts.db"

    def alerting(world: World) -> Mapping[str, Any]:
        return {"open_outbox": lambda: Outbox(path, now=world.hub.now())}

    seen: list[Any] = []

    async def first(lent: Lent) -> None:
        await lent.until(70)
        await lent.change(RULES, RISING)
        await lent.change(RULES, {**RISING, "name": "other"})
        await lent.change(RULES, {**RISING, "name": "off", "enabled": False})
        await lent.change(DELETE, {"name": "other"})
        await lent.until(200)
        seen.extend((await lent.ask("/api/v1/alerts")).json)

    async def second(lent: Lent) -> None:
        await lent.until(70)
        rows = {row["name"]: row for row in (await lent.ask(RULES)).json}
        assert set(rows) == {"rising", "off"}
        assert (rows["off"]["enabled"], rows["off"]["armed"]) == (False, 0)
        assert rows["rising"]["fired"] >= len(seen)
        again = (await lent.ask("/api/v1/alerts")).json
        assert again[: len(seen)] == seen
        assert len({one["key"] for one in again}) == len(again)

    lend(first, alerting=alerting)
    assert seen
    lend(second, alerting=alerting)


def test_a_rule_of_the_board_that_can_not_be_judged_any_more_is_shown_as_such(tmp_path: Path) -> None:
    path = tmp_path / "alerts.db"
    outbox = Outbox(path, now=0)
    outbox.put_rule("gone", '{"where":"no_such_factor > 1"}')
    outbox.put_rule("torn", '{"where":')
    outbox.put_rule("fine", '{"where":"close > 0","timeframe":"1m"}')
    outbox.close()

    async def test(lent: Lent) -> None:
        await lent.until(70)
        rows = {row["name"]: row for row in (await lent.ask(RULES)).json}
        assert "no_such_factor" in rows["gone"]["failure"]
        assert "delete it" in rows["torn"]["failure"]
        assert (rows["fine"]["failure"], rows["fine"]["timeframe"]) == ("", "1m")
        assert (await lent.change(TEST, {"name": "gone"})).status == 400
        for name in ("gone", "torn"):
            assert (await lent.change(DELETE, {"name": name})).status == 200
        assert [row["name"] for row in (await lent.ask(RULES)).json] == ["fine"]

    lend(test, alerting=lambda _: {"open_outbox": lambda: Outbox(path, now=0)})


def test_own_screens_are_told_at_each_bar_as_before_through_the_same_log() -> None:
    pigeons = Pigeons()

    async def test(lent: Lent) -> None:
        await lent.until(200)
        alerts = (await lent.ask("/api/v1/alerts")).json
        times = [one["bar_open_time"] for one in alerts]
        assert {one["rule"] for one in alerts} == {"held"}
        assert times == sorted(set(times))
        assert len(times) >= 3
        assert {one["deliveries"][0]["target"] for one in alerts} == {"desk"}

    lend(test, screens=[HELD], alerting=with_pigeons(pigeons, to={"held": ("desk",)}))


def test_a_rule_or_a_screen_of_the_file_for_a_target_that_is_not_there_is_refused_with_the_nearest() -> None:
    async def test(_: Lent) -> None: ...

    rules = {"a": RuleText(where="close > 0", to=("fone",))}
    with pytest.raises(UnknownName, match="phone"):
        lend(test, alerting=with_pigeons(Pigeons(), rules=rules))
