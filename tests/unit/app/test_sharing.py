"""Sharing from the library: where the file is, what happens without one, and the page for other languages."""

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.panel.model import SCALE, exact, market
from tests.unit.panel.sharing import FRAMES, LATER, NOON, START, Machine
from tests.unit.test_readme import BLOCK, ROOT

import klinehub as kh
from klinehub.app.sharing import beat, machine_seconds, panel_file, ring_in
from klinehub.domain.kline import CLOSED, VERIFIED
from klinehub.errors import NoHub
from klinehub.factors.stock import stock_factor
from klinehub.panel.ring import Ring
from klinehub.panel.sequence import open_row
from klinehub.panel.shared import LAYOUT, NAME_BYTES, WORDS, SharedRing

MAKE: dict[str, Any] = {"rows": 2, "bars": 8, "native": (), "beside": ()}


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def test_the_usual_file_lies_beside_the_door(runtime: Path) -> None:
    assert panel_file() == runtime / "klinehub" / "panel"
    with pytest.raises(NoHub, match="start one with `klinehub run`"):
        kh.attach()


@pytest.mark.parametrize("path", ["", "off"])
def test_nothing_is_shared_where_nothing_was_said(path: str) -> None:
    assert ring_in(path) is Ring


def test_a_hub_beats_from_its_layout_to_its_end(runtime: Path) -> None:
    ring = ring_in(str(panel_file()))(FRAMES, **MAKE)
    ring.add("BTCUSDT", SCALE)

    async def lived() -> tuple[bool, int]:
        task = asyncio.create_task(beat(ring, lambda: NOON, 1.0))
        await asyncio.sleep(0)
        attached = kh.attach()
        told = attached.alive, attached.now - NOON
        task.cancel()
        await asyncio.wait([task])
        assert not attached.alive
        return told

    alive, passed = asyncio.run(lived())

    assert alive
    assert 0 <= passed < 2_000
    assert list((runtime / "klinehub").iterdir()) == []


def test_a_private_ring_has_nobody_to_beat_for() -> None:
    ring = ring_in("")(FRAMES, **MAKE)

    assert asyncio.run(beat(ring, lambda: NOON, 1.0)) is None


def test_without_room_a_hub_goes_on_and_says_so(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.warns(
        UserWarning, match=r"cannot read this hub's panel .*No space left on device.*panel_file"
    ):
        ring = ring_in(str(panel_file()))(FRAMES, **MAKE)

    assert type(ring) is Ring
    assert (ring.capacity, ring.bars) == (2, 8)


def test_a_folder_that_is_none_is_said(runtime: Path) -> None:
    (runtime / "klinehub").write_text("in the way")

    with pytest.warns(UserWarning, match="cannot read this hub's panel"):
        assert type(ring_in(str(panel_file()))(FRAMES, **MAKE)) is Ring


def test_a_screen_gives_the_same_bits_attached(tmp_path: Path) -> None:
    ring = SharedRing(FRAMES, path=tmp_path / "panel", generation=1, rows=8, bars=700)
    for row in range(8):
        ring.add(f"S{row}USDT", SCALE)
        ring.load(0, row, exact(market(FRAMES[0], START, 650, row, quiet=0.1)), LATER)
        for bar in market(FRAMES[0], START, 650, row, quiet=0.1):
            ring.lift(0, row, bar.open_time)
    panels = {tf.name: ring.panel(tf.name) for tf in FRAMES}
    rsi = stock_factor("rsi")()
    screen = kh.Screen(name="low", timeframe="1m", where=rsi < 50, columns={"rsi": rsi, "rank": rsi.rank()})
    hubs = kh.compute(screen, panels)
    # What had to be compiled is compiled: a hub that does not beat for some seconds has gone.
    ring.beat(machine_seconds(), NOON, 1.0)
    mine = kh.compute(screen, kh.attach(ring.path))

    assert mine == hubs
    assert mine.symbols == 8
    assert 0 < mine.signals_found < 8


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs" / "sharing.md").read_text("utf-8")


@pytest.fixture(scope="module")
def plain_read(page: str) -> Callable[..., list[tuple[int | float, ...]]]:
    """Give the reader that the page prints for other languages."""
    text = [found["text"] for found in BLOCK.finditer(page) if "import struct" in found["text"]]
    there: dict[str, Any] = {}
    exec(text[0], there)  # our own page
    read: Callable[..., list[tuple[int | float, ...]]] = there["read"]
    return read


def test_the_page_names_every_word_and_array(page: str) -> None:
    assert f"Version {LAYOUT}." in page
    assert f" {NAME_BYTES} bytes of UTF-8" in page
    for name in WORDS:
        wanted = name.removeprefix("at_")
        assert f"`{wanted}`" in page, wanted


def test_the_printed_reader_reads_what_the_hub_has(
    tmp_path: Path, plain_read: Callable[..., list[tuple[int | float, ...]]]
) -> None:
    ring = Machine().ring(tmp_path / "panel")
    ring.memory.state[0, 1, (START + 29) % 40] = VERIFIED
    for symbol in ("BTCUSDT", "币安人生USDT"):
        for name in ("1m", "5m"):
            kept = ring.panel(name).klines(symbol, 20)
            fields = [
                kept[field].tolist() for field in ("open_time", "open", "high", "low", "close", "volume")
            ]
            expected = list(zip(*fields, (kept["state"] > CLOSED).tolist(), strict=True))

            assert plain_read(str(ring.path), symbol, name, 20) == expected
            assert np.any(kept["volume"] > 0)


def test_the_printed_reader_gives_up_on_a_row_that_is_open(
    tmp_path: Path, plain_read: Callable[..., list[tuple[int | float, ...]]]
) -> None:
    ring = Machine().ring(tmp_path / "panel")
    open_row(ring.memory.sequence, 0, 0)

    with pytest.raises(TimeoutError, match="BTCUSDT 1m was being written"):
        plain_read(str(ring.path), "BTCUSDT", "1m", 3)


def test_the_printed_reader_refuses_a_hub_that_has_stopped(
    tmp_path: Path, plain_read: Callable[..., list[tuple[int | float, ...]]]
) -> None:
    ring = Machine().ring(tmp_path / "panel")
    later = tmp_path / "kept"
    later.hardlink_to(ring.path)
    ring.end()

    with pytest.raises(ValueError, match="no panel of layout 1 of a running hub"):
        plain_read(str(later), "BTCUSDT", "1m", 3)
