"""What was imported: lines that survive a kill, and torn ones that do no harm."""

from pathlib import Path

import pytest

from klinehub.store.imported import Imported

A, B = "a" * 64, "b" * 64


def test_what_was_added_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "imported.sha256"
    Imported(path).add([("x.zip", A), ("币安人生USDT-1m-2026-02.zip", B)])
    Imported(path).add([("x.zip", B), ("y.zip", A)])

    assert Imported(path).digests == {"x.zip": B, "币安人生USDT-1m-2026-02.zip": B, "y.zip": A}


def test_nothing_writes_nothing(tmp_path: Path) -> None:
    record = Imported(tmp_path / "imported.sha256")
    record.add([])

    assert (record.digests, record.path.exists()) == ({}, False)


def test_the_lines_are_those_of_sha256sum(tmp_path: Path) -> None:
    path = tmp_path / "imported.sha256"
    Imported(path).add([("x.zip", A)])

    assert path.read_text() == f"{A}  x.zip\n"


@pytest.mark.parametrize("cut", range(1, 140))
def test_a_torn_line_is_passed_over_and_written_over(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "imported.sha256"
    Imported(path).add([("x.zip", A)])
    Imported(path).add([("y.zip", B)])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - cut])
    record = Imported(path)

    assert not set(record.digests) - {"x.zip"}
    assert ("x.zip" in record.digests) == (cut <= 72)
    record.add([("z.zip", B)])
    assert Imported(path).digests == {**{n: d for n, d in {"x.zip": A}.items() if cut <= 72}, "z.zip": B}


def test_junk_in_the_file_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "imported.sha256"
    path.write_bytes(b"\xff\xfe\nhello\n" + f"{A}  x.zip\n".encode())

    assert Imported(path).digests == {"x.zip": A}
