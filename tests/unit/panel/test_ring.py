"""The ring as a whole: symbols, scales, more decimals later."""

from typing import Final

import numpy as np
import pytest
from tests.unit.panel.model import SCALE, Bar, exact, market

from klinehub.domain.kline import Exact, Scale
from klinehub.domain.timeframe import in_order
from klinehub.errors import DataError
from klinehub.panel.memory import size
from klinehub.panel.ring import Ring

FRAMES: Final = in_order(["1m", "5m", "15m"])
START: Final = 28_333_335
LATER: Final = 10**13


@pytest.fixture
def bars() -> list[Bar]:
    return market(FRAMES[0], START, 10, 3, quiet=0.2)


@pytest.fixture
def ring(bars: list[Bar]) -> Ring:
    """Three symbols, the middle one with ten base bars, the third with the same as neighbours."""
    made = Ring(FRAMES, rows=3, bars=40)
    for symbol in ("A", "B", "C"):
        made.add(symbol, SCALE)
    for row in (1, 2):
        made.load(0, row, exact(bars), LATER)
        for bar in bars:
            made.lift(0, row, bar.open_time)
    return made


def test_a_symbol_keeps_its_row_and_its_decimals() -> None:
    ring = Ring(FRAMES, rows=2, bars=4)

    assert [ring.add(s, SCALE) for s in ("A", "B", "A")] == [0, 1, 0]
    assert ring.add("A", Scale(9, 9, 9)) == 0
    assert ring.scale(0) == SCALE
    with pytest.raises(DataError, match=r"No row left for C: the ring holds 2 symbols\. Raise"):
        ring.add("C", SCALE)


def test_it_lives_in_the_buffer_it_is_given(bars: list[Bar]) -> None:
    buffer = np.zeros(size(3, 1, 40) + 100, np.uint8)
    ring = Ring(FRAMES, rows=1, bars=40, buffer=buffer)
    ring.add("A", SCALE)
    ring.load(0, 0, exact(bars), LATER)

    assert buffer.any()
    assert ring.bytes == size(3, 1, 40)
    assert np.shares_memory(ring.memory.cells, buffer)
    assert not buffer[size(3, 1, 40) :].any()


@pytest.mark.parametrize("wider", [Scale(2, 4, 5), Scale(2, 3, 7), Scale(5, 3, 5), Scale(2, 6, 7)])
def test_more_decimals_later_keep_every_value(ring: Ring, wider: Scale) -> None:
    before = {tf.name: [ring.panel(tf.name).klines(s, 40).copy() for s in "BC"] for tf in FRAMES}

    ring.rescale(1, wider)

    assert ring.scale(1) == wider
    assert ring.scale(2) == SCALE
    for name, both in before.items():
        for symbol, klines in zip("BC", both, strict=True):
            assert ring.panel(name).klines(symbol, 40).tolist() == klines.tolist()


def test_a_larger_bar_half_built_survives_more_decimals(bars: list[Bar]) -> None:
    ring, plain = (Ring(FRAMES, rows=2, bars=40) for _ in range(2))
    for one, at in ((ring, 3), (plain, 99)):
        for symbol in ("A", "B"):
            one.add(symbol, SCALE)
        for number, bar in enumerate(bars[:5]):
            if number == at:
                one.rescale(1, Scale(2, 5, 8))
            one.load(0, 1, exact([bar]), LATER)
            one.lift(0, 1, bar.open_time)

    assert ring.panel("5m").klines("B", 9).tolist() == plain.panel("5m").klines("B", 9).tolist()
    assert len(plain.panel("5m").klines("B", 9)) == 1


def test_decimals_never_get_fewer(ring: Ring) -> None:
    ring.rescale(1, Scale(0, 4, 0))

    assert ring.scale(1) == Scale(2, 4, 5)


@pytest.mark.parametrize("wider", [Scale(2, 12, 5), Scale(2, 3, 19), Scale(2, 3, 400), Scale(400, 3, 5)])
def test_decimals_that_do_not_fit_are_refused_and_change_nothing(ring: Ring, wider: Scale) -> None:
    before = ring.memory.cells.copy()

    with pytest.raises(DataError, match="B: a"):
        ring.rescale(1, wider)
    assert ring.scale(1) == SCALE
    assert np.array_equal(ring.memory.cells, before)
    with pytest.raises(DataError):
        ring.rescale(0, Scale(0, 0, 400))


def test_rows_with_fewer_decimals_are_brought_to_those_that_are_kept(ring: Ring, bars: list[Bar]) -> None:
    coarse = [bar._replace(**{f: getattr(bar, f) // 100 * 100 for f in Bar._fields[5:]}) for bar in bars]
    short = exact(coarse).rows.copy()
    for name in ("volume", "taker_base", "quote_volume", "taker_quote"):
        short[name] //= 100

    ring.load(0, 0, Exact(short, Scale(2, 1, 3)), LATER)

    assert ring.panel("1m").exact("A", start=0, end=10**9).rows.tolist() == [bar.row for bar in coarse]


def test_rows_with_more_decimals_widen_what_is_kept(ring: Ring, bars: list[Bar]) -> None:
    following = market(FRAMES[0], START + 10, 3, 5)

    ring.load(0, 1, exact(following, Scale(2, 4, 5)), LATER)

    klines = ring.panel("1m").klines("B", 13)
    assert ring.scale(1) == Scale(2, 4, 5)
    assert klines["volume"][:10].tolist() == [bar.volume / 1000 for bar in bars]
    assert klines["volume"][10:].tolist() == [bar.volume / 10_000 for bar in following]


def test_rows_that_cannot_be_brought_to_the_decimals_kept_are_refused(ring: Ring) -> None:
    huge = market(FRAMES[0], START + 10, 1, 5, quiet=0.0)[0]._replace(volume=2**62)

    with pytest.raises(DataError, match="B: a volume with 3 decimals does not fit 64 bits"):
        ring.load(0, 1, exact([huge], Scale(2, 2, 5)), LATER)
    assert len(ring.panel("1m").klines("B", 40)) == 10


def test_trade_less_rows_say_nothing_about_decimals(ring: Ring) -> None:
    flat = market(FRAMES[0], START + 10, 2, 5, quiet=1.0)

    ring.load(0, 1, exact(flat, Scale(2, 0, 0)), LATER)

    assert ring.scale(1) == SCALE
    assert len(ring.panel("1m").klines("B", 40)) == 12
