"""What was imported already: a text file of checksums and names, as sha256sum writes them.

A line is added after what it speaks of is kept, so that a line that is there is true. One that a kill
tore is no whole line, and is passed over; the file that it spoke of is imported once more, which changes
nothing.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from klinehub.errors import StoreError
from klinehub.store import disk

_LINE: Final = re.compile(r"([0-9a-f]{64})  (.+)")


class Imported:
    """The names of imported files and their SHA-256, kept in the file at *path*."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            text = b""
        whole, newline, _ = text.rpartition(b"\n")
        self._size = len(whole) + len(newline)
        found = (_LINE.fullmatch(line) for line in whole.decode("utf-8", "replace").split("\n"))
        self.digests = {one[2]: one[1] for one in found if one is not None}

    def add(self, files: Iterable[tuple[str, str]]) -> None:
        """Note files (name, SHA-256) as imported; it is on disk when this returns."""
        new = dict(files)
        if not new:
            return
        lines = "".join(f"{digest}  {name}\n" for name, digest in new.items()).encode()
        disk.make(self.path.parent)
        try:
            with self.path.open("ab") as file:
                # A torn line ends here: with a newline behind it, it could be taken for a whole one.
                file.truncate(self._size)
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as exc:
            raise StoreError(
                f"{self.path} can not be written ({exc}): nothing that was there is lost."
            ) from exc
        self._size += len(lines)
        self.digests.update(new)
