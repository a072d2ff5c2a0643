"""The exchange's request budget: one gate that every REST call of the process passes.

The exchange counts weight per address in fixed UTC minutes of its own clock and answers a client that
goes on after the limit with a ban. `Budget` decides and never waits; `WeightGate` waits and never
decides. What other hubs of this machine have spent, and the bans they met, come from the `Account`.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Final

from klinehub.domain.clock import Clock
from klinehub.domain.moment import utc
from klinehub.errors import Banned, Blocked, DefinitionError, FeedError, Unreachable
from klinehub.feed.account import BAN, BLOCK, Account, Busy, Record, in_force
from klinehub.feed.breaker import Breaker
from klinehub.feed.use import Use

MINUTE: Final = 60_000
# An offset measured with /time is wrong by at most half a round trip. 50 ms covers a round trip of
# 100 ms; what a slower line gets wrong falls into the share that is never spent.
GUARD: Final = 50
BAN_MARGIN: Final = 1_000
# The most of the exchange's limit that each use may take in a minute, all of what may be spent for the rest.
SHARES: Final[Mapping[Use, float]] = {
    Use.ORDERS: 1.0,
    Use.CONTROL: 1.0,
    Use.PROBE: 0.1,
    Use.REPAIR: 0.5,
    Use.FORWARDED: 0.2,
    Use.WARM_UP: 1.0,
    Use.DEEPEN: 0.4,
    Use.AUDIT: 0.02,
    Use.POLL: 0.1,
}
MOST_WAITING: Final = 100_000
# Real seconds until the account is asked for again that another hub was writing to.
BUSY_PAUSE: Final = 0.005
# Minutes whose counts are remembered in case that the clock is set: the nearest ones.
MOST_LEFT: Final = 8


class Budget:
    """Counts the weight of one exchange minute; every method is told the exchange time *now* in ms.

    Each use has its share of the *limit* (`SHARES`, *audit* and *forwarded* theirs), and the first request
    of a use in a minute fits whatever its weight, so that a small limit stops none for ever. All uses
    together keep to *share*; only orders may spend what it leaves.
    """

    def __init__(
        self,
        limit: int,
        share: float | None,
        *,
        audit: float = SHARES[Use.AUDIT],
        forwarded: float = SHARES[Use.FORWARDED],
    ) -> None:
        parts = (1.0 if share is None else share, audit, forwarded)
        if limit < 1 or not all(0 <= part <= 1 for part in parts) or not parts[0]:
            text = f"A weight limit of {limit} with a share of {share} is no budget: use a limit above 0"
            raise DefinitionError(f"{text} and a share above 0 and at most 1.")
        self.cap = None if share is None else int(limit * share)
        own = {Use.AUDIT: audit, Use.FORWARDED: forwarded}
        self.shares = {use: int(limit * part) for use, part in {**SHARES, **own}.items()}
        self.banned_until = 0
        self.calls = 0
        self.spent = 0
        self.used = 0
        # All that was spent for each use since the start.
        self.for_use: Counter[Use] = Counter()
        self._by_use: Counter[Use] = Counter()
        self._flying: Counter[Use] = Counter()
        self._minute = 0
        self._left: dict[int, tuple[int, Counter[Use]]] = {}

    def roll(self, now: int) -> None:
        """Begin the minute of *now*: what is still on its way may land in it, so it counts again.

        A clock that is set back keeps its count, unless that of the minute it goes to is remembered.
        """
        minute = now // MINUTE
        if minute == self._minute:
            return
        self._left[self._minute] = self.used, self._by_use.copy()
        known = self._left.get(minute)
        if known is not None or minute > self._minute:
            used, by_use = known or (0, Counter[Use]())
            self.used = used + self._flying.total()
            self._by_use = by_use + self._flying
        self._minute = minute
        near = sorted(self._left, key=lambda left: abs(left - minute))[:MOST_LEFT]
        self._left = {left: self._left[left] for left in near}

    def cap_of(self, use: Use) -> int | None:
        """Give what may be spent in a minute when something for *use* leaves; None if the cap is lifted."""
        return self.cap if self.cap is None or use is not Use.ORDERS else self.shares[use]

    def check(self, weight: int, use: Use = Use.WARM_UP) -> None:
        """Refuse a request that no minute has room for."""
        cap = self.cap_of(use)
        if cap is not None and weight > cap:
            text = f"One request of weight {weight} never fits into a budget of {cap} a minute"
            raise DefinitionError(f"{text}: raise the share of the limit that klinehub may spend.")

    def opening(self, weight: int, now: int, use: Use = Use.WARM_UP) -> int:
        """Give the exchange time from which *weight* may be spent; *now* itself if at once."""
        self.roll(now)
        if self.cap is None:
            return now
        start = self._minute * MINUTE + GUARD
        if now < start:
            return start
        spent = self._by_use[use]
        in_share = not spent or spent + weight <= self.shares[use]
        return now if in_share and not self.full(weight, use) else start + MINUTE

    def full(self, weight: int, use: Use = Use.WARM_UP) -> bool:
        """Say whether the minute has no room for *weight*, even where the use's own share has."""
        cap = self.cap_of(use)
        return cap is not None and self.used + weight > cap

    def spend(self, weight: int, use: Use = Use.WARM_UP) -> None:
        """Count a request that leaves now."""
        self._count(1, weight, use)

    def refund(self, weight: int, use: Use = Use.WARM_UP) -> None:
        """Take back a request that was counted and then never left."""
        self._count(-1, -weight, use)

    def landed(self, weight: int, use: Use = Use.WARM_UP) -> None:
        """Count a request as answered or failed: it can not land in a later minute any more."""
        self._flying[use] -= weight

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

    def _count(self, calls: int, weight: int, use: Use) -> None:
        self.calls += calls
        self.spent += weight
        self.used += weight
        self.for_use[use] += weight
        self._by_use[use] += weight
        self._flying[use] += weight


class WeightGate:
    """Lets REST calls through by urgency, at most *share* of *limit* weight per exchange minute.

    Within a use it is first come, first served; a use whose own share is spent waits for the next minute
    and holds up no other. What *share* leaves of the limit is for orders. `share=None` lifts all that: calls
    are still counted, bans still obeyed. Exchange time is the clock's plus `offset` (ms), which the feed
    learns from the exchange. With an *account* the weight is that of all hubs of the machine that ask
    *host*, and bans outlive them.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        limit: int = 2400,
        share: float | None = 0.8,
        audit: float = SHARES[Use.AUDIT],
        forwarded: float = SHARES[Use.FORWARDED],
        account: Account | None = None,
        host: str = "",
        breaker: Breaker | None = None,
    ) -> None:
        self.breaker = breaker or Breaker()
        self._clock = clock
        self._budget = Budget(limit, share, audit=audit, forwarded=forwarded)
        self._account = account
        self._host = host
        self._offset = 0
        self._lines: dict[Use, OrderedDict[asyncio.Future[int], int]] = {use: OrderedDict() for use in Use}
        self._timer: asyncio.TimerHandle | None = None
        self.bans = 0
        if (record := self._read()) is not None:
            self._offset = record.offset
            self._adopt(record, self.now())

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
        """The weight that counts against the current exchange minute, that of other hubs included."""
        now = self.now()
        self._budget.roll(now)
        if (record := self._read()) is not None:
            self._adopt(record, now)
        return self._budget.used

    @property
    def spent_by_use(self) -> dict[Use, int]:
        """The weight of all REST calls let through since the start, by what they were for."""
        return {use: self._budget.for_use[use] for use in Use}

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return sum(map(len, self._lines.values()))

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
        if self._account is not None and offset != self._offset:
            self._account.clocked(self._host, offset)
        self._offset = offset
        self._pump()

    def now(self) -> int:
        """Give the exchange time in ms UTC."""
        return self._clock.now() + self._offset

    def closed(self, now: int) -> str:
        """Say in a few words why nothing may be asked now, and until when; nothing if it may."""
        if self._budget.barred(now):
            return f"banned until {utc(self._budget.banned_until)}"
        return self.breaker.closed(now)

    def share(self, use: Use) -> int:
        """Give the most weight that a use may take in a minute."""
        return self._budget.shares[use]

    def wait(self, weight: int, use: Use) -> float:
        """Give the real seconds that a request would wait at least, as things are now; 0 for none."""
        now = self.now()
        return self._clock.seconds_until(self._budget.opening(weight, now, use) - self._offset)

    async def take(self, weight: int, use: Use = Use.WARM_UP) -> int:
        """Wait until *weight* may be spent, spend it and give the exchange time (ms) at that moment.

        Raises `Banned`, `Blocked` or `Unreachable` at once when the gate is closed or closes while
        waiting. Every call that was let through is followed by one `landed` with the same weight and use.
        """
        self._budget.check(weight, use)
        if (refusal := self._refusal(self.now())) is not None:
            raise refusal
        if self.waiting >= MOST_WAITING:
            text = f"{MOST_WAITING:,} REST requests wait for the budget of {self.cap} a minute already"
            raise FeedError(f"{text}: ask for less, or raise the share of the limit that klinehub may spend.")
        turn: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._lines[use][turn] = weight
        self._pump()
        if turn.done():
            return turn.result()
        try:
            return await turn
        except asyncio.CancelledError:
            self._give_back(weight, use, turn)
            raise

    def landed(self, weight: int, use: Use = Use.WARM_UP, asked: int | None = None) -> None:
        """Say that a call let through by `take` at *asked* was answered or has failed."""
        self._budget.landed(weight, use)
        self.breaker.released()
        if self._account is not None:
            self._account.landed(self._host, self.now() if asked is None else asked, weight)

    def seen(self, used: int | None, at: int) -> None:
        """Take over the exchange's own count from the answer to a call let through at *at*."""
        if used is None:
            return
        before = self._budget.used
        self._budget.seen(used, at, self.now())
        if self._account is not None and self._budget.used > before:
            self._account.seen(self._host, at, used)

    def answered(self) -> None:
        """Say that the exchange answered a call, with whatever it had to say: it is there."""
        if self._account is not None and self.breaker.status:
            self._account.block(self._host, 0, 0)
        self.breaker.answered()

    def failed(self, asked: int, why: str = "", *, overloaded: bool = False) -> None:
        """Say that a call let through at *asked* was not answered; after some in a row the gate rests."""
        now = self.now()
        if overloaded:
            self.breaker.overloaded(now, why)
        else:
            self.breaker.failed(asked, now, why)
        self._turn_away(now)

    def blocked(self, status: int) -> None:
        """Say that the exchange or a firewall refused this address with 403 or 451."""
        now = self.now()
        self.breaker.blocked(status, now)
        if self._account is not None:
            self._account.block(self._host, self.breaker.until, status)
        self._turn_away(now)

    def nudge(self) -> None:
        """Say that something else got through: a host that rests is probed by the next request."""
        self.breaker.nudge(self.now())

    def banned(self, until: int) -> None:
        """Let nothing through before exchange time *until* (ms); waiting calls fail at once."""
        now = self.now()
        self.bans += not self._budget.barred(now)
        self._budget.ban(min(until, now + BAN - BAN_MARGIN))
        if self._account is not None:
            self._account.ban(self._host, self._budget.banned_until)
        self._turn_away(now)

    def refusal(self, why: str = "") -> Banned:
        """Give the error that says until when the exchange refuses this address, and what helps."""
        until = self._budget.banned_until
        text = f"The exchange accepts no request from this address before {utc(until)}{why}"
        way_out = "klinehub asks nothing until then; stop other programs that use this address."
        return Banned(f"{text}. {way_out}", until)

    def _refusal(self, now: int) -> FeedError | None:
        """Give the error that a request meets while the gate is closed; None if it is open."""
        if self._budget.barred(now):
            return self.refusal()
        if not (why := self.breaker.closed(now)):
            return None
        if self.breaker.status:
            way_out = "klinehub asks again then; try another network or set network.proxy."
            return Blocked(f"REST is {why}. {way_out}")
        return Unreachable(f"REST is {why}: klinehub asks again then, or when a stream connects.")

    def _turn_away(self, now: int) -> None:
        """Fail everyone who waits, if the gate is closed now."""
        if self._refusal(now) is None:
            return
        for line in self._lines.values():
            while line:
                turn, _ = line.popitem(last=False)
                if not turn.done():
                    turn.set_exception(self._refusal(now) or self.refusal())
        self._disarm()

    def _give_back(self, weight: int, use: Use, turn: "asyncio.Future[int]") -> None:
        """Take a cancelled caller out of the queue, with what it was already granted."""
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            self._budget.refund(weight, use)
            self.breaker.released()
            if self._account is not None:
                self._account.refund(self._host, turn.result(), weight)
        self._lines[use].pop(turn, None)
        self._pump()

    def _pump(self) -> None:
        """Let through everyone whose moment has come, the most urgent first; set the timer for the next."""
        self._disarm()
        delays: list[float] = []
        for use, line in self._lines.items():
            delay = self._drain(use, line)
            if delay is None:
                continue
            delays.append(delay)
            # A use that waits for its own share lets others pass, one that waits for the minute does not.
            if delay == BUSY_PAUSE or self._budget.full(next(iter(line.values())), use):
                break
        if delays:
            self._timer = asyncio.get_running_loop().call_later(min(delays), self._pump)

    def _drain(self, use: Use, line: "OrderedDict[asyncio.Future[int], int]") -> float | None:
        """Let those of one use through who may; give the real seconds until one who waits may try."""
        while line:
            turn, weight = next(iter(line.items()))
            now = self.now()
            if self.closed(now):
                self._turn_away(now)
                return None
            opening = self._budget.opening(weight, now, use)
            if opening > now:
                return self._clock.seconds_until(opening - self._offset)
            try:
                granted = turn.done() or self._spend(weight, use, now)
            except Busy:
                return BUSY_PAUSE
            if granted:
                del line[turn]
            if granted and not turn.done():
                turn.set_result(now)
        return None

    def _spend(self, weight: int, use: Use, now: int) -> bool:
        """Spend *weight*, from the shared account first; False when others left too little or met a ban."""
        cap = self._budget.cap_of(use)
        shared = None if self._account is None else self._account.spend(self._host, now, weight, cap)
        if shared is not None and not shared[0]:
            self._adopt(shared[1], now)
            if not self.closed(now) and not self._budget.full(weight, use):
                raise Busy
            return False
        self._budget.spend(weight, use)
        self.breaker.leave(now)
        if shared is not None:
            self._adopt(shared[1], now)
        return True

    def _read(self) -> Record | None:
        try:
            return None if self._account is None else self._account.read(self._host)
        except Busy:
            return None

    def _adopt(self, record: Record, now: int) -> None:
        """Take over what other hubs, or earlier runs, have spent in this minute and met with."""
        self._budget.seen(record.slot(now // MINUTE).used, now, now)
        if in_force(record.banned_until, now, BAN):
            self._budget.banned_until = max(self._budget.banned_until, record.banned_until)
        if in_force(record.blocked_until, now, BLOCK):
            self.breaker.adopt(record.status, record.blocked_until, now)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
