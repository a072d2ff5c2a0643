"""What a hub announces, held against what it may announce: each bar once, in order, after its end."""

from typing import TYPE_CHECKING

from klinehub.feed.decisions import BarClosed
from klinehub.sim.oracle import SETTLED, Divergence, Truth

if TYPE_CHECKING:
    from klinehub.hub import Hub


class Announced:
    """Judges the closes of one hub, in the order in which a subscriber got them."""

    def __init__(self, hub: "Hub", truth: Truth) -> None:
        self.hub = hub
        self.truth = truth
        self._last: tuple[int, int] = (0, 0)
        self._bars: dict[str, int] = {}

    def take(self, event: BarClosed, now: int) -> list[Divergence]:
        """Give what is wrong with one announcement that arrives at exchange time *now* (ms)."""
        frame = self.hub.panel(event.timeframe).timeframe
        end = frame.open_time(event.bar + 1)
        before, order = self._bars.get(frame.name), (end, -frame.milliseconds)
        wrong = []
        if end > now:
            wrong.append(("I2", "announced before its end"))
        if before is not None and event.bar <= before:
            wrong.append(("close", "announced twice"))
        elif before is not None and event.bar > before + 1:
            wrong.append(("close", f"announced after {event.bar - before - 1} bars that were not"))
        elif order <= self._last:
            wrong.append(("close", "announced out of order"))
        lacking = self._lacking(event, now) if event.complete else ""
        if lacking:
            wrong.append(("close", f"announced as complete without {lacking}"))
        self._bars[frame.name] = max(event.bar, before or 0)
        self._last = max(self._last, order)
        return [
            Divergence(kind, "", frame.name, frame.open_time(event.bar), detail, now)
            for kind, detail in wrong
        ]

    def _lacking(self, event: BarClosed, now: int) -> str:
        """Name a symbol that lacks a bar announced as complete; one that has just been listed may."""
        panel = self.hub.panel(event.timeframe)
        frame = panel.timeframe
        for symbol in self.truth.trading(now, since=frame.milliseconds + 60_000):
            if symbol not in panel.symbols or panel.exact(symbol, start=event.bar, end=event.bar).rows.size:
                continue
            if self.truth.bars(symbol, frame, event.bar, event.bar, now):
                return symbol
        return ""

    def untold(self, since: int, now: int) -> list[Divergence]:
        """Give the timeframes of which a bar that ended between *since* and *now* was not announced."""
        found = []
        for frame in self.hub.timeframes:
            bar = frame.index(now - SETTLED) - 1
            if frame.close_time(bar) > since and self._bars.get(frame.name, -1) < bar:
                time = frame.open_time(bar)
                found.append(Divergence("close", "", frame.name, time, "never announced", now))
        return found
