"""The history's front door: what is kept on disk, read from a notebook without a hub or an event loop."""

import operator
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, overload

import numpy as np

from klinehub.app.options import when
from klinehub.domain.kline import KLINE, Exact, Klines
from klinehub.domain.timeframe import DAY, Timeframe, timeframe
from klinehub.errors import DefinitionError, UnknownName
from klinehub.panel.history import History
from klinehub.panel.memory import F64, I64
from klinehub.panel.recorded import fields_of, history_of, klines_of
from klinehub.panel.roll import opens
from klinehub.panel.view import PLANES
from klinehub.store.history import HistoryStore
from klinehub.store.joining import FOREVER
from klinehub.store.parquet import arrow
from klinehub.store.sources import Source, Sources

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

# A date, a time (UTC where no zone is said), either as ISO text, or ms UTC.
Moment: TypeAlias = date | datetime | str | int
HISTORY: Final = "history"


def open(path: str | Path, market: str | None = None) -> "Stored":
    """Open what is kept at *path*: a data folder, of which *market* names one, or the folder of a market.

    Raises DefinitionError where nothing is kept there, or several markets and none was named.
    """
    folder = Path(path).expanduser()
    if _is_market(folder):
        found = {folder.name: folder}
    else:
        each = sorted(folder.iterdir()) if folder.is_dir() else []
        found = {one.name: one for one in each if _is_market(one)}
    if not found:
        raise DefinitionError(f"{folder} keeps no klines: name the folder that a hub or a download wrote to.")
    if market is None and len(found) > 1:
        raise DefinitionError(f"{folder} keeps {', '.join(found)}: name one, market={next(iter(found))!r}.")
    name = market or next(iter(found))
    if name not in found:
        raise UnknownName("market", name, found)
    return Stored(name, [HistoryStore(found[name] / HISTORY)])


def _is_market(folder: Path) -> bool:
    return (folder / HISTORY).is_dir()


class Stored:
    """The closed klines of one market, from wherever they are kept.

    `start` and `end` are dates, datetimes (UTC where they have no zone), ISO texts of either, or ms UTC. Bars
    that open from the start on and before the end are given; a date as the end means its whole day. Without
    them everything is given. A timeframe that is not kept is built of a smaller one that is.
    """

    def __init__(self, market: str, sources: Sequence[Source]) -> None:
        self.market = market
        self._sources = Sources(sources)

    def __repr__(self) -> str:
        """Show the market and the timeframes that are kept."""
        return f"<Stored {self.market}, {' '.join(self.timeframes) or 'empty'}>"

    @property
    def timeframes(self) -> tuple[str, ...]:
        """The timeframes that are kept, from the smallest."""
        return tuple(frame.name for frame in self._sources.timeframes)

    def symbols(
        self, timeframe: str, start: Moment | None = None, end: Moment | None = None
    ) -> tuple[str, ...]:
        """The symbols that have bars of this timeframe, or of one that it is built of."""
        return self._sources.symbols(self._frame(timeframe), *between(start, end))

    def _frame(self, name: str) -> Timeframe:
        frame, kept = timeframe(name), self._sources.timeframes
        if frame not in kept and not any(frame.holds(one) for one in kept):
            there = ", ".join(self.timeframes) or "nothing"
            raise DefinitionError(
                f"{self.market} keeps {there}, of which {name} bars can not be built: "
                f"download {name} or a smaller timeframe."
            )
        return frame

    def exact(
        self,
        timeframe: str,
        start: Moment | None = None,
        end: Moment | None = None,
        symbols: Sequence[str] | None = None,
    ) -> dict[str, Exact]:
        """Give bars by symbol with every digit that the exchange printed; symbols without bars are left out.

        Raises UnknownName for a symbol of which nothing is kept.
        """
        if isinstance(symbols, str):
            raise DefinitionError(f"symbols is {symbols!r}: give a list, for example [{symbols!r}].")
        frame = self._frame(timeframe)
        found = self._sources.read(frame, symbols, *between(start, end))
        missing = [symbol for symbol in symbols or () if symbol not in found]
        if missing:
            known = self._sources.symbols(frame)
            for symbol in missing:
                if symbol not in known:
                    raise UnknownName("symbol", symbol, known)
        return found

    def panel(
        self,
        timeframe: str,
        start: Moment | None = None,
        end: Moment | None = None,
        symbols: Sequence[str] | None = None,
    ) -> History:
        """Give a panel for `kh.compute`, from the first bar that any symbol has in this time to the last."""
        found = self.exact(timeframe, start, end, symbols)
        return history_of(self._frame(timeframe), found, _rows(found, symbols))

    def klines(
        self, symbol: str, timeframe: str, start: Moment | None = None, end: Moment | None = None
    ) -> Klines:
        """Give one symbol's klines, oldest first."""
        found = self.exact(timeframe, start, end, [symbol])
        return klines_of(found[symbol], self._frame(timeframe)) if symbol in found else Klines.empty(0)

    @overload
    def frame(
        self,
        field: str,
        timeframe: str,
        start: Moment | None = ...,
        end: Moment | None = ...,
        symbols: Sequence[str] | None = ...,
        *,
        to: Literal["pandas"] = ...,
    ) -> "pd.DataFrame": ...

    @overload
    def frame(
        self,
        field: str,
        timeframe: str,
        start: Moment | None = ...,
        end: Moment | None = ...,
        symbols: Sequence[str] | None = ...,
        *,
        to: Literal["polars"],
    ) -> "pl.DataFrame": ...

    def frame(
        self,
        field: str,
        timeframe: str,
        start: Moment | None = None,
        end: Moment | None = None,
        symbols: Sequence[str] | None = None,
        *,
        to: Literal["pandas", "polars"] = "pandas",
    ) -> "pd.DataFrame | pl.DataFrame":
        """Give one field of all symbols side by side: a row for each bar, a column for each symbol.

        *field* is one of open, high, low, close, volume, quote_volume, trades, taker_base, taker_quote. In
        pandas the index is the open time, with its zone (UTC), and what lacks is NaN; in polars `open_time`
        is the first column, and what lacks is null.
        """
        if to not in {"pandas", "polars"}:
            raise UnknownName("kind of frame", to, ("pandas", "polars"))
        rows, times, values = self._wide(field, timeframe, start, end, symbols)
        return _pandas_frame(rows, times, values) if to == "pandas" else _polars_frame(rows, times, values)

    def _wide(
        self,
        field: str,
        name: str,
        start: Moment | None,
        end: Moment | None,
        symbols: Sequence[str] | None,
    ) -> tuple[list[str], I64, F64]:
        """Give the symbols, the open times [bars] and the values [symbols, bars] of one field."""
        if field not in PLANES:
            raise UnknownName("field", field, PLANES)
        found, frame = self.exact(name, start, end, symbols), self._frame(name)
        rows = _rows(found, symbols)
        first, values = fields_of(frame, found, rows, [field])
        return rows, opens(frame, np.arange(first, first + values.shape[2])), values[0]

    def series(
        self,
        field: str,
        timeframe: str,
        start: Moment | None = None,
        end: Moment | None = None,
        symbols: Sequence[str] | None = None,
    ) -> "pd.Series[float]":
        """Give one field as a pandas Series over (date, asset), the shape that alphalens takes; no NaN."""
        pandas = _pandas()
        rows, times, values = self._wide(field, timeframe, start, end, symbols)
        bars, assets = np.nonzero(~np.isnan(values.T))
        index = pandas.MultiIndex(
            levels=[pandas.to_datetime(times, unit="ms", utc=True), pandas.Index(rows)],
            codes=[bars, assets],
            names=["date", "asset"],
        )
        found: pd.Series[float] = pandas.Series(values[assets, bars], index=index, name=field)
        return found

    def arrow(
        self,
        timeframe: str,
        start: Moment | None = None,
        end: Moment | None = None,
        symbols: Sequence[str] | None = None,
    ) -> "pa.Table":
        """Give a pyarrow Table, a row for each kline, by symbol and time; times are timestamps in UTC."""
        found, frame = self.exact(timeframe, start, end, symbols), self._frame(timeframe)
        rows = [symbol for symbol in _rows(found, symbols) if symbol in found]
        bars = np.concatenate([np.empty(0, KLINE), *(klines_of(found[symbol], frame) for symbol in rows)])
        table: pa.Table = _arrow_table(rows, [found[symbol].rows.size for symbol in rows], bars)
        return table


def _rows(found: dict[str, Exact], symbols: Sequence[str] | None) -> list[str]:
    """Give the symbols to show, those that were asked for in that order."""
    return sorted(found) if symbols is None else list(dict.fromkeys(symbols))


def between(start: Moment | None, end: Moment | None) -> tuple[int, int]:
    """Give the times (ms UTC) between which bars have to open."""
    low = 0 if start is None else _instant(start)
    high = FOREVER if end is None else _instant(end) + (DAY if _is_date(end) else 0)
    if low > high:
        raise DefinitionError(f"The start {start} is after the end {end}: exchange them.")
    return low, high


def _is_date(moment: Moment) -> bool:
    """Whether a moment is a whole day."""
    if isinstance(moment, str):
        try:
            date.fromisoformat(moment)
        except ValueError:
            return False
        return True
    return isinstance(moment, date) and not isinstance(moment, datetime)


def _instant(moment: Moment) -> int:
    """Give the ms UTC at which a moment begins."""
    if isinstance(moment, str):
        return when(moment)
    if isinstance(moment, datetime):
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    if isinstance(moment, date):
        return (moment - date(1970, 1, 1)).days * DAY
    try:
        return operator.index(moment)
    except TypeError:
        raise DefinitionError(
            f"{moment!r} is not a time: give a date, a datetime, ISO text or ms UTC."
        ) from None


def _pandas() -> Any:  # noqa: ANN401 - a module
    try:
        import pandas as pd
    except ImportError as exc:
        raise DefinitionError("DataFrames need pandas: pip install 'klinehub[pandas]'.") from exc
    return pd


def _pandas_frame(symbols: list[str], times: I64, values: F64) -> Any:  # noqa: ANN401 - as pandas has it
    pandas = _pandas()
    index = pandas.to_datetime(times, unit="ms", utc=True).rename("open_time")
    return pandas.DataFrame(values.T, index=index, columns=pandas.Index(symbols, name="symbol"))


def _polars_frame(symbols: list[str], times: I64, values: F64) -> "pl.DataFrame":
    try:
        import polars as pl
    except ImportError as exc:
        raise DefinitionError("polars frames need polars: pip install 'klinehub[polars]'.") from exc
    opened = pl.Series("open_time", times).cast(pl.Datetime("ms", "UTC"))
    columns = [pl.Series(name, row, nan_to_null=True) for name, row in zip(symbols, values, strict=True)]
    return pl.DataFrame([opened, *columns])


def _arrow_table(symbols: list[str], sizes: list[int], bars: Any) -> Any:  # noqa: ANN401 - dtype KLINE to pyarrow
    pa = arrow()
    codes = pa.array(np.repeat(np.arange(len(symbols), dtype=np.int32), sizes))
    columns = {"symbol": pa.DictionaryArray.from_arrays(codes, pa.array(symbols, pa.string()))}
    for name in KLINE.names or ():
        if name.endswith("_time"):
            columns[name] = pa.array(np.ascontiguousarray(bars[name])).cast(pa.timestamp("ms", "UTC"))
        elif name != "state":
            columns[name] = pa.array(np.ascontiguousarray(bars[name]))
    return pa.table(columns)
