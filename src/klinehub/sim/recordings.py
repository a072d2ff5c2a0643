"""Reading recorded klines: archive CSV (plain, gzip, zip) and Parquet, into exact bars per symbol."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from klinehub.domain.kline import Scale
from klinehub.domain.timeframe import DAY, TIMEFRAMES, Timeframe
from klinehub.errors import DataError, DefinitionError
from klinehub.feed.archive_csv import MICROSECONDS, Numbers, read_numbers
from klinehub.feed.archive_unpack import unpack
from klinehub.feed.body import KIND_FIELDS
from klinehub.sim.truth import (
    CLOSE,
    HIGH,
    I64,
    LOW,
    OPEN,
    OPEN_TIME,
    QUOTE,
    TAKER_BASE,
    TAKER_QUOTE,
    TRADES,
    VOLUME,
    WORDS,
)
from klinehub.store.parquet import parquet_at

F64 = npt.NDArray[np.float64]

_MOST_DECIMALS: Final = 10
_SUFFIXES: Final = (".csv", ".csv.gz", ".csv.zip", ".zip", ".parquet")
# What a Parquet recording lacks; its stand-ins follow from price and volume.
MADE_UP: Final = frozenset({"trades", "taker_base", "taker_quote"})
_MONEY_A_TRADE: Final = 5_000.0
# Mantissas beyond this could overflow when larger bars are added up.
_LARGEST: Final = 2**62 // 1000


class Recording(NamedTuple):
    """One symbol's bars (lines of ten integers, see truth) in mantissas of *scale*, oldest first."""

    symbol: str
    bars: I64
    scale: Scale


class Recordings(NamedTuple):
    """Everything read from one place: bars of one timeframe and the fields that nobody recorded."""

    timeframe: Timeframe
    symbols: tuple[Recording, ...]
    unavailable: frozenset[str]


def read(path: Path) -> Recordings:
    """Read a file, or every recording in a folder; raises DefinitionError where there is none."""
    files = _files(path)
    parquet = [file for file in files if file.suffix == ".parquet"]
    parts = [_csv(file) for file in files if file.suffix != ".parquet"]
    for file in parquet:
        parts.extend(_parquet(file))
    symbols = tuple(_joined(parts))
    steps = {_step(one) for one in symbols}
    if len(steps) != 1:
        found = ", ".join(sorted({str(step // 60_000) for step in steps}, key=int))
        raise DefinitionError(
            f"{path} mixes bars of {found} minutes: name a file or folder of one timeframe."
        )
    return Recordings(_timeframe(path, steps.pop()), symbols, MADE_UP if parquet else frozenset())


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise DefinitionError(f"There is no recording at {path}: check the path.")
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    found = [file for file in files if file.name.endswith(_SUFFIXES)]
    if not found:
        raise DefinitionError(f"{path} holds no recording: {', '.join(_SUFFIXES)} files are read.")
    return found


def _step(one: Recording) -> int:
    times = one.bars[:, OPEN_TIME]
    return int(np.diff(times).min()) if len(times) > 1 else 60_000


def _timeframe(path: Path, step: int) -> Timeframe:
    for frame in TIMEFRAMES.values():
        if frame.milliseconds == step:
            return frame
    raise DefinitionError(f"{path} holds bars {step} ms apart, which is no timeframe: check the file.")


def _joined(parts: Iterable[Recording]) -> Iterator[Recording]:
    """Join several files of a symbol; a bar that is there twice is kept once."""
    by_symbol: dict[str, list[Recording]] = {}
    for part in parts:
        by_symbol.setdefault(part.symbol, []).append(part)
    for symbol, group in sorted(by_symbol.items()):
        scale = Scale(*(max(one.scale[k] for one in group) for k in range(3)))
        bars = np.concatenate([_rescaled(one, scale) for one in group])
        _, first = np.unique(bars[:, OPEN_TIME], return_index=True)
        yield Recording(symbol, np.ascontiguousarray(bars[first]), scale)


def _rescaled(one: Recording, scale: Scale) -> I64:
    bars = one.bars.copy()
    bars[:, OPEN : CLOSE + 1] *= 10 ** (scale.price - one.scale.price)
    bars[:, [VOLUME, TAKER_BASE]] *= 10 ** (scale.base - one.scale.base)
    bars[:, [QUOTE, TAKER_QUOTE]] *= 10 ** (scale.quote - one.scale.quote)
    return bars


def _csv(file: Path) -> Recording:
    """Read an archive CSV of 12 fields; its name begins with the symbol."""
    numbers = read_numbers(unpack(file.name, file.read_bytes()), file.name)
    return _recording(file.name.split("-")[0].split(".")[0], numbers)


def _recording(symbol: str, numbers: Numbers) -> Recording:
    """Bring every field to the most decimals that it is printed with anywhere."""
    mantissas, decimals, _ = numbers
    for fields, digits in zip(KIND_FIELDS, numbers.scale, strict=True):
        for field in fields:
            mantissas[:, field] *= 10 ** np.maximum(digits - decimals[:, field], 0)
    bars = np.ascontiguousarray(mantissas[:, [0, 1, 2, 3, 4, 5, 7, 8, 9, 10]])
    bars[:, TRADES] = np.maximum(bars[:, TRADES], bars[:, VOLUME] > 0)
    return Recording(symbol, bars, numbers.scale)


def _parquet(file: Path) -> Iterator[Recording]:
    """Read a Parquet file of symbol, open_time, open, high, low, close, volume."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise DefinitionError("Parquet recordings need pyarrow: pip install 'klinehub[parquet]'.") from None
    names = ["symbol", "open_time", "open", "high", "low", "close", "volume"]
    try:
        # A column that is not there is left out in silence by reading, and told by choosing.
        table = parquet_at(file).read(names, use_threads=False).select(names)
    except (pa.ArrowInvalid, KeyError) as error:
        raise DataError(f"{file.name} is no recording with columns {', '.join(names)} ({error}).") from None
    coded = table["symbol"].combine_chunks().dictionary_encode()
    codes, symbols = coded.indices.to_numpy(), coded.dictionary.to_pylist()
    times = table["open_time"].cast(pa.int64()).to_numpy()
    values = np.column_stack([table[name].to_numpy() for name in names[2:]])
    order = np.lexsort((times, codes))
    cuts = np.searchsorted(codes[order], np.arange(len(symbols) + 1))
    end = int(times.max()) if len(times) else 0
    for code, symbol in enumerate(symbols):
        mine = order[cuts[code] : cuts[code + 1]]
        # The last row of a symbol that was still trading when the recorder stopped may be a forming bar.
        if len(mine) and times[mine[-1]] > end - DAY:
            mine = mine[:-1]
        if len(mine):
            yield _made_up(str(symbol), times[mine], values[mine])


def _decimals(values: F64) -> int:
    """Give the decimals that print every value exactly, which float64 keeps up to 15 digits."""
    for digits in range(_MOST_DECIMALS):
        power = 10.0**digits
        if np.array_equal(np.rint(values * power) / power, values):
            return digits
    return _MOST_DECIMALS


def _made_up(symbol: str, times: I64, values: F64) -> Recording:
    """Complete a symbol's bars: quote volume at the typical price, some trades, takers half of it."""
    price, base = _decimals(values[:, :4]), _decimals(values[:, 4])
    bars = np.zeros((len(times), WORDS), np.int64)
    bars[:, OPEN_TIME] = times // 1000 if len(times) and times[0] >= MICROSECONDS else times
    bars[:, OPEN : CLOSE + 1] = np.rint(values[:, :4] * 10.0**price)
    bars[:, VOLUME] = np.rint(values[:, 4] * 10.0**base)
    if float((values[:, 1] * values[:, 4]).max()) * 10.0 ** (price + base) > _LARGEST:
        raise DataError(
            f"{symbol}: quote volumes of {price + base} decimals do not fit 64 bits; leave it out."
        )
    _complete(bars, _MONEY_A_TRADE * 10.0 ** (price + base))
    return Recording(symbol, bars, Scale(price, base, price + base))


@njit(cache=True, nogil=True, error_model="numpy")
def _complete(bars: I64, money_a_trade: float) -> None:
    """Derive quote volume, trades and taker volumes of bars that have only prices and volume."""
    for i in range(bars.shape[0]):
        bar = bars[i]
        low, high, volume = bar[LOW], bar[HIGH], bar[VOLUME]
        if volume == 0:
            continue
        third = (high + low + bar[CLOSE]) * (volume // 3) + (high + low + bar[CLOSE]) * (volume % 3) // 3
        bar[QUOTE] = min(max(third, low * volume), high * volume)
        # Four trades can touch open, high, low and close.
        bar[TRADES] = max(min(max(int(bar[QUOTE] / money_a_trade), 4), volume), 1)
        bar[TAKER_BASE] = volume // 2
        rest = volume - volume // 2
        least = max(low * bar[TAKER_BASE], bar[QUOTE] - high * rest)
        most = min(high * bar[TAKER_BASE], bar[QUOTE] - low * rest)
        bar[TAKER_QUOTE] = min(max(bar[QUOTE] // 2, least), most)
