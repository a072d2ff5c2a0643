"""Where the segments of a history lie: the few things that it does with files, and how a folder does them.

A file is there whole or not at all, and never changes. `objects.py` does the same in an object store.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from io import BufferedIOBase
from pathlib import Path, PurePath
from typing import Protocol

from klinehub.errors import StoreError
from klinehub.store import disk


class Away(StoreError):
    """The place of a history does not answer: what is to go there waits, and is tried again."""


class Files(Protocol):
    """Files in folders below `root`; `where` is how people write that place."""

    @property
    def root(self) -> PurePath:
        """The folder that all of them lie below."""

    @property
    def where(self) -> str:
        """The place as it is shown and set."""

    def folders(self, folder: PurePath) -> list[str]:
        """Give the names of the folders in one, which need not be there, in order."""

    def files(self, folder: PurePath) -> list[PurePath]:
        """Give the files of a folder, hidden ones too, in order."""

    def below(self) -> list[PurePath]:
        """Give the files of all folders two steps below the root, in order."""

    def reading(self, path: PurePath) -> AbstractContextManager[BufferedIOBase]:
        """Open a file to read of it; raises FileNotFoundError where it is gone, else StoreError."""

    def size(self, path: PurePath) -> int:
        """Give a file's size in bytes; raises FileNotFoundError where it is gone."""

    def put(self, path: PurePath, body: bytes) -> None:
        """Write a file; it is kept, whole, when this returns. Raises StoreError where that can not be."""

    def drop(self, paths: Iterable[PurePath]) -> None:
        """Delete files; one that is gone already is no error."""

    def clear(self, folder: PurePath) -> None:
        """Delete a folder where nothing is left in it."""

    def rename(self, path: PurePath, to: PurePath) -> None:
        """Call a file otherwise."""

    def alone(self) -> AbstractContextManager[None]:
        """Keep other writers out while the block runs; waits for one that is at work."""


class Folder:
    """Files in a folder of this machine, which need not be there."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def where(self) -> str:
        """The folder's path."""
        return str(self.root)

    def folders(self, folder: PurePath) -> list[str]:
        """Give the names of the folders in one, in order."""
        try:
            return sorted(path.name for path in Path(folder).iterdir() if path.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def files(self, folder: PurePath) -> list[PurePath]:
        """Give what lies in a folder, in order."""
        try:
            return sorted(Path(folder).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def below(self) -> list[PurePath]:
        """Give the files of all folders two steps below the root, in order."""
        return sorted(self.root.glob("*/*/*"))

    def reading(self, path: PurePath) -> AbstractContextManager[BufferedIOBase]:
        """Open a file to read some of its bytes."""
        return disk.reading(path)

    def size(self, path: PurePath) -> int:
        """Give a file's size in bytes."""
        return Path(path).stat().st_size

    def put(self, path: PurePath, body: bytes) -> None:
        """Write a file, forced to disk under a hidden name and then renamed; clears away what a stop left."""
        folder = Path(path.parent)
        disk.make(folder)
        disk.drop(disk.unfinished(folder))
        disk.put(Path(path), body)

    def drop(self, paths: Iterable[PurePath]) -> None:
        """Delete files, and force the names in their folders to disk."""
        gone = [Path(path) for path in paths]
        disk.drop(gone)
        for folder in {path.parent for path in gone}:
            disk.settle(folder)

    def clear(self, folder: PurePath) -> None:
        """Delete a folder where nothing is left in it."""
        with suppress(OSError):  # something else lies there
            Path(folder).rmdir()
        disk.settle(Path(folder.parent))

    def rename(self, path: PurePath, to: PurePath) -> None:
        """Call a file otherwise."""
        Path(path).replace(to)
        disk.settle(Path(to.parent))

    def alone(self) -> AbstractContextManager[None]:
        """Hold the lock of the folder, which is made if it is not there."""
        return disk.alone(self.root)
