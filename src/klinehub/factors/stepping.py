"""Stepping: all stepped factors of a grid, run over many symbols at a time by one call.

1. Symbols are stepped in chunks of LANES. Of many bars those of a chunk are run over by all factors while
   they lie in the cache; of one bar a factor is run over all chunks, whose states lie side by side.
2. Those of a chunk whose runs are equally old are stepped together. Who has a hole falls out, and is stepped
   alone up to the end of the block: the same compiled loop with one symbol in all lanes.
3. A run that begins at the start of its block, less the warm-up, takes everybody in again.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from klinehub.factors.define import Factor
from klinehub.factors.expr import Expr
from klinehub.factors.lanes import EVERY, LANES, PAST, WIDTH, call, put, real, store, take
from klinehub.factors.loops import BLOCK, anchor, lane_loop_of, slots
from klinehub.factors.steps import kernel, within
from klinehub.panel.memory import F64, I64
from klinehub.panel.view import PLANES, WIDE

# What a factor reads, by the names of the planes of a tile.
SOURCES: Final = (*WIDE, "open_time", "benchmark")
# A lane's age when its run is not seen from its start, and from where on down it says at which bar a hole is
# about to end it.
_UNSEEN: Final = -1
_ENDED: Final = -2
# How many bars of chunks are laid out at a time: what a cache keeps of all sources.
_NEAR: Final = 256
# More bytes of values than a cache keeps.
_MUCH: Final = 8_000_000
# Later than any bar.
_NEVER: Final = 2**62
# Columns of a row of the table; behind them the planes that are read, and the options.
ADDRESS, NEED, SIZE, SLOTS, STATE, AGE, VALUES, SINCE, READS, TABLE = range(10)
# What a loop is told, in front of where its bars lie and its options.
KEPT, SPREAD, FROM, STOP, STORE, MEMBERS, OUT, STRIDE, WRITTEN, TOLD = range(10)
# What is kept of a chunk's run: the age and the members of those that are equally old, then each lane's age.
_GROUP: Final = 2 + LANES


class Stepped(NamedTuple):
    """Some factors as a kernel takes them, and what their runs keep.

    `table` [factors, columns], `floats` [factors, options], `state` and `age` of all in a row; `sources` are
    those that any of them reads, `most` is the size of the largest.
    """

    leaves: tuple[Expr, ...]
    table: I64
    floats: F64
    state: F64
    age: I64
    chunks: int
    sources: tuple[int, ...]
    most: int


class Bars(NamedTuple):
    """Bars [planes as in WIDE, symbols, bars], when they opened and the benchmark's closes [bars]."""

    cube: F64
    times: F64
    benchmark: F64


def stepped(leaves: Sequence[Expr], symbols: int) -> Stepped:
    """Give runs of factors, of which nothing is known yet."""
    chunks = -(-symbols // LANES)
    options = max((len(leaf.params) - 1 for leaf in leaves), default=0)
    # A source of -1 is none.
    table = np.full((len(leaves), TABLE + len(SOURCES) + options), -1)
    floats = np.zeros((len(leaves), max(options, 1)))
    states = ages = 0
    for n, leaf in enumerate(leaves):
        factor: Factor = leaf.params[0]
        need, size = lookback_of(leaf), factor.size(leaf.params[1:])
        count = slots(need)
        fixed = (lane_loop_of(factor), need, size, count, states, ages, 0, 0, len(factor.fields))
        table[n, : len(fixed)] = fixed
        reads = [SOURCES.index(field) for field in factor.fields]
        table[n, TABLE : TABLE + len(reads)] = reads
        for at, value in enumerate(leaf.params[1:]):
            table[n, TABLE + len(SOURCES) + at] = value if isinstance(value, int) else 0
            floats[n, at] = value
        states += count * chunks * size * LANES
        ages += count * chunks * _GROUP
    age = np.full(ages, _UNSEEN)
    age.reshape(-1, _GROUP)[:, 1] = 0
    return Stepped(
        tuple(leaves), table, floats, aligned((states,)), age, chunks, _sources(table), _most(table)
    )


def parted(runs: Stepped) -> Stepped:
    """Give a copy that shares nothing that is written."""
    table, state, age = runs.table.copy(), aligned(runs.state.shape), runs.age.copy()
    state[:] = runs.state
    return runs._replace(table=table, state=state, age=age)


def _sources(table: I64) -> tuple[int, ...]:
    """List the sources that any factor reads."""
    return tuple(int(place) for place in np.unique(table[:, TABLE : TABLE + len(SOURCES)]) if place >= 0)


def _most(table: I64) -> int:
    return int(table[:, SIZE].max(initial=0))


def lookback_of(leaf: Expr) -> int:
    """Give how many bars a run of a factor takes to its first value."""
    factor: Factor = leaf.params[0]
    return factor.lookback(leaf.params[1:])


def padded(symbols: int) -> int:
    """Give the number of symbols in whole chunks."""
    return -(-symbols // LANES) * LANES


def aligned(shape: tuple[int, ...]) -> F64:
    """Make an array, not yet filled, that begins where a line of the cache does."""
    memory = np.empty(math.prod(shape) + 8)
    skip = -memory.ctypes.data % 64 // 8
    return memory[skip : skip + math.prod(shape)].reshape(shape)


def run(runs: Stepped, bars: Bars, bar: int, new: int, known: I64, values: F64, places: I64) -> None:
    """Step all factors over the *new* last of some bars, as far as the last bars of *values* need them.

    The bars end at index *bar*. *values* is [leaves, bars, padded symbols]; of those at *places* all that are
    wanted are written, NaN for unknown.
    """
    _, deep, width = values.shape
    held, table = bars.cube.shape[2], runs.table
    if not runs.chunks:
        return
    first, wanted = bar - held + 1, min(deep, new)
    table[:, SINCE] = np.maximum(anchor(bar - wanted + 1, 0) - table[:, NEED], max(first, bar - new + 1))
    # Where the first of the bars would lie.
    table[:, VALUES] = values.ctypes.data + (places * deep + deep - held) * (width * 8)
    since = np.full(width, _NEVER)
    since[: known.size] = known
    _step_all(table, runs.floats, runs.state, runs.age, *_rooms(runs, bars), first, since, wanted)


def _rooms(runs: Stepped, bars: Bars) -> tuple[I64, F64, F64, F64, I64]:
    """Give where the bars lie, and room for those of chunks, a brief state, one alone and what is told."""
    held = bars.cube.shape[2]
    return (
        np.array([_placed(place, bars) for place in runs.sources], np.int64).reshape(-1, 5),
        aligned((min(runs.chunks, max(1, _NEAR // held)), len(SOURCES), held, LANES)),
        aligned((runs.most * LANES,)),
        aligned((2 * runs.most + len(SOURCES) * held, LANES)),
        np.empty(TOLD + runs.table.shape[1] - TABLE, np.int64),
    )


def _placed(place: int, bars: Bars) -> tuple[int, int, int, int, int]:
    """Give where a source lies: number, address, words to the next symbol and bar, and how many symbols."""
    if place >= len(WIDE):
        one = bars.times if SOURCES[place] == "open_time" else bars.benchmark
        return place, one.ctypes.data, 0, one.strides[0] // 8, bars.cube.shape[1]
    plane, across, along = bars.cube.strides
    return place, bars.cube.ctypes.data + place * plane, across // 8, along // 8, bars.cube.shape[1]


def compile_kernels() -> None:
    """Compile what all factors share, or load it from disk."""
    runs, one = stepped((), 1), np.zeros(1)
    rooms = _rooms(runs, Bars(np.zeros((len(PLANES), 1, 1)), one, one))
    _step_all(runs.table, runs.floats, runs.state, runs.age, *rooms, 0, np.zeros(1, np.int64), 1)


def take_over(runs: Stepped, rows: I64, others: Stepped) -> None:
    """Put the runs of other symbols in the place of those of *rows*."""
    chunk, lane = rows // LANES, rows % LANES
    from_chunk, from_lane = np.divmod(np.arange(rows.size), LANES)
    for row, other in zip(runs.table, others.table, strict=True):
        into, given = _runs_of(runs, row), _runs_of(others, other)
        into[0][:, :, rows] = given[0][:, :, : rows.size]
        for slot in range(row[SLOTS]):
            for c, n, d, m in zip(chunk, lane, from_chunk, from_lane, strict=True):
                _regroup(into[1][slot, c], n, _age_of(given[1][slot, d], m))


def _runs_of(runs: Stepped, row: I64) -> tuple[F64, I64]:
    """Give what one factor keeps: state [slots, size, padded symbols] and ages [slots, chunks, group]."""
    count, size = int(row[SLOTS]), int(row[SIZE])
    state = runs.state[row[STATE] :][: count * runs.chunks * size * LANES]
    age = runs.age[row[AGE] :][: count * runs.chunks * _GROUP]
    return state.reshape(count, size, runs.chunks * LANES), age.reshape(count, runs.chunks, _GROUP)


def _age_of(group: I64, lane: int) -> int:
    """Give how old a lane's run is."""
    return int(group[0] if group[1] >> lane & 1 else group[2 + lane])


def _regroup(group: I64, lane: int, age: int) -> None:
    """Let a lane be of some age: one of the others where they are as old, alone where not."""
    group[1] &= ~(1 << int(lane))
    group[2 + lane] = age
    if age >= 0 and age == group[0] and group[1]:
        group[1] |= 1 << int(lane)


@kernel
def _tile(placed: I64, chunk: int, tile: F64) -> None:
    """Lay the bars of a chunk out in lanes [sources, bars, LANES], from wherever their numbers lie."""
    for n in range(placed.shape[0]):
        plane, address, across, along, symbols = placed[n]
        for t in range(tile.shape[1]):
            for lane in range(LANES):
                at = chunk * LANES + lane
                # Lanes without a symbol repeat the last one, and are never stepped.
                tile[plane, t, lane] = real(address, min(at, symbols - 1) * across + t * along)


@kernel
def _step_all(
    table: I64,
    floats: F64,
    states: F64,
    ages: I64,
    placed: I64,
    tile: F64,
    brief: F64,
    alone: F64,
    told: I64,
    first: int,
    known: I64,
    wanted: int,
) -> None:
    """Step every factor over every chunk, whose bars stay in the cache the while."""
    chunks, near, bars = known.size // LANES, tile.shape[0], tile.shape[2]
    told[STRIDE] = chunks * WIDTH
    is_much = table.shape[0] * wanted * told[STRIDE] > _MUCH
    for begin in range(0, chunks, near):
        end = min(chunks, begin + near)
        for chunk in range(begin, end):
            _tile(placed, chunk, tile[chunk - begin])
        for n in range(table.shape[0]):
            row = table[n]
            for m in range(table.shape[1] - TABLE - len(SOURCES)):
                told[TOLD + row[READS] + m] = row[TABLE + len(SOURCES) + m]
            for chunk in range(begin, end):
                told[OUT], told[WRITTEN] = row[VALUES] + chunk * WIDTH, PAST if is_much else EVERY
                lead = bars - wanted
                some = tile[chunk - begin]
                _step_blocks(
                    *(
                        row,
                        floats[n],
                        states,
                        ages,
                        some,
                        chunk,
                        chunks,
                        first,
                        known,
                        told,
                        alone,
                        brief,
                        lead,
                    )
                )


@within
def _step_blocks(
    row: I64,
    floats: F64,
    states: F64,
    ages: I64,
    tile: F64,
    chunk: int,
    chunks: int,
    first: int,
    known: I64,
    told: I64,
    alone: F64,
    brief: F64,
    lead: int,
) -> None:
    """Step a factor over a chunk, block by block."""
    last, need, size = first + tile.shape[1] - 1, row[NEED], row[SIZE]
    written = told[WRITTEN]
    for block in range(row[SINCE] // BLOCK, (last + need) // BLOCK + 1):
        begin = block * BLOCK
        low, high = max(begin - need, row[SINCE]), min(begin + BLOCK - 1, last)
        at = block % row[SLOTS] * chunks + chunk
        group = ages[row[AGE] + at * _GROUP :][:_GROUP]
        spread = chunks * LANES
        kept = states[row[STATE] + block % row[SLOTS] * size * spread + chunk * LANES :]
        is_brief = low == begin - need and high > low
        # What many bars write stays in the cache; a whole run is gone with its block.
        state, spread = (brief, LANES) if is_brief else (kept, spread)
        if low == begin - need:
            _begin(state, spread, size, group, known[chunk * LANES :], low)
        told[KEPT], told[SPREAD], told[FROM], told[STOP] = (
            state.ctypes.data,
            spread,
            low - first,
            high - first + 1,
        )
        told[STORE], told[WRITTEN] = max(lead, begin - first), written
        _step_chunk(row, floats, state, group, tile, chunk, first, known, told, alone)
        if is_brief and high < begin + BLOCK - 1:
            for n in range(size):
                put(kept.ctypes.data + n * told[STRIDE], take(brief.ctypes.data + n * WIDTH))


@kernel
def _begin(state: F64, spread: int, size: int, group: I64, known: I64, low: int) -> None:
    """Begin a run: everybody that is known by then takes part in it."""
    for n in range(size):
        put(state.ctypes.data + n * spread * 8, 0.0)
    group[0] = group[1] = 0
    for n in range(LANES):
        group[2 + n] = 0 if low >= known[n] else _UNSEEN
        if low >= known[n]:
            group[1] |= 1 << n


@kernel
def _is_whole(row: I64, tile: F64, t: int, lane: int) -> bool:
    """Say whether a symbol has all that a factor reads of a bar."""
    missing = 0
    for n in range(row[READS]):
        missing += np.isnan(tile[row[TABLE + n], t, lane])
    return bool(missing == 0)


@within
def _step_chunk(
    row: I64,
    floats: F64,
    state: F64,
    group: I64,
    tile: F64,
    chunk: int,
    first: int,
    known: I64,
    told: I64,
    alone: F64,
) -> None:
    """Step those of a chunk that are equally old together, and the others alone."""
    begin, stop, store = told[FROM], told[STOP], told[STORE]
    for n in range(row[READS]):
        told[TOLD + n] = tile.ctypes.data + row[TABLE + n] * tile.shape[1] * WIDTH
    if group[1] != EVERY:
        _save(row, state, told[SPREAD], group, alone)
    t = begin
    while group[1] != 0 and t < stop:
        told[FROM], told[MEMBERS], told[STORE] = t, group[1], max(store, t + row[NEED] - group[0])
        _forget(told, max(store, t), min(stop, told[STORE]))
        end: int = call(row[ADDRESS], told.ctypes.data, floats.ctypes.data)
        group[0] += end - t
        t = end
        if t < stop:
            _drop(row, tile, t, group)
    if group[1] == EVERY:
        return
    _forget(told, max(store, t), stop)
    for n in range(LANES):
        if not group[1] >> n & 1 and known[chunk * LANES + n] != _NEVER:
            at = _ENDED - group[2 + n] if group[2 + n] <= _ENDED else begin
            if not _stays(row, tile, chunk, at, stop, n, first, known, group):
                told[FROM], told[STOP], told[STORE] = at, stop, store
                _step_alone(row, floats, state, group, tile, chunk, n, first, known, told, alone)


@kernel
def _drop(row: I64, tile: F64, t: int, group: I64) -> None:
    """Let those fall out whose bar is not whole."""
    for n in range(LANES):
        if group[1] >> n & 1 and not _is_whole(row, tile, t, n):
            group[1] &= ~(1 << n)
            group[2 + n] = _ENDED - t


@within
def _forget(told: I64, begin: int, stop: int) -> None:
    """Write that nothing is known of some bars of a chunk."""
    for t in range(begin, stop):
        store(told[OUT] + t * told[STRIDE], 0, told[WRITTEN], 0.0)


@kernel
def _save(row: I64, state: F64, spread: int, group: I64, alone: F64) -> None:
    """Keep what those alone have, before those who are stepped together write into all lanes."""
    for lane in range(LANES):
        if not group[1] >> lane & 1 and group[2 + lane] > 0:
            for n in range(row[SIZE]):
                alone[n, lane] = state[n * spread + lane]


@kernel
def _stays(
    row: I64, tile: F64, chunk: int, begin: int, stop: int, lane: int, first: int, known: I64, group: I64
) -> bool:
    """Say whether there is nothing to step: one bar that a symbol does not have, or without a start."""
    if stop - begin != 1:
        return False
    if _is_whole(row, tile, begin, lane):
        return bool(group[2 + lane] == _UNSEEN)
    is_unknown = first + begin < known[chunk * LANES + lane]
    return bool(group[2 + lane] == 0 or (group[2 + lane] == _UNSEEN and is_unknown))


@kernel
def _step_alone(
    row: I64,
    floats: F64,
    state: F64,
    group: I64,
    tile: F64,
    chunk: int,
    lane: int,
    first: int,
    known: I64,
    told: I64,
    alone: F64,
) -> None:
    """Step one symbol in all lanes, from its run's age on and anew after each hole."""
    size, bars, kept, spread = row[SIZE], tile.shape[1], told[KEPT], told[SPREAD]
    t, stop, store, seen = told[FROM], told[STOP], told[STORE], group[2 + lane]
    # Behind what was kept of all lanes: the state of this one in every lane, and then its bars.
    own, fed = alone.ctypes.data + size * WIDTH, alone.ctypes.data + 2 * size * WIDTH
    told[KEPT], told[SPREAD], told[MEMBERS], told[WRITTEN] = own, LANES, 1 << lane, 1 << lane
    for n in range(row[READS]):
        told[TOLD + n] = fed + n * bars * WIDTH
    stepped = False
    while t < stop:
        if not _is_whole(row, tile, t, lane):
            if seen != 0:
                seen = 0 if first + t >= known[chunk * LANES + lane] else _UNSEEN
            t += 1
        elif seen < 0:
            t += 1
        else:
            if seen == 0 or not stepped:
                for n in range(size):
                    put(own + n * WIDTH, alone[n, lane] if seen > 0 else 0.0)
            end = _feed(row, tile, t, stop, lane, told)
            told[FROM], told[STOP], told[STORE] = t, end, max(store, t + row[NEED] - seen)
            call(row[ADDRESS], told.ctypes.data, floats.ctypes.data)
            seen, t, stepped = seen + end - t, end, True
    group[2 + lane] = seen
    if stepped:
        for n in range(size):
            state[n * spread + lane] = alone[size + n, lane]
    told[KEPT], told[SPREAD] = kept, spread


@kernel
def _feed(row: I64, tile: F64, begin: int, stop: int, lane: int, told: I64) -> int:
    """Give a symbol's bars to all lanes as long as they are whole; gives where they end."""
    t = begin
    while t < stop and _is_whole(row, tile, t, lane):
        for n in range(row[READS]):
            put(told[TOLD + n] + t * WIDTH, tile[row[TABLE + n], t, lane])
        t += 1
    return t
