"""The sequence of a row: odd while the row is written, so that readers in other processes notice a torn read.

1. The writer makes it odd, writes the row, and makes it even again: `open_row`, `close_row`.
2. A reader notes it, copies, and looks again: where it was odd or is another now, the copy is thrown away.
3. Both ends of a write are stores that the compiler may neither drop nor move; fences hold back all others.
"""

from collections.abc import Callable
from typing import Any, Final, cast

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from klinehub.panel.memory import I64, kernel

# `sequence[t, row] += 1` around the copy would not do: LLVM moves plain stores, and drops the first of these
# two where it can prove that nothing in between reads it (with arrays that cannot overlap it was gone).
# So the sequence is stored atomically, which the compiler leaves alone, and fences keep the row's own stores
# between. On x86 both cost no instruction; on ARM a fence is `dmb`. A store outside the kernels would
# be as safe, but one call from Python takes longer than the whole merge.
_WORD: Final = 8
# numba's own parts have no types.
_numba: Any = cgutils
_types: Any = types
_primitive = cast("Callable[[Callable[..., Any]], Callable[..., Any]]", intrinsic)


@_primitive
def _before_stores(_: Any) -> Any:  # noqa: ANN401 - numba's typing context
    """Let no store that follows be seen before a load or store that precedes."""

    def lower(context: Any, builder: Any, _: Any, __: Any) -> Any:  # noqa: ANN401 - numba's own
        builder.fence("release")
        return context.get_dummy_value()

    return _types.void(), lower


@_primitive
def _after_loads(_: Any) -> Any:  # noqa: ANN401 - numba's typing context
    """Let no load or store that follows be done before a load that precedes."""

    def lower(context: Any, builder: Any, _: Any, __: Any) -> Any:  # noqa: ANN401 - numba's own
        builder.fence("acquire")
        return context.get_dummy_value()

    return _types.void(), lower


def _place(array: Any) -> Any:  # noqa: ANN401 - numba types
    return _types.UniTuple(_types.intp, array.ndim)


def _pointer(context: Any, builder: Any, array: Any, value: Any, at: Any) -> Any:  # noqa: ANN401 - numba's
    made = context.make_array(array)(context, builder, value)
    places = _numba.unpack_tuple(builder, at)
    return _numba.get_item_pointer(context, builder, array, made, places)


@_primitive
def _store(_: Any, array: Any, at: Any, value: Any) -> Any:  # noqa: ANN401, ARG001 - numba types
    """Store one word whole, and in any case."""

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ANN401 - numba's own
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
        builder.store_atomic(args[2], pointer, "monotonic", _WORD)
        return context.get_dummy_value()

    return _types.void(array, _place(array), _types.int64), lower


@_primitive
def _load(_: Any, array: Any, at: Any) -> Any:  # noqa: ANN401, ARG001 - numba types
    """Load one word whole, and anew."""

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ANN401 - numba's own
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
        return builder.load_atomic(pointer, "monotonic", _WORD)

    return _types.int64(array, _place(array)), lower


@kernel
def open_row(sequence: I64, t: int, row: int) -> None:
    """Say that a row is being written, before any of it is."""
    _store(sequence, (t, row), sequence[t, row] + 1)
    _before_stores()


@kernel
def close_row(sequence: I64, t: int, row: int) -> None:
    """Say that a row is whole again, once all of it is written."""
    _before_stores()
    _store(sequence, (t, row), sequence[t, row] + 1)


@kernel
def publish(words: I64, at: int, value: int) -> None:
    """Store one word whole, after everything that was written before it."""
    _before_stores()
    _store(words, (at,), value)


@kernel
def noted(sequence: I64, t: int, row: int) -> int:
    """Note a row's sequence before it is read; odd while somebody writes it."""
    found = _load(sequence, (t, row))
    _after_loads()
    return int(found)


@kernel
def is_whole(sequence: I64, t: int, row: int, before: int) -> bool:
    """Whether nobody has written a row since its sequence was noted as *before*, nor then."""
    _after_loads()
    return bool(before & 1 == 0 and _load(sequence, (t, row)) == before)
