"""A program that attaches to a hub which is live: it sees what the hub has, and outlives it."""

import asyncio
import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest
from tests.e2e.conftest import AT, started

import klinehub as kh
from klinehub.app.market import Announcement
from klinehub.errors import NoHub

pytestmark = pytest.mark.timeout(150)

# It is told a line for each thing to do, and answers each with a line.
READER = """
import sys
import klinehub as kh

panels = kh.attach(sys.argv[1])
for line in sys.stdin:
    symbol, timeframe, limit, forming = line.split()
    try:
        bars = panels[timeframe].klines(symbol, int(limit), forming=bool(int(forming)))
        print(bars.tobytes().hex() + " " + repr(bars.stale), flush=True)
    except kh.KlinehubError as exc:
        print(type(exc).__name__, flush=True)
"""


class Reader:
    """A process of its own that is attached to the panel file *path*."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", READER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, symbol: str, timeframe: str, limit: int, *, forming: bool = False) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{symbol} {timeframe} {limit} {int(forming)}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


async def agreed(hub: kh.Hub, reader: Reader, symbol: str, timeframe: str, *, forming: bool) -> int:
    """Compare a read of the two until no update falls between them; gives how many bars were compared."""
    for _ in range(200):
        before = hub.klines(symbol, timeframe, 60, forming=forming)
        got = await asyncio.to_thread(reader.ask, symbol, timeframe, 60, forming=forming)
        if got == f"{before.tobytes().hex()} {before.stale!r}":
            return before.size
    pytest.fail(f"{symbol} {timeframe} differs")


async def _lived(exchange: Announcement, path: Path, readers: ExitStack) -> None:
    """Run a hub for three closes, and another one after it, with one reader all the while."""
    options: dict[str, Any] = {"timeframes": ["1m", "5m", "15m"], "bars": 80, "panel_file": str(path)}
    where: dict[str, Any] = {"rest_url": exchange.rest_url, "stream_url": exchange.stream_url}
    where |= {"share": None, "clock": exchange.clock()}
    async with kh.Hub(**options, **where) as hub:
        reader = readers.enter_context(Reader(path))
        closes = 0
        async for event in hub.closes():
            closes += event.timeframe == "1m"
            for symbol in hub.symbols:
                for timeframe in options["timeframes"]:
                    assert await agreed(hub, reader, symbol, timeframe, forming=False) == 60
            assert await agreed(hub, reader, hub.symbols[0], "5m", forming=True) in {60, 61}
            if closes == 3:
                break
    assert await asyncio.to_thread(reader.ask, hub.symbols[0], "1m", 3) == "NoHub"
    some = list(reversed(hub.symbols))[:3]
    async with kh.Hub(symbols=some, **options, **where) as again:
        assert await agreed(again, reader, some[0], "15m", forming=False) == 60
        assert await asyncio.to_thread(reader.ask, hub.symbols[0], "1m", 3) == "UnknownName"


async def test_another_process_sees_what_the_hub_sees_through_closes_and_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "panel"
    with ExitStack() as readers:
        async with kh.simulated(symbols=6, seed=4, speed=20.0, limits=False, at=AT) as exchange:
            await _lived(exchange, path, readers)
    assert not path.exists()


def test_the_hub_of_a_demo_is_found_without_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with started("demo", "--symbols", "4", "--at", AT, "--json", folder=tmp_path) as process:
        assert process.stdout is not None
        scanned = json.loads(process.stdout.readline())
        panels = kh.attach()
        found = panels["15m"].klines(panels.symbols[0], 100)
        process.terminate()
        process.communicate()

    assert len(panels.symbols) == 4
    assert found["open_time"][-1] == scanned["result"]["bar_open_time"]
    assert found.size == 100
    assert not panels.alive
    with pytest.raises(NoHub, match="klinehub run"):
        kh.attach()
