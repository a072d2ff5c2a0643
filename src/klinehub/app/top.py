"""`top`: the board of a running hub in this terminal, or once as text."""

import random
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Final

from klinehub.app import options, show
from klinehub.app.config import Config
from klinehub.app.following import base_screen
from klinehub.app.terminal.board import Sort
from klinehub.app.terminal.client import BoardClient, Place, place_of
from klinehub.app.terminal.plain import document, filled, ranking
from klinehub.app.terminal.vocabulary import Vocabulary
from klinehub.app.terminal.watched import Watched
from klinehub.app.terminal.wishes import Wishes, listed
from klinehub.errors import DefinitionError
from klinehub.scan.presets import names
from klinehub.serve.guard import secret_of

WATCHED: Final = "watched.txt"


async def top(given: Mapping[str, Any]) -> None:
    """Show the board until it is left, or print it once."""
    config = options.settings({**given, "timeframe": None})
    # The window is drawn on stderr.
    is_terminal = all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))
    once = given["once"] or given["as_json"] or not is_terminal
    if not once and find_spec("textual") is None:
        raise DefinitionError(
            "The board in a terminal needs textual: pip install 'klinehub[top]', or print it once by --once."
        )
    wishes = _wishes(given)
    async with BoardClient(_place(given, config), random.random) as client:
        if once:
            await _print(client, wishes, given, config)
        else:
            await _follow(client, wishes, given, config)


def _wishes(given: Mapping[str, Any]) -> Wishes:
    return Wishes(
        timeframe=given["timeframe"],
        where=given["where"] or "",
        columns=None if given["columns"] is None else listed(given["columns"]),
        preset=given["preset"],
        sort=None if given["sort"] is None else Sort.of(given["sort"]),
    )


def _place(given: Mapping[str, Any], config: Config) -> Place:
    """Give where the hub is asked: at the address that is given, else at this machine's door."""
    return Place(options.door()) if given["url"] is None else place_of(given["url"], secret_of(config.serve))


async def _print(client: BoardClient, wishes: Wishes, given: Mapping[str, Any], config: Config) -> None:
    board = await filled(client, wishes)
    if board.hello is None:
        return
    sort = wishes.sorting(board.hello)
    if given["as_json"]:
        show.document(document(board, sort, given["top"]))
        return
    width = show.out.width if show.out.is_terminal else None
    for line in ranking(board, sort, config.top, show.zone(config.tz), width):
        show.out.print(line, soft_wrap=True)


async def _follow(client: BoardClient, wishes: Wishes, given: Mapping[str, Any], config: Config) -> None:
    # The library that draws is an extra, and slow to load.
    from klinehub.app.terminal.window import Window

    vocabulary = Vocabulary(names(base_screen(config).score))
    watched = Watched(options.data_home() / WATCHED)
    app = Window(client, wishes, vocabulary, watched, show.zone(config.tz), palette=given["palette"])
    await app.run_async()
    if app.failure is not None:
        raise app.failure
    if app.interrupted:
        raise KeyboardInterrupt
