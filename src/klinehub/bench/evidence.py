"""`evidence`: a screen replayed over history, what is measured of it, and what others take for the same.

1. The default score is replayed over a made-up market, on one timeframe and with three more beside it.
2. IC and quantiles of the same scores are measured here and by alphalens-reloaded, where it is installed; the
   figures of both are compared. The same portfolio is booked here and by vectorbt, where that is installed.
3. A study of a year of hours of 521 symbols runs in a process of its own, which tells its peak of memory.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from contextlib import redirect_stdout
from typing import Any, Final

import numpy as np

from klinehub.bench.catalogue import Measurement
from klinehub.domain.timeframe import TIMEFRAMES
from klinehub.evidence.cross import Cross, cross, quantiles_of
from klinehub.evidence.forward import forward_returns, next_returns, prices_of
from klinehub.evidence.portfolio import Costs, booked, weights_of
from klinehub.evidence.replay import plane, replay
from klinehub.evidence.tape import FILES, Tape, tape_of
from klinehub.panel.history import History
from klinehub.panel.memory import F64
from klinehub.scan.scanner import default_screen

GOALS: Final = {
    "sweep_bars_per_s_core": 2e6,
    "four_bars_per_s_core": 1e6,
    "alphalens_ratio": 100,
    "year_seconds": 60,
    "peak_mb": 2_000,
}
FIRST_DAY: Final = 20_000
HORIZONS: Final = (1, 4, 24)
QUANTILES: Final = 5
HOLD: Final = 24
_FOREVER: Final = 2**60


def measure(
    seed: int, *, symbols: int = 521, bars: int = 4_000, rows: int = 2_000, year: int = 8_760
) -> Measurement:
    """Give bars a second a core of a replay of the default score on one timeframe."""
    one = market(seed, symbols, bars, "1h")
    four = market(seed, max(2, symbols // 2), 3 * bars // 4, "5m")
    sweep = _sweep(one, ("1h",), "1h")
    detail: dict[str, Any] = {
        "goals": GOALS,
        "sweep_bars_per_s_core": sweep,
        "four_bars_per_s_core": _sweep(four, ("5m", "15m", "1h", "4h"), "15m"),
        **compared(seed, symbols, rows),
        **_year(seed, symbols, year),
        "symbols": symbols,
        "time": "CPU of one thread for the sweeps and for IC; real seconds on all cores for the year",
    }
    return Measurement(round(sweep), "bars/s", detail)


def market(seed: int, symbols: int, bars: int, frame: str) -> History:
    """Make up a market: prices with fat tails and a factor that all share, and turnover that follows."""
    rng = np.random.default_rng(seed)
    moves = rng.standard_t(4, (symbols, bars)) * 0.004 + rng.standard_t(4, bars) * 0.004
    closes = np.exp(np.cumsum(moves, axis=1)) * 10.0 ** rng.uniform(-3, 4, (symbols, 1))
    opens = np.concatenate((closes[:, :1], closes[:, :-1]), axis=1)
    wick = np.abs(moves) * rng.random((symbols, bars))
    volume = np.exp(rng.normal(8.0, 1.0, (symbols, bars))) * (1.0 + 50.0 * np.abs(moves))
    bought = rng.random((symbols, bars))
    planes = np.stack(
        (
            *(opens, np.maximum(opens, closes) * (1.0 + wick), np.minimum(opens, closes) * (1.0 - wick)),
            *(closes, volume, volume * closes, np.ceil(volume), volume * bought, volume * closes * bought),
        )
    )
    names = ["BTCUSDT", *(f"S{number:03d}USDT" for number in range(1, symbols))]
    first = FIRST_DAY * 86_400_000 // TIMEFRAMES[frame].milliseconds
    return History(TIMEFRAMES[frame], names, first, planes)


def _sweep(base: History, frames: tuple[str, ...], main: str) -> float:
    """Give how many bars of *main* a second of one core replays; the second of two runs."""
    tape = tape_of([base], frames, FILES)
    screen = default_screen(tape.panels, main)
    replay(screen, tape, 0, _FOREVER)
    began = time.process_time()
    found = replay(screen, tape, 0, _FOREVER)
    return found.values.size / (time.process_time() - began)


def compared(
    seed: int, symbols: int, bars: int, peers: Collection[str] = ("alphalens", "vectorbt")
) -> dict[str, Any]:
    """Measure IC, quantiles and a portfolio of the same scores here and by *peers*."""
    panel = market(seed, symbols, bars, "1h")
    opens = plane(panel, "open", panel.first, bars)
    scores = np.random.default_rng(seed + 1).normal(size=opens.shape)
    _own(scores, opens)
    seconds, own = _timed(lambda: _own(scores, opens))
    found: dict[str, Any] = {"ic_seconds": seconds, "rows": opens.size, "horizons": len(HORIZONS)}
    if "alphalens" in peers:
        found |= _alphalens(scores, opens, own, seconds)
    return found | _portfolio(scores, opens) | (_vectorbt(scores, opens) if "vectorbt" in peers else {})


def _own(scores: F64, opens: F64) -> dict[int, Cross]:
    prices = prices_of(opens, opens, grace=1)
    quantile = quantiles_of(scores, np.isfinite(opens), QUANTILES)
    return {bars: cross(scores, forward_returns(prices, bars), quantile, QUANTILES) for bars in HORIZONS}


def _alphalens(scores: F64, opens: F64, own: dict[int, Cross], seconds: float) -> dict[str, Any]:
    """Have alphalens measure the same; None where it is not installed."""
    try:
        import pandas as pd  # noqa: PLC0415 - only who compares has these
        from alphalens import performance, utils  # noqa: PLC0415
    except ImportError:
        return {"alphalens_seconds": None, "alphalens_ratio": None, "alphalens_differs_by": None}
    times = pd.date_range("2025-01-01", periods=opens.shape[0], freq="h", tz="UTC")
    names = [f"S{number:03d}" for number in range(opens.shape[1])]
    prices = pd.DataFrame(opens, times, names).shift(-1).iloc[:-1]
    factor = pd.DataFrame(scores, times, names).stack().rename_axis(["date", "asset"])  # noqa: PD013
    apart = 0.0

    def work() -> dict[int, tuple[Any, Any]]:
        found = {}
        for bars in HORIZONS:
            data = utils.get_clean_factor_and_forward_returns(
                factor, prices, quantiles=QUANTILES, periods=(bars,), max_loss=0.99, filter_zscore=None
            )
            ic = performance.factor_information_coefficient(data)
            means, _ = performance.mean_return_by_quantile(data)
            found[bars] = ic.to_numpy()[:, 0], means.to_numpy()[:, 0]
        return found

    # It prints what it drops, where the document of a benchmark goes.
    with redirect_stdout(sys.stderr):
        theirs, told = _timed(work)
    for bars, (ic, means) in told.items():
        one = own[bars]
        beyond = np.nansum((one.quantiles - one.mean) * one.sizes, axis=1) / one.sizes.sum(axis=1)
        apart = max(
            apart, float(np.abs(one.rank_ic[: ic.size] - ic).max()), float(np.abs(beyond - means).max())
        )
    return {
        "alphalens_seconds": theirs,
        "alphalens_ratio": round(theirs / seconds, 1),
        "alphalens_differs_by": apart,
    }


def _portfolio(scores: F64, opens: F64) -> dict[str, Any]:
    """Book the portfolio of the scores here."""
    quantile = quantiles_of(scores, np.isfinite(opens), QUANTILES)
    returns = next_returns(prices_of(opens, opens, grace=1))
    own, _ = _timed(lambda: booked(weights_of(quantile, QUANTILES, HOLD), returns, Costs()))
    return {"portfolio_seconds": own}


def _vectorbt(scores: F64, opens: F64) -> dict[str, Any]:
    """Have vectorbt book the same target weights; None where it is not installed."""
    costs = Costs()
    quantile = quantiles_of(scores, np.isfinite(opens), QUANTILES)
    try:
        import pandas as pd  # noqa: PLC0415 - only who compares has these
        import vectorbt as vbt  # noqa: PLC0415
    except ImportError:
        return {"vectorbt_seconds": None}
    weights = pd.DataFrame(weights_of(quantile, QUANTILES, HOLD)[:-1])
    prices = pd.DataFrame(opens[1:])

    def work() -> float:
        book = vbt.Portfolio.from_orders(
            prices,
            weights,
            size_type="targetpercent",
            fees=costs.each,
            cash_sharing=True,
            group_by=True,
            call_seq="auto",
        )
        return float(book.total_return())

    work()
    theirs, _ = _timed(work)
    return {"vectorbt_seconds": theirs}


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Give the seconds of CPU that something takes, and what it gives."""
    began = time.process_time()
    found = work()
    return round(time.process_time() - began, 4), found


def _year(seed: int, symbols: int, bars: int) -> dict[str, Any]:
    """Run a whole study in a process of its own."""
    told = subprocess.run(  # noqa: S603 - this module's own numbers
        [sys.executable, "-m", "klinehub.bench.year", str(seed), str(symbols), str(bars)],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def year_tape(seed: int, symbols: int, bars: int) -> Tape:
    """Give the tape of the whole study: hours, and the 4h bars built of them."""
    return tape_of([market(seed, symbols, bars, "1h")], ("1h", "4h"), FILES)
