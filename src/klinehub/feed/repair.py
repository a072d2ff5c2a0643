"""Repair: which closed bars are missing, and the cheapest requests that bring them.

Larger bars are built from the streamed timeframe wherever that is whole; of what is left the cheapest
ranges are asked for first, and of equal ones those of the most important symbols.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from klinehub.domain.kline import Exact
from klinehub.feed.decisions import Fetch
from klinehub.feed.ranges import Planned, cheapest, order
from klinehub.feed.roster import Roster
from klinehub.feed.use import Use
from klinehub.feed.venue import USDM, Venue
from klinehub.panel.ledger import Gap, gaps
from klinehub.panel.ring import Ring

# A range whose request failed is not asked for again before this time, one under way not at all; one that
# was answered without what was missing a little sooner.
RETRY: Final = 20_000
AGAIN: Final = 3_000
# An answer asked for this long after the close of a bar that it does not have shows that there is none, if it
# has a later bar. Else another one, asked for later, has to lack it too: a replica may lag behind.
SURE: Final = 60_000
# More confirmed gaps than this are thinned out.
MOST_ABSENT: Final = 1 << 16

Series = tuple[int, int]


class Repair:
    """Keeps what was asked for, and which bars the exchange confirmed not to have (`absent`)."""

    def __init__(self, ring: Ring, roster: Roster, wanted: int, venue: Venue = USDM) -> None:
        self._venue = venue
        self._ring = ring
        self._roster = roster
        self._wanted = wanted
        self._flying: Counter[Series] = Counter()
        self._not_before: dict[Series, int] = {}
        self._whole_to = -1
        self.absent: set[tuple[int, int, int]] = set()
        self._lacked: dict[tuple[int, int, int], int] = {}

    def missing(self, settled: int) -> list[Gap]:
        """List the runs of bars that ended by exchange time *settled* and are not closed here.

        A market that lacked nothing lacks nothing until the next bar of the smallest timeframe has ended.
        """
        upto = self._ring.timeframes[0].index(settled) - 1
        if upto == self._whole_to:
            return []
        found = self._look(settled)
        self._whole_to = upto if not found else -1
        return found

    def held(self, now: int) -> frozenset[tuple[str, str]]:
        """Give the series (symbol, timeframe) whose history is here, whatever they lack since a stop."""
        memory, found = self._ring.memory, set()
        for t, timeframe in enumerate(self._ring.timeframes):
            oldest = timeframe.index(now) - self._wanted
            for row in self._roster.rows.tolist():
                if memory.first[t, row] >= 0 or self._ring.is_closed(t, row, oldest):
                    found.add((self._ring.symbols[row], timeframe.name))
        return frozenset(found)

    def _look(self, settled: int) -> list[Gap]:
        found: list[Gap] = []
        rows, memory = self._roster.rows, self._ring.memory
        for t, timeframe in enumerate(self._ring.timeframes):
            upto = self._roster.last(timeframe, timeframe.index(settled) - 1)
            found += gaps(memory, t, rows, wanted=self._wanted, upto=upto)
        if not self.absent:
            return found
        return [rest for gap in found for rest in self._without_absent(gap)]

    def plan(self, now: int, found: list[Gap], build: Callable[[Gap], bool]) -> list[Fetch]:
        """Ask for gaps that are neither under way nor asked for lately; *build* tries first."""
        if not found:
            return []
        streamed = {self._ring.number[tf.name] for tf in self._ring.streamed}
        holes = {gap.row for gap in found if gap.timeframe in streamed}
        wanted: dict[Series, list[tuple[int, int]]] = {}
        venue = self._venue
        for gap in found:
            series = (gap.timeframe, gap.row)
            if self._flying[series] or self._not_before.get(series, 0) > now:
                continue
            if gap.timeframe in streamed or (gap.row not in holes and not build(gap)):
                wanted.setdefault(series, []).append((gap.start, gap.end))
        planned = [
            Planned(row, t, start, count, venue.klines_weight(count))
            for (t, row), runs in wanted.items()
            for start, count in cheapest(runs, most=venue.most_rows, weights=venue.klines_weights)
        ]
        return [self._fetch(one, now) for one in order(planned)]

    def _fetch(self, one: Planned, now: int) -> Fetch:
        """Ask for a range, with the open bar behind it where that weighs no more: it tells of trades."""
        timeframe = self._ring.timeframes[one.timeframe]
        self._flying[one.timeframe, one.rank] += 1
        symbol, start, limit = self._ring.symbols[one.rank], timeframe.open_time(one.start), one.limit
        open_bar, weigh = timeframe.index(now), self._venue.klines_weight
        if (
            one.start + limit == open_bar
            and limit < self._venue.most_rows
            and weigh(limit + 1) == weigh(limit)
        ):
            limit += 1
        return Fetch(symbol, timeframe.name, start, limit, Use.REPAIR)

    def landed(self, t: int, row: int, fetch: Fetch, exact: Exact, asked: int) -> None:
        """Note which bars the answer to a repair does not have; a young one may yet come."""
        self._down((t, row), asked + AGAIN)
        if fetch.start is None:
            return
        timeframe = self._ring.timeframes[t]
        start = timeframe.index(fetch.start)
        ended = min(start + fetch.limit, timeframe.index(asked))
        if not self.lacks(t, row, range(start, ended), exact, asked):
            self._not_before[t, row] = asked + RETRY

    def lacks(self, t: int, row: int, bars: Iterable[int], exact: Exact, asked: int) -> bool:
        """Note which of these bars an answer does not have; whether it is sure of all of them.

        It is sure of a bar that it passes over for a later one. Behind its last one there may be more.
        """
        timeframe = self._ring.timeframes[t]
        have = {timeframe.index(int(time)) for time in exact.rows["open_time"]}
        last, sure = max(have, default=-1), True
        for index in bars:
            bar = (t, row, index)
            if index in have:
                self._lacked.pop(bar, None)
            elif timeframe.close_time(index) + SURE > asked or not (
                index < last or self._lacked_before(bar, asked)
            ):
                sure = False
            else:
                self.absent.add(bar)
        if len(self.absent) + len(self._lacked) > MOST_ABSENT:
            oldest = [tf.index(asked) - self._ring.bars for tf in self._ring.timeframes]
            self.absent = {key for key in self.absent if key[2] > oldest[key[0]]}
            self._lacked = {key: time for key, time in self._lacked.items() if key[2] > oldest[key[0]]}
        return sure

    def failed(self, t: int, row: int, now: int, *, soon: bool = False) -> None:
        """Say that a request brought nothing; *soon* if it was not even sent."""
        self._down((t, row), now + (AGAIN if soon else RETRY))

    def deepen(self, wanted: int) -> None:
        """Miss so many bars of each series from now on."""
        self._wanted = wanted
        self._whole_to = -1

    def forget(self) -> None:
        """Ask at once for all that is missing, whatever failed or was noted by a clock that was wrong."""
        self._not_before.clear()
        self._whole_to = -1

    def _lacked_before(self, bar: tuple[int, int, int], asked: int) -> bool:
        """Note that an answer lacks a bar; whether an earlier one lacked it too."""
        before = self._lacked.get(bar)
        if before is not None and before > asked:
            before = None  # noted by a clock that was wrong
        if before is None or asked < before + RETRY // 2:
            self._lacked[bar] = asked if before is None else before
            return False
        del self._lacked[bar]
        return True

    def _down(self, series: Series, again: int) -> None:
        self._not_before[series] = again
        self._flying[series] -= 1
        if self._flying[series] <= 0:
            del self._flying[series]

    def _without_absent(self, gap: Gap) -> Iterable[Gap]:
        """Give the runs of a gap between the bars that the exchange does not have."""
        t, row, start, end = gap
        first = start
        for index in range(start, end + 2):
            if index <= end and (t, row, index) not in self.absent:
                continue
            if first < index:
                yield Gap(t, row, first, index - 1)
            first = index + 1
