"""A process that decides and delivers alerts until it kills itself: `python -m ... FOLDER STEPS`.

It goes on where the file in the folder stands. Before and after each thing that it does to the disk or sends
is a step; at the last of its STEPS it is gone, as with kill -9. What is sent lands in the file `received`.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from tests.unit.alerts.bourse import LATER, Bourse, rule

from klinehub.alerts.courier import Courier, Timing
from klinehub.alerts.deciding import Deciding
from klinehub.alerts.delivery import Couriers
from klinehub.alerts.log import Log
from klinehub.alerts.outbox import Kept, Message, Outbox
from klinehub.alerts.posting import Answer, Ended, Patience
from klinehub.scan.alerts import Alert
from klinehub.sim.loop import SimLoop, run

BARS: Final = range(151, 172)
RULES: Final = (
    rule("rising", "close > lag(close, 1)"),
    rule("turn", "rsi < 45", clear="rsi > 50"),
)
# All that changes the file, and so may be torn by a stop.
_WRITES: Final = frozenset({"decided", "claim", "settled", "retain", "hush"})


class Mortal(Outbox):
    """An outbox whose process may be gone before and after each of its writes."""

    def __init__(self, path: Path, step: Callable[[], None], now: int) -> None:
        self.step = step
        super().__init__(path, now=now)

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in _WRITES:
            return found

        def stepped(*given: Any) -> Any:
            self.step()
            done = found(*given)
            self.step()
            return done

        return stepped


class Mailbox:
    """A target that keeps what it is sent; it takes every third message only when it is sent again."""

    name, kind, where, failure, lang = "box", "messenger", "here", "", "en"
    digest, most, waiting = 0, 1, 1_000
    patience = Patience(first=0.1, longest=0.1, tries=None, refusals=3)

    def __init__(self, path: Path, step: Callable[[], None]) -> None:
        self._path, self._step = path, step

    async def begin(self) -> None:
        """Be ready at once."""

    def wants(self, _: Alert) -> bool:
        return True

    async def send(self, message: Message, *, quiet: bool) -> Answer:
        if message.number % 3 == 0 and not message.attempts:
            return Answer(Ended.LATER, "status 503")
        self._step()
        line = {"id": message.id, "keys": [kept.alert.key for kept in message.alerts], "quiet": quiet}
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")
        self._step()
        return Answer(Ended.TAKEN)

    async def test(self, _: Kept) -> Answer:
        raise NotImplementedError


def main(folder: Path, steps: int) -> None:
    left = [steps]

    def step() -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    async def act(_: SimLoop) -> None:
        bourse = Bourse()
        first = bourse.whole["15m"].first
        outbox = Mortal(folder / "alerts.db", step, bourse.now)
        done = outbox.standing().bars.get("15m", first + BARS.start - 1) - first
        bourse.go(first + done, LATER)
        async with Log(lambda: outbox) as log:
            timing = Timing(lambda: bourse.now, 1.0, lambda: 0.5)
            courier = Courier(Mailbox(folder / "received", step), log, timing, quiet=None, oldest=10**12)
            couriers = Couriers([courier], log, lambda: bourse.now)
            deciding = Deciding(
                bourse.market, log, reach=couriers.reached, on_kept=lambda _: couriers.wake(), oldest=10**12
            )
            await deciding.begin(RULES)
            tasks = [asyncio.create_task(work) for work in (deciding.run(), couriers.run())]
            for bar in range(done + 1, BARS.stop):
                await bourse.close(first + bar)
                await asyncio.sleep(1)
            while outbox.next_due("box") is not None:
                bourse.now += 1_000
                couriers.wake()
                await asyncio.sleep(1)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    run(act)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
