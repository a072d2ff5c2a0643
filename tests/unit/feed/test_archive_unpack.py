"""Unpacking: whole files only, and no more than fits."""

import gzip
import io
import zipfile

import pytest

from klinehub.errors import DataError
from klinehub.feed import archive_unpack
from klinehub.feed.archive_unpack import unpack

NAME = "BTCUSDT-1m-2026-02.zip"
TEXT = b"1769904000000,1,1,1,1,1,1769904059999,1,1,1,1,0\n"


def packed(**members: bytes) -> bytes:
    """Zip members by their names; the same bytes at any time, since tests are named by them."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
    return body.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (NAME, packed(**{"BTCUSDT-1m-2026-02.csv": TEXT})),
        (NAME, packed(**{"anything.csv": TEXT, "readme.txt": b"x"})),
        (NAME, packed(**{"other.csv": b"x", "BTCUSDT-1m-2026-02.csv": TEXT})),
        ("a.csv", TEXT),
        ("a.csv.gz", gzip.compress(TEXT, mtime=0)),
    ],
)
def test_the_csv_is_found(name: str, data: bytes) -> None:
    assert unpack(name, data) == TEXT


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        (NAME, b"", "cut short or damaged"),
        (NAME, b"<html>", "cut short or damaged"),
        (NAME, packed(**{"a.csv": TEXT * 100})[:-30], "cut short or damaged"),
        (NAME, packed(**{"a.txt": TEXT}), "holds no CSV file"),
        (NAME, packed(**{"a.csv": TEXT, "b.csv": TEXT}), "holds 2 CSV files, none of its own name"),
        ("a.csv.gz", gzip.compress(TEXT, mtime=0)[:-9], "cut short or damaged"),
        ("a.csv.gz", b"plain", "cut short or damaged"),
    ],
)
def test_what_is_not_whole_is_told(name: str, data: bytes, says: str) -> None:
    with pytest.raises(DataError, match=says):
        unpack(name, data)


def test_a_changed_byte_is_noticed() -> None:
    data = bytearray(packed(**{"a.csv": TEXT * 1000}))
    for at in range(40, len(data) - 80, 7):
        data[at] ^= 16
        with pytest.raises(DataError):
            unpack(NAME, bytes(data))
        data[at] ^= 16


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (NAME, packed(**{"a.csv": bytes(10_000)})),
        ("a.csv.gz", gzip.compress(bytes(10_000), mtime=0)),
        ("a.csv", bytes(10_000)),
    ],
)
def test_a_bomb_is_not_unpacked(name: str, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_unpack, "MOST_UNPACKED", 9_999)

    with pytest.raises(DataError, match="unpacks to more than"):
        unpack(name, data)
