"""Loops: a factor's function compiled into a loop over symbols and bars, made once and kept on disk.

1. The loop is written out as a source file of its own, named after everything it depends on: its text, the
   function's code and that of every function it calls. A changed callee therefore makes a new file, which
   numba's own cache does not notice.
2. The function is inlined. Calling it by address was measured at 3 ns a bar more, a quarter of all.
3. One loop serves one new bar and a whole history alike: what is kept between two calls is the state.

A stepped factor runs once for each block of BLOCK bars, from `need` bars before it. Each run has a slot in
the state, and `age` counts its bars: -1 while the start of the run was not seen. A hole starts a run anew.
"""

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final

import numba as nb

from klinehub.factors.define import Factor
from klinehub.panel.view import PLANES

# A recursive value is the run from the start of its block, less the warm-up.
BLOCK: Final = 128
_STEPPED: Final = """
def run(cube, times, benchmark, first, state, age, need, out{options}):
    last = first + cube.shape[2] - 1
    for s in range(cube.shape[1]):
        for block in range(first // {block}, (last + need) // {block} + 1):
            slot, begin = block % state.shape[1], block * {block}
            kept, seen = state[s, slot], age[s, slot]
            for bar in range(max(begin - need, first), min(begin + {block} - 1, last) + 1):
                t = bar - first
                {read}
                whole = {whole}
                if seen != 0 and (bar == begin - need or not whole):
                    kept[:] = 0.0
                    seen = 0
                value = np.nan
                if whole and seen >= 0:
                    value = step(kept, {values}{options})
                    seen += 1
                if bar >= begin:
                    out[s, t] = value if seen > need and np.isfinite(value) else np.nan
            age[s, slot] = seen
"""
_WINDOWED: Final = """
def run(cube, times, benchmark, first, state, age, need, out{options}):
    lead = cube.shape[2] - out.shape[1]
    for s in range(cube.shape[1]):
        length = 0
        for t in range(cube.shape[2]):
            {read}
            length = length + 1 if {whole} else 0
            if t < lead:
                continue
            value = np.nan
            if length > need:
                value = step({values}{options})
            out[s, t - lead] = value if np.isfinite(value) else np.nan
"""
_CUBE: Final = nb.types.Array(nb.float64, 3, "C")
_ROW: Final = nb.types.Array(nb.float64, 1, "C")
_STATE: Final = nb.types.Array(nb.float64, 3, "C")
_AGE: Final = nb.types.Array(nb.int64, 2, "C")
_OUT: Final = nb.types.Array(nb.float64, 2, "A")
_loops: dict[Factor, Callable[..., None]] = {}


def loop_of(factor: Factor) -> Callable[..., None]:
    """Give the compiled loop of a factor, from memory, from disk, or made now (about half a second).

    It takes (cube [9, symbols, bars], open times [bars], benchmark's closes [bars], index of the first bar,
    state [symbols, slots, size], age [symbols, slots], bars needed before, out [symbols, bars], *options).
    """
    if factor not in _loops:
        _loops[factor] = _made(factor)
    return _loops[factor]


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


def _place(field: str) -> str:
    """Give where a field's bars of symbol s lie."""
    if field in PLANES:
        return f"cube[{PLANES.index(field)}, s]"
    return {"open_time": "times", "benchmark": "benchmark"}[field]


def _made(factor: Factor) -> Callable[..., None]:
    """Write, load and compile a loop, for the types that it is called with."""
    source = source_of(factor)
    digest = hashlib.sha256(source.encode() + fingerprint(factor.function)).hexdigest()[:20]
    name = f"klinehub_loop_{factor.name}_{digest}"
    module = ModuleType(name)
    own = factor.function.__module__.startswith("klinehub.")
    # A user's function may reach beyond its window or its state: better an error than foreign memory.
    step = nb.njit(nogil=True, error_model="numpy", boundscheck=not own)(_plain(factor.function))
    module.__dict__.update(np=__import__("numpy"), step=step)
    # Where numba finds it again when it loads what it had compiled.
    sys.modules[name] = module
    exec(compile(source, _written(name, source), "exec"), module.__dict__)  # noqa: S102 - our own text
    loop: Any = nb.njit(cache=True, nogil=True, error_model="numpy")(module.__dict__["run"])
    options = [nb.int64 if isinstance(value, int) else nb.float64 for value in factor.options.values()]
    loop.compile(nb.void(_CUBE, _ROW, _ROW, nb.int64, _STATE, _AGE, nb.int64, _OUT, *options))
    loop.disable_compile()
    made: Callable[..., None] = loop
    return made


def _written(name: str, source: str) -> str:
    """Write a loop's source where it can stay, unless it is there; gives the path."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "klinehub"
    beside = Path(__file__).parent / "__pycache__"
    for folder in (beside, home, Path(tempfile.gettempdir()) / f"klinehub-{os.getuid()}"):
        path = folder / f"{name}.py"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                part = path.with_suffix(f".{os.getpid()}")
                part.write_text(source, "utf-8")
                part.replace(path)
        except OSError:
            continue
        return str(path)
    return f"<{name}>"


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
            for name in code.co_names:
                seen = plain.__globals__.get(name)
                if callable(seen) and hasattr(_plain(seen), "__code__"):
                    visit(seen)
                elif isinstance(seen, int | float | str | tuple):
                    digest.update(f"{name}={seen!r}".encode())

    visit(function)
    return digest.digest()


def _plain(function: Callable[..., Any]) -> Any:  # noqa: ANN401 - a dispatcher's function has no type
    """Give the Python function under a compiled one."""
    return getattr(function, "py_func", function)


def _codes(code: CodeType) -> list[CodeType]:
    """List a code object and those inside it."""
    inner = [one for const in code.co_consts if isinstance(const, CodeType) for one in _codes(const)]
    return [code, *inner]
