"""Market data: what the exchange tells beside its klines, heard on a stream and asked for now and then.

1. Mark price, index price and funding of all symbols come on one stream with a seat of its own; REST is asked
   once at the start, and again while the stream is silent.
2. Open interest is asked for symbol by symbol, round after round, at the lowest urgency that there is.
3. Nothing that the network does is raised here: it is counted, and asked for again in its turn.

Funding is kept per 8 hours, so that symbols compare: what is told is for the hours between two fundings,
which are read on their own; until they are, funding is unknown.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Final

import numpy as np

from klinehub.domain.clock import Clock
from klinehub.errors import DataError, FeedError
from klinehub.feed.budget import WeightGate
from klinehub.feed.marks import (
    FUNDING_INFO,
    MARKS,
    OPEN_INTEREST,
    PREMIUM_INDEX,
    PREMIUM_INDEX_WEIGHT,
    Mark,
    parse_funding_hours,
    parse_marks,
    parse_open_interest,
    parse_premiums,
)
from klinehub.feed.rest import RestClient
from klinehub.feed.rows import MARK_PRICES, kind_of
from klinehub.feed.seat import Seat
from klinehub.feed.silence import Silence
from klinehub.feed.use import Use
from klinehub.panel.beside import Beside
from klinehub.panel.memory import F64, I64, U8
from klinehub.panel.ring import Ring

MARK_FIELDS: Final = ("mark_price", "index_price", "funding_rate")
INTEREST_FIELD: Final = "open_interest"
# Hours that a funding rate is kept for, and those between two fundings of a symbol that has no others.
USUAL_HOURS: Final = 8
# Real seconds until REST is asked again while the stream is silent, which beats every 3 s.
ASK_AGAIN: Final = 30.0
LOOK: Final = 1.0
# Market ms until the funding intervals are read again; they change seldom, and at a funding.
HOURS_EVERY: Final = 3_600_000
HOURS_AGAIN: Final = 60_000
# What is told of a time this many ms from now would take the place of bars to come.
ASTRAY: Final = 60_000
# A round takes this share of its time, so that no bar of that length is without a telling.
ROUND: Final = 0.9
# Requests at a time where a hub waits for one round.
AT_ONCE: Final = 16


@dataclass
class Told:
    """What came: marks and polls; what of it could not be read or used; requests that failed, and how."""

    marks: int = 0
    unread: int = 0
    astray: int = 0
    late: int = 0
    polls: int = 0
    failures: int = 0
    last_failure: str = ""


class MarketData:
    """Keeps what is told beside the klines of *ring*; `seat` is None until it listens.

    *symbols* gives those to ask for, each about every *every* seconds of market time.
    """

    def __init__(
        self,
        ring: Ring,
        beside: Beside,
        rest: RestClient,
        gate: WeightGate,
        clock: Clock,
        *,
        symbols: Callable[[], Sequence[str]],
        every: float,
    ) -> None:
        self.told = Told()
        self.seat: Seat | None = None
        self.hours: Mapping[str, int] | None = None
        self._ring = ring
        self._beside = beside
        self._rest = rest
        self._gate = gate
        self._clock = clock
        self._symbols = symbols
        self._every = every
        self._silence = Silence([MARKS], "mark price")
        self._asked = float("-inf")
        self._hours_due = 0

    @property
    def hears(self) -> bool:
        """Whether mark prices are kept, and with them index prices and funding."""
        return MARK_FIELDS[0] in self._beside.fields

    @property
    def polls(self) -> bool:
        """Whether open interest is kept."""
        return INTEREST_FIELD in self._beside.fields

    def work(self, seat: Seat | None, *, shared: bool = False) -> list[Coroutine[object, object, None]]:
        """List what is to run as long as the hub; *seat* is that of the stream of marks.

        One that is *shared* is kept running, and from falling silent, by another.
        """
        self.seat = seat
        self._silence.begin()
        listening: list[Coroutine[object, object, None]] = []
        if seat is not None:
            own = () if shared else (seat.run(), self._silence.stir(seat))
            listening = [*own, self._read()]
        return [*listening, *([self._poll()] if self.polls else [])]

    async def once(self) -> None:
        """Ask for everything one time, and let it stand for the newest closed bars too.

        For a hub without streams, which shows one moment: none of its bars will ever close.
        """
        if self.hears:
            await self._try(self._read_hours())
            await self._try(self._read_marks())
        if self.polls:
            waiting = iter(self._symbols())
            await asyncio.gather(*(self._ask_each(waiting) for _ in range(AT_ONCE)))
        for t, frame in enumerate(self._ring.timeframes):
            self._beside.settle(t, self._ring.panel(frame.name).closed_bar)

    def on_frames(self, _: int, buf: U8, ends: I64, frames: int) -> None:
        """Take frames of the stream: they lie one after the other in *buf* and end at *ends*."""
        begin = 0
        for end in ends[:frames].tolist():
            frame, begin = buf[begin:end].tobytes(), end
            if kind_of(frame) != MARK_PRICES:
                continue
            try:
                self._take(*parse_marks(frame))
            except FeedError:
                self.told.unread += 1
            else:
                self._silence.heard(MARKS)

    def stats(self, fresh: float = 10.0) -> dict[str, int | str]:
        """Count what was told, and of how many symbols a mark in the last *fresh* seconds of market time."""
        told, now = self.told, self._gate.now()
        found: dict[str, int | str] = {
            "told_unread": told.unread,
            "told_astray": told.astray,
            "told_late": told.late,
            "told_failures": told.failures,
            "told_failure": told.last_failure,
        }
        if self.hears:
            since = now - fresh * 1000 * max(1.0, self._clock.rate)
            found["marks"] = told.marks
            found["fresh_marks"] = int((self._beside.told(MARK_FIELDS[0]) >= since).sum())
            found["funding_known"] = int(self.hours is not None)
            found["mark_reconnects"] = 0 if self.seat is None else self.seat.reconnects
        if self.polls:
            found["open_interest_polls"] = told.polls
        return found

    def _take(self, marks: Iterable[Mark], unread: int) -> None:
        """Keep marks of the symbols that are held."""
        self.told.unread += unread
        rows, hours = self._ring.rows, self.hours
        held = [mark for mark in marks if mark.symbol in rows]
        self.told.marks += len(held)
        if not held:
            return
        lengths = [hours.get(one.symbol, USUAL_HOURS) if hours is not None else nan for one in held]
        values = np.array([one[2:] for one in held]).T
        values[2] = values[2] * USUAL_HOURS / lengths
        self._keep(
            MARK_FIELDS,
            np.array([rows[one.symbol] for one in held]),
            np.array([one.time for one in held]),
            values,
        )

    def _keep(self, fields: Sequence[str], rows: I64, times: I64, values: F64) -> None:
        """Keep what was told at times that can be."""
        near = np.abs(times - self._gate.now()) <= ASTRAY * max(1.0, self._clock.rate)
        self.told.astray += int((~near).sum())
        self.told.late += self._beside.tell(
            fields, rows[near], times[near], np.ascontiguousarray(values[:, near])
        )

    async def _read(self) -> None:
        """Read the funding intervals when they are due, and marks at the start and while none are heard."""
        loop = asyncio.get_running_loop()
        while True:
            if self._gate.now() >= self._hours_due:
                done = await self._try(self._read_hours())
                self._hours_due = self._gate.now() + (HOURS_EVERY if done else HOURS_AGAIN)
            now = loop.time()
            if now - self._asked >= ASK_AGAIN and (self._asked < 0 or self._silence.silent()):
                self._asked = now
                await self._try(self._read_marks())
            await asyncio.sleep(LOOK)

    async def _read_hours(self) -> None:
        answer = await self._rest.ask(FUNDING_INFO, {}, weight=1, use=Use.CONTROL)
        self.hours = parse_funding_hours(answer.body)

    async def _read_marks(self) -> None:
        answer = await self._rest.ask(PREMIUM_INDEX, {}, weight=PREMIUM_INDEX_WEIGHT, use=Use.CONTROL)
        self._take(*parse_premiums(answer.body))

    async def _poll(self) -> None:
        """Ask for the open interest of one symbol after the other, evenly over a round."""
        while True:
            symbols = self._symbols()
            for symbol in symbols:
                due = self._clock.now() + int(self._every * ROUND * 1000 / len(symbols))
                if not self._gate.closed(self._gate.now()):
                    await self._try(self._ask_interest(symbol, Use.POLL))
                await asyncio.sleep(self._clock.seconds_until(due))
            if not symbols:
                await asyncio.sleep(LOOK)

    async def _ask_each(self, waiting: Iterable[str]) -> None:
        for symbol in waiting:
            await self._try(self._ask_interest(symbol, Use.WARM_UP))

    async def _ask_interest(self, symbol: str, use: Use) -> None:
        """Ask for one symbol's open interest: true when it was asked for, however long it has been so."""
        self.told.polls += 1
        answer = await self._rest.ask(OPEN_INTEREST, {"symbol": symbol}, weight=1, use=use)
        time, amount = parse_open_interest(answer.body)
        row, at = np.array([self._ring.rows[symbol]]), np.array([max(time, answer.asked)])
        self._keep((INTEREST_FIELD,), row, at, np.array([[amount]]))

    async def _try(self, work: Awaitable[None]) -> bool:
        """Do what is done again anyway; gives whether it was done."""
        try:
            await work
        except (FeedError, DataError) as exc:
            self.told.failures += 1
            self.told.last_failure = str(exc)
            return False
        return True
