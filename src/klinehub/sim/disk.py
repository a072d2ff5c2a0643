"""A simulated disk: SQLite writes to it through a file system in memory that remembers what is not synced.

1. What is written is there for everybody at once; it survives a loss of power for sure once it was synced.
   Names are made, removed and changed in order, and survive once their folder was synced.
2. At a loss of power each sector of each write that was not synced is there or not, by chance; so is every
   name that was changed since the folder was synced, up to some point in the order of the changes.
3. A kill of the process loses nothing that was written.
4. The disk can be full, fail, be read-only, or be gone for those who have it open.
"""

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw
import numpy as np

SECTOR: Final = 512
_NUMBERS: Final = itertools.count()
_EXCLUSIVE: Final = apsw.SQLITE_LOCK_EXCLUSIVE


class Step(NamedTuple):
    """Something that changes a disk; `what` is write, truncate, sync, create, delete or rename."""

    what: str
    name: str
    at: int = 0
    data: bytes = b""
    to: str = ""


class _File:
    """What a file holds, what of it is synced, and the writes and truncations since then."""

    def __init__(self, content: bytes | bytearray = b"") -> None:
        self.content = bytearray(content)
        self.synced = bytes(content)
        self.pending: list[Step] = []

    def do(self, step: Step) -> None:
        _put(self.content, step)
        self.pending.append(step)

    def sync(self) -> None:
        self.synced = bytes(self.content)
        self.pending.clear()

    def lost(self, dice: np.random.Generator) -> "_File":
        """Give what is left of it when the power fails: all writes, none, or some of their sectors."""
        left = bytearray(self.synced)
        share = (0.0, 1.0, float(dice.random()))[int(dice.integers(3))]
        for step in self.pending:
            if step.what != "write":
                if dice.random() < share:
                    _put(left, step)
                continue
            for part in _sectors(step):
                if dice.random() < share:
                    _put(left, part)
        return _File(left)


def _put(content: bytearray, step: Step) -> None:
    if step.what == "truncate":
        del content[step.at :]
    if len(content) < step.at:
        content.extend(bytes(step.at - len(content)))
    if step.what == "write":
        content[step.at : step.at + len(step.data)] = step.data


def _sectors(step: Step) -> list[Step]:
    """Part a write at the borders of sectors."""
    end = step.at + len(step.data)
    borders = [step.at, *range(step.at // SECTOR * SECTOR + SECTOR, end, SECTOR), end]
    return [
        step._replace(at=low, data=step.data[low - step.at : high - step.at])
        for low, high in itertools.pairwise(borders)
    ]


class Disk:
    """A disk with one folder; give `vfs` and `replace` to what keeps its tables on it.

    *trouble* is asked before each step and each read ("read"), by what is done, the file's name and whether
    it would grow; what it raises is the disk's answer. *log* gets every step that was done.
    """

    def __init__(self) -> None:
        self.trouble: Callable[[str, str, bool], None] = _no_trouble
        self.log: Callable[[Step], None] = _unlogged
        self._files: dict[str, _File] = {}
        self._synced_names: dict[str, _File] = {}
        self._renamed: list[Step] = []
        self._locks: dict[str, dict[int, int]] = {}
        self._gone = False
        self._vfs: _Vfs | None = None

    @property
    def vfs(self) -> str:
        """The name under which SQLite finds it."""
        if self._vfs is None:
            self._vfs = _Vfs(self)
        return self._vfs.name

    @property
    def names(self) -> list[str]:
        """The files that are there."""
        return sorted(self._files)

    def content(self, name: str) -> bytes:
        """Give what a file holds."""
        return bytes(self._files[name].content)

    def overwrite(self, name: str, content: bytes) -> None:
        """Let a file hold something else, as if it had never been otherwise."""
        self._files[name] = self._synced_names[name] = _File(content)

    def do(self, step: Step) -> None:
        """Do a step; raises what the disk's trouble raises, and then nothing is done."""
        file = self._files.get(step.name)
        grows = step.what == "create" or (
            step.what == "write" and file is not None and step.at + len(step.data) > len(file.content)
        )
        self.ask(step.what, step.name, grows=grows)
        self.log(step)
        self.play(step)

    def ask(self, what: str, name: str, *, grows: bool = False) -> None:
        """Raise what stands against doing something."""
        if self._gone:
            raise apsw.exception_for(apsw.SQLITE_IOERR)
        self.trouble(what, name, grows)

    def play(self, step: Step) -> None:
        """Do a step of which nobody has to be asked."""
        if step.what in {"create", "delete", "rename"}:
            _rename(self._files, step)
            self._renamed.append(step)
        elif step.what == "sync":
            self._files[step.name].sync()
            # SQLite syncs the folder with the first sync of a log; any sync of ours stands for that.
            if step.to:
                self._synced_names = dict(self._files)
                self._renamed.clear()
        else:
            self._files[step.name].do(step)
        if step.what == "delete" and step.to:
            self._synced_names = dict(self._files)
            self._renamed.clear()

    def replace(self, old: Path, new: Path) -> None:
        """Rename a file, in the place of one that may be there; raises FileNotFoundError."""
        if str(old) not in self._files:
            raise FileNotFoundError(str(old))
        self.do(Step("rename", str(old), to=str(new)))

    def cut(self, dice: np.random.Generator) -> "Disk":
        """Give the disk as it is after the power has failed; this one is gone for those who have it open."""
        names = dict(self._synced_names)
        for step in self._renamed[: int(dice.integers(len(self._renamed) + 1))]:
            if step.what == "create":
                names[step.name] = self._files.get(step.name, _File())
            else:
                _rename(names, step)
        return self._next({name: names[name].lost(dice) for name in sorted(names)})

    def killed(self) -> "Disk":
        """Give the disk as the next process finds it; this one is gone for those who have it open."""
        return self._next({name: _File(file.content) for name, file in self._files.items()})

    def _next(self, files: dict[str, _File]) -> "Disk":
        found = Disk()
        found._files, found._synced_names = files, dict(files)
        return found

    def leave(self) -> None:
        """Be gone for everybody who has it open."""
        self._gone = True

    def forget(self) -> None:
        """Take it from the file systems that SQLite knows; nobody may have it open."""
        if self._vfs is not None:
            self._vfs.unregister()
            self._vfs = None

    def lock(self, name: str, owner: int, level: int) -> None:
        """Take a lock on a file; raises apsw.BusyError when another's stands against it."""
        held = self._locks.setdefault(name, {})
        others = max((had for who, had in held.items() if who != owner), default=0)
        least = (
            _EXCLUSIVE - 1
            if level == apsw.SQLITE_LOCK_SHARED
            else apsw.SQLITE_LOCK_SHARED
            if level == _EXCLUSIVE
            else apsw.SQLITE_LOCK_RESERVED
        )
        if others >= least:
            raise apsw.BusyError(f"{name} is locked")
        held[owner] = level

    def unlock(self, name: str, owner: int, level: int) -> None:
        """Give a lock back, down to *level*."""
        self._locks.get(name, {})[owner] = level

    def locked(self, name: str, level: int) -> bool:
        """Whether somebody holds a lock of at least *level* on a file."""
        return max(self._locks.get(name, {}).values(), default=0) >= level

    def read(self, name: str, at: int, amount: int) -> bytes:
        """Give bytes of a file; fewer where it ends before."""
        return bytes(self._files[name].content[at : at + amount])

    def size(self, name: str) -> int:
        """Give a file's length; 0 where there is none."""
        return len(self._files[name].content) if name in self._files else 0


def _rename(names: dict[str, _File], step: Step) -> None:
    """Make, remove or change a name."""
    if step.what == "create":
        names.setdefault(step.name, _File())
    elif step.name in names:
        file = names.pop(step.name)
        if step.what == "rename":
            names[step.to] = file


def _no_trouble(_what: str, _name: str, _grows: bool) -> None:  # noqa: FBT001 - as `trouble` is called
    """Let everything be done."""


def _unlogged(_: Step) -> None:
    """Remember nothing."""


@contextmanager
def overlooked() -> Iterator[None]:
    """Let SQLite go on after a failure of the disk, where it chooses to, without a word on stderr."""
    before = sys.unraisablehook

    def tell(unraisable: Any) -> None:  # noqa: ANN401 - as Python calls it
        if not isinstance(unraisable.exc_value, apsw.Error):
            before(unraisable)

    sys.unraisablehook = tell
    try:
        yield
    finally:
        sys.unraisablehook = before


class _Vfs(apsw.VFS):
    """SQLite's view of a disk."""

    def __init__(self, disk: Disk) -> None:
        self.name = f"simulated-{next(_NUMBERS)}"
        self._disk = disk
        super().__init__(self.name, base="")

    def xFullPathname(self, name: str) -> str:  # noqa: N802 - SQLite's names
        return name

    def xAccess(self, pathname: str, flags: int) -> bool:  # noqa: ARG002, N802
        return pathname in self._disk.names

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001, N802
        if filename not in self._disk.names:
            raise apsw.exception_for(apsw.SQLITE_IOERR_DELETE_NOENT)
        self._disk.do(Step("delete", filename, to="folder" if syncdir else ""))

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> "_Handle":  # type: ignore[override] # noqa: N802
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None:
            path = f"temporary-{next(_NUMBERS)}"
        if path not in self._disk.names:
            if not flags[0] & apsw.SQLITE_OPEN_CREATE:
                raise apsw.CantOpenError(path)
            self._disk.do(Step("create", path))
        flags[1] = flags[0]
        return _Handle(self._disk, path, flags[0])


class _Handle:
    """A file that SQLite has open."""

    def __init__(self, disk: Disk, name: str, flags: int) -> None:
        self._disk = disk
        self._name = name
        self._owner = next(_NUMBERS)
        self._leaves = bool(flags & apsw.SQLITE_OPEN_DELETEONCLOSE)
        # A log's folder is synced with it, so that its name is there.
        self._folder = "folder" if flags & (apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL) else ""

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._disk.ask("read", self._name)
        return self._disk.read(self._name, offset, amount)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.do(Step("write", self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._disk.do(Step("truncate", self._name, newsize))

    def xSync(self, flags: int) -> None:  # noqa: ARG002, N802
        self._disk.do(Step("sync", self._name, to=self._folder))
        self._folder = ""

    def xFileSize(self) -> int:  # noqa: N802
        return self._disk.size(self._name)

    def xClose(self) -> None:  # noqa: N802
        self._disk.unlock(self._name, self._owner, 0)
        if self._leaves:
            self._disk.play(Step("delete", self._name))

    def xLock(self, level: int) -> None:  # noqa: N802
        self._disk.lock(self._name, self._owner, level)

    def xUnlock(self, level: int) -> None:  # noqa: N802
        self._disk.unlock(self._name, self._owner, level)

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return self._disk.locked(self._name, apsw.SQLITE_LOCK_RESERVED)

    def xFileControl(self, op: int, ptr: int) -> bool:  # noqa: ARG002, N802
        return False

    def xSectorSize(self) -> int:  # noqa: N802
        return SECTOR

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        # As on Unix: a torn write harms nothing beside it.
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE
