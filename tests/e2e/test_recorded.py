"""Recorded minutes, rolled up here with Decimal, against what the hub holds after living through them.

The roll-up shares no code with the simulator or the ring: it reads the archive's text.
"""

import gzip
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from klinehub.domain.clock import Clock
from klinehub.feed.decisions import BarClosed
from klinehub.hub import Hub
from klinehub.settings import HubSettings
from klinehub.sim.exchange import Exchange, serve
from klinehub.sim.loop import SimLoop, SimNetwork
from klinehub.sim.loop import run as run_virtually
from klinehub.sim.replay import replay

pytestmark = pytest.mark.timeout(300)

NOON = 1_771_588_800_000  # 2026-02-20 12:00
BEGIN = NOON - 570_000
LIVE_MINUTES = 75
MINUTES = {"1m": 1, "5m": 5, "15m": 15, "1h": 60}
Row = list[str | int]


def minutes_of(path: Path) -> dict[int, list[str]]:
    """Give the archive's rows as text by open time."""
    with gzip.open(path, "rt") as lines:
        rows = (line.strip().split(",") for line in lines)
        return {int(row[0]): row for row in rows if row[0].isdigit()}


def printed(value: Decimal, like: str) -> str:
    """Print a sum with the decimals of its field; the exchange prints no volume as a bare 0."""
    return "0" if value == 0 else str(value.quantize(Decimal(like)))


def roll_up(minutes: list[list[str]], length: int, places: dict[int, str]) -> Row:
    """Make one larger row of its minutes; those without a trade say nothing of its prices."""
    traded = [row for row in minutes if int(row[8])] or minutes[-1:]
    opened = int(minutes[0][0]) // length * length
    total = {field: sum((Decimal(row[field]) for row in minutes), Decimal(0)) for field in (5, 7, 9, 10)}
    return [
        opened,
        traded[0][1],
        max(traded, key=lambda row: Decimal(row[2]))[2],
        min(traded, key=lambda row: Decimal(row[3]))[3],
        traded[-1][4],
        printed(total[5], places[5]),
        opened + length - 1,
        printed(total[7], places[7]),
        sum(int(row[8]) for row in minutes),
        printed(total[9], places[9]),
        printed(total[10], places[10]),
        "0",
    ]


def decimals(text: str) -> int:
    return len(text.partition(".")[2])


def rolled(path: Path, minutes: int) -> dict[int, Row]:
    """Roll a whole archive up; only larger bars with all their minutes."""
    rows, length = minutes_of(path), minutes * 60_000
    places = {
        field: max((row[field] for row in rows.values()), key=lambda t: len(t.partition(".")[2]))
        for field in (5, 7, 9, 10)
    }
    parts: dict[int, list[list[str]]] = defaultdict(list)
    for opened in sorted(rows):
        parts[opened // length * length].append(rows[opened])
    return {opened: roll_up(of, length, places) for opened, of in parts.items() if len(of) == minutes}


def archives(realdata: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted((realdata / "ohlcv_1m_12field_csv").glob("*-2026-02.csv.gz")):
        yield path.name.partition("-")[0], path


async def lived(folder: Path, loop: SimLoop, *, native: bool) -> dict[tuple[str, str], list[list[int | str]]]:
    """Warm up on the recording, live through more than an hour of it, and give all closed rows."""
    clock = Clock(BEGIN, 1.0, loop.time)
    served = await serve(Exchange(replay(folder), clock), host="127.0.0.1", port=0, ws_port=0)
    settings = HubSettings(
        rest_url=served.rest_url, stream_url=f"{served.ws_url}/market/stream", bars=150, native=native
    )
    jitter = np.random.default_rng(1).random
    async with Hub(settings, clock=clock, network=SimNetwork(), jitter=jitter) as hub:
        events = hub.closes()
        heard = [event async for event in until(events, BEGIN + LIVE_MINUTES * 60_000)]
        verified = await hub.verify()
        rows = {(s, name): hub.get_klines(s, name, 200) for s in hub.symbols for name in MINUTES}
    await served.close()
    assert (verified.different, verified.failed) == ((), {})
    assert all(event.complete for event in heard)
    assert [event.timeframe for event in heard if over(event) == NOON] == ["1h", "15m", "5m", "1m"]
    return rows


def over(event: BarClosed) -> int:
    """Give the time at which a bar was over."""
    return event.open_time + MINUTES[event.timeframe] * 60_000


async def until(events: AsyncIterator[BarClosed], time: int) -> AsyncIterator[BarClosed]:
    async for event in events:
        yield event
        if event.open_time >= time:
            return


@pytest.mark.parametrize("native", [False, True], ids=["built here", "streamed"])
def test_the_cache_holds_the_archive_rolled_up_to_the_last_digit(realdata: Path, *, native: bool) -> None:
    folder = realdata / "ohlcv_1m_12field_csv"

    found = run_virtually(lambda loop: lived(folder, loop, native=native), seed=7)

    compared = 0
    for symbol, path in archives(realdata):
        for name, minutes in MINUTES.items():
            truth = rolled(path, minutes)
            rows = found[symbol, name]
            assert len(rows) >= 150
            for row in rows:
                assert row == truth[int(row[0])], (symbol, name)
                compared += 1
    assert compared >= 7 * 4 * 150
