"""Texts: what messages say, in each language, one file of `lang` for each."""

import json
from functools import cache
from importlib import resources
from typing import Final, NamedTuple

LANGUAGES: Final = ("en", "zh")


class Texts(NamedTuple):
    """All texts of a language by their keys."""

    by_key: dict[str, str]

    def __call__(self, key: str, **words: object) -> str:
        """Give a text with its words filled in; what words hold is taken as it is."""
        return self.by_key[key].format_map(words)


@cache
def texts(language: str) -> Texts:
    """Read the texts of one of LANGUAGES."""
    file = resources.files("klinehub.alerts").joinpath("lang", f"{language}.json")
    return Texts(json.loads(file.read_text("utf-8")))
