"""Wishes: what the user wants to see, and the view of the hub that shows it."""

import re
from typing import Final

import msgspec

from klinehub.app.terminal.board import OWN, Sort
from klinehub.errors import UnknownName
from klinehub.serve.board.messages import Hello, Preset, ViewAsked

_BRACKETS: Final = {"(": 1, ")": -1}


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for; what is None is left to the preset, or to the hub."""

    timeframe: str | None = None
    where: str = ""
    columns: tuple[str, ...] | None = None
    preset: str | None = None
    sort: Sort | None = None

    def chosen(self, hello: Hello) -> Preset | None:
        """Give the preset that is asked for; raises UnknownName for one that the hub does not have."""
        if self.preset is None:
            return None
        known = {one.name: one for one in hello.presets}
        if self.preset not in known:
            raise UnknownName("preset", self.preset, known)
        return known[self.preset]

    def sorting(self, hello: Hello) -> Sort:
        """Give what is sorted by."""
        preset = self.chosen(hello)
        if self.sort is not None:
            return self.sort
        return Sort() if preset is None or preset.order_by is None else ordered(preset.order_by)

    def condition(self, hello: Hello) -> tuple[str, int]:
        """Give the whole filter, and where in it the user's own begins."""
        preset = self.chosen(hello)
        if preset is None or not preset.where or not self.where:
            return self.where or ("" if preset is None else preset.where), 0
        before = f"({preset.where}) and ("
        return f"{before}{self.where})", len(before)

    def shown(self, hello: Hello) -> tuple[str, ...]:
        """Give the texts of the columns, with that of the sort where it is none of the board's own."""
        usual = next((one.columns for one in hello.presets if one.kind == "score"), ())
        preset = self.chosen(hello)
        texts = self.columns
        if texts is None:
            texts = tuple(usual if preset is None else preset.columns)
        key = self.sorting(hello).key
        return tuple(dict.fromkeys(text for text in (*texts, key) if text not in OWN))

    def wish(self, hello: Hello, number: int) -> ViewAsked:
        """Give the view to ask for; raises UnknownName for what the hub does not have."""
        frame = self.timeframe or hello.default
        if frame not in hello.timeframes:
            raise UnknownName("timeframe of the hub", frame, hello.timeframes)
        where, _ = self.condition(hello)
        return ViewAsked(id=number, timeframe=frame, columns=self.shown(hello), where=where)


def ordered(text: str) -> Sort:
    """Read what a screen is ordered by, smallest first: `-rsi` is `rsi`, largest first."""
    negative = re.fullmatch(r"-\s*(\w+|\w*\(.*\))", text.strip(), re.DOTALL)
    if negative is None or not _one_bracket(negative[1]):
        return Sort(text.strip(), descending=False)
    return Sort(negative[1], descending=True)


def _one_bracket(text: str) -> bool:
    """Whether a text's first bracket, if it has one, closes at its end."""
    depth = 0
    for place, char in enumerate(text):
        depth += _BRACKETS.get(char, 0)
        if char == ")" and depth == 0:
            return place == len(text) - 1
    return True


def listed(text: str) -> tuple[str, ...]:
    """Split `rsi, zscore(rsi, age > 1d)` at the commas outside of brackets."""
    parts, depth = [""], 0
    for char in text:
        depth += _BRACKETS.get(char, 0)
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return tuple(part.strip() for part in parts if part.strip())
