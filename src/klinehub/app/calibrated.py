"""Calibrated: what the hits of a live hub are held against, kept as new as its file is.

1. The file is looked at every few seconds, in a thread, and read again when it has changed.
2. By schedule another process makes it anew of what the store holds, with the least claim to the processor.
3. What fails is said once, and by `status`: hits go on with what was known before, or without.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from klinehub.app import show
from klinehub.app.calibrating import read_calibrations, usual_file
from klinehub.app.config import PREFIX, Config
from klinehub.app.library import data_folder
from klinehub.errors import DataError
from klinehub.hub import Hub
from klinehub.scan.likeness import Calibrations

# Real seconds between two looks at the file, and before the first calibration: a warm-up comes first.
LOOK_EVERY: Final = 5.0
_AT_FIRST: Final = 60.0
_HOUR: Final = 3_600.0
_LEAST_CLAIM: Final = 19
OFF: Final = "off"


def file_of(config: Config) -> Path | None:
    """Give the file that the settings name; None for none."""
    named = config.evidence.calibration
    if named == OFF:
        return None
    return usual_file(config.hub) if named == "auto" else Path(named).expanduser()


def known(config: Config) -> Calibrations:
    """Read what the settings name; nothing where there is no file, or, said on stderr, a damaged one."""
    file = file_of(config)
    try:
        return Calibrations() if file is None or not file.exists() else read_calibrations(file)
    except DataError as exc:
        show.err.print(f"evidence: {exc}", style="yellow")
        return Calibrations()


@asynccontextmanager
async def calibrated(hub: Hub, config: Config) -> AsyncIterator[None]:
    """Hold the hits of a hub against what is known while the block runs."""
    file = file_of(config)
    if file is None:
        yield
        return
    kept = Calibrated(hub, config, file)
    await kept.look()
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(kept.run())
            try:
                yield
            finally:
                task.cancel()
    except BaseExceptionGroup as several:
        if len(several.exceptions) == 1:
            raise several.exceptions[0] from None
        raise


class Calibrated:
    """Keeps a hub's calibrations as new as their *file*."""

    def __init__(self, hub: Hub, config: Config, file: Path) -> None:
        self._hub, self._config, self._file = hub, config, file
        self._seen: tuple[int, int] | None = None
        self._next = time.monotonic() + _AT_FIRST

    async def run(self) -> None:
        """Look at the file, and have it made by schedule, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.look()
            if self._is_due():
                await self._make()

    async def look(self) -> None:
        """Read the file where it is another one than before."""
        seen = await asyncio.to_thread(_stamp, self._file)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            found = Calibrations() if seen is None else await asyncio.to_thread(read_calibrations, self._file)
        except DataError as exc:
            self._fail(str(exc))
            return
        self._hub.scanning.hold_against(found)

    def _is_due(self) -> bool:
        every = self._config.evidence.every * _HOUR
        if not every or time.monotonic() < self._next:
            return False
        made = max((one.made for one in self._hub.scanning.calibrations.screens), default=0)
        return time.time() - made / 1000 >= every

    async def _make(self) -> None:
        """Have the file made in another process; one that fails is tried again a turn later."""
        self._next = time.monotonic() + self._config.evidence.every * _HOUR
        folder = data_folder(self._config.hub)
        if folder is None:
            self._fail("There is no store here to calibrate from: name a folder, `store.path`.")
            return
        process = await asyncio.create_subprocess_exec(
            *command(self._config, folder, self._file),
            env={**os.environ, **environment(self._config)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            with suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, process.pid, _LEAST_CLAIM)
            _, said = await process.communicate()
        finally:
            if process.returncode is None:
                process.terminate()
        if process.returncode:
            last = said.decode(errors="replace").strip().splitlines()[-1:]
            self._fail(f"calibrating ended with {process.returncode}: {''.join(last)}")

    def _fail(self, why: str) -> None:
        """Say why there is nothing new, once."""
        if why != self._hub.scanning.calibration_fault:
            self._hub.scanning.calibration_fault = why
            show.err.print(f"evidence: {why}", style="yellow")


def command(config: Config, folder: Path, file: Path) -> list[str]:
    """Write the command that calibrates on the last days of a store."""
    since = datetime.now(UTC).date() - timedelta(days=config.evidence.days)
    told = ["--data", str(folder), "--market", config.hub.exchange, "--from", since.isoformat()]
    told += ["--history", config.hub.history_path] if config.hub.history_path else []
    told += ["--config", config.file] if config.file else []
    parts = (sys.executable, "-m", "klinehub.app.cli", "evidence", "calibrate", "--workers", "1")
    return [*parts, "--calibration", str(file), *told]


def environment(config: Config) -> Mapping[str, str]:
    """Give the settings that options of a hub may have set, as variables."""
    hub = config.hub
    found = {f"{PREFIX}MARKET_TIMEFRAMES": ",".join(hub.timeframes)}
    if hub.scan_timeframe is not None:
        found[f"{PREFIX}SCAN_TIMEFRAME"] = hub.scan_timeframe
    return found


def _stamp(file: Path) -> tuple[int, int] | None:
    """Tell a file apart from the one that was there before; None where there is none."""
    try:
        told = file.stat()
    except OSError:
        return None
    return told.st_mtime_ns, told.st_size
