"""The audit: closed bars held against a second answer."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, cast

import pytest
from tests.unit.panel.model import SCALE, Bar, exact, market, words

from klinehub.domain.kline import CLOSED, VERIFIED, Klines
from klinehub.domain.timeframe import Timeframe, in_order, timeframe
from klinehub.errors import BadRequest, Banned, Blocked, ProxyError, Unreachable
from klinehub.feed.asking import Progress
from klinehub.feed.audit import Difference, Verified, audit
from klinehub.feed.rest import Answer, RestClient
from klinehub.feed.use import Use
from klinehub.feed.venue import USDM
from klinehub.panel.merge import PROOF, merge_forming
from klinehub.panel.ring import Ring

FRAMES: Final = in_order(["1m", "5m"])
SYMBOLS: Final = ("AUSDT", "BUSDT", "CUSDT")
FIRST: Final = 28_333_335
ROWS: Final = 10
Rows = dict[tuple[str, str], list[Bar]]
Ask = Callable[[str, Mapping[str, str | int], int], Awaitable[Answer]]


def printed(bars: list[Bar], frame: Timeframe) -> bytes:
    table = [
        [
            bar.open_time,
            *(f"{ticks / 100:.2f}" for ticks in bar[1:5]),
            f"{bar.volume / 1000:.3f}" if bar.volume % 1000 else f"{bar.volume // 1000}.000",
            bar.open_time + frame.milliseconds - 1,
            f"{bar.quote_volume // 10**5}.{bar.quote_volume % 10**5:05d}",
            bar.trades,
            f"{bar.taker_base // 1000}.{bar.taker_base % 1000:03d}",
            f"{bar.taker_quote // 10**5}.{bar.taker_quote % 10**5:05d}",
            "0",
        ]
        for bar in bars
    ]
    return json.dumps(table).encode()


class Rest:
    """Answers with the rows it was given, or fails."""

    venue = USDM

    def __init__(self, rows: Rows, failing: dict[str, Exception]) -> None:
        self.rows = rows
        self.failing = failing
        self.asked: list[tuple[str, str, int, int]] = []
        self.time = 10**13
        self.unsure = 0

    async def ask(
        self, path: str, params: Mapping[str, str | int], *, weight: int, use: Use = Use.WARM_UP
    ) -> Answer:
        symbol, name = str(params["symbol"]), str(params["interval"])
        self.asked.append((symbol, name, int(params["limit"]), weight))
        if symbol in self.failing:
            raise self.failing[symbol]
        return Answer(printed(self.rows[symbol, name], timeframe(name)), self.time)


def small(timeframe_number: int, seed: int) -> list[Bar]:
    frame = FRAMES[timeframe_number]
    bars = market(frame, frame.index(FIRST * 60_000), ROWS, seed, quiet=0.0)
    return [bar._replace(volume=bar.volume % 10**9 * 1000 + 1) for bar in bars]


@pytest.fixture
def rows() -> Rows:
    return {(s, tf.name): small(t, 7 * n + t) for n, s in enumerate(SYMBOLS) for t, tf in enumerate(FRAMES)}


@pytest.fixture
def ring(rows: Rows) -> Ring:
    made = Ring(FRAMES, rows=3, bars=32, native=FRAMES)
    for row, symbol in enumerate(SYMBOLS):
        made.add(symbol, SCALE)
        for t, tf in enumerate(FRAMES):
            made.load(t, row, exact(rows[symbol, tf.name]), 10**13)
    return made


async def checked(ring: Ring, rest: Rest, *, batch: int = 2, steps: list[Progress] | None = None) -> Verified:
    note = steps.append if steps is not None else lambda _: None
    return await audit(
        ring,
        cast("RestClient", rest),
        SYMBOLS,
        ROWS,
        proof=lambda answer: answer.asked - rest.unsure,
        batch=batch,
        progress=note,
    )


async def test_equal_bars_are_counted_and_verified(ring: Ring, rows: Rows) -> None:
    rest, steps = Rest(rows, {}), list[Progress]()
    verified = await checked(ring, rest, steps=steps)

    assert verified == Verified(3 * 2 * ROWS, (), {})
    assert sorted(rest.asked) == sorted((s, tf.name, ROWS + 1, 1) for s in SYMBOLS for tf in FRAMES)
    assert [step.done for step in steps] == [1, 2, 3, 4, 5, 6]
    for symbol in SYMBOLS:
        states: Klines = ring.panel("5m").klines(symbol, 32)
        assert set(states["state"].tolist()) == {VERIFIED}


@pytest.mark.parametrize("name", Bar._fields[1:])
async def test_any_field_that_differs_is_found(ring: Ring, rows: Rows, name: str) -> None:
    wrong = rows["BUSDT", "1m"][4]
    high = {"high": wrong.high + 1, "low": wrong.low - 1, "open": wrong.low, "close": wrong.high}
    value = high.get(name, getattr(wrong, name) + 1)
    if value == getattr(wrong, name):
        value = wrong.high if name == "open" else wrong.low
    rows["BUSDT", "1m"][4] = wrong._replace(**{name: value})

    verified = await checked(ring, Rest(rows, {}))
    assert verified.different == (Difference("BUSDT", "1m", wrong.open_time),)
    assert verified.checked == 3 * 2 * ROWS
    kept = ring.panel("1m").klines("BUSDT", 32)
    assert kept["state"].tolist() == [CLOSED if n == 4 else VERIFIED for n in range(ROWS)]


async def test_rows_not_proven_closed_are_not_compared(ring: Ring, rows: Rows) -> None:
    last = rows["AUSDT", "1m"][-1]
    rows["AUSDT", "1m"][-1] = last._replace(trades=1)
    rest = Rest(rows, {})
    rest.time = last.open_time + 60_000 - 1 + PROOF - 1

    early = await checked(ring, rest)
    assert early.different == ()
    rest.time, rest.unsure = rest.time + 1, 1
    assert (await checked(ring, rest)).different == ()
    rest.unsure = 0
    assert (await checked(ring, rest)).different == (Difference("AUSDT", "1m", last.open_time),)


async def test_bars_that_are_not_closed_here_are_not_counted(ring: Ring, rows: Rows) -> None:
    following = market(FRAMES[0], FIRST + ROWS, 1, 5, quiet=0.0)[0]
    merge_forming(ring.memory, 0, 0, words(following), 1)
    rows["AUSDT", "1m"].append(following._replace(volume=1))

    assert await checked(ring, Rest(rows, {})) == Verified(3 * 2 * ROWS, (), {})


@pytest.mark.parametrize("failure", [Unreachable("no answer"), BadRequest("gone", -1122)])
async def test_a_series_that_fails_is_named_and_stops_no_other(
    ring: Ring, rows: Rows, failure: Exception
) -> None:
    verified = await checked(ring, Rest(rows, {"BUSDT": failure}))

    assert verified.checked == 2 * 2 * ROWS
    assert verified.failed == {f"BUSDT {tf.name}": str(failure) for tf in FRAMES}


async def test_a_body_that_is_none_is_a_failure(ring: Ring, rows: Rows) -> None:
    rest = Rest(rows, {})
    broken = rows["CUSDT", "5m"]
    rows["CUSDT", "5m"] = [broken[1], broken[0]]

    verified = await checked(ring, rest)
    assert list(verified.failed) == ["CUSDT 5m"]
    assert verified.different == ()


@pytest.mark.parametrize("failure", [Banned("later", 1), Blocked("no"), ProxyError("dead")])
async def test_what_concerns_every_request_is_raised_at_once(
    ring: Ring, rows: Rows, failure: Exception
) -> None:
    with pytest.raises(type(failure)):
        await checked(ring, Rest(rows, {"AUSDT": failure}))


async def test_nothing_to_compare_is_no_error(rows: Rows) -> None:
    empty = Ring(FRAMES, rows=3, bars=32)
    for symbol in SYMBOLS:
        empty.add(symbol, SCALE)

    assert await checked(empty, Rest(rows, {})) == Verified(0, (), {})
    nothing: Rows = {key: [] for key in rows}
    assert await checked(empty, Rest(nothing, {})) == Verified(0, (), {})
