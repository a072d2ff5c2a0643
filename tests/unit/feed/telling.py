"""A core with three symbols, the truth that it is told piece by piece, and the telling."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from tests.unit.feed.frames import bar, event, packed
from tests.unit.panel.model import SCALE, Bar, exact, market, roll_up

from klinehub.domain.kline import Exact
from klinehub.domain.timeframe import in_order, timeframe
from klinehub.feed.core import Core
from klinehub.feed.decisions import BarClosed, Decisions, Fetch
from klinehub.feed.listing_changes import Changes
from klinehub.feed.use import Use
from klinehub.panel.merge import PROOF
from klinehub.panel.ring import Ring

MINUTE: Final = 60_000
FRAMES: Final = in_order(["1m", "5m", "15m"])
NAMES: Final = ("A", "B", "C")
# The first minute of an hour.
START: Final = 1_791_241_200_000
HISTORY: Final = 20
# Minutes of history before START: twenty bars of the largest timeframe, and one more.
PAST: Final = 315
TRUTH: Final = {
    name: market(FRAMES[0], START // MINUTE - PAST, PAST + 90, seed)
    for seed, name in enumerate((*NAMES, "NEW"))
}


def at(minute: int) -> int:
    """Give the open time of a minute after START."""
    return START + MINUTE * minute


def truth(symbol: str, first: int, last: int) -> list[Bar]:
    """Give a symbol's true minutes first to last (inclusive)."""
    return TRUTH[symbol][first + PAST : last + PAST + 1]


def frame(one: Bar, symbol: str, *, closed: bool) -> bytes:
    """Give a bar as the stream tells it."""
    price = {key: f"{ticks / 100:.2f}" for key, ticks in zip("ohlc", one[1:5], strict=True)}
    volume = {
        key: f"{mantissa // 10**d}.{mantissa % 10**d:0{d}d}" if mantissa else "0"
        for key, mantissa, d in zip("vqVQ", (*one[5:7], *one[8:]), (3, 5, 3, 5), strict=True)
    }
    k = bar(one.open_time, symbol=symbol, n=one.trades, x=closed, **price, **volume)
    return event(k, at=one.open_time + (MINUTE if closed else 1_000))


def a_core(*, names: Sequence[str] = NAMES, **settings: Any) -> Core:
    """Make a core that is live since START, with history for all symbols."""
    ring = Ring(FRAMES, rows=len(names) + 1, bars=64)
    for name in names:
        ring.add(name, SCALE)
    core = Core(ring, wanted=HISTORY, **settings)
    core.watch(names)
    for name in names:
        for tf in FRAMES:
            known = rows(name, tf.name, -HISTORY, -1)
            core.on_rest(Fetch(name, tf.name, None, HISTORY), known, START + PROOF, START + PROOF)
    core.go_live(START + PROOF)
    return core


def rows(symbol: str, name: str, first: int, last: int) -> Exact:
    """Give true bars as REST would: bars first to last of a timeframe, counted from START."""
    tf = timeframe(name)
    each = tf.milliseconds // MINUTE
    return exact([roll_up(truth(symbol, n * each, n * each + each - 1), tf) for n in range(first, last + 1)])


def tell(core: Core, frames: Iterable[bytes], now: int, *, seat: int = 0) -> Decisions:
    """Bring frames in one batch."""
    return core.on_batch(seat, *packed(list(frames)), now)


def close(core: Core, minute: int, names: Sequence[str] = NAMES, *, late: int = 50) -> Decisions:
    """Tell that a minute has closed for some symbols."""
    frames = [frame(truth(name, minute, minute)[0], name, closed=True) for name in names]
    return tell(core, frames, at(minute + 1) + late)


def names_of(closed: Iterable[BarClosed]) -> list[tuple[str, int]]:
    """Give timeframe and minute after START at which each bar ended."""
    return [(one.timeframe, timeframe(one.timeframe).open_time(one.bar + 1)) for one in closed]


def repair(symbol: str, name: str, start: int, limit: int) -> Fetch:
    """Give a repair's request."""
    return Fetch(symbol, name, start, limit, Use.REPAIR)


def repairs(decisions: Decisions) -> list[Fetch]:
    """Give what is asked for because it is missing or doubted."""
    return [fetch for fetch in decisions.fetches if fetch.use is Use.REPAIR]


def answer(core: Core, fetch: Fetch, now: int) -> Decisions:
    """Answer a fetch with the truth, as far as it is there at *now*."""
    tf = timeframe(fetch.timeframe)
    newest = tf.index(now) - tf.index(START)
    first = newest - fetch.limit + 1 if fetch.start is None else tf.index(fetch.start) - tf.index(START)
    last = min(first + fetch.limit - 1, newest)
    return core.on_rest(fetch, rows(fetch.symbol, fetch.timeframe, first, last), now, now)


def listing(
    *, added: tuple[str, ...] = (), frozen: tuple[tuple[str, str], ...] = (), thawed: tuple[str, ...] = ()
) -> Changes:
    """Give a new listing's changes."""
    return Changes(added, frozen, thawed, {})
