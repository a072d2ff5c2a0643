"""Palettes: the colours of the board in a terminal, dark and light."""

from typing import Final, NamedTuple

from rich.style import Style
from textual.theme import Theme

from klinehub.errors import UnknownName


class Shade(NamedTuple):
    """The colours of one brightness: grounds, text, and what is muted, warned of and pointed at."""

    ground: str
    strip: str
    chosen: str
    text: str
    dim: str
    warn: str
    accent: str


class Moves(NamedTuple):
    """The colours of rising and falling, as text and as a ground for what has just moved."""

    up: str
    down: str
    rose: str
    fell: str


_SHADES: Final = {
    True: Shade("#0e1116", "#171c24", "#24324a", "#d6dce4", "#8b95a3", "#d9b34a", "#5aa9f5"),
    False: Shade("#ffffff", "#eef1f4", "#d3e3f6", "#1c2127", "#5b6570", "#865e00", "#0b62b8"),
}
_GREEN_RED: Final = {
    True: Moves("#44b884", "#ef6f6f", "#14432d", "#522425"),
    False: Moves("#0a7346", "#bd2b39", "#bfecd4", "#f8cfd0"),
}
_BLUE_ORANGE: Final = {
    True: Moves("#5aa9f5", "#f0a04b", "#153a60", "#57370f"),
    False: Moves("#0b62b8", "#9c5300", "#c5e0fa", "#fbdcb8"),
}
_PALETTES: Final = {
    "green-red": _GREEN_RED,
    "red-green": {dark: Moves(m.down, m.up, m.fell, m.rose) for dark, m in _GREEN_RED.items()},
    "blue-orange": _BLUE_ORANGE,
}
PALETTES: Final = tuple(_PALETTES)


class Look(NamedTuple):
    """Styles: of texts by their tone, of the table's ground and head, and of the line that is chosen."""

    tones: dict[str, Style]
    ground: Style
    head: Style
    chosen: Style


def look(palette: str, *, dark: bool) -> Look:
    """Give the styles of a palette; raises UnknownName for one that does not exist."""
    if palette not in _PALETTES:
        raise UnknownName("palette", palette, PALETTES)
    shade, moves = _SHADES[dark], _PALETTES[palette][dark]
    tones = {
        "": Style(color=shade.text),
        "strong": Style(color=shade.text, bold=True),
        "up": Style(color=moves.up),
        "down": Style(color=moves.down),
        "rose": Style(color=moves.up, bgcolor=moves.rose),
        "fell": Style(color=moves.down, bgcolor=moves.fell),
        "dim": Style(color=shade.dim),
        "warn": Style(color=shade.warn),
        "accent": Style(color=shade.accent),
    }
    return Look(
        tones,
        Style(color=shade.text, bgcolor=shade.ground),
        Style(color=shade.dim, bgcolor=shade.strip),
        Style(bgcolor=shade.chosen),
    )


def theme(*, dark: bool) -> Theme:
    """Give the theme of the parts around the table."""
    shade = _SHADES[dark]
    return Theme(
        name=theme_name(dark=dark),
        primary=shade.accent,
        warning=shade.warn,
        error=_GREEN_RED[dark].down,
        foreground=shade.text,
        background=shade.ground,
        surface=shade.strip,
        panel=shade.strip,
        dark=dark,
        variables={
            "footer-background": shade.strip,
            "footer-key-foreground": shade.accent,
            "footer-description-foreground": shade.dim,
            "scrollbar": shade.dim,
            "scrollbar-background": shade.strip,
        },
    )


def theme_name(*, dark: bool) -> str:
    """Name the theme."""
    return "klinehub-dark" if dark else "klinehub-light"
