"""The files of a simulated market's bulk archive: which are there at a time, and what is in them.

1. A day is there from 08:35 of the next day on, a month from 08:35 of the first Monday after it.
2. Klines are the market's own bars as REST prints them: futures with a header since May 2022, spot without
   one and in microseconds since 2025. Funding and metrics are those that the exchange tells.
3. The size in a listing is a guess: nobody wants to make a year of files to list it.
"""

import io
import re
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final

from klinehub.dialect.render import rows_json, volume_text
from klinehub.domain.clock import Clock
from klinehub.domain.timeframe import DAY, timeframe
from klinehub.feed.archive_names import (
    ROOTS,
    ArchiveFile,
    Kind,
    file_of,
    files_folder,
    folder_of,
)
from klinehub.feed.archive_series import COLUMNS
from klinehub.sim import funding
from klinehub.sim.dice import bell, key
from klinehub.sim.market import HOUR, Market
from klinehub.sim.truth import CLOSE, VOLUME

HEADER: Final = (
    b"open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    b"taker_buy_volume,taker_buy_quote_volume,ignore\n"
)
HEADERS_SINCE: Final = 1_651_363_200_000  # 2022-05-01
MICROSECONDS_SINCE: Final = 1_735_689_600_000  # 2025-01-01
_PUBLISHED: Final = 8 * HOUR + 35 * 60_000
_EVERY: Final = 5 * 60_000
_LINE: Final = re.compile(rb"^(\d{13})((?:,[^,]+){5},)(\d{13})", re.MULTILINE)
_BYTES_A_BAR: Final = 40
_RATIOS: Final = -105
_FOUR: Final = range(4)


class ArchiveFiles:
    """The archive of one market at its clock's time; *market* is simulated, *venue* its name in the archive.

    *header* and *microseconds* say how klines are printed, None as the exchange does at their time.
    """

    def __init__(self, market: Market, clock: Clock) -> None:
        self.market = market
        self.clock = clock
        self.venue = "binance-spot" if market.spot else "binance-usdm"
        self.root = ROOTS[self.venue]
        self.header: bool | None = None
        self.microseconds: bool | None = None
        self.content = lru_cache(maxsize=64)(self._content)

    def spans(self, kind: Kind) -> tuple[str, ...]:
        """Give the folders that hold a kind: daily, monthly or both."""
        return {Kind.FUNDING: ("monthly",), Kind.METRICS: ("daily",)}.get(kind, ("daily", "monthly"))

    def kinds(self) -> tuple[Kind, ...]:
        """Give the kinds that this market has; spot has neither funding nor metrics."""
        return (Kind.KLINES,) if self.market.spot else tuple(Kind)

    def symbols(self) -> list[str]:
        """Give all symbols that have had a whole day, sorted, those that trade no more included."""
        now = self.clock.now()
        return sorted(one.symbol for one in self.market.instruments if _published(one.onboard, now, DAY))

    def names(self, span: str, kind: Kind, symbol: str, frame: str | None) -> Iterator[ArchiveFile]:
        """Give the files of one folder, oldest first."""
        if symbol not in self.market.index or span not in self.spans(kind):
            return
        found = None if frame is None else timeframe(frame)
        folder = files_folder(self.venue, span, kind, symbol, found)
        what = kind.value if found is None else folder_of(found)
        step = found.milliseconds if found is not None else _EVERY
        at, date = self.market.instruments[self.market.index[symbol]].onboard, "%Y-%m-%d"
        while True:
            text = datetime.fromtimestamp(at // 1000, UTC).strftime(date if span == "daily" else "%Y-%m")
            file = file_of(f"{folder}{symbol}-{what}-{text}.zip")
            if file is None or not self.has(file):
                return
            yield file._replace(size=200 + (file.end - file.start) // step * _BYTES_A_BAR)
            at = file.end

    def has(self, file: ArchiveFile) -> bool:
        """Say whether a file is there."""
        i, now = self.market.index.get(file.symbol), self.clock.now()
        span = "monthly" if file.end - file.start > DAY else "daily"
        long = file.timeframe is not None and file.timeframe.milliseconds > DAY
        if i is None or file.kind not in self.kinds() or span not in self.spans(file.kind):
            return False
        folder = files_folder(self.venue, span, file.kind, file.symbol, file.timeframe)
        one = self.market.instruments[i]
        alive = one.onboard < file.end and (one.end is None or file.start < one.end)
        here = file.path == folder + file.name and not (long and span == "daily")
        return here and alive and _published(file.start, now, file.end - file.start)

    def _content(self, file: ArchiveFile) -> bytes:
        """Give the bytes of a zip file, the same at each asking."""
        text = {Kind.KLINES: self._klines, Kind.FUNDING: self._funding, Kind.METRICS: self._metrics}[
            file.kind
        ](file)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr(zipfile.ZipInfo(file.name.replace(".zip", ".csv")), text, zipfile.ZIP_DEFLATED)
        return packed.getvalue()

    def _klines(self, file: ArchiveFile) -> bytes:
        """Print bars as the archive does."""
        frame, i = file.timeframe or timeframe("1m"), self.market.index[file.symbol]
        first, last = frame.index(file.start - 1) + 1, frame.index(file.end - 1)
        bars = self.market.klines(i, frame, first, last, self.clock.now())
        body = rows_json(bars, frame, bare_zero=not self.market.spot)
        text = body[2:-2].replace(b"],[", b"\n").replace(b'"', b"") + b"\n" * bool(len(bars.rows))
        micro = self.market.spot and file.start >= MICROSECONDS_SINCE
        if micro if self.microseconds is None else self.microseconds:
            text = _LINE.sub(rb"\g<1>000\g<2>\g<3>999", text)
        header = not self.market.spot and file.start >= HEADERS_SINCE
        return HEADER + text if (header if self.header is None else self.header) else text

    def _funding(self, file: ArchiveFile) -> bytes:
        """Print what was paid at each funding; the rate is the one that was told before it."""
        one = self.market.instruments[self.market.index[file.symbol]]
        hours = funding.hours(one.seed)
        lines = ["calc_time,funding_interval_hours,last_funding_rate"]
        begin = max(file.start, one.onboard + 1)
        for time in range(-(-begin // (hours * HOUR)) * hours * HOUR, file.end, hours * HOUR):
            rate = Decimal(round(funding.rate(one.seed, time - 1) * 10**8)).scaleb(-8)
            lines.append(f"{time},{hours},{rate:f}")
        return "\n".join(lines).encode() + b"\n"

    def _metrics(self, file: ArchiveFile) -> bytes:
        """Print open interest and the shares of long and short each five minutes."""
        i = self.market.index[file.symbol]
        one = self.market.instruments[i]
        lines = [",".join(("create_time", "symbol", *COLUMNS[Kind.METRICS]))]
        begin = max(file.start, one.onboard) // _EVERY * _EVERY + _EVERY
        for time in range(begin, file.end + 1, _EVERY):
            bar = self.market.day(i, time - 1)
            if bar is None:
                continue
            held = funding.interest(one.seed, int(bar[VOLUME]) * one.step, time)
            amount = Decimal(volume_text(held, one.scale.base))
            value = amount * int(bar[CLOSE]) * one.tick / 10**one.scale.price
            drawn = (1.0 + 0.2 * bell(key(one.seed, _RATIOS - k), time // _EVERY) for k in _FOUR)
            moment = datetime.fromtimestamp(time // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
            told = ",".join(f"{max(ratio, 0.01):.8f}" for ratio in drawn)
            lines.append(f"{moment},{one.symbol},{amount:f},{value:f},{told}")
        return "\n".join(lines).encode() + b"\n"


def _published(start: int, now: int, length: int) -> bool:
    """Say whether the file of the time from *start* on, *length* ms, is there at *now*."""
    end = start // DAY * DAY + length
    # 1970-01-01 was a Thursday: the first Monday is its fifth day.
    monday = -(-(end - 4 * DAY) // (7 * DAY)) * 7 * DAY + 4 * DAY
    return now >= (end if length == DAY else monday) + _PUBLISHED
