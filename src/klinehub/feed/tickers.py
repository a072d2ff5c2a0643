"""Tickers and marks of the whole market in the exchange's own texts, so that others need not ask for them.

1. They are heard on streams of all symbols, which tell of what has changed; REST gives all of them at the
   start, in the order that is kept.
2. After a loss or a silence there is a hole: what has changed in it, and not since. Once the stream is heard
   again, or while it stays silent, REST is asked how everything is, and until then the table is as of the
   time before the hole.
3. Once an hour everything is asked for again, which also finds what nobody noticed.
4. Nothing that the network does is raised here: it is counted, and asked for again in its turn.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from klinehub.domain.clock import Clock
from klinehub.domain.texts import MarkTexts, MiniTexts
from klinehub.errors import FeedError
from klinehub.feed.budget import WeightGate
from klinehub.feed.listed import Listed
from klinehub.feed.marks import PREMIUM_INDEX, PREMIUM_INDEX_WEIGHT
from klinehub.feed.rest import RestClient
from klinehub.feed.rows import MARK_PRICES, kind_of
from klinehub.feed.seat import Seat
from klinehub.feed.silence import Silence
from klinehub.feed.texts import (
    Market,
    Rows,
    days_of_body,
    days_of_frame,
    marks_of_body,
    marks_of_frame,
    minis_of_frame,
)
from klinehub.feed.ticker_table import TickerTable
from klinehub.feed.use import Use
from klinehub.panel.memory import I64, U8

# Real seconds until REST is asked again for what is doubtful, and for everything.
ASK_AGAIN: Final = 30.0
ASK_ANYWAY: Final = 3_600.0
LOOK: Final = 1.0
# What is told of a time this many market ms ahead would keep out what comes later.
ASTRAY: Final = 60_000
# What was read so many market ms ago to choose the universe does for the start.
RECENT: Final = 60_000
NEVER: Final = -1

T = TypeVar("T", bound=MiniTexts | MarkTexts)


@dataclass(kw_only=True)
class _Course(Generic[T]):
    """One stream with REST beside it, how their rows are read and where they go.

    All that was told until `as_of` (exchange ms) is kept. REST was `asked` last at this time, and since
    `hole` something may be missing (seconds of the loop).
    """

    name: str
    path: str
    weight: int
    of_frame: Callable[[bytes, Market], Rows[Any]]
    of_body: Callable[[bytes, Market], Rows[Any]]
    take: Callable[[Iterable[T]], list[T]]
    read: Callable[[Sequence[Any]], list[T]]
    forget: Callable[[Iterable[str]], None]
    listeners: list[Callable[[Sequence[T]], None]] = field(default_factory=list)
    rows: int = 0
    as_of: int = NEVER
    read_at: int = NEVER
    asked: float = float("-inf")
    hole: float | None = None


class Tickers:
    """Keeps the newest ticker and mark of all that is *listed*.

    `on_tickers` and `on_marks` are called with what is new, frame by frame as the exchange sends them.
    `unread`, `astray` and `failures` count rows that could not be read, rows of a time that cannot be, and
    requests that failed.
    """

    def __init__(self, listed: Listed, rest: RestClient, gate: WeightGate, clock: Clock) -> None:
        self.table = table = TickerTable(lambda: listed.symbols)
        self.seat: Seat | None = None
        self.unread = self.astray = self.failures = 0
        self.last_failure = ""
        self._listed = listed
        self._rest = rest
        self._gate = gate
        self._pace = max(1.0, clock.rate)
        self._spot = rest.venue.marks is None
        self._days = _Course[MiniTexts](
            name=rest.venue.days or "",
            path=rest.venue.tickers,
            weight=rest.venue.tickers_weight,
            of_frame=minis_of_frame if self._spot else days_of_frame,
            of_body=days_of_body,
            take=table.take_tickers,
            read=table.read_tickers,
            forget=table.forget_tickers,
        )
        self._marks = _Course[MarkTexts](
            name=rest.venue.marks or "",
            path=PREMIUM_INDEX,
            weight=PREMIUM_INDEX_WEIGHT,
            of_frame=marks_of_frame,
            of_body=marks_of_body,
            take=table.take_marks,
            read=table.read_marks,
            forget=table.forget_marks,
        )
        self.on_tickers, self.on_marks = self._days.listeners, self._marks.listeners
        self._courses: list[_Course[Any]] = [self._days, *([] if self._spot else [self._marks])]
        self._silence = Silence(self.names, "ticker or mark price")

    @property
    def names(self) -> tuple[str, ...]:
        """The streams to listen to."""
        return tuple(course.name for course in self._courses)

    @property
    def minis_as_of(self) -> int:
        """The exchange time (ms) as of which last prices and tickers in short are, NEVER without any."""
        return self._days.as_of

    @property
    def days_as_of(self) -> int:
        """The same of tickers in full, which spot tells by REST alone."""
        return self._days.read_at if self._spot else self._days.as_of

    @property
    def marks_as_of(self) -> int:
        """The same of mark prices."""
        return self._marks.as_of

    def work(self, seat: Seat) -> list[Coroutine[object, object, None]]:
        """List what is to run as long as the hub; *seat* is that of the streams, and runs with it."""
        self.seat = seat
        self._begin()
        return [seat.run(), self._silence.stir(seat), self._read()]

    async def once(self) -> None:
        """Read everything one time, for a hub without streams."""
        self._begin()
        for course in self._courses:
            if course.read_at == NEVER:
                await self._try(course)

    def on_seat(self) -> None:
        """Take note that the seat has changed: what is told while it has no socket is not heard."""
        if self.seat is not None and not self.seat.up:
            for course in self._courses:
                course.hole = _now()

    def on_frames(self, _: int, buf: U8, ends: I64, frames: int) -> None:
        """Take frames of the streams: they lie one after the other in *buf* and end at *ends*."""
        begin = 0
        for end in ends[:frames].tolist():
            frame, begin = buf[begin:end].tobytes(), end
            kind = kind_of(frame)
            if not kind or (self._spot and kind == MARK_PRICES):
                continue
            try:
                self._hear(frame, self._marks if kind == MARK_PRICES else self._days)
            except FeedError:
                self.unread += 1

    def stats(self) -> dict[str, int | float | str]:
        """Count what was told; ages are in seconds of market time, and -1 before the first telling."""
        marks = {"mark_rows": self._marks.rows, "mark_age": self._age(self.marks_as_of)}
        return {
            "tickers": len(self.table),
            "ticker_rows": self._days.rows,
            "ticker_age": self._age(self.minis_as_of),
            **({} if self._spot else marks),
            "ticker_unread": self.unread,
            "ticker_astray": self.astray,
            "ticker_late": self.table.late,
            "ticker_failures": self.failures,
            "ticker_failure": self.last_failure,
            "ticker_reconnects": 0 if self.seat is None else self.seat.reconnects,
        }

    def _age(self, as_of: int) -> float:
        return -1.0 if as_of == NEVER else max(0.0, (self._gate.now() - as_of) / 1000)

    def _begin(self) -> None:
        """Begin with what was read to choose the universe, if that was just now.

        What traded between that and the first frame, and never again, is found when everything is asked for
        again.
        """
        self._silence.begin()
        for course in self._courses:
            course.hole, course.asked = _now(), _now() - ASK_AGAIN
        answer, days = self._listed.days, self._days
        if answer is not None and self._gate.now() - answer.asked <= RECENT * self._pace:
            try:
                self._take_body(days, answer.body, answer.asked)
            except FeedError as exc:
                self._note(exc)
            else:
                days.asked, days.hole = _now(), None

    def _hear(self, frame: bytes, course: _Course[Any]) -> None:
        """Take one frame; raises FeedError when it is none. One of which nothing can be read is not heard."""
        told, unread = course.of_frame(frame, self._listed.symbols)
        self._take(course, told, unread, course.take)
        if told or not unread:
            self._silence.heard(course.name)
        if "" in unread:
            course.hole = _now()
        elif course.hole is None:
            course.as_of = self._gate.now()

    def _take_body(self, course: _Course[Any], body: bytes, asked: int) -> None:
        """Take what REST says; raises FeedError when that is nothing."""
        told, unread = course.of_body(body, self._listed.symbols)
        if not told:
            raise FeedError(f"{course.path} told of nothing that is listed. Check `exchange.rest_url`.")
        self._take(course, told, unread, course.read)
        course.as_of = course.read_at = max(course.as_of, asked)

    def _take(
        self,
        course: _Course[T],
        told: Sequence[T],
        unread: Sequence[str],
        keep: Callable[[Sequence[T]], list[T]],
    ) -> None:
        """Keep rows of times that can be, and say what is new; what could not be read is forgotten."""
        latest = self._gate.now() + ASTRAY * self._pace
        timely = [row for row in told if row.time <= latest and getattr(row, "close_time", 0) <= latest]
        course.rows += len(told)
        self.unread += len(unread)
        self.astray += len(told) - len(timely)
        course.forget(unread)
        fresh = keep(timely)
        if fresh:
            for tell in course.listeners:
                tell(fresh)

    def _due(self, course: _Course[Any]) -> bool:
        """Say whether to ask REST: about a hole once the stream is heard again, and while it is silent."""
        now = _now()
        if now - course.asked < ASK_AGAIN:
            return False
        silent = bool(self._silence.silent(course.name))
        if silent and course.hole is None:
            course.hole = self._silence.since(course.name)
        lacking = course is self._marks and self.table.incomplete
        return silent or lacking or self._healing(course) or now - course.asked >= ASK_ANYWAY

    def _healing(self, course: _Course[Any]) -> bool:
        """Say whether a stream was heard again after what it missed."""
        return course.hole is not None and self._silence.since(course.name) > course.hole

    async def _read(self) -> None:
        while True:
            for course in self._courses:
                if self._due(course):
                    await self._try(course)
            await asyncio.sleep(LOOK)

    async def _try(self, course: _Course[Any]) -> None:
        """Ask REST how everything is; what fails is asked again in its turn."""
        course.asked, hole, healing = _now(), course.hole, self._healing(course)
        try:
            answer = await self._rest.ask(course.path, {}, weight=course.weight, use=Use.CONTROL)
            self._take_body(course, answer.body, answer.asked)
        except FeedError as exc:
            self._note(exc)
        else:
            course.hole = None if healing and course.hole == hole else course.hole

    def _note(self, failure: FeedError) -> None:
        self.failures += 1
        self.last_failure = str(failure)


def _now() -> float:
    return asyncio.get_running_loop().time()
