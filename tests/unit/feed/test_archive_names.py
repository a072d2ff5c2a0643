"""How the archive names its files, and what a name says."""

import pytest

from klinehub.domain.timeframe import DAY, timeframe
from klinehub.errors import UnknownName
from klinehub.feed.archive_names import ArchiveFile, Kind, file_of, files_folder, month_start, symbols_folder

FEBRUARY, MARCH = 1_769_904_000_000, 1_772_323_200_000


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("BTCUSDT-1m-2026-02.zip", (Kind.KLINES, "BTCUSDT", "1m", FEBRUARY, MARCH)),
        (
            "a/b/BTCUSDT_260327-1h-2026-02-01.zip",
            (Kind.KLINES, "BTCUSDT_260327", "1h", FEBRUARY, FEBRUARY + DAY),
        ),
        ("BTCUSDT-1mo-2026-02.csv", (Kind.KLINES, "BTCUSDT", "1M", FEBRUARY, MARCH)),
        ("币安人生USDT-15m-2026-02.csv.gz", (Kind.KLINES, "币安人生USDT", "15m", FEBRUARY, MARCH)),
        ("BTCUSDT-fundingRate-2026-02.zip", (Kind.FUNDING, "BTCUSDT", None, FEBRUARY, MARCH)),
        ("BTCUSDT-metrics-2026-02-01.zip", (Kind.METRICS, "BTCUSDT", None, FEBRUARY, FEBRUARY + DAY)),
    ],
)
def test_a_name_says_what_is_in_a_file(path: str, found: tuple[Kind, str, str | None, int, int]) -> None:
    kind, symbol, name, start, end = found
    frame = None if name is None else timeframe(name)

    assert file_of(path, 7) == ArchiveFile(path, kind, symbol, frame, start, end, 7)


@pytest.mark.parametrize(
    "name",
    [
        "BTCUSDT-1m-2026-02.zip.CHECKSUM",
        "BTCUSDT-1M-2026-02.zip",
        "BTCUSDT-7m-2026-02.zip",
        "BTCUSDT-1m-2026-13.zip",
        "BTCUSDT-1m-2026-02-30.zip",
        "BTCUSDT-1m.csv",
        "BTCUSDT-aggTrades-2026-02.zip",
        "readme.txt",
    ],
)
def test_other_names_say_nothing(name: str) -> None:
    assert file_of(name) is None


def test_folders_are_those_of_the_archive() -> None:
    um = "data/futures/um"

    assert symbols_folder("binance-usdm", Kind.KLINES) == f"{um}/daily/klines/"
    assert symbols_folder("binance-spot", Kind.KLINES) == "data/spot/daily/klines/"
    assert files_folder("binance-usdm", "monthly", Kind.KLINES, "BTCUSDT", timeframe("1M")) == (
        f"{um}/monthly/klines/BTCUSDT/1mo/"
    )
    assert (
        files_folder("binance-usdm", "daily", Kind.METRICS, "BTCUSDT", None) == f"{um}/daily/metrics/BTCUSDT/"
    )


def test_a_market_that_has_no_archive_is_told() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'binance-usdm'"):
        symbols_folder("binance-um", Kind.KLINES)


def test_months_begin_on_the_first() -> None:
    assert [month_start(time) for time in (FEBRUARY, MARCH - 1, MARCH)] == [FEBRUARY, FEBRUARY, MARCH]
