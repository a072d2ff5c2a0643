"""Plots: what each picture of a report is made of, drawn on a figure that the canvas gives.

Curves that share a plot differ in style or marks too, and blue and orange are told apart by every eye.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.ticker import PercentFormatter

from klinehub.evidence.canvas import COLOURS, LINES
from klinehub.evidence.result import Event, Group, Horizon, Span
from klinehub.evidence.series import Calendar, Equity, Rolling
from klinehub.panel.memory import I64

MARKS: Final = "osD^vP"
# How strongly a day is coloured, by parts of the largest gain or loss that is told apart.
STRENGTHS: Final = (0.2, 0.45, 0.7, 1.0)
_ROW: Final = 22
_FOOT: Final = 44
_MOST_ROWS: Final = 14


def colour_of(place: int) -> int:
    """Give which of LINES the screen at a *place* has."""
    return place % len(LINES)


def mark_of(place: int) -> int:
    """Give which of MARKS it has: another one when the colours begin anew."""
    return (place + place // len(LINES)) % len(MARKS)


def rolling(figure: Figure, found: Rolling) -> None:
    """Draw a rolling mean with its interval as a band."""
    axes = figure.add_subplot()
    _times(axes)
    axes.fill_between(_dates(found.times), found.lows, found.highs, color=COLOURS["accent"], alpha=0.18, lw=0)
    axes.plot(_dates(found.times), found.means, color=COLOURS["accent"])
    _zero(axes)
    axes.set_ylabel("rank IC")


def decay(figure: Figure, screens: Sequence[Sequence[Horizon]]) -> None:
    """Draw the rank IC of each horizon with its interval, of one screen or of several side by side."""
    axes = figure.add_subplot()
    labels = sorted({one.bars for horizons in screens for one in horizons})
    for place, horizons in enumerate(screens):
        shift = 0.12 * (place - (len(screens) - 1) / 2.0)
        xs = [labels.index(one.bars) + shift for one in horizons]
        colour = LINES[colour_of(place)] if len(screens) > 1 else COLOURS["accent"]
        means = [_known(one.rank_ic) for one in horizons]
        axes.plot(xs, means, color=colour, lw=1, alpha=0.6)
        for x, one in zip(xs, horizons, strict=True):
            _whisker(axes, x, one.rank_ic, one.rank_ic_interval, colour, MARKS[mark_of(place)])
    _zero(axes)
    axes.set_xticks(range(len(labels)), [str(bars) for bars in labels])
    axes.set_xlabel("horizon, bars")
    axes.set_ylabel("rank IC")


def quantiles(figure: Figure, values: Sequence[float | None]) -> None:
    """Draw the mean return of each quantile as a bar with its figure at the end."""
    axes = figure.add_subplot()
    heights = [value or 0.0 for value in values]
    colours = [COLOURS["gain" if height >= 0.0 else "loss"] for height in heights]
    axes.bar(range(len(values)), heights, color=colours, width=0.72)
    for x, (value, height) in enumerate(zip(values, heights, strict=True)):
        text = "not known" if value is None else f"{value:+.3%}"
        axes.annotate(
            text,
            (x, height),
            xytext=(0, 3 if height >= 0.0 else -3),
            textcoords="offset points",
            ha="center",
            va="bottom" if height >= 0.0 else "top",
            fontsize=9.5 if len(values) <= 6 else 7,
        )
    _zero(axes)
    axes.margins(y=0.15)
    last = len(values) - 1
    names = [{0: "lowest", last: "highest"}.get(x, str(x + 1)) for x in range(len(values))]
    axes.set_xticks(range(len(values)), names)
    axes.set_xlabel("scores, by quantile")
    _percents(axes, 2)


def equity(figure: Figure, found: Equity) -> None:
    """Draw summed gains before and after costs, and below them the drawdown."""
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.2))
    dates = _dates(found.times)
    for values, name, style, colour in (
        (found.gross, "before costs", "--", COLOURS["muted"]),
        (found.net, "after costs", "-", COLOURS["accent"]),
    ):
        above.plot(dates, values, color=colour, ls=style, label=name)
    above.legend(loc="best")
    below.fill_between(dates, found.drawdown, 0.0, color=COLOURS["loss"], alpha=0.35, lw=0)
    below.set_ylabel("drawdown")
    for axes in (above, below):
        _times(axes)
        _percents(axes)
        _zero(axes)


def equities(figure: Figure, found: Sequence[Equity]) -> None:
    """Draw the gains after costs of several screens."""
    axes = figure.add_subplot()
    for place, one in enumerate(found):
        dates = _dates(one.times)
        every = max(1, dates.size // 6)
        axes.plot(
            dates, one.net, color=LINES[colour_of(place)], marker=MARKS[mark_of(place)], markevery=every, ms=5
        )
    _times(axes)
    _percents(axes)
    _zero(axes)


def calendar(figure: Figure, found: Calendar) -> None:
    """Draw days as a heat of gains and losses."""
    axes = figure.add_subplot()
    strength = np.ceil(np.minimum(np.abs(found.gains) / found.most, 1.0) * len(STRENGTHS))
    for level, alpha in enumerate(STRENGTHS, 1):
        for colour, side in (("gain", found.gains > 0.0), ("loss", found.gains < 0.0)):
            at = side & (strength == level)
            if at.any():
                cells = [
                    _cell(row, column) for row, column in zip(found.rows[at], found.columns[at], strict=True)
                ]
                shape = Outline.make_compound_path(*cells)
                axes.add_patch(PathPatch(shape, fc=COLOURS[colour], ec="none", alpha=alpha))
    axes.set_xlim(-0.5, len(found.heads) - 0.5)
    axes.set_ylim(len(found.names) - 0.5, -0.5)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    every = 1 if len(found.heads) < 10 else 5
    axes.set_xticks(range(every - 1, len(found.heads), every), found.heads[every - 1 :: every])
    step = 1 + (len(found.names) - 1) // _MOST_ROWS
    axes.set_yticks(range(0, len(found.names), step), found.names[::step])


def _cell(row: int, column: int) -> Outline:
    """Give a day's square."""
    left, right, top, bottom = column - 0.44, column + 0.44, row - 0.42, row + 0.42
    return Outline([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)], closed=True)


def calendar_height(found: Calendar) -> int:
    """Give the height of a calendar, by its rows."""
    return _FOOT + _ROW * min(max(len(found.names), 3), _MOST_ROWS)


def paths(figure: Figure, events: Sequence[Event]) -> None:
    """Draw the mean path of prices around the hits of each side."""
    axes = figure.add_subplot()
    for one in events:
        colour, style = (COLOURS["gain"], "-") if one.side == "long" else (COLOURS["loss"], "--")
        means = [_known(mean) for mean in one.path]
        axes.plot(one.offsets, means, color=colour, ls=style, label=f"{one.side}, {one.hits:,} hits")
    axes.axvline(0.0, color=COLOURS["muted"], lw=0.9, ls=":")
    _zero(axes)
    axes.legend(loc="best")
    axes.set_xlabel("bars from the open after the hit")
    _percents(axes, 2)


def hours(figure: Figure, groups: Sequence[Group]) -> None:
    """Draw the rank IC of each hour with its interval."""
    axes = figure.add_subplot()
    for x, one in enumerate(groups):
        _whisker(axes, x, one.rank_ic, one.rank_ic_interval, COLOURS["accent"], "o")
    _zero(axes)
    every = 1 if len(groups) <= 8 else 3
    axes.set_xticks(range(0, len(groups), every), [one.name[:2] for one in groups[::every]])
    axes.set_xlabel("hour of the close, UTC")
    axes.set_ylabel("rank IC")


def parts(figure: Figure, blocks: Sequence[Sequence[tuple[str, Group]]]) -> None:
    """Draw the rank IC of parts below one another, in blocks, each with its name and its interval."""
    axes = figure.add_subplot()
    ticks, names, y = [], [], 0.0
    for block in blocks:
        for name, one in block:
            _whisker(axes, y, one.rank_ic, one.rank_ic_interval, COLOURS["accent"], "o", lying=True)
            ticks.append(y)
            names.append(name)
            y += 1.0
        y += 0.6
    axes.axvline(0.0, color=COLOURS["muted"], lw=0.9)
    axes.set_yticks(ticks, names)
    axes.set_ylim(y - 1.1, -0.6)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("rank IC")


def parts_height(blocks: Sequence[Sequence[tuple[str, Group]]]) -> int:
    """Give the height of a picture of parts."""
    return _FOOT + _ROW * sum(map(len, blocks)) + _ROW // 2 * len(blocks)


def _whisker(
    axes: Axes,
    place: float,
    value: float | None,
    span: Span | None,
    colour: str,
    mark: str,
    *,
    lying: bool = False,
) -> None:
    """Draw a figure and its interval, the mark filled where zero is outside, hollow where it may be zero."""
    if value is None:
        return
    if span is not None:
        line = axes.hlines if lying else axes.vlines
        line(place, *span, color=colour, lw=1.6)
    says = span is not None and not span[0] <= 0.0 <= span[1]
    at = (value, place) if lying else (place, value)
    axes.plot(*at, mark, ms=5.5, mfc=colour if says else COLOURS["page"], mec=colour, mew=1.4)


def _known(value: float | None) -> float:
    return np.nan if value is None else value


def _dates(times: I64) -> npt.NDArray[np.datetime64]:
    return times.astype("datetime64[ms]")


def _times(axes: Axes) -> None:
    """Write times along the bottom, few and short."""
    locator = AutoDateLocator(minticks=3, maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _percents(axes: Axes, decimals: int | None = None) -> None:
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals))


def _zero(axes: Axes) -> None:
    axes.axhline(0.0, color=COLOURS["muted"], lw=0.9)
