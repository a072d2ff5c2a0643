"""`markets`: what futures and spot take together, followed and lent by one process beside their exchange."""

from typing import Any, Final

import msgspec

from klinehub.bench.catalogue import Measurement
from klinehub.bench.neighbour import Neighbour
from klinehub.bench.process import Process
from klinehub.bench.tenants import Task

GOAL: Final = 30.0
# Warming up and watching, with a machine that has other things to do.
LONGEST: Final = 600.0


def measure(seed: int, *, symbols: int = 640, bars: int = 499, seconds: float = 75.0) -> Measurement:
    """Give the part of one core, in percent, that both markets take at real-time rates."""
    with Process("klinehub.bench.neighbour", str(symbols), str(seed), "1.0", "spot") as exchange:
        where = msgspec.json.decode(exchange.line(), type=Neighbour)
        task = Task(where, bars, seconds)
        with Process("klinehub.bench.tenants") as hubs:
            told = hubs.last_words(msgspec.json.encode(task).decode(), within=LONGEST)
    found: dict[str, Any] = msgspec.json.decode(told)
    detail = {
        "goal": GOAL,
        **found,
        "timeframes": 4,
        "bars": bars,
        "how": (
            "futures and their spot pairs from one simulated exchange over loopback at real speed: klines, "
            "tickers and marks, closes and what is scanned at them, served, with nobody asking"
        ),
    }
    return Measurement(found["cpu_percent"], "%", detail)
