"""Importing: files of the archive become kept bars, funding rates and metrics, each file once.

A file counts as imported when what it holds is on disk, and is then noted with its checksum. Whatever is
interrupted before that is imported again, which changes nothing.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain, pairwise
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import numpy as np

from klinehub.app.stored import HISTORY
from klinehub.domain.kline import Exact
from klinehub.domain.timeframe import DAY, TIMEFRAMES, Timeframe
from klinehub.errors import DataError, DefinitionError
from klinehub.feed.archive import digest_of
from klinehub.feed.archive_csv import read_klines
from klinehub.feed.archive_names import ArchiveFile, Kind, file_of, root_of
from klinehub.feed.archive_plan import Span
from klinehub.feed.archive_series import COLUMNS, Told, read_series
from klinehub.feed.archive_unpack import SUFFIXES, unpack
from klinehub.panel.memory import I64
from klinehub.store.history import HistoryStore
from klinehub.store.imported import Imported
from klinehub.store.joining import joined
from klinehub.store.series import SeriesStore

# A batch of a million bars is 80 MB in memory, and some 25 months of minutes. Days are kept 500 at a time: a
# kill costs no more than these, and each batch makes one more file in the history's folders.
BATCH: Final = 1_000_000
BATCH_FILES: Final = 500
FOLDERS: Final = {Kind.FUNDING: "funding", Kind.METRICS: "metrics"}


class History(Protocol):
    """Where bars are kept."""

    def months(self, timeframe: Timeframe) -> tuple[str, ...]:
        """Give the months that bars are kept of, such as 2025-06."""

    def read(
        self, timeframe: Timeframe, symbols: Sequence[str] | None, start: int, end: int
    ) -> dict[str, Exact]:
        """Give the kept bars that open in [start, end) ms UTC."""

    def write(self, timeframe: Timeframe, bars: Mapping[str, Exact], *, replace: bool = False) -> object:
        """Keep closed bars; they are on disk when this returns."""


class _Part(NamedTuple):
    file: ArchiveFile
    digest: str
    exact: Exact | None = None
    told: Told | None = None


@dataclass(slots=True)
class Report:
    """What became of the files: counts, why some failed (by name), what was odd, and bars that lack."""

    files: int = 0
    bytes: int = 0
    bars: int = 0
    rows: int = 0
    unverified: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    holes: list[Span] = field(default_factory=list)
    edges: dict[tuple[str, str], list[tuple[int, int, int, int]]] = field(default_factory=dict)


class Importer:
    """Keeps what files hold below *folder*, that of one market; only bars closed by *now* (ms UTC).

    Bars go into the *history* of that folder, or another one. With *replace* what a file holds takes the
    place of what is kept and differs, otherwise the file is refused. Its methods may be called from any
    thread, one at a time.
    """

    def __init__(
        self, folder: Path, *, now: int, replace: bool = False, history: History | None = None
    ) -> None:
        self.folder = folder
        self.history = history or HistoryStore(folder / HISTORY)
        self.series = {kind: SeriesStore(folder / name, COLUMNS[kind]) for kind, name in FOLDERS.items()}
        self.report = Report()
        self._imported = Imported(folder / "imported.sha256")
        self._now = now
        self._replace = replace
        self._parts: list[_Part] = []
        self._size = 0
        self._alone = threading.Lock()

    @property
    def imported(self) -> dict[str, str]:
        """The names of the files that are imported and whose months are still there, with their SHA-256."""
        there: dict[Kind | Timeframe, frozenset[str]] = {}
        found = {}
        for name, digest in self._imported.digests.items():
            file = file_of(name)
            if file is not None:
                of = file.timeframe or file.kind
                if of not in there:
                    there[of] = self._months(of)
                if file.month in there[of]:
                    found[name] = digest
        return found

    def _months(self, of: Kind | Timeframe) -> frozenset[str]:
        """Give the months of which something is kept."""
        if isinstance(of, Timeframe):
            return frozenset(self.history.months(of))
        folder = self.folder / FOLDERS[of]
        return frozenset(path.name for path in folder.iterdir()) if folder.is_dir() else frozenset()

    def take(self, file: ArchiveFile, data: bytes, digest: str, *, verified: bool) -> None:
        """Read a file; it is kept with its batch, or noted as failed."""
        with self._alone:
            try:
                part = self._read(file, data, digest)
            except DataError as error:
                self._lack(file, str(error))
                return
            self.report.bytes += len(data)
            self.report.unverified += not verified
            self._parts.append(part)
            self._size += len(part.told.times) if part.told is not None else 0
            self._size += part.exact.rows.size if part.exact is not None else 0
            if self._size >= BATCH or len(self._parts) >= BATCH_FILES:
                self._flush()

    def lack(self, file: ArchiveFile, why: str | None = None) -> None:
        """Note that a file is not there after all, or with *why* that it failed: its bars lack."""
        with self._alone:
            self._lack(file, why)

    def flush(self) -> None:
        """Keep what was read; it is on disk when this returns."""
        with self._alone:
            self._flush()

    def keep(self, timeframe: Timeframe, bars: Mapping[str, Exact]) -> None:
        """Keep bars that came by REST."""
        with self._alone:
            self.history.write(timeframe, bars, replace=self._replace)

    def _lack(self, file: ArchiveFile, why: str | None) -> None:
        if why is not None:
            self.report.failed[file.name] = why
        if file.timeframe is not None:
            self.report.holes.append(Span(file.symbol, file.timeframe.name, file.start, file.end))

    def _read(self, file: ArchiveFile, data: bytes, digest: str) -> _Part:
        """Read a file's rows; raises DataError."""
        text = unpack(file.name, data)
        if file.timeframe is None:
            return _Part(file, digest, told=read_series(text, file.name, file.kind))
        exact, notes = read_klines(text, file.name, file.timeframe, now=self._now)
        times = np.asarray(exact.rows["open_time"])
        if not times.size:
            raise DataError(f"{file.name} holds no bar that could be kept.")
        if file.timeframe.milliseconds <= DAY and not file.start <= times[0] <= times[-1] < file.end:
            raise DataError(f"{file.name} holds bars of another time than its name says: download it again.")
        self.report.notes += notes
        key = (file.symbol, file.timeframe.name)
        self.report.holes += [Span(*key, *hole) for hole in _holes(times, file.timeframe)]
        span = (file.start, file.end, int(times[0]), int(times[-1]))
        self.report.edges.setdefault(key, []).append(span)
        return _Part(file, digest, exact=exact)

    def _flush(self) -> None:
        parts, self._parts, self._size = self._parts, [], 0
        groups: dict[str, list[_Part]] = {}
        for part in parts:
            groups.setdefault(part.file.series, []).append(part)
        for group in groups.values():
            try:
                self._write(group)
            except DataError:
                # One of them disagrees with what is kept: the others are kept all the same.
                for part in group:
                    self._write_alone(part)

    def _write_alone(self, part: _Part) -> None:
        try:
            self._write([part])
        except DataError as error:
            self.report.failed[part.file.name] = f"{error} The command's option for that is --replace."

    def _write(self, parts: Sequence[_Part]) -> None:
        """Keep what parts of one timeframe or kind hold, and note their files; raises DataError."""
        first = parts[0].file
        by_symbol: dict[str, list[_Part]] = {}
        for part in sorted(parts, key=lambda part: (part.file.start, part.file.end)):
            by_symbol.setdefault(part.file.symbol, []).append(part)
        if first.timeframe is not None:
            bars = {symbol: _joined(group) for symbol, group in by_symbol.items()}
            self.history.write(first.timeframe, bars, replace=self._replace)
            self.report.bars += sum(exact.rows.size for exact in bars.values())
        else:
            for symbol, group in by_symbol.items():
                self._keep_told(first.kind, symbol, [part.told for part in group if part.told is not None])
        self.report.files += len(parts)
        self._imported.add((zip_name(part.file), part.digest) for part in parts)

    def _keep_told(self, kind: Kind, symbol: str, told: Sequence[Told]) -> None:
        times = [time for one in told for time in one.times]
        columns = {name: [*chain.from_iterable(one.columns[name] for one in told)] for name in COLUMNS[kind]}
        self.series[kind].write(symbol, times, columns, replace=self._replace)
        self.report.rows += len(times)

    def gaps(self) -> list[Span]:
        """Give the bars that lack inside of the files that were read, and between one and the next."""
        found = list(self.report.holes)
        for (symbol, name), edges in self.report.edges.items():
            step = TIMEFRAMES[name].milliseconds
            edges.sort()
            for before, after in pairwise(edges):
                if before[1] == after[0] and step <= DAY and after[2] > before[3] + step:
                    found.append(Span(symbol, name, before[3] + step, after[2]))
        return found


def _joined(parts: Sequence[_Part]) -> Exact:
    """Join the bars of one symbol; raises DataError where files overlap, which are kept one by one then."""
    found = [part.exact for part in parts if part.exact is not None]
    for before, after in pairwise(found):
        if before.rows["open_time"][-1] >= after.rows["open_time"][0]:
            raise DataError("Files overlap.")
    return joined(found)


def _holes(times: I64, timeframe: Timeframe) -> Iterable[tuple[int, int]]:
    """Give the stretches between bars that hold no bar."""
    if timeframe.monthly:
        return []
    step = timeframe.milliseconds
    return [(int(times[at]) + step, int(times[at + 1])) for at in np.flatnonzero(np.diff(times) > step)]


def zip_name(file: ArchiveFile) -> str:
    """Give the name that a file has in the archive, however it was unpacked since."""
    suffix = next(suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if file.name.endswith(suffix))
    return file.name.removesuffix(suffix) + ".zip"


class Local(NamedTuple):
    """A file of the archive that is on this machine already."""

    path: Path
    file: ArchiveFile

    def load(self) -> tuple[bytes, str, bool]:
        """Give its bytes, their SHA-256, and whether a checksum beside it says the same; raises DataError."""
        try:
            data = self.path.read_bytes()
            beside = self.path.with_name(f"{self.path.name}.CHECKSUM")
            told = beside.read_bytes() if beside.exists() else None
        except OSError as error:
            raise DataError(f"{self.path} cannot be read ({error.strerror}).") from error
        digest = sha256(data).hexdigest()
        if told is not None and digest_of(told, self.path.name) != digest:
            raise DataError(f"{self.path.name} does not fit the checksum beside it: download it again.")
        return data, digest, told is not None


def local_files(folder: Path, market: str) -> tuple[list[Local], list[str]]:
    """Find the archive's files below *folder* and those that are not named so; raises DefinitionError.

    A file that lies in another market's folders of the archive is none of *market*.
    """
    if not folder.is_dir():
        raise DefinitionError(f"There is no folder {folder}: check --from-dir.")
    found, strange = [], []
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder).as_posix()
        if not path.is_file() or not path.name.endswith(SUFFIXES):
            continue
        file = file_of(place)
        others = "spot/" in place or "futures/" in place
        if file is None or (others and f"{root_of(market).removeprefix('data/')}/" not in place):
            strange.append(place)
        else:
            found.append(Local(path, file))
    found.sort(key=lambda one: (one.file.series, one.file.month, one.file.symbol, one.file.start))
    return found, strange
