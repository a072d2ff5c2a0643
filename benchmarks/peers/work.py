"""What is compared: a kind of work, what all are given for it, and who does it how."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from klinehub.errors import KlinehubError

Found = Mapping[str, float]
Contestant = Callable[[Path], Found]


class Differs(KlinehubError):
    """Two programs that were given the same work came to different results."""


class Kind(NamedTuple):
    """One kind of work, measured by turns.

    *prepare* writes what all are given into a folder. Each contestant runs in a process of its own, reads it
    there and gives figures by name; *columns* are the headings of those that are shown.
    """

    title: str
    words: str
    columns: Mapping[str, str]
    prepare: Callable[[Path, int], None]
    contestants: Mapping[str, Contestant]
