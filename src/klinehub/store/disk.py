"""Files that are there whole or not at all, whenever the machine stops.

1. A file is written under a hidden name, forced to disk, renamed, and its folder forced to disk.
2. What it replaces is deleted only after that.
"""

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import BinaryIO, Final, TypeVar

from klinehub.errors import StoreError

try:
    import fcntl
except ImportError:  # on Windows there is one writer, because people see to it
    fcntl = None  # type: ignore[assignment]

_UNFINISHED: Final = ".unfinished"
LOCK: Final = ".lock"
_Path = TypeVar("_Path", bound=PurePath)


@contextmanager
def reading(path: PurePath) -> Iterator[io.BufferedIOBase]:
    """Open a file; what the disk refuses is a StoreError, but not that the file is gone."""
    try:
        with Path(path).open("rb") as file:
            yield file
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise StoreError(f"{path} can not be read ({exc}): look at the disk, or restore the file.") from exc


def put(path: Path, body: bytes) -> None:
    """Write a file so that it is on disk when this returns; raises StoreError where the disk refuses."""
    with growing(path) as file:
        file.write(body)


@contextmanager
def growing(path: Path) -> Iterator[BinaryIO]:
    """Write a file piece by piece; it is there, on disk, when the block ends, and not where that fails."""
    part = hidden(path)
    try:
        # A link that somebody put there would lead the bytes elsewhere.
        part.unlink(missing_ok=True)
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        settle(path.parent)
    except BaseException as exc:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(exc, OSError):
            told = f"{path} can not be written ({exc}): nothing that was there is lost."
            raise StoreError(told) from exc
        raise


def made(folder: Path) -> None:
    """Make a folder as `make` does; raises OSError where that fails."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
        settle(each.parent)


def make(folder: Path) -> None:
    """Make a folder and those above it, on disk when this returns."""
    try:
        made(folder)
    except OSError as exc:
        raise StoreError(f"{folder} can not be made ({exc}): choose a folder that can be written.") from exc


def settle(folder: Path) -> None:
    """Force a folder's names to disk."""
    if os.name == "nt":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def drop(paths: Iterable[Path]) -> None:
    """Delete files; one that is gone already is no error."""
    for path in paths:
        path.unlink(missing_ok=True)


def hidden(path: _Path) -> _Path:
    """Give the name under which a file is written, until it is whole."""
    return path.with_name(f".{path.name}{_UNFINISHED}")


def is_unfinished(path: PurePath) -> bool:
    """Whether this is a file that a writer did not finish."""
    return path.suffix == _UNFINISHED and path.name[0] == "."


def unfinished(folder: Path) -> list[Path]:
    """Give the files of a folder that a writer did not finish."""
    return sorted(filter(is_unfinished, folder.iterdir()))


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other writers out of *folder* while the block runs; waits for one that is at work."""
    make(folder)
    if fcntl is None:
        yield
        return
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        fd = os.open(folder / LOCK, flags, 0o600)
    except OSError as exc:
        raise StoreError(f"{folder} can not be written ({exc}).") from exc
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def locked(path: Path, setting: str) -> int:
    """Hold the lock beside a file that has one writer, until `unlocked`; SQLite's own does it on Windows.

    Raises StoreError naming the process that has it; *setting* is what names another place.
    """
    try:
        made(path.parent)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        fd = os.open(path.with_name(f"{path.name}.lock"), flags, 0o600)
    except OSError as exc:
        raise StoreError(
            f"{path.parent} can not be written ({exc.strerror}): name another folder in `{setting}`."
        ) from exc
    if fcntl is None:
        return fd
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
        os.close(fd)
        raise StoreError(
            f"{path.parent} is in use by process {owner or 'unknown'}: one hub writes a store. "
            f"Use that hub, stop it first, or name another folder in `{setting}`."
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def unlocked(lock: int) -> None:
    """Give a lock back; one that is none, -1, is no error."""
    if lock >= 0:
        os.close(lock)
