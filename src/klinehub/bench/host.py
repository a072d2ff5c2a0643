"""The hub of `serve`: a real one in a process of its own that is served, and tells its CPU time."""

import asyncio
import sys
import time
from typing import Final

import msgspec

from klinehub.compiled import ensure
from klinehub.domain.clock import Clock
from klinehub.feed.network import RealNetwork
from klinehub.feed.warmup import deepening
from klinehub.hub import Hub
from klinehub.serve.parts import lent
from klinehub.serve.site import Site
from klinehub.settings import HubSettings, ServeSettings

# No caller of a benchmark is turned away for asking much.
UNLIMITED: Final = 10_000_000
LOOK: Final = 0.5


class Hosted(msgspec.Struct, frozen=True):
    """Where the hub answers, and what it follows."""

    rest_url: str
    ws_url: str
    symbols: tuple[str, ...]
    timeframes: tuple[str, ...]


async def live(settings: HubSettings) -> None:
    """Serve a hub; each line on stdin is answered with the CPU seconds of this process, its end ends all."""
    await ensure()
    serving = ServeSettings(port=0, ws_port=0, client_weight=UNLIMITED)
    clock = Clock(int(time.time() * 1000), 1.0, time.monotonic)
    async with (
        Site(serving) as site,
        Hub(settings, clock=clock, network=RealNetwork(), jitter=lambda: 0.5) as hub,
        lent(hub, serving, site),
    ):
        await _deepened(hub)
        frames = tuple(frame.name for frame in hub.timeframes)
        _say(Hosted(site.rest_url, site.ws_url, hub.symbols, frames))
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, sys.stdin.readline):
            _say(time.process_time())


async def _deepened(hub: Hub) -> None:
    """Wait until the whole history is there: nothing more would be asked for then."""
    panels = [hub.panel(frame.name) for frame in hub.timeframes]
    # Nobody is told when it has come.
    while deepening(panels, hub.settings.bars, hub.now(), hub.symbols):  # noqa: ASYNC110
        await asyncio.sleep(LOOK)


def _say(value: object) -> None:
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def main() -> None:
    """Read the settings from stdin and serve."""
    import uvloop  # noqa: PLC0415 - the loop that the command line uses, absent on some systems

    settings = msgspec.json.decode(sys.stdin.readline(), type=HubSettings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(live(settings))


if __name__ == "__main__":
    main()
