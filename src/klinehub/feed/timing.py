"""Timing: keeps the gate on the exchange's time, and says how early a moment may have been."""

import asyncio
from collections.abc import Callable
from typing import Final

from klinehub.domain.clock import Clock
from klinehub.domain.timeframe import Timeframe
from klinehub.errors import FeedError
from klinehub.feed import binance
from klinehub.feed.budget import WeightGate
from klinehub.feed.exchange_time import ExchangeTime, Verdict
from klinehub.feed.rest import Answer, RestClient
from klinehub.feed.use import Use
from klinehub.panel.merge import PROOF

# More than this is as bad as not knowing the time at all.
MOST_MARGIN: Final = 3_600_000
# So many reads in a row have to hold events this far ahead of our clock (ms of real time) to be believed.
EVENTS: Final = 8
AHEAD: Final = 1_000


class Timing:
    """Reads the exchange's time when that is due; *on_doubt* is told when it fits no more, and again.

    `fits` says whether the time can be trusted.
    """

    def __init__(
        self, rest: RestClient, gate: WeightGate, clock: Clock, *, on_doubt: Callable[[bool], None]
    ) -> None:
        self.fits = True
        self.jumps = 0
        self._rest = rest
        self._gate = gate
        self._clock = clock
        self._on_doubt = on_doubt
        self._time = ExchangeTime(factor=max(1.0, clock.rate))
        self._reading = False
        self._events = self._least = 0

    @property
    def margin(self) -> int:
        """How wrong the gate's time may be, in ms."""
        return min(MOST_MARGIN, self._time.uncertainty(self._clock.now()))

    @property
    def due(self) -> bool:
        """Whether the exchange's time should be read now."""
        return not self._reading and self._time.due(self._clock.now())

    async def read(self) -> None:
        """Ask for the exchange's time once; raises a `FeedError` when there is no answer."""
        self._reading = True
        try:
            answer = await self._rest.ask(self._rest.venue.time, {}, weight=1, use=Use.CONTROL)
            now = self._clock.now()
            told = binance.parse_time(answer.body)
        except FeedError:
            self._time.on_failed(self._clock.now())
            raise
        finally:
            self._reading = False
        verdict = self._time.on_answer(answer.asked - self._gate.offset, now, told)
        self._gate.offset = self._time.offset
        self._judge(verdict)
        if not self.fits and self._time.settled:
            self._say(fits=True)

    async def past_proof(self, base: Timeframe) -> None:
        """Let the moments pass in which REST cannot prove the newest bar of a timeframe closed."""
        opened = base.open_time(base.index(self._gate.now()))
        proven = opened + PROOF + 100 + self.margin
        await asyncio.sleep(self._clock.seconds_until(proven - self._gate.offset))

    def proof(self, answer: Answer) -> int:
        """Give the earliest exchange time at which an answer can have been asked for.

        The exchange's own `Date` bounds what our clock says: no clock of ours proves a bar closed alone.
        """
        raw, now = answer.asked - self._gate.offset, self._clock.now()
        earliest = self._time.earliest(raw)
        if answer.told is None:
            return earliest
        self._judge(self._time.on_date(raw, now, answer.told))
        return min(earliest, answer.told)

    def on_event(self, event_time: int) -> None:
        """Compare an event's time with ours.

        While nobody may be asked for the time, a row of events that are all ahead of us moves it forward:
        the exchange's clock shows no less. A ban would else last for as long as our clock was set back.
        """
        now = self._clock.now()
        self._judge(self._time.on_event(now, event_time))
        ahead = event_time - now
        if ahead <= self._gate.offset + AHEAD * max(1.0, self._clock.rate):
            self._events = 0
            return
        self._least = min(self._least, ahead) if self._events else ahead
        self._events += 1
        if self._events >= EVENTS and self._gate.closed(self._gate.now()):
            self._gate.offset = self._least
            self._events = 0

    def on_tick(self, now: int, expected: int) -> None:
        """Compare the time at which a timer fired, by our own clock, with the one it was set for."""
        self._judge(self._time.on_tick(now, expected))

    def _judge(self, verdict: Verdict) -> None:
        if verdict in {Verdict.PAUSED, Verdict.JUMPED}:
            self.jumps += 1
            self._say(fits=False)

    def _say(self, *, fits: bool) -> None:
        self.fits = fits
        self._on_doubt(fits)
