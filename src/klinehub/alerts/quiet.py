"""Quiet hours: when somebody does not want to be told anything, by the clock on their wall."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo


class Quiet(NamedTuple):
    """Quiet hours of each day: from *start* until before *end*, minutes of the day in *zone*.

    They last over midnight where the end comes before the start. All times are ms UTC.
    """

    start: int
    end: int
    zone: ZoneInfo

    def __str__(self) -> str:
        return "-".join(f"{minute // 60:02d}:{minute % 60:02d}" for minute in (self.start, self.end))

    def until(self, now: int) -> int | None:
        """Give when the quiet hours end that *now* lies in; None where it lies in none."""
        return self._next_end(now) if self._holds(now) else None

    def ended(self, now: int) -> int:
        """Give when the last quiet hours before *now*, which lies in none, ended."""
        return max(end for end in self._ends(now, -1) if end <= now)

    def awake(self, since: int, now: int, most: int) -> int:
        """Give the ms between two times that lie in no quiet hours, not counted far beyond *most*."""
        noise, total = Quiet(self.end, self.start, self.zone), 0
        while since < now and total <= most:
            until = self.until(since)
            if until is None:
                until = min(now, noise.until(since) or now)
                total += until - since
            since = until
        return total

    def _holds(self, now: int) -> bool:
        local = datetime.fromtimestamp(now / 1000, self.zone)
        minute = local.hour * 60 + local.minute
        if self.start < self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end

    def _next_end(self, now: int) -> int:
        return min(end for end in self._ends(now, 1) if end > now)

    def _ends(self, now: int, way: int) -> Iterator[int]:
        """Give the ends around *now*; where clocks are put back over one, it comes twice."""
        local = datetime.fromtimestamp(now / 1000, self.zone)
        for days in (0, way, 2 * way):
            day = local + timedelta(days=days)
            end = day.replace(hour=self.end // 60, minute=self.end % 60, second=0, microsecond=0)
            for fold in (0, 1):
                yield round(end.replace(fold=fold).astimezone(UTC).timestamp() * 1000)
