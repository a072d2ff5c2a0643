"""Staleness: why a symbol's bars are not proven fresh, and since when."""

from enum import IntEnum
from typing import NamedTuple


class Reason(IntEnum):
    """Why a symbol is stale; 0 is fresh. Of several reasons the largest is shown."""

    FRESH = 0
    STARTING = 1
    GAP = 2
    SILENT = 3
    LOST = 4
    FEED_SILENT = 5
    CLOCK = 6
    NOT_TRADING = 7
    RELAY = 8

    @property
    def text(self) -> str:
        """The reason in words."""
        return _WORDS[self]


_WORDS = {
    Reason.FRESH: "fresh",
    Reason.STARTING: "nothing was told of it yet",
    Reason.GAP: "closed bars are missing",
    Reason.SILENT: "its stream is silent",
    Reason.LOST: "its connection is lost",
    Reason.FEED_SILENT: "its connection is silent",
    Reason.CLOCK: "the clock jumped or stood still",
    Reason.NOT_TRADING: "it does not trade",
    Reason.RELAY: "the hub that tells of it is silent",
}


class Stale(NamedTuple):
    """Why a symbol is not proven fresh, and since when (ms of exchange time)."""

    reason: str
    since: int
