"""The panel's file: what lies where, who may read it, and how one hub's follows another's."""

import errno
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.panel.model import SCALE
from tests.unit.panel.sharing import FRAMES, NOON, SYMBOLS, Machine

from klinehub.domain.timeframe import TIMEFRAMES
from klinehub.errors import DataError, NoHub
from klinehub.panel.attached import Attached, Run
from klinehub.panel.memory import lay, size
from klinehub.panel.shared import ARRAYS, LAYOUT, NAME_BYTES, PLACE, WORDS, Layout, SharedRing


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runtime" / "panel"


def word(path: Path, name: str) -> int:
    (found,) = struct.unpack_from("<q", path.read_bytes(), PLACE[name] * 8)
    return int(found)


def set_word(path: Path, name: str, value: int) -> None:
    with path.open("r+b") as file:
        file.seek(PLACE[name] * 8)
        file.write(struct.pack("<q", value))


def test_the_header_says_what_there_is_and_where(machine: Machine, path: Path) -> None:
    ring = machine.ring(path)
    data = path.read_bytes()

    assert data[:16] == b"KLINEHUB\x08\x07\x06\x05\x04\x03\x02\x01"
    assert {name: word(path, name) for name in ("layout", "generation", "state", "beat", "time")} == {
        "layout": LAYOUT,
        "generation": 1,
        "state": 1,
        "beat": 1_000_000_000_000,
        "time": NOON,
    }
    assert [word(path, name) for name in ("timeframes", "rows", "bars", "symbols")] == [3, 5, 40, 3]
    assert len(data) == word(path, "bytes") == Layout.of(3, 5, 40).bytes
    for name in ARRAYS:
        array = getattr(ring.memory, name)
        assert data[word(path, f"at_{name}") :][: array.nbytes] == array.tobytes()


def test_the_parts_of_the_file_follow_each_other_without_overlap() -> None:
    layout = Layout.of(15, 1_000, 512)

    assert len(WORDS) * 8 <= layout.names
    assert layout.names + 15 * 8 <= layout.symbol_table
    assert layout.symbol_table + 1_000 * NAME_BYTES <= layout.arrays
    assert layout.arrays % 4096 == 0
    assert layout.bytes == layout.arrays + size(15, 1_000, 512)


def test_what_is_laid_over_a_buffer_leaves_it_as_it_is() -> None:
    buffer = np.arange(size(1, 2, 3), dtype=np.uint8)
    before = buffer.copy()
    memory = lay(buffer, 1, 2, 3)

    assert memory.cells.shape == (1, 2, 3, 10)
    assert np.array_equal(buffer, before)


names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(st.lists(names.filter(lambda name: len(name.encode()) <= NAME_BYTES), max_size=5, unique=True))
def test_symbols_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, symbols: list[str]
) -> None:
    path = tmp_path_factory.mktemp("symbols") / "panel"
    ring = SharedRing(FRAMES, path=path, generation=1, rows=5, bars=2)
    for symbol in symbols:
        ring.add(symbol, SCALE)

    assert Run(path).symbols == tuple(symbols)
    assert [Run(path).row(symbol) for symbol in symbols] == list(range(len(symbols)))


def test_every_timeframe_fits_its_cell(path: Path) -> None:
    frames = tuple(TIMEFRAMES.values())
    SharedRing(frames, path=path, generation=1, rows=1, bars=2)

    assert Run(path).timeframes == frames


def test_a_name_without_room_is_nobodys(machine: Machine, path: Path) -> None:
    machine.ring(path, symbols=("A" * 41, "B" * 40))

    assert Run(path).symbols == ("", "B" * 40)
    assert Run(path).row("B" * 40) == 1


def test_nobody_else_may_read_it(machine: Machine, path: Path) -> None:
    machine.ring(path)

    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert oct(path.parent.stat().st_mode & 0o777) == "0o700"
    assert [one.name for one in path.parent.iterdir()] == ["panel"]


def test_no_link_is_followed(machine: Machine, path: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    path.parent.mkdir()
    for name in ("panel", ".panel.new"):
        path.with_name(name).symlink_to(precious)
    with pytest.raises(DataError, match="cannot be read"):
        machine.attach(path)
    machine.ring(path)

    assert precious.read_text() == "mine"
    assert path.is_file()
    assert not path.is_symlink()


def test_what_is_no_file_is_not_waited_for(machine: Machine, path: Path) -> None:
    path.parent.mkdir()
    os.mkfifo(path)

    with pytest.raises(DataError, match="no file of this user"):
        machine.attach(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_not_believed(machine: Machine, path: Path) -> None:
    machine.ring(path)
    os.chown(path, 12_345, -1)

    with pytest.raises(DataError, match="no file of this user"):
        machine.attach(path)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("magic", 7, "no panel of a hub"),
        ("order", 0x0807060504030201, "on this machine"),
        ("layout", LAYOUT + 1, "layout 2, and this klinehub reads layout 1: use the same version"),
        ("bars", 41, "cut off: start the hub anew"),
        ("bars", 0, "cut off"),
        ("rows", -1, "cut off"),
        ("bytes", 10**9, "cut off"),
    ],
)
def test_a_file_of_another_kind_is_refused(
    machine: Machine, path: Path, name: str, value: int, said: str
) -> None:
    machine.ring(path)
    set_word(path, name, value)

    with pytest.raises(DataError, match=said):
        machine.attach(path)


@pytest.mark.parametrize("kept", [0, 100, 5_000])
def test_a_file_that_is_too_short_is_refused(machine: Machine, path: Path, kept: int) -> None:
    machine.ring(path)
    data = path.read_bytes()
    path.write_bytes(data[:kept])

    with pytest.raises(DataError, match=r"no panel of a hub|cut off"):
        machine.attach(path)


def test_without_a_file_there_is_no_hub(machine: Machine, path: Path) -> None:
    with pytest.raises(NoHub, match=r"there is no such file\): start one with `klinehub run`"):
        machine.attach(path)


def test_where_no_room_is_left_no_file_stays(
    machine: Machine, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        machine.ring(path)

    assert list(path.parent.iterdir()) == []


def test_a_hub_that_ends_takes_its_file_away_and_no_later_one(machine: Machine, path: Path) -> None:
    first = machine.ring(path)
    second = machine.ring(path, generation=2)
    first.end()
    there = path.exists()
    second.end()
    second.end()

    assert (there, path.exists()) == (True, False)


def test_a_later_hub_leaves_the_file_of_the_one_before_as_it_was(machine: Machine, path: Path) -> None:
    machine.ring(path)
    early: Attached = machine.attach(path)
    machine.ring(path, generation=2, symbols=("XRPUSDT", *SYMBOLS))

    assert (early.run.generation, early.symbols) == (1, SYMBOLS)
    assert (machine.attach(path).run.generation, machine.attach(path).symbols[0]) == (2, "XRPUSDT")
