"""Importing files: each once, whole, and none at the cost of another."""

import gzip
import io
import zipfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from tests.unit.feed.test_archive_csv import HEADER

from klinehub.app import importing
from klinehub.app.importing import Importer, Local, local_files, zip_name
from klinehub.dialect.render import twelve_fields
from klinehub.domain.timeframe import DAY, MINUTE, timeframe
from klinehub.errors import DataError, DefinitionError
from klinehub.feed.archive_names import ArchiveFile, file_of
from klinehub.feed.archive_plan import Span

pytest.importorskip("pyarrow")
pytestmark = pytest.mark.timeout(120)
BEGIN, NOW, FRAME = 1_769_904_000_000, 1_795_000_000_000, timeframe("1m")
DAY_ONE, DAY_TWO, MONTH = (f"BTCUSDT-1m-2026-02{end}.zip" for end in ("-01", "-02", ""))


def line(n: int, price: str = "10.50") -> str:
    opened = BEGIN + n * MINUTE
    return f"{opened},{price},11.00,10.25,10.75,4.5,{opened + MINUTE - 1},47.25,9,1.5,15.75,0"


def text(minutes: Sequence[int] | range, price: str = "10.50") -> bytes:
    return "\n".join([HEADER, *(line(n, price) for n in minutes)]).encode()


def zipped(body: bytes) -> bytes:
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.csv", body)
    return found.getvalue()


def named(name: str) -> ArchiveFile:
    file = file_of(name)
    assert file is not None
    return file


def take(importer: Importer, name: str, body: bytes) -> None:
    data = zipped(body)
    importer.take(named(name), data, sha256(data).hexdigest(), verified=True)


def kept(folder: Path, symbol: str = "BTCUSDT") -> list[int]:
    """Give the numbers of the minutes that are kept."""
    found = Importer(folder, now=NOW).history.read(FRAME, [symbol], 0, NOW)
    times = found[symbol].rows["open_time"] if symbol in found else np.empty(0, np.int64)
    return [int(time - BEGIN) // MINUTE for time in times]


def test_files_are_kept_and_noted(tmp_path: Path) -> None:
    importer = Importer(tmp_path, now=NOW)
    take(importer, DAY_TWO, text(range(1440, 2880)))
    take(importer, DAY_ONE, text(range(1440)))
    before = importer.imported
    importer.flush()

    assert before == {}
    assert set(Importer(tmp_path, now=NOW).imported) == {DAY_ONE, DAY_TWO}
    assert kept(tmp_path) == list(range(2880))
    assert (importer.report.files, importer.report.bars, importer.gaps()) == (2, 2880, [])


def test_a_month_that_was_removed_is_not_imported_any_more(tmp_path: Path) -> None:
    importer = Importer(tmp_path, now=NOW)
    take(importer, DAY_ONE, text(range(1440)))
    importer.flush()
    next(tmp_path.glob("history/1m/2026-02")).rename(tmp_path / "elsewhere")

    assert Importer(tmp_path, now=NOW).imported == {}


def test_a_batch_is_kept_when_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "BATCH_FILES", 2)
    importer = Importer(tmp_path, now=NOW)
    for n, name in enumerate((DAY_ONE, DAY_TWO, "BTCUSDT-1m-2026-02-03.zip")):
        take(importer, name, text(range(1440 * n, 1440 * (n + 1))))

    assert len(importer.imported) == 2
    assert kept(tmp_path) == list(range(2880))


def test_a_day_beside_its_month_changes_nothing(tmp_path: Path) -> None:
    importer = Importer(tmp_path, now=NOW)
    take(importer, MONTH, text(range(28 * 1440)))
    take(importer, DAY_TWO, text(range(1440, 2880)))
    importer.flush()

    assert importer.report.failed == {}
    assert set(importer.imported) == {MONTH, DAY_TWO}
    assert kept(tmp_path) == list(range(28 * 1440))


def test_a_file_that_disagrees_costs_no_other(tmp_path: Path) -> None:
    first = Importer(tmp_path, now=NOW)
    take(first, DAY_ONE, text(range(1440)))
    first.flush()
    importer = Importer(tmp_path, now=NOW)
    take(importer, "ETHUSDT-1m-2026-02-01.zip", text(range(1440)))
    take(importer, DAY_ONE, text(range(1440), "10.60"))
    take(importer, DAY_TWO, text(range(1440, 2880)))
    importer.flush()

    assert set(importer.report.failed) == {DAY_ONE}
    assert "BTCUSDT 1m 2026-02-01 00:00:00" in importer.report.failed[DAY_ONE]
    assert "--replace" in importer.report.failed[DAY_ONE]
    assert kept(tmp_path) == list(range(2880))
    assert kept(tmp_path, "ETHUSDT") == list(range(1440))


def test_a_file_that_disagrees_replaces_when_asked(tmp_path: Path) -> None:
    first, again = Importer(tmp_path, now=NOW), Importer(tmp_path, now=NOW, replace=True)
    for importer, price in ((first, "10.50"), (again, "10.60")):
        take(importer, DAY_ONE, text(range(1440), price))
        importer.flush()
    opens = again.history.read(FRAME, ["BTCUSDT"], 0, NOW)["BTCUSDT"].rows["open"]

    assert again.report.failed == {}
    assert set(opens.tolist()) == {10.6}


def test_what_is_no_kline_file_fails_alone(tmp_path: Path) -> None:
    importer = Importer(tmp_path, now=NOW)
    take(importer, DAY_ONE, b"<html>")
    take(importer, DAY_TWO, text(range(1440, 2880)))
    importer.take(named("BTCUSDT-1m-2026-02-03.zip"), b"PK", "0" * 64, verified=True)
    importer.flush()

    assert set(importer.report.failed) == {DAY_ONE, "BTCUSDT-1m-2026-02-03.zip"}
    assert set(importer.imported) == {DAY_TWO}
    assert importer.gaps() == [Span("BTCUSDT", "1m", BEGIN + n * DAY, BEGIN + (n + 1) * DAY) for n in (0, 2)]


def test_bars_of_another_day_are_refused(tmp_path: Path) -> None:
    importer = Importer(tmp_path, now=NOW)
    take(importer, DAY_TWO, text(range(1440)))

    assert "of another time than its name says" in importer.report.failed[DAY_TWO]


def test_bars_that_lack_are_named(tmp_path: Path) -> None:
    importer = Importer(tmp_path, now=NOW)
    take(importer, DAY_ONE, text([*range(5, 10), *range(20, 1400)]))
    take(importer, DAY_TWO, text(range(1450, 2000)))
    importer.flush()
    gaps = [((one.start - BEGIN) // MINUTE, (one.end - BEGIN) // MINUTE) for one in importer.gaps()]

    assert gaps == [(10, 20), (1400, 1450)]


def test_files_of_a_folder_are_found_by_their_names(tmp_path: Path) -> None:
    names = [
        "spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2026-02-01.zip",
        "futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2026-02-02.zip",
        "futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2026-02-02.zip.CHECKSUM",
        "futures/cm/daily/klines/BTCUSD_PERP/1m/BTCUSD_PERP-1m-2026-02-02.zip",
        "BTCUSDT-1m-2026-02-03.csv.gz",
        "mine.csv",
        "notes.txt",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    futures, spot = local_files(tmp_path, "binance-usdm"), local_files(tmp_path, "binance-spot")

    assert [one.path.name for one in futures[0]] == [DAY_TWO, "BTCUSDT-1m-2026-02-03.csv.gz"]
    assert futures[1] == [names[3], names[5], names[0]]
    assert [one.path.name for one in spot[0]] == [DAY_ONE, "BTCUSDT-1m-2026-02-03.csv.gz"]
    with pytest.raises(DefinitionError, match="no folder"):
        local_files(tmp_path / "nothing", "binance-usdm")


@pytest.mark.parametrize("suffix", [".zip", ".csv", ".csv.gz"])
def test_a_file_has_one_name_however_it_is_packed(suffix: str) -> None:
    assert zip_name(named(f"BTCUSDT-1m-2026-02-01{suffix}")) == DAY_ONE


def test_a_checksum_beside_a_file_counts(tmp_path: Path) -> None:
    path = tmp_path / DAY_ONE
    path.write_bytes(b"data")
    local = Local(path, named(DAY_ONE))
    alone = local.load()
    beside = path.with_name(f"{DAY_ONE}.CHECKSUM")
    beside.write_text(f"{alone[1]}  {DAY_ONE}\n")

    assert alone == (b"data", sha256(b"data").hexdigest(), False)
    assert local.load() == (*alone[:2], True)
    beside.write_text(f"{'0' * 64}  {DAY_ONE}\n")
    with pytest.raises(DataError, match="does not fit the checksum beside it"):
        local.load()


def test_recorded_months_come_back_as_their_text(realdata: Path, tmp_path: Path) -> None:
    found, strange = local_files(realdata / "ohlcv_1m_12field_csv", "binance-usdm")
    importer = Importer(tmp_path, now=NOW)
    for one in found:
        data, digest, verified = one.load()
        importer.take(one.file, data, digest, verified=verified)
    importer.flush()

    assert (len(found), strange, importer.report.failed, importer.report.notes) == (9, [], {}, [])
    assert importer.gaps() == []
    for one in found[:4]:
        span = (one.file.start, one.file.end)
        bars = importer.history.read(FRAME, [one.file.symbol], *span)[one.file.symbol]
        lines = gzip.decompress(one.path.read_bytes()).decode().splitlines()[1:]

        assert [",".join(map(str, row)) for row in twelve_fields(bars, FRAME)] == lines
