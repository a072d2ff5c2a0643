"""What a database has to do to keep slices: a few tables, one durable transaction at a time."""

from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

from klinehub.domain.kline import Scale
from klinehub.domain.timeframe import Timeframe

# A slice's key: the timeframe's length (ms) above these bits, the bar's absolute index below.
BAR_BITS: Final = 31


def key_of(timeframe: Timeframe, bar: int) -> int:
    """Give the key under which a bar's slice is kept; keys of one timeframe are in the order of time."""
    return timeframe.milliseconds << BAR_BITS | bar


class Entry(NamedTuple):
    """A line of the symbol index, never changed: a symbol as printed with these decimals from then on."""

    number: int
    symbol: str
    scale: Scale


class First(NamedTuple):
    """The first bar (absolute index) that a symbol has at all in a timeframe of so many ms."""

    timeframe: int
    symbol: str
    bar: int


class Kept(NamedTuple):
    """What a database holds beside slices: the symbol index in order, and the first bars.

    No number below `used` may be given to another symbol: lines of the index may have been damaged.
    """

    entries: tuple[Entry, ...]
    firsts: tuple[First, ...]
    used: int = 0


class Change(NamedTuple):
    """What one transaction writes; a slice or a first bar takes the place of the one that is there.

    `damaged` slices (key, bytes, why) are moved aside, `gone` are ranges of keys to delete (first, last) and
    `records` are texts that are only ever added: what was corrected, and why. `sealed` are days (as keys)
    whose bars history holds, `opened` those of which it does not any more.
    """

    entries: tuple[Entry, ...] = ()
    slices: tuple[tuple[int, bytes], ...] = ()
    firsts: tuple[First, ...] = ()
    records: tuple[str, ...] = ()
    damaged: tuple[tuple[int, bytes, str], ...] = ()
    gone: tuple[tuple[int, int], ...] = ()
    sealed: tuple[int, ...] = ()
    opened: tuple[int, ...] = ()


class Tables(Protocol):
    """One market's tables in a database that this process alone writes; all raise StoreError.

    `salvages` is how often they were replaced by what could be saved of damaged ones, `salvaged` what there
    was to say of it.
    """

    where: str
    salvaged: str
    salvages: int

    def kept(self) -> Kept:
        """Read the symbol index and the first bars."""

    def commit(self, change: Change) -> None:
        """Write all of a change or nothing; when this returns, it is on disk."""

    def scan(self, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        """Give the slices with keys from *first* to *last* (inclusive), in order."""

    def bounds(self, first: int, last: int) -> tuple[int, int, int]:
        """Give the number of slices with keys from *first* to *last*, the least and the greatest key."""

    def sealed(self) -> frozenset[int]:
        """Give the days that history holds."""

    def records(self, most: int) -> list[str]:
        """Give the newest records, oldest first."""

    def damaged(self) -> list[tuple[int, str]]:
        """Give the key and the fault of each slice that was moved aside."""

    def tidy(self) -> None:
        """Do what keeps reading fast and files small; called between commits, may take a while."""

    def close(self) -> None:
        """Give the database back."""
