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


class Position(NamedTuple):
    """Where one rule stands: since which bar it is judged, and its cells before and after *bar*."""

    since: int
    bar: int
    rows: I64
    before: Stand
    stand: Stand


class _Body(msgspec.Struct, frozen=True, array_like=True):
    """A position as it is kept: who fired when, and of the stand before the bar only what was different."""

    since: int
    bar: int
    rows: bytes
    state: bytes
    who: bytes
    when: bytes
    changed: bytes
    state_before: bytes
    when_before: bytes


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Body).decode


def pack(at: Position) -> bytes:
    """Write down where a rule stands."""
    before, stand = at.before, at.stand
    who = np.flatnonzero(stand.fired != NEVER)
    changed = np.flatnonzero((before.state != stand.state) | (before.fired != stand.fired))
    return _encode(
        _Body(
            at.since,
            at.bar,
            _small(at.rows),
            stand.state.tobytes(),
            _small(who),
            _large(stand.fired[who]),
            _small(changed),
            before.state[changed].tobytes(),
            _large(before.fired[changed]),
        )
    )


def unpack(body: bytes) -> Position:
    """Read where a rule stood; raises StoreError for what `pack` did not write."""
    try:
        kept = _decode(body)
        rows = np.frombuffer(kept.rows, "<i4").astype(np.int64)
        stand = Stand(np.frombuffer(kept.state, np.int8).copy(), np.full(rows.size, NEVER))
        stand.fired[np.frombuffer(kept.who, "<i4")] = np.frombuffer(kept.when, "<i8")
        before = Stand(stand.state.copy(), stand.fired.copy())
        changed = np.frombuffer(kept.changed, "<i4")
        before.state[changed] = np.frombuffer(kept.state_before, np.int8)
        before.fired[changed] = np.frombuffer(kept.when_before, "<i8")
    except (msgspec.DecodeError, ValueError, IndexError) as exc:
        raise StoreError(f"Where a rule stood can not be read ({exc}): it begins anew.") from exc
    if stand.state.size != rows.size:
        raise StoreError("Where a rule stood can not be read (cells lack): it begins anew.")
    return Position(kept.since, kept.bar, rows, before, stand)


def at_bar(at: Position, bar: int) -> Position:
    """Give where a rule stood at a later bar up to which nothing has changed."""
    return at if at.bar == bar else at._replace(bar=bar, before=at.stand)


def rebased(at: Position, symbols: Sequence[str], names: Sequence[str]) -> Position:
    """Give a position by the rows of *names*, that was kept by those of *symbols*, without who is gone."""
    row = {name: n for n, name in enumerate(names)}
    rows = np.array([row.get(symbols[n], -1) if n < len(symbols) else -1 for n in at.rows.tolist()], np.int64)
    here = rows >= 0
    before, stand = (Stand(one.state[here], one.fired[here]) for one in (at.before, at.stand))
    return at._replace(rows=rows[here], before=before, stand=stand)


def carried(rows: I64, since: I64, stand: Stand) -> Stand:
    """Give where the cells of *rows* stand, from a *stand* of the rows *since*; others are unseen."""
    place = np.full(max(rows.max(initial=-1), since.max(initial=-1)) + 1, -1)
    place[since] = np.arange(since.size)
    found = place[rows]
    out = unseen(rows.size)
    out.state[found >= 0] = stand.state[found[found >= 0]]
    out.fired[found >= 0] = stand.fired[found[found >= 0]]
    return out


def _small(values: I64) -> bytes:
    return values.astype("<i4").tobytes()


def _large(values: I64) -> bytes:
    return values.astype("<i8").tobytes()
