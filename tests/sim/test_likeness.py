"""Hits of a served hub carry what history has of scores like theirs, and are the same hits without it."""

import asyncio
from itertools import pairwise
from typing import Any, Final

import msgspec
import pytest
from tests.sim.served import Lent, lend
from tests.sim.viewing import looking

from klinehub.alerts.rule import RuleText
from klinehub.factors.language import parse
from klinehub.factors.stock import BY_NAME
from klinehub.scan.likeness import NEVER, Bucket, Calibration, Calibrations, Outcome
from klinehub.scan.screen import Screen
from klinehub.scan.watch import watch

pytestmark = pytest.mark.timeout(180)
OUTCOMES: Final = tuple(Outcome(bars, 500, 0.002, (0.001, 0.003), 0.5) for bars in (1, 24, 96))
RULE: Final = RuleText(where="close > lag(close, 1)", timeframe="1m")
HELD: Final = watch("held", ["BTCUSDT"], parse("rsi", BY_NAME) > 0, "1m")
LIKE: Final = "/api/v1/scan"
WHOLE: Final[dict[str, Any]] = {"timeframes": ("1m", "5m", "15m", "1h"), "bars": 499, "tickers": True}


def calibration(screen: Screen, *edges: float) -> Calibration:
    """Make one of a screen, whose scores are parted at *edges*."""
    ends = (None, *edges, None)
    buckets = [Bucket(low, high, 500, 60, OUTCOMES) for low, high in pairwise(ends)]
    return Calibration(
        screen=screen.name,
        hash=screen.uncut.hash,
        timeframe=screen.timeframe or "",
        start=0,
        end=86_400_000,
        bars=1,
        symbols=1,
        data="",
        code="",
        universe="",
        made=1,
        buckets=tuple(buckets),
    )


def plain(value: Any) -> Any:
    """Give something as JSON has it."""
    return msgspec.json.decode(msgspec.json.encode(value))


def known(lent: Lent, *frames: str) -> Calibrations:
    """Have the default score calibrated on some timeframes."""
    base = lent.world.hub.scanning.base
    return Calibrations(tuple(calibration(base(frame), -10.0, 10.0) for frame in frames))


def test_each_hit_of_the_api_carries_its_own_and_the_result_is_the_same_without_it() -> None:
    async def test(lent: Lent) -> None:
        await lent.until(70)
        before = (await lent.ask(LIKE)).json
        lent.world.hub.scanning.hold_against(known(lent, "15m"))
        after, cut = (await lent.ask(LIKE)).json, (await lent.ask(LIKE, top="1", min_score="1")).json
        narrowed = (await lent.ask(LIKE, where="close > 0")).json
        preset = (await lent.ask(LIKE, screen="momentum")).json

        assert after["result"] == before["result"]
        assert (before["evidence"], before["no_evidence"]) == ({}, NEVER)
        assert after["no_evidence"] == cut["no_evidence"] == narrowed["no_evidence"] == ""
        for found in (after, cut, narrowed):
            assert set(found["evidence"]) == {hit["symbol"] for hit in found["result"]["results"]}
        for hit in after["result"]["results"]:
            low = after["evidence"][hit["symbol"]]["low"]
            assert low == (10.0 if hit["score"] >= 10.0 else -10.0 if hit["score"] >= -10.0 else None)
        assert preset["evidence"] == {}
        assert "momentum was never calibrated" in preset["no_evidence"]
        assert (await lent.ask("/api/v1/evidence")).json == plain(known(lent, "15m"))
        assert (await lent.ask("/api/v1/status")).json["counts"]["calibrated"] == "score 15m"

    lend(test, **WHOLE)


def test_alerts_of_rules_and_events_of_scans_carry_it_too() -> None:
    async def test(lent: Lent) -> None:
        scanning = lent.world.hub.scanning
        scanning.hold_against(known(lent, "1m", "15m"))
        async with lent.signals.listening(["score", "held"], closes=False, alerts=True) as listener:
            await lent.until(400)
            events = [listener.queue.get_nowait() for _ in range(listener.queue.qsize())]
        told: dict[str, list[Any]] = {}
        for event in events:
            if event is not None:
                told.setdefault(event.kind, []).append(msgspec.json.decode(event.data))

        scores = [one for one in told["scan"] if one["result"]["screen"] == "score"]
        assert scores
        assert all(
            set(one["evidence"]) >= {hit["symbol"] for hit in one["result"]["results"]} for one in scores
        )
        # A screen without a score has nothing to be known by but itself.
        held = [one for one in told["scan"] if one["result"]["screen"] == "held"]
        assert {one["no_evidence"][:23] for one in held} == {"held was never calibrat"}
        alerts = {one["rule"]: one["evidence"] for one in told["alert"]}
        assert alerts["held"] is None
        assert alerts["any"]["screen"] == "score"
        assert alerts["any"]["outcomes"] == plain(OUTCOMES)

    lend(test, screens=[HELD], alerting=lambda _: {"rules": {"any": RULE}}, **WHOLE)


def test_pages_are_told_what_is_known_at_first_and_when_it_changes() -> None:
    async def test(lent: Lent) -> None:
        scanning = lent.world.hub.scanning
        async with looking(lent) as early:
            await early.next("prices")
            assert early.of("evidence") == []
            scanning.hold_against(known(lent, "15m"))
            first = await early.next("evidence")
            async with looking(lent) as late:
                assert await late.next("evidence") == first
            scanning.hold_against(known(lent, "15m", "1h"))
            await early.until("evidence", lambda one: set(one["frames"]) == {"15m", "1h"})
            await asyncio.sleep(3.0)

        assert set(first["frames"]) == {"15m"}
        assert [bucket["low"] for bucket in first["frames"]["15m"]["buckets"]] == [None, -10.0, 10.0]
        assert len(early.of("evidence")) == 2

    lend(test, **WHOLE)
