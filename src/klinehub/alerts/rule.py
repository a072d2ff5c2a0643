"""Rules: conditions that somebody is told of when they come to hold, as text and as what is judged."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from klinehub.errors import DefinitionError, UnknownName
from klinehub.factors.expr import Expr, decisive
from klinehub.factors.language import condition
from klinehub.scan.presets import PRESETS, filtered, names, preset
from klinehub.scan.scanner import DEFAULT
from klinehub.scan.screen import Screen

Origin = Literal["file", "board"]
MOST_NAME: Final = 64
MOST_TEXT: Final = 500
MOST_COOLDOWN: Final = 10_000
MOST_SYMBOLS: Final = 2_000
MOST_TARGETS: Final = 64

_Text = Annotated[str, Meta(max_length=MOST_TEXT)]
_Name = Annotated[str, Meta(max_length=MOST_NAME)]
_Symbol = Annotated[str, Meta(min_length=1, max_length=32)]


class RuleText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table `[rules.NAME]`, and what the board sends of a rule: what to be told of, and whom to tell.

    `where` is a condition of the filter language and `screen` the name of a screen, at least one of them;
    with both, both have to hold. A symbol may fire again when `clear` holds, without it when the condition
    no longer does, and not before `cooldown` bars of the `timeframe` have passed. `forming` looks at bars
    that are still open too. Of the default score a hit needs `min_score` and the `side`, where given. `to`
    names targets, all of them without any.
    """

    where: _Text = ""
    screen: _Name = ""
    timeframe: Annotated[str, Meta(max_length=3)] = ""
    symbols: Annotated[tuple[_Symbol, ...], Meta(max_length=MOST_SYMBOLS)] = ()
    clear: _Text = ""
    cooldown: Annotated[int, Meta(ge=0, le=MOST_COOLDOWN)] = 0
    forming: bool = False
    min_score: Annotated[float, Meta(ge=0, le=100)] = 0.0
    side: Literal["", "long", "short"] = ""
    to: Annotated[tuple[_Name, ...], Meta(max_length=MOST_TARGETS)] = ()
    enabled: bool = True


class Rule(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A rule as it is judged: a symbol fires when it comes to be a hit of *screen*.

    It is armed again where *clear* holds, without it where it is no hit any more; *cooldown* is in bars of
    the screen's timeframe. The score of the screen is told with each alert, and decides nothing but by its
    `min_score` and `side`. *to* are names of targets, all of them without any.
    """

    name: str
    screen: Screen
    text: RuleText
    clear: Expr | None = None
    cooldown: int = 0
    forming: bool = False
    to: tuple[str, ...] = ()
    enabled: bool = True
    origin: Origin = "file"

    def __post_init__(self) -> None:
        """Refuse what is no condition, and no closes to look at."""
        if self.clear is not None:
            decisive(self.clear)
        if self.screen.timeframe is None:
            raise DefinitionError(f"{self.name} says no timeframe: name one.")

    @property
    def timeframe(self) -> str:
        """The timeframe that it is judged on."""
        return str(self.screen.timeframe)

    @property
    def hash(self) -> str:
        """Twelve digits that change with what is looked for: such a rule begins anew."""
        screen = self.screen
        looked = (screen.timeframe, screen.symbols, screen.min_score, screen.side, screen.side_from)
        told = repr((repr(screen.where), repr(self.clear), looked, self.forming))
        return hashlib.sha256(told.encode()).hexdigest()[:12]


Base = Callable[[str | None], Screen]


def rule_of(
    name: str, text: RuleText, base: Base, own: Mapping[str, Screen], *, origin: Origin = "file"
) -> Rule:
    """Make a rule of its text; *base* gives the screen of the default score, *own* those of the user.

    Raises DefinitionError for a text that can not be judged, and UnknownName for a screen that is not there.
    """
    if not name.strip() or len(name) > MOST_NAME:
        raise DefinitionError(f"A rule needs a name of 1 to {MOST_NAME} letters.")
    if not text.where and not text.screen:
        raise DefinitionError(f"{name} looks for nothing: give it `where`, `screen` or both.")
    named = _named(text.screen, base, own) if text.screen else Screen(name=name)
    usual = base(text.timeframe or named.timeframe)
    return Rule(
        name=name,
        screen=_screen(named, text, usual),
        text=text,
        clear=condition(text.clear, names(usual.score)) if text.clear else None,
        cooldown=text.cooldown,
        forming=text.forming,
        to=text.to,
        enabled=text.enabled,
        origin=origin,
    )


def _named(name: str, base: Base, own: Mapping[str, Screen]) -> Screen:
    if name == DEFAULT:
        return base(None)
    if name in own:
        return own[name]
    if name not in PRESETS:
        raise UnknownName("screen", name, (*own, *PRESETS, DEFAULT))
    return preset(name)


def _screen(named: Screen, text: RuleText, usual: Screen) -> Screen:
    """Give the screen of a rule, with the default score to be told beside it."""
    timeframe = usual.timeframe
    # The default score reads other timeframes on another one.
    score = named.score if named.score and named.timeframe == timeframe else usual.score
    scored = msgspec.structs.replace(
        named,
        timeframe=timeframe,
        score=score,
        symbols=text.symbols or named.symbols,
        min_score=text.min_score or named.min_score,
        side=text.side or named.side,
        order_by=None,
        top=None,
        cooldown=0,
    )
    return filtered(text.where, scored) if text.where else scored
