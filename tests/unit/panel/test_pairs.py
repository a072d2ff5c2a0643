"""Pairs: what one ring's bars leave beside the klines of another, late ones and changed ones included."""

from typing import Final

import numpy as np
import pytest
from tests.unit.panel.model import SCALE, market, words

from klinehub.domain.kline import ROW, Exact, Scale
from klinehub.domain.timeframe import in_order, timeframe
from klinehub.panel.memory import F64
from klinehub.panel.merge import merge_closed
from klinehub.panel.pairs import PAIR_FIELDS, Pairs
from klinehub.panel.ring import Ring
from klinehub.panel.view import WIDE

MINUTE: Final = timeframe("1m")
START: Final = 28_333_335
BARS: Final = 20
FRAMES: Final = in_order(["1m", "5m"])


class Both:
    """A futures ring of two contracts and a spot ring of two pairs, of which one is paired 1,000 times."""

    def __init__(self) -> None:
        self.futures = Ring(FRAMES, rows=3, bars=BARS, beside=PAIR_FIELDS)
        self.spot = Ring(FRAMES, rows=3, bars=BARS)
        for symbol in ("BTCUSDT", "1000PEPEUSDT"):
            self.futures.add(symbol, SCALE)
        for symbol in ("PEPEUSDT", "BTCUSDT"):
            self.spot.add(symbol, SCALE)
        assert self.futures.beside is not None
        self.pairs = Pairs(self.futures, self.futures.beside, self.spot)
        self.pairs.join({"BTCUSDT": ("BTCUSDT", 1), "1000PEPEUSDT": ("PEPEUSDT", 1_000)})

    def close(self, ring: Ring, symbol: str, first: int, count: int = 1) -> None:
        """Close minutes of a symbol, counted from START, and what is built from them."""
        row = ring.rows[symbol]
        for bar in market(MINUTE, START + first, count, 7 + first, quiet=0.0):
            merge_closed(ring.memory, 0, row, words(bar))
            ring.lift(0, row, bar.open_time)

    def shown(self, symbol: str, first: int, last: int, name: str = "1m") -> F64:
        """Give what stands beside a contract's bars: [2, bars]."""
        panel = self.futures.panel(name)
        begin = START if name == "1m" else START // 5
        cube = panel.cube(begin + last, last - first + 1, np.array([panel.row(symbol)]), beside=PAIR_FIELDS)
        found: F64 = cube[[WIDE.index(field) for field in PAIR_FIELDS], 0]
        return found

    def truth(self, symbol: str, first: int, last: int, times: int) -> list[list[float]]:
        """Give closes, so many *times*, and quote volumes of a pair's minutes."""
        kept = self.spot.panel("1m").klines(symbol, BARS)
        rows = kept[
            (kept["open_time"] >= (START + first) * 60_000) & (kept["open_time"] <= (START + last) * 60_000)
        ]
        return [(rows["close"] * float(times)).tolist(), rows["quote_volume"].tolist()]


@pytest.fixture
def both() -> Both:
    made = Both()
    for symbol in ("BTCUSDT", "1000PEPEUSDT"):
        made.close(made.futures, symbol, 0, 10)
    return made


def test_a_pair_stands_beside_its_contract_bar_by_bar(both: Both) -> None:
    both.close(both.spot, "PEPEUSDT", 0, 8)
    assert both.pairs.copy("1m") == 0

    assert both.shown("1000PEPEUSDT", 0, 7).tolist() == both.truth("PEPEUSDT", 0, 7, 1_000)
    assert np.isnan(both.shown("1000PEPEUSDT", 8, 9)).all()
    assert np.isnan(both.shown("BTCUSDT", 0, 9)).all()


def test_larger_bars_are_those_that_spot_has_built(both: Both) -> None:
    both.close(both.spot, "BTCUSDT", 0, 10)
    both.pairs.copy("5m")

    built = both.spot.panel("5m").klines("BTCUSDT", 2)
    assert both.shown("BTCUSDT", 0, 1, "5m").tolist() == [
        built["close"].tolist(),
        built["quote_volume"].tolist(),
    ]


def test_only_a_bar_that_was_read_already_counts_as_a_change(both: Both) -> None:
    both.close(both.spot, "BTCUSDT", 0, 3)
    assert both.pairs.copy("1m") == 0
    both.shown("BTCUSDT", 0, 9)
    before = both.futures.panel("1m").changes.copy()
    both.close(both.spot, "BTCUSDT", 3, 2)

    assert both.pairs.copy("1m") == 4
    assert (both.futures.panel("1m").changes - before).tolist() == [4, 0]
    assert both.pairs.copy("1m") == 0
    assert both.shown("BTCUSDT", 0, 4).tolist() == both.truth("BTCUSDT", 0, 4, 1)


def test_a_hole_is_nan_until_it_is_filled(both: Both) -> None:
    both.close(both.spot, "BTCUSDT", 0, 3)
    both.close(both.spot, "BTCUSDT", 6, 2)
    both.pairs.copy("1m")
    assert np.isnan(both.shown("BTCUSDT", 3, 5)).all()
    both.close(both.spot, "BTCUSDT", 3, 3)
    both.pairs.copy("1m")

    assert both.shown("BTCUSDT", 0, 7).tolist() == both.truth("BTCUSDT", 0, 7, 1)


def test_a_corrected_bar_is_copied_anew(both: Both) -> None:
    both.close(both.spot, "BTCUSDT", 0, 5)
    both.pairs.copy("1m")
    row = both.spot.rows["BTCUSDT"]
    wrong = both.spot.panel("1m").exact("BTCUSDT", start=START + 2, end=START + 2)
    rows = wrong.rows.copy()
    rows["quote_volume"] += 12_345
    both.spot.correct(0, row, Exact(rows, wrong.scale))
    both.pairs.copy("1m")

    assert both.shown("BTCUSDT", 0, 4).tolist() == both.truth("BTCUSDT", 0, 4, 1)


def test_pairs_that_come_later_are_copied_from_the_start(both: Both) -> None:
    both.pairs.join({"BTCUSDT": ("BTCUSDT", 1)})
    both.close(both.spot, "PEPEUSDT", 0, 5)
    both.pairs.copy("1m")
    assert np.isnan(both.shown("1000PEPEUSDT", 0, 4)).all()
    both.futures.add("ETHUSDT", SCALE)
    both.pairs.join({"1000PEPEUSDT": ("PEPEUSDT", 1_000), "NOTHEREUSDT": ("PEPEUSDT", 1)})
    both.pairs.copy("1m")

    assert both.shown("1000PEPEUSDT", 0, 4).tolist() == both.truth("PEPEUSDT", 0, 4, 1_000)


def test_what_spot_knows_before_the_futures_have_closed_shows_when_they_have() -> None:
    made = Both()
    made.close(made.spot, "BTCUSDT", 0, 3)
    made.pairs.copy("1m")
    made.close(made.futures, "BTCUSDT", 0, 2)

    assert made.shown("BTCUSDT", 0, 1).tolist() == made.truth("BTCUSDT", 0, 1, 1)
    assert np.isnan(made.shown("BTCUSDT", 2, 2)).all()


def test_volumes_of_more_decimals_are_the_nearest_numbers(both: Both) -> None:
    rows = np.zeros(1, ROW)
    rows[0] = (START * 60_000, 1.0, 1.0, 1.0, 1.0, 10**8, 7_560_000_12_345_678, 1, 0, 0)
    both.spot.load(0, both.spot.rows["BTCUSDT"], Exact(rows, Scale(8, 8, 8)), (START + 2) * 60_000)
    both.pairs.copy("1m")

    assert both.shown("BTCUSDT", 0, 0)[1].tolist() == [float("7560000.12345678")]
