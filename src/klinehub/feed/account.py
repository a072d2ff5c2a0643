"""The account that all hubs of a machine share: by exchange, the weight spent and how long to keep away.

The exchange counts per address, whichever program asked, and a ban outlives the program that earned it.
So this is kept in one small file: a head and a fixed number of records, each read, changed and written
in place under a lock. A record that does not add up is empty; a file that is none of ours is set aside.
"""

import errno
import os
import stat
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

try:
    import fcntl
except ImportError:  # Windows has no such locks: there every hub counts for itself.
    fcntl = None  # type: ignore[assignment]

MINUTE: Final = 60_000
# The longest that a ban or a block is believed in, ms: what goes on after that is met with anew.
BAN: Final = 3 * 24 * 60 * MINUTE + 1_000
BLOCK: Final = 5 * MINUTE
HEAD: Final = b"klinehub account 1\n".ljust(64, b"\0")
HOSTS: Final = 60
NAME: Final = 64
# Weight is counted by minute in slots of its own, so that clocks that differ, or are set back, can not
# mix two minutes up. Each: minute, weight used, weight of it still on its way.
SLOTS: Final = 4
_LAYOUT: Final = struct.Struct(f"<{NAME}sqqqqq" + "qii" * SLOTS)
_SUM: Final = struct.Struct("<I")
RECORD: Final = _LAYOUT.size + _SUM.size
SIZE: Final = len(HEAD) + HOSTS * RECORD
# A lock is held for some 10 µs. One that is taken this often belongs to a process that was put to sleep.
TRIES: Final = 64
PATIENT_TRIES: Final = 20_000
MOST_BUSY: Final = 400
REOPENINGS: Final = 5
PRIVATE: Final = 0o600


class Slot(NamedTuple):
    """The weight of one exchange minute, and how much of it has not been answered yet."""

    minute: int = -1
    used: int = 0
    flying: int = 0


class Record(NamedTuple):
    """What is known of one exchange host; times are exchange time in ms, 0 for none."""

    name: bytes
    touched: int = 0
    offset: int = 0
    banned_until: int = 0
    blocked_until: int = 0
    status: int = 0
    slots: tuple[Slot, ...] = (Slot(),) * SLOTS

    def slot(self, minute: int) -> Slot:
        """Give a minute's count; a new one begins with what may still land in it."""
        kept = self.slots[minute % SLOTS]
        if kept.minute == minute:
            return kept
        before = self.slots[(minute - 1) % SLOTS]
        return Slot(minute, before.flying if before.minute == minute - 1 else 0, 0)

    def counted(self, slot: Slot) -> "Record":
        """Give the record with a minute's count replaced."""
        at = slot.minute % SLOTS
        slots = (*self.slots[:at], slot, *self.slots[at + 1 :])
        return self._replace(slots=slots, touched=max(self.touched, slot.minute * MINUTE))

    def bars(self, now: int) -> bool:
        """Say whether a ban or a block is in force."""
        return in_force(self.banned_until, now, BAN) or in_force(self.blocked_until, now, BLOCK)

    @property
    def age(self) -> int:
        """The time after which nothing in here matters any more; the oldest is forgotten first."""
        return max(self.touched, self.banned_until, self.blocked_until)


Change = Callable[[Record], Record]


class Busy(Exception):
    """Another process holds the account just now."""


class Account:
    """The shared account in the file *path*; `fault` says why it can not be kept, if it can not.

    Nothing in here raises but `Busy`: without the file each hub counts for itself, which `None` tells.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fault = ""
        self._fd = -1
        self._identity: tuple[int, int, int] | None = None
        self._places: dict[bytes, int] = {}
        self._busy = 0

    def read(self, host: str) -> Record | None:
        """Give what is known of *host*; raises `Busy`, gives None without a usable file."""
        return self._turn(host, lambda record: record, PATIENT_TRIES)

    def spend(self, host: str, now: int, weight: int, cap: int | None) -> tuple[bool, Record] | None:
        """Spend *weight* in the minute of *now* if everybody's stays within *cap* and nothing is barred.

        Gives whether it was spent, and the record; raises `Busy`, gives None without a usable file.
        """
        granted = False

        def change(record: Record) -> Record:
            nonlocal granted
            slot = record.slot(now // MINUTE)
            granted = not record.bars(now) and (cap is None or slot.used + weight <= cap)
            if not granted:
                return record
            return record.counted(slot._replace(used=slot.used + weight, flying=slot.flying + weight))

        record = self._turn(host, change, TRIES)
        return None if record is None else (granted, record)

    def refund(self, host: str, asked: int, weight: int) -> None:
        """Take back what was spent at *asked* and never left."""
        self._count(host, asked, lambda slot: slot._replace(used=max(0, slot.used - weight)))
        self.landed(host, asked, weight)

    def landed(self, host: str, asked: int, weight: int) -> None:
        """Count what was spent at *asked* as answered: it can not land in the next minute any more."""
        self._count(host, asked, lambda slot: slot._replace(flying=max(0, slot.flying - weight)))

    def seen(self, host: str, now: int, used: int) -> None:
        """Follow the exchange's own count of the minute of *now* if it is higher."""
        self._count(host, now, lambda slot: slot._replace(used=max(slot.used, used)))

    def ban(self, host: str, until: int) -> None:
        """Keep everybody away until *until*; a ban never gets shorter."""
        self._tell(host, lambda one: one._replace(banned_until=max(one.banned_until, until)))

    def block(self, host: str, until: int, status: int) -> None:
        """Keep everybody away until *until* because of a 403 or 451; 0 when the host answers again."""
        self._tell(host, lambda one: one._replace(blocked_until=until, status=status))

    def clocked(self, host: str, offset: int) -> None:
        """Keep how far (ms) the exchange's clock is ahead, for those who start into a ban."""
        self._tell(host, lambda one: one._replace(offset=offset))

    def close(self) -> None:
        """Close the file; it is opened again when needed."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._identity = -1, None
        self._places.clear()

    def _count(self, host: str, now: int, change: Callable[[Slot], Slot]) -> None:
        """Change a minute's count; where it is held just now it stays too high, which is the safe side."""
        with suppress(Busy):
            self._turn(host, lambda one: one.counted(change(one.slot(now // MINUTE))), TRIES)

    def _tell(self, host: str, change: Change) -> None:
        """Write something that must not be lost because another process is at it."""
        try:
            self._turn(host, change, PATIENT_TRIES)
        except Busy:
            self.fault = f"{self.path} is held by a process that does not let go of it."

    def _turn(self, host: str, change: Change, tries: int) -> Record | None:
        """Read *host*'s record, change it and write it, alone; None where that can not be done."""
        if fcntl is None:
            self.fault = "This system has no locks between processes: every hub counts for itself."
            return None
        try:
            self._lock(tries)
            try:
                record = self._exchange(_name(host), change)
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        except OSError as error:
            self.close()
            self.fault = f"{self.path} can not be used ({error.strerror or error}): hubs do not share weight."
            return None
        self._busy, self.fault = 0, ""
        return record

    def _lock(self, tries: int) -> None:
        """Hold the lock of the file that is at the path now, opening it where needed."""
        for _ in range(REOPENINGS):
            if self._fd < 0:
                self._fd = _opened(self.path)
                self._acquire(PATIENT_TRIES)
                if _begun(self._fd):
                    self._identity = _identity(os.fstat(self._fd))
                else:
                    _set_aside(self._fd, self.path)
            else:
                self._acquire(tries)
            if self._identity is not None and _at(self.path) == self._identity:
                return
            self.close()
        raise OSError(errno.EAGAIN, "it is replaced again and again")

    def _acquire(self, tries: int) -> None:
        for _ in range(tries):
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.sched_yield()
            else:
                return
        self._busy += 1
        if self._busy > MOST_BUSY:
            raise OSError(errno.EBUSY, "another process holds it and does not let go")
        raise Busy

    def _exchange(self, name: bytes, change: Change) -> Record:
        """Change one record in place, the lock being held."""
        at = self._places.get(name, -1)
        before = self._record(at) if at >= 0 else None
        if before is None or before.name != name:
            at, before = self._place(name)
        after = change(before)
        if after is not before:
            os.pwrite(self._fd, _packed(after), len(HEAD) + at * RECORD)
        return after

    def _record(self, at: int) -> Record | None:
        return _unpacked(os.pread(self._fd, RECORD, len(HEAD) + at * RECORD))

    def _place(self, name: bytes) -> tuple[int, Record]:
        """Find the record of *name*, else a free one, else the one that matters least."""
        records = [self._record(at) for at in range(HOSTS)]
        ages = {-1 if one is None else one.age: at for at, one in reversed(list(enumerate(records)))}
        at = next((at for at, one in enumerate(records) if one is not None and one.name == name), -1)
        known = records[at] if at >= 0 else None
        at = at if at >= 0 else ages[min(ages)]
        self._places[name] = at
        return at, known or Record(name)


def in_force(until: int, now: int, longest: int) -> bool:
    """Say whether something lasts until *until*; what lasts longer than *longest* came from a wrong clock."""
    return now < until <= now + longest


def _name(host: str) -> bytes:
    """Give the name under which a host is kept: itself, or a digest of one that is too long."""
    name = host.encode()
    return name if len(name) <= NAME else blake2b(name, digest_size=NAME // 2).hexdigest().encode()


def _packed(record: Record) -> bytes:
    name, touched, offset, banned, blocked, status, slots = record
    body = _LAYOUT.pack(name, touched, offset, banned, blocked, status, *(n for slot in slots for n in slot))
    return body + _SUM.pack(zlib.crc32(body))


def _unpacked(data: bytes) -> Record | None:
    """Read a record; None for an empty one and for one that does not add up."""
    if len(data) != RECORD or _SUM.unpack_from(data, _LAYOUT.size)[0] != zlib.crc32(data[: _LAYOUT.size]):
        return None
    name, touched, offset, banned, blocked, status, *counts = _LAYOUT.unpack_from(data)
    slots = tuple(Slot(*counts[at : at + 3]) for at in range(0, 3 * SLOTS, 3))
    return Record(name.rstrip(b"\0"), touched, offset, banned, blocked, status, slots)


def _opened(path: Path) -> int:
    """Open the file, or begin it; what is there and none of ours is set aside first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    fd = os.open(path, flags, PRIVATE)
    try:
        _make_private(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _make_private(fd: int) -> None:
    there = os.fstat(fd)
    if not stat.S_ISREG(there.st_mode):
        raise OSError(errno.EINVAL, "it is no plain file")
    if there.st_uid != os.geteuid():
        raise OSError(errno.EPERM, "it belongs to another user")
    if stat.S_IMODE(there.st_mode) != PRIVATE:
        os.fchmod(fd, PRIVATE)


def _begun(fd: int) -> bool:
    """Say whether the locked file is an account, after beginning an empty one."""
    size = os.fstat(fd).st_size
    if size == 0:
        # All of it at once: what is written later is in its place already and needs no room.
        if os.pwrite(fd, HEAD.ljust(SIZE, b"\0"), 0) == SIZE:
            return True
        os.ftruncate(fd, 0)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return size == SIZE and os.pread(fd, len(HEAD), 0) == HEAD


def _set_aside(fd: int, path: Path) -> None:
    """Rename a file that is no account, unless another hub has just done so."""
    if _at(path) == _identity(os.fstat(fd)):
        path.replace(path.with_name(f"{path.name}.damaged"))


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_dev, status.st_ino, status.st_size


def _at(path: Path) -> tuple[int, int, int] | None:
    """Give what tells the file at *path* from another one, or from the same one cut short."""
    try:
        return _identity(os.stat(path, follow_symlinks=False))  # noqa: PTH116 - on the way of every request
    except FileNotFoundError:
        return None
