"""The history's front door: what is kept on disk, read from a notebook without a hub or an event loop."""

import operator
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, overload

import numpy as np

from klinehub.app.options import when
from klinehub.domain.kline import KLINE, Exact, Klines
from klinehub.domain.timeframe import DAY, Timeframe
from klinehub.domain.timeframe import timeframe as timeframe_of
from klinehub.errors import DefinitionError, UnknownName
from klinehub.panel.history import History
from klinehub.panel.memory import F64, I64
from klinehub.panel.recorded import fields_of, history_of, klines_of
from klinehub.panel.roll import opens
from klinehub.panel.view import PLANES
from klinehub.store.history import HistoryStore
from klinehub.store.hot import HotStore
from klinehub.store.joining import FOREVER
from klinehub.store.objects import files_at, is_address
from klinehub.store.parquet import arrow
from klinehub.store.postgres import PostgresTables
from klinehub.store.postgres_session import is_server
from klinehub.store.resting import Resting
from klinehub.store.sources import Source, Sources
from klinehub.store.sqlite import SqliteTables

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

# A date, a time (UTC where no zone is said), either as ISO text, or ms UTC.
Moment: TypeAlias = date | datetime | str | int
# What lies in the folder of a market.
HISTORY: Final = "history"
HOT: Final = "hot.sqlite3"


def open(path: str | Path, market: str | None = None, *, history: str = "") -> "Stored":
    """Open what is kept at *path*: a data folder, of which *market* names one, or the folder of a market.

    An address such as s3://bucket/prefix is taken too, and the `postgresql://` one of a store, with the
    *market*, also beside a hub that writes it. *history* is the `store.history_path` of the hub that wrote.
    Raises DefinitionError where nothing is kept there, or several markets and none was named.
    """
    if is_server(str(path)):
        return _on_server(str(path), market, history)
    if is_address(str(path)):
        found: dict[str, Path | None] = dict.fromkeys(_markets_at(str(path)))
        history = str(path)
    else:
        found = {**markets(Path(path).expanduser(), history)}
    if not found:
        raise DefinitionError(f"{path} keeps no klines: name the folder that a hub or a download wrote to.")
    if market is None and len(found) > 1:
        raise DefinitionError(f"{path} keeps {', '.join(found)}: name one, market={next(iter(found))!r}.")
    name = market or next(iter(found))
    if name not in found:
        raise UnknownName("market", name, found)
    folder = found[name]
    return opened(folder, history) if folder else Stored(name, [history_at(name, history)])


def history_at(market: str, place: str) -> HistoryStore:
    """Give a market's history at the place that the setting `store.history_path` names."""
    of_market = PurePath(files_at(place).where).name == market
    return HistoryStore(files_at(place, *(() if of_market else (market,)), HISTORY))


def history_in(folder: Path, place: str) -> HistoryStore:
    """Give the history in a market's folder, or at that *place*, if there is one."""
    return history_at(folder.absolute().name, place) if place else HistoryStore(folder / HISTORY)


def _markets_at(place: str) -> list[str]:
    """Give the markets whose history lies at a place, or that this is the folder of."""
    files = files_at(place)
    there = files.folders(files.root)
    if HISTORY in there:
        return [files.root.name]
    return [name for name in there if HISTORY in files.folders(files.root / name)]


def _on_server(url: str, market: str | None, history: str) -> "Stored":
    """Open a market's store in a database; raises StoreError where that can not be."""
    if market is None:
        raise DefinitionError("Say which market that database keeps: market='binance-usdm'.")

    def hot() -> HotStore:
        return HotStore(PostgresTables(url, market=market, writing=False), aside=False)

    hot().tables.close()
    return Stored(market, [history_at(market, history)] if history else [], hot)


def markets(folder: Path, history: str = "") -> dict[str, Path]:
    """Give the folders of the markets that a data folder keeps, or that this one is, by name.

    Those whose *history* lies elsewhere are among them, though their folders need not be there.
    """
    if _is_market(folder):
        return {folder.absolute().name: folder}
    each = sorted(folder.iterdir()) if folder.is_dir() else []
    found = {one.name: one for one in each if _is_market(one)}
    return found | {name: folder / name for name in (_markets_at(history) if history else ())}


def _is_market(folder: Path) -> bool:
    return (folder / HISTORY).is_dir() or (folder / HOT).is_file()


def opened(folder: Path, history: str = "") -> "Stored":
    """Open what is kept in the folder of a market, whose *history* may lie elsewhere."""
    there = (folder / HOT).is_file()
    hot = (lambda: looked_at(folder)) if there else None
    return Stored(folder.absolute().name, [history_in(folder, history)], hot)


def looked_at(folder: Path) -> HotStore:
    """Open a market's hot store to look at it; close its tables soon, no hub can start meanwhile.

    Raises StoreError where a hub has it, or it is damaged: then it is left as it is.
    """
    return HotStore(SqliteTables(folder / HOT, origin=None, mend=False), aside=False)


class Stored:
    """The closed klines of one market, from wherever they are kept.

    `start` and `end` are dates, datetimes (UTC where they have no zone), ISO texts of either, or ms UTC. Bars
    that open from the start on and before the end are given; a date as the end means its whole day. Without
    them everything is given. A timeframe that is not kept is built of a smaller one that is.

    The newest days are read where no hub is running that writes them; where one is, a warning says so once.
    """

    def __init__(
        self, market: str, sources: Sequence[Source], hot: Callable[[], HotStore] | None = None
    ) -> None:
        self.market = market
        self._resting = Resting(sources, hot)
        self._told = False

    @property
    def newest_missing(self) -> str:
        """Why the newest days were not in the last reading, such as a hub that is writing them; or empty."""
        return self._resting.missing

    @contextmanager
    def _reading(self) -> Iterator[Sources]:
        """Open what is kept for one reading, and say once where that is not all."""
        with self._resting.opened() as sources:
            if self._resting.missing and not self._told:
                self._told = True
                told = f"The newest days of {self.market} are left out: {self._resting.missing}"
                warnings.warn(told, stacklevel=4)
            yield sources

    def __repr__(self) -> str:
        """Show the market and the timeframes that are kept."""
        return f"<Stored {self.market}, {' '.join(self.timeframes) or 'empty'}>"

    @property
    def timeframes(self) -> tuple[str, ...]:
        """The timeframes that are kept, from the smallest."""
        with self._reading() as sources:
            return tuple(frame.name for frame in sources.timeframes)

    def span(self, timeframe: str) -> tuple[int, int]:
        """Give times (ms UTC) between which all bars open; they may lie closer, and are equal without any."""
        with self._reading() as sources:
            return sources.span(self._frame(timeframe, sources))

    def symbols(
        self, timeframe: str, start: Moment | None = None, end: Moment | None = None
    ) -> tuple[str, ...]:
        """The symbols that have bars of this timeframe, or of one that it is built of."""
        with self._reading() as sources:
            return sources.symbols(self._frame(timeframe, sources), *between(start, end))

    def _frame(self, name: str, sources: Sources) -> Timeframe:
        frame, kept = timeframe_of(name), sources.timeframes
        if frame not in kept and not any(frame.holds(one) for one in kept):
            there = ", ".join(one.name for one in kept) or "nothing"
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
        with self._reading() as sources:
            frame = self._frame(timeframe, sources)
            found = sources.read(frame, symbols, *between(start, end))
            missing = [symbol for symbol in symbols or () if symbol not in found]
            known = sources.symbols(frame) if missing else ()
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
        return history_of(timeframe_of(timeframe), found, _rows(found, symbols))

    def klines(
        self, symbol: str, timeframe: str, start: Moment | None = None, end: Moment | None = None
    ) -> Klines:
        """Give one symbol's klines, oldest first."""
        found = self.exact(timeframe, start, end, [symbol])
        return klines_of(found[symbol], timeframe_of(timeframe)) if symbol in found else Klines.empty(0)

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
        found, frame = self.exact(name, start, end, symbols), timeframe_of(name)
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
        found, frame = self.exact(timeframe, start, end, symbols), timeframe_of(timeframe)
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
