"""Tickers and marks without an exchange: frames of any kind, those who listen, and what is said of itself."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.feed.test_texts import BODY, DAY, LISTED, MARK, MINI, PREMIUM, frames, packed
from tests.unit.feed.test_texts import TIME as NOW

from klinehub.domain.clock import Clock
from klinehub.domain.texts import MarkTexts, MiniTexts
from klinehub.feed.budget import WeightGate
from klinehub.feed.listed import Listed
from klinehub.feed.rest import Answer, RestClient
from klinehub.feed.tickers import ASTRAY, NEVER, RECENT, Tickers
from klinehub.feed.venue import SPOT, USDM
from klinehub.sim.loop import SimNetwork


def made(*, spot: bool = False, days: Answer | None = None) -> Tickers:
    clock = Clock(NOW, 1.0, lambda: 0.0)
    gate = WeightGate(clock)
    venue = SPOT if spot else USDM
    rest = RestClient("http://127.0.0.1:1", SimNetwork(), gate, clock, venue=venue)
    listed = Listed(rest)
    listed.symbols, listed.days = LISTED, days
    return Tickers(listed, rest, gate, clock)


def hear(kept: Tickers, *data: bytes) -> None:
    ends = np.cumsum([len(frame) for frame in data])
    kept.on_frames(0, np.frombuffer(b"".join(data), np.uint8), ends, len(data))


async def test_frames_of_one_read_are_taken_one_by_one_and_told_one_by_one() -> None:
    kept = made()
    told: list[Any] = []
    kept.on_tickers.append(lambda rows: told.append([row.last for row in rows]))
    kept.on_marks.append(lambda rows: told.append([row.price for row in rows]))
    other = b'{"result":null,"id":1}'
    newer = DAY | {"c": "61235.00", "C": NOW}
    hear(
        kept, packed(DAY), other, packed(MARK, stream="!markPrice@arr@1s"), packed(stream="!ticker@arr")[:-1]
    )
    hear(kept, packed(DAY), packed(newer, {"s": "NOBODY", "st": 2}), packed(DAY))

    assert told == [["61234.10"], ["61234.10000000"], ["61235.00"]]
    stats = kept.stats()
    assert (stats["tickers"], stats["ticker_rows"], stats["mark_rows"]) == (1, 4, 1)
    assert (stats["ticker_unread"], stats["ticker_late"]) == (1, 2)


async def test_what_cannot_be_read_is_not_known_until_it_is_told_again() -> None:
    kept = made()
    hear(kept, packed(DAY), packed(MARK))
    hear(kept, packed(DAY | {"c": "<html>"}))

    assert kept.table.mini("BTCUSDT") is None
    hear(kept, packed(DAY | {"C": NOW + 1}))
    assert kept.table.mini("BTCUSDT") is not None
    assert kept.stats()["ticker_unread"] == 1


async def test_what_is_told_of_a_time_to_come_does_not_keep_out_what_comes() -> None:
    kept = made()
    hear(kept, packed(DAY | {"C": NOW + ASTRAY + 1}), packed(DAY | {"E": NOW + ASTRAY + 1}))
    hear(kept, packed(MARK | {"E": NOW + ASTRAY + 1}))

    assert len(kept.table) == 0
    assert kept.stats()["ticker_astray"] == 3
    hear(kept, packed(DAY))
    assert len(kept.table) == 1


async def test_spot_hears_tickers_in_short_and_no_marks() -> None:
    kept = made(spot=True)
    hear(kept, packed(MINI), packed(MARK))

    assert kept.names == ("!miniTicker@arr",)
    assert kept.table.mini("BTCUSDT") is not None
    assert kept.table.day("BTCUSDT") is None
    assert "mark_age" not in kept.stats()


async def test_it_begins_with_what_chose_the_universe_if_that_was_just_now() -> None:
    kept = made(days=Answer(packed(BODY), NOW - RECENT))
    kept._begin()

    assert (kept.days_as_of, kept.marks_as_of) == (NOW - RECENT, NEVER)
    assert kept.table.day("BTCUSDT") is not None
    assert kept.stats()["ticker_age"] == RECENT / 1000
    hear(kept, packed(DAY), packed(MARK))
    # Marks were not read yet, so there may be some that were not heard.
    assert (kept.days_as_of, kept.marks_as_of, kept.stats()["mark_age"]) == (NOW, NEVER, -1.0)

    old = made(days=Answer(packed(BODY), NOW - RECENT - 1))
    old._begin()
    assert (len(old.table), old.days_as_of) == (0, NEVER)


@pytest.mark.parametrize(
    "body", [b"[]", b"<html>", b'{"code":-1}', packed({"symbol": "NOBODY"}), packed(PREMIUM)]
)
async def test_a_body_of_nothing_is_no_beginning_and_no_end(body: bytes) -> None:
    kept = made(days=Answer(body, NOW))
    kept._begin()

    assert (kept.days_as_of, kept.failures) == (NEVER, 1)


@given(st.lists(st.one_of(frames(), st.binary(max_size=100)), max_size=4))
def test_bytes_of_any_kind_neither_raise_nor_enter(data: list[bytes]) -> None:
    kept = made()
    rows: list[MiniTexts | MarkTexts] = []
    kept.on_tickers.append(rows.extend)
    kept.on_marks.append(rows.extend)
    now = 0.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("klinehub.feed.tickers._now", lambda: now)
        patch.setattr(kept._silence, "heard", lambda _: None)
        hear(kept, *data)

    for row in rows:
        assert row.symbol in LISTED
        assert row.time <= NOW + ASTRAY
        assert "<" not in json.dumps([getattr(row, name) for name in row.__struct_fields__])
