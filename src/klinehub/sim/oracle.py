"""The oracle: holds what a hub serves against the market's truth, at every instant and at the end.

I1  a closed bar is the truth, as it is or as it once was; once corrected it goes back to nothing older
I2  no bar is closed before its end in exchange time
I3  a closed bar changes only with a record of it
I4  a symbol that claims to be fresh lacks nothing that happened more than ten seconds ago
I5  no more weight a minute than allowed, no request while a ban is known
I7  a read is in order, without a double and, of a symbol that is fresh, without a hole
I8  tasks and connections stay few
O   after some quiet every bar of every symbol is there, equal in all ten words, and none beside them
"""

from collections.abc import Iterable, Iterator
from itertools import islice, product
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from klinehub.domain.kline import CLOSED, ROW, ROW_WORDS, Exact, Scale
from klinehub.domain.listing import Listing
from klinehub.domain.timeframe import MINUTE, Timeframe
from klinehub.panel.memory import OPEN_TIME, QUOTE, TAKER_BASE, TAKER_QUOTE, VOLUME
from klinehub.sim.amended import Amended
from klinehub.sim.market import SLOTS, Market
from klinehub.sim.truth import TRADES, exact, rolled

if TYPE_CHECKING:
    from klinehub.hub import Hub

I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
# A bar's ten words, volumes with this many decimals whatever the ring carries.
Words = tuple[float | int, ...]
_DECIMALS: Final = 18
_POWERS: Final = ((VOLUME, 1), (QUOTE, 2), (TAKER_BASE, 1), (TAKER_QUOTE, 2))
_NEW, _CHANGED, _GONE = 1, 2, 3
# Bars that ended this long ago (ms) are to be there.
SETTLED: Final = 10_000
_SLOT: Final = MINUTE // SLOTS
# Minutes of which it is remembered what was traded when.
_MINUTES_KEPT: Final = 64
# A bar of which several minutes were corrected has had no more forms than this that are looked at.
_MOST_FORMS: Final = 64


class Divergence(NamedTuple):
    """One breach of an invariant; `open_time` and `at` are ms of exchange time."""

    kind: str
    symbol: str
    timeframe: str
    open_time: int
    detail: str
    at: int = 0

    def __str__(self) -> str:
        """Print it on one line."""
        bar = f" {self.timeframe} {self.open_time}" if self.timeframe else ""
        return f"{self.kind} {self.symbol}{bar}: {self.detail} (at {self.at})"


def plainly(exact: Exact) -> dict[int, Words]:
    """Give rows by open time, their volumes independent of how many decimals are kept."""
    factors = [1] * ROW_WORDS
    for word, part in _POWERS:
        factors[word] = 10 ** (_DECIMALS - exact.scale[part])
    rows: list[Any] = exact.rows.tolist()
    return {row[0]: tuple(n * f if f > 1 else n for n, f in zip(row, factors, strict=True)) for row in rows}


class Remembering(Amended):
    """A market that remembers what its corrected minutes were before, by instrument and open time."""

    def __init__(self, inner: Market, hidden: Iterable[str] = ()) -> None:
        super().__init__(inner, hidden)
        self.before: dict[tuple[int, int], list[I64]] = {}

    def correct(self, symbol: str, minute: int, *, price_only: bool) -> bool:
        """Change a minute and remember what it was."""
        i = self.index[symbol]
        old = self.minutes(i, minute, minute + MINUTE).copy()
        done = super().correct(symbol, minute, price_only=price_only)
        if done:
            self.before.setdefault((i, minute), []).append(old[0])
        return done


class Truth:
    """What a market holds true, and everything that it ever held true, at exchange times in ms."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self._trades: dict[tuple[int, int], I64 | None] = {}
        self._listings: list[Listing] = []
        self._as_of = -1
        self._before = market.before if isinstance(market, Remembering) else {}

    def bars(self, symbol: str, frame: Timeframe, first: int, last: int, now: int) -> dict[int, Words]:
        """Give the bars with indices *first* to *last* as they are at *now*, by open time."""
        return plainly(self.market.klines(self.market.index[symbol], frame, first, last, now))

    def ever(self, symbol: str, frame: Timeframe, index: int, now: int) -> dict[Words, tuple[int, ...]]:
        """Give every form that a closed bar has had, newest first, with how often its minutes were corrected.

        A larger bar may have been summed from minutes of which some were corrected before and some after.
        """
        i, opened, end = self.market.index[symbol], frame.open_time(index), frame.close_time(index) + 1
        times = [time for n, time in self._before if n == i and opened <= time < end]
        if not times:
            return dict.fromkeys(self.bars(symbol, frame, index, index, now).values(), ())
        one, bars = self.market.instruments[i], self.market.minutes(i, opened, end)
        places = np.searchsorted(bars[:, OPEN_TIME], times).tolist()
        forms = [[*self._before[i, time], bars[at]] for time, at in zip(times, places, strict=True)]
        found: dict[Words, tuple[int, ...]] = {}
        for ages in islice(product(*(range(len(form) - 1, -1, -1) for form in forms)), _MOST_FORMS):
            made = bars.copy()
            for at, form, age in zip(places, forms, ages, strict=True):
                made[at] = form[age]
            found[next(iter(plainly(exact(rolled(made, frame), one.units, one.scale)).values()))] = ages
        return found

    def trading(self, now: int, *, since: int = 0) -> list[str]:
        """List the perpetuals that trade at *now* and did so *since* ms before."""
        return [one.symbol for one in self._listed(now) if one.trading and one.onboard_time <= now - since]

    def ended(self, now: int, *, since: int = 0) -> list[str]:
        """List the perpetuals whose trading had ended *since* ms before *now*."""
        return [
            one.symbol
            for one in self._listed(now)
            if one.status == "SETTLING" and one.delivery_time <= now - since
        ]

    def _listed(self, now: int) -> list[Listing]:
        """Give the perpetuals of the market that are listed at *now*, read anew when something changes."""
        if self._as_of < 0 or now < self._as_of or self.market.changes(self._as_of, now):
            listings = self.market.listings(now)
            self._listings = [one for one in listings if one.perpetual and one.quote_asset == "USDT"]
        self._as_of = now
        return self._listings

    def traded_after(self, symbol: str, minute: int, trades: int, now: int) -> int | None:
        """Give when a minute (by number) had more than *trades* trades, None if not before *now*."""
        slots = self._slots(self.market.index[symbol], minute)
        if slots is None:
            return None
        at = int(np.searchsorted(slots, trades, side="right"))
        time = minute * MINUTE + (at + 1) * _SLOT
        return time if at < SLOTS and time <= now else None

    def _slots(self, i: int, minute: int) -> I64 | None:
        """Give the trades of a minute up to each quarter second of it."""
        if (i, minute) not in self._trades:
            if len(self._trades) >= _MINUTES_KEPT:
                self._trades.clear()
            slots = self.market.slots(i, minute * MINUTE)
            self._trades[i, minute] = None if slots is None else slots[:, TRADES].copy()
        return self._trades[i, minute]


@njit(cache=True, nogil=True)
def _look(state: U8, cells: I64, kept_state: U8, kept: I64, out: I64, old: I64) -> int:
    """List the closed bars that are new, changed or gone since *kept* was taken, and take it anew.

    A line of *out* is what happened, timeframe, row and slot; *old* has the ten words from before.
    """
    found = 0
    for t in range(state.shape[0]):
        for s in range(state.shape[1]):
            for n in range(state.shape[2]):
                was, now = kept_state[t, s, n] >= CLOSED, state[t, s, n] >= CLOSED
                kept_state[t, s, n] = state[t, s, n]
                if not was and not now:
                    continue
                what = _what(was, now, kept[t, s, n], cells[t, s, n])
                if what == 0:
                    continue
                if found < out.shape[0]:
                    out[found, 0], out[found, 1], out[found, 2], out[found, 3] = what, t, s, n
                    old[found] = kept[t, s, n]
                    found += 1
                kept[t, s, n] = cells[t, s, n]
    return found


@njit(cache=True, nogil=True)
def _what(was: bool, now: bool, old: I64, words: I64) -> int:  # noqa: FBT001 - a kernel takes its arguments flat
    """Say what happened to a bar that is or was closed; 0 for nothing."""
    if not now:
        return _GONE
    if not was or old[OPEN_TIME] != words[OPEN_TIME]:
        return _NEW
    for w in range(ROW_WORDS):
        if old[w] != words[w]:
            return _CHANGED
    return 0


class Seen(NamedTuple):
    """A closed bar that is new (no `old`), changed, or gone (no `words`)."""

    symbol: str
    frame: Timeframe
    bar: int
    old: Words | None
    words: Words | None


class Watch:
    """Holds the bars of one hub against the truth each time it is told to look."""

    def __init__(self, hub: "Hub", truth: Truth) -> None:
        self.hub = hub
        self.truth = truth
        memory = hub.ring.memory
        self._state = np.zeros_like(memory.state)
        self._cells = np.zeros_like(memory.cells)
        self._decimals = memory.decimals.copy()
        self._out = np.zeros((memory.state.size, 4), np.int64)
        self._old = np.zeros((memory.state.size, ROW_WORDS), np.int64)
        self._records: set[tuple[str, str, int, int]] = set()

    def look(self, now: int) -> list[Divergence]:
        """Give what is wrong with the bars that were closed, changed or lost since the last look."""
        memory = self.hub.ring.memory
        count = int(_look(memory.state, memory.cells, self._state, self._cells, self._out, self._old))
        if not count:
            return []
        found = [one for line in range(count) for one in self._judge(self._seen(line), now)]
        self._decimals[:] = memory.decimals
        return found

    def _seen(self, line: int) -> Seen:
        what, t, row, slot = self._out[line].tolist()
        ring = self.hub.ring
        words = ring.memory.cells[t, row, slot] if what != _GONE else self._old[line]
        frame = ring.timeframes[t]
        old = self._words(self._old[line], self._decimals[row]) if what != _NEW else None
        new = self._words(words, ring.memory.decimals[row]) if what != _GONE else None
        return Seen(ring.symbols[row], frame, frame.index(int(words[OPEN_TIME])), old, new)

    def _words(self, words: I64, decimals: I64) -> Words:
        scale = Scale(*(int(n) for n in decimals))
        return next(iter(plainly(Exact(words.copy().view(ROW), scale)).values()))

    def _judge(self, seen: Seen, now: int) -> Iterator[Divergence]:
        """Give the breaches that one closed bar is."""
        frame, index = seen.frame, seen.bar
        time = frame.open_time(index)

        def diverges(kind: str, detail: str) -> Divergence:
            return Divergence(kind, seen.symbol, frame.name, time, detail, now)

        if seen.words is None:
            ring = self.hub.ring
            newest = int(ring.memory.newest[ring.number[frame.name], ring.rows[seen.symbol]])
            if index > newest - ring.bars:
                yield diverges("I3", "a closed bar is gone")
            return
        if seen.old == seen.words:
            return
        if frame.close_time(index) >= now:
            yield diverges("I2", "closed before its end")
        forms = self.truth.ever(seen.symbol, frame, index, now)
        if seen.words not in forms:
            yield diverges("I1", f"{_differing(seen.words, forms)} is not what the exchange ever had")
        elif seen.old in forms and _older(forms[seen.words], forms[seen.old]):
            yield diverges("I1", "an older form of the bar has replaced a newer one")
        if seen.old is not None and not self._recorded(seen, time):
            yield diverges("I3", "a closed bar has changed without a record")

    def _recorded(self, seen: Seen, time: int) -> bool:
        """Whether a correction that was not yet counted says what this bar was and is."""
        for one in self.hub.corrections:
            key = (one.symbol, one.timeframe, one.open_time, one.time)
            if key[:3] != (seen.symbol, seen.frame.name, time) or key in self._records:
                continue
            new = next(iter(plainly(one.new).values()))
            if new == seen.words:
                self._records.add(key)
                return True
        return False

    def read(self, symbol: str, frame: Timeframe, limit: int, now: int, woken: int = 0) -> list[Divergence]:
        """Read one series as users do and give what is out of order, doubled or missing in it.

        What ended while the machine slept can be known to be missing from when it had *woken*.
        """
        fresh = is_fresh(self.hub, symbol)
        times = self.hub.klines(symbol, frame.name, limit, forming=True)["open_time"].tolist()
        indexes = [frame.index(time) for time in times]
        if indexes != sorted(set(indexes)) or any(frame.open_time(frame.index(t)) != t for t in times):
            return [Divergence("I7", symbol, frame.name, 0, "a read is out of order or has a double", now)]
        holes = set(range(indexes[0], indexes[-1])) - set(indexes) if indexes else set()
        old = sorted(index for index in holes if max(woken, frame.close_time(index)) < now - SETTLED)
        if not fresh or not old:
            return []
        true = self.truth.bars(symbol, frame, old[0], old[-1], now)
        return [
            Divergence("I7", symbol, frame.name, frame.open_time(index), "a fresh symbol has a hole", now)
            for index in old
            if frame.open_time(index) in true
        ][:1]

    def lacking(self, symbol: str, now: int) -> int:
        """Give for how many ms a symbol lacks something that the market did; 0 when it lacks nothing."""
        ring, memory = self.hub.ring, self.hub.ring.memory
        row, this = ring.rows[symbol], now // MINUTE
        newest = int(memory.newest[0, row])
        trades, slot = 0, newest % ring.bars
        if newest < 0:
            newest = this - 1
        elif memory.state[0, row, slot] >= CLOSED:
            newest += 1
        elif memory.state[0, row, slot]:
            trades = int(memory.cells[0, row, slot, TRADES])
        for minute in range(newest, min(newest + 3, this) + 1):
            time = self.truth.traded_after(symbol, minute, trades, now)
            if time is not None:
                return now - time
            trades = 0
        return 0


def _older(ages: tuple[int, ...], than: tuple[int, ...]) -> bool:
    """Whether a form is from before another in some minute and from after it in none."""
    return ages != than and all(age <= other for age, other in zip(ages, than, strict=True))


def _differing(words: Words, forms: Iterable[Words]) -> str:
    """Name the first word in which a bar differs from the newest form of the truth, and both values."""
    newest = next(iter(forms), None)
    if newest is None:
        return "a bar that does not exist"
    for name, have, true in zip(ROW.names or (), words, newest, strict=True):
        if have != true:
            return f"{name} {have} instead of {true}"
    return "nothing"


def is_fresh(hub: "Hub", symbol: str) -> bool:
    """Whether a hub claims that a symbol is fresh."""
    return symbol in hub.ring.rows and hub.stale(symbol) is None


def settled(hub: "Hub", truth: Truth, symbols: list[str], now: int) -> list[Divergence]:
    """Hold every bar of *symbols* that a hub is to keep against the truth; empty when all is well."""
    found = [
        Divergence("O", symbol, "", 0, "the symbol is not followed", now)
        for symbol in symbols
        if symbol not in hub.ring.rows
    ]
    for symbol in symbols:
        if symbol not in hub.ring.rows:
            continue
        if not is_fresh(hub, symbol):
            found.append(Divergence("O", symbol, "", 0, "the symbol is still stale", now))
        for frame in hub.timeframes:
            found += _series(hub, truth, symbol, frame, now)
    return found


def _series(hub: "Hub", truth: Truth, symbol: str, frame: Timeframe, now: int) -> Iterator[Divergence]:
    """Give the bars of one series that are missing, too many or wrong."""
    this = frame.index(now)
    kept = plainly(hub.panel(frame.name).exact(symbol, start=this - hub.settings.bars, end=this))
    true = truth.bars(symbol, frame, this - hub.settings.bars, this - 1, now)
    last = frame.open_time(frame.index(now - SETTLED))
    for time in sorted(kept.keys() | true.keys()):
        if time not in true:
            detail = "a bar that the exchange does not have"
        elif time not in kept:
            if time >= last:
                continue
            detail = "missing"
        elif kept[time] != true[time]:
            detail = _differing(kept[time], [true[time]])
        else:
            continue
        yield Divergence("O", symbol, frame.name, time, detail, now)
