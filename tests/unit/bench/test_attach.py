"""The check behind `attach`: a bar mixed of two is noticed, whichever word it is, and a row with a gap."""

import numpy as np
import pytest

from klinehub.bench import attach
from klinehub.bench.flooder import FRAMES, VERSIONS, flood, is_untorn, told
from klinehub.domain.kline import KLINE_WORDS, ROW_WORDS, Scale
from klinehub.panel.memory import I64, copy_words
from klinehub.panel.ring import Ring

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def ring() -> Ring:
    """One symbol with more than thirty bars of each timeframe, the newest one forming."""
    made = Ring(FRAMES, rows=1, bars=40, native=FRAMES)
    made.add("S0", Scale(2, 0, 0))
    at, words = np.ones((len(FRAMES), 1, 2), np.int64), np.zeros(ROW_WORDS, np.int64)
    at[:, :, 0] = 480_000
    chance = 1
    while at[:, :, 0].min() < 480_031 or at[0, 0, 1] != VERSIONS:
        chance = flood(made.memory, 1, at, chance, 1, words, words.view(np.float64))
    return made


def untorn(ring: Ring) -> bool:
    lines = ring.panel("1m").klines("S0", 30, forming=True).view(np.int64).reshape(-1, KLINE_WORDS)
    words: I64 = np.zeros(ROW_WORDS, np.int64)
    return bool(is_untorn(ring.memory, 0, 0, lines, lines.view(np.float64), words, words.view(np.float64)))


def test_whole_bars_pass(ring: Ring) -> None:
    assert untorn(ring)


@pytest.mark.parametrize("copied", range(1, ROW_WORDS))
def test_a_write_that_stopped_at_any_word_is_noticed(ring: Ring, copied: int) -> None:
    memory = ring.memory
    newest = int(memory.newest[0, 0])
    cell, words = memory.cells[0, 0, newest % 40], np.zeros(ROW_WORDS, np.int64)
    opened = ring.timeframes[0].open_time(newest)
    told(0, newest, VERSIONS - 2, opened, words, words.view(np.float64))
    whole = cell.copy()
    cell[:copied] = words[:copied]
    torn = untorn(ring)
    copy_words(cell, whole)

    assert torn == (copied == 1)  # the open time of two versions is the same
    assert untorn(ring)


def test_a_row_with_a_gap_is_noticed(ring: Ring) -> None:
    ring.memory.state[0, 0, (int(ring.memory.newest[0, 0]) - 5) % 40] = 0

    assert not untorn(ring)


def test_reads_are_measured_while_another_process_writes() -> None:
    found = attach.measure(1, reads=2_000, hot_reads=2_000, symbols=20)

    for one in (found, found["hot"]):
        assert (one["reads"] + one["gave_up"], one["torn_reads"]) == (2_000, 0)
        assert 0 < one["attach_us"]["p50"] <= one["attach_us"]["p99"]
        assert one["unchecked"]["reads"] == 2_000
        assert one["writes_per_second"] > 1_000
