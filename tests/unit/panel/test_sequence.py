"""The sequence of a row: odd around each write, in the machine's code too, and around all of it."""

import re
from types import ModuleType
from typing import Any, Final

import numpy as np
import pytest
from numba import njit
from tests.unit.panel.model import SCALE, Bar, exact, market, words

from klinehub.domain.kline import CLOSED, Scale
from klinehub.domain.timeframe import in_order
from klinehub.panel import carry, merge, resample, sequence
from klinehub.panel import ring as ring_module
from klinehub.panel.memory import I64, Memory
from klinehub.panel.ring import Ring
from klinehub.panel.sequence import close_row, is_whole, noted, open_row, publish

FRAMES: Final = in_order(["1m", "5m", "15m"])
START: Final = 28_333_335
LATER: Final = 10**13
# What a reader takes from a row; the others are the writer's own, or one word by itself.
READ: Final = ("cells", "floats", "state", "newest")


class Watched(np.ndarray[Any, Any]):
    """An array that notes each store into it by the sequence of the row that it belongs to."""

    base_address = 0
    row_bytes = 1
    sequence: I64
    stores: list[tuple[int, bool]]

    def __array_finalize__(self, source: Any) -> None:
        """Let a slice know what its array knew."""
        for name in ("base_address", "row_bytes", "sequence", "stores"):
            if hasattr(source, name):
                setattr(self, name, getattr(source, name))

    def __setitem__(self, at: Any, value: Any) -> None:
        """Store, and note whether the row was open."""
        plain = self.view(np.ndarray)
        places = at if isinstance(at, tuple) else (at,)
        where = plain[places if Ellipsis in places else (*places, ...)]
        row = (where.__array_interface__["data"][0] - self.base_address) // self.row_bytes
        self.stores.append((row, bool(self.sequence.reshape(-1)[row] & 1)))
        plain[at] = value


def watched(memory: Memory) -> tuple[Memory, list[tuple[int, bool]]]:
    """Give a memory whose stores into rows are noted: row and whether it was open."""
    stores: list[tuple[int, bool]] = []
    spied = {}
    for name in READ:
        array = getattr(memory, name)
        spy = array.view(Watched)
        spy.base_address = array.__array_interface__["data"][0]
        spy.row_bytes = array.nbytes // memory.sequence.size
        spy.sequence, spy.stores = memory.sequence, stores
        spied[name] = spy
    return memory._replace(**spied), stores


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the writing kernels as plain Python, so that each store can be looked at."""
    for module in (merge, resample, carry, ring_module):
        uncompile(module, monkeypatch)


def uncompile(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, one in list(vars(module).items()):
        if hasattr(one, "py_func") and not hasattr(sequence, name):
            monkeypatch.setattr(module, name, one.py_func)


def used(ring: Ring) -> None:
    """Write in every way that a hub does: history, forming bars, closes, a gap, proofs, corrections."""
    bars = market(FRAMES[0], START, 16, 3, quiet=0.2)
    ring.load(0, 0, exact(bars[:8]), LATER)
    for bar in bars[8:]:
        half = words(bar)[:10] // np.array([1, 1, 1, 1, 1, 2, 2, 2, 2, 2])
        merge.merge_forming(ring.memory, 0, 0, half, bar.open_time + 1)
        ring.lift(0, 0, -1)
        merge.merge_closed(ring.memory, 0, 0, words(bar))
        ring.lift(0, 0, bar.open_time)
    ring.verify(0, 0, exact(bars[8:10]))
    other = market(FRAMES[0], START + 10, 1, 9, quiet=0.0)
    ring.correct(0, 0, exact(other))
    ring.rescale(0, Scale(2, 4, 6))
    carried(ring, market(FRAMES[0], START + 20, 1, 4)[0])


def carried(ring: Ring, bar: Bar) -> None:
    lines = words(bar).reshape(1, 10)
    index = FRAMES[0].index(bar.open_time)
    row, state, factors = np.array([0]), np.array([CLOSED]), np.ones((1, 2), np.int64)
    carry.put_bar(ring.memory, 0, index, row, state, lines, factors)


def a_ring() -> Ring:
    ring = Ring(FRAMES, rows=1, bars=40)
    ring.add("A", SCALE)
    return ring


@pytest.mark.usefixtures("interpreted")
def test_nothing_is_written_into_a_row_that_is_not_open() -> None:
    ring = a_ring()
    ring.memory, stores = watched(ring.memory)
    used(ring)

    assert {row for row, _ in stores} == {0, 1, 2}
    assert len(stores) > 500
    assert all(was_open for _, was_open in stores)
    assert not (ring.memory.sequence & 1).any()


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("module", [merge, resample, carry, ring_module])
def test_a_write_without_the_sequence_would_be_seen(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("open_row", "close_row"):
        monkeypatch.setattr(module, name, lambda *_: None)
    ring = a_ring()
    ring.memory, stores = watched(ring.memory)
    used(ring)

    assert not all(was_open for _, was_open in stores)


def test_compiled_and_interpreted_writes_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, plain = a_ring(), a_ring()
    used(compiled)
    for module in (merge, resample, carry, ring_module):
        uncompile(module, monkeypatch)
    used(plain)

    for mine, other in zip(compiled.memory, plain.memory, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_the_compiler_keeps_a_write_between_the_two_stores_of_the_sequence() -> None:
    put = njit(nogil=True, _nrt=False)(merge.put.py_func)  # type: ignore[attr-defined,call-overload]
    put(a_ring().memory, 0, 0, 5, np.arange(10), CLOSED)
    whole = put.inspect_llvm(put.signatures[0])
    code = whole[whole.index("define") :].split("\n}")[0].splitlines()
    steps = [line.split()[0:2] for line in code if re.match(r"\s+(store i(64|8) |store atomic|fence)", line)]

    assert steps[:2] == [["store", "atomic"], ["fence", "release"]]
    assert steps[-2:] == [["fence", "release"], ["store", "atomic"]]
    assert [step[0] for step in steps[2:-2]] == ["store"] * 13  # changes, writes, ten words, state
    assert sum(step == ["store", "atomic"] for step in steps) == 2


def test_a_copy_is_whole_when_nobody_wrote_meanwhile() -> None:
    numbers = np.zeros((2, 3), np.int64)
    before = noted(numbers, 1, 2)
    untouched = is_whole(numbers, 1, 2, before)
    open_row(numbers, 1, 2)
    while_open, halfway = is_whole(numbers, 1, 2, before), noted(numbers, 1, 2)
    noted_then = is_whole(numbers, 1, 2, halfway)
    close_row(numbers, 1, 2)

    assert (untouched, while_open, noted_then) == (True, False, False)
    assert not is_whole(numbers, 1, 2, before)
    assert is_whole(numbers, 1, 2, noted(numbers, 1, 2))
    assert numbers.tolist() == [[0, 0, 0], [0, 0, 2]]


def test_a_word_is_published() -> None:
    numbers = np.zeros(3, np.int64)
    publish(numbers, 1, -(2**40))

    assert numbers.tolist() == [0, -(2**40), 0]
