"""Liveness: whether what is kept of a symbol is proven fresh, judged by the age of its data alone.

1. A symbol is fresh while its stream has told a kline, or was proved quiet, in the last few seconds.
   Sockets and acknowledgements prove nothing: the exchange acknowledges streams that do not exist.
2. One light request tells of every symbol when it last traded (`ticker/price`: in a recorded body of 519 rows
   the times lie 0 s to 15 months back, half of them over 9 s). Who has told that trade is quiet, and proved.
3. A stream that owes a trade made since it was subscribed is stale. It is subscribed anew, then given a new
   socket; a socket whose streams are all silent takes another route. Meanwhile closed bars come by REST.
4. A symbol that was marked stale is fresh again when it is heard, or proved quiet, after that.
5. Where no request tells the times of trades (spot), klines are the proof: a stream that has not told a
   minute's end is asked about by one light request, and owes the trades that only the answer has.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from klinehub.domain.stale import Reason
from klinehub.feed.decisions import Decisions, Fetch, Renew, Reroute, Resubscribe
from klinehub.feed.roster import Roster
from klinehub.feed.use import Use
from klinehub.panel.memory import I64
from klinehub.panel.ring import Ring

# All in ms of real time; market time may run faster.
OVERDUE: Final = 2_500  # a stream that is silent for longer is asked about
UNPROVEN: Final = 6_000  # a symbol that nothing proved fresh for this long is stale
SEAT_UNPROVEN: Final = 3_500  # the same where all streams of a socket are silent
UNJUDGED: Final = 2_000  # what was judged longer ago says nothing: the process stood still
TELLS_WITHIN: Final = 1_500  # a stream tells a trade at the latest after this
# An answer of REST may end so long before it was asked for, and its Date does not say so: a replica lags.
LAGS: Final = 20_000
AHEAD: Final = 1_000
PRICES_EVERY: Final = 2_000
PROBE_AGAIN: Final = 5_000
NEXT_STEP: Final = (6_000, 15_000, 60_000)
SEAT_STEP: Final = 10_000
SEAT_AGAIN: Final = 60_000
# Single streams asked about at a time; more wait for the next look.
MOST_PROBES: Final = 20

Flags = npt.NDArray[np.bool_]


class Patience(NamedTuple):
    """How long a stream may be silent, in ms of real time.

    After *overdue* it is asked about, after *unproven* its symbol is stale, and after *seat_unproven* all of
    a socket whose streams are all silent. *tells_within* is how soon it tells a trade at the latest. With
    *by_klines* what it owes shows in klines, symbol by symbol, else in the times of all last trades.
    """

    overdue: int
    unproven: int
    seat_unproven: int
    tells_within: int
    by_klines: bool = False

    def at(self, pace: float) -> "Patience":
        """Give the same in ms of a market time that runs *pace* times real time."""
        overdue, unproven, seat_unproven, tells_within = (int(span * pace) for span in self[:4])
        return Patience(overdue, unproven, seat_unproven, tells_within, self.by_klines)


BY_PRICES: Final = Patience(OVERDUE, UNPROVEN, SEAT_UNPROVEN, TELLS_WITHIN)


@dataclass(slots=True)
class _Seat:
    """A group of streams on one socket: whether it is up since when, and up to when it has told klines."""

    up: bool = False
    route: str = ""
    since: int = 0
    heard: int = 0
    acted: int = 0


class Liveness:
    """Judges every stream of a ring; *pace* is how much faster than real time market time runs."""

    def __init__(
        self, ring: Ring, roster: Roster, patience: Patience = BY_PRICES, *, pace: float = 1.0
    ) -> None:
        self._ring = ring
        self._roster = roster
        self._pace = max(1.0, pace)
        self._patience = patience.at(self._pace)
        # How far ahead of our clock an event's time is believed.
        self.ahead = int(AHEAD * self._pace)
        self._streamed = [ring.number[tf.name] for tf in ring.streamed]
        shape = (len(ring.timeframes), ring.capacity)
        self._seat_of = np.zeros(shape, np.int64)
        # Exchange times by stream: REST loaded, proved quiet, marked stale, subscribed, and more.
        self._loaded, self._proved, self._marked, self._since, self._tried, self._probed, self._acted = (
            np.zeros(shape, np.int64) for _ in range(7)
        )
        # The oldest trade that a stream has not told, the same once it had the time to, and the steps taken.
        self._untold, self._owed, self._level = (np.zeros(shape, np.int64) for _ in range(3))
        self._lacks = np.zeros(shape, bool)
        self._why = np.full(shape, int(Reason.STARTING))
        self._seats: list[_Seat] = []
        self._prices_asked = self._prices_known = 0
        self._judged = 0
        self._gaps = np.empty(0, np.int64)

    def assign(self, seat: int, symbols: Iterable[str], timeframe: str) -> None:
        """Say on which seat these symbols' streams of a timeframe are."""
        t = self._ring.number[timeframe]
        for symbol in symbols:
            row = self._ring.rows[symbol]
            self._seat_of[t, row], self._since[t, row] = seat, self._seat(seat).since

    def begin(self) -> None:
        """Mark who has told nothing yet, before anybody looks."""
        memory, rows = self._ring.memory, self._roster.rows
        unheard = rows[memory.heard[:, rows].max(axis=0) == 0]
        memory.stale[unheard, 0] = np.maximum(memory.stale[unheard, 0], Reason.STARTING)

    def unjudged(self, now: int) -> int:
        """Give when everything was judged last if that is too long ago to be believed at *now*, else 0."""
        # Before the first look nobody was called fresh.
        return self._judged if now - self._judged > UNJUDGED * self._pace else 0

    def judged(self, now: int) -> None:
        """Say that others have judged everything at exchange time *now*."""
        self._judged = now

    def heard(self, seat: int, told: int, now: int) -> None:
        """Note that a seat told klines up to exchange time *told*."""
        one = self._seat(seat)
        one.heard = max(one.heard, min(told, now + self.ahead))

    def on_seat(self, seat: int, now: int, *, up: bool, route: str = "") -> None:
        """Note that a seat's socket is subscribed, or lost; its symbols are stale at once when it is lost.

        What comes up owes nothing yet. A seat that stays up through a hand-over has proven its new socket.
        """
        one, rows = self._seat(seat), self._seat_of == seat
        if one.up and not up:
            self._mark(rows, Reason.LOST, now)
        if up:
            self._begin(rows, now, proven=one.up)
        if up != one.up:
            one.up, one.since = up, now
        one.route = route
        self._write(now)

    def mark_all(self, reason: Reason, now: int) -> None:
        """Mark everything stale until it is heard or proved after *now*: the clock before it was wrong."""
        self._forget_after(now)
        self.hold(reason, now)

    def hold(self, reason: Reason, now: int) -> None:
        """Keep everything stale for now, whatever was heard."""
        self._mark(np.ones(self._marked.shape, bool), reason, now)

    def _forget_after(self, now: int) -> None:
        """Let no time lie in the future: what waits for one would wait as long as the clock was set back."""
        kept = [self._loaded, self._proved, self._marked, self._since, self._tried, self._probed]
        for times in (self._ring.memory.heard, *kept, self._acted, self._owed, self._untold):
            np.minimum(times, now, out=times)
        for seat in self._seats:
            seat.heard, seat.since, seat.acted = (
                min(time, now) for time in (seat.heard, seat.since, seat.acted)
            )
        self._prices_asked, self._prices_known = 0, min(self._prices_known, now)

    def loaded(self, t: int, row: int, asked: int, *, proven: bool = False) -> None:
        """Note that the ring holds what REST knew of a symbol's newest bar at exchange time *asked*.

        With *proven* that counts as fresh by itself, as long as nothing speaks against the stream.
        """
        self._loaded[t, row] = max(int(self._loaded[t, row]), asked)
        if proven and not self._owed[t, row]:
            self._proved[t, row] = max(int(self._proved[t, row]), asked)
        self._lacks[t, row] = False

    def on_klines(self, t: int, row: int, opened: int | None, asked: int, *, newest: bool) -> None:
        """Judge a stream by klines that REST knew at exchange time *asked*, where no trade times are told.

        *opened* is when the last bar opened of which they have trades that nobody had told, *newest* whether
        they hold the newest bar. Trades of the bar in which the stream was subscribed may be from before.
        """
        if not self._patience.by_klines:
            return
        if self._untold[t, row] > self._ring.memory.heard[t, row]:
            return
        if opened is None and newest and asked >= self._tried[t, row] + LAGS:
            self._proved[t, row] = max(int(self._proved[t, row]), asked)
        elif opened is not None and opened >= self._since[t, row]:
            self._untold[t, row] = asked

    def _count_owed(self, t: int, rows: I64, now: int) -> None:
        """Let streams owe what klines have shown, once they had the time to tell it."""
        untold, told = self._untold[t, rows], np.maximum(self._ring.memory.heard, self._since)[t, rows]
        untold = np.where(untold > told, untold, 0)
        self._untold[t, rows] = untold
        self._owed[t, rows] = np.where(untold < now - self._patience.tells_within, untold, 0)

    def on_prices(self, traded: Mapping[str, int], asked: int) -> None:
        """Judge every stream by when its symbol last traded, as REST knew at exchange time *asked*."""
        rows = self._roster.rows
        self._prices_known = max(self._prices_known, asked)
        last = np.array([traded.get(self._ring.symbols[row], -1) for row in rows.tolist()], np.int64)
        tells = self._patience.tells_within
        for t in self._streamed:
            since = self._since[t, rows]
            told = np.maximum(self._ring.memory.heard[t, rows], since)
            # The oldest trade that is not told counts: where much is traded, the last is always young.
            before = self._untold[t, rows]
            untold = np.where(last > told, np.where(before > told, before, last), 0)
            self._untold[t, rows] = untold
            owes = (untold > 0) & (untold < asked - tells)
            self._owed[t, rows] = np.where(owes, untold, 0)
            # Only what was told counts as held: what a warm-up has proved may come from a replica that lags,
            # and would go on to prove itself at each look.
            loaded = self._loaded[t, rows]
            held = np.maximum(self._ring.memory.heard[t, rows], loaded - LAGS)
            quiet = rows[(last >= 0) & (last <= held) & ~owes & (asked >= self._tried[t, rows] + 2 * tells)]
            self._proved[t, quiet] = np.maximum(self._proved[t, quiet], asked)
            worth_asking = (last > loaded) | (asked >= last + LAGS)
            self._lacks[t, rows] = (last > held) & worth_asking & (untold < asked - tells)

    def check(self, now: int, gaps: Iterable[int], into: Decisions) -> None:
        """Judge every stream at exchange time *now* and write who is stale; rows with *gaps* are."""
        if now < self._judged:
            self._forget_after(now)
        for t in self._streamed:
            self._check_streams(t, now, into)
        for number in range(len(self._seats)):
            self._check_seat(number, now, into)
        self._gaps = np.fromiter(gaps, np.int64)
        self._judged = now
        self._write(now)

    def _check_streams(self, t: int, now: int, into: Decisions) -> None:
        """Ask about the streams of a timeframe that are overdue, and mark those that nothing proves fresh."""
        rows = self._roster.rows
        known, pending = self._known()[t, rows], self._pending()[t, rows]
        self._owed[t, rows[self._ring.memory.heard[t, rows] >= self._owed[t, rows]]] = 0
        if self._patience.by_klines:
            self._count_owed(t, rows, now)
        owes = self._owed[t, rows] > 0
        age = now - known
        silent = rows[~pending & (owes | (age > self._patience.unproven))]
        self._mark((t, silent), Reason.SILENT, now)
        overdue = pending | (age > self._patience.overdue)
        if self._patience.by_klines:
            # Sooner after a subscription an answer would prove nothing: a replica may lag behind it.
            self._lacks[t, rows] |= overdue & (now >= self._tried[t, rows] + LAGS)
        elif overdue.any() and now - self._prices_asked >= PRICES_EVERY * self._pace:
            self._prices_asked, into.prices = now, True
        # A proof by REST says nothing of the stream: only what it tells ends the steps.
        self._level[t, rows[self._ring.memory.heard[t, rows] > self._acted[t, rows]]] = 0
        rested = now - self._probed[t, rows] > PROBE_AGAIN * self._pace
        rested &= ~np.isin(rows, self._gaps)  # the repair of a gap tells of its newest bar, too
        for row in rows[self._lacks[t, rows] & rested][:MOST_PROBES].tolist():
            self._probed[t, row] = now
            name = self._ring.timeframes[t].name
            into.fetches.append(Fetch(self._ring.symbols[row], name, None, 2, Use.PROBE))
        self._escalate(t, rows[owes], now, into)

    def _escalate(self, t: int, rows: I64, now: int, into: Decisions) -> None:
        """Take the next step for streams that owe trades on sockets that are up."""
        silent: dict[int, list[str]] = {}
        for row in rows.tolist():
            level, number = int(self._level[t, row]), int(self._seat_of[t, row])
            seat, symbol = self._seats[number], self._ring.symbols[row]
            if not seat.up or (level and now - self._acted[t, row] < NEXT_STEP[level - 1] * self._pace):
                continue
            self._level[t, row], self._acted[t, row] = min(level + 1, len(NEXT_STEP)), now
            self._begin((t, np.array([row])), now, proven=False)
            if level == 1 and now - seat.acted >= SEAT_STEP * self._pace:
                seat.acted = now
                into.steps.append(Renew(number, f"{symbol} is silent", overlap=True))
            else:
                silent.setdefault(number, []).append(symbol)
        into.steps += [Resubscribe(number, tuple(names)) for number, names in silent.items()]

    def _check_seat(self, number: int, now: int, into: Decisions) -> None:
        """Mark the streams of a seat that is silent as a whole, and give it another socket or route."""
        seat = self._seats[number]
        silent_for = now - max(seat.heard, seat.since)
        if not seat.up or silent_for <= self._patience.seat_unproven:
            return
        followed = np.zeros(self._marked.shape, bool)
        for t in self._streamed:
            followed[t, self._roster.rows] = True
        late = now - self._known() > self._patience.seat_unproven
        unproven = late & followed & (self._seat_of == number)
        self._mark(unproven & ~self._pending(), Reason.FEED_SILENT, now)
        if unproven.any():
            owes = bool((followed & (self._seat_of == number) & (self._owed > 0)).any())
            self._move(number, seat, owes, now, into)

    def _move(self, number: int, seat: _Seat, owes: bool, now: int, into: Decisions) -> None:  # noqa: FBT001
        """Give a silent seat another socket, the old one kept until the new one is heard; then another route.

        While prices show that it owes no trade it may just be quiet, and it keeps its route, unless others
        are told klines on another one. Where nobody answers what was traded, it changes it slowly: a silent
        one would else be kept for ever.
        """
        first, elsewhere = seat.acted <= max(seat.heard, seat.since), self._speaks_elsewhere(seat, now)
        if not first and now - seat.acted < (SEAT_STEP if owes or elsewhere else SEAT_AGAIN) * self._pace:
            return
        seat.acted = now
        untold = self._prices_known < max(seat.heard, seat.since)
        if elsewhere:
            into.steps.append(Reroute(number, "another route tells klines"))
        elif not first and (owes or untold):
            into.steps.append(Reroute(number, "a new socket is silent too"))
        else:
            into.steps.append(Renew(number, "it is silent", overlap=True))

    def _speaks_elsewhere(self, seat: _Seat, now: int) -> bool:
        """Say whether a seat on another route was told klines in the last seconds."""
        lately = now - self._patience.seat_unproven
        others = (one for one in self._seats if one.up and one.route != seat.route)
        return any(one.heard > max(one.since, lately) for one in others)

    def _seat(self, number: int) -> _Seat:
        while len(self._seats) <= number:
            self._seats.append(_Seat())
        return self._seats[number]

    def _begin(self, which: Flags | tuple[int, I64], now: int, *, proven: bool) -> None:
        """Note that streams were subscribed; those not *proven* to work are not proved quiet for a while."""
        self._since[which], self._owed[which], self._untold[which] = now, 0, 0
        if not proven:
            self._tried[which] = now

    def _known(self) -> I64:
        """Give up to which exchange time each stream is known to have told everything."""
        known: I64 = np.maximum(self._ring.memory.heard, self._proved)
        return known

    def _pending(self) -> Flags:
        """Say which streams have neither been heard nor proved quiet since they were marked stale."""
        pending: Flags = self._known() <= self._marked
        return pending

    def _mark(self, which: Flags | tuple[int, I64], reason: Reason, now: int) -> None:
        # What was told before does not count as told after, though the clocks differ a little.
        self._marked[which] = np.maximum(now, self._known()[which])
        self._why[which] = reason

    def _write(self, now: int) -> None:
        """Write the largest reason of each row; a reason that stays keeps its time."""
        stale = self._ring.memory.stale
        why = np.where(self._pending(), self._why, Reason.FRESH)[self._streamed].max(axis=0)
        why[self._gaps] = np.maximum(why[self._gaps], Reason.GAP)
        frozen = np.array([self._ring.rows[symbol] for symbol in self._roster.frozen], np.int64)
        why[frozen] = Reason.NOT_TRADING
        rows = np.union1d(self._roster.rows, frozen)
        known_since = (stale[rows, 0] > Reason.FRESH) & (stale[rows, 1] > 0)
        began = rows[~known_since & (why[rows] > Reason.FRESH)]
        last = self._known()[self._streamed].min(axis=0)[began]
        stale[began, 1] = np.where(last > 0, np.minimum(last, now), now)
        stale[rows, 0] = why[rows]
