"""`store export` and `store import`: kept bars as files that other programs read, and back, exactly."""

import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec
import numpy as np

from klinehub.app import options, show
from klinehub.app.config import Config, listed
from klinehub.app.importing import Local
from klinehub.app.library import system_clock
from klinehub.app.store import folder_of, place
from klinehub.app.stored import Stored, between, history_in, markets, opened
from klinehub.dialect.render import rows_json
from klinehub.domain.kline import Exact
from klinehub.domain.timeframe import TIMEFRAMES, Timeframe, in_order
from klinehub.errors import DataError, DefinitionError
from klinehub.feed.archive_csv import read_klines
from klinehub.feed.archive_names import file_of
from klinehub.feed.archive_names import folder_of as frame_folder
from klinehub.feed.archive_unpack import SUFFIXES, unpack
from klinehub.feed.asking import Progress
from klinehub.feed.body import consistent
from klinehub.feed.venue import venue_of
from klinehub.panel.roll import indexes, opens
from klinehub.store import disk, portable
from klinehub.store.history import HistoryStore
from klinehub.store.joining import times_of
from klinehub.store.parquet import arrow, parquet_at, writer_of

KINDS: Final = {"parquet": ".parquet", "arrow": ".feather", "csv": ".csv"}
STDOUT: Final = "-"
HEADER: Final = (
    b"open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
    b"taker_buy_quote_volume,ignore\n"
)
# Bars that are in memory at a time, 80 bytes each.
BATCH: Final = 1_000_000
# Up to here multiplying a price as float64 finds the integer that was printed.
_PRINTED: Final = 2**51
_MONTHS: Final = TIMEFRAMES["1M"]
# What a program does, and what a command line does.
_IN_OTHER_WORDS: Final = ("write with replace=True", "import it with --replace")
Bars = Sequence[tuple[str, Exact]]
Put = Callable[[Bars], None]


class Exported(msgspec.Struct, frozen=True):
    """What was written: files, bars, and why the newest days were left out, if they were."""

    files: int
    bars: int
    newest_missing: str = ""


class _Span(NamedTuple):
    """What is exported of a timeframe in a month, or in all of them at a time."""

    frame: Timeframe
    name: str
    months: tuple[tuple[int, int], ...]


def export(given: Mapping[str, Any]) -> None:
    """Write kept bars as Parquet, Arrow or CSV files into a folder, or one of these to stdout."""
    one, kind = place(given), given["format"]
    if kind != "csv":
        arrow()
    start, end = between(given["since"], given["until"])
    symbols = None if given["symbols"] is None else [name.upper() for name in listed(given["symbols"])]
    stored = opened(one.folder, one.elsewhere)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is said below
        frames = in_order(listed(given["timeframes"]) if given["timeframes"] else stored.timeframes)
        if given["dest"] == STDOUT:
            done = _to_stdout(stored, _one(frames), symbols, (start, end), kind)
        else:
            done = _to_folder(stored, frames, symbols, (start, end), kind, Path(given["dest"]))
    if stored.newest_missing:
        show.listed([f"the newest days are left out: {stored.newest_missing}"], most=1)
    if given["as_json"] and given["dest"] != STDOUT:
        show.document(done)
    else:
        show.err.print(f"{done.bars:,} bars in {done.files:,} files")


def _one(frames: Sequence[Timeframe]) -> Timeframe:
    if len(frames) != 1:
        raise DefinitionError("stdout takes one timeframe: name it with --timeframes.")
    return frames[0]


def _to_folder(
    stored: Stored,
    frames: Sequence[Timeframe],
    symbols: Sequence[str] | None,
    span: tuple[int, int],
    kind: str,
    folder: Path,
) -> Exported:
    """Write a file for each timeframe and month, of CSV also for each symbol."""
    disk.make(folder)
    files = bars = 0
    months = [(frame, low, high) for frame in frames for low, high in _months(stored, frame, span)]
    with show.steps("export") as progress:
        for done, (frame, low, high) in enumerate(months, 1):
            groups = _groups(stored, frame, symbols, low, high)
            name = f"{frame_folder(frame)}-{_month(low)}"
            if kind == "csv":
                for group in groups:
                    for symbol, exact in group:
                        path = folder / f"{_safe(symbol)}-{name}.csv"
                        disk.put(path, HEADER + csv_rows(symbol, exact, frame))
                        files, bars = files + 1, bars + exact.rows.size
            else:
                wrote = _put_all(folder / f"{name}{KINDS[kind]}", groups, kind, stored.market, frame)
                files, bars = files + (wrote > 0), bars + wrote
            progress(Progress(done, len(months), 0, frame.name))
    return Exported(files, bars, stored.newest_missing)


def _put_all(path: Path, groups: Iterator[Bars], kind: str, market: str, frame: Timeframe) -> int:
    """Write one file, whole or not at all, and none without bars; gives how many there are."""
    first = next(groups, None)
    if first is None:
        return 0
    count = 0
    with disk.growing(path) as file, _writing(file, kind, market, frame) as put:
        for group in (first, *groups):
            put(group)
            count += sum(exact.rows.size for _, exact in group)
    return count


def _to_stdout(
    stored: Stored, frame: Timeframe, symbols: Sequence[str] | None, span: tuple[int, int], kind: str
) -> Exported:
    """Write one file to stdout once it is whole."""
    if kind == "csv" and (symbols is None or len(symbols) != 1):
        raise DefinitionError("CSV has no column for the symbol: name one with --symbols, or give a folder.")
    bars = 0
    with tempfile.TemporaryFile() as file:
        with _writing(file, kind, stored.market, frame) as put:
            for low, high in _months(stored, frame, span):
                for group in _groups(stored, frame, symbols, low, high):
                    put(group)
                    bars += sum(exact.rows.size for _, exact in group)
        file.seek(0)
        shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.flush()
    return Exported(1, bars, stored.newest_missing)


def _months(stored: Stored, frame: Timeframe, span: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Part the time in which bars are kept, as far as it is wanted, into months."""
    kept = stored.span(frame.name)
    low, high = max(span[0], kept[0]), min(span[1], kept[1])
    while low < high:
        behind = min(high, _MONTHS.open_time(_MONTHS.index(low) + 1))
        yield low, behind
        low = behind


def _month(time: int) -> str:
    year, month = divmod(_MONTHS.index(time), 12)
    return f"{year:04}-{month + 1:02}"


def _groups(
    stored: Stored, frame: Timeframe, symbols: Sequence[str] | None, low: int, high: int
) -> Iterator[Bars]:
    """Read the bars of a month, of some symbols at a time: of more where the first turn out to have few.

    The hot store is read whole for each of these, since a slice holds all symbols.
    """
    names = stored.symbols(frame.name, low, high) if symbols is None else tuple(symbols)
    size = max(1, BATCH // max(1, frame.index(high - 1) - frame.index(low) + 1))
    at = 0
    while at < len(names):
        found = stored.exact(frame.name, low, high, names[at : at + size])
        at += size
        if found:
            yield sorted(found.items())
            most = max(exact.rows.size for exact in found.values())
            size = max(1, min(4 * size, BATCH // most))


@contextmanager
def _writing(file: BinaryIO, kind: str, market: str, frame: Timeframe) -> Iterator[Put]:
    """Open a file of this *kind*; what is put in is by symbol and time."""
    if kind == "csv":
        file.write(HEADER)

        def put_csv(group: Bars) -> None:
            file.writelines(csv_rows(symbol, exact, frame) for symbol, exact in group)

        yield put_csv
        return
    columns = portable.columns(market, frame)
    if kind == "arrow":
        ipc = arrow().ipc
        writer = ipc.new_file(
            file, columns, options=ipc.IpcWriteOptions(compression="zstd", use_threads=False)
        )
    else:
        writer = writer_of(file, columns)
    with writer:
        yield lambda group: writer.write_table(portable.table(group, columns))


def csv_rows(symbol: str, exact: Exact, frame: Timeframe) -> bytes:
    """Give bars as the lines of twelve fields that the exchange's archive has; raises DataError."""
    rows = exact.rows
    if rows.size and float(rows["high"].max()) * 10.0**exact.scale.price >= _PRINTED:
        raise DataError(f"{symbol} has prices of more than 15 digits: export Parquet, which keeps them.")
    body = rows_json(exact, frame)[2:-2]
    return body.replace(b'"', b"").replace(b"],[", b"\n") + b"\n" if rows.size else b""


def _safe(symbol: str) -> str:
    """Give a symbol that can be a file's name as it is; raises DataError."""
    if symbol in {"", ".", ".."} or {"/", "\\", "\0"} & set(symbol):
        raise DataError(f"The symbol {symbol!r} can not be a file's name: export Parquet or Arrow.")
    return symbol


class Imported(msgspec.Struct, frozen=True):
    """What came in: files, bars that are new or were corrected, why files failed, and what was odd."""

    files: int
    bars: int
    new: int
    corrected: int
    failed: dict[str, str]
    notes: list[str]


class _Run(NamedTuple):
    """Bars of one symbol out of a file."""

    path: Path
    frame: Timeframe
    symbol: str
    exact: Exact


def bring(given: Mapping[str, Any]) -> int:
    """Keep the bars of files; 1 where a file could not be used, and the others are kept all the same."""
    config = options.settings(given)
    market, folder = _target(config, given["market"])
    paths = _found([Path(path) for path in given["paths"]])
    history = history_in(folder, config.hub.history_path)
    taking = _Taking(market, history, now=system_clock().now(), replace=given["replace"])
    with show.steps("import") as progress:
        for done, path in enumerate(paths, 1):
            taking.take(path)
            progress(Progress(done, len(paths), len(taking.failed), path.suffix[1:]))
        taking.flush()
    found = Imported(
        len(paths) - len(taking.failed),
        taking.bars,
        taking.new,
        taking.corrected,
        taking.failed,
        taking.notes,
    )
    if given["as_json"]:
        show.document(found)
    else:
        show.out.print(
            f"{found.files} files with {found.bars:,} bars, {found.new:,} of them new, "
            f"{found.corrected:,} corrected"
        )
        show.listed(found.notes, most=10)
        show.listed([f"failed: {name}: {why}" for name, why in found.failed.items()], most=10)
    return 1 if found.failed else 0


def _target(config: Config, wanted: str | None) -> tuple[str, Path]:
    """Give the market to import into and its folder, which need not be there yet."""
    root = folder_of(config, there=False)
    found = markets(root, config.hub.history_path)
    if len(found) > 1 and wanted is None:
        raise DefinitionError(f"{root} keeps {', '.join(found)}: name one, --market {next(iter(found))}.")
    market = wanted or next(iter(found), config.exchange)
    venue_of(market)
    return market, found.get(market, root / market)


def _found(paths: Sequence[Path]) -> list[Path]:
    """Find the files to import, those of one month beside each other."""
    endings = (*SUFFIXES, KINDS["parquet"], KINDS["arrow"])
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise DefinitionError(f"There is no {path}: check the path.")
        each = sorted(path.rglob("*")) if path.is_dir() else [path]
        found += [one for one in each if one.is_file() and one.name.endswith(endings) and one.name[0] != "."]
    if not found:
        raise DefinitionError(f"Nothing to import there: {', '.join(endings)} files are read.")
    named = {path: file_of(path.name) for path in found}
    return sorted(found, key=lambda path: (-1 if (file := named[path]) is None else file.start, path))


class _Taking:
    """Takes files into *history*, many of them in one write; only bars closed by *now* (ms UTC)."""

    def __init__(self, market: str, history: HistoryStore, *, now: int, replace: bool) -> None:
        self.bars = self.new = self.corrected = 0
        self.failed: dict[str, str] = {}
        self.notes: list[str] = []
        self._market = market
        self._history = history
        self._now = now
        self._replace = replace
        self._waiting: dict[tuple[Timeframe, str], _Run] = {}

    def take(self, path: Path) -> None:
        """Read a file; what it holds is kept with that of others, or it is noted as failed."""
        try:
            for run in self._read(path):
                self._wait(run)
        except (DataError, OSError) as exc:
            self.failed[str(path)] = str(exc)

    def _read(self, path: Path) -> Iterator[_Run]:
        if path.name.endswith(SUFFIXES):
            yield self._csv(path)
            return
        for table in _tables(path):
            market, frame = portable.told(path.name, table.schema)
            if market != self._market:
                raise DataError(f"{path.name} holds klines of {market}, not of {self._market}: --market.")
            for symbol, exact in portable.bars(path.name, table):
                yield _Run(path, frame, symbol, self._closed(path, frame, exact))

    def _csv(self, path: Path) -> _Run:
        file = file_of(path.name)
        if file is None or file.timeframe is None:
            raise DataError(f"{path.name} does not say what it holds: name it like BTCUSDT-1h-2025-06.csv.")
        data, _, _ = Local(path, file).load()
        exact, notes = read_klines(unpack(path.name, data), path.name, file.timeframe, now=self._now)
        self.notes += notes
        return _Run(path, file.timeframe, file.symbol, exact)

    def _closed(self, path: Path, frame: Timeframe, exact: Exact) -> Exact:
        """Leave out bars that are still open; raises DataError for bars that can not be."""
        times = times_of(exact)
        if not np.all(consistent(exact.rows)):
            raise DataError(f"{path.name} holds bars whose high is below their low: it was changed.")
        over = opens(frame, indexes(frame, times) + 1) <= self._now
        if not np.all(over):
            self.notes.append(f"{path.name}: {int((~over).sum())} bars are still open and left out")
        return Exact(exact.rows[over], exact.scale)

    def _wait(self, run: _Run) -> None:
        if (run.frame, run.symbol) in self._waiting:
            self.flush()
        self._waiting[run.frame, run.symbol] = run
        if sum(one.exact.rows.size for one in self._waiting.values()) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Keep what was read; it is on disk when this returns."""
        waiting, self._waiting = list(self._waiting.values()), {}
        for frame in dict.fromkeys(run.frame for run in waiting):
            runs = [run for run in waiting if run.frame == frame]
            try:
                self._write(frame, runs)
            except DataError:
                # One of them disagrees with what is kept: the others are kept all the same.
                for run in runs:
                    try:
                        self._write(frame, [run])
                    except DataError as exc:
                        self.failed[str(run.path)] = str(exc).replace(*_IN_OTHER_WORDS)

    def _write(self, frame: Timeframe, runs: Sequence[_Run]) -> None:
        written = self._history.write(frame, {run.symbol: run.exact for run in runs}, replace=self._replace)
        self.bars += sum(run.exact.rows.size for run in runs)
        self.new += written.new
        self.corrected += written.corrected


def _tables(path: Path) -> Iterator[Any]:
    """Read an export piece by piece, as pyarrow Tables; raises DataError where it can not be read."""
    pa = arrow()
    try:
        if path.name.endswith(KINDS["parquet"]):
            with parquet_at(path) as file:
                for batch in file.iter_batches(BATCH, use_threads=False):
                    yield pa.Table.from_batches([batch], file.schema_arrow)
            return
        alone = pa.ipc.IpcReadOptions(use_threads=False)
        with pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped, options=alone) as reader:
            for number in range(reader.num_record_batches):
                yield pa.Table.from_batches([reader.get_batch(number)], reader.schema)
    except (pa.ArrowException, OSError) as exc:
        raise DataError(f"{path.name} is cut short or damaged ({exc}): export it again.") from exc
