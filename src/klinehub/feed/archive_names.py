"""How the archive names its files: by market, month or day, kind, symbol and timeframe."""

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NamedTuple

from klinehub.domain.timeframe import DAY, TIMEFRAMES, Timeframe
from klinehub.errors import UnknownName

ROOTS: Final = {"binance-usdm": "data/futures/um", "binance-spot": "data/spot"}
# The archive's disks once did not tell 1M from 1m.
MONTH_FOLDER: Final = "1mo"


class Kind(StrEnum):
    """What a file holds, as the archive's folders name it."""

    KLINES = "klines"
    FUNDING = "fundingRate"
    METRICS = "metrics"


_FOLDERS: Final = {MONTH_FOLDER if name == "1M" else name: frame for name, frame in TIMEFRAMES.items()}
_NAME: Final = re.compile(
    rf"(?P<symbol>[^/]+)-(?P<what>{'|'.join([*_FOLDERS, Kind.FUNDING, Kind.METRICS])})"
    r"-(?P<date>\d{4}-\d{2}(-\d{2})?)\.(zip|csv|csv\.gz)"
)


class ArchiveFile(NamedTuple):
    """One file: where it is in the archive, what it holds, and of which time (ms UTC, the end not in it)."""

    path: str
    kind: Kind
    symbol: str
    timeframe: Timeframe | None
    start: int
    end: int
    size: int = 0

    @property
    def name(self) -> str:
        """Its name without folders."""
        return self.path.rpartition("/")[2]

    @property
    def series(self) -> str:
        """What it holds in a word: a timeframe, or the kind."""
        return self.kind.value if self.timeframe is None else self.timeframe.name

    @property
    def month(self) -> str:
        """The month that it belongs to, such as 2026-02."""
        return datetime.fromtimestamp(self.start // 1000, UTC).strftime("%Y-%m")


def root_of(market: str) -> str:
    """Give the archive's folder of a market; raises UnknownName for one that is not there."""
    if market not in ROOTS:
        raise UnknownName("market of the archive", market, ROOTS)
    return ROOTS[market]


def symbols_folder(market: str, kind: Kind) -> str:
    """Give the folder that has one folder for each symbol."""
    span = "monthly" if kind is Kind.FUNDING else "daily"
    return f"{root_of(market)}/{span}/{kind}/"


def files_folder(market: str, span: str, kind: Kind, symbol: str, timeframe: Timeframe | None) -> str:
    """Give the folder of one series; *span* is daily or monthly."""
    folder = f"{root_of(market)}/{span}/{kind}/{symbol}/"
    return folder if timeframe is None else f"{folder}{folder_of(timeframe)}/"


def folder_of(timeframe: Timeframe) -> str:
    """Give the name that a timeframe has in paths."""
    return MONTH_FOLDER if timeframe.monthly else timeframe.name


def file_of(path: str, size: int = 0) -> ArchiveFile | None:
    """Read what a file holds from its name; None where it is named otherwise."""
    found = _NAME.fullmatch(path.rpartition("/")[2])
    if found is None:
        return None
    try:
        start, end = _period(found["date"])
    except ValueError:
        return None
    frame = _FOLDERS.get(found["what"])
    kind = Kind.KLINES if frame is not None else Kind(found["what"])
    return ArchiveFile(path, kind, found["symbol"], frame, start, end, size)


def month_start(time: int) -> int:
    """Give the first millisecond of the month that holds *time* (ms UTC)."""
    day = datetime.fromtimestamp(time // 1000, UTC)
    return int(datetime(day.year, day.month, 1, tzinfo=UTC).timestamp()) * 1000


def date_text(time: int) -> str:
    """Write a day as the archive does."""
    return datetime.fromtimestamp(time // 1000, UTC).strftime("%Y-%m-%d")


def _period(text: str) -> tuple[int, int]:
    """Give the first millisecond of a month or day, and of the next."""
    year, month, *day = map(int, text.split("-"))
    start = int(datetime(year, month, day[0] if day else 1, tzinfo=UTC).timestamp()) * 1000
    return start, start + DAY if day else month_start(start + 32 * DAY)
