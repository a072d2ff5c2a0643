"""freqtrade as a process of its own: its config, its clock, and its end."""

import asyncio
import json
import os
import signal
import sqlite3
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final

from klinehub.domain.clock import Clock

HERE: Final = Path(__file__).parent
LEAVE_WITHIN: Final = 20.0
LOUD: Final = ("WARNING", "ERROR", "CRITICAL")
# Where Debian's package `faketime` puts the library for programs with threads.
FAKETIME: Final = "usr/lib/*/faketime/libfaketimeMT.so.1"


def config(url: str, pairs: Sequence[str], folder: Path) -> dict[str, Any]:
    """Give the whole configuration of a dry run on the hub at *url*, as docs/bots.md shows it."""
    pricing = {"price_side": "other", "use_order_book": True, "order_book_top": 1}
    return {
        "dry_run": True,
        "dry_run_wallet": 100_000,
        "trading_mode": "futures",
        "margin_mode": "isolated",
        "max_open_trades": -1,
        "stake_currency": "USDT",
        "stake_amount": 100,
        "entry_pricing": pricing,
        "exit_pricing": pricing,
        "exchange": {
            "name": "binance",
            "ccxt_config": ccxt_config(url),
            "pair_whitelist": list(pairs),
            "pair_blacklist": [],
        },
        "pairlists": [{"method": "StaticPairList"}],
        "internals": {"process_throttle_secs": 5},
        "db_url": f"sqlite:///{folder / 'trades.sqlite'}",
        "user_data_dir": str(folder),
        "strategy": "Watcher",
        "strategy_path": str(HERE),
        "initial_state": "running",
    }


def ccxt_config(url: str) -> dict[str, Any]:
    """Give what points ccxt's client of the futures at a hub."""
    names = {"fapiPublic": "fapi/v1", "fapiPublicV2": "fapi/v2", "fapiPublicV3": "fapi/v3"}
    paths = {**names, "fapiData": "futures/data", "public": "api/v3"}
    return {
        "urls": {"api": {name: f"{url}/{path}" for name, path in paths.items()}},
        "options": {"fetchMarkets": {"types": ["linear"]}},
    }


def clock_environment(clock: Clock, library: str) -> dict[str, str]:
    """Give what lets a process that starts now have market time for its clock."""
    if clock.rate == 1.0:
        return {}
    offset = clock.now() / 1000 - time.time()
    spec = f"{offset:+.6f} x{clock.rate:g}"
    return {"LD_PRELOAD": library, "FAKETIME": spec, "NO_FAKE_STAT": "1"}


@asynccontextmanager
async def trading(binary: Path, folder: Path, environment: dict[str, str]) -> AsyncIterator[Process]:
    """Let freqtrade trade while the block runs; its output goes to bot.log in *folder*."""
    with (folder / "bot.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            binary, "trade", "--config", folder / "config.json", "--user-data-dir", folder,
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | environment,
        )  # fmt: skip
        try:
            yield process
        finally:
            await _end(process)


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
    try:
        async with asyncio.timeout(LEAVE_WITHIN):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def seen(folder: Path) -> list[dict[str, Any]]:
    """Give what the strategy wrote down, in order."""
    file = folder / "seen.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def trades(folder: Path) -> dict[str, int]:
    """Give how many trades were opened, and how many of them closed again."""
    if not (folder / "trades.sqlite").exists():
        return {"opened": 0, "closed": 0}
    with closing(sqlite3.connect(folder / "trades.sqlite")) as database:
        (opened, still), *_ = database.execute("SELECT COUNT(*), COALESCE(SUM(is_open), 0) FROM trades")
    return {"opened": opened, "closed": opened - still}


def troubles(folder: Path) -> list[str]:
    """Give the lines of the log that say something went wrong, without when it was."""
    lines = (folder / "bot.log").read_text(encoding="utf-8", errors="replace").splitlines()
    return [line.split(" - ", 1)[1] for line in lines if any(f" - {level} - " in line for level in LOUD)]
