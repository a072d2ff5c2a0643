"""A strategy that trades often and writes down each candle that it is shown, for tests.freqtrade.run."""

import json
import os
import time
import urllib.request
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from freqtrade.strategy import IStrategy
from pandas import DataFrame


class Watcher(IStrategy):  # type: ignore[misc]
    INTERFACE_VERSION = 3
    timeframe = "1m"
    process_only_new_candles = True
    startup_candle_count = 30
    minimal_roi = {"0": 100.0}  # noqa: RUF012 - freqtrade reads it so
    stoploss = -0.9
    order_types = dict.fromkeys(("entry", "exit", "stoploss"), "market") | {"stoploss_on_exchange": False}
    _loops = 0

    def bot_loop_start(self, current_time: datetime, **_: object) -> None:
        self._loops += 1
        if self._loops % 20 == 1:
            url = os.environ["KLINEHUB_URL"]
            before = time.time()
            with urllib.request.urlopen(f"{url}/fapi/v1/time", timeout=60) as answer:
                told = json.load(answer)["serverTime"]
            after = time.time()
            self._write(skew_ms=told - round((before + after) * 500), took_ms=round((after - before) * 1000))

    def populate_indicators(self, dataframe: DataFrame, metadata: dict[str, Any]) -> DataFrame:
        times = [int(date.timestamp() * 1000) for date in dataframe["date"]]
        holes = sum(later - sooner != 60_000 for sooner, later in pairwise(times))
        bar = dataframe.iloc[-1][["open", "high", "low", "close", "volume"]].tolist()
        at = round(time.time() * 1000)
        self._write(pair=metadata["pair"], open_time=times[-1], at=at, bar=bar, rows=len(times), holes=holes)
        return dataframe

    def populate_entry_trend(self, dataframe: DataFrame, metadata: dict[str, Any]) -> DataFrame:
        dataframe.loc[dataframe["date"].dt.minute % 4 == 0, "enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe: DataFrame, metadata: dict[str, Any]) -> DataFrame:
        dataframe.loc[dataframe["date"].dt.minute % 4 == 2, "exit_long"] = 1
        return dataframe

    def _write(self, **line: object) -> None:
        with Path(os.environ["KLINEHUB_SEEN"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
