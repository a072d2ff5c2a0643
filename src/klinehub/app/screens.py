"""Screens and rules for held symbols as klinehub.toml has them: text that becomes screens."""

from collections.abc import Mapping
from functools import reduce
from operator import or_

import msgspec

from klinehub.errors import DefinitionError
from klinehub.factors.expr import Expr
from klinehub.factors.language import condition, parse
from klinehub.scan.presets import names
from klinehub.scan.screen import Screen, Side
from klinehub.scan.watch import stop_within, trend_flip, turned, watch


class ScreenText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table `[screens.NAME]`: a screen in the filter language, with `score` beside the default score.

    Its hits are told to the targets that `to` names, to all of them without any.
    """

    timeframe: str | None = None
    where: str | None = None
    columns: Mapping[str, str] = {}
    order_by: str | None = None
    top: int | None = None
    score: bool = False
    min_score: float = 0.0
    side: Side | None = None
    cooldown: int = 0
    symbols: tuple[str, ...] = ()
    to: tuple[str, ...] = ()

    def screen(self, name: str, base: Screen, top: int) -> Screen:
        """Make the screen, with the score of *base* and at most *top* hits; raises DefinitionError."""
        known = names(base.score)
        return Screen(
            name=name,
            timeframe=self.timeframe or base.timeframe,
            where=condition(self.where, known) if self.where else None,
            columns={column: parse(text, known) for column, text in self.columns.items()},
            order_by=parse(self.order_by, known) if self.order_by else None,
            top=self.top or top,
            score=base.score if self.score else (),
            min_score=self.min_score,
            side=self.side,
            cooldown=self.cooldown,
            symbols=self.symbols,
        )


class WatchText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table `[watch.NAME]`: what to be told of held symbols.

    `when` is a condition, `flip` the trend changing its side, `stop` a price that the close comes within
    `ranges` average true ranges of. Each is told when it comes to hold, with `every_bar` as long as it holds,
    to the targets that `to` names, to all of them without any.
    """

    symbols: tuple[str, ...]
    when: str | None = None
    flip: bool = False
    stop: float | None = None
    ranges: float = 2.0
    every_bar: bool = False
    timeframe: str | None = None
    to: tuple[str, ...] = ()

    def screen(self, name: str, base: Screen) -> Screen:
        """Make the rule a screen; raises DefinitionError."""
        found: list[Expr] = [trend_flip()] if self.flip else []
        lasting = [condition(self.when, names(base.score))] if self.when else []
        lasting += [stop_within(self.stop, self.ranges)] if self.stop is not None else []
        found += lasting if self.every_bar else [turned(one) for one in lasting]
        if not found:
            raise DefinitionError(
                f"{name} watches {', '.join(self.symbols)} for nothing: give it `when`, `flip` or `stop`."
            )
        return watch(name, self.symbols, reduce(or_, found), self.timeframe or base.timeframe)
