"""Kept bars as users read them: exact rows become klines, one field of all symbols, or a panel."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from klinehub.domain.kline import CLOSED, KLINE, ROW, ROW_WORDS, Exact, Klines
from klinehub.domain.timeframe import Timeframe
from klinehub.panel.history import History
from klinehub.panel.memory import CLOSE, F64, I64, kernel, power_of_ten, to_float
from klinehub.panel.roll import indexes, opens
from klinehub.panel.view import PLANES

_WORDS: Final = {name: word for word, name in enumerate(ROW.names or ())}
# Which part of a scale a field's mantissas have; prices are float64 already and trades are whole.
_SCALE_OF: Final = {"volume": 1, "taker_base": 1, "quote_volume": 2, "taker_quote": 2}


@kernel
def _put(words: I64, floats: F64, word: int, power: int, at: I64, out: F64) -> None:
    """Write one field of bars [n, 10] (two views of one array) into the cells *at* of *out*."""
    for i in range(at.size):
        out[at[i]] = floats[i, word] if word <= CLOSE else to_float(words[i, word], power)


def _field(exact: Exact, name: str, at: I64, out: F64) -> None:
    words = np.ascontiguousarray(exact.rows).view(np.int64).reshape(-1, ROW_WORDS)
    power = power_of_ten(exact.scale[_SCALE_OF[name]]) if name in _SCALE_OF else 1
    _put(words, words.view(np.float64), _WORDS[name], power, at, out)


def klines_of(exact: Exact, timeframe: Timeframe) -> Klines:
    """Give closed bars with float64 volumes in units of the asset (dtype KLINE), oldest first."""
    out = Klines.empty(exact.rows.size)
    every = np.arange(exact.rows.size)
    for name in KLINE.names or ():
        if name in _SCALE_OF:
            values = np.empty(every.size)
            _field(exact, name, every, values)
            out[name] = values
        elif name in _WORDS:
            out[name] = exact.rows[name]
    out["close_time"] = opens(timeframe, indexes(timeframe, out["open_time"]) + 1) - 1
    out["state"] = CLOSED
    return out


def span_of(timeframe: Timeframe, bars: Mapping[str, Exact]) -> tuple[int, int]:
    """Give the absolute index of the first bar that any symbol has, and how many there are up to the last."""
    held = [exact.rows["open_time"] for exact in bars.values() if exact.rows.size]
    if not held:
        return 0, 0
    first = timeframe.index(min(int(times[0]) for times in held))
    return first, timeframe.index(max(int(times[-1]) for times in held)) - first + 1


def fields_of(
    timeframe: Timeframe, bars: Mapping[str, Exact], symbols: Sequence[str], fields: Sequence[str]
) -> tuple[int, F64]:
    """Give some of PLANES for *symbols*: the first bar's absolute index and float64 [fields, symbols, bars].

    NaN where a symbol has no bar; from the first bar that any of them has to the last.
    """
    first, count = span_of(timeframe, bars)
    out = np.full((len(fields), len(symbols), count), np.nan)
    for row, symbol in enumerate(symbols):
        if symbol in bars:
            at = indexes(timeframe, bars[symbol].rows["open_time"]) - first
            for plane, name in enumerate(fields):
                _field(bars[symbol], name, at, out[plane, row])
    return first, out


def history_of(timeframe: Timeframe, bars: Mapping[str, Exact], symbols: Sequence[str]) -> History:
    """Give the bars of *symbols* as a panel that does not change."""
    first, planes = fields_of(timeframe, bars, symbols, PLANES)
    return History(timeframe, symbols, first, planes)
