"""Edges: where each symbol of each rule stands, and who fires when a bar is decided.

1. A cell is a rule and a symbol. It fires where the condition holds, it is armed, and more than the rule's
   cooldown of bars have passed since it last fired; from then on it is spent.
2. It is armed again where `clear` holds, without it where the condition does not; it may fire from the next
   bar on. While the condition holds within the cooldown it stays armed, and fires when that is over.
3. What is not known at a bar changes nothing. The first bar at which a cell is known only says where it
   stands: who holds by then is spent, and nobody is told.

What a bar makes of a stand depends on the stand before it alone: a bar is decided again from there, and any
split of the bars by restarts gives the same alerts.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from klinehub.errors import StoreError
from klinehub.factors.section import Flags
from klinehub.panel.memory import F64, I64

I8 = npt.NDArray[np.int8]
UNSEEN: Final = 0
ARMED: Final = 1
SPENT: Final = 2
NEVER: Final = -(2**62)


class Stand(NamedTuple):
    """Where the cells stand: armed or not, and the bar at which each fired last, NEVER for none."""

    state: I8
    fired: I64


class Terms(NamedTuple):
    """What the rules say of their cells: whether there is a `clear`, and the cooldown in bars."""

    clears: Flags
    cooldown: I64


class Seen(NamedTuple):
    """What a bar shows of the cells: whether condition and `clear` hold, 1, 0 or unknown."""

    holds: F64
    clear: F64


def unseen(count: int) -> Stand:
    """Give cells of which nothing is known yet."""
    return Stand(np.zeros(count, np.int8), np.full(count, NEVER))


def decide(before: Stand, seen: Seen, terms: Terms, bar: int) -> tuple[Stand, Flags]:
    """Give where the cells stand after a bar, and which of them fire at it."""
    known = ~np.isnan(seen.holds)
    holds = known & (seen.holds == 1.0)
    fires = holds & (before.state == ARMED) & (bar - before.fired > terms.cooldown)
    again = np.where(terms.clears, seen.clear == 1.0, known & ~holds)
    state = np.where((before.state == SPENT) & again, ARMED, before.state)
    state = np.where((before.state == UNSEEN) & known, np.where(holds, SPENT, ARMED), state)
    state = np.where(fires, SPENT, state).astype(np.int8)
    return Stand(state, np.where(fires, bar, before.fired)), fires


def told(stand: Stand, fires: Flags, bar: int) -> Stand:
    """Give the stand before a bar's close of which some cells fired while it was open."""
    return Stand(np.where(fires, SPENT, stand.state).astype(np.int8), np.where(fires, bar, stand.fired))


class _Body(msgspec.Struct, frozen=True, array_like=True):
    """The cells of a rule as they are kept: since which bar it is judged, their rows, and their stand."""

    since: int
    rows: bytes
    state: bytes
    who: bytes
    when: bytes


class Unpacked(NamedTuple):
    """The cells of a rule as they were kept, by the rows of then."""

    since: int
    rows: I64
    stand: Stand


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Body).decode


def pack(since: int, rows: I64, stand: Stand) -> bytes:
    """Write the cells of one rule down."""
    who = np.flatnonzero(stand.fired != NEVER)
    return _encode(
        _Body(
            since,
            rows.astype("<i4").tobytes(),
            stand.state.tobytes(),
            who.astype("<i4").tobytes(),
            stand.fired[who].astype("<i8").tobytes(),
        )
    )


def unpack(body: bytes) -> Unpacked:
    """Read the cells of one rule; raises StoreError for what `pack` did not write."""
    try:
        kept = _decode(body)
        rows = np.frombuffer(kept.rows, "<i4").astype(np.int64)
        stand = Stand(np.frombuffer(kept.state, np.int8).copy(), np.full(rows.size, NEVER))
        stand.fired[np.frombuffer(kept.who, "<i4")] = np.frombuffer(kept.when, "<i8")
    except (msgspec.DecodeError, ValueError, IndexError) as exc:
        raise StoreError(f"Where a rule stood can not be read ({exc}): it begins anew.") from exc
    return Unpacked(kept.since, rows, stand)


def carried(kept: Unpacked, symbols: Sequence[str], rows: I64, names: Sequence[str]) -> Stand:
    """Give where the cells of a rule with these *rows* of *names* stand, from what was kept of *symbols*."""
    place = {symbols[row]: n for n, row in enumerate(kept.rows.tolist()) if row < len(symbols)}
    found = np.array([place.get(names[row], -1) for row in rows.tolist()], np.int64)
    out = unseen(rows.size)
    out.state[found >= 0] = kept.stand.state[found[found >= 0]]
    out.fired[found >= 0] = kept.stand.fired[found[found >= 0]]
    return out
