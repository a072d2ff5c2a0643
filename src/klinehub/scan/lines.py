"""Files of one JSON object a line, added to and read back; a line cut while it was written is dropped."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

from klinehub.errors import DataError

T = TypeVar("T")


def read_lines(path: Path, kind: type[T]) -> list[T]:
    """Read a file of *kind*, none where there is no file yet; a cut last line is taken out of the file.

    Raises DataError for any other line that is none, and for a file that cannot be read.
    """
    try:
        text = path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        found = [msgspec.json.decode(line, type=kind) for line in whole.splitlines()]
        if len(whole) < len(text):
            path.write_bytes(whole)
    except FileNotFoundError:
        return []
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise DataError(f"{path} is no record of {kind.__name__} lines ({exc}): move it away.") from exc
    except OSError as exc:
        raise DataError(f"{path} cannot be used ({exc.strerror}): choose another file.") from exc
    return found


def append_lines(path: Path, items: Iterable[object]) -> None:
    """Add items to a file in one write; raises DataError when it cannot be written."""
    lines = b"".join(msgspec.json.encode(item) + b"\n" for item in items)
    if not lines:
        return
    try:
        with path.open("ab") as file:
            file.write(lines)
    except OSError as exc:
        raise DataError(f"{path} cannot be written ({exc.strerror}): choose another file.") from exc
