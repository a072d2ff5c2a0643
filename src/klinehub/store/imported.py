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

_LINE: Final = re.compile(r"([0-9a-f]{64})  ([^\n]+)\n")


class Imported:
    """The names of imported files and their SHA-256, kept in the file at *path*."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = path.read_text("utf-8", "replace")
        except FileNotFoundError:
            text = ""
        self._torn = bool(text) and not text.endswith("\n")
        found = (_LINE.fullmatch(line) for line in text.splitlines(keepends=True))
        self.digests = {one[2]: one[1] for one in found if one is not None}

    def add(self, files: Iterable[tuple[str, str]]) -> None:
        """Note files (name, SHA-256) as imported; it is on disk when this returns."""
        new = dict(files)
        if not new:
            return
        lines = "".join(f"{digest}  {name}\n" for name, digest in new.items())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write((("\n" if self._torn else "") + lines).encode())
            file.flush()
            os.fsync(file.fileno())
        self._torn = False
        self.digests.update(new)
