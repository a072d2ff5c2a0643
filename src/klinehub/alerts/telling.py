"""Telling: what is said of those who fire, and to whom."""

from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from klinehub.alerts.facts import facts_of
from klinehub.alerts.judging import Fire
from klinehub.alerts.outbox import Fired
from klinehub.domain.stale import Stale
from klinehub.domain.timeframe import Timeframe, timeframe
from klinehub.panel.view import PanelView
from klinehub.scan.alerts import Alert, Facts, key_of
from klinehub.scan.copies import Ground
from klinehub.scan.likeness import Likeness
from klinehub.scan.scanner import Universe
from klinehub.scan.schedule import Due
from klinehub.scan.screen import Screen

# Gives the targets of an alert that is addressed to some of them, or to all.
Reach = Callable[[Alert, Sequence[str]], tuple[str, ...]]


class Market(NamedTuple):
    """What rules are decided by: bars by timeframe, and what a hub says of itself; see `Hub`."""

    ground: Ground
    now: Callable[[], int]
    due: Callable[[Collection[str]], AsyncGenerator[tuple[Due, int], None]]
    ahead: Callable[[str, int], PanelView]
    universe: Callable[[], Universe | None]
    stale: Callable[[Iterable[str]], Mapping[str, Stale]]
    pair: Callable[[str], str]
    likeness: Callable[[Screen, float | None], Likeness | None] = lambda *_: None


class Telling:
    """Writes alerts of a *market* down, as *reach* addresses them; none is sent *oldest* ms after its bar."""

    def __init__(self, market: Market, reach: Reach, oldest: int) -> None:
        self._market, self._reach, self._oldest = market, reach, oldest

    def of(
        self,
        fires: Sequence[Fire],
        frame: Timeframe,
        bar: int,
        revision: int = 0,
        views: Mapping[str, PanelView] | None = None,
    ) -> Iterator[Fired]:
        """Say what is told of those who fire at a bar, which is still open where there are *views* of it."""
        if not fires:
            return
        market = self._market
        end = min(frame.close_time(bar) + 1, market.now())
        names = list(dict.fromkeys(fire.hit.symbol for fire in fires))
        facts, stale = (
            facts_of(views or market.ground.panels, frame.name, bar, names, end),
            market.stale(names),
        )
        for fire in fires:
            symbol = fire.hit.symbol
            alert = msgspec.structs.replace(
                alert_of(fire, frame, bar, facts[symbol]),
                pair=market.pair(symbol),
                revision=revision,
                stale=stale[symbol].reason if symbol in stale else None,
                forming=views is not None,
                evidence=market.likeness(fire.rule.screen, fire.hit.score),
            )
            yield self.addressed(alert, fire.rule.to)

    def addressed(self, alert: Alert, to: Sequence[str]) -> Fired:
        """Say where an alert goes, or that it comes too late to go anywhere."""
        frame = timeframe(alert.timeframe)
        age = self._market.now() - frame.close_time(frame.index(alert.bar_open_time))
        return Fired(alert, self._reach(alert, to), "too old" if age > self._oldest else "")


def alert_of(fire: Fire, frame: Timeframe, bar: int, facts: Facts) -> Alert:
    """Write down who fires, but for what only a live market knows."""
    hit, opened = fire.hit, frame.open_time(bar)
    return Alert(
        screen=fire.rule.screen.name,
        symbol=hit.symbol,
        pair=hit.symbol,
        timeframe=frame.name,
        bar_open_time=opened,
        side=hit.side,
        score=hit.score,
        price=hit.price,
        revision=0,
        stale=None,
        contributions=hit.contributions,
        columns=hit.columns,
        rule=fire.rule.name,
        key=key_of(fire.rule.name, hit.symbol, frame.name, opened),
        **facts._asdict(),
    )
