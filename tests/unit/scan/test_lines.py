"""Files of JSON lines: what was written comes back, and a cut line costs itself alone."""

from pathlib import Path

import pytest

from klinehub.errors import DataError
from klinehub.scan.lines import append_lines, read_lines
from klinehub.scan.universe_history import Change

FIRST, SECOND = Change(1, "BTCUSDT", entered=True, why="elite"), Change(2, "ÄUSDT", entered=False, why="")


def test_what_was_added_comes_back_and_a_file_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "changes"
    assert read_lines(file, Change) == []
    append_lines(file, [])
    assert not file.exists()

    append_lines(file, [FIRST])
    append_lines(file, [SECOND])
    assert read_lines(file, Change) == [FIRST, SECOND]


def test_a_line_that_was_cut_anywhere_is_dropped_and_the_next_one_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "changes"
    append_lines(file, [FIRST, SECOND])
    whole = file.read_bytes()
    for cut in range(1, len(whole.splitlines()[1]) + 2):
        file.write_bytes(whole[:-cut])
        assert read_lines(file, Change) == [FIRST]
        append_lines(file, [SECOND])
        assert file.read_bytes() == whole


@pytest.mark.parametrize("broken", [b'{"time":1}\n', b"\xff\n", b"\n", b"x\n{}\n"])
def test_any_other_broken_line_is_told(tmp_path: Path, broken: bytes) -> None:
    file = tmp_path / "changes"
    file.write_bytes(broken)

    with pytest.raises(DataError, match="move it away"):
        read_lines(file, Change)
    assert file.read_bytes() == broken


def test_a_place_that_is_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="another file"):
        read_lines(tmp_path, Change)
    with pytest.raises(DataError, match="another file"):
        append_lines(tmp_path / "none" / "file", [FIRST])
