"""Messages: alerts as people read them, in their language and by the clock on their wall.

1. An alert is a title and a few lines, each about one thing; a line of which nothing is known is left out.
2. Several alerts are one digest: how many of each rule, the strongest of them, and where the rest is.
3. Services take only so much text: lines that matter least go first, the title, the link and the key never.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import numpy as np

from klinehub.alerts.outbox import Kept, Message
from klinehub.alerts.texts import Texts
from klinehub.domain.timeframe import timeframe
from klinehub.feed.network import printable
from klinehub.scan.alerts import Alert
from klinehub.scan.likeness import Likeness, day, ends, middle, percent

# Parts of a score that are named, alerts of a digest that have a line, rules that are counted by name.
_PARTS: Final = 3
_ROWS: Final = 10
_RULES: Final = 8
# Columns of a screen that have room in a message.
_COLUMNS: Final = 8


# Bytes that the title of a test is longer.
_SPARE: Final = 40


class Written(NamedTuple):
    """A message as it is sent."""

    title: str
    body: str


class Line(NamedTuple):
    """A line of a message; those of the least *worth* are left out first, of equals the last."""

    text: str
    worth: int


class Style(NamedTuple):
    """How messages are written: the language, the zone of times, and how links to the board begin, if any."""

    texts: Texts
    zone: ZoneInfo
    url: str


_ALWAYS: Final = 9


def written(message: Message, style: Style, room: int, *, quiet: bool = False) -> Written:
    """Write a message in at most *room* bytes; *quiet* says that it was held back over quiet hours."""
    if len(message.alerts) == 1:
        return _single(message.alerts[0], style, room)
    return _digest(message, style, room, quiet=quiet)


def tried(kept: Kept, style: Style, room: int) -> Written:
    """Write an alert as a test, which says that it is one."""
    say = style.texts
    note = say("test.body", rule=printable(kept.alert.rule))
    shown = _single(kept, style, room - len(note.encode()) - _SPARE)
    return Written(say("test.title", title=shown.title), f"{note}\n{shown.body}")


def link_of(url: str, alert: Alert, time: int) -> str:
    """Give where the board shows an alert's symbol as it was: at its bar's end, or when it was told."""
    frame = timeframe(alert.timeframe)
    ended = frame.close_time(frame.index(alert.bar_open_time)) + 1
    at = time if alert.forming else ended
    query = {"view": "symbol", "symbol": alert.symbol, "tf": alert.timeframe, "at": at}
    return f"{url.rstrip('/')}/?{urlencode(query)}"


def _single(kept: Kept, style: Style, room: int) -> Written:
    alert, say = kept.alert, style.texts
    title = say("alert.title", symbol=_symbol(alert), timeframe=alert.timeframe, rule=printable(alert.rule))
    lines = [*_lines(alert, style), *_foot(link_of(style.url, alert, kept.time), alert.key, style)]
    return Written(title, _fitted(lines, room - len(title.encode())))


def _foot(link: str, name: str, style: Style) -> list[Line]:
    """Give the lines that every message ends with; without a board there is nothing to link to."""
    named = Line(style.texts("message.name", id=name), _ALWAYS)
    return [Line(link, _ALWAYS), named] if style.url else [named]


def _lines(alert: Alert, style: Style) -> list[Line]:
    """Give what an alert says, but for its link and its name."""
    say = style.texts
    numbers = [f"{name} {_number(value)}" for name, value in alert.columns.items() if value is not None]
    lines = [Line(say("list.comma").join(numbers[:_COLUMNS]), 7)] if numbers else []
    lines.append(Line(_price(alert, say), 6))
    if alert.score is not None:
        lines.append(Line(_score(alert, alert.score, say), 4))
    lines.append(Line(_evidence(alert.evidence, say), 2))
    frame = timeframe(alert.timeframe)
    ended = frame.close_time(frame.index(alert.bar_open_time)) + 1
    if alert.forming:
        lines.append(Line(say("alert.forming", time=_moment(alert.bar_open_time, style)), 5))
    else:
        lines.append(Line(say("alert.closed", time=_moment(ended, style)), 3))
    if alert.stale is not None:
        lines.append(Line(say("alert.stale", reason=printable(alert.stale)), 8))
    return lines


def _price(alert: Alert, say: Texts) -> str:
    """Tell the price, how it changed, and how much was traded."""
    told = (("alert.price.change", alert.change), ("alert.price.day", alert.change_24h))
    changes = [say(key, percent=f"{percent:+.2f}%") for key, percent in told if percent is not None]
    quote = alert.pair.partition("/")[2].partition(":")[0]
    turnover = ""
    if alert.turnover is not None:
        turnover = say("alert.price.turnover", amount=_amount(alert.turnover, say), quote=quote)
    comma = say("list.comma")
    return say(
        "alert.price",
        price=_exact(alert.price),
        quote=quote,
        changes="".join(comma + change for change in changes),
        turnover=turnover,
    )


def _score(alert: Alert, score: float, say: Texts) -> str:
    """Tell the score, its side, and what made most of it."""
    strongest = sorted(alert.contributions.items(), key=lambda part: -abs(part[1]))[:_PARTS]
    parts = say("list.comma").join(f"{name} {points:+.1f}" for name, points in strongest)
    return say(
        "alert.score",
        score=f"{score:+.1f}",
        side=say(f"side.{alert.side}"),
        parts=say("alert.score.parts", parts=parts) if parts else "",
    )


def _evidence(found: Likeness | None, say: Texts) -> str:
    """Tell what came after scores like this, or that nobody knows."""
    one = None if found is None else middle(found.outcomes)
    if found is None or one is None or one.median is None:
        return say("alert.evidence.none")
    return say(
        "alert.evidence",
        median=percent(one.median),
        bars=one.bars,
        span=ends(one),
        rate="" if one.hit_rate is None else say("alert.evidence.rate", rate=f"{one.hit_rate:.0%}"),
        n=f"{one.n:,}",
        days="..".join(map(day, (found.start, found.end - 1))),
        thin=say("alert.evidence.thin", hits=f"{found.n:,}", days=found.days) if found.thin else "",
    )


def _digest(message: Message, style: Style, room: int, *, quiet: bool) -> Written:
    say, alerts = style.texts, [kept.alert for kept in message.alerts]
    times = [kept.time for kept in message.alerts]
    span = _span(min(times), max(times), style)
    title = say("digest.title.quiet" if quiet else "digest.title", count=len(alerts), span=span)
    head = Line(_counts(alerts, say), 8)
    foot = _foot(_link(alerts, style), message.id, style)
    rows = [_row(alert, say) for alert in sorted(alerts, key=_strength)[:_ROWS]]
    left = room - len(title.encode())
    while True:
        more = len(alerts) - len(rows)
        told = [Line(say("digest.more", count=more), _ALWAYS)] if more else []
        lines = [head, *(Line(row, _ALWAYS) for row in rows), *told, *foot]
        if not rows or _size(lines) <= left:
            return Written(title, _fitted(lines, left))
        rows.pop()


def _row(alert: Alert, say: Texts) -> str:
    """Give the line of a digest about one alert."""
    facts = [_exact(alert.price)]
    facts += [] if alert.change is None else [f"{alert.change:+.2f}%"]
    facts += [] if alert.score is None else [say("digest.row.score", score=f"{alert.score:+.1f}")]
    return say(
        "digest.row",
        symbol=_symbol(alert),
        timeframe=alert.timeframe,
        rule=printable(alert.rule),
        facts=say("list.comma").join(facts),
    )


def _counts(alerts: Sequence[Alert], say: Texts) -> str:
    """Count alerts by their rules, the most first."""
    found = Counter(alert.rule for alert in alerts).most_common()
    told = [say("digest.rule", rule=printable(rule), count=count) for rule, count in found[:_RULES]]
    if len(found) > _RULES:
        told.append(say("digest.more", count=sum(count for _, count in found[_RULES:])))
    return say("list.comma").join(told)


def _strength(alert: Alert) -> float:
    """Order alerts by the size of their scores; those without one keep their order, behind."""
    return 1.0 if alert.score is None else -abs(alert.score)


def _link(alerts: Sequence[Alert], style: Style) -> str:
    """Give where the board shows the market in the timeframe that most of the alerts are of."""
    frame = Counter(alert.timeframe for alert in alerts).most_common(1)[0][0]
    return f"{style.url.rstrip('/')}/?{urlencode({'tf': frame})}"


def _symbol(alert: Alert) -> str:
    return printable(alert.symbol)


def _moment(time: int, style: Style) -> str:
    return datetime.fromtimestamp(time / 1000, style.zone).strftime("%Y-%m-%d %H:%M %Z")


def _span(first: int, last: int, style: Style) -> str:
    """Write from when until when, the day once where it is one."""
    ends = [datetime.fromtimestamp(time / 1000, style.zone) for time in (first, last)]
    zone = ends[1].strftime("%Z")
    if ends[0].replace(second=0, microsecond=0) == ends[1].replace(second=0, microsecond=0):
        return f"{ends[1]:%Y-%m-%d %H:%M} {zone}"
    until = f"{ends[1]:%H:%M}" if ends[0].date() == ends[1].date() else f"{ends[1]:%Y-%m-%d %H:%M}"
    return f"{ends[0]:%Y-%m-%d %H:%M} - {until} {zone}"


def _exact(price: float) -> str:
    """Write a price with all of its digits."""
    whole, dot, rest = np.format_float_positional(price, trim="-").partition(".")
    return f"{int(whole):,}{dot}{rest}"


def _number(value: float) -> str:
    """Write a column's value with four digits that count."""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _amount(value: float, say: Texts) -> str:
    """Write a large amount in the units that the language has for it."""
    for unit in say("units").split(", "):
        size, _, name = unit.partition(" ")
        if abs(value) >= float(size):
            return f"{value / float(size):,.4g}{name}"
    return f"{value:,.0f}"


def _size(lines: Iterable[Line]) -> int:
    return sum(len(line.text.encode()) + 2 for line in lines)


def _fitted(lines: list[Line], room: int) -> str:
    """Leave lines out until what is left fits, or nothing is left that may go."""
    left = list(lines)
    while _size(left) > room and any(line.worth < _ALWAYS for line in left):
        least = min(range(len(left)), key=lambda n: (left[n].worth, -n))
        del left[least]
    return "\n".join(line.text for line in left)
