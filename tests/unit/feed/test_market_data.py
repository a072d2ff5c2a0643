"""What is kept of market data: per 8 hours, of symbols that are held, at times that can be."""

import json
from typing import Any, Final

import numpy as np
import pytest

from klinehub.domain.clock import Clock
from klinehub.domain.kline import Scale
from klinehub.domain.timeframe import in_order
from klinehub.feed.budget import WeightGate
from klinehub.feed.market_data import ASTRAY, MARK_FIELDS, MarketData
from klinehub.feed.rest import RestClient
from klinehub.panel.beside import Beside
from klinehub.panel.ring import Ring
from klinehub.sim.loop import SimNetwork

NOW: Final = 1_791_240_000_000
FIELDS: Final = (*MARK_FIELDS, "open_interest")


def made(fields: tuple[str, ...] = FIELDS) -> tuple[MarketData, Beside]:
    clock = Clock(NOW, 1.0, lambda: 0.0)
    ring = Ring(in_order(["1m", "1h"]), rows=4, bars=10, beside=fields)
    for symbol in ("BTCUSDT", "ETHUSDT", "FASTUSDT"):
        ring.add(symbol, Scale(2, 3, 5))
    gate = WeightGate(clock)
    rest = RestClient("http://127.0.0.1:1", SimNetwork(), gate, clock)
    assert ring.beside is not None
    return MarketData(ring, ring.beside, rest, gate, clock, symbols=list, every=300.0), ring.beside


def row(symbol: str, time: int = NOW, rate: str = "0.00010000", price: float = 100.0) -> dict[str, Any]:
    return {"E": time, "s": symbol, "p": str(price), "i": "100", "r": rate, "T": NOW + 1, "st": 1}


def hear(data: MarketData, *frames: bytes) -> None:
    ends = np.cumsum([len(frame) for frame in frames])
    data.on_frames(0, np.frombuffer(b"".join(frames), np.uint8), ends, len(frames))


def frame(*rows: Any) -> bytes:
    return json.dumps({"stream": "!markPrice@arr", "data": rows}).encode()


def last(beside: Beside, field: str) -> list[float]:
    values: list[float] = beside.kept.last[beside.place[field], :3].tolist()
    return values


async def test_funding_is_kept_per_8_hours() -> None:
    data, beside = made()
    data.hours = {"FASTUSDT": 1, "ETHUSDT": 4}
    hear(data, frame(*(row(symbol) for symbol in ("BTCUSDT", "ETHUSDT", "FASTUSDT"))))

    assert last(beside, "funding_rate") == [1e-4, 2e-4, 8e-4]


async def test_funding_is_unknown_until_its_hours_are() -> None:
    data, beside = made()
    hear(data, frame(row("BTCUSDT")))

    assert np.isnan(last(beside, "funding_rate")).all()
    assert last(beside, "mark_price")[0] == 100.0
    assert data.stats()["funding_known"] == 0


async def test_frames_of_one_read_are_taken_one_by_one() -> None:
    data, beside = made()
    data.hours = {}
    other = b'{"result":null,"id":1}'
    hear(data, frame(row("BTCUSDT")), other, b'{"stream":"!markPrice@arr","data":5}', frame(row("ETHUSDT")))
    hear(data, frame(row("NOBODY"), row("BTCUSDT", NOW + 1, price=101.0), {"s": "ETHUSDT"}))

    assert last(beside, "mark_price") == pytest.approx([101.0, 100.0, np.nan], nan_ok=True)
    assert (data.told.marks, data.told.unread) == (3, 2)


async def test_what_is_told_of_a_time_that_cannot_be_is_left_out() -> None:
    data, beside = made()
    data.hours = {}
    hear(data, frame(row("BTCUSDT", NOW + ASTRAY + 1), row("ETHUSDT", NOW - ASTRAY - 1), row("FASTUSDT")))

    assert np.isnan(last(beside, "mark_price")).tolist() == [True, True, False]
    assert data.stats()["told_astray"] == 2
    assert data.stats()["fresh_marks"] == 1


async def test_an_earlier_telling_is_counted_as_late() -> None:
    data, beside = made()
    data.hours = {}
    hear(data, frame(row("BTCUSDT", price=100.0)), frame(row("BTCUSDT", NOW - 1, price=99.0)))

    assert last(beside, "mark_price")[0] == 100.0
    assert data.stats()["told_late"] == 1


async def test_what_is_not_kept_is_neither_heard_nor_asked_for() -> None:
    both, marks, interest = made()[0], made(MARK_FIELDS)[0], made(("open_interest",))[0]

    assert [(one.hears, one.polls) for one in (both, marks, interest)] == [
        (True, True),
        (True, False),
        (False, True),
    ]
    assert "fresh_marks" not in interest.stats()
    assert "open_interest_polls" not in marks.stats()
