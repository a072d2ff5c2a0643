"""The benchmarks of durability find what they look for: planted losses are counted."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from klinehub.bench import flip, power, victim
from klinehub.bench.kill import Check
from klinehub.bench.tape import FRAMES, Tape
from klinehub.domain.timeframe import MINUTE
from klinehub.errors import StoreError
from klinehub.store import sqlite
from klinehub.store.base import Change, key_of
from klinehub.store.hot import Slice
from klinehub.store.slices import Lines

# The kernels of the ring may have to be compiled first.
pytestmark = pytest.mark.timeout(120)
SYMBOLS = 3


@pytest.fixture(scope="module")
def tape() -> Tape:
    return Tape(SYMBOLS, 1)


@pytest.fixture
def check(tape: Tape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Look after a writer that lived for 20 minutes, and whose acknowledgements were read."""
    told: list[str] = []
    monkeypatch.setattr(victim, "_print", told.append)
    monkeypatch.setattr(victim, "MOST", 20)
    found = Check(tape, tmp_path)
    writer = victim.Writer(tape, tmp_path, np.random.default_rng(1))
    asyncio.run(writer.live(FRAMES[0].index(tape.start)))
    words = [line.split() for text in told for line in text.splitlines()]
    found.acknowledged({(name, int(bar)): int(lines) for _, name, bar, lines in words})
    return found


def test_a_larger_bar_of_the_tape_is_made_of_its_minutes(tape: Tape) -> None:
    ring = tape.ring(130)
    first = FRAMES[0].index(tape.start)
    for minute in range(first, first + 120):
        tape.close(ring, minute)
    for t, frame in enumerate(FRAMES):
        for bar in range(frame.index(tape.start), frame.index(tape.start + 120 * MINUTE)):
            assert np.array_equal(ring.memory.cells[t, :, bar % ring.bars], tape.words(frame, bar))


def test_a_whole_store_has_nothing_lost_and_nothing_torn(check: Check) -> None:
    check.everything()
    assert (check.lost, check.torn) == (0, 0)
    assert sum(check.kept.values()) >= 20 * SYMBOLS
    assert {name for name, _ in check.kept} == {"1m", "5m", "15m"}


def test_an_acknowledged_slice_that_is_gone_is_lost(check: Check, tmp_path: Path) -> None:
    bar = FRAMES[0].index(check.tape.start) + 7
    store = victim.opened(tmp_path)
    store.tables.commit(Change(gone=((key_of(FRAMES[0], bar),) * 2,)))
    store.tables.close()
    check.everything()
    assert (check.lost, check.torn) == (SYMBOLS, 0)


def test_a_wrong_word_and_a_damaged_slice_are_torn(check: Check, tmp_path: Path) -> None:
    frame, bar = FRAMES[0], FRAMES[0].index(check.tape.start) + 7
    words = check.tape.words(frame, bar)
    words[1, 7] += 1
    store = victim.opened(tmp_path)
    store.commit([Slice(frame, bar, Lines(np.arange(SYMBOLS), np.full(SYMBOLS, 2), words))])
    store.tables.commit(Change(slices=((key_of(frame, bar + 1), b"nonsense"),)))
    store.tables.close()
    check.everything()
    assert (check.lost, check.torn) == (1 + SYMBOLS, 1 + SYMBOLS)


def test_a_larger_bar_that_lacks_beside_all_its_minutes_is_torn(check: Check, tmp_path: Path) -> None:
    frame = FRAMES[1]
    bar = frame.index(check.tape.start)
    del check.kept[frame.name, bar]
    store = victim.opened(tmp_path)
    store.tables.commit(Change(gone=((key_of(frame, bar),) * 2,)))
    store.tables.close()
    check.everything()
    assert (check.lost, check.torn) == (0, SYMBOLS)


def test_a_flip_that_is_served_is_told_from_one_that_is_noticed(tape: Tape, tmp_path: Path) -> None:
    true: flip.Facts = {"a": 1, "b": 2}

    def judged(facts: flip.Facts, *, told: bool = False) -> str:
        return flip.verdict(flip.Kind(flip.make_closed, lambda _: (facts, told)), tmp_path, true)

    def refused(_: Path) -> tuple[flip.Facts, bool]:
        raise StoreError("damaged")

    assert judged({"a": 1, "b": 2}) == "harmless"
    assert judged({"a": 1, "b": 2}, told=True) == judged({"a": 1}) == "detected"
    assert judged({"a": 1, "b": 3}, told=True) == judged({**true, "c": 1}) == "served"
    assert flip.verdict(flip.Kind(flip.make_closed, refused), tmp_path, true) == "detected"


@pytest.mark.parametrize("kind", flip.KINDS)
def test_a_store_that_is_whole_says_everything(kind: flip.Kind, tape: Tape, tmp_path: Path) -> None:
    kind.make(tmp_path / "whole", tape)
    facts, told = kind.read(tmp_path / "whole")
    assert not told
    assert len(facts) > SYMBOLS * flip.MINUTES
    for path in (tmp_path / "whole").rglob("*.*"):
        if path.is_file():
            flip.flip(path, path.stat().st_size * 4)
    assert flip.verdict(kind, tmp_path / "whole", facts) == "detected"


@pytest.mark.parametrize(("unsafe", "found"), [("NORMAL", {"lost"}), ("OFF", {"lost", "torn"})])
def test_a_store_that_does_not_sync_is_found_out(
    monkeypatch: pytest.MonkeyPatch, unsafe: str, found: set[str]
) -> None:
    monkeypatch.setattr(sqlite, "_SET_UP", sqlite._SET_UP.replace("FULL", unsafe))
    taken = power.measure(1, n=300, commits=120)
    assert {name for name in ("lost", "torn", "unopened") if taken.detail[name]} >= found


def test_no_loss_of_power_loses_tears_or_closes_a_store() -> None:
    taken = power.measure(2, n=300, commits=120)
    assert (taken.value, taken.detail["cuts"]) == (0, 300)
    assert taken.detail["boundaries"] > 600
