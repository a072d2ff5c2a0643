"""Loops: a factor's function compiled into a loop over symbols and bars, made once and kept on disk.

1. The loop is written out as a source file of its own, named after everything it depends on: its text, the
   function's code and that of every function it calls. A changed callee therefore makes a new file, which
   numba's own cache does not notice.
2. The function is inlined. Calling it by address was measured at 3 ns a bar more, a quarter of all.
3. One loop serves one new bar and a whole history alike: what is kept between two calls is the state.

A stepped factor runs once for each block of BLOCK bars, from `need` bars before it. Each run has a slot in
the state, and `age` counts its bars: -1 while the start of the run was not seen. A hole starts a run anew,
and so does a listing; what lies before the bars that are held is neither.
"""

import hashlib
import os
import stat
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final

import numba as nb
import numpy as np

from klinehub.errors import DefinitionError
from klinehub.factors import lanes
from klinehub.factors.define import Factor
from klinehub.panel.view import WIDE

# A recursive value is the run from the start of its block, less the warm-up.
BLOCK: Final = 128
_STEPPED: Final = """
def run(cube, times, benchmark, first, since, known, state, age, need, scratch, out{options}):
    last, size, lead = first + cube.shape[2] - 1, state.shape[1], cube.shape[2] - out.shape[1]
    for block in range(since // {block}, (last + need) // {block} + 1):
        slot, begin = block % state.shape[0], block * {block}
        low, high = max(begin - need, since), min(begin + {block} - 1, last)
        for s in range(cube.shape[1]):
            kept, seen = state[slot, :, s], age[slot, s]
            if high > low:
                kept = scratch[:, 0]
                for n in range(size):
                    kept[n] = state[slot, n, s]
            for bar in range(low, high + 1):
                t = bar - first
                {read}
                whole = {whole}
                if seen != 0 and (bar == begin - need or not whole):
                    for n in range(size):
                        kept[n] = 0.0
                    seen = 0 if bar >= known[s] else -1
                value = np.nan
                if whole and seen >= 0:
                    value = step(kept, {values}{options})
                    seen += 1
                if bar >= begin and t >= lead:
                    out[s, t - lead] = value if seen > need and np.isfinite(value) else np.nan
            age[slot, s] = seen
            if high > low:
                for n in range(size):
                    state[slot, n, s] = kept[n]
"""
# For LANES symbols at once, from bar t on as long as the members' bars are whole: see factors.stepping.
_IN_LANES: Final = """
def run(told, floats):
    state, spread, t, stop = word(told, 0), word(told, 1), word(told, 2), word(told, 3)
    since, members, out, stride = word(told, 4), word(told, 5), word(told, 6), word(told, 7)
    written = word(told, 8)
    {places}
    {options}
{walks}
    return t
"""
# Of many numbers, those of a chunk lie together while many bars are run over: see factors.stepping.
_MANY: Final = """
    if spread == {lanes}:
        kept = near_state(state, members)
{near}
    else:
        kept = state_at(state, spread, members)
{far}
"""
# Few numbers at fixed places stay in registers from bar to bar.
_FEW: Final = """
    all_kept = state_at(state, spread, members)
    kept = own_state({few})
    {taken}
{walk}
    {given}
"""
_WALK: Final = """
    while t < stop:
        {read}
        if bits({whole}) & members != members:
            break
        value = step(kept, {values})
        if t >= since:
            store(out + t * stride, members, written, value)
        t += 1
"""
# How many words a loop in lanes is told in front of where its bars lie.
_TOLD: Final = 9
_LANE_WORDS: Final = ("bits", "led", "load", "near_state", "own_state", "real", "state_at", "store", "word")
_WINDOWED: Final = """
def run(cube, times, benchmark, first, since, known, state, age, need, scratch, out{options}):
    lead = cube.shape[2] - out.shape[1]
    for s in range(cube.shape[1]):
        length = 0
        for t in range(since - first, cube.shape[2]):
            {read}
            length = length + 1 if {whole} else 0
            if t < lead:
                continue
            value = np.nan
            if length > need:
                value = step({values}{options})
            out[s, t - lead] = value if np.isfinite(value) else np.nan
"""
# Read only: all factors share them, and one that sorts its window in place would change what others see.
_CUBE: Final = nb.types.Array(nb.float64, 3, "C", readonly=True)
_ROW: Final = nb.types.Array(nb.float64, 1, "C", readonly=True)
# How much is told of why a function can not be compiled.
_REASON: Final = 160
_STATE: Final = nb.types.Array(nb.float64, 3, "C")
_KNOWN: Final = nb.types.Array(nb.int64, 1, "C")
_AGE: Final = nb.types.Array(nb.int64, 2, "C")
_OUT: Final = nb.types.Array(nb.float64, 2, "A")
# What is the same wherever it is called, and has too many parts to look at.
_LIBRARIES: Final = frozenset({"math", "numba", "numpy"})
_NOTHING: Final = object()
# Their stubs do not know the option that leaves reference counts out.
_njit: Any = nb.njit
_cfunc: Any = nb.cfunc
_loops: dict[Factor, Callable[..., None]] = {}
# Callbacks, which have to live as long as their addresses are used.
_in_lanes: dict[Factor, Any] = {}


def loop_of(factor: Factor) -> Callable[..., None]:
    """Give the compiled loop of a factor, from memory, from disk, or made now (about half a second).

    It takes (cube [planes as in WIDE, symbols, bars], open times [bars], benchmark's closes [bars], index of
    the first bar, index to run from, index from which on each symbol is known [symbols], state [slots, size,
    symbols], age [slots, symbols], bars needed before, scratch [size, 1], out [symbols, last bars wanted],
    *options).
    """
    if factor not in _loops:
        _loops[factor] = _made(factor)
    return _loops[factor]


def in_lanes(factor: Factor) -> bool:
    """Say whether a factor is stepped for several symbols at once.

    A user's own may reach beyond its state, which a loop in lanes does not notice.
    """
    return factor.kind == "step" and not factor.branches and factor.is_own


def compiled(factor: Factor) -> None:
    """Compile a factor's loop, or load it from disk."""
    if in_lanes(factor):
        lane_loop_of(factor)
    else:
        loop_of(factor)


def lane_loop_of(factor: Factor) -> int:
    """Give the address of a factor's loop in lanes, from memory, from disk, or made now (about a second).

    It takes the addresses of what it is told (see factors.stepping) and of its options as floats, and gives
    the bar at which it stopped.
    """
    if factor not in _in_lanes:
        source = lane_source_of(factor)
        words = {name: getattr(lanes, name) for name in _LANE_WORDS}
        kernel = _njit(nogil=True, error_model="numpy", _nrt=False, forceinline=True)(_plain(factor.function))
        run = _loaded(factor, source, step=kernel, **words)
        kind = nb.int64(nb.int64, nb.int64)
        _in_lanes[factor] = _cfunc(kind, cache=True, nopython=True, error_model="numpy", _nrt=False)(run)
    address: int = _in_lanes[factor].address
    return address


def anchor(bar: int, need: int) -> int:
    """Give the index from which a stepped factor has to run for its value at *bar*."""
    return bar // BLOCK * BLOCK - need


def slots(need: int) -> int:
    """Give how many runs are under way at a time, and with that how many slots the state has."""
    return need // BLOCK + 2


def source_of(factor: Factor) -> str:
    """Write the loop of a factor."""
    whole = " and ".join(f"x{n} == x{n}" for n in range(len(factor.fields)))
    stepped = factor.kind == "step"
    one = "{}" if stepped else "{}[t - need : t + 1]"
    parts = [f"x{n}" for n in range(len(factor.fields))]
    return (_STEPPED if stepped else _WINDOWED).format(
        block=BLOCK,
        read="; ".join(f"x{n} = {_place(field)}[t]" for n, field in enumerate(factor.fields)),
        whole=whole,
        values=", ".join(parts if stepped else (one.format(_place(field)) for field in factor.fields)),
        options="".join(f", option_{name}" for name in factor.options),
    )


def lane_source_of(factor: Factor) -> str:
    """Write the loop of a factor in lanes."""
    parts = [f"x{n}" for n in range(len(factor.fields))]
    reads = len(parts)
    options = [
        f"option_{name} = "
        + (f"word(told, {_TOLD + reads + n})" if isinstance(value, int) else f"real(floats, {n})")
        for n, (name, value) in enumerate(factor.options.items())
    ]
    walk = _WALK.format(
        read="; ".join(f"x{n} = load(place{n} + t * {lanes.WIDTH})" for n in range(reads)),
        whole=" & ".join(f"(x{n} == x{n})" for n in range(reads)),
        values=", ".join([*parts, *(f"option_{name}" for name in factor.options)]),
    ).strip("\n")
    return _IN_LANES.format(
        places="; ".join(f"place{n} = word(told, {_TOLD + n})" for n in range(reads)),
        options="; ".join(options) or "pass",
        walks=(_few(factor.state, walk) if isinstance(factor.state, int) else _many(walk)).strip("\n"),
    )


def _few(few: int, walk: str) -> str:
    """Write a walk over bars with a state of fixed size."""
    taken = "; ".join(f"kept[{n}] = led(all_kept[{n}], members)" for n in range(few))
    given = "; ".join(f"all_kept[{n}] = kept[{n}]" for n in range(few))
    return _FEW.format(few=few, taken=taken, walk=walk, given=given)


def _many(walk: str) -> str:
    """Write a walk over bars for each of the two ways in which a state may lie."""
    inner = textwrap.indent(walk, "    ")
    return _MANY.format(lanes=lanes.LANES, near=inner, far=inner)


def _place(field: str) -> str:
    """Give where a field's bars of symbol s lie."""
    if field in WIDE:
        return f"cube[{WIDE.index(field)}, s]"
    return {"open_time": "times", "benchmark": "benchmark"}[field]


def _made(factor: Factor) -> Callable[..., None]:
    """Write, load and compile a loop, for the types that it is called with."""
    own = factor.is_own
    # A user's function may reach beyond its window or its state: better an error than foreign memory.
    step = _njit(nogil=True, error_model="numpy", boundscheck=not own, _nrt=not own)(_plain(factor.function))
    run = _loaded(factor, source_of(factor), step=step)
    loop: Any = _njit(cache=True, nogil=True, error_model="numpy", _nrt=not own)(run)
    options = [nb.int64 if isinstance(value, int) else nb.float64 for value in factor.options.values()]
    try:
        loop.compile(
            nb.void(
                _CUBE, _ROW, _ROW, nb.int64, nb.int64, _KNOWN, _STATE, _AGE, nb.int64, _OUT, _OUT, *options
            )
        )
    except Exception as exc:
        lines = (line.strip() for line in str(exc).splitlines())
        reason = " ".join(line for line in lines if line and not line.startswith("Failed in"))
        raise DefinitionError(
            f"{factor.name}() can not be compiled: {reason[:_REASON]}… Write it with numbers, loops and "
            "math, and do not write into a window."
        ) from exc
    loop.disable_compile()
    made: Callable[..., None] = loop
    return made


def _loaded(factor: Factor, source: str, **given: Any) -> Callable[..., Any]:  # noqa: ANN401 - compiled functions
    """Write a loop as a module named after all that it depends on, and load it."""
    digest = hashlib.sha256(source.encode() + lanes.MAKE.encode() + fingerprint(factor.function)).hexdigest()[
        :20
    ]
    name = f"klinehub_loop_{factor.name}_{digest}"
    module = ModuleType(name)
    module.__dict__.update(np=np, **given)
    # Where numba finds it again when it loads what it had compiled.
    sys.modules[name] = module
    exec(compile(source, _written(name, source), "exec"), module.__dict__)  # noqa: S102 - our own text
    run: Callable[..., Any] = module.__dict__["run"]
    return run


def _written(name: str, source: str) -> str:
    """Write a loop's source where it can stay, unless it is there; gives the path."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "klinehub"
    beside = Path(__file__).parent / "__pycache__"
    for folder in (beside, home, Path(tempfile.gettempdir()) / f"klinehub-{os.getuid()}"):
        path = folder / f"{name}.py"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _is_private(folder):
                continue
            if not path.exists():
                part = path.with_suffix(f".{os.getpid()}")
                part.write_text(source, "utf-8")
                part.replace(path)
        except OSError:
            continue
        return str(path)
    return f"<{name}>"


def _is_private(folder: Path) -> bool:
    """Whether nobody else writes here: numba executes what it finds beside a module."""
    found = folder.stat()
    return found.st_uid in {0, os.geteuid()} and not found.st_mode & stat.S_IWOTH


def fingerprint(function: Callable[..., Any]) -> bytes:
    """Give a digest of a function's code and of all that it calls, the same in every process."""
    found: dict[int, None] = {}
    digest = hashlib.sha256()

    def visit(one: Callable[..., Any]) -> None:
        plain = _plain(one)
        if id(plain) in found:
            return
        found[id(plain)] = None
        for code in _codes(plain.__code__):
            digest.update(code.co_code + repr((code.co_names, code.co_varnames)).encode())
            digest.update(
                repr([const for const in code.co_consts if not isinstance(const, CodeType)]).encode()
            )
        for name, seen in _outside(plain):
            if callable(seen) and hasattr(_plain(seen), "__code__"):
                visit(seen)
                if _plain(seen).__defaults__:
                    digest.update(repr(_plain(seen).__defaults__).encode())
            elif isinstance(seen, np.ndarray):
                digest.update(f"{name}={seen.dtype}{seen.shape}".encode() + seen.tobytes())
            elif seen is None or isinstance(seen, int | float | complex | str | tuple | list | np.generic):
                digest.update(f"{name}={seen!r}".encode())

    visit(function)
    return digest.digest()


def _plain(function: Callable[..., Any]) -> Any:  # noqa: ANN401 - a dispatcher's function has no type
    """Give the Python function under a compiled one."""
    return getattr(function, "py_func", function)


def _outside(plain: Any) -> Iterator[tuple[str, object]]:  # noqa: ANN401 - as above
    """Give what a function reads from around it, by name: globals, parts of modules, what it closes over."""
    names = [name for code in _codes(plain.__code__) for name in code.co_names]
    for name in names:
        seen = plain.__globals__.get(name, _NOTHING)
        if isinstance(seen, ModuleType) and seen.__name__.partition(".")[0] not in _LIBRARIES:
            yield from ((f"{name}.{part}", getattr(seen, part)) for part in names if hasattr(seen, part))
        elif seen is not _NOTHING:
            yield name, seen
    for name, cell in zip(plain.__code__.co_freevars, plain.__closure__ or (), strict=True):
        yield name, cell.cell_contents


def _codes(code: CodeType) -> list[CodeType]:
    """List a code object and those inside it."""
    inner = [one for const in code.co_consts if isinstance(const, CodeType) for one in _codes(const)]
    return [code, *inner]
