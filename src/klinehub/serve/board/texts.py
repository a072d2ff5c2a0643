"""Texts in the filter language that are asked about: their values bar by bar, and what is wrong with one."""

from typing import Final

from klinehub.errors import DefinitionError
from klinehub.hub import Hub
from klinehub.scan.screen import Screen
from klinehub.serve.answers import Checked, Series
from klinehub.serve.board.messages import MOST_COLUMNS
from klinehub.serve.board.questions import expression
from klinehub.serve.queries import CheckQuery, SeriesQuery
from klinehub.serve.routes import NotAnswered, given
from klinehub.serve.scan_desk import ScanDesk

# What stands between columns: no expression has it.
BETWEEN: Final = ";"


async def series(hub: Hub, desk: ScanDesk, query: SeriesQuery) -> Series:
    """Give expressions of one symbol at each of its last closed bars."""
    panel = hub.panel(query.timeframe)
    panel.row(query.symbol)
    texts = list(dict.fromkeys(text.strip() for text in query.columns.split(BETWEEN) if text.strip()))
    if not 1 <= len(texts) <= MOST_COLUMNS:
        raise DefinitionError(f"{len(texts)} columns: give 1 to {MOST_COLUMNS}, with `;` between them.")
    base = hub.scanning.base(query.timeframe)
    columns = {text: expression(hub, base, text, decides=False) for text in texts}
    screen = Screen(name="series", timeframe=query.timeframe, columns=columns)
    frame, last = panel.timeframe, panel.closed_bar
    if query.end:
        last = min(last, frame.index(query.end - 1))
    found = await desk.beside(lambda: hub.scanning.sheets.series(screen, query.symbol, last, query.limit))
    return Series(
        symbol=query.symbol,
        timeframe=frame.name,
        open_time=[frame.open_time(bar) for bar in range(last - query.limit + 1, last + 1)],
        values={text: values.tolist() for text, values in found.items()},
    )


async def check(hub: Hub, desk: ScanDesk, query: CheckQuery) -> Checked:
    """Say whether texts can be read, what is wrong with the first that can not, and how many pass now."""
    where, column = given(query.where), given(query.column)
    base = hub.scanning.base(given(query.timeframe))
    try:
        if column is not None:
            expression(hub, base, column, decides=False)
        if where is None:
            return Checked(ok=column is not None, message="" if column else "Give `where` or `column`.")
        condition = expression(hub, base, where, decides=True)
    except DefinitionError as exc:
        return Checked(ok=False, message=str(exc), place=exc.place)
    screen = Screen(name="check", timeframe=base.timeframe, where=condition, top=1)
    try:
        hits = (await desk.scan(screen)).result.signals_found
    except NotAnswered:
        # Too much is asked for at once: the text is right all the same.
        return Checked(ok=True)
    return Checked(ok=True, hits=hits)
