"""`parity`: live and on history the same bits, nothing sees the future, and TA-Lib agrees."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final
from unittest.mock import patch

import numpy as np

from klinehub.bench.catalogue import Measurement
from klinehub.bench.peers import THIRTY, talib_symbol
from klinehub.bench.restarts import restart_cuts
from klinehub.domain.timeframe import TIMEFRAMES, Timeframe
from klinehub.factors import engine as module
from klinehub.factors import section as sections
from klinehub.factors.engine import Engine, usable
from klinehub.factors.expr import Expr
from klinehub.factors.stock import STOCK, stock_factor
from klinehub.panel.history import History
from klinehub.panel.memory import F64
from klinehub.panel.view import PLANES

SYMBOLS: Final = 24
BARS: Final = 1_024
BASE: Final = TIMEFRAMES["15m"]
HOUR: Final = TIMEFRAMES["1h"]
# A midnight in UTC, as an index of 15m.
FIRST: Final = 1_789_948_800_000 // BASE.milliseconds
CUTS: Final = 120
# Bars after which a ring is restored from its store; some at the edge of a block of 128.
RESTARTS: Final = (620, 639, 640, 701, 768, 893, 1_001)
# Where TA-Lib gives the same quantity in the same unit.
_SAME: Final = (
    *(
        "ema_distance",
        "sma_distance",
        "kama_distance",
        "ema_slope",
        "sma_slope",
        "trend",
        "macd_line",
        "macd",
    ),
    *("ppo", "adx", "di_spread", "aroon_oscillator", "linreg_slope", "rsi", "stochastic_k", "stochastic_d"),
    *("cci", "ultimate_oscillator", "bollinger_b", "bollinger_width", "mfi", "donchian_position"),
)
Panels = Mapping[str, History]


def measure(seed: int, *, symbols: int = SYMBOLS, cuts: int = CUTS) -> Measurement:
    """Give the number of values that differ in a bit; the goal is none."""
    panels = _market(seed, symbols)
    whole = _values(panels, BARS)
    compared, wrong = _compared(panels, whole, seed, cuts)
    restored, lost = restart_cuts(_terms(), seed, symbols=symbols, cuts=RESTARTS)
    leaks = _leaks(panels, whole)
    caught = {name: _leaks(panels, None, plant) for name, plant in _PLANTS.items()}
    detail = {
        "comparisons": compared,
        "bit_mismatches": wrong,
        "restart_comparisons": restored,
        "restart_mismatches": lost,
        "lookahead_leaks": leaks,
        "planted_leaks_caught": sum(found > 0 for found in caught.values()),
        "planted_leaks": caught,
        "talib_max_rel": _talib(panels),
        "talib_factors": len(_SAME),
        "factors": len(STOCK),
        "symbols": symbols,
        "cuts": cuts,
        "goals": {"bit_mismatches": 0, "restart_mismatches": 0, "lookahead_leaks": 0, "talib_max_rel": 1e-9},
    }
    return Measurement(float(wrong + lost), "values", detail)


def _terms() -> dict[str, Expr]:
    """Give every stock factor, some on the hour, and terms over all symbols and over time."""
    daily = {"day_open_distance", "week_open_distance"}
    found = {one.name: one() for one in STOCK if one.name not in daily}
    busy = found["volume_surge"] > 0.8
    found["hourly"] = stock_factor("rsi")().on("1h").zscore(where=busy) + found["momentum"].rank(where=busy)
    found["before"] = found["hourly"].lag(3)
    found["tame"] = stock_factor("trend")().on("1h").winsorize(0.1)
    return found


def _market(seed: int, symbols: int) -> dict[str, History]:
    """Make bars with holes, late listings and delistings, on 15m and on 1h."""
    rng = np.random.default_rng(seed)
    steps = rng.standard_t(4, (symbols, BARS + 1)) * 0.003
    level = np.exp(np.cumsum(steps, axis=1)) * np.logspace(-4, 4, symbols)[:, None]
    opened, close = level[:, :-1], level[:, 1:]
    wick, bought = rng.random((2, symbols, BARS))
    volume = np.exp(rng.normal(5, 1, (symbols, BARS)))
    high, low = np.maximum(opened, close) * (1 + 0.003 * wick), np.minimum(opened, close) * (1 - 0.003 * wick)
    quote = volume * close
    bars = np.stack(
        (opened, high, low, close, volume, quote, np.ceil(volume), volume * bought, quote * bought)
    )
    for row in range(1, symbols):
        at = int(rng.integers(BARS // 8, BARS))
        bars[:, row, : at if row % 4 == 1 else 0] = np.nan
        bars[:, row, at : at + (0, 0, 3, BARS)[row % 4]] = np.nan
    names = [f"S{n:03d}USDT" for n in rng.permutation(symbols)]
    return {"15m": History(BASE, names, FIRST, bars, _told(seed, close)), "1h": _hours(names, bars)}


def _told(seed: int, close: F64) -> dict[str, F64]:
    """Make what is told beside the bars: from somewhere on, and with holes."""
    rng = np.random.default_rng([seed, 1])
    begun = rng.random(close.shape) > 0.02
    begun[:, : BARS // 4] = False
    noise = rng.normal(0.0, 1e-4, (3, *close.shape))
    spot = np.random.default_rng([seed, 2])
    told = {
        "mark_price": close * (1.0 + noise[0]),
        "index_price": close * (1.0 + noise[1]),
        "funding_rate": noise[2],
        "open_interest": np.exp(np.cumsum(10.0 * noise[0], axis=1)),
        "spot_close": close * (1.0 + spot.normal(0.0, 1e-4, close.shape)),
        "spot_quote_volume": spot.exponential(1e5, close.shape),
    }
    return {name: np.where(begun, values, np.nan) for name, values in told.items()}


def _hours(names: list[str], bars: F64) -> History:
    parts = bars.reshape(*bars.shape[:2], -1, 4)
    sums = [parts[n].sum(axis=-1) for n in range(4, len(PLANES))]
    made = np.stack((parts[0, ..., 0], parts[1].max(-1), parts[2].min(-1), parts[3, ..., -1], *sums))
    made[:, np.isnan(parts[3]).any(axis=-1)] = np.nan
    return History(HOUR, names, FIRST // 4, made)


def _values(panels: Panels, bars: int, last: int = FIRST + BARS - 1) -> dict[str, F64]:
    symbols = panels["15m"].symbols
    since = dict.fromkeys(symbols, 0)
    return Engine(_terms(), panels, "15m", bars=bars, benchmark=symbols[0], listed=since).at(last)


def _known(panels: Panels, cut: int) -> dict[str, History]:
    """Give what was known when bar *cut* had closed."""
    bar = FIRST + cut
    return {"15m": panels["15m"].head(bar), "1h": panels["1h"].head(usable(HOUR, BASE, bar))}


def _different(one: F64, two: F64) -> int:
    return int(np.count_nonzero(~((one == two) | (np.isnan(one) & np.isnan(two)))))


def _compared(panels: Panels, whole: Mapping[str, F64], seed: int, cuts: int) -> tuple[int, int]:
    """Hold the newest values at many cuts, and every bar of a stepped run, against the whole history."""
    places = sorted({*np.random.default_rng(seed).integers(400, BARS, cuts).tolist(), 511, 512, 639, 640})
    compared = wrong = 0
    symbols = panels["15m"].symbols
    since = dict.fromkeys(symbols, 0)
    stepping = Engine(_terms(), panels, "15m", benchmark=symbols[0], listed=since)
    for cut in places:
        fresh = _values(_known(panels, cut), 1, FIRST + cut)
        stepped = stepping.at(FIRST + cut)
        for name, values in whole.items():
            for found in (fresh[name][:, 0], stepped[name][:, 0]):
                compared += found.size
                wrong += _different(found, values[:, cut])
    return compared, wrong


def _leaks(panels: Panels, whole: Mapping[str, F64] | None, plant: Callable[[], Any] | None = None) -> int:
    """Change the future at some cuts and count the values of the past that change with it."""
    if plant is not None:
        with plant():
            return _leaks(panels, None)
    before = _values(panels, BARS) if whole is None else whole
    found, rng = 0, np.random.default_rng(9)
    for cut in (511, 701, 901, 902, 903, 950):
        bars = panels["15m"].planes.copy()
        bars[:, :, cut + 1 :] *= rng.uniform(0.5, 1.5, bars[:, :, cut + 1 :].shape)
        told = {name: values.copy() for name, values in panels["15m"].told.items()}
        for values in told.values():
            values[:, cut + 1 :] *= rng.uniform(0.5, 1.5, values[:, cut + 1 :].shape)
        hours = panels["1h"].planes.copy()
        hours[:, :, (cut + 1) // 4 :] *= rng.uniform(0.5, 1.5, hours[:, :, (cut + 1) // 4 :].shape)
        changed = {
            "15m": History(BASE, panels["15m"].symbols, FIRST, bars, told),
            "1h": History(HOUR, panels["1h"].symbols, FIRST // 4, hours),
        }
        after = _values(changed, BARS)
        found += sum(_different(after[name][:, : cut + 1], before[name][:, : cut + 1]) for name in before)
    return found


def _still_open(frame: Timeframe, main: Timeframe, bar: int) -> int:
    """Give the larger bar that holds the bar, finished or not: the usual mistake, `i // k`."""
    return frame.index(main.open_time(bar))


def _too_early(frame: Timeframe, main: Timeframe, bar: int) -> int:
    """Give the hour before it is complete, but for its first quarter."""
    here = usable(frame, main, bar)
    return here + (main.close_time(bar) + 1 > frame.close_time(here) + main.milliseconds)


def _section_ahead() -> Any:  # noqa: ANN401 - a patch
    """Let what is computed over all symbols see the next bar."""
    plain = sections.section

    def ahead(op: str, values: F64, *given: Any) -> F64:  # noqa: ANN401 - passes on what it is given
        shifted = np.concatenate((values[:, 1:], values[:, -1:]), axis=1)
        return plain(op, shifted, *given)

    return patch.object(module, "section", ahead)


_PLANTS: Final[dict[str, Callable[[], Any]]] = {
    "larger bar still open (i // k)": lambda: patch.object(module, "usable", _still_open),
    "hour before it is complete": lambda: patch.object(module, "usable", _too_early),
    "cross-section sees the next bar": _section_ahead,
}


def _talib(panels: Panels) -> float | None:
    """Give the largest relative difference to TA-Lib, run from where our run begins; None without it."""
    try:
        work = talib_symbol()
    except ImportError:
        return None
    talib: Any = import_module("talib")
    talib.set_unstable_period("ALL", 0)
    bars = panels["15m"].planes[:, 0]
    last = BARS - 1
    worst = 0.0
    values = _values(panels, 1)
    for name in _SAME:
        factor = stock_factor(name)
        need = factor.lookback(tuple(factor.options.values()))
        begin = max(0, (FIRST + last) // 128 * 128 - need - FIRST)
        theirs = work(np.ascontiguousarray(bars[:, begin:]), bars[3, begin:].copy())[THIRTY.index(name)][-1]
        ours = values[name][0, 0]
        worst = max(worst, abs(ours - theirs) / max(abs(theirs), 1e-3))
    return float(f"{worst:.3g}")
