"""What the core decides, as values: the caller carries them out and decides nothing."""

from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from klinehub.domain.kline import Exact
from klinehub.feed.use import Use


class BarClosed(NamedTuple):
    """A bar of a timeframe is final: for all live symbols, or for all but the *missing* ones."""

    timeframe: str
    bar: int
    open_time: int
    complete: bool
    missing: tuple[str, ...]


class Revision(NamedTuple):
    """A bar that was announced without this symbol has closed after all."""

    timeframe: str
    bar: int
    symbol: str


class Correction(NamedTuple):
    """A closed bar that was changed: what it was, what it is, why, and when (exchange time in ms)."""

    symbol: str
    timeframe: str
    open_time: int
    old: Exact
    new: Exact
    cause: str
    time: int

    @property
    def record(self) -> str:
        """The same as one line of JSON, to be kept."""
        told = {name: getattr(self, name) for name in ("symbol", "timeframe", "open_time", "cause", "time")}
        bars = {"old": self.old, "new": self.new}
        words = {name: {"row": bar.rows[0].tolist(), "scale": bar.scale} for name, bar in bars.items()}
        return msgspec.json.encode({**told, **words}).decode()


class Fetch(NamedTuple):
    """A range of bars to ask for by REST: *limit* bars from *start* (ms), the newest when it is None."""

    symbol: str
    timeframe: str
    start: int | None
    limit: int
    use: Use = Use.WARM_UP


class Resubscribe(NamedTuple):
    """Subscribe these symbols of a seat anew: their streams are silent."""

    seat: int
    symbols: tuple[str, ...]


class Renew(NamedTuple):
    """Open a new socket for a seat; with *overlap* the old one goes only when the new one is proven."""

    seat: int
    reason: str
    overlap: bool


class Reroute(NamedTuple):
    """Take the next route for a seat: new sockets stay silent on this one."""

    seat: int
    reason: str


Step = Resubscribe | Renew | Reroute


@dataclass(slots=True)
class Decisions:
    """What the shell has to do after one call, in order."""

    closed: list[BarClosed] = field(default_factory=list)
    revised: list[Revision] = field(default_factory=list)
    corrected: list[Correction] = field(default_factory=list)
    fetches: list[Fetch] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    # Symbols that are followed no more, and seats whose socket is about to be shut down.
    left: list[str] = field(default_factory=list)
    leaving: list[int] = field(default_factory=list)
    # When each symbol last traded has to be asked for.
    prices: bool = False
    # The listing has changed and has to be read.
    relist: bool = False

    @property
    def news(self) -> bool:
        """Whether there is something that subscribers are told."""
        return bool(self.closed or self.revised or self.corrected)
