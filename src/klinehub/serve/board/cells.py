"""Cells: the numbers of a sheet as JSON, by column.

Values have seven significant digits, which is more than a page shows and half of what floats take in text;
prices and points stay exact.
"""

import asyncio
from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import numpy as np

from klinehub.factors.section import Flags
from klinehub.panel.memory import F64, U8
from klinehub.scan.scanner import Sheet

DIGITS: Final = 7
# Powers of ten that are floats without loss: dividing a whole number by one is rounded once.
_POWERS: Final = np.array([float(f"1e{n}") for n in range(23)])
# What is drawn small has 255 heights; the one above them is for what is not known.
_TOP: Final = 254
_NONE: Final = 255
# Columns that are written before others have their turn: some 0.1 ms each.
_AT_A_TIME: Final = 4


def rounded(values: F64) -> F64:
    """Round to seven significant digits; what is smaller than 1e-16 is left as it is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        places = DIGITS - 1 - np.floor(np.log10(np.abs(values)))
    fits = np.isfinite(places) & (places < _POWERS.size) & (places > -_POWERS.size)
    shift = np.where(fits, places, 0.0).astype(np.int64)
    up, down = _POWERS[np.maximum(shift, 0)], _POWERS[np.maximum(-shift, 0)]
    # A whole number of at most seven digits over, or times, an exact power of ten: the nearest float to it.
    return np.where(fits, np.rint(values * up / down) / up * down, values)


def written(values: F64) -> bytes:
    """Write numbers as a JSON list; what is not known, or has no end, is null."""
    return msgspec.json.encode(values.tolist())


def percent(new: F64, old: F64) -> F64:
    """Give the change from *old* to *new* in percent; NaN where one is not known, or *old* is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        change: F64 = np.where(old > 0.0, (new / old - 1.0) * 100.0, np.nan)
    return change


def rows_of(mask: Flags) -> list[int]:
    """Give the rows where *mask* is set."""
    found: list[int] = np.flatnonzero(mask).tolist()
    return found


async def members(columns: Sequence[tuple[str, F64]]) -> list[bytes]:
    """Write columns as members of a JSON object, a few at a time so that others have their turn."""
    found = []
    for number, (name, values) in enumerate(columns, 1):
        found.append(msgspec.json.encode(name) + b":" + written(values))
        if number % _AT_A_TIME == 0:
            await asyncio.sleep(0)
    return found


async def table(sheet: Sheet, opened: F64, columns: Sequence[str], times: tuple[int, int]) -> bytes:
    """Write all of a `table` message that is the same for everybody: what comes after its `view`.

    *opened* are the opens of the sheet's bar, *columns* those to show, *times* its open and close time (ms).
    """
    facts = {
        "layout": len(sheet.symbols),
        "timeframe": sheet.timeframe,
        "bar": sheet.bar,
        "open_time": times[0],
        "close_time": times[1],
        "forming": sheet.forming,
        "revision": sheet.revision,
        "seconds": float(f"{sheet.seconds:.3g}"),
        "passes": None if sheet.passes is None else sheet.passes.astype(int).tolist(),
        "warming": rows_of(sheet.warming),
        "missing": rows_of(sheet.missing),
    }
    unscored = np.full(len(sheet.symbols), np.nan)
    # Points are multiples of 1/64 and add up to the score exactly: they are not rounded.
    parts = await members(list(sheet.parts.items()))
    values = await members([(name, rounded(sheet.columns[name])) for name in columns])
    return b",".join(
        (
            msgspec.json.encode(facts)[1:-1],
            b'"close":' + written(sheet.close),
            b'"change":' + written(rounded(percent(sheet.close, opened))),
            b'"score":' + written(unscored if sheet.score is None else sheet.score),
            b'"parts":{' + b",".join(parts) + b"}",
            b'"values":{' + b",".join(values) + b"}}",
        )
    )


def heights(values: F64, low: F64) -> Iterator[str]:
    """Give each row [rows, bars] as heights from *low* [rows] to its largest value, in base64.

    A row of which nothing is known is empty.
    """
    known = ~np.isnan(values)
    top = np.where(known, values, -np.inf).max(axis=1)
    span = np.where(top > low, top - low, 1.0)
    with np.errstate(invalid="ignore"):
        scaled = np.rint((values - low[:, None]) / span[:, None] * _TOP)
    drawn: U8 = np.where(known, scaled, float(_NONE)).astype(np.uint8)
    for row, is_known in zip(drawn, known, strict=True):
        yield b64encode(row.tobytes()).decode() if is_known.any() else ""


def spark(closes: F64, volumes: F64) -> bytes:
    """Write all of a `spark` message that is the same for everybody, of values [rows, bars].

    Closes reach from each row's lowest to its highest, volumes from nothing to its largest.
    """
    lowest = np.where(np.isnan(closes), np.inf, closes).min(axis=1)
    facts = {
        "layout": closes.shape[0],
        "bars": closes.shape[1],
        "closes": list(heights(closes, lowest)),
        "volumes": list(heights(volumes, np.zeros(closes.shape[0]))),
    }
    return msgspec.json.encode(facts)[1:]
