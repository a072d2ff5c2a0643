"""Tapes: the past that a study reads, from a store of klinehub or from files that somebody recorded."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from klinehub.app import options, show
from klinehub.app.config import Config, listed
from klinehub.app.importing import FOLDERS
from klinehub.app.library import data_folder
from klinehub.app.stored import Stored, between, markets
from klinehub.app.stored import open as open_store
from klinehub.domain.timeframe import TIMEFRAMES, Timeframe, in_order
from klinehub.domain.timeframe import timeframe as timeframe_of
from klinehub.errors import DefinitionError
from klinehub.evidence.members import Listed, Members, Told
from klinehub.evidence.reconstruct import HOW, changes_by_rules
from klinehub.evidence.recorded import Recorded, files_of, recorded
from klinehub.evidence.replay import range_of
from klinehub.evidence.tape import FILES, STORE, Payments, Tape, built, tape_of
from klinehub.feed.archive_names import Kind
from klinehub.feed.archive_series import COLUMNS
from klinehub.feed.venue import COINM
from klinehub.scan.lines import read_lines
from klinehub.scan.scanner import rows_of
from klinehub.scan.screen import Screen
from klinehub.scan.universe_history import Change
from klinehub.store.objects import is_address
from klinehub.store.series import SeriesStore

# What lies above a timeframe that comes alone, so that trends have a larger one to be held against.
_ABOVE: Final = {"1m": "15m", "5m": "1h", "15m": "1h", "30m": "4h", "1h": "4h", "2h": "12h", "4h": "1d"}
_HOUR: Final = timeframe_of("1h")
_RATE: Final = "last_funding_rate"


class Past(NamedTuple):
    """Where bars are read from: the timeframes that can be had, and what nobody recorded."""

    source: Stored | Recorded
    frames: tuple[str, ...]
    unavailable: frozenset[str]
    folder: Path | None = None


def settings_of(given: Mapping[str, Any]) -> Config:
    """Read the settings of a study: what it calls data, timeframe and universe are no settings of a hub."""
    return options.settings({**given, **dict.fromkeys(("data", "timeframe", "universe"))})


_VOLUMES: Final = frozenset({"volume", "quote_volume", "taker_base", "taker_quote"})


def past_of(given: Mapping[str, Any], config: Config) -> Past:
    """Open what --data names, by default the store of the settings; raises DefinitionError."""
    named = given.get("data")
    if named and is_address(named):
        return _past_in(open_store(named, given.get("market")), given, config)
    elsewhere = config.hub.history_path if given.get("history") or not named else ""
    path = Path(named).expanduser() if named else data_folder(config.hub)
    if path is None:
        raise DefinitionError("There is no history to look at: name a data folder or files, --data PATH.")
    if not path.exists() and not elsewhere:
        raise DefinitionError(
            f"There is nothing at {path}: `klinehub download` fetches history, or name files."
        )
    there = markets(path, elsewhere)
    if not there and files_of(path):
        with show.doing(f"reading {path.name}"):
            found = recorded(path)
        frames = _frames([found.bars.timeframe], _wanted(given), config)
        return Past(found, frames, found.unavailable)
    store = open_store(path, given.get("market"), history=elsewhere)
    return _past_in(store, given, config, there.get(store.market))


def _wanted(given: Mapping[str, Any]) -> Sequence[str] | None:
    return listed(given["timeframes"]) if given.get("timeframes") else None


def _past_in(store: Stored, given: Mapping[str, Any], config: Config, folder: Path | None = None) -> Past:
    """Give what is kept in a store, beside whose bars the *folder* of its market may hold funding."""
    kept = [timeframe_of(name) for name in store.timeframes]
    # A store keeps contracts and coins as they were told, and not how many dollars a contract was.
    strange = _VOLUMES if store.market == COINM.name else frozenset[str]()
    return Past(store, _frames(kept, _wanted(given), config), strange, folder)


def _frames(kept: Sequence[Timeframe], wanted: Sequence[str] | None, config: Config) -> tuple[str, ...]:
    """Give the timeframes to work with: those wanted, or those of the settings that can be had."""
    can = [
        frame
        for frame in TIMEFRAMES.values()
        if frame in kept or any(frame.holds(one) and not frame.monthly for one in kept)
    ]
    if wanted is not None:
        for frame in in_order(tuple(wanted)):
            if frame not in can:
                raise DefinitionError(
                    f"{frame.name} bars can not be had: {', '.join(one.name for one in can)} can."
                )
        return tuple(frame.name for frame in in_order(tuple(wanted)))
    usual = [frame for frame in in_order(config.hub.timeframes) if frame in can]
    found = usual or [kept[0]]
    above = _ABOVE.get(found[0].name)
    if len(found) == 1 and above is not None and timeframe_of(above) in can:
        found.append(timeframe_of(above))
    return tuple(frame.name for frame in found)


def tape_for(past: Past, screens: Sequence[Screen], given: Mapping[str, Any]) -> tuple[Tape, int, int]:
    """Read what *screens* need of the past; gives the tape and the range in ms UTC."""
    start, end = between(given.get("start"), given.get("end"))
    if isinstance(past.source, Recorded):
        found = past.source
        tape = tape_of(
            [found.bars], past.frames, FILES, unavailable=found.unavailable, estimated=found.estimated
        )
        return tape, start, end
    rows: dict[str, int] = {}
    for screen in screens:
        for name, bars in rows_of(screen, past.frames).items():
            rows[name] = max(rows.get(name, 0), bars)
        rows.setdefault(screen.timeframe or past.frames[0], 0)
    with show.doing("reading the store"):
        panels = [
            past.source.panel(name, max(0, start - bars * timeframe_of(name).milliseconds), end)
            for name, bars in rows.items()
        ]
    tape = tape_of(panels, [], STORE)
    return tape._replace(funding=_funding(past.folder, tape.base.symbols)), start, end


def _funding(folder: Path | None, symbols: Sequence[str]) -> dict[str, Payments]:
    """Give what was imported of funding, by symbol."""
    place = None if folder is None else folder / FOLDERS[Kind.FUNDING]
    if place is None or not place.is_dir():
        return {}
    series = SeriesStore(place, COLUMNS[Kind.FUNDING])
    found = {}
    for symbol in symbols:
        table = series.read(symbol, 0, 2**62)
        rates = [
            (time, float(rate))
            for time, rate in zip(table.times, table.columns[_RATE], strict=True)
            if rate is not None
        ]
        if rates:
            found[symbol] = Payments(
                np.array([time for time, _ in rates]), np.array([rate for _, rate in rates])
            )
    return found


def members_for(given: Mapping[str, Any], config: Config, tape: Tape, span: tuple[int, int]) -> Members:
    """Say who was in the universe: by a hub's record, by the settings' rules, or everybody who traded."""
    if given.get("universe_record"):
        path = Path(given["universe_record"])
        changes = read_lines(path, Change)
        if not changes:
            raise DefinitionError(f"{path} records no universe: a hub with `universe.record` writes it.")
        return Told(changes, f"as a hub recorded it in {path.name}")
    if given.get("universe") != "rules":
        return Listed()
    base = tape.base
    if base.timeframe.milliseconds > _HOUR.milliseconds:
        raise DefinitionError(f"The rules look at hours, and the data has {base.timeframe.name} bars.")
    hours = tape.panels.get(_HOUR.name) or built(base, _HOUR)
    first, last = range_of(hours, *span)
    with show.counting("choosing the universe", last - first + 1, _HOUR.name) as progress:
        changes = changes_by_rules(config.hub.rules, hours, first, last, tape.listed, progress=progress)
    return Told(changes, HOW)
