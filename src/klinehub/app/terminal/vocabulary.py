"""The vocabulary of the filter box: checks a text as it is typed, and completes its last word."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from klinehub.errors import DefinitionError
from klinehub.factors.define import Factor
from klinehub.factors.functions import RESERVED
from klinehub.factors.language import condition
from klinehub.serve.board.messages import Wrong

# The shortest piece of a word that is worth a guess.
_LEAST: Final = 2
_LAST: Final = re.compile(r"[^\W\d]\w*$")


class Vocabulary:
    """Knows the words of the filter language with these *factors* by name."""

    def __init__(self, factors: Mapping[str, Factor]) -> None:
        self._factors = factors
        # The shortest first: what is usual is short.
        self._words = sorted({*factors, *RESERVED}, key=lambda word: (len(word), word))

    def wrong(self, text: str) -> Wrong | None:
        """Say what is wrong with a filter; nothing is with an empty one."""
        if not text.strip():
            return None
        try:
            condition(text, self._factors)
        except DefinitionError as exc:
            return Wrong(str(exc), exc.place)
        return None

    def completed(self, text: str, timeframes: Sequence[str] = ()) -> str | None:
        """Give the text with its last word completed, None where there is nothing to add."""
        found = _LAST.search(text)
        if found is None or len(found.group()) < _LEAST:
            return None
        piece = found.group()
        name, _, frame = piece.rpartition("_")
        framed = [f"{name}_{one}" for one in timeframes] if name in self._factors and frame else []
        for word in (*self._words, *framed):
            if word.startswith(piece) and word != piece:
                return text + word[len(piece) :]
        return None
