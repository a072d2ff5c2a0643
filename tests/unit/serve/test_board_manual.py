"""docs/board.md names what the page keeps in its address, and every key of the page and of the terminal."""

import re
from pathlib import Path
from typing import Final

from textual.binding import Binding

from klinehub.app.terminal.window import Window

ROOT: Final = Path(__file__).resolve().parents[3]
PAGE: Final = (ROOT / "docs" / "board.md").read_text("utf-8")
SCRIPTS: Final = "\n".join(
    path.read_text("utf-8") for path in sorted((ROOT / "src/klinehub/serve/static/js").glob("*.js"))
)
NAMES: Final = {
    "ArrowDown": "↓",
    "ArrowUp": "↑",
    "PageDown": "PgDn",
    "PageUp": "PgUp",
    "Escape": "Esc",
    " ": "Space",
}


def section(title: str) -> str:
    """Give the text under a heading."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def missing(names: set[str], text: str) -> set[str]:
    """Give the names that a text does not have as code."""
    return {name for name in names if f"`{name}`" not in text}


def test_all_of_the_address_is_told() -> None:
    kept = set(re.findall(r'\bdefine\("(\w+)"', SCRIPTS))

    assert {"view", "where", "at", "panes"} <= kept
    assert missing(kept, section("The address")) == set()


def test_every_key_of_the_page_is_told() -> None:
    bound = {NAMES.get(key, key) for key in re.findall(r'\bbind\("([^"]+)", \{', SCRIPTS)}

    assert {"j", "/", "Esc", "?"} <= bound
    assert missing(bound, section("Keys")) == set()


def test_every_key_of_the_terminal_is_told() -> None:
    bound = {one.key_display or one.key for one in Window.BINDINGS if isinstance(one, Binding)} - {"ctrl+c"}

    assert missing(bound, section("In a terminal")) == set()


def test_what_is_not_told_is_caught() -> None:
    assert missing({"a", "b"}, "`a` and b") == {"b"}
