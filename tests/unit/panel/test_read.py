"""What readers get: klines, exact rows and blocks, and the list of what is missing."""

from decimal import Decimal
from typing import Final

import numpy as np
import pytest
from tests.unit.panel.model import SCALE, Bar, exact, market, words

from klinehub.domain.kline import CLOSED, FORMING, VERIFIED
from klinehub.domain.timeframe import in_order, timeframe
from klinehub.errors import UnknownName
from klinehub.panel.merge import merge_closed, merge_forming
from klinehub.panel.panel import Panel
from klinehub.panel.ring import Ring
from klinehub.panel.view import PLANES

MINUTE: Final = timeframe("1m")
START: Final = 28_333_335
BARS: Final = 20


@pytest.fixture
def ring() -> Ring:
    made = Ring(in_order(["1m", "5m"]), rows=4, bars=BARS)
    for symbol in ("BTCUSDT", "ETHUSDT", "币安人生USDT"):
        made.add(symbol, SCALE)
    return made


@pytest.fixture
def panel(ring: Ring) -> Panel:
    return ring.panel("1m")


@pytest.fixture
def bars() -> list[Bar]:
    return market(MINUTE, START, 50, 11, quiet=0.0)


def close(ring: Ring, *bars: Bar, row: int = 1) -> None:
    for bar in bars:
        merge_closed(ring.memory, 0, row, words(bar))


def update(ring: Ring, bar: Bar, row: int = 1) -> None:
    merge_forming(ring.memory, 0, row, words(bar), 1)


def opens(panel: Panel, limit: int, *, forming: bool = False, symbol: str = "ETHUSDT") -> list[int]:
    return [int(time) for time in panel.klines(symbol, limit, forming=forming)["open_time"]]


def times(bars: list[Bar]) -> list[int]:
    return [bar.open_time for bar in bars]


def test_klines_are_the_bars_in_units_of_the_asset(ring: Ring, panel: Panel, bars: list[Bar]) -> None:
    close(ring, *bars[:3])
    ring.verify(0, 1, exact(bars[:1]))

    for kline, bar in zip(panel.klines("ETHUSDT", 3), bars[:3], strict=True):
        volumes = {name: float(Decimal(getattr(bar, name)).scaleb(-3)) for name in ("volume", "taker_base")}
        quotes = {f: float(Decimal(getattr(bar, f)).scaleb(-5)) for f in ("quote_volume", "taker_quote")}
        prices = {name: getattr(bar, name) / 100 for name in ("open", "high", "low", "close")}
        expected = {
            **volumes,
            **quotes,
            **prices,
            "open_time": bar.open_time,
            "close_time": bar.open_time + 59_999,
            "trades": bar.trades,
            "state": VERIFIED if bar is bars[0] else CLOSED,
        }
        assert {name: kline[name] for name in kline.dtype.names or ()} == expected


@pytest.mark.parametrize("limit", [0, 1, 4, 9, 10, 11, BARS, 10 * BARS])
def test_the_newest_bars_are_given_up_to_the_limit(
    ring: Ring, panel: Panel, bars: list[Bar], limit: int
) -> None:
    close(ring, *bars[:10])

    assert opens(panel, limit) == times(bars[max(0, 10 - limit) : 10])


@pytest.mark.parametrize("count", [BARS - 1, BARS, BARS + 1, BARS + 7, 2 * BARS + 3])
def test_a_full_ring_gives_its_newest_bars(ring: Ring, panel: Panel, bars: list[Bar], count: int) -> None:
    close(ring, *bars[:count])

    assert opens(panel, BARS) == times(bars[max(0, count - BARS) : count])
    assert opens(panel, 3) == times(bars[count - 3 : count])


def test_the_open_bar_comes_only_when_asked_for(ring: Ring, panel: Panel, bars: list[Bar]) -> None:
    close(ring, *bars[:5])
    update(ring, bars[5])

    assert opens(panel, 3) == times(bars[2:5])
    assert opens(panel, 3, forming=True) == times(bars[2:6])
    assert panel.klines("ETHUSDT", 3, forming=True)["state"].tolist() == [CLOSED, CLOSED, CLOSED, FORMING]


def test_a_bar_that_was_passed_without_a_close_is_never_given_as_closed(
    ring: Ring, panel: Panel, bars: list[Bar]
) -> None:
    close(ring, *bars[:3])
    update(ring, bars[3])
    close(ring, bars[4])
    update(ring, bars[5])

    assert opens(panel, 10) == times([*bars[:3], bars[4]])
    assert opens(panel, 10, forming=True) == times([*bars[:3], bars[4], bars[5]])
    rows = panel.exact("ETHUSDT", start=0, end=10**9).rows
    assert rows["open_time"].tolist() == times([*bars[:3], bars[4]])


def test_with_no_closed_bar_there_is_nothing_but_the_open_one(
    ring: Ring, panel: Panel, bars: list[Bar]
) -> None:
    assert opens(panel, 5) == opens(panel, 5, forming=True) == []
    assert panel.newest_closed("ETHUSDT") == panel.closed_bar == -1
    update(ring, bars[0])

    assert opens(panel, 5) == []
    assert opens(panel, 5, forming=True) == times(bars[:1])


def test_klines_are_a_copy(ring: Ring, panel: Panel, bars: list[Bar]) -> None:
    close(ring, *bars[:2])
    kept = panel.klines("ETHUSDT", 2)
    before = kept.tolist()
    close(ring, *bars[2 : 2 * BARS])

    assert kept.tolist() == before


def test_exact_rows_are_the_bars_themselves(ring: Ring, panel: Panel, bars: list[Bar]) -> None:
    close(ring, *bars[:30])
    update(ring, bars[30])

    found = panel.exact("ETHUSDT", start=START + 12, end=START + 30)
    assert found.scale == SCALE
    assert found.rows.tolist() == [bar.row for bar in bars[12:30]]
    assert len(panel.exact("ETHUSDT", start=0, end=10**9).rows) == BARS - 1
    assert len(panel.exact("ETHUSDT", start=0, end=10**9, forming=True).rows) == BARS
    assert len(panel.exact("ETHUSDT", start=START + 31, end=10**9).rows) == 0
    assert len(panel.exact("BTCUSDT", start=0, end=10**9).rows) == 0


def test_a_month_closes_when_the_calendar_says() -> None:
    ring = Ring(in_order(["1d", "1M"]), rows=1, bars=5)
    ring.add("BTCUSDT", SCALE)
    month = timeframe("1M")
    february = market(month, 12 * 2024 + 1, 1, 1, quiet=0.0)
    ring.load(1, 0, exact(february), 10**13)

    assert ring.panel("1M").klines("BTCUSDT", 1)["close_time"].tolist() == [month.close_time(12 * 2024 + 1)]


def test_a_block_has_no_number_where_there_is_no_closed_bar(
    ring: Ring, panel: Panel, bars: list[Bar]
) -> None:
    close(ring, *bars[:4], *bars[5:8])
    update(ring, bars[8])
    close(ring, *bars[:6], row=0)

    block = panel.cube(START + 8, 10)

    lacks = np.full((3, 10), fill_value=True)
    lacks[1, 1:5] = lacks[1, 6:9] = False
    lacks[0, 1:7] = False
    for field in block:
        assert field.shape == (3, 10)
        assert np.array_equal(np.isnan(field), lacks)
    assert block[PLANES.index("close"), 1, 1:5].tolist() == [bar.close / 100 for bar in bars[:4]]
    assert block[PLANES.index("taker_quote"), 0, 1:7].tolist() == [
        float(Decimal(bar.taker_quote).scaleb(-5)) for bar in bars[:6]
    ]
    assert block[PLANES.index("trades"), 1, 6] == bars[5].trades


def test_a_block_older_than_the_ring_is_empty(ring: Ring, panel: Panel, bars: list[Bar]) -> None:
    close(ring, *bars)

    assert np.isnan(panel.cube(START + 50 - BARS - 1, 5)).all()
    assert np.isnan(panel.cube(START + 50 - BARS, 5)[0, 1]).tolist() == [True] * 4 + [False]
    assert np.isnan(panel.cube(START + 60, 5)).all()


def test_which_rows_have_closed_a_bar(ring: Ring, panel: Panel, bars: list[Bar]) -> None:
    close(ring, *bars[:30])
    close(ring, *bars[:9], row=0)
    update(ring, bars[9], row=2)
    rows = np.arange(3)

    assert np.flatnonzero(ring.closed(0, rows, START + 8)).tolist() == [0]
    assert np.flatnonzero(ring.closed(0, rows, START + 29)).tolist() == [1]
    assert not ring.closed(0, rows, START + 9).any()
    assert panel.closed_bar == START + 29


def test_unknown_symbols_are_answered_with_the_nearest_one(panel: Panel) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'BTCUSDT'"):
        panel.klines("BTCUSD", 5)


def gaps(panel: Panel, wanted: int, upto: int, rows: tuple[int, ...] = (1,)) -> list[tuple[int, int, int]]:
    found = panel.gaps(np.array(rows, np.int64), wanted=wanted, upto=upto)
    assert {gap.timeframe for gap in found} <= {0}
    return [(gap.row, gap.start - START, gap.end - START) for gap in found]


def test_gaps_are_the_runs_of_bars_that_are_not_closed(ring: Ring, panel: Panel, bars: list[Bar]) -> None:
    close(ring, *bars[:3], bars[5], *bars[7:10])
    update(ring, bars[10])

    assert gaps(panel, 10, START + 9) == [(1, 3, 4), (1, 6, 6)]
    assert gaps(panel, 10, START + 10) == [(1, 3, 4), (1, 6, 6), (1, 10, 10)]
    assert gaps(panel, 10, START + 12) == [(1, 3, 4), (1, 6, 6), (1, 10, 12)]
    assert gaps(panel, 4, START + 9) == [(1, 6, 6)]
    assert gaps(panel, 5, START + 9, rows=()) == []
    assert gaps(panel, 12, START + 9) == [(1, -2, -1), (1, 3, 4), (1, 6, 6)]


def test_bars_before_the_first_one_are_not_missed(ring: Ring, panel: Panel, bars: list[Bar]) -> None:
    close(ring, *bars[2:5])
    ring.memory.first[0, 1] = START + 2

    assert gaps(panel, 15, START + 5) == [(1, 5, 5)]


def test_bars_that_left_the_ring_are_not_missed(ring: Ring, panel: Panel, bars: list[Bar]) -> None:
    close(ring, bars[0], bars[30])

    assert gaps(panel, 40, START + 30) == [(1, 30 - BARS + 1, 29)]


def test_a_symbol_without_bars_lacks_all_of_them(panel: Panel) -> None:
    assert gaps(panel, 5, START, rows=(0, 1)) == [(0, -4, 0), (1, -4, 0)]


def test_what_is_whole_has_no_gap_even_over_the_ring_s_edge(
    ring: Ring, panel: Panel, bars: list[Bar]
) -> None:
    close(ring, *bars)

    assert gaps(panel, BARS, START + 49) == []


def test_what_the_exchange_does_not_tell_is_no_number(ring: Ring, panel: Panel, bars: list[Bar]) -> None:
    close(ring, *bars[:2])
    update(ring, bars[2])
    ring.lacks = frozenset({"quote_volume", "trades"})
    told = [name not in ring.lacks for name in PLANES]

    for cube in (panel.cube(START + 1, 1), panel.open_cube(START + 2, 1)):
        assert np.isfinite(cube[:, 1, -1]).tolist() == told
    assert panel.lacks == ring.lacks
