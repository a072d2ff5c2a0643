"""`evidence calibrate`: what came after the hits of screens, written down for live hits to carry."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from klinehub.app import show
from klinehub.app.config import Config
from klinehub.app.evidence import code, horizons_of, percent, screen_of
from klinehub.app.following import own_screens
from klinehub.app.library import data_folder
from klinehub.app.replaying import pool_of, replaying
from klinehub.app.tapes import Past, members_for, past_of, settings_of, tape_for
from klinehub.errors import DataError, DefinitionError, KlinehubError
from klinehub.evidence.calibration import Source, calibration
from klinehub.evidence.members import Members
from klinehub.evidence.pools import Pool
from klinehub.evidence.study import Asked
from klinehub.evidence.tape import Tape
from klinehub.scan.likeness import Bucket, Calibration, Calibrations, middle
from klinehub.scan.scanner import DEFAULT
from klinehub.scan.screen import Screen
from klinehub.settings import HubSettings
from klinehub.store.disk import make, put

FILE: Final = "calibration.json"
# The draws of an interval are the same ones for each screen, whichever others are calibrated with it.
_SEED: Final = 0
_HEADS: Final = ("score", "hits", "days", "bars", "median", "95 % interval", "hit rate")


class _Asked(NamedTuple):
    """What screens are held against: bars from when to when, who was in the universe, over which horizons."""

    tape: Tape
    span: tuple[int, int]
    members: Members
    horizons: tuple[int, ...]
    source: Source
    pool: Pool


def calibrate(given: Mapping[str, Any]) -> None:
    """Calibrate screens, write them beside those that the file has, and print what was found."""
    config = settings_of(given)
    past = past_of(given, config)
    file = _file(given, past)
    screens = chosen(given, past, config)
    with pool_of(given) as pool:
        found = list(_all(screens, _asked(given, config, past, screens, pool), named=bool(given["screens"])))
    known = read_calibrations(file) if file.exists() else Calibrations()
    make(file.parent)
    put(file, msgspec.json.encode(known.merged(found)))
    if given["as_json"]:
        show.document(Calibrations(tuple(found)))
        return
    for one in found:
        tell(one)
    show.out.print(f"written to {file}")


def read_calibrations(file: Path) -> Calibrations:
    """Read what was calibrated; raises DataError for a file that is damaged or can not be read."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Calibrations)
    except OSError as exc:
        raise DataError(f"{file} can not be read ({exc.strerror}): `klinehub evidence calibrate`.") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise DataError(f"{file} holds no calibration ({exc}): delete it, and calibrate again.") from exc


def usual_file(settings: HubSettings) -> Path | None:
    """Give where the calibration of a hub's market is written; None where it keeps nothing on disk."""
    folder = data_folder(settings)
    return None if folder is None else folder / settings.exchange / FILE


def _file(given: Mapping[str, Any], past: Past) -> Path:
    """Give the file that is named, or the one in the folder that bars are read from."""
    if given.get("calibration"):
        return Path(given["calibration"]).expanduser()
    if past.folder is None:
        raise DefinitionError(
            "These bars are in no store of klinehub: say where to write, --calibration FILE."
        )
    return past.folder / FILE


def chosen(given: Mapping[str, Any], past: Past, config: Config) -> list[Screen]:
    """Give the screens that are named, or the default score and the user's own that the data can give."""
    if given["screens"]:
        return [screen_of(name, past, given, config) for name in given["screens"]]
    found = [screen_of(DEFAULT, past, given, config)]
    for screen in own_screens(config):
        if screen.timeframe in past.frames:
            found.append(screen)
        else:
            _leave_out(screen, f"{screen.timeframe} bars are none of {', '.join(past.frames)}.")
    return found


def _leave_out(screen: Screen, why: object) -> None:
    """Say why a screen that nobody named is not calibrated."""
    show.err.print(f"{screen.name} is left out: {why}", style="yellow")


def _asked(
    given: Mapping[str, Any], config: Config, past: Past, screens: Sequence[Screen], pool: Pool
) -> _Asked:
    """Read what screens are to be held against."""
    tape, start, end = tape_for(past, screens, given)
    members = members_for(given, config, tape, (start, end))
    horizons = Asked(horizons_of(given)).checked().horizons
    source = Source(code(), time.time_ns() // 1_000_000)
    return _Asked(tape, (start, end), members, horizons, source, pool)


def _all(screens: Sequence[Screen], asked: _Asked, *, named: bool) -> Iterator[Calibration]:
    """Calibrate screens; one that nobody *named* is left out where that can not be done."""
    for screen in screens:
        try:
            yield _calibrated(screen, asked)
        except KlinehubError as exc:
            if named or screen.name == DEFAULT:
                raise
            _leave_out(screen, exc)


def _calibrated(screen: Screen, asked: _Asked) -> Calibration:
    """Calibrate one screen with a bar of progress on stderr."""
    with replaying(screen, asked.tape, asked.span) as progress:
        return calibration(
            *(screen, asked.tape, *asked.span),
            horizons=asked.horizons,
            members=asked.members,
            source=asked.source,
            rng=np.random.default_rng(_SEED),
            pool=asked.pool,
            progress=progress,
        )


def tell(found: Calibration) -> None:
    """Print a calibration as a table: a line for each part of the scores, at the middle horizon."""
    show.out.print(
        f"{found.screen}  {found.timeframe}, {found.symbols} symbols, {show.span(found.start, found.end)}"
    )
    table = Table(box=SIMPLE_HEAD)
    for name in _HEADS:
        table.add_column(name, justify="right")
    for bucket in reversed(found.buckets):
        table.add_row(*_row(bucket))
    show.out.print(table)


def _row(bucket: Bucket) -> tuple[str, ...]:
    one = middle(bucket.outcomes)
    ends = ("..." if end is None else f"{end:.4g}" for end in (bucket.low, bucket.high))
    span = "" if one.interval is None else "{:+.3%} to {:+.3%}".format(*one.interval)
    return (
        " to ".join(ends),
        f"{bucket.n:,}",
        f"{bucket.days:,}",
        str(one.bars),
        percent(one.median, 3),
        span,
        percent(one.hit_rate, 1, sign=False),
    )
