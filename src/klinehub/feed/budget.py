"""The exchange's request budget: one gate that every REST call of the process passes.

The exchange counts weight per address in fixed UTC minutes of its own clock and answers a client that
goes on after the limit with a ban. `Budget` decides and never waits; `WeightGate` waits and never
decides.
"""

import asyncio
from collections import deque
from datetime import UTC, datetime
from typing import Final

from klinehub.domain.clock import Clock
from klinehub.errors import Banned, DefinitionError

MINUTE: Final = 60_000
# An offset measured with /time is wrong by at most half a round trip. 50 ms covers a round trip of
# 100 ms; what a slower line gets wrong falls into the share that is never spent.
GUARD: Final = 50
BAN_MARGIN: Final = 1_000


class Budget:
    """Counts the weight of one exchange minute; every method is told the exchange time *now* in ms."""

    def __init__(self, limit: int, share: float | None) -> None:
        if limit < 1 or (share is not None and not 0 < share <= 1):
            text = f"A weight limit of {limit} with a share of {share} is no budget: use a limit above 0"
            raise DefinitionError(f"{text} and a share above 0 and at most 1.")
        self.cap = None if share is None else int(limit * share)
        self.banned_until = 0
        self.calls = 0
        self.spent = 0
        self.used = 0
        self._flying = 0
        self._minute = 0

    def roll(self, now: int) -> None:
        """Begin the minute of *now*: what is still on its way may land in it, so it counts again."""
        minute = now // MINUTE
        if minute > self._minute:
            self.used = self._flying
        self._minute = minute

    def check(self, weight: int) -> None:
        """Refuse a request that no minute has room for."""
        if self.cap is not None and weight > self.cap:
            text = f"One request of weight {weight} never fits into a budget of {self.cap} a minute"
            raise DefinitionError(f"{text}: raise the share of the limit that klinehub may spend.")

    def opening(self, weight: int, now: int) -> int:
        """Give the exchange time from which *weight* may be spent; *now* itself if at once."""
        self.roll(now)
        if self.cap is None:
            return now
        start = self._minute * MINUTE + GUARD
        if now < start:
            return start
        return now if self.used + weight <= self.cap else start + MINUTE

    def spend(self, weight: int) -> None:
        """Count a request that leaves now."""
        self.calls += 1
        self.spent += weight
        self.used += weight
        self._flying += weight

    def refund(self, weight: int) -> None:
        """Take back a request that was counted and then never left."""
        self.calls -= 1
        self.spent -= weight
        self.used -= weight
        self._flying -= weight

    def landed(self, weight: int) -> None:
        """Count a request as answered or failed: it can not land in a later minute any more."""
        self._flying -= weight

    def seen(self, used: int, asked: int, now: int) -> None:
        """Follow the exchange's count if it is higher: another program spends on this address too.

        An answer to a request *asked* in an earlier minute may carry the count of either, so it is
        left out. A lower count is not followed: some endpoints report too little.
        """
        self.roll(now)
        if asked // MINUTE == self._minute:
            self.used = max(self.used, used)

    def ban(self, until: int) -> None:
        """Close the gate until *until* and a margin; a ban never gets shorter."""
        self.banned_until = max(self.banned_until, until + BAN_MARGIN)

    def barred(self, now: int) -> bool:
        """Say whether a ban is in force."""
        return now < self.banned_until


class WeightGate:
    """Lets REST calls through in order, at most *share* of *limit* weight per exchange minute.

    `share=None` lifts the limit: calls are still counted, bans still obeyed. Exchange time is the
    clock's plus `offset` (ms), which the feed learns from the exchange.
    """

    def __init__(self, clock: Clock, *, limit: int = 2400, share: float | None = 0.8) -> None:
        self._clock = clock
        self._budget = Budget(limit, share)
        self._offset = 0
        self._queue: deque[tuple[int, asyncio.Future[int]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def lifted(self) -> bool:
        """Whether calls are only counted, never delayed."""
        return self._budget.cap is None

    @property
    def cap(self) -> int | None:
        """The weight that may be spent per exchange minute; None if lifted."""
        return self._budget.cap

    @property
    def calls(self) -> int:
        """All REST calls let through since the start."""
        return self._budget.calls

    @property
    def spent(self) -> int:
        """The weight of all REST calls let through since the start."""
        return self._budget.spent

    @property
    def used(self) -> int:
        """The weight that counts against the current exchange minute."""
        self._budget.roll(self.now())
        return self._budget.used

    @property
    def banned_until(self) -> int:
        """The exchange time (ms) before which nothing may be asked; 0 if there was no ban."""
        return self._budget.banned_until

    @property
    def offset(self) -> int:
        """How far the exchange's clock is ahead of ours, in ms."""
        return self._offset

    @offset.setter
    def offset(self, offset: int) -> None:
        self._offset = offset
        self._pump()

    def now(self) -> int:
        """Give the exchange time in ms UTC."""
        return self._clock.now() + self._offset

    async def take(self, weight: int) -> int:
        """Wait until *weight* may be spent, spend it and give the exchange time (ms) at that moment.

        Raises `Banned` at once when a ban is in force or begins while waiting. Every call that was
        let through is followed by one `landed` with the same weight.
        """
        now = self.now()
        self._budget.check(weight)
        if self._budget.barred(now):
            raise self.refusal()
        if not self._queue and self._budget.opening(weight, now) <= now:
            self._budget.spend(weight)
            return now
        turn: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.append((weight, turn))
        self._pump()
        try:
            return await turn
        except asyncio.CancelledError:
            self._give_back(weight, turn)
            raise

    def landed(self, weight: int) -> None:
        """Say that a call let through by `take` was answered or has failed."""
        self._budget.landed(weight)

    def seen(self, used: int | None, at: int) -> None:
        """Take over the exchange's own count from the answer to a call let through at *at*."""
        if used is not None:
            self._budget.seen(used, at, self.now())

    def banned(self, until: int) -> None:
        """Let nothing through before exchange time *until* (ms); waiting calls fail at once."""
        self._budget.ban(until)
        while self._queue:
            _, turn = self._queue.popleft()
            if not turn.done():
                turn.set_exception(self.refusal())
        self._disarm()

    def refusal(self, why: str = "") -> Banned:
        """Give the error that says until when the exchange refuses this address, and what helps."""
        until = self._budget.banned_until
        text = f"The exchange accepts no request from this address before {utc(until)}{why}"
        way_out = "klinehub asks nothing until then; stop other programs that use this address."
        return Banned(f"{text}. {way_out}", until)

    def _give_back(self, weight: int, turn: "asyncio.Future[int]") -> None:
        """Take a cancelled caller out of the queue, with what it was already granted."""
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            self._budget.refund(weight)
        self._queue = deque(entry for entry in self._queue if entry[1] is not turn)
        self._pump()

    def _pump(self) -> None:
        """Let through everyone whose moment has come, in order, and set the timer for the next."""
        self._disarm()
        while self._queue:
            weight, turn = self._queue[0]
            now = self.now()
            opening = self._budget.opening(weight, now)
            if opening > now:
                delay = self._clock.seconds_until(opening - self._offset)
                self._timer = asyncio.get_running_loop().call_later(delay, self._pump)
                return
            self._queue.popleft()
            if not turn.done():
                self._budget.spend(weight)
                turn.set_result(now)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def utc(time: int) -> str:
    """Write a time in ms as people read it."""
    return datetime.fromtimestamp(time / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
