"""Timeframes: the UTC grid of bars and the absolute index of each bar on it."""

from datetime import UTC, datetime
from typing import Final, NamedTuple

from klinehub.errors import UnknownName

MINUTE: Final = 60_000
DAY: Final = 86_400_000
# 1970-01-01 was a Thursday; the exchange's weeks open on Monday.
FIRST_MONDAY: Final = 4 * DAY


class Timeframe(NamedTuple):
    """One bar length, for example 5m; bars are numbered from 1970 so that an index never moves.

    `milliseconds` is the length of a bar (of a 31-day month for 1M); `offset` is the open of bar 0.
    """

    name: str
    milliseconds: int
    offset: int = 0

    @property
    def monthly(self) -> bool:
        """Whether bars are calendar months, whose lengths differ."""
        return self.name == "1M"

    def index(self, time: int) -> int:  # type: ignore[override] # nobody searches it as a tuple
        """Give the absolute index of the bar that holds *time* (ms UTC)."""
        if self.monthly:
            day = datetime.fromtimestamp(time // 1000, UTC)
            return 12 * day.year + day.month - 1
        return (time - self.offset) // self.milliseconds

    def open_time(self, index: int) -> int:
        """Give the open time (ms UTC) of the bar with this absolute *index*."""
        if self.monthly:
            year, month = divmod(index, 12)
            return int(datetime(year, month + 1, 1, tzinfo=UTC).timestamp()) * 1000
        return index * self.milliseconds + self.offset

    def close_time(self, index: int) -> int:
        """Give the last millisecond (UTC) that belongs to the bar."""
        return self.open_time(index + 1) - 1

    def holds(self, smaller: "Timeframe") -> bool:
        """Whether each bar of this timeframe is made of whole bars of *smaller*."""
        if smaller.monthly or smaller.milliseconds >= self.milliseconds:
            return False
        if self.monthly:
            return DAY % smaller.milliseconds == 0
        step = smaller.milliseconds
        return self.milliseconds % step == 0 and (self.offset - smaller.offset) % step == 0


TIMEFRAMES: Final[dict[str, Timeframe]] = {
    tf.name: tf
    for tf in (
        *(Timeframe(f"{n}m", n * MINUTE) for n in (1, 3, 5, 15, 30)),
        *(Timeframe(f"{n}h", n * 60 * MINUTE) for n in (1, 2, 4, 6, 8, 12)),
        Timeframe("1d", DAY),
        Timeframe("3d", 3 * DAY),
        Timeframe("1w", 7 * DAY, FIRST_MONDAY),
        Timeframe("1M", 31 * DAY),
    )
}


def timeframe(name: str) -> Timeframe:
    """Look a timeframe up by its exchange name (case matters: 1m is a minute, 1M a month).

    Raises UnknownName with the nearest valid name.
    """
    try:
        return TIMEFRAMES[name]
    except KeyError:
        raise UnknownName("timeframe", name, TIMEFRAMES) from None


def in_order(names: list[str] | tuple[str, ...]) -> tuple[Timeframe, ...]:
    """Look up *names*, drop doubles and sort from the smallest bar to the largest."""
    return tuple(sorted({timeframe(name) for name in names}, key=lambda tf: tf.milliseconds))
