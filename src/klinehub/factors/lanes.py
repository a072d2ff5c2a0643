"""Lanes: numbers of several symbols side by side, in the vector registers of the processor.

1. A stepped factor is compiled for `Lanes` instead of one float: each operation is then done for LANES
   symbols at once, rounded like the same operation on one. Nothing is contracted or reordered.
2. A condition on lanes holds for some symbols and not for others, so it can not be an `if`: it is `choose`n
   between two values, both of which are worked out. A condition on what is `counted` can: symbols that are
   stepped together have equal counts.
3. `choose`, `counted` and `some` mean the same in plain Python, on one float.
"""
# numba and llvmlite have no types to check against.
# mypy: disable-error-code="attr-defined,call-arg,import-untyped,no-untyped-call,no-untyped-def,no-any-return"
# ruff: noqa: ANN001, ANN201, ANN202, ANN401, ARG001, ARG002

import hashlib
import math
import operator
from pathlib import Path
from typing import Any, Final

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.extending import (
    intrinsic,
    lower_builtin,
    lower_cast,
    overload,
    register_model,
)
from numba.core.typeconv import Conversion
from numba.core.typing import signature
from numba.core.typing.templates import AbstractTemplate, infer_global

# Two of the widest registers: of two chains of operations one waits while the other works.
LANES: Final = 16
# Bytes of one number of all lanes.
WIDTH: Final = 8 * LANES
EVERY: Final = (1 << LANES) - 1
# Write to memory what nobody reads soon, instead of reading its place into the cache first.
PAST: Final = -1

# In the names of the types: what was compiled for lanes of another make is not found again.
MAKE: Final = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
_intrinsic: Any = intrinsic
_VECTOR: Final = ir.VectorType(ir.DoubleType(), LANES)
_FLAGS: Final = ir.VectorType(ir.IntType(1), LANES)
_WORD: Final = ir.IntType(64)


class _Lanes(types.Type):
    """LANES floats; a number becomes one by being repeated."""

    def __init__(self) -> None:
        super().__init__(name=f"Lanes{LANES}_{MAKE}")

    def can_convert_from(self, _typingctx: Any, other: Any) -> Any:
        return Conversion.safe if isinstance(other, types.Float | types.Integer) else None


class _Flags(types.Type):
    """LANES conditions; a condition becomes one by being repeated."""

    def __init__(self) -> None:
        super().__init__(name=f"Flags{LANES}_{MAKE}")

    def can_convert_from(self, _typingctx: Any, other: Any) -> Any:
        return Conversion.safe if isinstance(other, types.Boolean) else None


class _LaneState(types.Type):
    """The numbers kept of LANES symbols: lanes side by side, each number some words after the one before."""

    def __init__(self) -> None:
        super().__init__(name=f"LaneState{LANES}_{MAKE}")


_lanes, _flags, _state = _Lanes(), _Flags(), _LaneState()


def _model(kind: type, backend: Any) -> None:
    """Say how a type lies in registers."""

    class Model(models.PrimitiveModel):  # numba has no stubs
        def __init__(self, dmm: Any, fe_type: Any) -> None:
            super().__init__(dmm, fe_type, backend)

    register_model(kind)(Model)


_model(_Lanes, _VECTOR)
_model(_Flags, _FLAGS)


class _StateModel(models.StructModel):  # numba has no stubs
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        numbers = types.CPointer(types.float64)
        super().__init__(dmm, fe_type, [("data", numbers), ("counts", numbers), ("spread", types.int64)])


register_model(_LaneState)(_StateModel)


# PLAIN WORDS


def choose(condition: bool, one: float, other: float) -> float:  # noqa: FBT001 - a condition is what it takes
    """Give *one* where the condition holds and *other* where it does not; both are worked out."""
    return one if condition else other


def counted(state: Any, at: int) -> float:
    """Give a number of the state that only counts bars, and so is equal for all that are stepped together."""
    count: float = state[at]
    return count


def some(condition: bool) -> bool:  # noqa: FBT001 - as above
    """Say whether a condition holds for any symbol."""
    return condition


@overload(choose)
def _choose(condition, one, other):
    if isinstance(condition, _Flags) or isinstance(one, _Lanes) or isinstance(other, _Lanes):
        return lambda condition, one, other: _select(condition, one, other)  # noqa: PLW0108 - numba's form
    return lambda condition, one, other: one if condition else other


@overload(counted)
def _counted(state, at):
    if isinstance(state, _LaneState):
        return lambda state, at: _first(state, at)  # noqa: PLW0108 - numba's form
    return lambda state, at: state[at]


@overload(some)
def _some(condition):
    if isinstance(condition, _Flags):
        return lambda condition: bits(condition) != 0
    return lambda condition: condition


# MEMORY


def _called(builder: Any, name: str, args: Any) -> Any:
    """Call what LLVM has for all lanes at once."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(args))
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"{name}.v{LANES}f64"), args)


def _at(builder: Any, address: Any, kind: Any) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


@_intrinsic
def load(_typingctx, _address):
    """Read one number of all lanes at an address that nobody writes to meanwhile."""

    def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        read = builder.load(_at(builder, args[0], _VECTOR), align=8)
        read.set_metadata("invariant.load", builder.module.add_metadata([]))
        return read

    return _lanes(types.int64), code


@_intrinsic
def put(_typingctx, _address, _value):
    """Write one number of all lanes at an address, as it is."""

    def code(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        builder.store(args[1], _at(builder, args[0], _VECTOR), align=8)
        return context.get_dummy_value()

    return types.void(types.int64, _lanes), code


@_intrinsic
def take(_typingctx, _address):
    """Read one number of all lanes at an address that is written as well."""

    def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.load(_at(builder, args[0], _VECTOR), align=8)

    return _lanes(types.int64), code


@_intrinsic
def store(_typingctx, _address, _members, _written, _value):
    """Write one number of all lanes: NaN where it is not finite or the member's bit is not set.

    Of *written* only lanes whose bit is set are touched; with PAST all are, past the cache.
    """

    def code(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        address, members, written, value = args
        size = _called(builder, "llvm.fabs", [value])
        finite = builder.fcmp_ordered("<", size, ir.Constant(_VECTOR, [math.inf] * LANES))
        known = builder.and_(finite, builder.bitcast(builder.trunc(members, ir.IntType(LANES)), _FLAGS))
        value = builder.select(known, value, ir.Constant(_VECTOR, [math.nan] * LANES))
        pointer = _at(builder, address, _VECTOR)
        with builder.if_else(builder.icmp_signed("==", written, _WORD(PAST))) as (past, within):
            with past:
                done = builder.store(value, pointer, align=64)
                done.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))
                done.set_metadata("noalias", _scope(builder))
            with within:
                mask = builder.bitcast(builder.trunc(written, ir.IntType(LANES)), _FLAGS)
                kind = ir.FunctionType(ir.VoidType(), [_VECTOR, pointer.type, ir.IntType(32), _FLAGS])
                name = f"llvm.masked.store.v{LANES}f64.p0"
                function = cgutils.get_or_insert_function(builder.module, kind, name)
                done = builder.call(function, [value, pointer, ir.Constant(ir.IntType(32), 8), mask])
                done.set_metadata("noalias", _scope(builder))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, _lanes), code


def _state_of(context: Any, builder: Any, data: Any, spread: Any, lane: Any) -> Any:
    made = cgutils.create_struct_proxy(_state)(context, builder)
    made.data, made.spread, made.counts = data, spread, builder.gep(data, [lane])
    return made._getvalue()  # noqa: SLF001 - numba's own name for it


def _first_of(builder: Any, members: Any) -> Any:
    """Give the first lane whose bit is set."""
    return builder.cttz(members, ir.IntType(1)(0))


@_intrinsic
def state_at(_typingctx, _address, _spread, _members):
    """Take what is kept of LANES symbols from an address, each number so many words after the one before.

    Counts are those of the members: others may have been stepped alone.
    """

    def code(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        data, lane = _at(builder, args[0], ir.DoubleType()), _first_of(builder, args[2])
        return _state_of(context, builder, data, args[1], lane)

    return _state(types.int64, types.int64, types.int64), code


@_intrinsic
def near_state(_typingctx, _address, _members):
    """Take the same, one number right behind the other."""

    def code(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        data, lane = _at(builder, args[0], ir.DoubleType()), _first_of(builder, args[1])
        return _state_of(context, builder, data, _WORD(LANES), lane)

    return _state(types.int64, types.int64), code


@_intrinsic(prefer_literal=True)
def own_state(_typingctx, _size):
    """Make room for a state of a fixed size, which LLVM keeps in registers where it can."""

    def code(context: Any, builder: Any, signature: Any, _args: Any) -> Any:
        memory = cgutils.alloca_once(builder, ir.ArrayType(_VECTOR, signature.args[0].literal_value))
        data = builder.bitcast(memory, ir.DoubleType().as_pointer())
        return _state_of(context, builder, data, _WORD(LANES), _WORD(0))

    return _state(_size), code


@_intrinsic
def led(_typingctx, _value, _members):
    """Give the lanes with that of the first member in front, where a state of its own looks for counts."""

    def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        one = builder.extract_element(args[0], _first_of(builder, args[1]))
        return builder.insert_element(args[0], one, ir.IntType(32)(0))

    return _lanes(_lanes, types.int64), code


@_intrinsic
def call(_typingctx, _address, _numbers, _floats):
    """Call a compiled loop by its address, with the addresses of its numbers and its floats."""

    def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(_WORD, [_WORD, _WORD])
        return builder.call(_at(builder, args[0], kind), args[1:])

    return types.int64(types.int64, types.int64, types.int64), code


@_intrinsic
def word(_typingctx, _address, _place):
    """Read a whole number of a list at an address."""

    def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.load(builder.gep(_at(builder, args[0], _WORD), [args[1]]))

    return types.int64(types.int64, types.int64), code


@_intrinsic
def real(_typingctx, _address, _place):
    """Read a float of a list at an address."""

    def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.load(builder.gep(_at(builder, args[0], ir.DoubleType()), [args[1]]))

    return types.float64(types.int64, types.int64), code


def _scope(builder: Any) -> Any:
    """Name the memory of states, so that LLVM knows that values are never stored into it."""
    module = builder.module
    domain = module.add_metadata([ir.MetaDataString(module, "klinehub")])
    return module.add_metadata([module.add_metadata([ir.MetaDataString(module, "state"), domain])])


def _place(context: Any, builder: Any, state: Any, at: Any) -> Any:
    """Give where a number of the state lies."""
    kept = cgutils.create_struct_proxy(_state)(context, builder, value=state)
    return builder.gep(kept.data, [builder.mul(at, kept.spread)])


@_intrinsic
def _first(_typingctx, _kept, _n):
    def code(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        kept = cgutils.create_struct_proxy(_state)(context, builder, value=args[0])
        read = builder.load(builder.gep(kept.counts, [builder.mul(args[1], kept.spread)]))
        read.set_metadata("alias.scope", _scope(builder))
        return read

    return types.float64(_state, types.int64), code


@_intrinsic
def bits(_typingctx, _condition):
    """Give conditions as the bits of a number, the first lane's the lowest."""

    def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.zext(builder.bitcast(args[0], ir.IntType(LANES)), _WORD)

    return types.int64(_flags), code


@_intrinsic
def _select(_typingctx, _condition, _one, _other):
    def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return _lanes(_flags, _lanes, _lanes), code


class _ReadState(AbstractTemplate):  # numba has no stubs
    def generic(self, args: Any, kws: Any) -> Any:
        if isinstance(args[0], _LaneState) and isinstance(args[1], types.Integer):
            return signature(_lanes, _state, types.int64)
        return None


class _WriteState(AbstractTemplate):  # numba has no stubs
    def generic(self, args: Any, kws: Any) -> Any:
        if isinstance(args[0], _LaneState) and isinstance(args[1], types.Integer):
            return signature(types.none, _state, types.int64, _lanes)
        return None


infer_global(operator.getitem)(_ReadState)
infer_global(operator.setitem)(_WriteState)


@lower_builtin(operator.getitem, _LaneState, types.Integer)
def _read(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
    pointer = _place(context, builder, *args)
    read = builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()), align=8)
    read.set_metadata("alias.scope", _scope(builder))
    return read


@lower_builtin(operator.setitem, _LaneState, types.Integer, _Lanes)
def _write(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
    state, at, value = args
    pointer = _place(context, builder, state, at)
    written = builder.store(value, builder.bitcast(pointer, _VECTOR.as_pointer()), align=8)
    written.set_metadata("alias.scope", _scope(builder))
    return context.get_dummy_value()


# ARITHMETIC


def _repeat(builder: Any, value: Any, kind: Any) -> Any:
    """Give all lanes one value."""
    none = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(none, value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, none, zeros)


@lower_cast(types.Float, _Lanes)
@lower_cast(types.Integer, _Lanes)
def _widen(context: Any, builder: Any, fromty: Any, _toty: Any, value: Any) -> Any:
    number = context.cast(builder, value, fromty, types.float64)
    return _repeat(builder, number, _VECTOR)


@lower_cast(types.Boolean, _Flags)
def _widen_flag(context: Any, builder: Any, fromty: Any, _toty: Any, value: Any) -> Any:
    flag = context.get_value_as_data(builder, fromty, value)
    return _repeat(builder, builder.trunc(flag, ir.IntType(1)), _FLAGS)


def _rule(operation: Any, taken: Any, given: Any) -> None:
    """Let an operation of which at least one side is *taken* work on it, and give what it gives."""

    class Rule(AbstractTemplate):  # numba has no stubs
        key = operation

        def generic(self, args: Any, kws: Any) -> Any:
            allowed = types.Number if taken is _lanes else types.Boolean
            if taken in args and all(one is taken or isinstance(one, allowed) for one in args):
                return signature(given, *([taken] * len(args)))
            return None

    infer_global(operation)(Rule)


def _operation(operation: Any, method: str) -> None:
    _rule(operation, _lanes, _lanes)

    def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return getattr(builder, method)(*args)

    lower_builtin(operation, *([_Lanes] * (1 if method == "fneg" else 2)))(code)


def _comparison(operation: Any, sign: str) -> None:
    _rule(operation, _lanes, _flags)

    def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        compare = builder.fcmp_unordered if sign == "!=" else builder.fcmp_ordered
        return compare(sign, *args)

    lower_builtin(operation, _Lanes, _Lanes)(code)


def _combination(operation: Any, method: str) -> None:
    _rule(operation, _flags, _flags)

    def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return getattr(builder, method)(*args)

    lower_builtin(operation, _Flags, _Flags)(code)


def _function(function: Any, name: str) -> None:
    _rule(function, _lanes, _lanes)

    def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return _called(builder, name, args)

    lower_builtin(function, _Lanes)(code)


def _extreme(function: Any, sign: str) -> None:
    """Let the later value count where it is beyond the ones before, as on one float."""
    _rule(function, _lanes, _lanes)

    def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        value = args[0]
        for one in args[1:]:
            value = builder.select(builder.fcmp_ordered(sign, one, value), one, value)
        return value

    for count in (2, 3):
        lower_builtin(function, *([_Lanes] * count))(code)


for _operator, _inplace, _method in (
    (operator.add, operator.iadd, "fadd"),
    (operator.sub, operator.isub, "fsub"),
    (operator.mul, operator.imul, "fmul"),
    (operator.truediv, operator.itruediv, "fdiv"),
):
    _operation(_operator, _method)
    _operation(_inplace, _method)
_operation(operator.neg, "fneg")
for _operator, _sign in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
    (operator.ne, "!="),
):
    _comparison(_operator, _sign)
_combination(operator.and_, "and_")
_combination(operator.or_, "or_")
_function(abs, "llvm.fabs")
_function(math.sqrt, "llvm.sqrt")
_extreme(max, ">")
_extreme(min, "<")
