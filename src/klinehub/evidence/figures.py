"""Figures: each picture of a report with a sentence that says what it shows, and its figures as a table.

What can not be drawn for lack of data is left out here and named in the report.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

import numpy as np

from klinehub.evidence import plots
from klinehub.evidence.canvas import picture
from klinehub.evidence.markup import Drawn, Table
from klinehub.evidence.result import Event, Evidence, Group, Horizon, number
from klinehub.evidence.series import (
    Rolling,
    by_day,
    by_month,
    calendar,
    equity,
    rolling_ic,
)
from klinehub.evidence.study import Study
from klinehub.evidence.verdict import moment
from klinehub.evidence.wording import counted, decimal, ends, fine, percent, share

_ROWS: Final = 24
_GROUPS: Final = ("part", "rank IC", "95 % interval", "spread", "bars")


class Absent(NamedTuple):
    """A picture that lacks what it would be drawn of, and why."""

    title: str
    why: str


def figures(study: Study, place: str) -> Iterator[Drawn | Absent]:
    """Give each picture of a study; *place* tells its ids from those of other studies on the page."""
    evidence = study.evidence
    yield _rolling(study, place)
    yield decayed((evidence,), place)
    yield _quantiles(evidence, place)
    yield _equity(study, place)
    yield _calendar(study, place)
    yield _paths(evidence, place)
    yield _hours(evidence, place)
    yield _parts(evidence, place)


def _rolling(study: Study, place: str) -> Drawn | Absent:
    title, found = "Rank IC over time", rolling_ic(study)
    if found is None:
        return Absent(title, "the range has too few bars for a rolling mean.")
    above, below = int((found.lows > 0.0).sum()), int((found.highs < 0.0).sum())
    says = (
        f"Mean over the last {counted(found.window, 'bar')}, with its 95 % interval as a band. Of "
        f"{counted(found.means.size, 'point')} {above} lie above zero with their whole interval and {below} "
        "below it; by chance alone about one in twenty would."
    )
    svg = picture(f"{place}-rolling", says, partial(plots.rolling, found=found))
    return Drawn(title, says, svg, Table(title, ("up to", "rank IC", "95 % interval"), _rolled(found)))


def _rolled(found: Rolling) -> list[Sequence[str]]:
    """Give some of a rolling mean's points, in even steps."""
    at = np.unique(np.linspace(0, found.times.size - 1, _ROWS).astype(int)).tolist()
    rows: list[Sequence[str]] = []
    for n in at:
        low, high = number(found.lows[n]), number(found.highs[n])
        span = None if low is None or high is None else (low, high)
        rows.append((moment(int(found.times[n])), decimal(number(found.means[n])), ends(span)))
    return rows


def decayed(screens: Sequence[Evidence], place: str) -> Drawn | Absent:
    """Draw the rank IC by horizon, of one screen or of several in one plot."""
    title, horizons = "Decay by horizon", [tuple(one.horizons.values()) for one in screens]
    if all(one.rank_ic is None for of_screen in horizons for one in of_screen):
        return Absent(title, "no horizon has a cross-section.")
    says = " ".join(
        f"{one.screen}: {_told(of_screen)}." if len(screens) > 1 else f"Rank IC {_told(of_screen)}."
        for one, of_screen in zip(screens, horizons, strict=True)
    )
    says += " Whiskers are 95 % intervals; a hollow mark may be zero."
    rows = [
        (
            *([one.screen] if len(screens) > 1 else []),
            f"{at.bars}",
            decimal(at.rank_ic),
            ends(at.rank_ic_interval),
        )
        for one, of_screen in zip(screens, horizons, strict=True)
        for at in of_screen
    ]
    heads = (*(["screen"] if len(screens) > 1 else []), "horizon, bars", "rank IC", "95 % interval")
    svg = picture(f"{place}-decay", says, partial(plots.decay, screens=horizons))
    return Drawn(title, says, svg, Table(title, heads, rows))


def _told(horizons: Sequence[Horizon]) -> str:
    return ", ".join(f"{decimal(one.rank_ic)} over {counted(one.bars, 'bar')}" for one in horizons)


def _quantiles(evidence: Evidence, place: str) -> Drawn | Absent:
    title, at = "Returns by quantile", evidence.horizons[str(evidence.headline)]
    if all(value is None for value in at.quantiles):
        return Absent(title, "no bar has enough symbols to be cut.")
    says = (
        f"Mean return over {counted(at.bars, 'bar')} beyond the mean of all, by quantile of the score: "
        f"{fine(at.quantiles[0])} for the lowest scores, {fine(at.quantiles[-1])} for the highest. "
        f"Bar by bar the spread is {fine(at.spread)}, {ends(at.spread_interval, fine)}."
    )
    names = [str(n) for n in range(1, len(at.quantiles) + 1)]
    rows = [
        (
            counted(one.bars, "bar"),
            *map(fine, one.quantiles),
            fine(one.spread),
            ends(one.spread_interval, fine),
        )
        for one in evidence.horizons.values()
    ]
    heads = ("horizon", *names, "spread", "95 % interval")
    svg = picture(f"{place}-quantiles", says, partial(plots.quantiles, values=at.quantiles))
    return Drawn(title, says, svg, Table("Mean returns beyond the mean, by quantile", heads, rows))


def _equity(study: Study, place: str) -> Drawn | Absent:
    title, book = "What a portfolio would have gained", study.evidence.portfolio
    if not study.booked.traded.any():
        return Absent(title, "nothing would have been traded.")
    gross, net = float(study.booked.gross.sum()), float(study.booked.net.sum())
    says = (
        "Half of the capital long the highest quantile, half short the lowest, held "
        f"{counted(book.hold, 'bar')}; gains are not added to the capital. Over the range {percent(gross)} "
        f"before costs, {percent(net)} after them; the deepest fall from a high was {percent(book.drawdown)}."
    )
    found = equity(study.times, study.booked)
    svg = picture(f"{place}-equity", says, partial(plots.equity, found=found), height=300)
    months = by_month(*by_day(study.times, study.booked.net))
    rows = [(name, percent(gain), f"{up} of {days}") for name, gain, up, days in months]
    return Drawn(title, says, svg, Table("After costs, by month", ("month", "net", "days that gained"), rows))


def _calendar(study: Study, place: str) -> Drawn | Absent:
    title, (days, gains) = "Net by day", by_day(study.times, study.booked.net)
    found = calendar(days, gains)
    if found is None:
        return Absent(title, "no day gained or lost anything.")
    best, worst = int(np.argmax(gains)), int(np.argmin(gains))
    says = (
        "Blue days gained after costs, orange ones lost; the strongest colour is "
        f"{share(found.most, 2)} or more. {int((gains > 0.0).sum())} of {counted(gains.size, 'day')} gained. "
        f"The best was {_day(days[best])} with {percent(gains[best], 2)}, "
        f"the worst {_day(days[worst])} with {percent(gains[worst], 2)}."
    )
    svg = picture(
        f"{place}-calendar", says, partial(plots.calendar, found=found), height=plots.calendar_height(found)
    )
    order = np.argsort(gains, kind="stable")
    extremes = dict.fromkeys([*order[::-1][:10].tolist(), *order[:10][::-1].tolist()])
    rows = [(_day(days[n]), percent(gains[n], 2)) for n in extremes]
    return Drawn(title, says, svg, Table("The best days and the worst", ("day", "net"), rows))


def _day(time: int) -> str:
    return moment(int(time))[:10]


def _paths(evidence: Evidence, place: str) -> Drawn | Absent:
    title, events = "Around hits", evidence.events
    if not any(mean is not None for one in events for mean in one.path):
        return Absent(title, "there are no new hits.")
    last = events[0].offsets[-1]
    told = ", ".join(f"{fine(_at(one, last))} after {one.side} hits" for one in events)
    says = (
        f"Mean return beyond the market's around new hits, summed up from the open after them: {told} by "
        f"{counted(last, 'bar')}. What lies left of the line came before, and could not be had."
    )
    offsets = [offset for offset in events[0].offsets if offset % 6 == 0]
    rows = [(f"{offset:+d}", *(fine(_at(one, offset)) for one in events)) for offset in offsets]
    heads = ("bars", *(f"{one.side}, {one.hits:,} hits" for one in events))
    svg = picture(f"{place}-paths", says, partial(plots.paths, events=events))
    return Drawn(title, says, svg, Table("Summed mean return beyond the market's", heads, rows))


def _at(event: Event, offset: int) -> float | None:
    return event.path[event.offsets.index(offset)]


def _hours(evidence: Evidence, place: str) -> Drawn | Absent:
    title, groups = "Rank IC by hour", evidence.hours
    if all(one.rank_ic is None for one in groups):
        return Absent(title, "no hour has a cross-section.")
    over = counted(evidence.headline, "bar")
    says = f"Of bars by the UTC hour in which they close, over {over}. {_holding(groups)}"
    svg = picture(f"{place}-hours", says, partial(plots.hours, groups=groups))
    rows = [_row(one.name, one) for one in groups]
    return Drawn(title, says, svg, Table(title, ("hour", *_GROUPS[1:]), rows))


def _parts(evidence: Evidence, place: str) -> Drawn | Absent:
    title = "Where it holds"
    blocks = [
        [(_stretch(one.name)[0], one) for one in evidence.folds],
        [(one.name, one) for one in evidence.regimes],
        [(f"{one.name} turnover", one) for one in evidence.tiers],
    ]
    blocks = [block for block in blocks if block]
    groups = [one for block in blocks for _, one in block]
    if all(one.rank_ic is None for one in groups):
        return Absent(title, "no part has a cross-section.")
    says = (
        "Rank IC of stretches of the range by their first day, of moods of the benchmark (a week up or down, "
        f"wilder than its month or calmer), and of symbols by their turnover of a day. {_holding(groups)}"
    )
    svg = picture(
        f"{place}-parts", says, partial(plots.parts, blocks=blocks), height=plots.parts_height(blocks)
    )
    rows = [_row(" to ".join(_stretch(one.name)), one) for one in evidence.folds]
    rows += [_row(name, one) for block in blocks for name, one in block if one not in evidence.folds]
    return Drawn(title, says, svg, Table(title, _GROUPS, rows))


def _stretch(name: str) -> list[str]:
    """Give the first day and the last of a stretch that is named by its times."""
    return [_day(int(time)) for time in name.split("..")]


def _holding(groups: Sequence[Group]) -> str:
    """Say in how many parts zero is outside the interval."""
    spans = [one.rank_ic_interval for one in groups if one.rank_ic_interval is not None]
    above, below = sum(low > 0.0 for low, _ in spans), sum(high < 0.0 for _, high in spans)
    return (
        f"Of {counted(len(groups), 'part')} {above} {'lies' if above == 1 else 'lie'} above zero with the "
        f"whole interval and {below} below; a hollow mark may be zero."
    )


def _row(name: str, one: Group) -> tuple[str, ...]:
    return (name, decimal(one.rank_ic), ends(one.rank_ic_interval), fine(one.spread), f"{one.counted:,}")
