"""A believable history on disk, drawn from a seed: for notebooks and tests without a network."""

from pathlib import Path
from typing import Final

from klinehub.domain.kline import Exact
from klinehub.domain.timeframe import DAY, timeframe
from klinehub.sim.synthetic import synthetic
from klinehub.store.history import HistoryStore

# 2025-01-01 00:00 UTC.
BEGIN: Final = 1_735_689_600_000


def sample(
    folder: str | Path, *, symbols: int = 10, days: int = 7, seed: int = 1, market: str = "binance-usdm"
) -> Path:
    """Write *days* of minutes from 2025-01-01 on into the data folder *folder*, and give it.

    They are those of perpetuals against USDT that traded all the time, at most *symbols* of them.
    """
    frame, end = timeframe("1m"), BEGIN + days * DAY
    drawn = synthetic(symbols, seed, start=BEGIN)
    listed = [one for one in drawn.listings(end) if one.trading and one.fits("USDT", tradifi=False)]
    bars: dict[str, Exact] = {}
    for one in sorted(listed, key=lambda listing: listing.symbol):
        row = drawn.index[one.symbol]
        if one.onboard_time <= BEGIN and len(bars) < symbols:
            bars[one.symbol] = drawn.klines(row, frame, frame.index(BEGIN), frame.index(end) - 1, end)
    HistoryStore(Path(folder) / market / "history").write(frame, bars)
    return Path(folder)
