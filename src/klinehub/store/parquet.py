"""Segments: closed bars of some symbols as one immutable Parquet file that any reader of Parquet can read.

1. Rows are in the order of symbol and time. Numbers are integers of the decimals beside them, because
   float64 holds neither every volume nor deltas; `close / 10 ** price_decimals` is the printed price.
2. A row group is one piece of a symbol (GROUP_BARS, cut at multiples of it from 1970 on), or several
   symbols that are smaller together: a day of all symbols decodes no more than it has to.
3. The footer's key `klinehub` tells each group's place in the file, what is in it, and the CRC-32 of its
   bytes; the file's name tells the digest of the footer. So no byte is decoded before it was checked.

Measured on recorded minutes: 18.8 bytes a bar; as DECIMAL, which has one scale for all symbols, 23.0 to
25.3, and pandas makes an object of each number; plain zstd 23.9. DECIMAL of 64 bits ends at 18 digits, too.
"""

import io
import mmap
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from fractions import Fraction
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import quote, unquote

import msgspec
import numpy as np
import numpy.typing as npt

from klinehub.domain.kline import ROW, ROW_WORDS, Exact, Scale
from klinehub.domain.timeframe import Timeframe
from klinehub.errors import DataError, DefinitionError, StoreError
from klinehub.panel.memory import CLOSE, F64, I64, OPEN, kernel, power_of_ten, to_float
from klinehub.panel.roll import indexes
from klinehub.store import disk
from klinehub.store.joining import of_words, refuse_disorder, times_of, words_of

FORMAT: Final = 1
# Two days of minutes. 1,440 take 0.7 bytes a bar more; with 5,760 a day of a market takes 3.5 times as long.
GROUP_BARS: Final = 2_880
KEY: Final = b"klinehub"
MAGIC: Final = b"PAR1"
SUFFIX: Final = ".parquet"
_TAIL: Final = 8  # the footer's length and the mark behind it
_NUMBERS: Final = tuple(ROW.names or ())
_DECIMALS: Final = ("price_decimals", "base_decimals", "quote_decimals")
_MOST_DECIMALS: Final = 18
_LONGEST_SYMBOL: Final = 100
# Opens a file to read some of its bytes; raises FileNotFoundError where it is gone, else StoreError.
Reading: TypeAlias = Callable[[PurePath], AbstractContextManager[io.BufferedIOBase]]
_NAME: Final = re.compile(r"(?P<first>[^+]+)\+(?P<last>[^+]+)\+(?P<digest>[0-9a-f]{16})\.parquet")


class DamagedSegment(StoreError):
    """A segment is not what was written: nothing of it is served, and what it held is written again."""

    def __init__(self, path: PurePath, why: str) -> None:
        self.path, self.why = path, why
        super().__init__(f"{path} is damaged ({why}): set it aside and write its bars again.")


class Piece(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Bars of one symbol that follow each other in a row group: open times of the first and the last."""

    symbol: str
    first: int
    last: int
    bars: int
    price: int
    base: int
    quote: int

    @property
    def scale(self) -> Scale:
        """The decimals that these bars were printed with."""
        return Scale(self.price, self.base, self.quote)


class Group(msgspec.Struct, frozen=True, array_like=True):
    """A row group: where its bytes begin and end, their CRC-32, and its pieces in order."""

    begin: int
    end: int
    check: int
    pieces: tuple[Piece, ...]


class Head(msgspec.Struct, frozen=True):
    """What a segment's footer tells of it."""

    format: int
    timeframe: str
    generation: int
    groups: tuple[Group, ...]

    @property
    def pieces(self) -> Iterator[Piece]:
        """All pieces, in the order of symbol and time."""
        return (piece for group in self.groups for piece in group.pieces)


class Segment(NamedTuple):
    """A segment whose footer is as it was written: what it holds, and how Parquet finds that."""

    path: PurePath
    head: Head
    size: int
    footer: Any  # pyarrow's FileMetaData
    reading: Reading


class Name(NamedTuple):
    """What a segment's name tells: the first and the last symbol, and its footer's digest."""

    first: str
    last: str
    digest: str

    def may_hold(self, symbols: Sequence[str]) -> bool:
        """Whether one of these symbols can be in the segment."""
        return any(self.first <= symbol <= self.last for symbol in symbols)


def named(path: PurePath) -> Name:
    """Read a segment's name; raises DamagedSegment where it is none."""
    found = _NAME.fullmatch(path.name)
    if found is None:
        raise DamagedSegment(path, "its name tells no symbols and no digest")
    return Name(unquote(found["first"]), unquote(found["last"]), found["digest"])


def _quoted(symbol: str) -> str:
    """Spell a symbol so that every file system takes it, and no reader a file for hidden: %-escapes."""
    text = quote(symbol, safe="").replace(".", "%2E").replace("_", "%5F")
    if not 0 < len(text) <= _LONGEST_SYMBOL:
        raise DataError(f"The symbol {symbol!r} does not fit a file's name: it has to be shorter.")
    return text


def arrow() -> Any:  # noqa: ANN401 - a module
    """Import pyarrow, which comes with an extra; raises DefinitionError where it is not installed."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to import
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as exc:
        raise DefinitionError("The history needs pyarrow: pip install 'klinehub[parquet]'.") from exc
    return pa


def parquet_at(path: Path) -> Any:  # noqa: ANN401 - a pyarrow.parquet.ParquetFile
    """Open any Parquet file; with `use_threads=False` it is read by the caller's thread alone.

    One of Arrow's own threads that is not idle yet when the process ends aborts it (apache/arrow#34314).
    """
    pa = arrow()
    return pa.parquet.ParquetFile(pa.BufferReader(pa.memory_map(str(path)).read_buffer()))


def schema() -> Any:  # noqa: ANN401 - a pyarrow.Schema
    """Give the columns of a segment."""
    pa = arrow()
    fields = [("symbol", pa.dictionary(pa.int32(), pa.string())), ("open_time", pa.timestamp("ms", "UTC"))]
    fields += [(name, pa.int64()) for name in _NUMBERS[1:]]
    return pa.schema([*fields, *((name, pa.int8()) for name in _DECIMALS)])


@kernel
def _to_prices(words: I64, floats: F64, power: int) -> None:
    """Turn the price words of bars [n, 10] (two views of one array) from mantissas into float64."""
    for i in range(words.shape[0]):
        for w in range(OPEN, CLOSE + 1):
            floats[i, w] = to_float(words[i, w], power)


def mantissas(symbol: str, exact: Exact) -> I64:
    """Give bars as words [n, 10] whose prices are integers of the printed decimals.

    Raises DataError where that would not give back every number bit for bit.
    """
    words = words_of(exact).copy()
    if not all(0 <= places <= _MOST_DECIMALS for places in exact.scale):
        raise DataError(f"{symbol} has {exact.scale}: from 0 to {_MOST_DECIMALS} decimals can be kept.")
    if words.size and int(words[:, CLOSE + 1 :].min()) < 0:
        raise DataError(f"{symbol} has a volume below zero: it is not kept.")
    prices = words.view(np.float64)[:, OPEN : CLOSE + 1].copy()
    with np.errstate(all="ignore"):
        words[:, OPEN : CLOSE + 1] = np.rint(prices * 10.0**exact.scale.price)
    for row, column in np.argwhere(_bits(priced(words, exact.scale)) != prices.view(np.int64)):
        words[row, OPEN + column] = _mantissa(symbol, float(prices[row, column]), exact.scale.price)
    return words


def priced(words: I64, scale: Scale) -> I64:
    """Give words with mantissas of prices as they are when read."""
    words = words.copy()
    _to_prices(words, words.view(np.float64), power_of_ten(scale.price))
    return words


def _bits(words: I64) -> I64:
    return words[:, OPEN : CLOSE + 1]


def _mantissa(symbol: str, price: float, decimals: int) -> int:
    """Find the integer that multiplying as float64 has missed."""
    whole = round(Fraction(price) * 10**decimals) if np.isfinite(price) else -1
    exact = 0 <= whole < 2**63 and to_float(whole, power_of_ten(decimals)) == price
    if not exact or (price == 0 and np.signbit(price)):
        raise DataError(f"{symbol} has the price {price!r}, which {decimals} decimals do not print.")
    return whole


def _groups(timeframe: Timeframe, runs: Sequence[tuple[str, Exact]]) -> Iterator[list[tuple[str, Exact]]]:
    """Cut runs into pieces, and gather small pieces of several symbols into one group."""
    group: list[tuple[str, Exact]] = []
    size = 0
    for symbol, run in runs:
        blocks = indexes(timeframe, times_of(run)) // GROUP_BARS
        for rows in np.split(run.rows, np.flatnonzero(np.diff(blocks)) + 1):
            if size + rows.size > GROUP_BARS:
                yield group
                group, size = [], 0
            group.append((symbol, Exact(rows, run.scale)))
            size += rows.size
    if group:
        yield group


def table_of(group: Sequence[tuple[str, Exact]], columns: Any) -> Any:  # noqa: ANN401 - of pyarrow
    """Give bars as a pyarrow Table of these *columns*; raises DataError for what can not be kept exactly."""
    pa = arrow()
    sizes = [exact.rows.size for _, exact in group]
    words = np.concatenate([mantissas(symbol, exact) for symbol, exact in group])
    symbols = list(dict.fromkeys(symbol for symbol, _ in group))
    codes = np.repeat([symbols.index(symbol) for symbol, _ in group], sizes).astype(np.int32)
    scales = np.repeat(np.array([exact.scale for _, exact in group], np.int8), sizes, axis=0)
    values = [_column(codes, pa.int32()), *(_column(word, pa.int64()) for word in words.T[1:])]
    values.insert(1, _column(words[:, 0], columns.field("open_time").type))
    values += [_column(places, pa.int8()) for places in scales.T]
    values[0] = pa.DictionaryArray.from_arrays(values[0], _texts(symbols))
    return pa.table(values, schema=columns)


def writer_of(sink: Any, columns: Any) -> Any:  # noqa: ANN401 - of pyarrow
    """Open a Parquet file for tables of these *columns*, in as few bytes as was measured."""
    return arrow().parquet.ParquetWriter(
        sink,
        columns,
        compression="zstd",
        use_dictionary=["symbol", *_DECIMALS],
        column_encoding=dict.fromkeys(_NUMBERS, "DELTA_BINARY_PACKED"),
        write_statistics=["symbol", "open_time"],
    )


def _column(values: npt.NDArray[np.integer], kind: Any) -> Any:  # noqa: ANN401 - of pyarrow
    """Give integers as an array: `pa.array` and `to_numpy` would import pandas, which takes a second."""
    pa = arrow()
    body = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(kind, len(values), [None, body])


def _texts(texts: Sequence[str]) -> Any:  # noqa: ANN401 - of pyarrow
    """Give texts as an array, in the way of `_column`."""
    pa = arrow()
    bodies = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, bodies)]).astype(np.int32)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(b"".join(bodies)))


def _piece(symbol: str, exact: Exact) -> Piece:
    times = times_of(exact)
    return Piece(symbol, int(times[0]), int(times[-1]), len(times), *exact.scale)


def encode(timeframe: Timeframe, runs: Sequence[tuple[str, Exact]], generation: int) -> tuple[str, bytes]:
    """Give a segment's name and bytes for runs of bars, none empty, in the order of symbol and time.

    Raises DataError for a number that can not be kept exactly.
    """
    columns, sink, groups = schema(), io.BytesIO(), []
    writer = writer_of(sink, columns)
    for group in _groups(timeframe, runs):
        begin = sink.tell()
        writer.write_table(table_of(group, columns))
        check = zlib.crc32(sink.getbuffer()[begin:])
        groups.append(Group(begin, sink.tell(), check, tuple(_piece(*one) for one in group)))
    head = Head(FORMAT, timeframe.name, generation, tuple(groups))
    writer.add_key_value_metadata({KEY: msgspec.json.encode(head)})
    writer.close()
    body = sink.getvalue()
    digest = _digest(body[-_TAIL - int.from_bytes(body[-_TAIL:-4], "little") :])
    return f"{_quoted(runs[0][0])}+{_quoted(runs[-1][0])}+{digest}{SUFFIX}", body


def _digest(footer: bytes) -> str:
    return blake2b(footer, digest_size=8).hexdigest()


def opened(path: PurePath, reading: Reading = disk.reading, name: str | None = None) -> Segment:
    """Read what a segment holds; raises DamagedSegment where its end is not as it was written.

    *name* is the one that it was written under, where it is called otherwise now.
    """
    digest = named(path if name is None else path.with_name(name)).digest
    with reading(path) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(size - _TAIL, 0))
        length = int.from_bytes(file.read(_TAIL)[:4], "little") + _TAIL
        file.seek(max(size - length, 0))
        footer = file.read()
    if length > size or _digest(footer) != digest:
        raise DamagedSegment(path, "its footer is not the one that its name tells of")
    pa = arrow()
    metadata = pa.parquet.read_metadata(pa.BufferReader(MAGIC + footer))
    try:
        head = msgspec.json.decode(metadata.metadata[KEY], type=Head)
    except (KeyError, msgspec.DecodeError) as exc:
        raise StoreError(f"{path} is not of format {FORMAT} ({exc}): a newer klinehub wrote it.") from exc
    if head.format != FORMAT:
        raise StoreError(f"{path} is of format {head.format}, known is {FORMAT}: update klinehub to read it.")
    return Segment(path, head, size, metadata, reading)


def pieces(segment: Segment, groups: Sequence[int]) -> Iterator[tuple[str, Exact]]:
    """Decode some row groups (ascending) into their pieces, once their bytes are seen to be right.

    Raises DamagedSegment where they are not, and FileNotFoundError where the segment was replaced.
    """
    pa = arrow()
    chosen = [segment.head.groups[number] for number in groups]
    source = pa.BufferReader(pa.py_buffer(_image(segment, chosen)))
    try:
        file = pa.parquet.ParquetFile(source, metadata=segment.footer)
        table = file.read_row_groups(list(groups), columns=list(_NUMBERS), use_threads=False)
        words = words_in(table)
    except (pa.ArrowException, OSError) as exc:
        raise DamagedSegment(segment.path, f"Parquet reads it not: {exc}") from exc
    yield from _pieces(segment, words, [piece for group in chosen for piece in group.pieces])


def words_in(table: Any) -> I64:  # noqa: ANN401 - of pyarrow
    """Copy the columns of numbers into words [n, 10]."""
    words = np.empty((table.num_rows, ROW_WORDS), np.int64)
    for word, name in enumerate(_NUMBERS):
        at = 0
        for chunk in table[name].chunks:
            values = np.frombuffer(chunk.buffers()[1], np.int64, len(chunk), 8 * chunk.offset)
            words[at : at + len(chunk), word] = values
            at += len(chunk)
    return words


def _image(segment: Segment, groups: Sequence[Group]) -> mmap.mmap:
    """Give memory as long as the file, with the bytes of *groups* in their places and zeros elsewhere.

    What was not asked for takes no memory, and the decoder sees no byte that was not checked.
    """
    image = mmap.mmap(-1, segment.size)
    with segment.reading(segment.path) as file, memoryview(image) as view:
        for begin, end in _stretches(groups):
            file.seek(begin)
            with view[begin:end] as place:
                file.readinto(place)
        for group in groups:
            with view[group.begin : group.end] as place:
                if zlib.crc32(place) != group.check:
                    raise DamagedSegment(segment.path, f"bytes {group.begin} to {group.end} were changed")
    return image


def _stretches(groups: Sequence[Group]) -> Iterator[tuple[int, int]]:
    """Give where groups that follow each other in the file begin and end: each is one reading."""
    apart = (at for at, (one, two) in enumerate(pairwise(groups), 1) if one.end != two.begin)
    edges = [0, *apart, len(groups)]
    for first, behind in pairwise(edges):
        yield groups[first].begin, groups[behind - 1].end


def _pieces(segment: Segment, words: I64, found: Sequence[Piece]) -> Iterator[tuple[str, Exact]]:
    at = 0
    for piece in found:
        part = words[at : at + piece.bars]
        at += piece.bars
        if len(part) != piece.bars or (part[0, 0], part[-1, 0]) != (piece.first, piece.last):
            raise DamagedSegment(segment.path, f"it has other bars of {piece.symbol} than it tells of")
        _to_prices(part, part.view(np.float64), power_of_ten(piece.price))
        yield piece.symbol, of_words(part, piece.scale)


def checked(
    path: PurePath, timeframe: Timeframe, reading: Reading = disk.reading
) -> Iterator[tuple[str, Exact]]:
    """Give all pieces of a segment, every byte and bar held against what it tells; raises DamagedSegment."""
    segment = opened(path, reading)
    with reading(path) as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise DamagedSegment(path, "it does not begin as Parquet does")
    if segment.head.timeframe != timeframe.name:
        raise DamagedSegment(path, f"it holds {segment.head.timeframe} bars")
    for number in range(len(segment.head.groups)):
        for symbol, exact in pieces(segment, [number]):
            try:
                refuse_disorder(symbol, exact, timeframe)
            except DataError as exc:
                raise DamagedSegment(path, str(exc)) from exc
            yield symbol, exact
