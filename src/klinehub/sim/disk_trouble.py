"""Faults of the disk under a hub's store, and of the machine while it writes there."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import apsw
import numpy as np

from klinehub.domain.clock import Clock
from klinehub.errors import StoreError
from klinehub.sim.disk import SECTOR, Disk
from klinehub.sim.faults import Fault
from klinehub.sim.kept import ORIGIN, PATH, Kept
from klinehub.sim.mishap import Cure, Deed, Dice, nothing
from klinehub.sim.oracle import Divergence
from klinehub.store.sqlite import SqliteTables

# A write into which a cut comes is waited for this long (seconds): commits come with each close.
_PATIENCE: Final = 75.0
_OPENING: Final = 30.0
# A cut comes after so many steps of the disk; making all tables takes some thirty.
_MOST_STEPS: Final = 24
_STEPS_TO_MAKE: Final = 34
_PAGE: Final = 8 * SECTOR
# Where SQLite keeps the version of a schema in a file's head, and one that no klinehub writes yet.
_VERSION: Final = slice(60, 64)
_HEAD: Final = 100
_NEWER: Final = (10**6).to_bytes(4, "big")

Refusal = Callable[[str, str, bool], None]


class DiskTrouble:
    """Carries out the faults of a store's disk; *restart* ends the hub, does something, starts it again."""

    def __init__(
        self, kept: Kept, dice: Dice, clock: Clock, restart: Callable[[Callable[[], None]], Awaitable[None]]
    ) -> None:
        self._kept = kept
        self._dice = dice
        self._clock = clock
        self._restart = restart
        self._refusals: dict[int, Refusal] = {}
        self._number = 0
        self._is_newer = False
        # How often what told who wrote the store was lost.
        self._untold = 0
        kept.disk.trouble = self._ask

    @property
    def deeds(self) -> dict[str, Deed]:
        """What this can carry out, by the kind of fault."""
        return {
            "disk_full": self.fill,
            "disk_errors": self.fail,
            "read_only_disk": self.forbid,
            "power_cut": self.cut,
            "kill": self.kill,
            "flipped_bits": self.flip,
            "cut_file": self.shorten,
            "zeroed_page": self.wipe,
            "second_hub": self.open_twice,
            "newer_store": self.outdate,
            "half_made": self.half_make,
        }

    def fill(self, _: Fault) -> Cure:
        """Let nothing grow."""

        def full(what: str, _name: str, grows: bool) -> None:  # noqa: FBT001 - as a disk asks
            if grows and what == "write":
                raise apsw.FullError

        return self._refuse(full)

    def fail(self, fault: Fault) -> Cure:
        """Let writes, reads or syncs fail, always or now and then."""
        rng = self._dice(fault)
        kinds = [{"write"}, {"sync"}, {"read"}, {"write", "sync", "read"}][int(fault.pick * 4)]
        share = 1.0 if fault.size < 0.5 else float(rng.uniform(0.05, 0.5))

        def failing(what: str, _name: str, _grows: bool) -> None:  # noqa: FBT001 - as a disk asks
            if what in kinds and rng.random() < share:
                raise apsw.exception_for(apsw.SQLITE_IOERR)

        return self._refuse(failing)

    def forbid(self, _: Fault) -> Cure:
        """Let nothing be written."""

        def forbidden(what: str, _name: str, _grows: bool) -> None:  # noqa: FBT001 - as a disk asks
            if what != "read":
                raise apsw.ReadOnlyError

        return self._refuse(forbidden)

    def cut(self, fault: Fault) -> Cure:
        """Let the power fail in the middle of a write, and the machine start again."""
        rng = self._dice(fault)
        return self._strike(1 + int(fault.size * _MOST_STEPS), lambda disk: disk.cut(rng))

    def kill(self, fault: Fault) -> Cure:
        """Kill the hub in the middle of a write and start another."""
        return self._strike(1 + int(fault.size * _MOST_STEPS), Disk.killed)

    def flip(self, fault: Fault) -> Cure:
        """Change some bits of a file between two hubs."""

        def flipped(content: bytearray, rng: np.random.Generator) -> None:
            for bit in rng.integers(len(content) * 8, size=1 + int(fault.size * 4)).tolist():
                content[bit // 8] ^= 1 << bit % 8

        return self._damage(fault, flipped)

    def shorten(self, fault: Fault) -> Cure:
        """Cut a file's end off between two hubs."""

        def cut(content: bytearray, rng: np.random.Generator) -> None:
            del content[int(rng.integers(len(content))) :]

        return self._damage(fault, cut)

    def wipe(self, fault: Fault) -> Cure:
        """Overwrite a page of a file with zeros between two hubs."""

        def wiped(content: bytearray, rng: np.random.Generator) -> None:
            at = int(rng.integers(len(content))) // _PAGE * _PAGE
            content[at : at + _PAGE] = bytes(len(content[at : at + _PAGE]))

        return self._damage(fault, wiped)

    def open_twice(self, _: Fault) -> Cure | None:
        """Open the store a second time, as another hub would."""
        disk = self._kept.disk
        if not disk.locked(str(PATH), apsw.SQLITE_LOCK_SHARED):
            return None
        with suppress(StoreError):
            SqliteTables(PATH, origin=ORIGIN, vfs=disk.vfs, replace=disk.replace).close()
            detail = "a second hub got the store that another one writes"
            self._kept.found.append(Divergence("S4", "", "", 0, detail, self._clock.now()))
        return nothing

    def outdate(self, _: Fault) -> Cure | None:
        """Let a newer klinehub have written the store, for a while; it can not be newer still."""
        if self._is_newer:
            return None
        self._is_newer = True
        told: list[bytes] = []
        untold = self._untold

        def newer() -> None:
            # A log that was not moved into the file tells the version again, and an older one.
            told.append(b"" if self._has_log() else self._version(_NEWER))

        def older() -> None:
            self._is_newer = False
            found = self._version(told[0]) if told[0] else _NEWER
            if found != _NEWER and self._untold == untold:
                detail = "a store of a newer klinehub was written"
                self._kept.found.append(Divergence("S5", "", "", 0, detail, self._clock.now()))

        begun = asyncio.ensure_future(self._restart(newer))

        async def over() -> None:
            await begun
            await self._restart(older)

        return over

    def half_make(self, fault: Fault) -> Cure:
        """Let the power fail, or the hub be killed, while a new store is made."""
        rng = self._dice(fault)

        async def over() -> None:
            struck = asyncio.Event()
            await self._restart(lambda: self._blank(1 + int(fault.size * _STEPS_TO_MAKE), struck))
            await self._wait(struck, _OPENING)
            await self._restart(
                lambda: self._change_for(
                    self._kept.disk.cut(rng) if fault.pick < 0.5 else self._kept.disk.killed()
                )
            )

        return over

    def _has_log(self) -> bool:
        log, disk = f"{PATH}-wal", self._kept.disk
        return log in disk.names and bool(disk.content(log))

    def _blank(self, steps: int, struck: asyncio.Event) -> None:
        self._untold += 1
        self._kept.blank()
        self._change_for(Disk())
        self._arm(steps, struck)

    def _refuse(self, refusal: Refusal) -> Cure:
        """Let the disk answer with a refusal until the fault is over."""
        self._number += 1
        number, kept = self._number, self._kept
        self._refusals[number] = refusal
        kept.troubled = True

        def over() -> None:
            del self._refusals[number]
            kept.troubled = bool(self._refusals)
            kept.well_since = self._clock.now()

        return over

    def _ask(self, what: str, name: str, grows: bool) -> None:  # noqa: FBT001 - as a disk asks
        for refusal in tuple(self._refusals.values()):
            refusal(what, name, grows)

    def _change_for(self, disk: Disk) -> None:
        """Give the store another disk, on which the troubles of this one go on."""
        self._kept.disk.leave()
        self._kept.disk = disk
        disk.trouble = self._ask

    def _arm(self, steps: int, struck: asyncio.Event) -> None:
        """Let the disk be gone for the hub after some more steps."""
        disk, left = self._kept.disk, [steps]

        def counted(what: str, name: str, grows: bool) -> None:  # noqa: FBT001 - as a disk asks
            left[0] -= what != "read"
            if left[0] <= 0:
                disk.leave()
                struck.set()
                raise apsw.exception_for(apsw.SQLITE_IOERR)
            self._ask(what, name, grows)

        disk.trouble = counted

    def _strike(self, steps: int, left: Callable[[Disk], Disk]) -> Cure:
        """End everything after some more steps, and go on with what is left of the disk."""
        struck = asyncio.Event()
        self._arm(steps, struck)

        async def over() -> None:
            await self._wait(struck, _PATIENCE)
            self._kept.disk.leave()
            await self._restart(lambda: self._change_for(left(self._kept.disk)))

        return over

    @staticmethod
    async def _wait(struck: asyncio.Event, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await struck.wait()

    def _damage(self, fault: Fault, harm: Callable[[bytearray, np.random.Generator], None]) -> Cure:
        """Harm one of the store's files between two hubs; half of the times the first of them is killed."""
        rng = self._dice(fault)

        def harmed() -> None:
            self._change_for(self._kept.disk.killed())
            disk = self._kept.disk
            files = [name for name in disk.names if disk.size(name)]
            if files:
                name = files[int(rng.integers(len(files)))]
                content = bytearray(disk.content(name))
                harm(content, rng)
                # Who can not read the head of the file can not know who wrote it.
                self._untold += name == str(PATH) and content[:_HEAD] != disk.content(name)[:_HEAD]
                disk.overwrite(name, bytes(content))
                self._kept.damaged = True

        async def over() -> None:
            if fault.pick < 0.5:
                self._kept.disk.leave()
            await self._restart(harmed)

        return over

    def _version(self, version: bytes) -> bytes:
        """Change the version of the schema that the store's file tells; gives the one before."""
        self._change_for(self._kept.disk.killed())
        disk = self._kept.disk
        content = bytearray(disk.content(str(PATH))) if str(PATH) in disk.names else bytearray()
        before = bytes(content[_VERSION])
        if before:
            content[_VERSION] = version
            disk.overwrite(str(PATH), bytes(content))
        return before
