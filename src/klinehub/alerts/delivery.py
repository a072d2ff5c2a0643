"""Delivery: a courier for each target, so that a slow or dead one holds nobody up."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from klinehub.alerts.courier import DISK_PAUSE, Courier
from klinehub.alerts.delivering import TargetRow, Tried
from klinehub.alerts.log import Log
from klinehub.alerts.outbox import Kept
from klinehub.alerts.posting import Ended
from klinehub.errors import StoreError, UnknownName
from klinehub.scan.alerts import Alert

# Real seconds that a test may take.
_TEST: Final = 25.0
_WAITING: Final = frozenset({"waiting", "quiet", "failed"})


class Couriers:
    """The couriers of all targets, working on one *log* while `run` runs."""

    def __init__(self, couriers: Iterable[Courier], log: Log, now: Callable[[], int]) -> None:
        self._couriers = {courier.post.name: courier for courier in couriers}
        self._log, self._now = log, now

    @property
    def names(self) -> Collection[str]:
        """The targets that there are, also those that are off."""
        return self._couriers.keys()

    def reached(self, alert: Alert, to: Sequence[str]) -> tuple[str, ...]:
        """Give the targets that get an alert addressed to *to*, all of them without any."""
        return tuple(
            name for name in to or self._couriers if name in self._couriers and self._wants(name, alert)
        )

    def _wants(self, name: str, alert: Alert) -> bool:
        return self._couriers[name].post.wants(alert)

    def wake(self) -> None:
        """Say that the outbox has something new; never waits, may be called from the event loop alone."""
        for courier in self._couriers.values():
            courier.woken.set()

    async def run(self) -> None:
        """Deliver until cancelled; what waits for targets that are gone is given up."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._retain())
            for courier in self._couriers.values():
                group.create_task(courier.run())

    async def _retain(self) -> None:
        """Give up what waits for targets that are gone, as soon as the disk lets it be written."""
        names, now = tuple(self._couriers), self._now()
        while True:
            try:
                return await self._log.do(lambda outbox: outbox.retain(names, now))
            except StoreError:
                await asyncio.sleep(DISK_PAUSE)

    async def test(self, alert: Alert, to: Sequence[str]) -> list[Tried]:
        """Send *alert* to targets at once, marked as a test, beside the outbox; answers within seconds.

        Raises UnknownName for a target that is not there.
        """
        for name in to:
            if name not in self._couriers:
                raise UnknownName("target", name, self._couriers)
        kept = Kept(0, self._now(), alert)
        return list(await asyncio.gather(*(self._test(name, kept) for name in to or self._couriers)))

    async def _test(self, name: str, kept: Kept) -> Tried:
        try:
            async with asyncio.timeout(_TEST):
                answer = await self._couriers[name].post.test(kept)
        except TimeoutError:
            return Tried(name, ok=False, detail=f"no answer within {_TEST:.0f} s")
        return Tried(name, answer.ended is Ended.TAKEN, answer.detail)

    def now(self) -> tuple[TargetRow, ...]:
        """Give what is shown of each target, with what waited when it was last looked at."""
        return tuple(courier.row(courier.waiting) for courier in self._couriers.values())

    async def rows(self) -> list[TargetRow]:
        """Give what is shown of each target."""
        found = await self._log.do(lambda outbox: outbox.counts())
        waiting = Counter[str]()
        for (target, state), count in found.items():
            waiting[target] += count if state in _WAITING else 0
        return [courier.row(waiting[name]) for name, courier in self._couriers.items()]
